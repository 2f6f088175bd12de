"""Codex, the program inside the package openai-codex-cli-bin: one question, a command of its shell, the answer."""
import glob
import os
import subprocess
import sys
import tempfile

from common import Scripted, run

CALL = '<|tool_call>call:exec_command{cmd:<|"|>echo hel""lo > said && cat said<|"|>}<tool_call|><|tool_response>'
SAID = "The command said: hello."
CONFIG = """model = "gemma4"
model_provider = "facet"
model_context_window = 98304

[model_providers.facet]
name = "facet"
base_url = "%s/v1"
wire_api = "responses"
"""


def codex():
    (program,) = [p for p in glob.glob(os.path.join(sys.prefix, "lib/python*/site-packages/codex_cli_bin/**/codex"), recursive=True) if os.access(p, os.X_OK)]
    with tempfile.TemporaryDirectory() as d, Scripted(d, 98304, call=CALL, answer=SAID + "<turn|>", other="A title<turn|>") as s:
        work, home = os.path.join(d, "work"), os.path.join(d, "codex")
        os.mkdir(work)
        os.mkdir(home)
        open(os.path.join(home, "config.toml"), "w").write(CONFIG % s.url)
        r = subprocess.run([program, "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "Run the command and tell me what it says."],
                           cwd=work, env={"PATH": os.environ["PATH"], "HOME": d, "CODEX_HOME": home}, capture_output=True, text=True, timeout=560,
                           stdin=subprocess.DEVNULL)
        print(r.stdout[-3000:], r.stderr[-3000:])
        assert r.returncode == 0 and SAID in r.stdout
        assert open(os.path.join(work, "said")).read() == "hello\n"          # the call was made
        print("prompt tokens", s.metric("prompt_tokens_total"), "cached", s.metric("prefix_cache_hits"))
        assert s.metric("prompt_tokens_total") > 10000                      # and all of what it sends was read


run(codex)
