"""Claude Code, the program inside the package claude-agent-sdk: one question, a command of its shell, the answer."""
import glob
import json
import os
import subprocess
import sys
import tempfile

from common import Scripted, run

CALL = '<|tool_call>call:Bash{command:<|"|>echo hel""lo > said && cat said<|"|>}<tool_call|><|tool_response>'
SAID = "The command said: hello."


def claude_code():
    (program,) = glob.glob(os.path.join(sys.prefix, "lib/python*/site-packages/claude_agent_sdk/_bundled/claude"))
    with tempfile.TemporaryDirectory() as d, Scripted(d, 98304, call=CALL, answer=SAID + "<turn|>", other="A title<turn|>") as s:
        work = os.path.join(d, "work")
        os.mkdir(work)
        env = {"PATH": os.environ["PATH"], "HOME": d, "ANTHROPIC_BASE_URL": s.url, "ANTHROPIC_API_KEY": "any", "ANTHROPIC_MODEL": "gemma4",
               "CLAUDE_CODE_ATTRIBUTION_HEADER": "0", "CLAUDE_CODE_MAX_CONTEXT_TOKENS": "98304", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
        r = subprocess.run([program, "-p", "Run the command and tell me what it says.", "--output-format", "json", "--allowedTools", "Bash"],
                           cwd=work, env=env, capture_output=True, text=True, timeout=560, stdin=subprocess.DEVNULL)
        print(r.stdout[-3000:], r.stderr[-3000:])
        assert r.returncode == 0 and json.loads(r.stdout)["result"] == SAID
        assert open(os.path.join(work, "said")).read() == "hello\n"          # the call was made
        print("prompt tokens", s.metric("prompt_tokens_total"), "cached", s.metric("prefix_cache_hits"))
        assert s.metric("prompt_tokens_total") > 10000                      # and all of what it sends was read


run(claude_code)
