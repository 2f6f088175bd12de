"""What the scripts of all clients share: the server's address, the miniature's known questions and answers, the loop over tests."""
import json
import os
import subprocess
import sys
import traceback
import urllib.request

URL = sys.argv[1]
SUM = [{"role": "user", "content": "What is 12 + 30?"}]
SUM_SAID = "12 + 30 = 42"
WEATHER = [{"role": "user", "content": "What is the weather in Paris?"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
RESULT = '{"sky":"sunny","temperature":21}'
SAID = "It is sunny in Paris, 21 degrees."
FUNCTION = [{"type": "function", "function": {"name": "weather", "description": "Get the weather.", "parameters": SCHEMA}}]


def run(*tests):
    """Runs all, says how each ended, and exits with 1 when one failed."""
    failed = 0
    for f in tests:
        try:
            f()
            print(f"  ok    {f.__name__}")
        except Exception:
            failed += 1
            print(f"  FAIL  {f.__name__}")
            traceback.print_exc(limit=-3, chain=False)
        sys.stdout.flush()
    print(f"{len(tests) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


class Scripted:
    """A server for agents, whose prompts are far beyond what the miniature was trained for: its context is declared longer, and the answers
    are a script's (tests/script/script.c); the prompt is read and computed all the same."""

    def __init__(self, folder, ctx, **script):
        model, where = os.path.join(folder, "gemma4.gguf"), os.path.join(folder, "script.json")
        data = bytearray(open("models/facet-mini.gguf", "rb").read())
        at = data.index(b"gemma4.context_length") + len(b"gemma4.context_length")
        assert int.from_bytes(data[at:at + 4], "little") == 4       # a uint32
        data[at + 4:at + 8] = (131072).to_bytes(4, "little")
        open(model, "wb").write(data)
        open(where, "w").write(json.dumps(script))
        self.log = open(os.path.join(folder, "server.log"), "w+")
        self.process = subprocess.Popen([os.environ["SCRIPTED"], "serve", "-m", model, "-p", "0", "--ctx", str(ctx), "--parallel", "2"],
                                        env=dict(os.environ, FACET_TEST_SCRIPT=where), stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith("http://127.0.0.1:")

    def metric(self, name):
        for line in urllib.request.urlopen(self.url + "/metrics").read().decode().splitlines():
            if line.startswith("facet:" + name + "{"):
                return float(line.split()[-1])
        raise AssertionError(f"no {name}")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.process.terminate()
        self.process.wait(30)
        if kind:
            self.log.seek(0)
            print(self.log.read()[-4000:])
