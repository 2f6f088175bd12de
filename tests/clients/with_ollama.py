"""Ollama's client: models, chat with a tool whose result is used, streams, schemas, generate."""
import json

import ollama

from common import FUNCTION, RESULT, SAID, SUM, SUM_SAID, URL, WEATHER, run

OLLAMA = ollama.Client(host=URL)
COLD = {"temperature": 0}


def ollama_models():
    assert [m.model for m in OLLAMA.list().models][0].startswith("facet-mini")
    assert "tools" in OLLAMA.show("facet-mini").capabilities
    OLLAMA.ps()


def ollama_chat():
    r = OLLAMA.chat(model="m", messages=SUM, options=COLD)
    assert r.message.content == SUM_SAID and r.done_reason == "stop" and r.eval_count > 0
    assert "".join(p.message.content for p in OLLAMA.chat(model="m", messages=SUM, options=COLD, stream=True)) == SUM_SAID


def ollama_tools():
    m = OLLAMA.chat(model="m", messages=WEATHER, tools=FUNCTION, options=COLD).message
    (call,) = m.tool_calls
    assert call.function.name == "weather" and dict(call.function.arguments) == {"city": "Paris"}
    history = WEATHER + [m, {"role": "tool", "tool_name": "weather", "content": RESULT}]
    assert OLLAMA.chat(model="m", messages=history, tools=FUNCTION, options=COLD).message.content == SAID


def ollama_thought():
    r = OLLAMA.chat(model="m", messages=SUM, think=True, options=COLD)
    assert r.message.thinking and r.message.content


def ollama_schema():
    schema = {"type": "object", "properties": {"old": {"type": "boolean"}}, "required": ["old"]}
    assert isinstance(json.loads(OLLAMA.chat(model="m", messages=SUM, format=schema).message.content)["old"], bool)


def ollama_generate():
    r = OLLAMA.generate(model="m", prompt=SUM[0]["content"], options=COLD)
    assert r.response == SUM_SAID
    assert len(OLLAMA.embed(model="m", input=["a", "b"]).embeddings) == 2


run(ollama_models, ollama_chat, ollama_tools, ollama_thought, ollama_schema, ollama_generate)
