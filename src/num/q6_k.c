/* 6 bits in 16 sub-blocks of 16 with signed 8-bit scales. */
#include "base/bits.h"
#include "num/blocks.h"
#include "num/fit.h"
#include "num/half.h"

void q6_k_decode(const void *src, float *dst, int64_t n)
{
    const q6_k_block *b = src;
    for (int64_t done = 0; done < n; done += 256, b++, dst += 256) {
        float d = half_f16_to_f32(load_u16(b->d));
        for (int s = 0; s < 16; s++) {
            int half = s / 8, g = s % 8 / 2, at = 16 * (s & 1);
            const uint8_t *low = b->ql + 64 * half + 32 * (g & 1) + at, *high = b->qh + 32 * half + at;
            float scale = d * (float)b->scales[s];
            for (int j = 0; j < 16; j++)
                dst[16 * s + j] = scale * (float)(((low[j] >> (4 * (g >> 1)) & 15) | (high[j] >> (2 * g) & 3) << 4) - 32);
        }
    }
}

static void encode256(const float *x, const float *importance, q6_k_block *b)
{
    float scale[16], peak = 0;
    uint8_t q[256];
    for (int s = 0; s < 16; s++) {
        scale[s] = fit_symmetric(16, 32, x + 16 * s, importance ? importance + 16 * s : NULL, q + 16 * s);
        if (fabsf(scale[s]) > fabsf(peak)) peak = scale[s];
    }
    memset(b, 0, sizeof *b);
    if (fabsf(peak) < 1e-15f) return;
    float inverse = -128.0f / peak;
    store_u16(b->d, half_f32_to_f16(1 / inverse));
    for (int s = 0; s < 16; s++) {
        b->scales[s] = (int8_t)fit_round(inverse * scale[s], -128, 127);
        float step = half_f16_to_f32(load_u16(b->d)) * (float)b->scales[s];
        if (step == 0) continue;
        for (int j = 0; j < 16; j++) q[16 * s + j] = (uint8_t)(fit_round(x[16 * s + j] / step, -32, 31) + 32);
    }
    for (int j = 0; j < 64; j++) {
        const uint8_t *v = q + 128 * (j / 32) + j % 32;         /* the four groups of one half */
        uint8_t *low = b->ql + 64 * (j / 32) + j % 32;
        low[0] = (uint8_t)((v[0] & 15) | (v[64] & 15) << 4);
        low[32] = (uint8_t)((v[32] & 15) | (v[96] & 15) << 4);
        b->qh[j] = (uint8_t)(v[0] >> 4 | v[32] >> 4 << 2 | v[64] >> 4 << 4 | v[96] >> 4 << 6);
    }
}

void q6_k_encode(const float *src, void *dst, int64_t n, const float *importance)
{
    q6_k_block *b = dst;
    for (int64_t i = 0; i < n; i += 256) encode256(src + i, importance ? importance + i : NULL, b++);
}
