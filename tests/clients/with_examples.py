"""The examples of docs/api.md, by OpenAI's, Anthropic's and Ollama's own types."""
from common import URL, run
from examples import examples


def named(name, f):
    f.__name__ = name
    return f


run(*(named(*test) for test in examples(URL)))
