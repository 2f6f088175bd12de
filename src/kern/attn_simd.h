/* Attention against the stored keys and values of one kv head.  Included after a family's simd_<isa>.h.
 * Every score and every output element has a running sum of its own, fed in one order: the tiles only share loads.
 *
 * With several queries, keys and values are unpacked once into floats that stay in L1 and serve all of them: keys a few
 * whole rows at a time, values as panels of 64 columns.  (Rows of 512 elements lie 1 KB apart and more, so columns of
 * a panel would fall on few lines of L1 where they are.) */
#ifndef FC_KERN_ATTN_SIMD_H
#define FC_KERN_ATTN_SIMD_H

#include "kern/simd_row.h"

enum {
    ATTN_Q = 4,                                      /* queries of a tile */
    ATTN_K = SIMD_LANES == 8 ? 2 : 4,                /* keys of a tile of scores */
    ATTN_V = SIMD_LANES == 8 ? 2 : 4,                /* vectors of a value in a tile of outputs */
    ATTN_MANY = 6,                                   /* queries from which unpacking pays */
    ATTN_ROWS = 8, ATTN_WIDE = 512,                  /* keys unpacked at a time: 16 KB */
    ATTN_PANEL = 64, ATTN_DEEP = 64                  /* columns and rows of a panel of values: 16 KB */
};

SIMD_FN void store_sums(simd_f acc[ATTN_Q][ATTN_K], const int nq, const int nk, float *s, int64_t s_stride)
{
    if (nk == 4) {
        UNROLL for (int j = 0; j < nq; j++) simd_sum4(acc[j], s + j * s_stride);
    } else if (nk == 2 && nq == 4) {
        UNROLL for (int j = 0; j < nq; j += 2) {
            float sums[4];
            const simd_f four[4] = { acc[j][0], acc[j][1], acc[j + 1][0], acc[j + 1][1] };
            simd_sum4(four, sums);
            memcpy(s + j * s_stride, sums, 8);
            memcpy(s + (j + 1) * s_stride, sums + 2, 8);
        }
    } else {
        UNROLL for (int j = 0; j < nq; j++)
            UNROLL for (int i = 0; i < nk; i++) s[j * s_stride + i] = simd_sum(acc[j][i]);
    }
}

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
    store_sums(acc, nq, nk, s, s_stride);
}

/* Asks for a row of the block that comes next, while this one is worked on: the hardware does not see it coming. */
SIMD_FN void fetch_row(const void *ahead, int64_t i, size_t row_bytes)
{
    const char *p = (const char *)ahead + (size_t)i * row_bytes;
    if (ahead)
        for (size_t b = 0; b < row_bytes; b += 64) __builtin_prefetch(p + b, 0, 2);
}

/* All queries against n keys, a tile of queries after the other. */
SIMD_FN void scores_rows(dtype kv, const float *q, int64_t q_stride, int64_t nq, int64_t d, const uint8_t *keys, size_t key_bytes,
                         int64_t n, float *s, int64_t s_stride)
{
    for (int64_t j = 0; j < nq;) {
        bool full = nq - j >= ATTN_Q;
        const float *u = q + j * q_stride;
        for (int64_t i = 0; i < n;) {
            bool whole = n - i >= ATTN_K;
            const uint8_t *k = keys + (size_t)i * key_bytes;
            float *out = s + j * s_stride + i;
            if (whole && full) scores_tile(kv, ATTN_Q, ATTN_K, u, q_stride, d, k, key_bytes, out, s_stride);
            else if (whole) scores_tile(kv, 1, ATTN_K, u, q_stride, d, k, key_bytes, out, s_stride);
            else if (full) scores_tile(kv, ATTN_Q, 1, u, q_stride, d, k, key_bytes, out, s_stride);
            else scores_tile(kv, 1, 1, u, q_stride, d, k, key_bytes, out, s_stride);
            i += whole ? ATTN_K : 1;
        }
        j += full ? ATTN_Q : 1;
    }
}

