/* Reading stored rows of F32, F16, BF16 or Q8_0 as vectors of floats.  Included after a family's simd_<isa>.h. */
#ifndef FC_KERN_SIMD_ROW_H
#define FC_KERN_SIMD_ROW_H

#include "kern/kern_int.h"
#include "num/blocks.h"
#include "num/half.h"

/* Elements c .. c + SIMD_LANES - 1 of a row; type is a constant where this is used. */
SIMD_FN simd_f row_load(dtype type, const uint8_t *row, int64_t c)
{
    switch (type) {
    case DTYPE_F32: return simd_load((const float *)(const void *)(row + 4 * c));
    case DTYPE_F16: return simd_load_f16(row + 2 * c);
    case DTYPE_BF16: return simd_load_bf16(row + 2 * c);
    default: {
        const q8_0_block *b = (const q8_0_block *)(const void *)row + c / 32;
        return simd_mul(simd_load_i8(b->qs + c % 32), simd_set1_f16(b->d));
    }
    }
}

/* The last n < SIMD_LANES elements, the rest zero.  Never Q8_0, whose rows are whole blocks. */
SIMD_FN simd_f row_load_n(dtype type, const uint8_t *row, int64_t c, int64_t n)
{
    uint16_t v[SIMD_LANES] = {0};
    if (type == DTYPE_F32) return simd_load_n((const float *)(const void *)(row + 4 * c), n);
    memcpy(v, row + 2 * c, (size_t)n * 2);
    return type == DTYPE_F16 ? simd_load_f16(v) : simd_load_bf16(v);
}

/* n elements from c on as floats; the same values as row_load.  Q8_0: c and n are multiples of 32. */
SIMD_FN void row_unpack(dtype type, const uint8_t *row, int64_t c, int64_t n, float *out)
{
    int64_t i = 0;
    if (type == DTYPE_Q8_0) {
        const q8_0_block *b = (const q8_0_block *)(const void *)row + c / 32;
        for (; i < n; i += 32, b++) {
            simd_f d = simd_set1_f16(b->d);
            UNROLL for (int j = 0; j < 32; j += SIMD_LANES) simd_store(out + i + j, simd_mul(simd_load_i8(b->qs + j), d));
        }
        return;
    }
    for (; i + SIMD_LANES <= n; i += SIMD_LANES) simd_store(out + i, row_load(type, row, c + i));
    if (i < n) simd_store_n(out + i, row_load_n(type, row, c + i, n - i), n - i);
}

/* bf16 in the low half of every lane, to nearest even; NaN stays NaN. */
SIMD_FN simd_i row_bf16(simd_f x)
{
    simd_i u = simd_bits(x), odd = simd_i_and(simd_i_srl(u, 16), simd_i_set1(1));
    simd_i r = simd_i_srl(simd_i_add(u, simd_i_add(odd, simd_i_set1(0x7fff))), 16);
    simd_i nan = simd_i_or(simd_i_srl(u, 16), simd_i_set1(64));
    return simd_i_select_lt(simd_i_set1(0x7f800000), simd_i_and(u, simd_i_set1(0x7fffffff)), nan, r);
}

/* One vector to F32, F16 or BF16 at out. */
SIMD_FN void row_store(dtype type, simd_f x, void *out)
{
    if (type == DTYPE_F16) simd_store_f16(out, x);
    else if (type == DTYPE_BF16) simd_store_16(out, row_bf16(x));
    else simd_store(out, x);
}

/* The bytes that num/ writes for a row of n elements. */
SIMD_FN void row_pack(dtype type, const float *x, int64_t n, uint8_t *out)
{
    size_t bytes = type == DTYPE_F32 ? 4 : 2;
    uint8_t rest[4 * SIMD_LANES];
    int64_t i = 0;
    if (type == DTYPE_Q8_0) {
        q8_0_block *b = (q8_0_block *)(void *)out;
        for (; i < n; i += 32, b++) {
            simd_f m = simd_set1(0);
            UNROLL for (int j = 0; j < 32; j += SIMD_LANES) m = simd_max(m, simd_abs(simd_load(x + i + j)));
            float d = simd_top(m) / 127.0f, id = d != 0 ? 1.0f / d : 0;
            store_u16(b->d, half_f32_to_f16(d));
            UNROLL for (int j = 0; j < 32; j += SIMD_LANES) simd_store_i8(b->qs + j, simd_to_i_away(simd_mul(simd_load(x + i + j), simd_set1(id))));
        }
        return;
    }
    for (; i + SIMD_LANES <= n; i += SIMD_LANES) row_store(type, simd_load(x + i), out + (size_t)i * bytes);
    if (i < n) {
        row_store(type, simd_load_n(x + i, n - i), rest);
        memcpy(out + (size_t)i * bytes, rest, (size_t)(n - i) * bytes);
    }
}

#endif
