/* Vector functions and attention: every family against f64, sizes one by one and odd larger ones, guard pages, and the
 * same bits whatever queries and keys share a call. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "support/kern_check.h"

static uint64_t seed = 9;

static float *floats(int64_t n, float scale) { return check_floats(n, scale, &seed); }
static void done(float *p, int64_t n) { check_free(p, (size_t)n * 4); }

static void check_norm(const check_family *f, int64_t n)
{
    for (int pass = 0; pass < 4; pass++) {
        float *x = floats(n, pass & 1 ? 1e4f : 0.3f), *w = floats(n, 1), *y = pass & 2 ? x : floats(n, 1), *copy = floats(n, 1);
        double sum = 0;
        memcpy(copy, x, (size_t)n * 4);
        for (int64_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
        double r = 1 / sqrt(sum / (double)n + 1e-6);
        f->k.rms_norm(x, pass ? w : NULL, 1e-6f, n, y);
        for (int64_t i = 0; i < n; i++) {
            double want = copy[i] * r * (pass ? (double)w[i] : 1);
            check_near(f->name, "rms_norm", n, i, y[i], want, 0x1p-22 * fabs(want) + 1e-40);
        }
        if (y != x) done(y, n);
        done(x, n);
        done(w, n);
        done(copy, n);
    }
}

static double gelu(double g) { return 0.5 * g * (1 + tanh(0.79788456080286535588 * (g + 0.044715 * g * g * g))); }

static void check_functions(const check_family *f, int64_t n, float scale)
{
    float *x = floats(n, scale), *u = floats(n, 1), *y = floats(n, 1), *s = floats(n, scale);
    if (n > 4) {
        x[0] = 0;
        x[1] = -0.0f;
        x[2] = 1e-30f;
        x[3] = -1e10f;
        x[4] = 1e10f;
    }
    f->k.gelu_mul(x, u, n, y);
    for (int64_t i = 0; i < n; i++) {
        /* below -4 the tanh is near -1 and float32 itself loses figures: a part of the input is allowed */
        double want = gelu(x[i]) * u[i];
        check_near(f->name, "gelu_mul", n, i, y[i], want, 1e-6 * fabs(want) + 1e-8 * fmin(fabs(x[i]), 10) * fabs(u[i]));
    }
    memcpy(y, x, (size_t)n * 4);
    f->k.softcap(30, n, y);
    for (int64_t i = 0; i < n; i++) check_near(f->name, "softcap", n, i, y[i], 30 * tanh(x[i] / 30.0), 1e-6 * fabs(30 * tanh(x[i] / 30.0)));
    if (n > 7) s[n / 2] = -INFINITY;
    memcpy(y, s, (size_t)n * 4);
    f->k.softmax(y, n);
    double top = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++) top = MAX(top, (double)s[i]);
    for (int64_t i = 0; i < n; i++) sum += exp((double)s[i] - top);
    for (int64_t i = 0; i < n; i++) {
        double want = exp((double)s[i] - top) / sum;
        check_near(f->name, "softmax", n, i, y[i], want, (1e-6 + 1e-7 * fabs(fmax(s[i], -1e3f) - top)) * want + 1e-38);
    }
    float *z = floats(n, 1), part;
    memcpy(z, s, (size_t)n * 4);
    check_near(f->name, "exp_sum", n, -1, f->k.exp_sum(z, n, &part), top, 0);
    check_near(f->name, "exp_sum", n, -1, part, sum, 2e-6 * sum);
    for (int64_t i = 0; i < n; i++) {
        double want = exp((double)s[i] - top);
        check_near(f->name, "exp_sum", n, i, z[i], want, (1e-6 + 1e-7 * fabs(fmax(s[i], -1e3f) - top)) * want + 1e-38);
    }
    done(z, n);
    if (n > 7 && y[n / 2] != 0) check_fail("%s softmax: a masked score has a share", f->name);
    done(x, n);
    done(u, n);
    done(y, n);
    done(s, n);
}

