/* Products of weights and activations: every family against sums in f64 under the contract's bound, the same bits for
 * any number of tokens and any split of the rows, nothing read or written outside; products of many tokens likewise, under their own bound. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "num/half.h"
#include "support/kern_check.h"

static const int tokens[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 17, 33};
enum { T_MAX = 33 };

/* The value an activation form stands for: multiplies the identity, so to speak, through the reference's exact product. */
static void unpack_act(const kern *k, kern_act act, const void *packed, int64_t n, float *out)
{
    if (act == KERN_ACT_F32) {
        memcpy(out, packed, (size_t)n * 4);
        return;
    }
    /* Q8: a reference product with one-hot weight rows would be slow; the form is documented in kern_int.h. */
    for (int64_t i = 0; i < n; i++) {
        const char *chunk = (const char *)packed + i / 256 * 320;
        float d;
        memcpy(&d, chunk + 256 + i % 256 / 32 * 4, 4);
        out[i] = d * (float)(int8_t)chunk[i % 256];
    }
    (void)k;
}

typedef struct shape { int64_t rows, cols; float scale, x_scale; } shape;

/* One product of family f for tokens [0, T) and rows split at `split`, into y with guards between the rows of y. */
static void product(const kern *k, dtype t, const uint8_t *w, shape s, const void *x, size_t x_bytes, int64_t T, int64_t split,
                    float *y, int64_t stride, void *scratch)
{
    size_t row = dtype_row_bytes(t, s.cols);
    for (int64_t i = 0; i < T * stride; i++) y[i] = 12345.5f;
    kern_mul_fn mul = kern_mul_for(&k->fast[t], T);
    memset(scratch, 0, KERN_SCRATCH_HEAD);
    if (split) mul(w, row, split, s.cols, x, x_bytes, T, y, stride, w + (size_t)split * row, scratch);
    mul(w + (size_t)split * row, row, s.rows - split, s.cols, x, x_bytes, T, y + split, stride, NULL, scratch);
    for (int64_t j = 0; j < T; j++)
        for (int64_t r = s.rows; r < stride; r++)
            if (y[j * stride + r] != 12345.5f) check_fail("%s: wrote outside y", dtype_of(t)->name);
}

static void check_shape(const check_family *f, dtype t, shape s, uint64_t *seed)
{
    const dtype_info *d = dtype_of(t);
    const kern *k = &f->k;
    kern_act act = k->fast[t].act;
    size_t row = dtype_row_bytes(t, s.cols), bytes = row * (size_t)s.rows, x_bytes = k->act_bytes(act, s.cols);
    uint8_t *w = check_guarded(bytes), *base = malloc(bytes);
    uint8_t *x = check_guarded(x_bytes * T_MAX);
    float *xf = malloc((size_t)s.cols * sizeof(float) * (T_MAX + 1)), *wf = malloc((size_t)s.cols * 8), *zf = wf + s.cols;
    int64_t stride = s.rows + 3;
    float *y = malloc((size_t)(stride * T_MAX) * 4), *one = malloc((size_t)(stride * T_MAX) * 4);
    void *scratch = check_guarded(k->scratch_bytes(s.cols));
    check_weights(t, w, s.cols * s.rows, s.scale, seed);
    memcpy(base, w, bytes);
    check_zero_codes(t, base, s.cols * s.rows);
    for (int j = 0; j < T_MAX; j++) {
        float *v = xf + j * s.cols;
        for (int64_t i = 0; i < s.cols; i++) v[i] = check_gauss(seed) * s.x_scale * (check_random(seed) % 97 ? 1 : 50);
        if (j == 5) memset(v, 0, (size_t)s.cols * 4);
        k->pack[act](v, s.cols, x + (size_t)j * x_bytes);
        unpack_act(k, act, x + (size_t)j * x_bytes, s.cols, v);
    }
    /* each token alone: bound against f64 */
    for (int j = 0; j < T_MAX; j++) product(k, t, w, s, x + (size_t)j * x_bytes, x_bytes, 1, 0, one + j * stride, stride, scratch);
    for (int64_t r = 0; r < s.rows; r++) {
        d->decode(w + (size_t)r * row, wf, s.cols);
        d->decode(base + (size_t)r * row, zf, s.cols);
        for (int j = 0; j < T_MAX; j++) {
            double sum = 0, magnitude = 0;
            for (int64_t i = 0; i < s.cols; i++) {
                double v = xf[j * s.cols + i];
                sum += v * wf[i];
                magnitude += fabs(v) * (fabs((double)wf[i]) + 2 * fabs((double)zf[i]));
            }
            double error = fabs(one[j * stride + r] - sum);
            check_count++;
            if (!(error <= 0x1p-20 * magnitude + 1e-37))
                check_fail("%s %s %lldx%lld: row %lld token %d is %g, should be %g (off by %.2g of the bound)", f->name, d->name,
                           (long long)s.rows, (long long)s.cols, (long long)r, j, (double)one[j * stride + r], sum,
                           error / (0x1p-20 * magnitude + 1e-37));
        }
    }
    for (size_t n = 0; n < COUNT_OF(tokens); n++) {
        int T = tokens[n];
        product(k, t, w, s, x, x_bytes, T, s.rows * (int64_t)(n % 3) / 3, y, stride, scratch);
        for (int j = 0; j < T; j++)
            if (memcmp(y + j * stride, one + j * stride, (size_t)s.rows * 4))
                check_fail("%s %s %lldx%lld: token %d of %d differs from the token alone", f->name, d->name, (long long)s.rows,
                           (long long)s.cols, j, T);
    }
    check_free(w, bytes);
    check_free(x, x_bytes * T_MAX);
    check_free(scratch, k->scratch_bytes(s.cols));
    free(base);
    free(xf);
    free(wf);
    free(y);
    free(one);
}

