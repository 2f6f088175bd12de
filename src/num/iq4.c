/* 4-bit codes into a table of 16 unequal steps: one scale for 32 (IQ4_NL), or 6-bit scales in a block of 256 (IQ4_XS). */
#include "base/bits.h"
#include "num/blocks.h"
#include "num/half.h"

const int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

static void decode32(float d, const uint8_t qs[16], float dst[32])
{
    for (int j = 0; j < 16; j++) {
        dst[j] = d * (float)iq4_values[qs[j] & 15];
        dst[j + 16] = d * (float)iq4_values[qs[j] >> 4];
    }
}

void iq4_nl_decode(const void *src, float *dst, int64_t n)
{
    const iq4_nl_block *b = src;
    for (int64_t i = 0; i < n; i += 32, b++) decode32(half_f16_to_f32(load_u16(b->d)), b->qs, dst + i);
}

void iq4_xs_decode(const void *src, float *dst, int64_t n)
{
    const iq4_xs_block *b = src;
    for (int64_t i = 0; i < n; i += 256, b++) {
        float d = half_f16_to_f32(load_u16(b->d));
        for (int s = 0; s < 8; s++) decode32(d * (float)iq4_xs_scale(b, s), b->qs + 16 * s, dst + i + 32 * s);
    }
}
