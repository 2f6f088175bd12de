"""A small tokenizer in Gemma's form (BPE with byte fallback, spaces as U+2581), for tools that insist on one."""
import json
import os

SPECIAL = {0: "<pad>", 1: "<eos>", 2: "<bos>", 3: "<unk>", 4: "<mask>", 46: "<|tool>", 47: "<tool|>", 48: "<|tool_call>",
           49: "<tool_call|>", 50: "<|tool_response>", 51: "<tool_response|>", 52: '<|"|>', 98: "<|think|>",
           100: "<|channel>", 101: "<channel|>", 105: "<|turn>", 106: "<turn|>"}
BYTES_AT = 110


def pieces(size):
    """id -> text: the special tokens on Gemma's own ids, 256 bytes, then letters and a few merged pieces."""
    assert size >= BYTES_AT + 256 + 40
    out = dict(SPECIAL)
    out[107], out[108] = "\n", "\n\n"
    out.update({BYTES_AT + i: f"<0x{i:02X}>" for i in range(256)})
    letters = ["\u2581"] + [chr(c) for c in range(ord("a"), ord("z") + 1)] + list("etaoin")
    merged = ["th", "he", "in", "er", "an", "\u2581t", "\u2581a"]
    more = iter(dict.fromkeys(letters + merged))
    for i in range(size):
        if i not in out:
            out[i] = (next(more, None) if i >= BYTES_AT else None) or f"<unused{i}>"
    return out


def save(folder, size):
    words = pieces(size)
    vocab = {t: i for i, t in sorted(words.items())}
    merges = [["\n", "\n"]] + [[t[:1], t[1:]] for t in ("th", "he", "in", "er", "an", "\u2581t", "\u2581a") if t in vocab]
    added = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
              "special": True} for i, t in SPECIAL.items()]
    with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as f:
        json.dump({
            "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
            "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
            "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False},
            "post_processor": None,
            "decoder": {"type": "Sequence", "decoders": [
                {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]},
            "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                      "vocab": vocab, "merges": merges}}, f, ensure_ascii=False)
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as f:
        json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<bos>", "eos_token": "<eos>",
                   "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}, f)
