"""Writes tests/golden/blocks: what the reference answers when rows stand in image blocks.

The text model of the reference takes ready masks, so the rule (sliding layers: causal or same block, and inside the
window; full layers: causal) is written here once more, independently of Facet's code. Blocks longer than the window,
side by side, and at the end of the prompt are among the rows.

    python tests/oracle/blocks.py --out tests/golden/blocks      (or --check)
"""
import argparse
import os
import sys

import torch
from safetensors.torch import load_file, save_file

import miniatures

BLOCKS = {"12b": [(5, 12), (12, 15), (30, 56)], "26b": [(3, 4), (8, 23), (23, 30)], "31b": [(0, 9), (20, 50)]}


def masks(T, window, block):
    i, j = torch.arange(T)[:, None], torch.arange(T)[None]
    same = (block[:, None] == block[None]) & (block[:, None] > 0)
    see = {"full_attention": j <= i, "sliding_attention": ((j <= i) | same) & (j > i - window)}
    return {k: torch.where(v, 0.0, torch.finfo(torch.float32).min)[None, None] for k, v in see.items()}


@torch.no_grad()
def expect(spec):
    model, ids = miniatures.build(spec), miniatures.prompt(spec)
    block = torch.zeros(len(ids), dtype=torch.int32)
    for n, (a, b) in enumerate(BLOCKS[spec.name], 1):
        block[a:b] = n
    logits = model(input_ids=torch.tensor([ids]), attention_mask=masks(len(ids), spec.window, block), use_cache=False).logits[0]
    plain = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    assert float((logits - plain).abs().max()) > 0.1, "the blocks change nothing"
    return {"tokens": torch.tensor(ids, dtype=torch.int32), "block": block, "logits": logits.float().contiguous()}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--out")
    ap.add_argument("--check")
    a = ap.parse_args()
    for spec in miniatures.GOLDENS:
        if spec.name not in BLOCKS:
            continue
        new = expect(spec)
        if a.out:
            os.makedirs(a.out, exist_ok=True)
            save_file(new, os.path.join(a.out, spec.name + ".safetensors"))
        if a.check:
            old = load_file(os.path.join(a.check, spec.name + ".safetensors"))
            off = float((old["logits"] - new["logits"]).abs().max())
            if off > 3e-3 or not torch.equal(old["block"], new["block"]):
                sys.exit(f"blocks {spec.name}: off by {off:.2g}")
            print(f"{spec.name:10} the same")


if __name__ == "__main__":
    main()
