"""Facet and llama.cpp on the same files: conversions, llama-quantize's mixes, and files that Facet wrote.

  python llamacpp.py --llama TREE --logits LLAMA_LOGITS --tiny MK_TINY
      TREE: llama.cpp, built in TREE/build; MK_TINY: tests/gen/mk_tiny, which writes files with Facet's writer

llama.cpp is not exact (a table for GELU, an unrounded embedding scale, int8 inputs for quantized types), so the
reference with the file's dequantized weights is asked as well: Facet's exact path must be within the golden's bound of it,
and llama.cpp must be near both, which shows that all three read the same weights.
"""
import argparse
import dataclasses
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
import torch.nn.functional as F

import facet
import from_gguf
import goldens
import miniatures
import quant_goldens
import reference
import vocabulary

VOCAB = 448
MIXES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K_M", "Q4_K_S", "Q4_K_M", "Q5_K_M", "Q6_K", "IQ4_NL", "IQ4_XS",
         "IQ3_S", "MXFP4_MOE", "BF16", "F16"]
KL_MAX = 0.25        # llama.cpp against the reference, mean over rows: its own rounding, never other weights (nats: 3 and more)


def kl(truth, other):
    p, q = (F.log_softmax(torch.from_numpy(np.asarray(x)).double(), -1) for x in (truth, other))
    return float((p.exp() * (p - q)).sum(-1).mean())


class Tools:
    def __init__(self, llama, logits, tiny):
        self.llama, self.logits_program, self.tiny_program, self.failed = llama, logits, tiny, 0

    def logits(self, path, ids):
        with tempfile.NamedTemporaryFile() as f:
            subprocess.run([self.logits_program, path, f.name, ",".join(map(str, ids))], check=True)
            return np.fromfile(f.name, np.float32).reshape(len(ids), -1)

    def row(self, what, spec, path):
        """One file in all three."""
        model, ids = from_gguf.load(spec, path), miniatures.prompt(spec)
        want = reference.logits(model, ids)
        noise = float((want.double() - reference.logits(reference.double(model), ids)).abs().max())
        exact, fast, theirs = facet.logits(path, ids), facet.logits(path, ids, exact=False), self.logits(path, ids)
        off, bound = float(np.abs(exact - want.numpy()).max()), goldens.bound_of(noise)
        k = [kl(want, x) for x in (fast, theirs)]
        good = off <= bound and k[1] <= KL_MAX and k[0] <= KL_MAX
        self.failed += not good
        print(f"| {what} | {off:.1e} | {bound:.1e} | {k[0]:.1e} | {k[1]:.1e} |{'' if good else ' **FAILED**'}", flush=True)


def conversions(t, tmp):
    """Every golden's architecture through convert_hf_to_gguf.py."""
    for spec in miniatures.GOLDENS:
        spec = dataclasses.replace(spec, vocab=VOCAB)
        folder, path = os.path.join(tmp, spec.name), os.path.join(tmp, spec.name + ".gguf")
        quant_goldens.convert(spec, folder, t.llama, path, "f32")
        t.row(f"{spec.name}, converted", spec, path)


def own_files(t, tmp):
    """Files that Facet's writer and encoders made."""
    for kind in ("E2B", "E4B", "12B", "26B", "31B"):
        for type_name in ("f32", "q8_0", "q4_0", "q4_k", "q6_k"):
            path = os.path.join(tmp, "own.gguf")
            subprocess.run([t.tiny_program, kind, type_name, "1", path], check=True)
            t.row(f"{kind} {type_name}, written by Facet", from_gguf.spec_of(path), path)


def quantized(t, tmp):
    """Hugging Face folders, and a GGUF of one, through facet quantize."""
    for name in ("e2b", "12b", "26b", "31b-f16"):
        spec = dataclasses.replace(next(s for s in miniatures.GOLDENS if s.name == name), vocab=VOCAB)
        folder, path = os.path.join(tmp, "quantize-" + name), os.path.join(tmp, "quantized.gguf")
        miniatures.save(spec, miniatures.build(spec), folder)
        vocabulary.save(folder, spec.vocab)
        for type_name in ("f32", "bf16", "q8_0", "q4_0"):
            quantize(folder, path, type_name)
            t.row(f"{name} {type_name}, by facet quantize", spec, path)
    for spec in (quant_goldens.ALL_TYPES, quant_goldens.MIXES[0][0]):
        folder, source, path = (os.path.join(tmp, spec.name + end) for end in ("-folder", "-f32.gguf", "-quantized.gguf"))
        miniatures.save(spec, miniatures.build(spec), folder)
        vocabulary.save(folder, spec.vocab)
        quantize(folder, source, "f32")
        for type_name in ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q4_k", "q5_k", "q6_k", "mxfp4", "f16"):
            quantize(source, path, type_name)
            t.row(f"{spec.name} {type_name}, by facet quantize", spec, path)


def quantize(source, path, type_name):
    subprocess.run([facet.FACET, "quantize", source, path, "--type", type_name, "-q", "-f"], check=True)


def mixes(t, tmp):
    for spec, chosen in ((quant_goldens.ALL_TYPES, MIXES), (quant_goldens.MIXES[0][0], MIXES[:-2:5]), (quant_goldens.MIXES[1][0], MIXES[1:-2:5])):
        source = os.path.join(tmp, spec.name + "-source.gguf")
        quant_goldens.convert(spec, os.path.join(tmp, spec.name), t.llama, source, "bf16")
        for mix in chosen:
            path = os.path.join(tmp, "mix.gguf")
            subprocess.run([os.path.join(t.llama, "build", "bin", "llama-quantize"), source, path, mix, "1"], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            t.row(f"{spec.name}, {mix}", spec, path)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--llama", required=True)
    ap.add_argument("--logits", required=True)
    ap.add_argument("--tiny", required=True)
    a = ap.parse_args()
    t = Tools(a.llama, a.logits, a.tiny)
    print("| file | exact path off by | bound | KL of the fast path | KL of llama.cpp |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as tmp:
        conversions(t, tmp)
        mixes(t, tmp)
        own_files(t, tmp)
        quantized(t, tmp)
        spec = quant_goldens.ALL_TYPES
        t.row(f"{spec.name}, every type", spec, os.path.join(facet.ROOT, "tests/golden", spec.name, "model.gguf"))
    return 1 if t.failed else 0


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("FACET_ORACLE_THREADS", "1")))
    sys.exit(main())
