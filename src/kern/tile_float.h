/* Products with F32, F16 and BF16 weights and f32 activations.  Included after a family's simd_<isa>.h.
 *
 * Columns lie in lanes: every y[t][r] has one vector of running sums, fed in the order of the columns and added up at
 * the end, so its bits do not depend on the rows and tokens that share its tile. */
#ifndef FC_KERN_TILE_FLOAT_H
#define FC_KERN_TILE_FLOAT_H

#include "kern/simd_row.h"

enum {
    FLOAT_R = 4,                              /* rows and tokens of a tile: all its sums stay in registers */
    FLOAT_T = SIMD_LANES == 16 ? 6 : SIMD_LANES == 8 ? 2 : 5,
    FLOAT_BLOCK = 256 << 10                   /* bytes of weights that all tokens pass over while they are in L2 */
};

/* nr <= FLOAT_R and nt <= FLOAT_T are constants where this is used. */
SIMD_FN void float_tile(dtype type, const int nr, const int nt, const uint8_t *w, size_t row_bytes, int64_t cols, const char *x,
                        size_t x_bytes, float *y, int64_t y_stride)
{
    simd_f acc[FLOAT_T][FLOAT_R];
    UNROLL for (int t = 0; t < nt; t++)
        UNROLL for (int r = 0; r < nr; r++) acc[t][r] = simd_set1(0);
    int64_t c = 0;
    for (; c + SIMD_LANES <= cols; c += SIMD_LANES) {
        simd_f v[FLOAT_R];
        UNROLL for (int r = 0; r < nr; r++) v[r] = row_load(type, w + (size_t)r * row_bytes, c);
        UNROLL for (int t = 0; t < nt; t++) {
            simd_f u = simd_load((const float *)(const void *)(x + (size_t)t * x_bytes) + c);
            UNROLL for (int r = 0; r < nr; r++) acc[t][r] = simd_fma(v[r], u, acc[t][r]);
        }
    }
    if (c < cols) {
        simd_f v[FLOAT_R];
        UNROLL for (int r = 0; r < nr; r++) v[r] = row_load_n(type, w + (size_t)r * row_bytes, c, cols - c);
        UNROLL for (int t = 0; t < nt; t++) {
            simd_f u = simd_load_n((const float *)(const void *)(x + (size_t)t * x_bytes) + c, cols - c);
            UNROLL for (int r = 0; r < nr; r++) acc[t][r] = simd_fma(v[r], u, acc[t][r]);
        }
    }
    UNROLL for (int t = 0; t < nt; t++)
        UNROLL for (int r = 0; r < nr; r++) y[t * y_stride + r] = simd_sum(acc[t][r]);
}

SIMD_FN void float_mul(dtype type, const uint8_t *w, size_t row_bytes, int64_t rows, int64_t cols, const char *x, size_t x_bytes,
                       int64_t T, float *y, int64_t y_stride)
{
    int64_t block = MAX((int64_t)(FLOAT_BLOCK / row_bytes) / FLOAT_R, 1) * FLOAT_R;
    for (int64_t b = 0; b < rows; b += block) {
        int64_t end = MIN(b + block, rows);
        for (int64_t t = 0; t < T;) {
            const char *v = x + (size_t)t * x_bytes;
            bool full = T - t >= FLOAT_T;
            for (int64_t r = b; r < end;) {
                const uint8_t *p = w + (size_t)r * row_bytes;
                float *out = y + t * y_stride + r;
                bool whole = end - r >= FLOAT_R;
                if (whole && full) float_tile(type, FLOAT_R, FLOAT_T, p, row_bytes, cols, v, x_bytes, out, y_stride);
                else if (whole) float_tile(type, FLOAT_R, 1, p, row_bytes, cols, v, x_bytes, out, y_stride);
                else if (full) float_tile(type, 1, FLOAT_T, p, row_bytes, cols, v, x_bytes, out, y_stride);
                else float_tile(type, 1, 1, p, row_bytes, cols, v, x_bytes, out, y_stride);
                r += whole ? FLOAT_R : 1;
            }
            t += full ? FLOAT_T : 1;
        }
    }
}

#define FLOAT_ENTRY(T_)                                                                                                  \
    static void mul_##T_(const void *w, size_t row_bytes, int64_t rows, int64_t cols, const void *x, size_t x_bytes, int64_t T, \
                         float *y, int64_t y_stride, const void *next, void *scratch)                                    \
    {                                                                                                                    \
        (void)next, (void)scratch;                                                                                       \
        float_mul(DTYPE_##T_, w, row_bytes, rows, cols, x, x_bytes, T, y, y_stride);                                     \
    }
FLOAT_ENTRY(F32)
FLOAT_ENTRY(F16)
FLOAT_ENTRY(BF16)

static void tile_float_fill(kern *k, const char *family)
{
    k->fast[DTYPE_F32] = (kern_mul){.act = KERN_ACT_F32, .mul = mul_F32};
    k->fast[DTYPE_F16] = (kern_mul){.act = KERN_ACT_F32, .mul = mul_F16};
    k->fast[DTYPE_BF16] = (kern_mul){.act = KERN_ACT_F32, .mul = mul_BF16};
    k->family[DTYPE_F32] = k->family[DTYPE_F16] = k->family[DTYPE_BF16] = family;
}

#endif
