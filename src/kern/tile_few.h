/* Products with a few tokens, four or more: the forms of tile_direct.h, whose weights are turned once for SIMD_FEW of them.
 * Included after it, once in each family.
 *
 * A step has 4, 6 or 8 tokens, so that their sums and the codes stay in registers; an odd number has a step with one
 * more, whose results nobody reads.  Up to twice SIMD_FEW tokens are two steps over each tile (tile.h).  What a step
 * reads of its activations lies side by side (few_prep): one address and constants, where pointers to eight rows would
 * not fit the registers. */
#ifndef FC_KERN_TILE_FEW_H
#define FC_KERN_TILE_FEW_H

#include "kern/tile_direct.h"

/* direct_k45 with the groups one after the other: the sums of two would not fit the registers. */
INLINE void few_k45(bool five, const uint8_t *w, size_t stride, int nt, const direct_in *in, simd_f acc[SIMD_FEW])
{
    const int bytes = five ? 176 : 144;
    const k45_head h = k45_read(five, w, stride);
    UNROLL for (int i = 0; i < 4; i++) {             /* 32 bytes: groups 2i (low nibbles) and 2i + 1 */
        simd_i q[8];
        simd_rows16(w + bytes - 128 + 32 * i, stride, q);
        simd_rows16(w + bytes - 112 + 32 * i, stride, q + 4);
        UNROLL for (int g = 2 * i; g < 2 * i + 2; g++) {
            simd_i isum[SIMD_FEW], part[SIMD_FEW];
            EACH_T isum[t] = part[t] = simd_i_set1(0);
            UNROLL for (int j = 0; j < 8; j++) {
                direct_ask(in, bytes, 8 * g + j, 64);
                simd_i code = g % 2 ? high4(q[j]) : low4(q[j]);
                if (five) code = k5_bit(code, h.fifth[j], g);
                EACH_T direct_dot(&isum[t], &part[t], code, in->x[t]->q + 32 * g + 4 * j, j, 8, false, five ? 4 : 8);
            }
            k45_add(&h, g, nt, in, isum, acc);
        }
    }
}

INLINE void few_q4_k(const uint8_t *w, size_t stride, int nt, const direct_in *in, simd_f acc[SIMD_FEW]) { few_k45(false, w, stride, nt, in, acc); }
INLINE void few_q5_k(const uint8_t *w, size_t stride, int nt, const direct_in *in, simd_f acc[SIMD_FEW]) { few_k45(true, w, stride, nt, in, acc); }

/* direct_q6_k, likewise. */
INLINE void few_q6_k(const uint8_t *w, size_t stride, int nt, const direct_in *in, simd_f acc[SIMD_FEW])
{
    simd_i scales[4];
    simd_f d = simd_from_f16(simd_rows4_high(w + 206, stride));
    simd_rows16(w + 192, stride, scales);
    UNROLL for (int half = 0; half < 2; half++) {
        simd_i a[2][8], h[8];                        /* low nibbles: groups 0 and 1; high ones: 2 and 3 */
        UNROLL for (int part = 0; part < 2; part++) {
            simd_rows16(w + 64 * half + 16 * part, stride, a[0] + 4 * part);
            simd_rows16(w + 64 * half + 32 + 16 * part, stride, a[1] + 4 * part);
            simd_rows16(w + 128 + 32 * half + 16 * part, stride, h + 4 * part);
        }
        UNROLL for (int g = 0; g < 4; g++) {
            simd_f f[SIMD_FEW];
            UNROLL for (int part = 0; part < 2; part++) {
                const int k = 8 * half + 2 * g + part;       /* which 16 columns */
                simd_i isum[SIMD_FEW], sum16[SIMD_FEW];
                EACH_T isum[t] = sum16[t] = simd_i_set1(in->prep[t]->init[k]);
                UNROLL for (int j = 0; j < 4; j++) {
                    direct_ask(in, 210, 4 * k + j, 64);
                    simd_i v = a[g % 2][4 * part + j];
                    v = SIMD_CODE(simd_i_or(g < 2 ? low4(v) : high4(v), simd_i_sll(bits2(h[4 * part + j], 2 * g), 4)), 32);
                    EACH_T direct_dot(&isum[t], &sum16[t], v, in->x[t]->q + 16 * k + 4 * j, j, 4, false, 2);
                }
                simd_f scale = simd_mul(d, simd_from_i(sbyte_of(scales[k / 4], k % 4)));
                EACH_T f[t] = part ? simd_fma(simd_from_i(isum[t]), scale, f[t]) : simd_mul(simd_from_i(isum[t]), scale);
            }
            EACH_T acc[t] = simd_fma(f[t], simd_set1(in->x[t]->d[4 * half + g]), acc[t]);
        }
    }
}

/* As DIRECT_STEP; x: few_prep[chunks][NT]. */
#define FEW_STEP(NT, kind, few, BYTES)                                                                                    \
    static void kind##_##NT(const uint8_t *w, size_t stride, int64_t chunks, const char *x, size_t x_bytes, const direct_prep *prep, \
                            const uint8_t *soon, float *out)                                                                   \
    {                                                                                                                     \
        const few_prep *v = (const void *)x;                                                                              \
        simd_f acc[SIMD_FEW];                                                                                                \
        (void)x_bytes, (void)prep;                                                                                        \
        UNROLL for (int t = 0; t < NT; t++) acc[t] = simd_set1(0);                                                        \
        for (int64_t c = 0; c < chunks; c++, v += NT) {                                                                   \
            direct_in in = direct_in_at(w, stride, soon, c, chunks, BYTES);                                                      \
            UNROLL for (int t = 0; t < NT; t++) in.x[t] = &v[t].x, in.prep[t] = &v[t].p;                                  \
            few(w + (size_t)c * BYTES, stride, NT, &in, acc);                                                             \
        }                                                                                                                 \
        UNROLL for (int t = 0; t < NT; t++) simd_store(out + t * TILE_R, acc[t]);                                         \
    }
#define FEW_NAME(NT, kind) kind##_##NT,

/* All steps of a kind without panels. */
#define DIRECT_KIND(kind, few, BYTES)                                                                                     \
    DIRECT_STEP(kind, 1, BYTES) DIRECT_STEP(kind, 2, BYTES) DIRECT_STEP(kind, 3, BYTES)                                   \
    SIMD_EACH_FEW(FEW_STEP, kind, few, BYTES)                                                                             \
    static const tile_direct kind##_by[DIRECT_T + FEW_STEPS] = {kind##_1, kind##_2, kind##_3, SIMD_EACH_FEW(FEW_NAME, kind)};
#define DIRECT_FORM_KIND(name, T_, bytes, ...) DIRECT_KIND(direct_##name, direct_##name, bytes)
DIRECT_FORMS(DIRECT_FORM_KIND)
DIRECT_KIND(direct_q4_k, few_q4_k, 144)
DIRECT_KIND(direct_q5_k, few_q5_k, 176)
DIRECT_KIND(direct_q6_k, few_q6_k, 210)

#endif
