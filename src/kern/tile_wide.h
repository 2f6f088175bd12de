/* Sixteen tokens at once against one panel, on tile registers (SIMD_TILES: simd_tile_dot32, simd_tile_dot16).
 *
 * A panel's steps lie as a tile wants its second operand, and rows of activations as it wants its first, so nothing is
 * rearranged.  A tile gives the exact integer sums of a group; what follows is what tile.h does with them, in the same
 * order: sixteen tokens and one have the same bits.  While the vectors work on one group, the tile unit, which is
 * asynchronous, is at the next. */
#ifndef FC_KERN_TILE_WIDE_H
#define FC_KERN_TILE_WIDE_H

#include "kern/tile.h"

/* Codes of a kind without minimums are stored with an offset: their sums start at prep->init. */
#define TILE_WIDE(kind, GROUP, MIN_)                                                                                      \
    static void kind##_wide(const tile_panel *p, int groups, const kern_q8 *x, size_t x_bytes, const tile_prep *prep, \
                            float *out)                                                                                   \
    {                                                                                                                     \
        enum { PARTS = 32 / GROUP };                                                                                      \
        _Alignas(64) int32_t sums[2][2][16][16];             /* two groups in flight */                                   \
        simd_f acc[16], f;                                                                                                \
        UNROLL for (int t = 0; t < 16; t++) acc[t] = simd_load(out + t * TILE_R);                                         \
        tile_wide_dot(GROUP, sums[0], x->q, x_bytes, p->q[0]);                                                            \
        for (int g = 0; g < groups; g++) {                                                                                \
            if (g + 1 < groups) tile_wide_dot(GROUP, sums[(g + 1) & 1], x->q + 32 * (g + 1), x_bytes, p->q[8 * (g + 1)]);  \
            const kern_q8 *v = x;                                                                                         \
            UNROLL for (int t = 0; t < 16; t++, v = (const void *)((const char *)v + x_bytes)) {                          \
                UNROLL for (int k = 0; k < PARTS; k++) {                                                                  \
                    simd_i isum = simd_i_load(sums[g & 1][k][t]);                                                         \
                    if (!(MIN_)) isum = simd_i_add(isum, simd_i_set1(prep->init[t][PARTS * g + k]));                       \
                    simd_f scale = simd_load(p->scale[PARTS * g + k]);                                                    \
                    f = k ? simd_fma(simd_from_i(isum), scale, f) : simd_mul(simd_from_i(isum), scale);                   \
                }                                                                                                         \
                acc[t] = simd_fma(f, simd_set1(v->d[g]), acc[t]);                                                         \
                if (MIN_)                                                                                                 \
                    UNROLL for (int k = PARTS * g; k < PARTS * (g + 1); k++)                                              \
                        acc[t] = simd_fnma(simd_load(p->min[k]), simd_set1(prep->sx[t][k]), acc[t]);                      \
            }                                                                                                             \
        }                                                                                                                 \
        UNROLL for (int t = 0; t < 16; t++) simd_store(out + t * TILE_R, acc[t]);                                         \
    }

/* The integer sums of one group of 32 columns, in one part or two. */
static inline __attribute__((always_inline)) void tile_wide_dot(int group, int32_t sums[2][16][16], const int8_t *x, size_t x_bytes,
                                                                const uint8_t *codes)
{
    if (group == 32) simd_tile_dot32(sums[0], x, x_bytes, codes);
    else {
        simd_tile_dot16(sums[0], x, x_bytes, codes);
        simd_tile_dot16(sums[1], x + 16, x_bytes, codes + 4 * 4 * TILE_R);
    }
}

#define TILE_WIDE_CASE(kind) case TILE_WIDE_T: kind##_wide(p, groups, x, x_bytes, prep, acc); break;

#endif
