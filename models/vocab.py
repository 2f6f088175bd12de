"""The miniature's vocabulary: Gemma 4's own ids where they fit, then letters, then whole words.

Merges grow words from their first letter ("▁t" "▁th" "▁the"), so inside an unknown or quoted word
every letter stays a token of its own, which is what spelling and copying need.
"""
import collections
import json
import re

from tokenizers import Tokenizer

SIZE = 1408
SPECIAL = {0: "<pad>", 1: "<eos>", 2: "<bos>", 3: "<unk>", 4: "<mask>", 46: "<|tool>", 47: "<tool|>", 48: "<|tool_call>",
           49: "<tool_call|>", 50: "<|tool_response>", 51: "<tool_response|>", 52: '<|"|>', 98: "<|think|>",
           100: "<|channel>", 101: "<channel|>", 105: "<|turn>", 106: "<turn|>"}
MEDIA = ("<|image>", "<|audio>", "<|image|>", "<|audio|>", "<image|>", "<audio|>", "<|video|>")
VISIBLE = ("<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", '<|"|>')
FIXED = {107: "\n", 108: "\n\n", 109: "\n\n\n", 110: "\n\n\n\n", 138: "▁▁", 139: "▁▁▁", 140: "▁▁▁▁", 144: "▁▁▁▁▁▁▁▁"}
# Words that the chat format itself writes. Those before ":" grow from the colon backwards.
FORMAT = ("user", "model", "system", "thought", "STRING", "INTEGER", "OBJECT")
COLON = ("declaration:", "description:", "parameters:", "properties:", "required:", "response:", "type:", "call:", "city:",
         "value:", "result:", "temperature:", "item:", "time:")


def words(texts):
    count = collections.Counter()
    for text in texts:
        text = text.replace(" ", "▁")
        count.update(re.findall(r"▁[a-z]+|[A-Z][a-z]+", text))
    return count


def make(texts):
    """tokens (a list of SIZE strings) and merges, from a sample of rendered conversations."""
    tokens = {**SPECIAL, **FIXED, **{238 + b: "<0x%02X>" % b for b in range(256)}}
    first = 494
    chars = ["▁", "\t"] + [chr(c) for c in range(33, 127)]
    for i, c in enumerate(chars):
        tokens[first + i] = c
    n, limit = first + len(chars), SIZE - len(MEDIA)
    known = set(tokens.values())
    merges = []

    def merge(a, b):
        nonlocal n
        if a + b in known and (a, b) in merges:
            return
        assert a in known and b in known
        if a + b not in known:
            tokens[n] = a + b
            known.add(a + b)
            n += 1
        merges.append((a, b))

    for a, b in (("\n", "\n"), ("\n\n", "\n\n"), ("\n\n", "\n"), ("▁", "▁"), ("▁▁", "▁▁"), ("▁▁▁▁", "▁▁▁▁"), ("▁▁", "▁")):
        merge(a, b)
    for w in COLON:
        for i in range(len(w) - 2, -1, -1):
            merge(w[i], w[i + 1:])
    tail = sum(len(w) - 1 for w in FORMAT)
    for w, _ in sorted(words(texts).items(), key=lambda x: (-x[1], x[0])):
        if n + len(w) + tail > limit:
            break
        for i in range(1, len(w)):
            merge(w[:i], w[i])
    for w in FORMAT:
        for i in range(1, len(w)):
            merge(w[:i], w[i])
    for i, t in enumerate(MEDIA):
        tokens[limit + i] = t
    return [tokens.get(i, "<unused%d>" % i) for i in range(SIZE)], merges


def types(tokens):
    """GGUF's token types, as converters give them to the real vocabulary."""
    control = set(SPECIAL.values()) | set(MEDIA)
    return [2 if t == "<unk>" else 6 if 238 <= i < 494 else 4 if t in VISIBLE else 3 if t in control and t != "<eos>" else 1
            for i, t in enumerate(tokens)]


def save(path, tokens, merges):
    """A tokenizer.json as Hugging Face publishes them."""
    added = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
             for i, (t, k) in enumerate(zip(tokens, types(tokens))) if k in (2, 3, 4) or i == 1]
    json.dump({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False},
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                                                     {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                  "vocab": {t: i for i, t in enumerate(tokens)}, "merges": [list(m) for m in merges]}},
        open(path, "w"), ensure_ascii=False, indent=0)


def load(path):
    return Tokenizer.from_file(str(path))
