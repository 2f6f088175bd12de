"""Every block type's decoder against the gguf package's, on blocks of random bytes: every scale, code and sign there is.

Bit for bit; only the sign of zero and the bits of NaN are free.  A type that the package cannot decode must have vectors
from elsewhere (tests/data/quant), and is named.
"""
import os
import subprocess
import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(ROOT, "build/release/tests/gen/mk_values")
PLAIN = {"F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64"}
NOT_IN_FILES = {"Q8_1", "Q8_K"}          # of activations only
OTHERWISE = {"Q1_0", "Q2_0"}             # vectors of llama.cpp itself
BLOCKS = 4000


def main():
    rng = np.random.default_rng(5)
    failed = 0
    print("| type | values | differ |\n|---|---|---|")
    for q in GGMLQuantizationType:
        if q.name in PLAIN | NOT_IN_FILES | OTHERWISE:
            continue
        raw = rng.integers(0, 256, BLOCKS * GGML_QUANT_SIZES[q][1], dtype=np.uint8)
        with np.errstate(all="ignore"):
            want = np.asarray(dequantize(raw, q), dtype=np.float32).reshape(-1)
        out = subprocess.run([PROGRAM, q.name.lower()], input=raw.tobytes(), capture_output=True, check=True).stdout
        got = np.frombuffer(out, np.float32)
        differ = -1
        if got.size == want.size:
            same = (got.view(np.uint32) == want.view(np.uint32)) | (np.isnan(got) & np.isnan(want)) | ((got == 0) & (want == 0))
            differ = int(np.count_nonzero(~same))
        failed += differ != 0
        print(f"| {q.name} | {got.size} | {differ} |")
    return failed


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
