#!/usr/bin/env python3
"""Random conversations rendered by jinja2 with the official templates, as transformers does it.

    chat_random.py COUNT SEED > cases.jsonl       each line: {"input", "large", "edge"}; null where the template fails
    test_chat cases.jsonl                         compares them with the renderer

tests/data/chat/random.jsonl.xz is `chat_random.py 800 1`.  Needs jinja2 3.1; nothing in the build or the tests needs this script.
"""
import json
import lzma
import os
import random
import sys

from jinja2.exceptions import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "chat")


def template(name):
    def raise_exception(message):
        raise TemplateError(message)
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    env.globals["raise_exception"] = raise_exception
    with lzma.open(os.path.join(DATA, name + ".jinja.xz"), "rt", encoding="utf-8") as f:
        return env.from_string(f.read())


WORDS = ["a", "city", "Über", "ß", "naïve", "B", "b", "A", "type", "日本", "x y", "İ", "ǆ", "Z", "_", "", " pad ", "\u00a0nb\u3000", "it's", 'say "hi"',
         "both ' and \"", "\n", "tab\t", "back\\slash", "\u200b", "\x1f", "é\u0301", "🦙", "<|turn>", "<channel|>", "<|channel>", '<|"|>', "<turn|>", "ﬁ", "\x85",
         "\ue000", "\U000e0001", "\u2028end", "response", "string", "object", "array", "ΑΣ", "'", '"']
NUMBERS = [0, 1, -1, 7, 2**31, 2**53, 10**18, -(10**18), 2**63 - 1, -(2**63), 10**25, -(10**30), 0.0, -0.0, 0.1, 1.0, 1e16, 1e15, 123456.789, 1e-4, 1e-5, 1.5e-7,
           1e22, 5e-324, 1.7976931348623157e308, 2.0**-44, 100.0]


