"""aider: a real run of the program in a repository of its own.  It talks through litellm, streams, and has no tools in the sense of the
interface: the answer's text is what it acts on."""
import os
import subprocess
import sys
import tempfile

from common import SUM, URL, run


def aider_message():
    with tempfile.TemporaryDirectory() as d:
        env = dict(os.environ, OPENAI_API_BASE=URL + "/v1", OPENAI_API_KEY="any", HOME=d, AIDER_ANALYTICS="false")
        r = subprocess.run([os.path.join(os.path.dirname(sys.executable), "aider"), "--model", "openai/facet-mini", "--no-git", "--yes-always",
                            "--no-check-update", "--no-show-model-warnings", "--no-analytics", "--no-pretty", "--edit-format", "ask", "--map-tokens", "0",
                            "--no-show-release-notes", "--no-detect-urls", "--message", SUM[0]["content"]],
                           cwd=d, env=env, capture_output=True, text=True, timeout=200, stdin=subprocess.DEVNULL)
        print(r.stdout, r.stderr)
        assert r.returncode == 0 and "Tokens:" in r.stdout and "rror" not in r.stdout.replace("NameResolutionError", "")


run(aider_message)
