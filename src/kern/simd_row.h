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
        return simd_mul(simd_load_i8(b->qs + c % 32), simd_set1(half_f16_to_f32(load_u16(b->d))));
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

#endif
