/* 4 bits, a scale and a minimum for 32 elements. */
#include "base/bits.h"
#include "num/blocks.h"
#include "num/half.h"

void q4_1_decode(const void *src, float *dst, int64_t n)
{
    const q4_1_block *b = src;
    for (int64_t i = 0; i < n; i += 32, b++, dst += 32) {
        float d = half_f16_to_f32(load_u16(b->d)), m = half_f16_to_f32(load_u16(b->m));
        for (int j = 0; j < 16; j++) {
            dst[j] = d * (float)(b->qs[j] & 15) + m;
            dst[j + 16] = d * (float)(b->qs[j] >> 4) + m;
        }
    }
}
