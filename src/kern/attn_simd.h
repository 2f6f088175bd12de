/* Attention against the stored keys and values of one kv head.  Included after a family's simd_<isa>.h.
 * Every score and every output element has a running sum of its own, fed in one order: the tiles only share loads. */
#ifndef FC_KERN_ATTN_SIMD_H
#define FC_KERN_ATTN_SIMD_H

#include "kern/simd_row.h"

enum {
    ATTN_Q = 4,                                      /* queries of a tile */
    ATTN_K = SIMD_LANES == 8 ? 2 : 4,                /* keys of a tile of scores */
    ATTN_V = SIMD_LANES == 8 ? 2 : 4                 /* vectors of a value in a tile of outputs */
};

/* nq <= ATTN_Q and nk <= ATTN_K are constants where this is used. */
SIMD_FN void scores_tile(dtype kv, const int nq, const int nk, const float *q, int64_t q_stride, int64_t d, const uint8_t *keys,
                         size_t key_bytes, float *s, int64_t s_stride)
{
    simd_f acc[ATTN_Q][ATTN_K];
    UNROLL for (int j = 0; j < nq; j++)
        UNROLL for (int i = 0; i < nk; i++) acc[j][i] = simd_set1(0);
    int64_t c = 0;
    for (; c + SIMD_LANES <= d; c += SIMD_LANES) {
        simd_f v[ATTN_K];
        UNROLL for (int i = 0; i < nk; i++) v[i] = row_load(kv, keys + (size_t)i * key_bytes, c);
        UNROLL for (int j = 0; j < nq; j++) {
            simd_f u = simd_load(q + j * q_stride + c);
            UNROLL for (int i = 0; i < nk; i++) acc[j][i] = simd_fma(u, v[i], acc[j][i]);
        }
    }
    if (c < d && kv != DTYPE_Q8_0) {
        simd_f v[ATTN_K];
        UNROLL for (int i = 0; i < nk; i++) v[i] = row_load_n(kv, keys + (size_t)i * key_bytes, c, d - c);
        UNROLL for (int j = 0; j < nq; j++) {
            simd_f u = simd_load_n(q + j * q_stride + c, d - c);
            UNROLL for (int i = 0; i < nk; i++) acc[j][i] = simd_fma(u, v[i], acc[j][i]);
        }
    }
    UNROLL for (int j = 0; j < nq; j++)
        UNROLL for (int i = 0; i < nk; i++) s[j * s_stride + i] = simd_sum(acc[j][i]);
}

SIMD_FN void scores(dtype kv, const float *q, int64_t q_stride, int64_t nq, int64_t d, const uint8_t *keys, size_t key_bytes,
                    int64_t n, float *s, int64_t s_stride)
{
    for (int64_t i = 0; i < n;) {
        bool whole = n - i >= ATTN_K;
        const uint8_t *k = keys + (size_t)i * key_bytes;
        for (int64_t j = 0; j < nq;) {
            bool full = nq - j >= ATTN_Q;
            const float *u = q + j * q_stride;
            float *out = s + j * s_stride + i;
            if (whole && full) scores_tile(kv, ATTN_Q, ATTN_K, u, q_stride, d, k, key_bytes, out, s_stride);
            else if (whole) scores_tile(kv, 1, ATTN_K, u, q_stride, d, k, key_bytes, out, s_stride);
            else if (full) scores_tile(kv, ATTN_Q, 1, u, q_stride, d, k, key_bytes, out, s_stride);
            else scores_tile(kv, 1, 1, u, q_stride, d, k, key_bytes, out, s_stride);
            j += full ? ATTN_Q : 1;
        }
        i += whole ? ATTN_K : 1;
    }
}

