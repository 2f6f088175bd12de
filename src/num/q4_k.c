/* 4 bits in 8 sub-blocks of 32 with 6-bit scales and minimums. */
#include "base/bits.h"
#include "num/blocks.h"
#include "num/fit.h"
#include "num/half.h"

void q4_k_decode(const void *src, float *dst, int64_t n)
{
    const q4_k_block *b = src;
    for (int64_t done = 0; done < n; done += 256, b++, dst += 256) {
        float d = half_f16_to_f32(load_u16(b->d)), dmin = half_f16_to_f32(load_u16(b->dmin));
        for (int s = 0; s < 8; s++) {
            int sc, mn;
            q4_k_scale_min(b->scales, s, &sc, &mn);
            float scale = d * (float)sc, min = dmin * (float)mn;
            const uint8_t *q = b->qs + 32 * (s / 2);
            int shift = 4 * (s & 1);
            for (int j = 0; j < 32; j++) dst[32 * s + j] = scale * (float)(q[j] >> shift & 15) - min;
        }
    }
}

void q4_k_fit(const float *x, const float *importance, int N, uint8_t code[256], uint8_t *head)
{
    float scale[8], min[8], w[32], sum[8], d, dmin;
    uint8_t ls[8], lm[8];
    float sigma2 = 2 * fit_mean_square(256, x);
    for (int s = 0; s < 8; s++) {
        const float *v = x + 32 * s;
        if (importance) {
            fit_weights(32, v, importance + 32 * s, sigma2, w);
            sum[s] = 0;
            for (int j = 0; j < 32; j++) sum[s] += w[j];
            scale[s] = fit_affine(32, N, v, w, -0.9f, 0.05f, 36, code + 32 * s, &min[s]);
        } else {
            float average = sqrtf(fit_mean_square(32, v));
            for (int j = 0; j < 32; j++) w[j] = average + fabsf(v[j]);
            scale[s] = N == 15 ? fit_affine(32, N, v, w, -1.0f, 0.1f, 20, code + 32 * s, &min[s])
                               : fit_affine(32, N, v, w, -0.5f, 0.1f, 15, code + 32 * s, &min[s]);
        }
    }
    if (importance) {
        d = fit_positive(8, 63, scale, sum, ls);
        dmin = fit_positive(8, 63, min, sum, lm);
    } else {
        float top_scale = 0, top_min = 0;
        for (int s = 0; s < 8; s++) {
            top_scale = MAX(scale[s], top_scale);
            top_min = MAX(min[s], top_min);         /* in this order: never -0 */
        }
        float is = top_scale > 0 ? 63.0f / top_scale : 0, im = top_min > 0 ? 63.0f / top_min : 0;
        for (int s = 0; s < 8; s++) {
            ls[s] = (uint8_t)fit_round(is * scale[s], 0, 63);
            lm[s] = (uint8_t)fit_round(im * min[s], 0, 63);
        }
        d = top_scale / 63.0f;
        dmin = top_min / 63.0f;
    }
    uint8_t *pack = head + 4;
    store_u16(head, half_f32_to_f16(d));
    store_u16(head + 2, half_f32_to_f16(dmin));
    for (int j = 0; j < 4; j++) {
        pack[j] = (uint8_t)(ls[j] | (ls[j + 4] >> 4) << 6);
        pack[j + 4] = (uint8_t)(lm[j] | (lm[j + 4] >> 4) << 6);
        pack[j + 8] = (uint8_t)((ls[j + 4] & 15) | (lm[j + 4] & 15) << 4);
    }
    /* The codes once more, against the scales as stored. */
    for (int s = 0; s < 8; s++) {
        float step = half_f16_to_f32(load_u16(head)) * (float)ls[s], low = half_f16_to_f32(load_u16(head + 2)) * (float)lm[s];
        if (step == 0) continue;
        for (int j = 0; j < 32; j++) code[32 * s + j] = (uint8_t)fit_round((x[32 * s + j] + low) / step, 0, N);
    }
}

void q4_k_encode(const float *src, void *dst, int64_t n, const float *importance)
{
    q4_k_block *b = dst;
    for (int64_t i = 0; i < n; i += 256, b++) {
        uint8_t q[256];
        q4_k_fit(src + i, importance ? importance + i : NULL, 15, q, (uint8_t *)b);
        for (int j = 0; j < 128; j++) b->qs[j] = (uint8_t)(q[64 * (j / 32) + j % 32] | q[64 * (j / 32) + 32 + j % 32] << 4);
    }
}
