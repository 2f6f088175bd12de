/* 8 bits, one scale for 32 elements. */
#include <math.h>

#include "base/bits.h"
#include "num/blocks.h"
#include "num/half.h"

void q8_0_decode(const void *src, float *dst, int64_t n)
{
    const q8_0_block *b = src;
    for (int64_t i = 0; i < n; i += 32, b++, dst += 32) {
        float d = half_f16_to_f32(load_u16(b->d));
        for (int j = 0; j < 32; j++) dst[j] = d * (float)b->qs[j];
    }
}

void q8_0_encode(const float *src, void *dst, int64_t n, const float *importance)
{
    (void)importance;
    q8_0_block *b = dst;
    for (int64_t i = 0; i < n; i += 32, b++, src += 32) {
        float top = 0;
        for (int j = 0; j < 32; j++) top = MAX(top, fabsf(src[j]));
        /* The codes use the scale before it is rounded to f16, as every other writer does. */
        float d = top / 127.0f, id = d != 0 ? 1.0f / d : 0;
        store_u16(b->d, half_f32_to_f16(d));
        for (int j = 0; j < 32; j++) b->qs[j] = (int8_t)roundf(src[j] * id);
    }
}
