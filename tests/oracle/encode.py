"""Simple encoders of the common block formats, in NumPy: enough to make quantized test files without llama.cpp.

They are not the best encoders, only correct ones: `gguf`'s dequantize reads back what they meant.
"""
import gguf
import numpy as np
from gguf.quants import quantize

T = gguf.GGMLQuantizationType


def f16(x):
    return x.astype(np.float16).astype(np.float32)


def inverse(x):
    return np.divide(1, x, out=np.zeros_like(x), where=x != 0)


def q6_k(x):
    """[n, 256] -> [n, 210]: low 4 bits 128, high 2 bits 64, 16 int8 scales, f16 d."""
    s = x.reshape(-1, 16, 16)
    scale = np.abs(s).max(-1) / 31
    d = f16(np.abs(scale).max(-1, keepdims=True) / 127)
    sc = np.clip(np.rint(scale * inverse(d)), -128, 127)
    q = (np.clip(np.rint(s * inverse(d * sc)[..., None]), -32, 31) + 32).astype(np.uint8).reshape(-1, 2, 4, 32)
    low = np.stack([(q[:, :, 0] & 15) | ((q[:, :, 2] & 15) << 4), (q[:, :, 1] & 15) | ((q[:, :, 3] & 15) << 4)], 2)
    high = (q[:, :, 0] >> 4) | ((q[:, :, 1] >> 4) << 2) | ((q[:, :, 2] >> 4) << 4) | ((q[:, :, 3] >> 4) << 6)
    n = len(s)
    return np.concatenate([low.reshape(n, 128), high.reshape(n, 64), sc.astype(np.int8).view(np.uint8),
                           d.astype(np.float16).view(np.uint8).reshape(n, 2)], 1)


def affine(x, top):
    """Scales and minima of the 32-element sub-blocks of Q4_K and Q5_K, and their packed bytes."""
    s = x.reshape(-1, 8, 32)
    low = np.minimum(s.min(-1), 0)
    scale, least = (s.max(-1) - low) / top, -low
    d, dmin = f16(scale.max(-1, keepdims=True) / 63), f16(least.max(-1, keepdims=True) / 63)
    sc = np.clip(np.rint(scale * inverse(d)), 0, 63).astype(np.uint8)
    m = np.clip(np.rint(least * inverse(dmin)), 0, 63).astype(np.uint8)
    q = np.clip(np.rint((s + (dmin * m)[..., None]) * inverse(d * sc)[..., None]), 0, top).astype(np.uint8)
    packed = np.concatenate([sc[:, :4] | ((sc[:, 4:] >> 4) << 6), m[:, :4] | ((m[:, 4:] >> 4) << 6),
                             (sc[:, 4:] & 15) | ((m[:, 4:] & 15) << 4)], 1)
    head = np.concatenate([d.astype(np.float16).view(np.uint8), dmin.astype(np.float16).view(np.uint8), packed], 1)
    return q, head


def nibbles(q):
    return ((q[:, 0::2] & 15) | ((q[:, 1::2] & 15) << 4)).reshape(len(q), 128)


def q4_k(x):
    q, head = affine(x, 15)
    return np.concatenate([head, nibbles(q)], 1)


def q5_k(x):
    q, head = affine(x, 31)
    high = np.zeros((len(q), 32), np.uint8)
    for i in range(8):
        high |= (q[:, i] >> 4) << i
    return np.concatenate([head, high, nibbles(q)], 1)


K_QUANTS = {T.Q4_K: q4_k, T.Q5_K: q5_k, T.Q6_K: q6_k}


def encode(x, kind):
    """x [..., n] float32 -> bytes [..., n / block * size]; None where n is no multiple of the block."""
    x = np.ascontiguousarray(x, np.float32)
    block, size = gguf.GGML_QUANT_SIZES[kind]
    if x.shape[-1] % block:
        return None
    if kind not in K_QUANTS:
        return quantize(x, kind)
    y = K_QUANTS[kind](x.reshape(-1, 256))
    return np.ascontiguousarray(y).reshape(x.shape[:-1] + (x.shape[-1] // 256 * size,))