static void scores_F32(const float *q, int64_t q_stride, int64_t nq, int64_t d, const void *keys, size_t key_bytes, const void *ahead,
                       int64_t n, float *s, int64_t s_stride)
{
    for (int64_t i = 0, few; i < n; i += few) {
        few = MIN(n - i, (int64_t)ATTN_ROWS);
        for (int64_t r = 0; r < few; r++) fetch_row(ahead, i + r, key_bytes);
        scores_rows(DTYPE_F32, q, q_stride, nq, d, (const uint8_t *)keys + (size_t)i * key_bytes, key_bytes, few, s + i, s_stride);
    }
}

SIMD_FN void scores(dtype kv, const float *q, int64_t q_stride, int64_t nq, int64_t d, const uint8_t *keys, size_t key_bytes,
                    const void *ahead, int64_t n, float *s, int64_t s_stride)
{
    float rows[ATTN_ROWS * ATTN_WIDE];
    int64_t few;
    if (nq < ATTN_MANY || d > ATTN_WIDE) {
        for (int64_t i = 0; i < n; i += few) {
            few = MIN(n - i, (int64_t)ATTN_K);
            for (int64_t r = 0; r < few; r++) fetch_row(ahead, i + r, key_bytes);
            scores_rows(kv, q, q_stride, nq, d, keys + (size_t)i * key_bytes, key_bytes, few, s + i, s_stride);
        }
        return;
    }
    for (int64_t i = 0; i < n; i += few) {
        few = MIN(n - i, (int64_t)ATTN_ROWS);
        for (int64_t r = 0; r < few; r++) {
            fetch_row(ahead, i + r, key_bytes);
            row_unpack(kv, keys + (size_t)(i + r) * key_bytes, 0, d, rows + r * d);
        }
        scores_F32(q, q_stride, nq, d, rows, (size_t)d * sizeof *rows, NULL, few, s + i, s_stride);
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

/* Columns c .. end - 1 of all outputs. */
SIMD_FN void mix_columns(dtype kv, const float *p, int64_t p_stride, int64_t nq, int64_t end, const uint8_t *values, size_t value_bytes,
                         int64_t n, float *o, int64_t o_stride)
{
    for (int64_t j = 0; j < nq;) {
        bool full = nq - j >= ATTN_Q;
        const float *w = p + j * p_stride;
        float *out = o + j * o_stride;
        for (int64_t c = 0; c < end;) {
            bool wide = end - c >= ATTN_V * SIMD_LANES;
            int64_t rest = end - c < SIMD_LANES ? end - c : 0;
            if (wide && full) mix_tile(kv, ATTN_Q, ATTN_V, 0, w, p_stride, values, value_bytes, c, n, out, o_stride);
            else if (wide) mix_tile(kv, 1, ATTN_V, 0, w, p_stride, values, value_bytes, c, n, out, o_stride);
            else if (full) mix_tile(kv, ATTN_Q, 1, rest, w, p_stride, values, value_bytes, c, n, out, o_stride);
            else mix_tile(kv, 1, 1, rest, w, p_stride, values, value_bytes, c, n, out, o_stride);
            c += wide ? ATTN_V * SIMD_LANES : SIMD_LANES;
        }
        j += full ? ATTN_Q : 1;
    }
}

static void mix_panel(const float *p, int64_t p_stride, int64_t nq, int64_t width, const float *panel, int64_t n, float *o, int64_t o_stride)
{
    mix_columns(DTYPE_F32, p, p_stride, nq, width, (const uint8_t *)panel, ATTN_PANEL * sizeof *panel, n, o, o_stride);
}

SIMD_FN void mix(dtype kv, const float *p, int64_t p_stride, int64_t nq, int64_t d, const uint8_t *values, size_t value_bytes,
                 const void *ahead, int64_t n, float *o, int64_t o_stride)
{
    float panel[ATTN_DEEP * ATTN_PANEL];
    int64_t few, width;
    if (nq < ATTN_MANY || kv != DTYPE_Q8_0) {
        for (int64_t r = 0; r < n; r++) fetch_row(ahead, r, value_bytes);
        mix_columns(kv, p, p_stride, nq, d, values, value_bytes, n, o, o_stride);
        return;
    }
    for (int64_t i = 0; i < n; i += few) {
        few = MIN(n - i, (int64_t)ATTN_DEEP);
        for (int64_t c = 0; c < d; c += width) {
            width = MIN(d - c, (int64_t)ATTN_PANEL);
            for (int64_t r = c * few / d; r < (c + width) * few / d; r++) fetch_row(ahead, i + r, value_bytes);
            for (int64_t r = 0; r < few; r++) row_unpack(kv, values + (size_t)(i + r) * value_bytes, c, width, panel + r * ATTN_PANEL);
            mix_panel(p + i, p_stride, nq, width, panel, few, o + c, o_stride);
        }
    }
}

static void kv_store(dtype kv, const float *x, int64_t n, void *out)
{
    if (kv == DTYPE_F32) row_pack(DTYPE_F32, x, n, out);
    else if (kv == DTYPE_F16) row_pack(DTYPE_F16, x, n, out);
    else if (kv == DTYPE_BF16) row_pack(DTYPE_BF16, x, n, out);
    else row_pack(DTYPE_Q8_0, x, n, out);
}

static void kv_load(dtype kv, const void *p, int64_t n, float *out)
{
    if (kv == DTYPE_F32) row_unpack(DTYPE_F32, p, 0, n, out);
    else if (kv == DTYPE_F16) row_unpack(DTYPE_F16, p, 0, n, out);
    else if (kv == DTYPE_BF16) row_unpack(DTYPE_BF16, p, 0, n, out);
    else row_unpack(DTYPE_Q8_0, p, 0, n, out);
}

#define ATTN_SCORES(T)                                                                                                         \
    static void scores_##T(const float *q, int64_t q_stride, int64_t nq, int64_t d, const void *keys, size_t key_bytes, const void *ahead, int64_t n, \
                           float *s, int64_t s_stride)                                                                         \
    {                                                                                                                          \
        scores(DTYPE_##T, q, q_stride, nq, d, keys, key_bytes, ahead, n, s, s_stride);                                                \
    }
#define ATTN_MIX(T)                                                                                                            \
    static void mix_##T(const float *p, int64_t p_stride, int64_t nq, int64_t d, const void *values, size_t value_bytes, const void *ahead, int64_t n, \
                        float *o, int64_t o_stride)                                                                            \
    {                                                                                                                          \
        mix(DTYPE_##T, p, p_stride, nq, d, values, value_bytes, ahead, n, o, o_stride);                                               \
    }
ATTN_SCORES(F16) ATTN_SCORES(BF16) ATTN_SCORES(Q8_0)
ATTN_MIX(F32) ATTN_MIX(F16) ATTN_MIX(BF16) ATTN_MIX(Q8_0)

static void attn_scores(dtype kv, const float *q, int64_t q_stride, int64_t nq, int64_t d, const void *keys, size_t key_bytes,
                        const void *ahead, int64_t n, float *s, int64_t s_stride)
{
    if (kv == DTYPE_F32) scores_F32(q, q_stride, nq, d, keys, key_bytes, ahead, n, s, s_stride);
    else if (kv == DTYPE_F16) scores_F16(q, q_stride, nq, d, keys, key_bytes, ahead, n, s, s_stride);
    else if (kv == DTYPE_BF16) scores_BF16(q, q_stride, nq, d, keys, key_bytes, ahead, n, s, s_stride);
    else scores_Q8_0(q, q_stride, nq, d, keys, key_bytes, ahead, n, s, s_stride);
}

static void attn_mix(dtype kv, const float *p, int64_t p_stride, int64_t nq, int64_t d, const void *values, size_t value_bytes,
                     const void *ahead, int64_t n, float *o, int64_t o_stride)
{
    if (kv == DTYPE_F32) mix_F32(p, p_stride, nq, d, values, value_bytes, ahead, n, o, o_stride);
    else if (kv == DTYPE_F16) mix_F16(p, p_stride, nq, d, values, value_bytes, ahead, n, o, o_stride);
    else if (kv == DTYPE_BF16) mix_BF16(p, p_stride, nq, d, values, value_bytes, ahead, n, o, o_stride);
    else mix_Q8_0(p, p_stride, nq, d, values, value_bytes, ahead, n, o, o_stride);
}

static void attn_simd_fill(kern *k)
{
    k->attn_scores = attn_scores;
    k->attn_mix = attn_mix;
    k->kv_store = kv_store;
    k->kv_load = kv_load;
}

#endif
