/* Backward passes: sums in f64, rounded once. */
#include <math.h>

#include "base/bits.h"
#include "kern/ref/ref.h"

static void mul_add(const float *b, int64_t b_stride, int64_t K, int64_t cols, const float *x, int64_t x_stride, int64_t T, float *y, int64_t y_stride)
{
    for (int64_t t = 0; t < T; t++)
        for (int64_t c = 0; c < cols; c += KERN_PIECE) {
            double sum[KERN_PIECE];
            int64_t n = MIN(cols - c, (int64_t)KERN_PIECE);
            float *to = y + t * y_stride + c;
            for (int64_t i = 0; i < n; i++) sum[i] = (double)to[i];
            for (int64_t k = 0; k < K; k++) {
                const float *row = b + k * b_stride + c;
                double a = (double)x[t * x_stride + k];
                for (int64_t i = 0; i < n; i++) sum[i] += a * (double)row[i];
            }
            for (int64_t i = 0; i < n; i++) to[i] = (float)sum[i];
        }
}

static void rms_norm_back(const float *x, const float *w, float eps, int64_t n, const float *dy, float *dx)
{
    double squares = 0, dot = 0;
    for (int64_t i = 0; i < n; i++) {
        squares += (double)x[i] * (double)x[i];
        dot += (double)x[i] * (double)dy[i] * (w ? (double)w[i] : 1);
    }
    double r = 1.0 / sqrt(squares / (double)n + (double)eps), pull = r * r * dot / (double)n;
    for (int64_t i = 0; i < n; i++) dx[i] = (float)(r * ((double)dy[i] * (w ? (double)w[i] : 1) - (double)x[i] * pull));
}

static void gelu_mul_back(const float *gate, const float *up, const float *dy, int64_t n, float *dgate, float *dup)
{
    const double c = 0.79788456080286535588;      /* sqrt(2 / pi) */
    for (int64_t i = 0; i < n; i++) {
        double g = (double)gate[i], d = (double)dy[i], u = (double)up[i], t = tanh(c * (g + 0.044715 * g * g * g));
        double slope = 0.5 * (1 + t) + (t * t < 1 ? 0.5 * g * (1 - t * t) * c * (1 + 0.134145 * g * g) : 0);
        dgate[i] = (float)(d * u * slope);
        dup[i] = (float)(d * 0.5 * g * (1 + t));
    }
}

static void softmax_back(float *s, float *dp, const float *top, const float *inv, const float *mean, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        s[i] = expf(s[i] - top[i]) * inv[i];
        dp[i] = s[i] * (dp[i] - mean[i]);
    }
}

void back_ref_fill(kern *k)
{
    k->mul_add = mul_add;
    k->rms_norm_back = rms_norm_back;
    k->gelu_mul_back = gelu_mul_back;
    k->softmax_back = softmax_back;
}
