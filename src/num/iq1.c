/* 1.6 and 1.75 bits: eight ternary digits at a time from a code book, all shifted by an eighth up or down. */
#include "base/bits.h"
#include "num/blocks.h"
#include "num/half.h"
#include "num/iq_grid.h"

static float *put8(float *dst, float scale, uint32_t code, int down)
{
    float shift = down ? -0.125f : 0.125f;
    for (int j = 0; j < 8; j++) *dst++ = scale * ((float)((int)(iq_grid_1[code] >> (2 * j) & 3) - 1) + shift);
    return dst;
}

void iq1_s_decode(const void *src, float *dst, int64_t n)
{
    const iq1_s_block *b = src;
    for (int64_t i = 0; i < n; i += 256, b++) {
        float d = half_f16_to_f32(load_u16(b->d));
        for (int l = 0; l < 32; l++) {
            uint32_t high = load_u16(b->qh + 2 * (l / 4));
            float scale = d * (float)(2 * (high >> 12 & 7) + 1);
            dst = put8(dst, scale, b->qs[l] | (high >> (3 * (l % 4)) & 7) << 8, high >> 15 & 1);
        }
    }
}

void iq1_m_decode(const void *src, float *dst, int64_t n)
{
    const iq1_m_block *b = src;
    for (int64_t i = 0; i < n; i += 256, b++) {
        uint32_t sc[4], dbits = 0;
        for (int k = 0; k < 4; k++) {
            sc[k] = load_u16(b->scales + 2 * k);
            dbits |= sc[k] >> 12 << (4 * k);           /* the f16 scale lies in four top nibbles */
        }
        float d = half_f16_to_f32((uint16_t)dbits);
        for (int l = 0; l < 32; l++) {
            uint32_t high = b->qh[l / 2] >> (4 * (l & 1)) & 15;
            float scale = d * (float)(2 * (sc[l / 8] >> (3 * (l / 2 % 4)) & 7) + 1);
            dst = put8(dst, scale, b->qs[l] | (high & 7) << 8, high >> 3 & 1);
        }
    }
}
