/* Attention against stored keys and values, in pieces of 64 elements decoded to f32, sums in f64. */
#include "base/bits.h"
#include "kern/ref/ref.h"

/* Address of element i (a multiple of the type's block) of a stored row. */
static const void *at(const dtype_info *t, const void *base, size_t row_bytes, int64_t row, int64_t i)
{
    return (const char *)base + (size_t)row * row_bytes + (size_t)(i / t->block) * (size_t)t->bytes;
}

static void attn_scores(dtype kv, const float *q, int64_t q_stride, int64_t nq, int64_t d, const void *keys, size_t key_bytes,
                        const void *ahead, int64_t n, float *s, int64_t s_stride)
{
    (void)ahead;
    const dtype_info *t = dtype_of(kv);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < nq; j++) {
            double sum[4] = {0};
            for (int64_t c = 0; c < d; c += KERN_PIECE) {
                float key[KERN_PIECE];
                int64_t len = MIN(d - c, (int64_t)KERN_PIECE);
                const float *v = q + j * q_stride + c;
                t->decode(at(t, keys, key_bytes, i, c), key, len);
                for (int64_t e = 0; e < len; e++) sum[e & 3] += (double)v[e] * (double)key[e];
            }
            s[j * s_stride + i] = (float)(sum[0] + sum[1] + (sum[2] + sum[3]));
        }
}

static void attn_mix(dtype kv, const float *p, int64_t p_stride, int64_t nq, int64_t d, const void *values, size_t value_bytes,
                     const void *ahead, int64_t n, float *o, int64_t o_stride)
{
    (void)ahead;
    const dtype_info *t = dtype_of(kv);
    for (int64_t j = 0; j < nq; j++)
        for (int64_t c = 0; c < d; c += KERN_PIECE) {
            double sum[KERN_PIECE] = {0};
            int64_t len = MIN(d - c, (int64_t)KERN_PIECE);
            for (int64_t i = 0; i < n; i++) {
                float value[KERN_PIECE];
                double weight = p[j * p_stride + i];
                t->decode(at(t, values, value_bytes, i, c), value, len);
                for (int64_t e = 0; e < len; e++) sum[e] += weight * (double)value[e];
            }
            for (int64_t e = 0; e < len; e++) o[j * o_stride + c + e] += (float)sum[e];
        }
}

static void kv_store(dtype kv, const float *x, int64_t n, void *out) { dtype_of(kv)->encode(x, out, n, NULL); }
static void kv_load(dtype kv, const void *p, int64_t n, float *out) { dtype_of(kv)->decode(p, out, n); }

void attn_ref_fill(kern *k)
{
    k->attn_scores = attn_scores;
    k->attn_mix = attn_mix;
    k->kv_store = kv_store;
    k->kv_load = kv_load;
}
