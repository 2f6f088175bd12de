/* Norms, activation functions and other loops over one vector.  Included after a family's simd_<isa>.h. */
#ifndef FC_KERN_VEC_SIMD_H
#define FC_KERN_VEC_SIMD_H

#include "kern/kern_int.h"
#include "kern/vec_math.h"

static void rms_norm(const float *x, const float *w, float eps, int64_t n, float *y)
{
    simd_d sum = simd_d_zero();
    int64_t i = 0;
    for (; i + SIMD_LANES <= n; i += SIMD_LANES) sum = simd_d_add_square(sum, simd_load(x + i));
    if (i < n) sum = simd_d_add_square(sum, simd_load_n(x + i, n - i));
    simd_f r = simd_set1((float)(1.0 / sqrt(simd_d_sum(sum) / (double)n + (double)eps)));
    for (i = 0; i + SIMD_LANES <= n; i += SIMD_LANES) {
        simd_f v = simd_mul(simd_load(x + i), r);
        simd_store(y + i, w ? simd_mul(v, simd_load(w + i)) : v);
    }
    if (i < n) {
        simd_f v = simd_mul(simd_load_n(x + i, n - i), r);
        simd_store_n(y + i, w ? simd_mul(v, simd_load_n(w + i, n - i)) : v, n - i);
    }
}

static void gelu_mul(const float *gate, const float *up, int64_t n, float *y)
{
    int64_t i = 0;
    for (; i + SIMD_LANES <= n; i += SIMD_LANES) simd_store(y + i, simd_mul(vec_gelu(simd_load(gate + i)), simd_load(up + i)));
    if (i < n) simd_store_n(y + i, simd_mul(vec_gelu(simd_load_n(gate + i, n - i)), simd_load_n(up + i, n - i)), n - i);
}

static void rope(float *x, const float *cs, int64_t d, int64_t pairs)
{
    float *hi = x + d / 2;
    int64_t i = 0;
    for (; i + SIMD_LANES <= pairs; i += SIMD_LANES) {
        simd_f c, s, a = simd_load(x + i), b = simd_load(hi + i);
        simd_load_pairs(cs + 2 * i, &c, &s);
        simd_store(x + i, simd_sub(simd_mul(a, c), simd_mul(b, s)));
        simd_store(hi + i, simd_add(simd_mul(b, c), simd_mul(a, s)));
    }
    for (; i < pairs; i++) {
        float a = x[i], b = hi[i], c = cs[2 * i], s = cs[2 * i + 1];
        x[i] = a * c - b * s;
        hi[i] = b * c + a * s;
    }
}

static void add(const float *x, int64_t n, float *y)
{
    int64_t i = 0;
    for (; i + SIMD_LANES <= n; i += SIMD_LANES) simd_store(y + i, simd_add(simd_load(y + i), simd_load(x + i)));
    for (; i < n; i++) y[i] += x[i];
}

static void scale(float a, int64_t n, float *y)
{
    simd_f v = simd_set1(a);
    int64_t i = 0;
    for (; i + SIMD_LANES <= n; i += SIMD_LANES) simd_store(y + i, simd_mul(simd_load(y + i), v));
    for (; i < n; i++) y[i] *= a;
}

static void axpy(float a, const float *x, int64_t n, float *y)
{
    simd_f v = simd_set1(a);
    int64_t i = 0;
    for (; i + SIMD_LANES <= n; i += SIMD_LANES) simd_store(y + i, simd_add(simd_load(y + i), simd_mul(v, simd_load(x + i))));
    for (; i < n; i++) y[i] += a * x[i];
}

static void softcap(float cap, int64_t n, float *y)
{
    simd_f c = simd_set1(cap);
    int64_t i = 0;
    for (; i + SIMD_LANES <= n; i += SIMD_LANES) simd_store(y + i, simd_mul(c, vec_tanh(simd_div(simd_load(y + i), c))));
    if (i < n) simd_store_n(y + i, simd_mul(c, vec_tanh(simd_div(simd_load_n(y + i, n - i), c))), n - i);
}

/* s = e^(s - top); top is the largest, the sum goes to *sum. */
static float exp_all(float *s, int64_t n, double *sum)
{
    float top = -INFINITY;
    simd_f m = simd_set1(top);
    simd_d total = simd_d_zero();
    int64_t i = 0;
    for (; i + SIMD_LANES <= n; i += SIMD_LANES) m = simd_max(m, simd_load(s + i));
    top = simd_top(m);
    for (; i < n; i++) top = MAX(top, s[i]);
    simd_f t = simd_set1(top);
    for (i = 0; i + SIMD_LANES <= n; i += SIMD_LANES) {
        simd_f e = vec_exp(simd_sub(simd_load(s + i), t));
        simd_store(s + i, e);
        total = simd_d_add(total, e);
    }
    if (i < n) {
        simd_store_n(s + i, vec_exp(simd_sub(simd_load_n(s + i, n - i), t)), n - i);
        total = simd_d_add(total, simd_load_n(s + i, n - i));
    }
    *sum = simd_d_sum(total);
    return top;
}

static void softmax(float *s, int64_t n)
{
    double sum;
    exp_all(s, n, &sum);
    scale((float)(1.0 / sum), n, s);
}

static float exp_sum(float *s, int64_t n, float *sum)
{
    double total;
    float top = exp_all(s, n, &total);
    *sum = (float)total;
    return top;
}

/* Same bits as the reference's form (kern_int.h). */
static void pack_q8(const float *x, int64_t n, void *out)
{
    kern_q8 *o = out;
    for (int64_t at = 0; at < n; at += 256, o++) {
        float rest[256];
        const float *v = x + at;
        if (n - at < 256) {
            memset(rest, 0, sizeof rest);
            memcpy(rest, v, (size_t)(n - at) * 4);
            v = rest;
        }
        for (int g = 0; g < 8; g++, v += 32) {
            simd_f m = simd_set1(0);
            UNROLL for (int i = 0; i < 32; i += SIMD_LANES) m = simd_max(m, simd_abs(simd_load(v + i)));
            float top = simd_top(m);
            bool zero = !(top >= 1e-30f);
            simd_f id = simd_set1(zero ? 0 : 127.0f / top);
            o->d[g] = zero ? 0 : top / 127.0f;
            UNROLL for (int i = 0; i < 32; i += SIMD_LANES) simd_store_i8(o->q + 32 * g + i, simd_to_i(simd_mul(simd_load(v + i), id)));
        }
        for (int g = 0; g < 16; g++) {
            int sum = 0;
            for (int i = 0; i < 16; i++) sum += o->q[16 * g + i];
            o->sum[g] = (int16_t)sum;
        }
    }
}

static void vec_simd_fill(kern *k)
{
    k->rms_norm = rms_norm;
    k->gelu_mul = gelu_mul;
    k->rope = rope;
    k->add = add;
    k->scale = scale;
    k->axpy = axpy;
    k->softcap = softcap;
    k->softmax = softmax;
    k->exp_sum = exp_sum;
    k->pack[KERN_ACT_Q8] = pack_q8;
}

#endif
