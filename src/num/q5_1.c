/* 5 bits, a scale and a minimum for 32 elements; the fifth bits together in one word. */
#include "base/bits.h"
#include "num/blocks.h"
#include "num/fit.h"
#include "num/half.h"

void q5_1_decode(const void *src, float *dst, int64_t n)
{
    const q5_1_block *b = src;
    for (int64_t i = 0; i < n; i += 32, b++, dst += 32) {
        float d = half_f16_to_f32(load_u16(b->d)), m = half_f16_to_f32(load_u16(b->m));
        uint32_t high = load_u32(b->qh);
        for (int j = 0; j < 16; j++) {
            dst[j] = d * (float)((b->qs[j] & 15) | (high >> j & 1) << 4) + m;
            dst[j + 16] = d * (float)((b->qs[j] >> 4) | (high >> (j + 16) & 1) << 4) + m;
        }
    }
}

void q5_1_encode(const float *src, void *dst, int64_t n, const float *importance)
{
    q5_1_block *b = dst;
    float sigma2 = importance ? fit_mean_square(n, src) : 0;
    for (int64_t i = 0; i < n; i += 32, b++) {
        const float *x = src + i;
        uint8_t q[32];
        uint32_t high = 0;
        float m, d = fit_range(31, x, importance ? importance + i : NULL, sigma2, q, &m);
        store_u16(b->d, half_f32_to_f16(d));
        store_u16(b->m, half_f32_to_f16(m));
        for (int j = 0; j < 16; j++) b->qs[j] = (uint8_t)((q[j] & 15) | (q[j + 16] & 15) << 4);
        for (int j = 0; j < 32; j++) high |= (uint32_t)(q[j] >> 4) << j;
        store_u32(b->qh, high);
    }
}
