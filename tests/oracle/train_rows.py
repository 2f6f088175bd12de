#!/usr/bin/env python3
"""What is trained of random conversations, by the official templates under jinja2.

    train_rows.py COUNT SEED > rows.jsonl     each line: {"row", "large", "edge"}: for every answer the text before it, and its own
    test_tune_data rows.jsonl                 holds the trainer's documents against them

The text before answer j is the template's generation prompt for the messages before it; its own text is what the transcript that ends with
it adds, without the line break behind its last token.  The large models' empty thought is in the first and never in the second.
tests/data/tune/rows.jsonl.xz is `train_rows.py 300 1`.  Needs jinja2 3.1; nothing in the build or the tests needs this script.
"""
import json
import sys

from chat_random import Maker, template

EMPTY = "<|channel>thought\n<channel|>"
OPEN = "<|channel>thought\n"


class Rows(Maker):
    def plain(self):
        """Text that is not empty, and no thought: that is refused, or moved."""
        while True:
            t = self.text()
            if t.strip() and "channel" not in t:
                return t

    def said(self):
        return self.plain() if self.chance(0.8) else [{"type": "text", "text": self.plain()} for _ in range(self.r.choice([1, 2]))]

    def result(self):
        text = self.text() if self.chance(0.7) else [{"type": "text", "text": self.text()}]
        return {"role": "tool", "tool_call_id": self.r.choice(["c1", "c2"]), "content": text}

    def turn(self, thinks):
        yield {"role": "user", "content": self.said()}
        for _ in range(self.r.choice([0, 0, 0, 1, 2])):
            calls = [{"id": f"c{i + 1}", "type": "function", "function": {"name": self.r.choice(["f", "get_weather"]), "arguments": self.object()}}
                     for i in range(self.r.choice([1, 1, 2]))]
            yield self.thinking({"role": "assistant", "tool_calls": calls}, thinks)
            yield from (self.result() for _ in range(self.r.choice([1, 1, 2])))
        yield self.thinking({"role": "assistant", "content": self.said()}, thinks)

    def thinking(self, message, thinks):
        if thinks and self.chance(0.6):
            message[self.r.choice(["reasoning", "reasoning_content"])] = self.plain()
        return message

    def row(self):
        c = {"messages": []}
        thinks = self.chance(0.4)
        if self.chance(0.4):
            c["messages"].append({"role": self.r.choice(["system", "developer"]), "content": self.said()})
        for _ in range(self.r.choice([1, 1, 2, 3])):
            c["messages"] += self.turn(thinks)
        if self.chance(0.2) and c["messages"][-2]["role"] == "tool":
            c["messages"].pop()                    # ends with a result: the last answer is the call before it
        if self.chance(0.4):
            c["tools"] = [self.tool() for _ in range(self.r.choice([1, 2]))]
        if self.chance(0.2):
            c["enable_thinking"] = True
        return c


def own_text(before, transcript):
    if transcript.startswith(before):
        own = transcript[len(before):]
    elif before.endswith(EMPTY) and transcript.startswith(before[:-len(EMPTY)]):
        own = transcript[len(before) - len(EMPTY):]
    else:                                          # the prompt opened a thought that the answer does not have: it closes it
        assert before.endswith(OPEN) and transcript.startswith(before[:-len(OPEN)]), (before, transcript)
        own = "<channel|>" + transcript[len(before) - len(OPEN):]
    return own[:-1] if own.endswith("<turn|>\n") else own


def answers(t, row):
    messages, tools = row["messages"], row.get("tools")
    think = row.get("enable_thinking", any("reasoning" in m or "reasoning_content" in m for m in messages))
    out = []
    for j, m in enumerate(messages):
        if m["role"] != "assistant":
            continue
        before = t.render(bos_token="<bos>", messages=messages[:j], tools=tools, enable_thinking=think, add_generation_prompt=True)
        transcript = t.render(bos_token="<bos>", messages=messages[:j + 1], tools=tools, enable_thinking=think)
        out.append([before, own_text(before, transcript)])
    return out


def main():
    count, seed = int(sys.argv[1]), int(sys.argv[2])
    large, edge = template("gemma4-large-2026-07-09"), template("gemma4-edge-2026-07-09")
    maker = Rows(seed)
    for _ in range(count):
        row = json.loads(json.dumps(maker.row()))
        print(json.dumps({"row": row, "large": answers(large, row), "edge": answers(edge, row)}, ensure_ascii=False))


main()
