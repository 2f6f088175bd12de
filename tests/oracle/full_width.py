"""Two layers, one sliding and one full, of every published size at full width: ./facet --exact against the reference.

The number of layers, the vocabulary and the window are cut (a prompt longer than two windows); E2B and E4B have two more
layers, which share K and V.  Weights are random as in the miniatures.
"""
import dataclasses
import os
import sys
import tempfile
import time

import numpy as np
import torch

import facet
import goldens
import miniatures
import reference
from miniatures import Spec

SIZES = [
    Spec("e2b", "e2b", 51, hidden=1536, layers=4, period=2, ff=6144, nq=8, nkv=1, nkv_full=1, d=256, d_full=512, window=8,
         vocab=512, tokens=20, ple=256, shared=2),
    Spec("e4b", "e4b", 52, hidden=2560, layers=4, period=2, ff=10240, nq=8, nkv=2, nkv_full=2, d=256, d_full=512, window=8,
         vocab=512, tokens=20, ple=256, shared=2),
    Spec("12b", "12b", 53, hidden=3840, layers=2, period=2, ff=15360, nq=16, nkv=8, nkv_full=1, d=256, d_full=512, window=8,
         vocab=512, tokens=20),
    Spec("26b", "26b", 54, hidden=2816, layers=2, period=2, ff=2112, nq=16, nkv=8, nkv_full=2, d=256, d_full=512, window=8,
         vocab=512, tokens=20, experts=128, top_k=8, expert_ff=704),
    Spec("31b", "31b", 55, hidden=5376, layers=2, period=2, ff=21504, nq=32, nkv=16, nkv_full=4, d=256, d_full=512, window=8,
         vocab=512, tokens=20),
]


def logits64(model, ids):
    """The same in float64, one layer at a time: the 26B's two layers would take 13 GB."""
    small = [m for n, m in model.model.named_children() if n != "layers"] + [model.lm_head]
    for m in small:
        m.double()
    model.tie_weights()
    for layer in model.model.layers:
        layer.register_forward_pre_hook(lambda m, a: m.double() and None)
        layer.register_forward_hook(lambda m, a, y: m.float() and None)
    return reference.logits(model, ids)


def main():
    failed = 0
    print("| size at full width | weights | rows | error | bound | seconds |")
    print("|---|---|---|---|---|---|")
    for spec in SIZES:
        if len(sys.argv) > 1 and spec.name not in sys.argv[1:]:
            continue
        start = time.time()
        spec = dataclasses.replace(spec, form="published", prefix="model.language_model.")
        model, ids = miniatures.build(spec), miniatures.prompt(spec)
        count = sum(p.numel() for p in model.parameters())
        want = reference.logits(model, ids)
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/tmp")) as tmp:
            miniatures.save(spec, model, tmp)
            noise = float((want.double() - logits64(model, ids)).abs().max())
            del model
            got = facet.logits(tmp, ids, "--threads", "2")
        off, bound = float(np.abs(got - want.numpy()).max()), goldens.bound_of(noise)
        failed += not (off <= bound and noise < goldens.ERROR_MAX)
        print(f"| {spec.name} | {count / 1e6:.0f} M | {len(ids)} | {off:.1e} | {bound:.1e} | {time.time() - start:.0f} |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("FACET_ORACLE_THREADS", "2")))
    sys.exit(main())