/* nq <= ATTN_Q and nv <= ATTN_V are constants where this is used; rest: elements of a last, partial vector, nv is 1 then. */
SIMD_FN void mix_tile(dtype kv, const int nq, const int nv, int64_t rest, const float *p, int64_t p_stride, const uint8_t *values,
                      size_t value_bytes, int64_t c, int64_t n, float *o, int64_t o_stride)
{
    simd_f acc[ATTN_Q][ATTN_V];
    UNROLL for (int j = 0; j < nq; j++)
        UNROLL for (int v = 0; v < nv; v++) {
            const float *at = o + j * o_stride + c + v * SIMD_LANES;
            acc[j][v] = rest ? simd_load_n(at, rest) : simd_load(at);
        }
    for (int64_t i = 0; i < n; i++) {
        const uint8_t *row = values + (size_t)i * value_bytes;
        simd_f x[ATTN_V];
        UNROLL for (int v = 0; v < nv; v++) x[v] = rest ? row_load_n(kv, row, c, rest) : row_load(kv, row, c + v * SIMD_LANES);
        UNROLL for (int j = 0; j < nq; j++) {
            simd_f w = simd_set1(p[j * p_stride + i]);
            UNROLL for (int v = 0; v < nv; v++) acc[j][v] = simd_fma(w, x[v], acc[j][v]);
        }
    }
    UNROLL for (int j = 0; j < nq; j++)
        UNROLL for (int v = 0; v < nv; v++) {
            float *at = o + j * o_stride + c + v * SIMD_LANES;
            if (rest) simd_store_n(at, acc[j][v], rest);
            else simd_store(at, acc[j][v]);
        }
}

SIMD_FN void mix(dtype kv, const float *p, int64_t p_stride, int64_t nq, int64_t d, const uint8_t *values, size_t value_bytes,
                 int64_t n, float *o, int64_t o_stride)
{
    for (int64_t j = 0; j < nq;) {
        bool full = nq - j >= ATTN_Q;
        const float *w = p + j * p_stride;
        float *out = o + j * o_stride;
        for (int64_t c = 0; c < d;) {
            bool wide = d - c >= ATTN_V * SIMD_LANES;
            int64_t rest = d - c < SIMD_LANES ? d - c : 0;
            if (wide && full) mix_tile(kv, ATTN_Q, ATTN_V, 0, w, p_stride, values, value_bytes, c, n, out, o_stride);
            else if (wide) mix_tile(kv, 1, ATTN_V, 0, w, p_stride, values, value_bytes, c, n, out, o_stride);
            else if (full) mix_tile(kv, ATTN_Q, 1, rest, w, p_stride, values, value_bytes, c, n, out, o_stride);
            else mix_tile(kv, 1, 1, rest, w, p_stride, values, value_bytes, c, n, out, o_stride);
            c += wide ? ATTN_V * SIMD_LANES : SIMD_LANES;
        }
        j += full ? ATTN_Q : 1;
    }
}

#define ATTN_EACH(X) X(F32) X(F16) X(BF16) X(Q8_0)
#define ATTN_ENTRY(T)                                                                                                          \
    static void scores_##T(const float *q, int64_t q_stride, int64_t nq, int64_t d, const void *keys, size_t key_bytes, int64_t n, \
                           float *s, int64_t s_stride)                                                                         \
    {                                                                                                                          \
        scores(DTYPE_##T, q, q_stride, nq, d, keys, key_bytes, n, s, s_stride);                                                \
    }                                                                                                                          \
    static void mix_##T(const float *p, int64_t p_stride, int64_t nq, int64_t d, const void *values, size_t value_bytes, int64_t n, \
                        float *o, int64_t o_stride)                                                                            \
    {                                                                                                                          \
        mix(DTYPE_##T, p, p_stride, nq, d, values, value_bytes, n, o, o_stride);                                               \
    }
ATTN_EACH(ATTN_ENTRY)

static void attn_scores(dtype kv, const float *q, int64_t q_stride, int64_t nq, int64_t d, const void *keys, size_t key_bytes,
                        int64_t n, float *s, int64_t s_stride)
{
#define ATTN_SCORES(T) if (kv == DTYPE_##T) scores_##T(q, q_stride, nq, d, keys, key_bytes, n, s, s_stride);
    ATTN_EACH(ATTN_SCORES)
}

static void attn_mix(dtype kv, const float *p, int64_t p_stride, int64_t nq, int64_t d, const void *values, size_t value_bytes,
                     int64_t n, float *o, int64_t o_stride)
{
#define ATTN_MIX(T) if (kv == DTYPE_##T) mix_##T(p, p_stride, nq, d, values, value_bytes, n, o, o_stride);
    ATTN_EACH(ATTN_MIX)
}

static void attn_simd_fill(kern *k)
{
    k->attn_scores = attn_scores;
    k->attn_mix = attn_mix;
}

#endif
