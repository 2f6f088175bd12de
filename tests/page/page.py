"""What somebody does with the page, and what others try to do to them.  page.py [SHOTS [CASE...]]: a folder for screenshots, or -."""
import base64
import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import traceback

from browser import Browser, Page
from audit import audit

SHOTS = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1] != "-" else None
FACET = os.environ.get("FACET", "./facet")
KEY = "sk-0123456789"
WEATHER = [{"name": "weather", "description": "Get the weather.", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}]
browser, servers, cases = None, [], []


def case(f):
    cases.append(f)
    return f


class Server:
    def __init__(self, *options):
        self.process = subprocess.Popen([FACET, "serve", "-q", "-p", "0", *options], stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()
        servers.append(self)

    def get(self, path):
        c = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=60)
        c.request("GET", path)
        return c.getresponse().read().decode()

    def metric(self, name):
        return next(float(line.split()[-1]) for line in self.get("/metrics").splitlines() if line.startswith("facet:" + name))

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        servers.remove(self)


def shot(p, name):
    if SHOTS:
        p.screenshot(f"{SHOTS}/{name}.png")


def ready(p):
    p.until("document.getElementById('model').textContent === 'facet-mini'")
    return p


def settle(p, **values):
    """Through the dialog, as a user would."""
    p.click("#to-settings")
    p.until("document.getElementById('settings').open")
    for name, value in values.items():
        p.run(f"document.getElementById('set-{name}').value = {json.dumps(value)}")
    p.click("#settings-save")
    p.until("!document.getElementById('settings').open")


def say(p, text):
    p.click("#input")
    p.type(text)
    p.key("Enter")


def answered(p):
    """Waits for the answer that is being written; its text."""
    p.until("document.querySelector('article:last-child.assistant[aria-busy=false]') !== null && document.getElementById('stop').hidden")
    return p.run("document.querySelector('article:last-child .answer').innerText")


def ask(p, text):
    say(p, text)
    p.until(f"[...document.querySelectorAll('.user .text')].at(-1)?.textContent === {json.dumps(text)}")
    return answered(p)


def texts(p):
    return p.run("[...document.querySelectorAll('article')].map(a => (a.querySelector('.text, .answer') ?? a).innerText)")


def stored(p):
    return p.run("import('/page/store.js').then(s => s.all())")


def endless(p, *more):
    """The model gets no way to end its turn (or, with more, its thought): the request is the page's, with these tokens forbidden."""
    bias = {str(t): -100 for t in (1, 106, 50, *more)}

    def act(paused):
        r = paused["request"]
        body = json.loads(r["postData"])
        if not (more and body.get("reasoning_effort") == "none"):
            body["logit_bias"] = bias
        return "Fetch.continueRequest", {"requestId": paused["requestId"], "postData": base64.b64encode(json.dumps(body).encode()).decode()}
    p.catch("*/v1/chat/completions", act)


