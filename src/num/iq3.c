/* 3.1 and 3.4 bits: four magnitudes at a time from a code book, signs beside it. */
#include "base/bits.h"
#include "num/blocks.h"
#include "num/half.h"
#include "num/iq_grid.h"

static const float magnitude_xxs[8] = {4, 12, 20, 28, 36, 44, 52, 62};

void iq3_xxs_decode(const void *src, float *dst, int64_t n)
{
    const iq3_xxs_block *b = src;
    for (int64_t i = 0; i < n; i += 256, b++) {
        float d = half_f16_to_f32(load_u16(b->d));
        for (int l = 0; l < 32; l++) {                                   /* 8 elements: two codes */
            uint32_t rest = load_u32(b->signs + 4 * (l / 4)), signs = iq_grid_signs(rest >> (7 * (l % 4)));
            float scale = d * (0.5f + (float)(rest >> 28)) * 0.5f;
            for (int j = 0; j < 8; j++) {
                float v = scale * magnitude_xxs[iq_grid_3xxs[b->qs[2 * l + j / 4]] >> (3 * (j % 4)) & 7];
                *dst++ = signs >> j & 1 ? -v : v;
            }
        }
    }
}

void iq3_s_decode(const void *src, float *dst, int64_t n)
{
    const iq3_s_block *b = src;
    for (int64_t i = 0; i < n; i += 256, b++) {
        float d = half_f16_to_f32(load_u16(b->d));
        for (int c = 0; c < 64; c++) {                                   /* code c: 4 elements */
            uint32_t code = b->qs[c] | (uint32_t)(b->qh[c / 8] >> (c % 8) & 1) << 8;
            uint32_t nib = b->scales[c / 16] >> (4 * (c / 8 & 1)) & 15, signs = b->signs[c / 2] >> (4 * (c & 1));
            float scale = d * (float)(1 + 2 * nib);
            for (int j = 0; j < 4; j++) {
                float v = scale * (float)(2 * (iq_grid_3s[code] >> (3 * j) & 7) + 1);
                *dst++ = signs >> j & 1 ? -v : v;
            }
        }
    }
}
