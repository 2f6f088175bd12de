/* Kernels of the backward pass: every family against f64 and differences, odd sizes, guard pages, and the same bits whatever shares a call. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "support/kern_check.h"

static uint64_t seed = 21;

static float *floats(int64_t n, float scale) { return check_floats(n, scale, &seed); }
static void done(float *p, int64_t n) { check_free(p, (size_t)n * 4); }

/* T rows at once, then one by one and in two pieces of k: the same bits. */
static void check_mul(const check_family *f, int64_t T, int64_t K, int64_t cols)
{
    int64_t bs = cols + 3, xs = K + 1;
    float *b = floats((K - 1) * bs + cols, 1), *x = floats((T - 1) * xs + K, 1), *y = floats(T * cols, 1), *before = malloc((size_t)(T * cols) * 4), *one = malloc((size_t)cols * 4);
    memcpy(before, y, (size_t)(T * cols) * 4);
    f->k.mul_add(b, bs, K, cols, x, xs, T, y, cols);
    for (int64_t t = 0; t < T; t++) {
        for (int64_t c = 0; c < cols; c++) {
            double sum = (double)before[t * cols + c], size = fabs(sum);
            for (int64_t k = 0; k < K; k++) {
                sum += (double)x[t * xs + k] * (double)b[k * bs + c];
                size += fabs((double)x[t * xs + k] * (double)b[k * bs + c]);
            }
            check_near(f->name, "mul_add", K, c, (double)y[t * cols + c], sum, 0x1p-23 * (double)K * size + 1e-30);
        }
        int64_t half = K / 2;
        memcpy(one, before + t * cols, (size_t)cols * 4);
        f->k.mul_add(b, bs, K, cols, x + t * xs, xs, 1, one, cols);
        if (memcmp(one, y + t * cols, (size_t)cols * 4)) check_fail("%s mul_add %lld x %lld x %lld: a row alone differs", f->name, (long long)T, (long long)K, (long long)cols);
        if (strcmp(f->name, "ref") == 0) continue;           /* rounds after every call */
        memcpy(one, before + t * cols, (size_t)cols * 4);
        f->k.mul_add(b, bs, half, cols, x + t * xs, xs, 1, one, cols);
        f->k.mul_add(b + half * bs, bs, K - half, cols, x + t * xs + half, xs, 1, one, cols);
        if (memcmp(one, y + t * cols, (size_t)cols * 4)) check_fail("%s mul_add %lld x %lld x %lld: two pieces differ", f->name, (long long)T, (long long)K, (long long)cols);
    }
    done(b, (K - 1) * bs + cols);
    done(x, (T - 1) * xs + K);
    done(y, T * cols);
    free(before);
    free(one);
}

/* sum dy norm(x) w, whose gradient rms_norm_back is. */
static double normed(const double *x, const float *w, const float *dy, double eps, int64_t n)
{
    double squares = 0, sum = 0;
    for (int64_t i = 0; i < n; i++) squares += x[i] * x[i];
    for (int64_t i = 0; i < n; i++) sum += (double)dy[i] * x[i] * (w ? (double)w[i] : 1);
    return sum / sqrt(squares / (double)n + eps);
}

static void check_norm(const check_family *f, int64_t n)
{
    for (int pass = 0; pass < 3; pass++) {
        float *x = floats(n, 2), *w = floats(n, 1), *dy = floats(n, 1), *dx = pass == 2 ? dy : floats(n, 1), *kept = malloc((size_t)n * 4);
        double *at = malloc((size_t)n * 8), size = 0;
        const float *by = pass ? w : NULL;
        memcpy(kept, dy, (size_t)n * 4);
        for (int64_t i = 0; i < n; i++) {
            at[i] = (double)x[i];
            size = MAX(size, fabs((double)dy[i]) * (by ? fabs((double)w[i]) : 1));
        }
        f->k.rms_norm_back(x, by, 1e-6f, n, dy, dx);
        for (int64_t i = 0; i < n; i++) {
            double h = 1e-5, from, to;
            at[i] = (double)x[i] + h;
            to = normed(at, by, kept, (double)1e-6f, n);
            at[i] = (double)x[i] - h;
            from = normed(at, by, kept, (double)1e-6f, n);
            at[i] = (double)x[i];
            check_near(f->name, "rms_norm_back", n, i, (double)dx[i], (to - from) / (2 * h), 4e-6 * (1 + size) * (n < 4 ? 1e3 : 4));
        }
        if (dx != dy) done(dx, n);
        done(x, n);
        done(w, n);
        done(dy, n);
        free(kept);
        free(at);
    }
}

