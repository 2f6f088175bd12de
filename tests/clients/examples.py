"""The examples of docs/api.md: OpenAI's, Anthropic's and Ollama's own types take them, and requests are answered in the form that follows them.

A block's first line says what it is: "json POST /path" a request, "json TYPE" an answer, "sse TYPE" a stream of events, TYPE being
a client's.  An answer behind a request must have the fields that the server's answer has."""
import importlib
import json
import re
import urllib.request

import pydantic

PARAMS = {
    "/v1/chat/completions": "openai.types.chat.completion_create_params.CompletionCreateParams",
    "/v1/completions": "openai.types.completion_create_params.CompletionCreateParams",
    "/v1/responses": "openai.types.responses.response_create_params.ResponseCreateParams",
    "/v1/embeddings": "openai.types.embedding_create_params.EmbeddingCreateParams",
    "/api/chat": "ollama._types.ChatRequest",
    "/v1/messages": "anthropic.types.message_create_params.MessageCreateParams",
}


def resolve(name):
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)


def take(name, value):
    """value as the client's type, nothing coerced.  (What a request's type only iterates over is not looked into.)"""
    pydantic.TypeAdapter(resolve(name)).validate_json(json.dumps(value), strict=True)


def events(text):
    """The data of a stream, each with its event's name."""
    out = []
    for part in filter(None, re.split(r"\n\n+", text.strip())):
        lines = dict(line.split(": ", 1) for line in part.split("\n"))
        if lines["data"] != "[DONE]":
            out.append((lines.get("event", ""), json.loads(lines["data"])))
    return out, text.strip().endswith("data: [DONE]")


def shape(v):
    if isinstance(v, dict):
        return {k: shape(x) for k, x in v.items()}
    if isinstance(v, list):
        return [shape(x) for x in v]
    return "number" if type(v) in (int, float) else type(v).__name__


def ask(url, path, body):
    request = urllib.request.Request(url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as r:
        return r.read().decode()


def check(url, block, before):
    """One block; before: the (path, body) of the request that it answers, or None."""
    kind, name, text = block
    if kind == "sse":
        said, ends = events(text)
        for event, data in said:
            assert event in ("", data.get("type")), event
            if data.get("type") != "ping":
                take(name, data)
        if before:
            got, got_ends = events(ask(url, *before))
            assert (shape(got), ends) == (shape(said), got_ends)
    else:
        take(name, json.loads(text))
        if before:
            assert shape(json.loads(ask(url, *before))) == shape(json.loads(text))


def examples(url):
    """(name, function) for each block of the document."""
    text = open("docs/api.md", encoding="utf-8").read()
    tests, before = [], None
    for kind, name, body in re.findall(r"^```(json|sse) (.+)\n((?:.*\n)*?)```$", text, re.M):
        if name.startswith("POST "):
            before = name[5:], json.loads(body)
            tests.append((f"api.md: {name}", lambda b=before: take(PARAMS[b[0]], b[1])))
        else:
            tests.append((f"api.md: {name}", lambda b=(kind, name, body), a=before: check(url, b, a)))
            before = None
    assert len(tests) == text.count("\n```json") + text.count("\n```sse") > 10
    return tests
