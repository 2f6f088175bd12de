"""schemathesis asks what /openapi.json describes, and much that it does not, of a server of its own: every answer is one that is described.

What JSON Schema cannot say (a conversation that the template cannot print, an unknown item) may be refused with 400 or 404.  Not
asked: the routes that are there only to say 501."""
import os
import subprocess
import sys
import tempfile

from common import run

CONFIG = """[checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "404"]
"""


def described_routes():
    server = subprocess.Popen(["./facet", "serve", "-q", "-p", "0", "--ctx", "256", "--parallel", "4"], stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().strip()
        with tempfile.TemporaryDirectory() as tmp:
            with open(os.path.join(tmp, "schemathesis.toml"), "w") as f:
                f.write(CONFIG)
            st = os.path.join(os.path.dirname(sys.executable), "schemathesis")
            r = subprocess.run([st, "--config-file", f.name, "run", url + "/openapi.json", "--checks", "all", "--phases", "coverage,fuzzing", "--max-examples", "15",
                                "--seed", "3", "--exclude-path-regex", "^/api/(pull|push|create|copy|delete)$", "--request-timeout", "30", "--no-color"],
                               cwd=tmp, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=400, check=False)
        assert r.returncode == 0 and " passed" in r.stdout, r.stdout
        assert server.poll() is None, "the server has ended"
    finally:
        server.terminate()
        server.wait(20)
    assert server.returncode == 0


run(described_routes)