/* ---- many tokens ---- */

enum { MANY_MOST = 600 };      /* more than share a panel, and no whole number of groups */

static float bf16(float x)
{
    uint16_t half = half_f32_to_bf16(x);
    return half_bf16_to_f32(half);
}

/* T tokens from `from` on, packed. */
static uint8_t *pack_many(const kern *k, const float *x, int64_t cols, int64_t from, int64_t T, int parts, size_t bytes)
{
    uint8_t *out = check_guarded(bytes);
    for (int64_t t = 0; t < T; t += KERN_MANY_GROUP) {
        const float *rows[KERN_MANY_GROUP] = {NULL};
        for (int64_t i = t; i < MIN(t + KERN_MANY_GROUP, T); i++) rows[i - t] = x + (from + i) * cols;
        k->pack_many(rows, cols, parts, out + kern_many_slice(t, parts), kern_many_slice(T, parts));
    }
    return out;
}

/* Rows of tokens [from, from + T), rows of weights split at `split`, against those of all tokens together. */
static void many_part(const check_family *f, dtype t, const uint8_t *w, shape s, const float *x, int64_t from, int64_t T, int64_t split, const float *want)
{
    const kern_mul *m = &f->k.fast[t];
    size_t row = dtype_row_bytes(t, s.cols), bytes = kern_many_bytes(T, s.cols, m->many_parts), slice = kern_many_slice(T, m->many_parts);
    uint8_t *packed = pack_many(&f->k, x, s.cols, from, T, m->many_parts, bytes);
    int64_t stride = s.rows + 3;
    float *y = check_guarded((size_t)(T * stride - 3) * 4);
    void *scratch = check_guarded(f->k.scratch_bytes(s.cols));
    for (int64_t i = 0; i < T * stride - 3; i++) y[i] = 12345.5f;
    if (split) m->many(w, row, split, s.cols, packed, slice, T, y, stride, w + (size_t)split * row, scratch);
    m->many(w + (size_t)split * row, row, s.rows - split, s.cols, packed, slice, T, y + split, stride, NULL, scratch);
    for (int64_t j = 0; j < T; j++) {
        if (memcmp(y + j * stride, want + (from + j) * s.rows, (size_t)s.rows * 4))
            check_fail("%s many %s %lldx%lld: token %lld of %lld from %lld differs", f->name, dtype_of(t)->name, (long long)s.rows, (long long)s.cols, (long long)j,
                       (long long)T, (long long)from);
        for (int64_t r = s.rows; j + 1 < T && r < stride; r++)
            if (y[j * stride + r] != 12345.5f) check_fail("%s many: wrote outside y", f->name);
    }
    check_free(packed, bytes);
    check_free(y, (size_t)(T * stride - 3) * 4);
    check_free(scratch, f->k.scratch_bytes(s.cols));
}

