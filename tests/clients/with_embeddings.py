"""Embeddings through OpenAI's client: base64, which it asks for by itself, and floats are the same; texts and ids; dimensions."""
import math
import struct

import openai

from common import URL, run

OPENAI = openai.OpenAI(base_url=URL + "/v1", api_key="any", max_retries=0)


def embed(**fields):
    """As 32-bit floats: nine digits carry them, but a float of Python's has more."""
    every = [list(d.embedding) for d in OPENAI.embeddings.create(model="m", **fields).data]
    return [list(struct.unpack(f"{len(e)}f", struct.pack(f"{len(e)}f", *e))) for e in every]


def openai_embeddings():
    (a,) = embed(input="Hello")
    (b,) = embed(input="Hello", encoding_format="float")
    assert a == b and math.isclose(sum(x * x for x in a), 1, rel_tol=1e-5)
    other, same = embed(input=["12 + 30", "Hello"])
    assert same == a and other != a
    (short,) = embed(input="Hello", dimensions=8)
    scale = math.sqrt(sum(x * x for x in a[:8]))
    assert len(short) == 8 and all(math.isclose(x, y / scale, abs_tol=1e-6) for x, y in zip(short, a))
    r = OPENAI.embeddings.create(model="m", input=[[5, 6, 7], [5, 6]])
    assert [d.index for d in r.data] == [0, 1] and r.usage.prompt_tokens == 5


def openai_embeddings_refused():
    for wrong in ({"input": ""}, {"input": "x", "dimensions": 0}, {"input": []}):
        try:
            embed(**wrong)
        except openai.BadRequestError as e:
            assert e.param in wrong
        else:
            raise AssertionError(f"{wrong} was answered")


run(openai_embeddings, openai_embeddings_refused)