static void check_lines(const check_family *f, int64_t n)
{
    float *x = floats(n, 1), *y = floats(n, 1), *a = floats(n, 1);
    memcpy(a, y, (size_t)n * 4);
    f->k.add(x, n, a);
    for (int64_t i = 0; i < n; i++) check_near(f->name, "add", n, i, a[i], y[i] + x[i], 0);
    memcpy(a, y, (size_t)n * 4);
    f->k.scale(1.7f, n, a);
    for (int64_t i = 0; i < n; i++) check_near(f->name, "scale", n, i, a[i], y[i] * 1.7f, 0);
    memcpy(a, y, (size_t)n * 4);
    f->k.axpy(-0.3f, x, n, a);
    for (int64_t i = 0; i < n; i++) check_near(f->name, "axpy", n, i, a[i], (double)y[i] + (double)-0.3f * x[i], 0x1p-23 * (fabs(y[i]) + fabs(x[i])));
    done(x, n);
    done(y, n);
    done(a, n);
}

static void check_rope(const check_family *f, int64_t pairs)
{
    for (int extra = 0; extra < 3; extra++) {
        int64_t d = 2 * (pairs + extra * 5);
        float *x = floats(d, 2), *y = floats(d, 1), *cs = floats(MAX(2 * pairs, 1), 1);
        for (int64_t i = 0; i < pairs; i++) {
            cs[2 * i] = cosf((float)i * 0.7f);
            cs[2 * i + 1] = sinf((float)i * 0.7f);
        }
        memcpy(y, x, (size_t)d * 4);
        f->k.rope(y, cs, d, pairs);
        for (int64_t i = 0; i < d / 2; i++) {
            double a = x[i], b = x[i + d / 2], c = i < pairs ? (double)cs[2 * i] : 1, s = i < pairs ? (double)cs[2 * i + 1] : 0;
            check_near(f->name, "rope", d, i, y[i], a * c - b * s, 0x1p-22 * (fabs(a) + fabs(b)));
            check_near(f->name, "rope", d, i + d / 2, y[i + d / 2], b * c + a * s, 0x1p-22 * (fabs(a) + fabs(b)));
        }
        done(x, d);
        done(y, d);
        done(cs, MAX(2 * pairs, 1));
    }
}

/* n keys or values of type t, exactly at a guard page, and their values. */
static uint8_t *stored(const check_family *f, dtype t, int64_t n, int64_t d, float *values)
{
    size_t row = dtype_row_bytes(t, d);
    uint8_t *p = check_guarded(row * (size_t)n);
    for (int64_t i = 0; i < n; i++) {
        float *v = values + i * d;
        for (int64_t c = 0; c < d; c++) v[c] = check_gauss(&seed);
        f->k.kv_store(t, v, d, p + (size_t)i * row);
        f->k.kv_load(t, p + (size_t)i * row, d, v);
    }
    return p;
}

/* A family writes the bytes that num/ writes: halves, subnormals, overflow and zero included. */
static void check_store(const check_family *f, dtype t, int64_t n)
{
    static const float edges[] = {127, 0.5f, -0.5f, 1.5f, -2.5f, 0x1.fffffep-2f, -126.5f, 3e-8f, -5.9e-8f, 2.98e-8f, 6.1e-5f, 0, -0.0f, 3.4e-39f, 1e-40f};
    size_t bytes = dtype_row_bytes(t, n);
    uint8_t *mine = check_guarded(bytes), *want = malloc(bytes);
    float *x = floats(n, 1), *back = floats(n, 1), *plain = malloc((size_t)n * 4);
    for (int round = 0; round < 4; round++) {
        for (int64_t i = 0; i < n; i++) x[i] = round == 0 ? 0 : round == 1 ? edges[i % (int64_t)COUNT_OF(edges)] : check_gauss(&seed) * (round == 2 ? 1.0f : 3e4f);
        f->k.kv_store(t, x, n, mine);
        dtype_of(t)->encode(x, want, n, NULL);
        check_count++;
        if (memcmp(mine, want, bytes)) check_fail("%s kv_store of %lld %s, round %d: other bytes", f->name, (long long)n, dtype_of(t)->name, round);
        f->k.kv_load(t, mine, n, back);
        dtype_of(t)->decode(mine, plain, n);
        if (memcmp(back, plain, (size_t)n * 4)) check_fail("%s kv_load of %lld %s, round %d: other numbers", f->name, (long long)n, dtype_of(t)->name, round);
    }
    check_free(mine, bytes);
    free(want);
    free(plain);
    done(x, n);
    done(back, n);
}