/* Both factors as they were rounded, in f64: what is left is the order of sums in f32, and weights that a last bit sent to the other side. */
static void many_bound(const check_family *f, dtype t, const uint8_t *w, shape s, const float *x, const float *y)
{
    bool rounds = f->k.fast[t].many_parts == 1;
    size_t row = dtype_row_bytes(t, s.cols);
    float *wf = malloc((size_t)s.cols * 4);
    for (int64_t r = 0; r < s.rows; r++) {
        dtype_of(t)->decode(w + (size_t)r * row, wf, s.cols);
        for (int64_t j = 0; j < MANY_MOST; j += j < 40 ? 1 : 37) {
            double sum = 0, magnitude = 0;
            for (int64_t i = 0; i < s.cols; i++) {
                double p = bf16(wf[i]) * (double)(rounds ? bf16(x[j * s.cols + i]) : x[j * s.cols + i]);
                sum += p;
                magnitude += fabs(p);
            }
            check_near(f->name, dtype_of(t)->name, s.cols, r, y[j * s.rows + r], sum, (double)s.cols * 0x1p-24 * magnitude + 1e-30);
        }
    }
    free(wf);
}

static void check_many(const check_family *f, dtype t, shape s, uint64_t *seed)
{
    static const int64_t some[] = { 1, 15, 16, 17, 33, 513 };
    const kern_mul *m = &f->k.fast[t];
    size_t bytes = dtype_row_bytes(t, s.cols) * (size_t)s.rows, slice = kern_many_slice(MANY_MOST, m->many_parts);
    uint8_t *w = check_guarded(bytes);
    float *x = malloc((size_t)(s.cols * MANY_MOST) * 4), *y = malloc((size_t)(s.rows * MANY_MOST) * 4);
    void *scratch = check_guarded(f->k.scratch_bytes(s.cols));
    check_weights(t, w, s.cols * s.rows, s.scale, seed);
    for (int64_t i = 0; i < s.cols * MANY_MOST; i++) x[i] = check_gauss(seed) * s.x_scale;
    uint8_t *packed = pack_many(&f->k, x, s.cols, 0, MANY_MOST, m->many_parts, kern_many_bytes(MANY_MOST, s.cols, m->many_parts));
    m->many(w, dtype_row_bytes(t, s.cols), s.rows, s.cols, packed, slice, MANY_MOST, y, s.rows, NULL, scratch);
    check_free(packed, kern_many_bytes(MANY_MOST, s.cols, m->many_parts));
    many_bound(f, t, w, s, x, y);
    for (size_t i = 0; i < COUNT_OF(some); i++)
        many_part(f, t, w, s, x, (int64_t)i * 7, some[i], s.rows * (int64_t)(i % 3) / 3, y);
    check_free(w, bytes);
    check_free(scratch, f->k.scratch_bytes(s.cols));
    free(x);
    free(y);
}

/* The exact product of a family against f64, with its tighter bound. */
static void check_exact(const check_family *f, dtype t, shape s, uint64_t *seed)
{
    const dtype_info *d = dtype_of(t);
    size_t row = dtype_row_bytes(t, s.cols), bytes = row * (size_t)s.rows;
    uint8_t *w = check_guarded(bytes);
    int64_t T = 3, stride = s.cols + 1;
    float *x = check_guarded((size_t)(T * stride - 1) * 4), *wf = malloc((size_t)s.cols * 4), *y = malloc((size_t)(T * s.rows) * 4);
    void *scratch = check_guarded(f->k.scratch_bytes(s.cols));
    check_weights(t, w, s.cols * s.rows, s.scale, seed);
    for (int64_t i = 0; i < T * stride - 1; i++) x[i] = check_gauss(seed) * s.x_scale;
    f->k.mul_exact(t, w, row, s.rows, s.cols, x, stride, T, y, s.rows, scratch);
    for (int64_t r = 0; r < s.rows; r++) {
        d->decode(w + (size_t)r * row, wf, s.cols);
        for (int64_t j = 0; j < T; j++) {
            double sum = 0, magnitude = 0;
            for (int64_t i = 0; i < s.cols; i++) {
                sum += (double)wf[i] * (double)x[j * stride + i];
                magnitude += fabs((double)wf[i] * (double)x[j * stride + i]);
            }
            check_count++;
            if (!(fabs(y[j * s.rows + r] - sum) <= 0x1p-22 * magnitude + 1e-37))
                check_fail("%s exact %s: %g, should be %g", f->name, d->name, (double)y[j * s.rows + r], sum);
        }
    }
    check_free(w, bytes);
    check_free(x, (size_t)(T * stride - 1) * 4);
    check_free(scratch, f->k.scratch_bytes(s.cols));
    free(wf);
    free(y);
}

