"""Runs ./facet on a model."""
import json
import os
import subprocess
import tempfile

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FACET = os.environ.get("FACET", os.path.join(ROOT, "facet"))


def logits(model, ids, *options, greedy=0, exact=True):
    """float32 [T, V], and the greedy continuation when asked for."""
    with tempfile.TemporaryDirectory() as tmp:
        out = os.path.join(tmp, "out.npy")
        cmd = [FACET, "logits", "-q", "-m", model, "--tokens", ",".join(map(str, ids)), "-o", out, *options]
        cmd += ["--exact"] * exact + (["--greedy", str(greedy)] if greedy else [])
        r = subprocess.run(cmd, capture_output=True, text=True)
        if r.returncode:
            raise RuntimeError(f"{' '.join(cmd)[:300]}\n{r.stderr}")
        y = np.load(out)
        if not greedy:
            return y
        return y, json.loads(r.stdout.strip().splitlines()[-1])["tokens"]
