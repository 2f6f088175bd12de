/* Products with one to three tokens: codes go from the file to the dot product in registers, without a panel.
 * Included after tile.h, once in each family, by tile_unpack.h, whose helpers it uses.
 *
 * The result is the panel's, bit for bit: a group's integer sum is exact in any order, and its place in the chain of
 * fma (tile.h) is the same.
 *
 * Blocks of 18 and 34 bytes (a scale, then codes) leave every second block off the grid of dwords.  A pair of them is
 * a whole number of dwords, so 256 columns are still read as one run of 16 bytes a step:
 *
 *     dword 0:      d0 | codes 0, 1            dword n:           the last two codes | d1
 *     1 .. n-1:     codes 2, 3, 4, 5 ...       n + 1 .. 2n:       the second block, on the grid
 *
 * The halves of dwords 0 and n make one vector of codes (last two, first two) and one of both scales; activations in
 * that order are direct_prep.split. */
#ifndef FC_KERN_TILE_DIRECT_H
#define FC_KERN_TILE_DIRECT_H

/* isum += codes * activations, step s of the `steps` of a group. */
INLINE void direct_dot(simd_i *isum, simd_i *part, simd_i code, const void *x, int s, int steps, bool wide, int depth)
{
#if SIMD_DOT16
    simd_i v = simd_i_set1_mem(x);
    v = simd_mul8_pairs(wide ? simd_abs8(code) : code, wide ? simd_sign8(v, code) : v);
    *part = s % depth ? simd_add16(*part, v) : v;
    if (s % depth == depth - 1 || s == steps - 1) *isum = simd_i_add(*isum, simd_sum16_pairs(*part));
#else
    (void)part, (void)s, (void)steps, (void)wide, (void)depth;
    *isum = simd_dot(*isum, code, x);
#endif
}

typedef struct direct_in {
    const kern_q8 *x[DIRECT_T];
    const direct_prep *prep[DIRECT_T];
} direct_in;

#define EACH_T UNROLL for (int t = 0; t < nt; t++)

/* One dword of every row: four codes, or eight in nibbles (low ones first, high ones 16 columns later).  x[t] and y[t]
 * are their activations. */
INLINE void direct_dword(bool nibbles, int nt, simd_i v, int s, simd_i isum[DIRECT_T], simd_i part[DIRECT_T], const void *const x[DIRECT_T],
                      const void *const y[DIRECT_T])
{
    if (nibbles) {
        simd_i low = SIMD_CODE(low4(v), 8), high = SIMD_CODE(high4(v), 8);
        EACH_T direct_dot(&isum[t], &part[t], low, x[t], 2 * s, 8, false, 8);
        EACH_T direct_dot(&isum[t], &part[t], high, y[t], 2 * s + 1, 8, false, 8);
    } else {
        simd_i code = SIMD_CODE(simd_i_xor(v, simd_i_set1((int)0x80808080)), 128);
        EACH_T direct_dot(&isum[t], &part[t], code, x[t], s, 8, true, 1);
    }
}

/* Q4_0 and Q8_0: 256 columns. */
INLINE void direct_pairs(bool nibbles, const uint8_t *w, size_t stride, int nt, const direct_in *in, simd_f acc[DIRECT_T])
{
    const int n = nibbles ? 4 : 8;
    simd_i q[4], isum[DIRECT_T], part[DIRECT_T];
    EACH_T isum[t] = part[t] = simd_i_set1(0);
    UNROLL for (int pair = 0; pair < 4; pair++) {
        const int first = pair * (2 * n + 1);
        if (first % 4 == 0) simd_rows16(w + 4 * first, stride, q);
        simd_i head = q[first % 4], scales = head;
        UNROLL for (int at = 1; at <= 2 * n; at++) {
            const int k = first + at, g = 2 * pair + (at > n), s = at > n ? at - n - 1 : at - 1;
            if (k % 4 == 0) simd_rows16(w + 4 * k, stride, q);
            simd_i v = q[k % 4];
            const void *x[DIRECT_T], *y[DIRECT_T];
            EACH_T x[t] = in->x[t]->q + 32 * g + 4 * s + (at < n ? 2 : 0);
            EACH_T y[t] = (const int8_t *)x[t] + 16;
            if (at == 1 || at == n + 1) EACH_T isum[t] = simd_i_set1(in->prep[t]->init[g]);
            if (at == n) {
                scales = simd_halves(head, v);
                v = simd_halves(v, head);
                EACH_T x[t] = &in->prep[t]->split[2 * pair];
                EACH_T y[t] = &in->prep[t]->split[2 * pair + 1];
            }
            direct_dword(nibbles, nt, v, s, isum, part, x, y);
            if (at == n || at == 2 * n) {
                simd_f d = simd_from_f16(at == n ? scales : simd_i_srl(scales, 16));
                EACH_T acc[t] = simd_fma(simd_mul(simd_from_i(isum[t]), d), simd_set1(in->x[t]->d[g]), acc[t]);
            }
        }
    }
}

INLINE void direct_q4_0(const uint8_t *w, size_t stride, int nt, const direct_in *in, simd_f acc[DIRECT_T]) { direct_pairs(true, w, stride, nt, in, acc); }
INLINE void direct_q8_0(const uint8_t *w, size_t stride, int nt, const direct_in *in, simd_f acc[DIRECT_T]) { direct_pairs(false, w, stride, nt, in, acc); }