/* All families make the same int8 activations: round-trip error at most half a step, and equal bytes. */
static void check_pack(const check_family *f, int n, uint64_t *seed)
{
    for (int64_t cols = 1; cols < 1000; cols += cols < 130 ? 1 : 61)
        for (int scale = -36; scale <= 36; scale += 9) {
            size_t bytes = f[0].k.act_bytes(KERN_ACT_Q8, cols);
            float *x = check_guarded((size_t)cols * 4);
            char *want = check_guarded(bytes), *got = check_guarded(bytes);
            for (int64_t i = 0; i < cols; i++) x[i] = check_gauss(seed) * powf(10, (float)scale);
            f[0].k.pack[KERN_ACT_Q8](x, cols, want);
            for (int64_t i = 0; i < cols; i++) {
                const char *chunk = want + i / 256 * 320;
                float step;
                memcpy(&step, chunk + 256 + i % 256 / 32 * 4, 4);
                check_count++;
                if (!(fabsf(step * (float)(int8_t)chunk[i % 256] - x[i]) <= 0.501f * step + 1e-30f)) check_fail("pack: element %lld", (long long)i);
            }
            for (int k = 1; k < n; k++) {
                memset(got, 0x55, bytes);
                f[k].k.pack[KERN_ACT_Q8](x, cols, got);
                if (memcmp(want, got, bytes)) check_fail("%s: pack of %lld (1e%d) differs from the reference", f[k].name, (long long)cols, scale);
            }
            check_free(x, (size_t)cols * 4);
            check_free(want, bytes);
            check_free(got, bytes);
        }
}

int main(void)
{
    check_family f[8];
    int n = check_families(f);
    uint64_t seed = 42;
    static const shape shapes[] = {
        {1, 256, 0.01f, 1}, {16, 256, 0.01f, 1}, {15, 512, 1, 1}, {17, 768, 1e-3f, 100}, {37, 1024, 60, 1e-6f}, {80, 2304, 0.02f, 1},
        {130, 256, 1e-4f, 1e6f},
    };
    static const shape many[] = { {1, 256, 0.01f, 1}, {17, 768, 1e-3f, 100}, {50, 1280, 60, 1e-6f}, {300, 512, 1, 1} };
    check_pack(f, n, &seed);
    for (int i = 0; i < n; i++)
        for (int t = 0; t < DTYPE_COUNT; t++) {
            const dtype_info *d = dtype_find((uint32_t)t);
            if (!d || !f[i].k.fast[t].mul) continue;
            if (i > 0 && f[i].k.fast[t].mul == f[0].k.fast[t].mul) continue;     /* not a kernel of its own */
            for (size_t s = 0; s < (i ? COUNT_OF(shapes) : 3); s++) check_shape(&f[i], (dtype)t, shapes[s], &seed);
            /* widths in blocks, one by one */
            if (d->block < 256 && i > 0)
                for (int64_t b = 1; b <= 130; b += b < 20 ? 1 : 11)
                    check_shape(&f[i], (dtype)t, (shape){1 + b % 21, b * d->block, 0.01f, 1}, &seed);
            for (size_t s = 0; f[i].k.fast[t].many && s < COUNT_OF(many) - (t != DTYPE_Q4_K && t != DTYPE_BF16); s++) check_many(&f[i], (dtype)t, many[s], &seed);
            for (int64_t b = 1; f[i].k.fast[t].many && d->block == 32 && b <= 70; b += b)
                check_many(&f[i], (dtype)t, (shape){ 1 + b * 5, b * d->block, 0.01f, 1 }, &seed);
            if (i == 0)
                for (size_t s = 0; s < 4; s++) check_exact(&f[i], (dtype)t, shapes[s], &seed);
        }
    return check_end("check_mul");
}
