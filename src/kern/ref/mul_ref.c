/* Products of weights and activations, by decoding every weight row to f32: the definition of correct. */
#include <math.h>
#include <string.h>

#include "base/bits.h"
#include "kern/ref/ref.h"

size_t mul_ref_act_bytes(kern_act act, int64_t n)
{
    switch (act) {
    case KERN_ACT_F32:  return (size_t)n * 4;
    case KERN_ACT_Q8:   return align_up((size_t)n, 256) / 256 * sizeof(kern_q8);
    }
    return 0;
}

void mul_ref_pack_f32(const float *x, int64_t n, void *out) { memcpy(out, x, (size_t)n * 4); }

void mul_ref_pack_q8(const float *x, int64_t n, void *out)
{
    kern_q8 *o = out;
    for (int64_t at = 0; at < n; at += 256, o++) {
        memset(o, 0, sizeof *o);
        for (int g = 0; g < 8; g++) {
            int64_t len = MIN(n - at - 32 * g, 32);
            const float *v = x + at + 32 * g;
            float top = 0;
            for (int64_t i = 0; i < len; i++) top = MAX(top, fabsf(v[i]));
            if (!(top >= 1e-30f)) continue;
            float id = 127.0f / top;
            o->d[g] = top / 127.0f;
            for (int64_t i = 0; i < len; i++) {
                int q = (int)lrintf(v[i] * id);
                o->q[32 * g + i] = (int8_t)q;
                o->sum[2 * g + i / 16] = (int16_t)(o->sum[2 * g + i / 16] + q);
            }
        }
    }
}

/* Sixteen running sums, added up in one order. */
static double dot64(const double *w, const float *x, int64_t n)
{
    double s[16] = {0};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++) s[j] += w[i + j] * (double)x[i + j];
    for (int j = 0; i < n; i++, j++) s[j] += w[i] * (double)x[i];
    for (int step = 8; step; step /= 2)
        for (int j = 0; j < step; j++) s[j] += s[j + step];
    return s[0];
}

static void row_f64(const dtype_info *d, const void *row, int64_t n, float *tmp, double *out)
{
    d->decode(row, tmp, n);
    for (int64_t i = 0; i < n; i++) out[i] = tmp[i];
}

/* scratch: one row in f64, then one in f32, behind the head. */
size_t mul_ref_scratch_bytes(int64_t cols) { return MAX(KERN_SCRATCH_HEAD + align_up((size_t)cols, 256) * 12, (size_t)KERN_TILE_SCRATCH); }
static double *scratch_row(void *scratch) { return (double *)(void *)((uint8_t *)scratch + KERN_SCRATCH_HEAD); }

void mul_ref_exact(dtype type, const void *w, size_t row_bytes, int64_t rows, int64_t cols, const float *x, int64_t x_stride,
                   int64_t T, float *y, int64_t y_stride, void *scratch)
{
    const dtype_info *d = dtype_of(type);
    double *row = scratch_row(scratch);
    for (int64_t r = 0; r < rows; r++) {
        row_f64(d, (const char *)w + (size_t)r * row_bytes, cols, (float *)(row + align_up((size_t)cols, 256)), row);
        for (int64_t t = 0; t < T; t++) y[t * y_stride + r] = (float)dot64(row, x + t * x_stride, cols);
    }
}

static void mul_q8(dtype type, const void *w, size_t row_bytes, int64_t rows, int64_t cols, const void *x, size_t x_bytes, int64_t T,
                   float *y, int64_t y_stride, void *scratch)
{
    const dtype_info *d = dtype_of(type);
    double *row = scratch_row(scratch);
    for (int64_t r = 0; r < rows; r++) {
        row_f64(d, (const char *)w + (size_t)r * row_bytes, cols, (float *)(row + align_up((size_t)cols, 256)), row);
        for (int64_t t = 0; t < T; t++) {
            const kern_q8 *v = (const void *)((const char *)x + (size_t)t * x_bytes);
            double sum = 0;
            for (int64_t g = 0; g < cols / 32; g++) {
                const int8_t *q = v[g / 8].q + 32 * (g % 8);
                double s = 0;
                for (int i = 0; i < 32; i++) s += row[32 * g + i] * q[i];
                sum += s * (double)v[g / 8].d[g % 8];
            }
            y[t * y_stride + r] = (float)sum;
        }
    }
}

static void mul_f32(dtype type, const void *w, size_t row_bytes, int64_t rows, int64_t cols, const void *x, size_t x_bytes, int64_t T,
                    float *y, int64_t y_stride, void *scratch)
{
    mul_ref_exact(type, w, row_bytes, rows, cols, x, (int64_t)(x_bytes / 4), T, y, y_stride, scratch);
}

#define ARGS const void *w, size_t row_bytes, int64_t rows, int64_t cols, const void *x, size_t x_bytes, int64_t T, float *y, \
             int64_t y_stride, const void *next, void *scratch
#define QUANT(t) static void mul_##t(ARGS) { (void)next; mul_q8(DTYPE_##t, w, row_bytes, rows, cols, x, x_bytes, T, y, y_stride, scratch); }
#define FLOAT(t) static void mul_##t(ARGS) { (void)next; mul_f32(DTYPE_##t, w, row_bytes, rows, cols, x, x_bytes, T, y, y_stride, scratch); }
KERN_QUANT_TYPES(QUANT)
KERN_FLOAT_TYPES(FLOAT)

void mul_ref_fill(kern *k)
{
    k->act_bytes = mul_ref_act_bytes;
    k->pack[KERN_ACT_F32] = mul_ref_pack_f32;
    k->pack[KERN_ACT_Q8] = mul_ref_pack_q8;
    k->scratch_bytes = mul_ref_scratch_bytes;
    k->mul_exact = mul_ref_exact;
#define SET_QUANT(t) k->fast[DTYPE_##t] = (kern_mul){.act = KERN_ACT_Q8, .mul = mul_##t}; k->family[DTYPE_##t] = "ref";
#define SET_FLOAT(t) k->fast[DTYPE_##t] = (kern_mul){.act = KERN_ACT_F32, .mul = mul_##t}; k->family[DTYPE_##t] = "ref";
    KERN_QUANT_TYPES(SET_QUANT)
    KERN_FLOAT_TYPES(SET_FLOAT)
}