def answers_with(p, *deltas):
    """The next answers are these, as if the model had said so."""
    chunks = [{"choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas]
    chunks += [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
    body = "".join(f"data: {json.dumps(c)}\n\n" for c in chunks) + "data: [DONE]\n\n"
    p.catch("*/v1/chat/completions", lambda paused: ("Fetch.fulfillRequest", {
        "requestId": paused["requestId"], "responseCode": 200, "responseHeaders": [{"name": "Content-Type", "value": "text/event-stream"}],
        "body": base64.b64encode(body.encode()).decode()}))


# ---- talking

@case
def send(p, s):
    assert p.run("document.activeElement.id") == "input"
    settle(p, temperature="0")
    assert ask(p, "What is 12 + 30?") == "12 + 30 = 42"
    assert p.bodies[-1]["messages"] == [{"role": "user", "content": "What is 12 + 30?"}] and p.bodies[-1]["temperature"] == 0
    numbers = p.run("document.querySelector('.numbers').textContent")
    assert "s to the first token" in numbers and "tokens/s" in numbers and "13 tokens" in numbers and "prompt 24" in numbers, numbers
    assert p.run("document.getElementById('context-text').textContent") == "37 of 8192 tokens of context"
    assert p.run("document.getElementById('said').textContent").strip() == "12 + 30 = 42"          # for those who listen
    assert p.run("document.getElementById('title').value") == "What is 12 + 30?" == p.run("document.querySelector('#list a').textContent")
    shot(p, "answer")
    ask(p, "What is 7 plus 5?")
    assert [m["role"] for m in p.bodies[-1]["messages"]] == ["user", "assistant", "user"]
    assert "from the cache" in p.run("[...document.querySelectorAll('.numbers')].at(-1).textContent")


@case
def stop(p, s):
    before = s.metric('request_success_total{model_name="facet-mini",finished_reason="cancelled"}')
    endless(p)
    say(p, "Tell me something.")
    p.until("document.querySelector('.answer')?.innerText.length > 20")
    assert p.run("document.getElementById('send').hidden && !document.getElementById('stop').hidden")
    assert p.run("document.querySelector('#list a').textContent") == "Tell me something." and len(stored(p)) == 1
    shot(p, "running")
    p.key("Escape")
    text = answered(p)
    assert len(text) > 20 and p.run("document.querySelector('.ending').textContent") == "Stopped."
    while s.metric('request_success_total{model_name="facet-mini",finished_reason="cancelled"}') < before + 1:      # the server works no more
        pass
    assert stored(p)[0]["nodes"][1]["end"] == "stopped"
    say(p, "And again.")
    p.until("document.querySelector('article:last-child .answer')?.innerText.length > 20")
    p.click("#stop")
    answered(p)
    p.let_go()


@case
def edit_and_branch(p, s):
    settle(p, temperature="0")
    ask(p, "What is 12 + 30?")
    p.click(".user [data-key=edit]")
    assert p.run("document.activeElement.tagName") == "TEXTAREA"
    p.key("Escape")
    p.until("document.activeElement.dataset.key === 'edit'")
    p.click(".user [data-key=edit]")
    p.fill(".edit textarea", "What is 20 + 3?")
    p.click(".edit button[type=submit]")
    p.until("document.querySelector('.user .text')?.textContent === 'What is 20 + 3?'")
    assert answered(p) == "20 + 3 = 23"
    assert p.run("document.querySelector('.user .branches').innerText").split() == ["‹", "2/2", "›"]
    p.click(".user [aria-label='Earlier version']")
    assert texts(p) == ["What is 12 + 30?", "12 + 30 = 42"]
    assert p.run("document.activeElement.getAttribute('aria-label')") == "Later version"       # the other one cannot be pressed now
    p.click(".assistant [data-key=again]")
    p.until("document.querySelector('.assistant .branches')?.innerText.includes('2/2')")
    answered(p)
    ask(p, "What is 1 + 1?")
    p.click("article.assistant [aria-label='Earlier version']")
    assert len(texts(p)) == 2                                                                  # what came later belongs to the other
    p.click("article.assistant [aria-label='Later version']")
    assert len(texts(p)) == 4
    shot(p, "branches")


@case
def reload_keeps_history(p, s):
    settle(p, temperature="0")
    ask(p, "What is 12 + 30?")
    p.click(".assistant [data-key=again]")
    p.until("document.querySelector('.assistant .branches')?.innerText.includes('2/2')")
    answered(p)
    p.click(".assistant [aria-label='Earlier version']")
    p.fill("#title", "Sums")
    p.key("Tab")
    p.click("#new")
    ask(p, "Spell cat.")
    p.reload()
    p.until("document.querySelectorAll('#list a').length === 2")
    assert texts(p)[0] == "Spell cat."
    p.run("[...document.querySelectorAll('#list a')].find(a => a.textContent === 'Sums').click()")
    p.until("document.querySelector('.assistant .branches')?.innerText.includes('1/2')")
    assert texts(p) == ["What is 12 + 30?", "12 + 30 = 42"]
    endless(p)
    say(p, "Tell me something.")
    p.until("document.querySelector('article:last-child .answer')?.innerText.length > 20")
    while not any(n["role"] == "assistant" and n["content"] and n["end"] == "" for r in stored(p) for n in r["nodes"]):
        pass
    p.let_go()
    p.reload()
    p.until("document.querySelectorAll('article').length === 4")
    assert len(texts(p)[3]) > 0                                                                # the unfinished answer as well


def told(p):
    """What is stored of the only conversation: its messages, by their text."""
    return sorted(n["content"] for n in stored(p)[0]["nodes"] if n["role"] == "user")


@case
def two_tabs(p, s):
    settle(p, temperature="0")
    ask(p, "What is 12 + 30?")
    q = ready(Page(browser, p.run("location.href"), beside=p))
    q.until("document.querySelectorAll('article').length === 2")
    ask(p, "Spell cat.")                        # seen there, too
    q.until("document.querySelectorAll('article').length === 4 && document.querySelector('article:last-child .answer').innerText.length > 2")
    assert texts(p) == texts(q)
    say(p, "Spell dog.")                        # both go on from there at once
    say(q, "Spell horse.")
    answered(p)
    answered(q)
    for tab, own in ((p, "Spell dog."), (q, "Spell horse.")):
        tab.until("[...document.querySelectorAll('.user .branches')].at(-1)?.innerText.includes('/2')")
        assert texts(tab)[4] == own and len(texts(tab)) == 6
    ask(p, "What is 1 + 1?")
    ask(q, "What is 2 + 2?")
    assert told(p) == sorted(["What is 12 + 30?", "Spell cat.", "Spell dog.", "Spell horse.", "What is 1 + 1?", "What is 2 + 2?"])
    numbers = [tab.run("[...document.querySelectorAll('.user .branches')].at(-1).innerText").split()[1] for tab in (p, q)]
    assert sorted(numbers) == ["1/2", "2/2"]
    q.fill("#title", "Spelling")
    q.key("Tab")
    p.until("document.getElementById('title').value === 'Spelling' && document.querySelector('#list a').textContent === 'Spelling'")
    p.click(".user [data-key=edit]")            # who is typing is not disturbed
    p.fill(".edit textarea", "Half a thou")
    ask(q, "Spell sun.")
    assert p.run("document.querySelector('.edit textarea').value") == "Half a thou"
    p.key("Escape")
    p.reload()
    p.until("document.querySelectorAll('article').length > 4")
    assert len(told(p)) == 7
    check(q, s)
    q.close()


@case
def deleted_elsewhere(p, s):
    settle(p, temperature="0")
    ask(p, "Spell cat.")
    q = ready(Page(browser, p.run("location.href"), beside=p))
    q.until("document.querySelectorAll('article').length === 2")
    endless(p)
    say(p, "Tell me something.")
    q.until("document.querySelector('article:last-child .answer')?.innerText.length > 20")
    q.click("#delete")
    q.click("#confirm-yes")
    for tab in (q, p):
        tab.until("document.querySelectorAll('article, #list a').length === 0 && document.getElementById('stop').hidden")
    p.let_go()
    ask(p, "Spell dog.")                        # by now the stopped answer would have been kept
    assert len(stored(p)) == 1 and told(p) == ["Spell dog."]
    q.until("document.querySelectorAll('#list a').length === 1")
    check(q, s)
    q.close()


@case
def conversations(p, s):
    settle(p, temperature="0")
    for text in ("Spell cat.", "What is 12 + 30?", "Spell dog."):
        p.click("#new")
        ask(p, text)
    p.fill("#search", "42")                     # in an answer
    p.until("document.querySelectorAll('#list a').length === 1")
    assert p.run("document.querySelector('#list a').textContent") == "What is 12 + 30?"
    p.fill("#search", "nowhere to be found")
    p.until("!document.getElementById('none').hidden")
    p.fill("#search", "spell")
    p.until("document.querySelectorAll('#list a').length === 2")
    p.fill("#search", " ")
    endless(p)
    p.click("#new")
    say(p, "Tell me something.")
    p.until("document.querySelector('.answer')?.innerText.length > 5")
    p.run("[...document.querySelectorAll('#list a')].find(a => a.textContent === 'Spell dog.').click()")
    p.until("document.querySelector('.text')?.textContent === 'Spell dog.'")                   # another one, while the answer goes on
    say(p, "What now?")
    p.until("document.getElementById('notice').textContent.includes('stop it first')")
    p.click("#stop")
    p.until("document.getElementById('stop').hidden")
    p.let_go()
    assert len(texts(p)) == 2
    p.click("#delete")
    p.click("#confirm-no")
    assert len(stored(p)) == 4
    p.click("#delete")
    p.click("#confirm-yes")
    p.until("document.querySelectorAll('#list a').length === 3")
    assert len(stored(p)) == 3 and texts(p) == []


@case
def thoughts(p, s):
    settle(p, temperature="0", thinking="on")
    ask(p, "What is 12 + 30?")
    assert p.bodies[-1]["reasoning_effort"] == "medium"
    summary = p.run("document.querySelector('.thought summary').textContent")
    assert summary.startswith("Thought for ") and summary.endswith(" tokens"), summary
    assert not p.run("document.querySelector('.thought').open") and "of them thought" in p.run("document.querySelector('.numbers').textContent")
    thought = p.run("document.querySelector('.thought .markdown').textContent")
    assert thought and thought not in p.run("document.querySelector('.answer').innerText")
    p.click(".thought summary")
    shot(p, "thought")
    ids = json.loads(post(s, "/tokenize", {"content": "<channel|>", "parse_special": True}))["tokens"]
    endless(p, *ids)                            # a thought that never ends
    say(p, "What is 20 + 3?")
    p.until("/Thinking: [\\d.]+ s, about \\d+ tokens/.test(document.querySelector('article:last-child summary')?.textContent)")
    p.until("document.querySelector('article:last-child .thought .markdown').textContent.length > 20")
    p.click("article:last-child .now")
    assert answered(p) == "20 + 3 = 23"
    assert p.bodies[-1]["reasoning_effort"] == "none" and p.bodies[-1]["messages"] == p.bodies[-2]["messages"]
    assert len(p.run("document.querySelector('article:last-child .thought .markdown').textContent")) > 20
    assert p.run("document.querySelector('article:last-child .now').hidden")
    p.let_go()
    settle(p, thinking_budget="3")
    p.click("#new")
    ask(p, "What is 12 + 30?")
    assert p.bodies[-1]["thinking_budget"] == 3 and "3 of them thought" in p.run("[...document.querySelectorAll('.numbers')].at(-1).textContent")


def post(s, path, body):
    c = http.client.HTTPConnection(s.url.removeprefix("http://"), timeout=60)
    c.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    return c.getresponse().read().decode()


@case
def tools(p, s):
    settle(p, temperature="0", tools=json.dumps(WEATHER))
    say(p, "What is the weather in Paris?")
    p.until("document.querySelector('.call') !== null")
    assert p.bodies[-1]["tools"] == [{"type": "function", "function": WEATHER[0]}]
    assert p.run("document.querySelector('.call h2').textContent") == "Call of weather"
    assert p.run("document.querySelector('.call pre').textContent") == '{\n  "city": "Paris"\n}'
    p.fill(".edit textarea", '{"sky":"sunny","temperature":21}')
    shot(p, "call")
    p.click(".edit button[type=submit]")
    p.until("document.querySelectorAll('article').length === 4")
    assert answered(p) == "It is sunny in Paris, 21 degrees."
    m = p.bodies[-1]["messages"]
    assert m[2] == {"role": "tool", "tool_call_id": m[1]["tool_calls"][0]["id"], "name": "weather", "content": '{"sky":"sunny","temperature":21}'}
    p.reload()
    p.until("document.querySelectorAll('article').length === 4")
    p.click(".tool [data-key=edit]")            # another result, another branch
    p.fill(".edit textarea", '{"sky":"cloudy","temperature":9}')
    p.click(".edit button[type=submit]")
    p.until("document.querySelector('.tool .branches')?.innerText.includes('2/2')")
    assert "9 degrees" in answered(p)


@case
def settings(p, s):
    p.click("#to-settings")
    p.until("document.getElementById('settings').open")
    assert p.run("['temperature', 'top_k', 'top_p', 'min_p'].map(n => document.getElementById('set-' + n).placeholder)") == ["0.3", "64", "0.95", "0"]
    shot(p, "settings")
    for name, wrong, why in (("tools", "{", "Tools: "), ("tools", "{}", "Tools: a list"), ("tools", "[{}]", "each with a name"), ("schema", "[1]", "JSON schema: an object")):
        p.run(f"document.getElementById('set-{name}').value = {json.dumps(wrong)}")
        p.click("#settings-save")
        assert why in p.run("document.getElementById('settings-error').textContent"), wrong
        p.run(f"document.getElementById('set-{name}').value = ''")
    p.run("document.getElementById('set-temperature').value = '3'")
    p.click("#settings-save")
    assert p.run("document.getElementById('settings').open && !document.getElementById('set-temperature').checkValidity()")
    p.click("#settings-cancel")
    values = {"system": "Answer in capitals.", "temperature": "0.5", "top_p": "0.9", "top_k": "5", "min_p": "0.05", "seed": "7", "max_tokens": "3", "theme": "dark",
              "schema": '{"type":"integer"}'}
    settle(p, **values)
    p.reload()
    ready(p)
    assert p.run("getComputedStyle(document.documentElement).colorScheme") == "dark"
    say(p, "What is 12 + 30?")
    int(answered(p))                            # what the schema says
    sent = p.bodies[-1]
    assert sent["messages"][0] == {"role": "system", "content": "Answer in capitals."}
    assert [sent[k] for k in ("temperature", "top_p", "top_k", "min_p", "seed", "max_tokens")] == [0.5, 0.9, 5, 0.05, 7, 3]
    assert sent["response_format"]["json_schema"]["schema"] == {"type": "integer"}
    settle(p, schema="")
    p.click("#new")
    ask(p, "What is 12 + 30?")
    assert p.run("document.querySelector('.ending').textContent").startswith("Cut off")
    p.click("#to-settings")
    p.click("#settings-defaults")
    p.click("#settings-save")
    p.until("!document.getElementById('settings').open")
    p.click("#new")
    ask(p, "What is 12 + 30?")
    assert set(p.bodies[-1]) == {"messages", "stream", "stream_options"}


@case
def errors(p, s):
    answers_with(p, {"content": "half"})
    p.intercept = lambda paused: ("Fetch.failRequest", {"requestId": paused["requestId"], "errorReason": "ConnectionRefused"})
    say(p, "What is 12 + 30?")
    p.until("document.querySelector('.error')?.textContent.includes('could not be reached')")
    assert p.run("document.querySelector('.error').getAttribute('role')") == "alert"
    p.let_go()
    settle(p, temperature="0")
    p.click(".error button")
    p.until("document.querySelector('.answer')?.innerText === '12 + 30 = 42'")
    answered(p)
    say(p, "word " * 20000)
    p.until("document.querySelector('article:last-child .error')?.textContent.includes('prompt is too long')")
    p.wrong = [w for w in p.wrong if "ERR_CONNECTION_REFUSED" not in w and "status of 400" not in w]


# ---- files

@case
def export_and_import(p, s):
    settle(p, temperature="0")
    ask(p, "What is 12 + 30?")
    p.click(".user [data-key=edit]")
    p.fill(".edit textarea", "Spell cat.")
    p.click(".edit button[type=submit]")
    p.until("document.querySelector('.user .text')?.textContent === 'Spell cat.'")
    spelled = answered(p)
    p.click("#new")
    ask(p, "Spell dog.")
    p.click("#export-markdown")
    assert p.downloaded(".md").startswith("# Spell dog.\n\n## You\n\nSpell dog.\n\n## Gemma\n\n")
    p.click("#export-json")
    assert len(json.loads(p.downloaded(".json"))["conversations"]) == 1
    p.click("#export")
    text = p.downloaded(".json")
    file = f"{browser.folder}/kept.json"
    with open(file, "w") as f:
        f.write(text)
    p.click("#delete-all")
    shot(p, "delete")
    p.click("#confirm-yes")
    p.until("document.querySelectorAll('#list a').length === 0")
    assert stored(p) == [] and texts(p) == []
    p.upload("#import-file", file)
    p.until("document.getElementById('notice').textContent === '2 conversations were imported.'")
    p.run("[...document.querySelectorAll('#list a')].find(a => a.textContent === 'What is 12 + 30?').click()")
    p.until("document.querySelectorAll('article').length === 2")
    assert texts(p) == ["Spell cat.", spelled]                                                 # the branch that was chosen
    p.click(".user [aria-label='Earlier version']")
    assert texts(p) == ["What is 12 + 30?", "12 + 30 = 42"]
    p.upload("#import-file", file)              # what is there already is not doubled; what has changed since is another one
    p.until("document.getElementById('notice').textContent === '1 conversation was imported.'")
    p.reload()
    p.until("document.querySelectorAll('#list a').length === 3")
    p.click("#export")
    old = {json.dumps(c["nodes"], sort_keys=True) for c in json.loads(text)["conversations"]}
    assert old <= {json.dumps(c["nodes"], sort_keys=True) for c in json.loads(p.downloaded(".json"))["conversations"]}


EVIL = """<img src=x onerror=pwned=1><script>pwned=1</script><svg onload=pwned=1><iframe srcdoc="<script>parent.pwned=1</script>"></iframe>
# <img src=x onerror=pwned=1>
[a](javascript:pwned=1) [b](JaVaScRiPt:pwned=1) [c](data:text/html,<script>pwned=1</script>) [d](<java\tscript:pwned=1>) [e](vbscript:x) ![f](javascript:pwned=1)
![g](https://elsewhere.example/pixel.png) [h](//elsewhere.example) <https://elsewhere.example/"onmouseover="pwned=1> https://elsewhere.example/?q="><img/src=x/onerror=pwned=1>
| <script>pwned=1</script> | b |
|---|---|
| <img src=x onerror=pwned=1> | [x](javascript:pwned=1) |
- <style>*{display:none}</style> <base href=//elsewhere.example> <meta http-equiv=refresh content=0;url=//elsewhere.example> <form action=//elsewhere.example><input autofocus onfocus=pwned=1>

```html"><img src=x onerror=pwned=1>
<script>pwned=1</script>
```
```__proto__
x
```
```constructor
<b>x</b>
```
"""


def harmless(p):
    assert p.run("window.pwned === undefined && ({}).pwned === undefined")
    # but for boxes of task lists, nothing that loads, runs or sends
    assert p.run("document.querySelectorAll('#messages :is(img, script, iframe, svg, style, base, meta, object, embed, link, video, audio, input:not([type=checkbox]))').length") == 0
    assert p.run("[...document.querySelectorAll('#messages a')].every(a => ['https:', 'http:', 'mailto:'].includes(a.protocol) && a.rel.includes('noopener'))")
    assert p.run("[...document.querySelectorAll('#messages *')].every(e => [...e.attributes].every(a => !a.name.startsWith('on') && a.name !== 'style'))")


@case
def hostile_answers(p, s):
    answers_with(p, {"reasoning_content": EVIL}, *({"content": EVIL[i:i + 7]} for i in range(0, len(EVIL), 7)),
                 {"tool_calls": [{"index": 0, "id": EVIL, "function": {"name": EVIL, "arguments": EVIL}}]})
    say(p, EVIL)
    p.until("document.querySelector('.call') !== null")
    harmless(p)
    assert "<script>pwned=1</script>" in p.run("document.querySelector('.answer').innerText")      # shown as what it is
    assert p.run("document.querySelectorAll('.answer a').length") > 0
    p.fill(".edit textarea", EVIL)
    p.click(".edit button[type=submit]")
    p.until("document.querySelectorAll('article').length === 4 && document.querySelectorAll('.call').length >= 3")
    p.click("#export-markdown")
    p.downloaded(".md")
    p.reload()
    p.until("document.querySelectorAll('article').length === 4")
    harmless(p)
    for text in ("[" * 100000, "*a " * 50000, "`" * 50001 + " " + "``" * 50000, "> " * 50000, "- " * 50000, "_" * 100000, "|" * 50000 + "\n|-|", "![" * 50000, "~~" * 50000,
                 "1. " * 30000, "<" * 100000, "[](" * 30000, "https://" * 20000, "\n".join("  " * i + "- x" for i in range(500)), "`" .join("`" * (i % 300) for i in range(3000)),
                 "```c\n" + "/*" * 9000, "```javascript\n" + "`${" * 6000, "```markup\n" + "<a " * 6000, "```python\n" + "'''" * 6000, "```bash\n" + "$(" * 9000):
        p.run(f"import('/page/markdown.js').then(m => m.render(document.createElement('div'), {json.dumps(text)}))")
    p.let_go()


@case
def hostile_files(p, s):
    ask(p, "Spell cat.")
    node = {"id": "a", "parent": "", "role": "user", "content": "hello"}
    one = {"id": "x", "title": "t", "nodes": [node]}
    wrong = ["", "{", "null", "[]", "{}", '"x"', {"format": "facet-conversations"}, {"conversations": [one]}, {"format": "facet-conversations", "conversations": {}}]
    wrong += [{"format": "facet-conversations", "conversations": [c]} for c in (
        None, 1, {}, {"nodes": {}}, {"nodes": [None]}, {"nodes": [node, node]}, {"nodes": [{**node, "parent": "a"}]}, {"nodes": [{**node, "role": "god"}]},
        {"nodes": [{**node, "role": "constructor"}]}, {"nodes": [{**node, "role": "__proto__"}]}, {"nodes": [{**node, "parent": "b"}, {**node, "id": "b", "parent": "a"}]},
        {"nodes": [{**node, "id": str(i)} for i in range(20001)]})]
    file = f"{browser.folder}/hostile.json"

    def take(content):
        with open(file, "w") as f:
            f.write(content if isinstance(content, str) else json.dumps(content))
        p.run("document.getElementById('notice').textContent = ''")
        p.upload("#import-file", file)
        return p.until("document.getElementById('notice').textContent")
    for content in wrong:
        said = take(content)
        assert "could not be imported" in said, (content, said)
    assert len(stored(p)) == 1
    odd = {"id": EVIL, "title": EVIL, "created": "x", "updated": {}, "chosen": -5, "nodes": [
        {**node, "id": "__proto__", "content": EVIL, "chosen": 1e9, "onclick": "pwned=1"},
        {"id": "constructor", "parent": "__proto__", "role": "assistant", "content": EVIL, "thought": EVIL, "calls": [{"name": EVIL, "arguments": EVIL}, None, 5], "stats": {"rate": EVIL, "first": 1},
         "error": EVIL, "end": EVIL},
        {"id": "t", "parent": "constructor", "role": "tool", "results": [{"name": EVIL, "content": EVIL}, {"name": [], "content": {}}]},
        {"id": "u", "parent": "t", "role": "user", "content": {"toString": "x"}}]}
    text = json.dumps({"format": "facet-conversations", "version": 1, "conversations": [odd]}).replace('"created"', '"__proto__":{"pwned":1},"created"', 1)
    assert take(text) == "1 conversation was imported."
    p.until("document.querySelectorAll('#list a').length === 2")
    p.run("[...document.querySelectorAll('#list a')].find(a => a.textContent.includes('pwned')).click()")
    p.until("document.querySelectorAll('article').length === 4 || document.querySelectorAll('article').length === 0")
    assert len(texts(p)) == 4
    harmless(p)
    assert p.run("[...document.querySelectorAll('#list *')].every(e => ['LI', 'A'].includes(e.tagName))")
    assert not p.run("Object.prototype.pwned")


# ---- text

@case
def markdown(p, s):
    def html(text):
        return p.run(f"import('/page/markdown.js').then(m => {{ const d = document.createElement('div'); m.render(d, {json.dumps(text)}); return d.innerHTML; }})")
    for text, want in (
            ("a *b* **c _d_** ~~e~~ `f*g*`", "<p>a <em>b</em> <strong>c <em>d</em></strong> <del>e</del> <code>f*g*</code></p>"),
            ("snake_case_name 2 * 3 * 4", "<p>snake_case_name 2 * 3 * 4</p>"), ("**a** and **b**", "<p><strong>a</strong> and <strong>b</strong></p>"),
            ("***x***", "<p><strong><em>x</em></strong></p>"), ("\\*a\\* \\`", "<p>*a* `</p>"), ("`` a`b ``", "<p><code>a`b</code></p>"), ("one `tick", "<p>one `tick</p>"),
            ("## T #", "<h3>T</h3>"), ("a\nb", "<p>a<br>b</p>"), ("a\n\nb", "<p>a</p><p>b</p>"), ("---", "<hr>"), ("#hash", "<p>#hash</p>"),
            ("- a\n- b\n  - c\n- d", "<ul><li>a</li><li>b<ul><li>c</li></ul></li><li>d</li></ul>"), ("3. a\n4. b", '<ol start="3"><li>a</li><li>b</li></ol>'),
            ("1. a\n\n   b\n2. c", "<ol><li><p>a</p><p>b</p></li><li><p>c</p></li></ol>"),
            ("- [x] a", '<ul><li class="task"><input type="checkbox" disabled="" checked="" aria-label="done">a</li></ul>'),
            ("> a\n> > b", "<blockquote><p>a</p><blockquote><p>b</p></blockquote></blockquote>"),
            ("| a | b |\n|---|--:|\n| 1 \\| 2 | *3* |", '<table><thead><tr><th>a</th><th class="right">b</th></tr></thead><tbody><tr><td>1 | 2</td><td class="right"><em>3</em></td></tr></tbody></table>'),
            ("see [x](https://a.example/b_(c)) end", '<p>see <a href="https://a.example/b_(c)" target="_blank" rel="noopener noreferrer nofollow">x</a> end</p>'),
            ("(https://a.example/x).", '<p>(<a href="https://a.example/x" target="_blank" rel="noopener noreferrer nofollow">https://a.example/x</a>).</p>'),
            ("![cat](https://a.example/c.png)", '<p><a href="https://a.example/c.png" target="_blank" rel="noopener noreferrer nofollow">cat</a></p>'),
            ("<b>x</b> &amp; y", "<p>&lt;b&gt;x&lt;/b&gt; &amp;amp; y</p>"), ("a[1] b[2](c", "<p>a[1] b[2](c</p>")):
        got = html(text)
        assert (got if want[:6] != "<table" else got[got.index("<table"):-len("</div>")]) == want, (text, got)
    code = "```py\ndef f(x):\n    return 'x' # y\n```"
    got = html(code)
    assert '<span class="t-keyword">def</span>' in got and '<span class="t-comment"># y</span>' in got and "<span>py</span>" in got
    # however it comes in pieces, what stands at the end is the same
    text = f"# T\n\na *b*\n\n{code}\n\n1. x\n2. y\n\n| a |\n|---|\n| b |\n"
    assert p.run(f"import('/page/markdown.js').then(m => {{ const d = document.createElement('div'), t = {json.dumps(text)}; for (let i = 0; i <= t.length; i++) m.render(d, t.slice(0, i)); "
                 "return d.innerHTML; })") == html(text)
    browser.send("Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], "browserContextId": p.context})
    answers_with(p, {"content": f"Here:\n\n{code}\n\n| name | value |\n|---|--:|\n| one | 1 |\n\n- a point\n- [ ] a task\n\n> a quote with `code` and a [link](https://a.example/)"})
    say(p, "Show me.")
    p.until("document.querySelector('.code button') !== null")
    answered(p)
    shot(p, "markdown")
    p.click(".code button")
    p.until("document.querySelector('.code [role=status]').textContent === 'Copied'")
    assert p.run("navigator.clipboard.readText()") == "def f(x):\n    return 'x' # y"
    p.let_go()


# ---- who comes how

@case
def keyboard(p, s):
    p.run("document.body.tabIndex = -1; document.body.focus()")
    p.key("Tab")
    assert p.run("document.activeElement.className") == "skip"
    p.key("Enter")
    p.until("document.activeElement.id === 'input'")
    p.type("What is")
    p.key("Enter", shift=True)
    p.type("12 + 30?")
    assert p.run("document.getElementById('input').value") == "What is\n12 + 30?" or p.run("document.getElementById('input').value") == "What is12 + 30?"
    p.key("Enter")
    p.until("document.querySelectorAll('article').length === 2")
    answered(p)
    seen = []
    p.run("document.body.tabIndex = -1; document.body.focus()")
    for _ in range(60):                         # everything that can be used is on the way, and shows that it has the focus
        p.key("Tab")
        seen.append(p.run("(e => [e.id || e.dataset.key || e.textContent.trim() || e.className, getComputedStyle(e).outlineStyle !== 'none' || "
                          "e.closest('#box') !== null && getComputedStyle(e.closest('#box')).boxShadow !== 'none'])(document.activeElement)"))
        if len(seen) > 3 and seen[-1][0] == "input":
            p.key("Tab")
            seen.append([p.run("document.activeElement.id"), True])
            break
    names = [n for n, _ in seen]
    assert all(shown for _, shown in seen), seen
    order = ["to-status", "to-settings", "new", "search", "import", "export", "delete-all", "title", "export-markdown", "export-json", "delete", "edit", "again", "input", "send"]
    assert [n for n in names if n in order] == order, names
    p.key("k", control=True)
    assert p.run("document.activeElement.id") == "search"
    p.key("o", control=True, shift=True)
    p.until("document.activeElement.id === 'input' && document.querySelectorAll('article').length === 0")
    p.run("document.getElementById('to-settings').focus()")
    p.key("Enter")
    p.until("document.getElementById('settings').open && document.activeElement.closest('dialog') !== null")
    for _ in range(25):
        p.key("Tab")
        assert p.run("document.activeElement === document.body || document.activeElement.closest('dialog') !== null")      # stays within
    p.key("Escape")
    p.until("!document.getElementById('settings').open && document.activeElement.id === 'to-settings'")
    p.run("document.getElementById('delete-all').focus()")
    p.key("Enter")
    p.until("document.getElementById('confirm').open")
    p.key("Escape")
    assert len(stored(p)) == 1
    p.run("document.getElementById('to-status').focus()")
    p.key("Enter")
    p.until("document.activeElement.id === 'status-title'")


@case
def narrow(p, s):
    p.size(360, 640, 2, True)
    p.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    assert p.run("getComputedStyle(document.getElementById('side')).display") == "none"
    settle(p, temperature="0")
    p.click("#input")
    p.type("What is 12 + 30?")
    p.click("#send")
    p.until("document.querySelector('.answer')?.innerText === '12 + 30 = 42'")
    answered(p)
    answers_with(p, {"content": "```\n" + "long " * 100 + "\n```\n\n| " + " | ".join("column" for _ in range(20)) + " |\n" + "|---" * 20 + "|\n\n" + "x" * 500 + "\n\nhttps://a.example/" + "y" * 300})
    p.click("#input")
    p.type("z" * 300)
    p.click("#send")
    p.until("document.querySelectorAll('article').length === 4")
    answered(p)
    p.let_go()

    def fits(what):
        assert p.run("document.documentElement.scrollWidth <= innerWidth && document.getElementById('scroll').scrollWidth <= innerWidth"), what
        assert p.run("[...document.querySelectorAll('input:not([type=checkbox]), select, textarea')].every(e => parseFloat(getComputedStyle(e).fontSize) >= 16)"), what
    fits("chat")
    shot(p, "narrow")
    p.click("#menu")
    p.until("document.querySelector('#list a').getClientRects().length === 1")
    assert p.run("document.getElementById('menu').getAttribute('aria-expanded')") == "true"
    shot(p, "narrow-list")
    p.key("Escape")
    p.until("document.activeElement.id === 'menu' && document.getElementById('side').getClientRects().length === 0")
    p.click("#to-settings")
    fits("settings")
    shot(p, "narrow-settings")
    p.click("#settings-cancel")
    p.click("#to-status")
    p.until("document.querySelector('.plot') !== null")
    fits("status")
    shot(p, "narrow-status")


@case
def seen_by_all(p, s):
    """Names, landmarks, contrast, in light and dark, on each view."""
    answers_with(p, {"reasoning_content": "hm"}, {"content": "# Head\n\nText `code` [link](https://a.example/)\n\n> quote\n\n```c\nint x = 1; // y\nchar *s = \"a\";\n#define A 1\n```\n\n"
                     "```json\n{\"a\": [1, true, null]}\n```\n\n```diff\n-a\n+b\n```\n\n```html\n<a href=\"x\">y</a>\n```\n\n| a | b |\n|---|---|\n| c | d |\n\n- [x] t"},
                 {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}]})
    say(p, "Hello.")
    p.until("document.querySelector('.call') !== null")
    p.let_go()
    p.run("document.querySelector('.thought').open = true")
    for scheme in ("light", "dark"):
        p.send("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}]})
        audit(p, f"chat {scheme}")
        shot(p, f"chat-{scheme}")
        p.click("#to-settings")
        audit(p, f"settings {scheme}")
        shot(p, f"settings-{scheme}")
        p.click("#settings-cancel")
        p.click("#delete-all")
        audit(p, f"confirm {scheme}")
        p.click("#confirm-no")
        p.click("#to-status")
        p.until("document.querySelector('.plot') !== null")
        audit(p, f"status {scheme}")
        shot(p, f"status-{scheme}")
        p.run("history.back()")
        p.until("!document.getElementById('chat').hidden")
    assert p.run("getComputedStyle(document.createElement('i')).animationName !== undefined && [...document.getAnimations()].length === 0")


@case
def status(p, s):
    c = http.client.HTTPConnection(s.url.removeprefix("http://"), timeout=60)
    c.connect()
    socket_of = c.sock                          # the answer takes it over
    c.request("POST", "/v1/chat/completions", json.dumps({"stream": True, "logit_bias": {"1": -100, "106": -100, "50": -100}, "messages": [{"role": "user", "content": "Tell me something."}]}),
              {"Content-Type": "application/json"})
    r = c.getresponse()

    def read():
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):         # it ends with its connection
            while r.read1(65536):
                pass
    threading.Thread(target=read, daemon=True).start()
    p.click("#to-status")
    p.until("document.querySelector('#status td:nth-child(2)')?.textContent === 'answering' || document.querySelector('#status-body').innerText.includes('Nothing runs')")
    p.until("Math.max(...document.querySelector('.plot.answer .line').getAttribute('points').split(' ').map(q => 160 - q.split(',')[1])) > 40")
    text = p.run("document.getElementById('status-body').innerText")
    assert "facet-mini" in text and "8,192 tokens" in text and "Cache of the attention" in text
    shot(p, "status")
    p.run("history.back()")
    p.until("!document.getElementById('chat').hidden")
    socket_of.shutdown(socket.SHUT_RDWR)


@case
def disk(p, s):
    with tempfile.TemporaryDirectory() as folder:
        kept = Server("--cache-dir", f"{folder}/cache", "--cache-disk", "64M")
        q = ready(Page(browser, kept.url + "/"))
        q.click("#to-status")
        q.until("document.getElementById('status-body').innerText.includes('Cache on disk')")
        text = q.run("document.getElementById('status-body').innerText")
        assert "0 MiB of 64 MiB" in text and "Tokens that came back" in text, text
        shot(q, "status-disk")
        check(q, kept)
        q.close()
        kept.stop()
    p.click("#to-status")
    p.until("document.getElementById('status-body').innerText.includes('Requests set back')")
    assert "on disk" not in p.run("document.getElementById('status-body').innerText")       # a server without one
    p.run("history.back()")
    p.until("!document.getElementById('chat').hidden")


@case
def key(p, s):
    keyed = Server("--api-key", KEY)
    q = Page(browser, keyed.url + "/")
    q.until("document.getElementById('key').open")
    shot(q, "key")
    q.fill("#key-value", "sk-wrong-wrong")
    q.key("Enter")
    q.until("document.getElementById('key').open && document.getElementById('key-why').textContent.includes('not accepted')")
    audit(q, "key")
    q.fill("#key-value", KEY)
    q.key("Enter")
    ready(q)
    assert q.run("[sessionStorage.length, localStorage.length, document.cookie]") == [1, 0, ""]
    ask(q, "Spell cat.")
    q.reload()
    ready(q)                                    # not asked again
    assert KEY not in json.dumps(stored(q)) and all(KEY not in u for u in q.requests)
    q.run("sessionStorage.clear()")
    say(q, "Spell dog.")
    q.until("document.getElementById('key').open")
    q.click("#key-cancel")
    q.until("document.querySelector('article:last-child .error')?.textContent.includes('API key')")
    q.wrong = [w for w in q.wrong if "status of 401" not in w]
    check(q, keyed)
    q.close()
    keyed.stop()


def check(p, s):
    """Nothing was broken on the way, and nobody else was asked."""
    assert not p.wrong, p.wrong
    elsewhere = [u for u in p.requests if not u.startswith((s.url + "/", "blob:" + s.url, "data:"))]
    assert not elsewhere, elsewhere


def main():
    global browser
    wanted = sys.argv[2:]
    passed = failed = 0
    server = Server()
    browser = Browser()
    for f in cases:
        if wanted and f.__name__ not in wanted:
            continue
        p = None
        try:
            p = ready(Page(browser, server.url + "/"))
            f(p, server)
            check(p, server)
            passed += 1
        except Exception:
            failed += 1
            print(f"{f.__name__}:")
            traceback.print_exc(file=sys.stdout)
            if p:
                shot(p, f"failed-{f.__name__}")
        if p:
            p.close()
    print(f"{passed} passed, {failed} failed")
    return failed or not passed


if __name__ == "__main__":
    try:
        code = main()
    finally:
        if browser:
            browser.close()
            shutil.rmtree(browser.folder, ignore_errors=True)
        for server in list(servers):
            server.stop()
    sys.exit(bool(code))
