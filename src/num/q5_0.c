/* 5 bits, one scale for 32 elements; the fifth bits together in one word. */
#include "base/bits.h"
#include "num/blocks.h"
#include "num/fit.h"
#include "num/half.h"

void q5_0_decode(const void *src, float *dst, int64_t n)
{
    const q5_0_block *b = src;
    for (int64_t i = 0; i < n; i += 32, b++, dst += 32) {
        float d = half_f16_to_f32(load_u16(b->d));
        uint32_t high = load_u32(b->qh);
        for (int j = 0; j < 16; j++) {
            dst[j] = d * (float)((int)((b->qs[j] & 15) | (high >> j & 1) << 4) - 16);
            dst[j + 16] = d * (float)((int)((b->qs[j] >> 4) | (high >> (j + 16) & 1) << 4) - 16);
        }
    }
}

void q5_0_encode(const float *src, void *dst, int64_t n, const float *importance)
{
    q5_0_block *b = dst;
    float sigma2 = importance ? fit_mean_square(n, src) : 0;
    for (int64_t i = 0; i < n; i += 32, b++) {
        const float *x = src + i;
        uint8_t q[32];
        uint32_t high = 0;
        float d;
        if (importance) {
            float w[32];
            fit_weights(32, x, importance + i, sigma2, w);
            d = fit_symmetric(32, 16, x, w, q);
        } else {
            float peak = 0;
            for (int j = 0; j < 32; j++)
                if (fabsf(x[j]) > fabsf(peak)) peak = x[j];
            d = peak / -16;
            float id = d != 0 ? 1.0f / d : 0;
            for (int j = 0; j < 32; j++) q[j] = (uint8_t)MIN(31, (int)(x[j] * id + 16.5f));
        }
        store_u16(b->d, half_f32_to_f16(d));
        for (int j = 0; j < 16; j++) b->qs[j] = (uint8_t)((q[j] & 15) | (q[j + 16] & 15) << 4);
        for (int j = 0; j < 32; j++) high |= (uint32_t)(q[j] >> 4) << j;
        store_u32(b->qh, high);
    }
}
