/* 5 bits in 8 sub-blocks of 32 with 6-bit scales and minimums. */
#include "base/bits.h"
#include "num/blocks.h"
#include "num/half.h"

void q5_k_decode(const void *src, float *dst, int64_t n)
{
    const q5_k_block *b = src;
    for (int64_t done = 0; done < n; done += 256, b++, dst += 256) {
        float d = half_f16_to_f32(load_u16(b->d)), dmin = half_f16_to_f32(load_u16(b->dmin));
        for (int s = 0; s < 8; s++) {
            int sc, mn;
            q4_k_scale_min(b->scales, s, &sc, &mn);
            float scale = d * (float)sc, min = dmin * (float)mn;
            const uint8_t *q = b->qs + 32 * (s / 2);
            int shift = 4 * (s & 1);
            for (int j = 0; j < 32; j++)
                dst[32 * s + j] = scale * (float)((q[j] >> shift & 15) | (b->qh[j] >> s & 1) << 4) - min;
        }
    }
}

void q5_k_encode(const float *src, void *dst, int64_t n, const float *importance)
{
    q5_k_block *b = dst;
    for (int64_t i = 0; i < n; i += 256, b++) {
        uint8_t q[256];
        q4_k_fit(src + i, importance ? importance + i : NULL, 31, q, (uint8_t *)b);
        for (int j = 0; j < 128; j++) {
            const uint8_t *v = q + 64 * (j / 32) + j % 32;
            b->qs[j] = (uint8_t)((v[0] & 15) | (v[32] & 15) << 4);
        }
        for (int j = 0; j < 32; j++) {
            b->qh[j] = 0;
            for (int s = 0; s < 8; s++) b->qh[j] |= (uint8_t)(q[32 * s + j] >> 4 << s);
        }
    }
}
