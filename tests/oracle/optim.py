"""Ten steps of torch's AdamW with torch's clipping, for tests/unit/test_tune_optim.c.

  python optim.py --out ../golden/optim.json      write
  python optim.py --check ../golden/optim.json    make it again and compare
"""
import argparse
import json
import sys

import numpy as np
import torch

CASES = {
    "plain": dict(rate=1e-3, decay=0.0, clip=0.0),
    "decay and clipping": dict(rate=2e-2, decay=0.1, clip=1.0),
    "other betas": dict(rate=1e-2, decay=0.01, clip=0.5, betas=(0.8, 0.95), eps=1e-6),
}
STEPS, RANK, IN, OUT = 10, 2, 3, 4


def make(name):
    c = dict(CASES[name])
    rng = np.random.default_rng(len(name))
    start = [rng.standard_normal((RANK, IN), np.float32), np.zeros((OUT, RANK), np.float32)]
    p = [torch.nn.Parameter(torch.from_numpy(x.copy())) for x in start]
    betas, eps = c.get("betas", (0.9, 0.999)), c.get("eps", 1e-8)
    opt = torch.optim.AdamW(p, lr=c["rate"], betas=betas, eps=eps, weight_decay=c["decay"], foreach=False)
    grads, values = [], []
    for step in range(STEPS):
        g = [rng.standard_normal(x.shape, np.float32) * np.float32(10.0 ** (step % 3 - 1)) for x in start]
        if step == 0:
            g[0][:] = 0                      # B is 0 at the start
        for x, y in zip(p, g):
            x.grad = torch.from_numpy(y.copy())
        if c["clip"]:
            torch.nn.utils.clip_grad_norm_(p, c["clip"])
        opt.step()
        grads.append([float(v) for x in g for v in x.ravel()])
        values.append([float(v) for x in p for v in x.detach().numpy().ravel()])
    return {"rate": c["rate"], "decay": c["decay"], "clip": c["clip"], "beta1": betas[0], "beta2": betas[1], "eps": eps,
            "start": [float(v) for x in start for v in x.ravel()], "grads": grads, "values": values}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--out")
    ap.add_argument("--check")
    a = ap.parse_args()
    made = {"reference": f"torch {torch.__version__}, AdamW, float32", "rank": RANK, "in": IN, "out": OUT, "cases": {n: make(n) for n in CASES}}
    if a.out:
        with open(a.out, "w") as f:
            json.dump(made, f)
            f.write("\n")
    if a.check:
        old = json.load(open(a.check))
        off = max(float(np.abs(np.array(made["cases"][n]["values"]) - np.array(old["cases"][n]["values"])).max()) for n in CASES)
        print(f"AdamW, {len(CASES)} cases of {STEPS} steps: off by {off:.2e}")
        return 0 if off <= 1e-7 else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
