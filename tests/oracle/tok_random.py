#!/usr/bin/env python3
"""Random texts and the ids that the package `tokenizers` gives them.

    tok_random.py COUNT SEED > texts.jsonl        each line: {"t": text, "i": ids}, with "s": true where special tokens count
    test_tok texts.jsonl                          compares them with the tokenizer

tests/data/tokenizer/random.jsonl.xz is `tok_random.py 4000 1`.  Needs tokenizers; nothing in the build or the tests needs this script.
"""
import json
import lzma
import os
import random
import struct
import sys

from tokenizers import Tokenizer

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "tokenizer")


def vocabulary():
    """Tokens, types and merges of the GGUF file."""
    with lzma.open(os.path.join(DATA, "gemma-4-vocab.gguf.xz")) as f:
        b = f.read()
    at = 24
    count = struct.unpack_from("<Q", b, 16)[0]

    def take(fmt):
        nonlocal at
        v = struct.unpack_from("<" + fmt, b, at)[0]
        at += struct.calcsize("<" + fmt)
        return v

    def text():
        nonlocal at
        n = take("Q")
        at += n
        return b[at - n:at].decode()

    def value(kind):
        if kind == 8:
            return text()
        if kind == 9:
            item, n = take("I"), take("Q")
            return [value(item) for _ in range(n)]
        return take({0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}[kind])

    keys = {}
    for _ in range(count):
        key = text()
        keys[key] = value(take("I"))
    return keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"], keys["tokenizer.ggml.merges"]


def tokenizer(tokens, types, merges, special):
    def split(m):
        i = m.index(" ", 1)
        return [m[:i], m[i + 1:]]
    added = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
             for i, (t, k) in enumerate(zip(tokens, types)) if k in (3, 4)] if special else []
    return Tokenizer.from_str(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
        "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False},
        "post_processor": None, "decoder": None,
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": True, "byte_fallback": True, "ignore_merges": False, "vocab": {t: i for i, t in enumerate(tokens)},
                  "merges": [split(m) for m in merges]}}))


class Maker:
    RANGES = [(0x20, 0x7E), (0x20, 0x7E), (0xA0, 0x24F), (0x370, 0x3FF), (0x400, 0x4FF), (0x590, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F), (0x2000, 0x206F),
              (0x2190, 0x23FF), (0x2580, 0x25FF), (0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xE000, 0xE0FF), (0xFE00, 0xFFFD), (0x1F300, 0x1FAFF),
              (0x12000, 0x123FF), (0x20000, 0x2A6DF), (0x0, 0x1F), (0x0, 0x10FFFF)]

    def __init__(self, seed, tokens, types):
        self.r = random.Random(seed)
        self.tokens = tokens
        self.special = [t for t, k in zip(tokens, types) if k in (3, 4)]

    def char(self, range_):
        while True:
            c = self.r.randint(*range_)
            if not 0xD800 <= c < 0xE000:
                return chr(c)

    def piece(self):
        k = self.r.randrange(12)
        if k < 4:                    # what merges make
            return "".join(self.r.choice(self.tokens).replace("\u2581", " ") for _ in range(self.r.randrange(1, 5)))
        if k < 7:                    # one script
            range_ = self.r.choice(self.RANGES)
            return "".join(self.char(range_) for _ in range(self.r.randrange(1, 9)))
        if k == 7:                   # any
            return "".join(self.char(self.r.choice(self.RANGES)) for _ in range(self.r.randrange(1, 6)))
        if k == 8:                   # runs
            return self.r.choice([" ", "\n", "\t", "a", "=", "-", "é", "1", "\u2581", "\r\n", "😀"]) * self.r.choice([1, 2, 3, 7, 16, 31, 32, 33, 40, 63])
        if k == 9:                   # special tokens, whole and damaged
            s = self.r.choice(self.special)
            return s if self.r.random() < 0.5 else s[:self.r.randrange(len(s))] + self.r.choice(["", " ", "<", "|"])
        if k == 10:
            return self.r.choice([" ", "\n", "\n\n", "  ", ".", ", "])
        return str(self.r.randrange(10 ** self.r.randrange(1, 12)))

    def text(self):
        return "".join(self.piece() for _ in range(self.r.choice([1, 1, 2, 3, 4, 6])))


def main():
    count, seed = int(sys.argv[1]), int(sys.argv[2])
    vocab = vocabulary()
    plain, special = tokenizer(*vocab, special=False), tokenizer(*vocab, special=True)
    maker = Maker(seed, vocab[0], vocab[1])
    for i in range(count):
        text = maker.text()
        case = {"t": text, "i": (special if i % 2 else plain).encode(text, add_special_tokens=False).ids}
        if i % 2:
            case["s"] = True
        print(json.dumps(case, ensure_ascii=False, separators=(",", ":")))


if __name__ == "__main__":
    main()