static void check_attention(const check_family *f, dtype t, int64_t nq, int64_t n, int64_t d)
{
    size_t row = dtype_row_bytes(t, d);
    float *v = malloc((size_t)(n * d) * 4), *q = floats(nq * d, 1), *s = floats(nq * n, 1), *o = floats(nq * d, 1);
    float *before = malloc((size_t)(nq * d) * 4), *one = malloc((size_t)MAX(d, n) * 4);
    uint8_t *kv = stored(f, t, n, d, v);
    char what[64];
    snprintf(what, sizeof what, "%s x %lld queries, head %lld", dtype_of(t)->name, (long long)nq, (long long)d);
    f->k.attn_scores(t, q, d, nq, d, kv, row, NULL, n, s, n);
    for (int64_t j = 0; j < nq; j++)
        for (int64_t i = 0; i < n; i++) {
            double sum = 0, magnitude = 0;
            for (int64_t c = 0; c < d; c++) {
                sum += (double)q[j * d + c] * v[i * d + c];
                magnitude += fabs((double)q[j * d + c] * v[i * d + c]);
            }
            check_near(f->name, what, n, i, s[j * n + i], sum, 0x1p-20 * magnitude);
            f->k.attn_scores(t, q + j * d, d, 1, d, kv + (size_t)i * row, row, kv, 1, one, 1);
            if (memcmp(one, &s[j * n + i], 4)) check_fail("%s scores of %s: alone differs", f->name, what);
        }
    memcpy(before, o, (size_t)(nq * d) * 4);
    f->k.attn_mix(t, s, n, nq, d, kv, row, NULL, n, o, d);
    for (int64_t j = 0; j < nq; j++) {
        for (int64_t c = 0; c < d; c++) {
            double sum = before[j * d + c], magnitude = fabs(sum);
            for (int64_t i = 0; i < n; i++) {
                sum += (double)s[j * n + i] * v[i * d + c];
                magnitude += fabs((double)s[j * n + i] * v[i * d + c]);
            }
            check_near(f->name, what, n, c, o[j * d + c], sum, 0x1p-20 * magnitude);
        }
        memcpy(one, before + j * d, (size_t)d * 4);
        f->k.attn_mix(t, s + j * n, n, 1, d, kv, row, kv, n, one, d);
        if (memcmp(one, o + j * d, (size_t)d * 4)) check_fail("%s mix of %s: alone differs", f->name, what);
    }
    check_free(kv, row * (size_t)n);
    done(q, nq * d);
    done(s, nq * n);
    done(o, nq * d);
    free(v);
    free(before);
    free(one);
}

static void check_all(const check_family *f)
{
    static const dtype kv[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_Q8_0};
    static const float scales[] = {0.01f, 0.1f, 1, 10, 100};
    for (int64_t m = 1; m < 3000; m += m < 130 ? 1 : 997) {
        check_norm(f, m);
        check_lines(f, m);
        if (m <= 300) check_rope(f, m);
        for (size_t s = 0; s < COUNT_OF(scales); s++) check_functions(f, m, scales[s]);
    }
    for (size_t t = 0; t < COUNT_OF(kv); t++)
        for (int64_t m = kv[t] == DTYPE_Q8_0 ? 32 : 1; m <= 96; m += kv[t] == DTYPE_Q8_0 ? 32 : 1) check_store(f, kv[t], m);
    for (size_t t = 0; t < COUNT_OF(kv); t++)
        for (int64_t q = 1; q <= 9; q++)
            for (int64_t d = kv[t] == DTYPE_Q8_0 ? 32 : 1; d <= 520; d = kv[t] == DTYPE_Q8_0 ? d * 2 : d * 2 + (q & 1))
                check_attention(f, kv[t], q, 1 + (q * 7 + d) % 40, d);
}

int main(void)
{
    check_family f[8];
    int n = check_families(f);
    for (int i = 0; i < n; i++) check_all(&f[i]);
    return check_end("check_vec");
}
