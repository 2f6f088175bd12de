"""How far the fast path is from the reference, against the reference with its products' inputs rounded the same way.

For each weight type: the float32 reference with the file's dequantized weights says what is right; the same with the
inputs of every matrix product rounded (int8 in groups of 32 for quantized types, bf16 for float types) says what the
rounding alone costs.  ./facet's mean KL divergence may be 1.5 times that, its top-1 agreement 2 points lower.
"""
import argparse
import os
import sys
import tempfile

import gguf
import numpy as np
import torch
import torch.nn.functional as F

import facet
import from_gguf
import miniatures
import reference
import to_gguf
from miniatures import Spec

T = gguf.GGMLQuantizationType
TYPES = [T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.Q4_K, T.Q5_K, T.Q6_K, T.BF16, T.F16, T.F32]
KL_RATIO, TOP1_POINTS = 1.5, 2.0

MODELS = [
    Spec("e2b", "e2b", 61, hidden=256, layers=6, period=3, ff=256, nq=4, nkv=1, nkv_full=1, d=64, d_full=128, window=64,
         vocab=300, tokens=800, ple=64, shared=3),
    Spec("31b", "31b", 62, hidden=256, layers=6, period=3, ff=512, nq=8, nkv=4, nkv_full=2, d=32, d_full=64, window=50,
         vocab=300, tokens=800),
    Spec("26b", "26b", 63, hidden=256, layers=4, period=2, ff=256, nq=4, nkv=2, nkv_full=1, d=64, d_full=128, window=70,
         vocab=300, tokens=800, experts=8, top_k=3, expert_ff=96),
]


def int8(x):
    """Groups of 32, the scale a float."""
    g = x.reshape(*x.shape[:-1], -1, 32)
    d = g.abs().amax(-1, keepdim=True) / 127
    q = torch.where(d > 0, torch.round(g / d.clamp_min(1e-30)), torch.zeros_like(g))
    return (q * d).reshape(x.shape)


def bf16(x):
    return x.to(torch.bfloat16).float()


class Rounded:
    """Every linear of the model, the fused experts too, sees a rounded input; the router does not."""

    def __init__(self, model, rounding):
        self.keep = {m.router.proj.weight.data_ptr() for m in model.model.layers if hasattr(m, "router")}
        self.rounding, self.plain = rounding, F.linear

    def __enter__(self):
        def linear(x, w, b=None):
            return self.plain(x if w.data_ptr() in self.keep else self.rounding(x), w, b)
        torch.nn.functional.linear = linear

    def __exit__(self, *a):
        torch.nn.functional.linear = self.plain


def divergence(truth, other):
    """KL(truth || other) per row, and whether the likeliest token is the same."""
    p, q = F.log_softmax(truth.double(), -1), F.log_softmax(other.double(), -1)
    return (p.exp() * (p - q)).sum(-1), truth.argmax(-1) == other.argmax(-1)


def measure(kind, folder):
    """Rows of (KL of facet, KL of rounding, agreements) over all models."""
    parts = []
    for spec in MODELS:
        path = os.path.join(folder, "model.gguf")
        to_gguf.write(spec, miniatures.build(spec), path, kind)
        model, ids = from_gguf.load(spec, path), miniatures.prompt(spec)
        truth = reference.logits(model, ids)
        with Rounded(model, bf16 if kind in (T.BF16, T.F16, T.F32) else int8):
            rounded = reference.logits(model, ids)
        mine = torch.from_numpy(facet.logits(path, ids, exact=False))
        parts.append(torch.stack([torch.stack(divergence(truth, x)[:2]).double() for x in (mine, rounded)]))
    return torch.cat(parts, -1)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--types", default="")
    a = ap.parse_args()
    failed = 0
    print("| weights | positions | mean KL | of rounding alone | ratio | same top token | of rounding alone |")
    print("|---|---|---|---|---|---|---|")
    for kind in TYPES:
        if a.types and kind.name not in a.types.split(","):
            continue
        with tempfile.TemporaryDirectory() as tmp:
            m = measure(kind, tmp)
        (kl, top), (kl0, top0) = m.mean(-1).tolist()
        positions = m.shape[-1]
        assert positions >= 2000
        bad = not (kl <= KL_RATIO * kl0 and 100 * (top0 - top) <= TOP1_POINTS)
        failed += bad
        print(f"| {kind.name} | {positions} | {kl:.2e} | {kl0:.2e} | {kl / kl0:.2f} | {100 * top:.1f} % | {100 * top0:.1f} % |"
              f"{' OUT OF BOUND' if bad else ''}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("FACET_ORACLE_THREADS", "1")))
    sys.exit(main())
