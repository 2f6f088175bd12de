/* 2 to 2.6 bits: eight magnitudes at a time from a code book, signs beside it. */
#include "base/bits.h"
#include "num/blocks.h"
#include "num/half.h"
#include "num/iq_grid.h"

static const float magnitude[4] = {8, 25, 43, 0};

static float *put8(float *dst, float scale, uint32_t code, uint32_t signs)
{
    for (int j = 0; j < 8; j++) {
        float v = scale * magnitude[code >> (2 * j) & 3];
        *dst++ = signs >> j & 1 ? -v : v;
    }
    return dst;
}

void iq2_xxs_decode(const void *src, float *dst, int64_t n)
{
    const iq2_xxs_block *b = src;
    for (int64_t i = 0; i < n; i += 256, b++) {
        float d = half_f16_to_f32(load_u16(b->d));
        for (int s = 0; s < 8; s++) {
            const uint8_t *code = b->qs + 8 * s;
            uint32_t rest = load_u32(code + 4);
            float scale = d * (0.5f + (float)(rest >> 28)) * 0.25f;
            for (int l = 0; l < 4; l++) dst = put8(dst, scale, iq_grid_2xxs[code[l]], iq_grid_signs(rest >> (7 * l)));
        }
    }
}

void iq2_xs_decode(const void *src, float *dst, int64_t n)
{
    const iq2_xs_block *b = src;
    for (int64_t i = 0; i < n; i += 256, b++) {
        float d = half_f16_to_f32(load_u16(b->d));
        for (int l = 0; l < 32; l++) {
            uint32_t code = load_u16(b->qs + 2 * l), nib = b->scales[l / 4] >> (4 * (l / 2 & 1)) & 15;
            dst = put8(dst, d * (0.5f + (float)nib) * 0.25f, iq_grid_2xs[code & 511], iq_grid_signs(code >> 9));
        }
    }
}

void iq2_s_decode(const void *src, float *dst, int64_t n)
{
    const iq2_s_block *b = src;
    for (int64_t i = 0; i < n; i += 256, b++) {
        float d = half_f16_to_f32(load_u16(b->d));
        for (int l = 0; l < 32; l++) {
            uint32_t code = b->qs[l] | (uint32_t)(b->qh[l / 4] >> (2 * (l % 4)) & 3) << 8;
            uint32_t nib = b->scales[l / 4] >> (4 * (l / 2 & 1)) & 15;
            dst = put8(dst, d * (0.5f + (float)nib) * 0.25f, iq_grid_2s[code], b->signs[l]);
        }
    }
}
