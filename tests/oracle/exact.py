"""The exact path of ./facet against the reference, on random miniatures that nobody chose.

  python exact.py [--seeds N]      N shapes of each architecture; exits 1 when one is out of bound
"""
import argparse
import os
import sys
import tempfile

import numpy as np
import torch

import facet
import goldens
import miniatures
import reference

GREEDY = 64
GAP_MIN = 1e-4        # routing scores nearer than this are a tie: either expert is right


def examples(kind, count):
    """The first `count` shapes whose own float32 noise is low enough to say anything; how many were left out."""
    seed = rejected = 0
    while count:
        spec = miniatures.random_spec(kind, seed)
        seed += 1
        model, ids = miniatures.build(spec), miniatures.prompt(spec)
        y, _, _, facts = reference.examine(spec, model, ids)
        if facts["error"] >= goldens.ERROR_MAX or facts.get("routing_gap", 1) < GAP_MIN:
            rejected += 1
            assert rejected < 20, "most miniatures are chaotic: the weights are wrong"
            continue
        count -= 1
        yield spec, model, ids, y.numpy(), facts


def greedy_agrees(model, ids, tokens, bound):
    """Every token is the reference's likeliest, or within the bound of it."""
    sure = 0
    y = reference.logits(model, list(ids) + tokens)[len(ids) - 1:-1]
    for row, t in zip(y, tokens):
        if float(row.max() - row[t]) > 2 * bound:
            return False, sure
        top = row.topk(2).values
        sure += float(top[0] - top[1]) > bound
    return True, sure


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--seeds", type=int, default=8)
    a = ap.parse_args()
    failed = 0
    print("| architecture | models | rows | worst error | its bound | error / noise | chunks, threads | greedy |")
    print("|---|---|---|---|---|---|---|---|")
    for kind in miniatures.KINDS:
        n = rows = 0
        worst = (0.0, 0.0, 0.0)
        bits = text = True
        for spec, model, ids, want, facts in examples(kind, a.seeds):
            with tempfile.TemporaryDirectory() as tmp:
                miniatures.save(spec, model, tmp)
                got, tokens = facet.logits(tmp, ids, greedy=GREEDY)
                for options in (("--chunk", "1"), ("--chunk", "3", "--threads", "3"), ("--chunk", "7"), ("--threads", "1")):
                    bits &= np.array_equal(facet.logits(tmp, ids, *options), got)
            off, bound = float(np.abs(got - want).max()), goldens.bound_of(facts["error"])
            good, sure = greedy_agrees(model, ids, tokens, bound)
            text &= good
            if not off <= bound or not good or not bits:
                print(f"{spec.name}: off by {off:.2e}, bound {bound:.2e}, greedy {good}, bits {bits}: {spec}", file=sys.stderr)
                failed += 1
            worst = max(worst, (off / bound, off, bound))
            n, rows = n + 1, rows + len(ids)
        print(f"| {kind} | {n} | {rows} | {worst[1]:.1e} | {worst[2]:.1e} | {4 * worst[0]:.1f} | "
              f"{'same bits' if bits else 'DIFFER'} | {'agrees' if text else 'DIFFERS'} |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("FACET_ORACLE_THREADS", "1")))
    sys.exit(main())
