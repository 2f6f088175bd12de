"""Goldens in quantized GGUF files: one with every block format that a file may hold, and real mixes.

  python quant_goldens.py --out ../golden --llama DIR     write (DIR: llama.cpp's tree, built in DIR/build)
  python quant_goldens.py --check ../golden               recompute the expected logits of the committed files

The files are made as users' files are: a Hugging Face folder, convert_hf_to_gguf.py, then ggml's own quantizer.  What
they should answer is the reference implementation with the same weights dequantized by the gguf package.
"""
import argparse
import ctypes
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile

import gguf
import numpy as np
import torch
import transformers
from safetensors.torch import save_file

import from_gguf
import goldens
import miniatures
import reference
import vocabulary
from miniatures import Spec

T = gguf.GGMLQuantizationType

# rows of 256 take every format, the others (64, 128, 32) only those with blocks of 32 or 64
ALL_TYPES = Spec("26b-types", "26b", 21, hidden=256, layers=4, period=2, ff=64, nq=4, nkv=2, nkv_full=1, d=16, d_full=32,
                 window=9, vocab=420, tokens=30, experts=6, top_k=2, expert_ff=32)
WIDE = [T.Q2_K, T.Q3_K, T.Q4_K, T.Q5_K, T.Q6_K, T.IQ2_XXS, T.IQ2_XS, T.IQ2_S, T.IQ3_XXS, T.IQ3_S, T.IQ1_S, T.IQ1_M, T.IQ4_XS,
        T.TQ1_0, T.TQ2_0]
NARROW = [T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.IQ4_NL, T.MXFP4, T.BF16, T.F16]
MIXES = [
    (Spec("e2b-q4_0", "e2b", 22, hidden=256, layers=4, period=2, ff=64, nq=4, nkv=1, nkv_full=1, d=16, d_full=32, window=10,
          vocab=410, tokens=32, ple=32, shared=2), "Q4_0"),
    (Spec("31b-q4_k_m", "31b", 23, hidden=256, layers=2, period=2, ff=256, nq=4, nkv=2, nkv_full=1, d=16, d_full=32, window=8,
          vocab=410, tokens=32), "Q4_K_M"),
]


def convert(spec, folder, llama, out, kind):
    """A Hugging Face folder with a tokenizer, then llama.cpp's converter."""
    model = miniatures.build(spec)
    miniatures.save(spec, model, folder)
    vocabulary.save(folder, spec.vocab)
    subprocess.run([sys.executable, os.path.join(llama, "convert_hf_to_gguf.py"), folder, "--outtype", kind, "--outfile", out],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def copy_keys(reader, writer):
    """Every key of a GGUF file but the structural ones."""
    for f in reader.fields.values():
        if f.name.startswith("GGUF.") or f.name == "general.architecture":
            continue
        kind = f.types[0]
        if kind == gguf.GGUFValueType.ARRAY:
            writer.add_array(f.name, f.contents())
        else:
            writer.add_key_value(f.name, f.contents(), kind)


class Ggml:
    """ggml's quantizer, through its library."""

    def __init__(self, llama):
        self.lib = ctypes.CDLL(os.path.join(llama, "build", "bin", "libggml-base.so"))
        self.lib.ggml_quantize_chunk.restype = ctypes.c_size_t
        self.lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64,
                                                 ctypes.c_int64, ctypes.c_void_p]

    def encode(self, x, kind):
        x = np.ascontiguousarray(x, np.float32)
        n = x.shape[-1]
        block, size = gguf.GGML_QUANT_SIZES[kind]
        out = np.zeros(x.shape[:-1] + (n // block * size,), np.uint8)
        ones = np.ones(n, np.float32)
        self.lib.ggml_quantize_init(int(kind))
        got = self.lib.ggml_quantize_chunk(int(kind), x.ctypes.data, out.ctypes.data, 0, x.size // n, n, ones.ctypes.data)
        assert got == out.nbytes, kind
        return out


def all_types(source, llama, out):
    """Rewrites a float GGUF with a different format for every matrix, all of them used."""
    ggml, reader = Ggml(llama), gguf.GGUFReader(source)
    w = gguf.GGUFWriter(out, "gemma4")
    copy_keys(reader, w)
    count, used = {True: 0, False: 0}, set()
    for t in reader.tensors:
        n = int(t.shape[0])
        x = np.array(t.data, np.float32)
        if len(t.shape) < 2 or "ffn_gate_inp" in t.name:
            w.add_tensor(t.name, x)
            continue
        if t.name == "token_embd.weight":
            kind = T.Q6_K
        else:
            wide = n % 256 == 0
            kinds = WIDE if wide else NARROW
            kind = kinds[count[wide] % len(kinds)]
            count[wide] += 1
        used.add(kind)
        w.add_tensor(t.name, ggml.encode(x, kind), raw_dtype=kind)
    assert used >= set(WIDE) | set(NARROW), f"not used: {set(WIDE) | set(NARROW) - used}"
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def expect(spec, path, folder, note):
    """Writes what the file at path should answer."""
    model, ids = from_gguf.load(spec, path), miniatures.prompt(spec)
    y, taps, rows, facts = reference.examine(spec, model, ids)
    text, margin = reference.greedy(model, ids, goldens.GREEDY)
    print(f"{spec.name:12s} {facts}", len(set(text)))
    goldens.check_facts(spec.name, facts, len(set(text)))
    out = goldens.tensors_of(ids, y, taps, rows, text, margin)
    save_file(out, os.path.join(folder, "expect.safetensors"))
    goldens.write_json(spec, facts, folder, note)


def make(spec, mix, folder, llama):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    target = os.path.join(folder, "model.gguf")
    with tempfile.TemporaryDirectory() as tmp:
        source = os.path.join(tmp, "source.gguf")
        convert(spec, os.path.join(tmp, "hf"), llama, source, "bf16" if mix else "f32")
        if mix is None:
            all_types(source, llama, target)
        else:
            subprocess.run([os.path.join(llama, "build", "bin", "llama-quantize"), source, target, mix, "1"], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    expect(spec, target, folder, "python tests/oracle/quant_goldens.py --out tests/golden --llama LLAMA_CPP")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--out")
    ap.add_argument("--llama")
    ap.add_argument("--check")
    ap.add_argument("--only", default="")
    a = ap.parse_args()
    failed = 0
    for spec, mix in [(ALL_TYPES, None)] + MIXES:
        if a.only and spec.name not in a.only.split(","):
            continue
        if a.out:
            make(spec, mix, os.path.join(a.out, spec.name), a.llama)
        if a.check:
            with tempfile.TemporaryDirectory() as tmp:
                old = os.path.join(a.check, spec.name)
                expect(spec, os.path.join(old, "model.gguf"), tmp, "")
                bad = goldens.compare_expected(old, tmp)
            print(f"{spec.name:10s} {'the same' if not bad else 'DIFFERS: ' + '; '.join(bad)}")
            failed += bool(bad)
    return 1 if failed else 0


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("FACET_ORACLE_THREADS", "1")))
    sys.exit(main())