class Maker:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.wild = False        # unusual types in unusual places

    def chance(self, p):
        return self.r.random() < p

    def text(self):
        return "".join(self.r.choice(WORDS) for _ in range(self.r.choice([0, 1, 1, 2, 3, 5])))

    def number(self):
        k = self.r.randrange(4)
        if k == 0:
            return self.r.choice(NUMBERS)
        if k == 1:
            return self.r.randrange(-1000, 1000)
        if k == 2:
            return self.r.uniform(-1, 1) * 10.0 ** self.r.randrange(-12, 24)
        return self.r.choice([2.0, 0.5, 3.0]) ** self.r.randrange(-200, 200)

    def scalar(self):
        return self.r.choice([self.text, self.number, lambda: True, lambda: False, lambda: None])()

    def value(self, depth=3):
        k = self.r.randrange(10)
        if depth == 0 or k < 6:
            return self.scalar()
        if k < 8:
            return [self.value(depth - 1) for _ in range(self.r.randrange(4))]
        return self.object(depth - 1)

    def object(self, depth=2):
        return {self.key(): self.value(depth) for _ in range(self.r.choice([0, 1, 2, 3, 6]))}

    def key(self):
        return self.r.choice(WORDS) + self.r.choice(["", "", "1", "B", "b", "é", "Ä"])

    def odd(self, usual):
        """The usual thing, or anything at all."""
        return self.value() if self.wild and self.chance(0.12) else usual()

    def type(self):
        return self.r.choice(["string", "STRING", "integer", "number", "boolean", "array", "object", "Object", "null", "straße", "ŉ", ""])

    def schema(self, depth=3):
        s = {}
        if self.chance(0.9):
            s["type"] = self.odd(lambda: [self.type(), self.type()] if self.chance(0.15) else self.type())
        kind = s.get("type")
        if self.chance(0.6):
            s["description"] = self.odd(self.text)
        if self.chance(0.3):
            s["enum"] = self.odd(lambda: [self.scalar() for _ in range(self.r.randrange(4))])
        if self.chance(0.2):
            s["nullable"] = self.odd(lambda: self.chance(0.5))
        if depth and (kind == "array" or self.chance(0.2)):
            s["items"] = self.odd(lambda: self.schema(depth - 1))
        if depth and (str(kind).lower() == "object" or self.chance(0.2)) and self.chance(0.8):
            s["properties"] = self.odd(lambda: self.properties(depth - 1))
        if self.chance(0.3):
            s["required"] = self.odd(lambda: [self.key() for _ in range(self.r.randrange(3))])
        for extra in ("default", "minimum", "format", "additionalProperties", "anyOf", "title"):
            if self.chance(0.08):
                s[extra] = self.value(2)
        items = list(s.items())
        self.r.shuffle(items)
        return dict(items)

    def properties(self, depth=3):
        return {self.key(): self.odd(lambda: self.schema(depth)) for _ in range(self.r.choice([0, 1, 2, 3, 5]))}

    def tool(self):
        f = {"name": self.odd(lambda: self.r.choice(["f", "get_weather", "mcp.x:y", "ü"]))}
        if self.chance(0.9):
            f["description"] = self.odd(self.text)
        if self.chance(0.85):
            f["parameters"] = self.odd(self.parameters)
        if self.chance(0.2):
            f["response"] = self.odd(self.schema)
        return {"type": "function", "function": self.odd(lambda: f)}

    def parameters(self):
        p = {}
        if self.chance(0.95):
            p["type"] = self.odd(lambda: self.r.choice(["object", "OBJECT", "Objekt"]))
        if self.chance(0.9):
            p["properties"] = self.odd(self.properties)
        if self.chance(0.5):
            p["required"] = self.odd(lambda: [self.key() for _ in range(self.r.randrange(3))])
        return p

    def part(self, tool=False):
        k = self.r.choice(["text", "text", "text", "image", "image_url", "audio", "input_audio", "video", "refusal"])
        p = {"type": self.odd(lambda: k)}
        if k == "text" or self.chance(0.1):
            p["text"] = self.odd(self.text)
        return p

    def content(self):
        k = self.r.randrange(12)
        if k < 7:
            return self.text()
        if k < 10:
            return [self.odd(self.part) for _ in range(self.r.randrange(4))]
        return None if k == 10 else self.odd(self.text)

    def id(self):
        return self.odd(lambda: self.r.choice(["c1", "c2", "c3", "", None, 1, 1.0, True]))

    def call(self):
        f = {"name": self.odd(lambda: self.r.choice(["f", "g", "get_weather", "ü x"]))}
        if self.chance(0.97):
            f["arguments"] = self.odd(lambda: None if self.chance(0.05) else self.object())
        c = {"function": f}
        if self.chance(0.9):
            c["id"] = self.id()
        return self.odd(lambda: c)

    def message(self):
        role = self.r.choice(["user", "user", "assistant", "assistant", "assistant", "tool", "tool", "system", "developer", "model", "other"])
        m = {"role": self.odd(lambda: role)}
        if self.chance(0.9):
            m["content"] = self.content()
        if role in ("assistant", "model"):
            if self.chance(0.35):
                m["tool_calls"] = self.odd(lambda: [self.call() for _ in range(self.r.choice([0, 1, 1, 2, 3]))])
            if self.chance(0.35):
                m[self.r.choice(["reasoning", "reasoning_content"])] = self.odd(self.text)
            if self.chance(0.12):
                m["tool_responses"] = self.odd(lambda: [self.odd(self.response) for _ in range(self.r.randrange(3))])
        if role == "tool":
            if self.chance(0.8):
                m["tool_call_id"] = self.id()
            if self.chance(0.4):
                m["name"] = self.odd(lambda: self.r.choice(["f", "named", ""]))
            if self.chance(0.2):
                m["content"] = self.value()
        return m

    def response(self):
        r = {}
        if self.chance(0.8):
            r["name"] = self.odd(lambda: self.r.choice(["f", "g", ""]))
        if self.chance(0.9):
            r["response"] = self.value()
        return r

    def conversation(self):
        self.wild = self.chance(0.25)
        c = {"messages": [self.message() for _ in range(self.r.choice([0, 1, 2, 3, 4, 6, 9]))]}
        if self.chance(0.3):
            c["messages"].insert(0, {"role": self.r.choice(["system", "developer"]), "content": self.odd(self.content)})
        if self.chance(0.45):
            c["tools"] = [self.odd(self.tool) for _ in range(self.r.randrange(4))]
        for flag in ("enable_thinking", "preserve_thinking", "add_generation_prompt"):
            if self.chance(0.6):
                c[flag] = self.odd(lambda: self.chance(0.6))
        return c


def render(t, conversation):
    try:
        return t.render(bos_token="<bos>", **conversation)
    except Exception:            # any failure of the template
        return None


def main():
    count, seed = int(sys.argv[1]), int(sys.argv[2])
    large, edge = template("gemma4-large-2026-07-09"), template("gemma4-edge-2026-07-09")
    made = refused = 0
    maker = Maker(seed)
    while made < count:
        c = json.loads(json.dumps(maker.conversation()))
        a, b = render(large, c), render(edge, c)
        if a is None:
            if refused * 4 > made:           # most cases should print something
                continue
            refused += 1
        made += 1
        print(json.dumps({"input": c, "large": a, "edge": b}, ensure_ascii=False))


if __name__ == "__main__":
    main()
