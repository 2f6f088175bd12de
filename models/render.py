"""Prompts exactly as inference shows them: the official template, run by jinja2."""
import pathlib

import jinja2

TEMPLATE = pathlib.Path(__file__).with_name("chat_template.jinja")


def _fail(text):
    raise ValueError(text)


_env = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
_env.globals["raise_exception"] = _fail
_template = _env.from_string(TEMPLATE.read_text())


def prompt(c):
    """The text before the model's turn of a data.Conversation."""
    return _template.render(messages=c.messages, tools=c.tools, enable_thinking=c.think, add_generation_prompt=True, bos_token="<bos>")


def encode(tok, c):
    """(ids, learn): the prompt and its answer with the stop token; learn[i] is true where ids[i] is the model's to say."""
    head = tok.encode(prompt(c), add_special_tokens=False).ids
    tail = tok.encode(c.target + c.stop, add_special_tokens=False).ids
    learn = [False] * len(head) + [True] * len(tail)
    if c.learn_history:
        newline = 107
        inside = False
        for i, t in enumerate(head):
            if inside:
                learn[i] = True
                inside = t != 106
            elif i >= 2 and t == newline and head[i - 2] == 105 and head[i - 1] == tok.token_to_id("model"):
                inside = True
        # The prompt's own end (its header and empty thought) is not the model's.
        i = len(head) - 1
        while i >= 0 and learn[i] and head[i] != 106:
            learn[i] = False
            i -= 1
    return head + tail, learn