static double gelu(double g) { return 0.5 * g * (1 + tanh(0.79788456080286535588 * (g + 0.044715 * g * g * g))); }

static void check_gelu(const check_family *f, int64_t n, float scale)
{
    float *g = floats(n, scale), *u = floats(n, 1), *dy = floats(n, 1), *dg = floats(n, 1), *du = floats(n, 1);
    if (n > 4) {
        g[0] = 0;
        g[1] = -1e10f;
        g[2] = 1e10f;
        g[3] = -21;
    }
    f->k.gelu_mul_back(g, u, dy, n, dg, du);
    for (int64_t i = 0; i < n; i++) {
        double x = (double)g[i], h = 1e-5, slope = fabs(x) > 100 ? x > 0 : (gelu(x + h) - gelu(x - h)) / (2 * h);
        check_near(f->name, "gelu slope", n, i, (double)dg[i], (double)dy[i] * (double)u[i] * slope, 3e-6 * fabs((double)dy[i] * (double)u[i]) + 1e-12);
        check_near(f->name, "gelu value", n, i, (double)du[i], (double)dy[i] * gelu(x), 1e-6 * fabs((double)dy[i] * gelu(x)) + 1e-7 * fmin(fabs(x), 10) * fabs((double)dy[i]));
    }
    float *again = floats(n, 1), *up = floats(n, 1);
    memcpy(again, g, (size_t)n * 4);
    memcpy(up, u, (size_t)n * 4);
    f->k.gelu_mul_back(again, up, dy, n, again, up);
    if (memcmp(again, dg, (size_t)n * 4) || memcmp(up, du, (size_t)n * 4)) check_fail("%s gelu_mul_back: in place differs", f->name);
    done(g, n);
    done(u, n);
    done(dy, n);
    done(dg, n);
    done(du, n);
    done(again, n);
    done(up, n);
}

static void check_softmax(const check_family *f, int64_t n)
{
    float *s = floats(n, 4), *dp = floats(n, 1), *top = floats(n, 1), *inv = floats(n, 1), *mean = floats(n, 1), *p = malloc((size_t)n * 4), *d = malloc((size_t)n * 4);
    for (int64_t i = 0; i < n; i++) top[i] = s[i] + fabsf(top[i]);
    memcpy(p, s, (size_t)n * 4);
    memcpy(d, dp, (size_t)n * 4);
    f->k.softmax_back(s, dp, top, inv, mean, n);
    for (int64_t i = 0; i < n; i++) {
        double want = exp((double)(p[i] - top[i])) * (double)inv[i];
        check_near(f->name, "softmax_back p", n, i, (double)s[i], want, 1e-6 * fabs(want));
        check_near(f->name, "softmax_back", n, i, (double)dp[i], want * ((double)d[i] - (double)mean[i]), 2e-6 * fabs(want) * (fabs((double)d[i]) + fabs((double)mean[i])));
    }
    done(s, n);
    done(dp, n);
    done(top, n);
    done(inv, n);
    done(mean, n);
    free(p);
    free(d);
}

static void check_all(const check_family *f)
{
    static const int64_t odd[] = { 1, 2, 3, 5, 6, 7, 8, 12, 13, 16, 17, 31, 33, 48, 63, 64, 65, 100 };
    for (size_t t = 0; t < 9; t++)
        for (size_t c = 0; c < COUNT_OF(odd); c++) check_mul(f, odd[t], 1 + (int64_t)(t * 7 + c * 5) % 40, odd[c]);
    check_mul(f, 14, 300, 130);
    for (size_t i = 0; i < COUNT_OF(odd); i++) {
        check_norm(f, odd[i]);
        check_softmax(f, odd[i]);
        for (float scale = 0.01f; scale < 200; scale *= 10) check_gelu(f, odd[i], scale);
    }
}

int main(void)
{
    check_family f[8];
    int n = check_families(f);
    for (int i = 0; i < n; i++) check_all(&f[i]);
    return check_end("check_back");
}
