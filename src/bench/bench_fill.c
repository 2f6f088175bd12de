#include "bench/bench_fill.h"

#include <math.h>

#include "base/bits.h"
#include "num/half.h"

uint64_t bench_fill_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static float uniform(uint64_t *state) { return (float)((double)(int64_t)bench_fill_random(state) * 0x1p-63); }

float bench_fill_gauss(uint64_t *state)
{
    float s = 0;
    for (int i = 0; i < 6; i++) s += uniform(state);
    return s * 0.7071f;
}

/* Where the f16 scales of a block are; -1 ends. */
static const int *scale_places(dtype t)
{
    static const int first[] = {0, -1}, two[] = {0, 2, -1}, q2[] = {80, 82, -1}, q3[] = {108, -1}, q6[] = {208, -1};
    static const int tq1[] = {52, -1}, tq2[] = {64, -1}, none[] = {-1};
    switch (t) {
    case DTYPE_Q4_1: case DTYPE_Q5_1: case DTYPE_Q4_K: case DTYPE_Q5_K: return two;
    case DTYPE_Q2_K: return q2;
    case DTYPE_Q3_K: return q3;
    case DTYPE_Q6_K: return q6;
    case DTYPE_TQ1_0: return tq1;
    case DTYPE_TQ2_0: return tq2;
    case DTYPE_IQ1_M: case DTYPE_MXFP4: case DTYPE_NVFP4: return none;
    default: return first;
    }
}

void bench_fill_weights(dtype t, void *out, int64_t n, float scale, uint64_t *state)
{
    const dtype_info *d = dtype_of(t);
    uint8_t *p = out;
    if (d->block == 1) {
        for (int64_t i = 0; i < n; i++) {
            float v = bench_fill_gauss(state) * scale;
            d->encode(&v, p + i * d->bytes, 1, NULL);
        }
        return;
    }
    for (int64_t b = 0; b < n / d->block; b++, p += d->bytes) {
        for (int i = 0; i < d->bytes; i++) p[i] = (uint8_t)bench_fill_random(state);
        for (const int *s = scale_places(t); *s >= 0; s++) store_u16(p + *s, half_f32_to_f16(bench_fill_gauss(state) * scale));
        if (t == DTYPE_MXFP4) p[0] = (uint8_t)MIN(MAX(128 + (int)lrintf(log2f(scale)) + (int)(bench_fill_random(state) % 5), 0), 250);
        if (t == DTYPE_IQ1_M) {
            uint16_t h = half_f32_to_f16(bench_fill_gauss(state) * scale);
            for (int k = 0; k < 4; k++) p[49 + 2 * k] = (uint8_t)((p[49 + 2 * k] & 15) | (h >> (4 * k) & 15) << 4);
        }
    }
}