INLINE void direct_q4_k(const uint8_t *w, size_t stride, int nt, const direct_in *in, simd_f acc[DIRECT_T])
{
    simd_i head[4], sc[2], mn[2];
    simd_rows16(w, stride, head);
    simd_f d = simd_from_f16(head[0]), dmin = simd_from_f16(simd_i_srl(head[0], 16));
    k_bytes(head, sc, mn);
    UNROLL for (int i = 0; i < 4; i++) {             /* 32 bytes: groups 2i (low nibbles) and 2i + 1 */
        simd_i isum[2][DIRECT_T], part[2][DIRECT_T];
        UNROLL for (int b = 0; b < 2; b++) EACH_T isum[b][t] = part[b][t] = simd_i_set1(0);
        UNROLL for (int k = 0; k < 2; k++) {
            simd_i q[4];
            simd_rows16(w + 16 + 32 * i + 16 * k, stride, q);
            UNROLL for (int j = 0; j < 4; j++) {
                simd_i low = low4(q[j]), high = high4(q[j]);
                EACH_T direct_dot(&isum[0][t], &part[0][t], low, in->x[t]->q + 64 * i + 16 * k + 4 * j, 4 * k + j, 8, false, 8);
                EACH_T direct_dot(&isum[1][t], &part[1][t], high, in->x[t]->q + 64 * i + 32 + 16 * k + 4 * j, 4 * k + j, 8, false, 8);
            }
        }
        UNROLL for (int b = 0; b < 2; b++) {
            const int g = 2 * i + b;
            simd_f scale = simd_mul(d, simd_from_i(byte_of(sc[g / 4], g % 4))), min = simd_mul(dmin, simd_from_i(byte_of(mn[g / 4], g % 4)));
            EACH_T {
                acc[t] = simd_fma(simd_mul(simd_from_i(isum[b][t]), scale), simd_set1(in->x[t]->d[g]), acc[t]);
                acc[t] = simd_fnma(min, simd_set1(in->prep[t]->sx[g]), acc[t]);
            }
        }
    }
}

INLINE void direct_q6_k(const uint8_t *w, size_t stride, int nt, const direct_in *in, simd_f acc[DIRECT_T])
{
    simd_i scales[4];
    simd_f d = simd_from_f16(simd_rows4_high(w + 206, stride));
    simd_rows16(w + 192, stride, scales);
    UNROLL for (int half = 0; half < 2; half++) {
        simd_f f[4][DIRECT_T];
        UNROLL for (int part = 0; part < 2; part++) {        /* columns 16 part .. 16 part + 15 of four groups */
            simd_i a[4], b[4], h[4];
            simd_rows16(w + 64 * half + 16 * part, stride, a);
            simd_rows16(w + 64 * half + 32 + 16 * part, stride, b);
            simd_rows16(w + 128 + 32 * half + 16 * part, stride, h);
            UNROLL for (int g = 0; g < 4; g++) {
                const int k = 8 * half + 2 * g + part;       /* which 16 columns */
                simd_i isum[DIRECT_T], sum16[DIRECT_T];
                EACH_T isum[t] = simd_i_set1(in->prep[t]->init[k]), sum16[t] = isum[t];
                UNROLL for (int j = 0; j < 4; j++) {
                    simd_i v = g % 2 ? b[j] : a[j];
                    v = SIMD_CODE(simd_i_or(g < 2 ? low4(v) : high4(v), simd_i_sll(bits2(h[j], 2 * g), 4)), 32);
                    EACH_T direct_dot(&isum[t], &sum16[t], v, in->x[t]->q + 16 * k + 4 * j, j, 4, false, 2);
                }
                simd_f scale = simd_mul(d, simd_from_i(sbyte_of(scales[k / 4], k % 4)));
                EACH_T f[g][t] = part ? simd_fma(simd_from_i(isum[t]), scale, f[g][t]) : simd_mul(simd_from_i(isum[t]), scale);
            }
        }
        UNROLL for (int g = 0; g < 4; g++) EACH_T acc[t] = simd_fma(f[g][t], simd_set1(in->x[t]->d[4 * half + g]), acc[t]);
    }
}

/* acc[t][row] = products of `chunks` times 256 columns of TILE_R rows; asks for the `ahead`th byte from there on. */
#define DIRECT_STEP(kind, NT, BYTES)                                                                                         \
    static void kind##_##NT(const uint8_t *w, size_t stride, int64_t chunks, const char *x, size_t x_bytes, const direct_prep *prep, \
                            size_t ahead, float *out)                                                                     \
    {                                                                                                                     \
        simd_f acc[DIRECT_T];                                                                                                \
        UNROLL for (int t = 0; t < NT; t++) acc[t] = simd_set1(0);                                                        \
        for (int64_t c = 0; c < chunks; c++) {                                                                            \
            direct_in in;                                                                                                    \
            UNROLL for (int t = 0; t < NT; t++) {                                                                         \
                in.x[t] = (const kern_q8 *)(const void *)(x + (size_t)t * x_bytes) + c;                                   \
                in.prep[t] = prep + t * chunks + c;                                                                       \
            }                                                                                                             \
            if (ahead) tile_prefetch(w + ahead + (size_t)c * (BYTES * TILE_R), BYTES * TILE_R);                           \
            kind(w + (size_t)c * BYTES, stride, NT, &in, acc);                                                            \
        }                                                                                                                 \
        UNROLL for (int t = 0; t < NT; t++) simd_store(out + t * TILE_R, acc[t]);                                         \
    }
#define DIRECT_KIND(kind, BYTES)                                                                                             \
    DIRECT_STEP(kind, 1, BYTES) DIRECT_STEP(kind, 2, BYTES) DIRECT_STEP(kind, 3, BYTES)                                            \
    static const tile_direct kind##_by[DIRECT_T] = {kind##_1, kind##_2, kind##_3};
DIRECT_KIND(direct_q4_0, 144)
DIRECT_KIND(direct_q8_0, 272)
DIRECT_KIND(direct_q4_k, 144)
DIRECT_KIND(direct_q6_k, 210)

#endif
