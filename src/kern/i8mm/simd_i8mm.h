/* The tile words of tile_wide.h on ARM's int8 matrix products (FEAT_I8MM), beside the vector words of NEON. */
#ifndef FC_KERN_I8MM_SIMD_I8MM_H
#define FC_KERN_I8MM_SIMD_I8MM_H

#include "kern/neon/simd_neon.h"

#define SIMD_TILES 1

/* No state: a tile of sums is sixteen ordinary registers. */
SIMD_FN void simd_tiles_begin(void) {}
SIMD_FN void simd_tiles_end(void) {}

/* Eight activations of two tokens. */
SIMD_FN int8x16_t i8mm_tokens(const int8_t *x, size_t x_bytes) { return vcombine_s8(vld1_s8(x), vld1_s8(x + x_bytes)); }

/* sums[t][row] = products of 4 * steps activations of each of 16 tokens, x_bytes apart, and the steps of a panel.
 * smmla multiplies eight codes of two rows by eight activations of two tokens: two steps of a panel, zipped, are such rows. */
SIMD_FN void i8mm_dot(int32_t sums[16][16], const int8_t *x, size_t x_bytes, const uint8_t *codes, int steps)
{
    int32x4_t upper[8], lower[8];                    /* rows 0, 1 and rows 2, 3 of two tokens each: r0 t0, r0 t1, r1 t0, r1 t1 */
    UNROLL for (int t = 0; t < 8; t++) upper[t] = lower[t] = vdupq_n_s32(0);
    UNROLL for (int s = 0; s < steps; s += 2) {
        simd_i a = simd_i_load(codes + 16 * s), b = simd_i_load(codes + 16 * s + 16);
        int8x16_t w01 = vreinterpretq_s8_s32(vzip1q_s32(a, b)), w23 = vreinterpretq_s8_s32(vzip2q_s32(a, b));
        UNROLL for (int t = 0; t < 8; t++) {
            int8x16_t v = i8mm_tokens(x + (size_t)(2 * t) * x_bytes + 4 * s, x_bytes);
            upper[t] = vmmlaq_s32(upper[t], w01, v);
            lower[t] = vmmlaq_s32(lower[t], w23, v);
        }
    }
    UNROLL for (int t = 0; t < 8; t++) {
        simd_i_store(sums[2 * t], vuzp1q_s32(upper[t], lower[t]));
        simd_i_store(sums[2 * t + 1], vuzp2q_s32(upper[t], lower[t]));
    }
}

SIMD_FN void simd_tile_dot32(int32_t sums[16][16], const int8_t *x, size_t x_bytes, const uint8_t *codes) { i8mm_dot(sums, x, x_bytes, codes, 8); }
SIMD_FN void simd_tile_dot16(int32_t sums[16][16], const int8_t *x, size_t x_bytes, const uint8_t *codes) { i8mm_dot(sums, x, x_bytes, codes, 4); }

#endif
