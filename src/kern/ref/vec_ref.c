/* Norms, activation functions and other loops over one vector. */
#include <math.h>

#include "base/bits.h"
#include "kern/ref/ref.h"

static void rms_norm(const float *x, const float *w, float eps, int64_t n, float *y)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
    float r = (float)(1.0 / sqrt(sum / (double)n + (double)eps));
    for (int64_t i = 0; i < n; i++) y[i] = w ? x[i] * r * w[i] : x[i] * r;
}

static void gelu_mul(const float *gate, const float *up, int64_t n, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        double g = gate[i], inner = 0.79788456080286535588 * (g + 0.044715 * g * g * g);   /* sqrt(2 / pi) */
        y[i] = (float)(0.5 * g * (1.0 + tanh(inner)) * up[i]);
    }
}

static void rope(float *x, const float *cs, int64_t d, int64_t pairs)
{
    float *hi = x + d / 2;
    for (int64_t i = 0; i < pairs; i++) {
        float a = x[i], b = hi[i], c = cs[2 * i], s = cs[2 * i + 1];
        x[i] = a * c - b * s;
        hi[i] = b * c + a * s;
    }
}

static void add(const float *x, int64_t n, float *y)
{
    for (int64_t i = 0; i < n; i++) y[i] += x[i];
}

static void scale(float a, int64_t n, float *y)
{
    for (int64_t i = 0; i < n; i++) y[i] *= a;
}

static void axpy(float a, const float *x, int64_t n, float *y)
{
    for (int64_t i = 0; i < n; i++) y[i] += a * x[i];
}

static void softcap(float cap, int64_t n, float *y)
{
    for (int64_t i = 0; i < n; i++) y[i] = (float)((double)cap * tanh((double)y[i] / (double)cap));
}

static void softmax(float *s, int64_t n)
{
    float top = -INFINITY;
    for (int64_t i = 0; i < n; i++) top = MAX(top, s[i]);
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        s[i] = expf(s[i] - top);
        sum += (double)s[i];
    }
    float inv = (float)(1.0 / sum);
    for (int64_t i = 0; i < n; i++) s[i] *= inv;
}

static float exp_sum(float *s, int64_t n, float *sum)
{
    float top = -INFINITY;
    for (int64_t i = 0; i < n; i++) top = MAX(top, s[i]);
    double total = 0;
    for (int64_t i = 0; i < n; i++) {
        s[i] = expf(s[i] - top);
        total += (double)s[i];
    }
    *sum = (float)total;
    return top;
}

void vec_ref_fill(kern *k)
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
}
