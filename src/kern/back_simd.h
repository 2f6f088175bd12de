/* Backward passes.  Included after a family's simd_<isa>.h.
 *
 * Columns of the result lie in lanes, and every sum is fed in the order of k, so its bits do not depend on its tile. */
#ifndef FC_KERN_BACK_SIMD_H
#define FC_KERN_BACK_SIMD_H

#include "kern/kern_int.h"
#include "kern/vec_math.h"

enum {
    BACK_T = 6,                                /* rows of a tile: all its sums stay in registers, of which AVX2 has 16 */
    BACK_V = SIMD_LANES == 8 ? 2 : 4           /* vectors of columns */
};

/* nt <= BACK_T and nv <= BACK_V are constants where this is used. */
SIMD_FN void back_tile(const int nt, const int nv, const float *b, int64_t b_stride, int64_t K, const float *x, int64_t x_stride, float *y, int64_t y_stride)
{
    simd_f acc[BACK_T][BACK_V];
    UNROLL for (int t = 0; t < nt; t++)
        UNROLL for (int v = 0; v < nv; v++) acc[t][v] = simd_load(y + t * y_stride + v * SIMD_LANES);
    for (int64_t k = 0; k < K; k++, b += b_stride) {
        simd_f row[BACK_V];
        UNROLL for (int v = 0; v < nv; v++) row[v] = simd_load(b + v * SIMD_LANES);
        UNROLL for (int t = 0; t < nt; t++) {
            simd_f a = simd_set1(x[t * x_stride + k]);
            UNROLL for (int v = 0; v < nv; v++) acc[t][v] = simd_fma(a, row[v], acc[t][v]);
        }
    }
    UNROLL for (int t = 0; t < nt; t++)
        UNROLL for (int v = 0; v < nv; v++) simd_store(y + t * y_stride + v * SIMD_LANES, acc[t][v]);
}

/* The last n < SIMD_LANES columns of nt rows. */
SIMD_FN void back_edge(const int nt, int64_t n, const float *b, int64_t b_stride, int64_t K, const float *x, int64_t x_stride, float *y, int64_t y_stride)
{
    simd_f acc[BACK_T];
    UNROLL for (int t = 0; t < nt; t++) acc[t] = simd_load_n(y + t * y_stride, n);
    for (int64_t k = 0; k < K; k++) {
        simd_f row = simd_load_n(b + k * b_stride, n);
        UNROLL for (int t = 0; t < nt; t++) acc[t] = simd_fma(simd_set1(x[t * x_stride + k]), row, acc[t]);
    }
    UNROLL for (int t = 0; t < nt; t++) simd_store_n(y + t * y_stride, acc[t], n);
}

/* nv vectors of columns (0: the last n), all rows. */
SIMD_FN void back_columns(const int nv, int64_t n, const float *b, int64_t b_stride, int64_t K, const float *x, int64_t x_stride, int64_t T, float *y,
                          int64_t y_stride)
{
    int64_t t = 0;
    for (; t + BACK_T <= T; t += BACK_T) {
        if (nv) back_tile(BACK_T, nv, b, b_stride, K, x + t * x_stride, x_stride, y + t * y_stride, y_stride);
        else back_edge(BACK_T, n, b, b_stride, K, x + t * x_stride, x_stride, y + t * y_stride, y_stride);
    }
    for (; t < T; t++) {
        if (nv) back_tile(1, nv, b, b_stride, K, x + t * x_stride, x_stride, y + t * y_stride, y_stride);
        else back_edge(1, n, b, b_stride, K, x + t * x_stride, x_stride, y + t * y_stride, y_stride);
    }
}

static void mul_add(const float *b, int64_t b_stride, int64_t K, int64_t cols, const float *x, int64_t x_stride, int64_t T, float *y, int64_t y_stride)
{
    int64_t c = 0;
    for (; c + BACK_V * SIMD_LANES <= cols; c += BACK_V * SIMD_LANES) back_columns(BACK_V, 0, b + c, b_stride, K, x, x_stride, T, y + c, y_stride);
    for (; c + SIMD_LANES <= cols; c += SIMD_LANES) back_columns(1, 0, b + c, b_stride, K, x, x_stride, T, y + c, y_stride);
    if (c < cols) back_columns(0, cols - c, b + c, b_stride, K, x, x_stride, T, y + c, y_stride);
}

static void rms_norm_back(const float *x, const float *w, float eps, int64_t n, const float *dy, float *dx)
{
    simd_d squares = simd_d_zero(), dot = simd_d_zero();
    int64_t i = 0;
    for (; i + SIMD_LANES <= n; i += SIMD_LANES) {
        simd_f v = simd_load(x + i), g = simd_load(dy + i);
        squares = simd_d_add_square(squares, v);
        dot = simd_d_add(dot, simd_mul(v, w ? simd_mul(g, simd_load(w + i)) : g));
    }
    if (i < n) {
        simd_f v = simd_load_n(x + i, n - i), g = simd_load_n(dy + i, n - i);
        squares = simd_d_add_square(squares, v);
        dot = simd_d_add(dot, simd_mul(v, w ? simd_mul(g, simd_load_n(w + i, n - i)) : g));
    }
    double r = 1.0 / sqrt(simd_d_sum(squares) / (double)n + (double)eps);
    simd_f scale = simd_set1((float)r), pull = simd_set1((float)(r * r * simd_d_sum(dot) / (double)n));
    for (i = 0; i + SIMD_LANES <= n; i += SIMD_LANES) {
        simd_f g = simd_load(dy + i);
        if (w) g = simd_mul(g, simd_load(w + i));
        simd_store(dx + i, simd_mul(scale, simd_fnma(simd_load(x + i), pull, g)));
    }
    if (i < n) {
        simd_f g = simd_load_n(dy + i, n - i);
        if (w) g = simd_mul(g, simd_load_n(w + i, n - i));
        simd_store_n(dx + i, simd_mul(scale, simd_fnma(simd_load_n(x + i, n - i), pull, g)), n - i);
    }
}

/* Beyond +-20 the slope is 0 or 1, and its parts would overflow. */
SIMD_FN simd_f back_gelu_slope(simd_f g)
{
    g = simd_min(simd_max(g, simd_set1(-20)), simd_set1(20));
    simd_f square = simd_mul(g, g), inner = simd_mul(g, simd_fma(square, simd_set1(0.0356774081363f), simd_set1(0.797884560802865f)));
    simd_f t = vec_tanh(inner), bend = simd_fma(square, simd_set1(0.107032224409f), simd_set1(0.797884560802865f));
    simd_f rest = simd_mul(simd_mul(g, simd_fnma(t, t, simd_set1(1))), bend);
    return simd_mul(simd_set1(0.5f), simd_add(simd_add(simd_set1(1), t), rest));
}

static void gelu_mul_back(const float *gate, const float *up, const float *dy, int64_t n, float *dgate, float *dup)
{
    int64_t i = 0;
    for (; i + SIMD_LANES <= n; i += SIMD_LANES) {
        simd_f g = simd_load(gate + i), u = simd_load(up + i), d = simd_load(dy + i);
        simd_store(dgate + i, simd_mul(simd_mul(d, u), back_gelu_slope(g)));
        simd_store(dup + i, simd_mul(d, vec_gelu(g)));
    }
    if (i < n) {
        simd_f g = simd_load_n(gate + i, n - i), u = simd_load_n(up + i, n - i), d = simd_load_n(dy + i, n - i);
        simd_store_n(dgate + i, simd_mul(simd_mul(d, u), back_gelu_slope(g)), n - i);
        simd_store_n(dup + i, simd_mul(d, vec_gelu(g)), n - i);
    }
}

static void softmax_back(float *s, float *dp, const float *top, const float *inv, const float *mean, int64_t n)
{
    int64_t i = 0;
    for (; i + SIMD_LANES <= n; i += SIMD_LANES) {
        simd_f p = simd_mul(vec_exp(simd_sub(simd_load(s + i), simd_load(top + i))), simd_load(inv + i));
        simd_store(s + i, p);
        simd_store(dp + i, simd_mul(p, simd_sub(simd_load(dp + i), simd_load(mean + i))));
    }
    if (i < n) {
        simd_f p = simd_mul(vec_exp(simd_sub(simd_load_n(s + i, n - i), simd_load_n(top + i, n - i))), simd_load_n(inv + i, n - i));
        simd_store_n(s + i, p, n - i);
        simd_store_n(dp + i, simd_mul(p, simd_sub(simd_load_n(dp + i, n - i), simd_load_n(mean + i, n - i))), n - i);
    }
}

static void back_simd_fill(kern *k)
{
    k->mul_add = mul_add;
    k->rms_norm_back = rms_norm_back;
    k->gelu_mul_back = gelu_mul_back;
    k->softmax_back = softmax_back;
}

#endif
