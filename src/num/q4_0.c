/* 4 bits, one scale for 32 elements. */
#include "base/bits.h"
#include "num/blocks.h"
#include "num/half.h"

void q4_0_decode(const void *src, float *dst, int64_t n)
{
    const q4_0_block *b = src;
    for (int64_t i = 0; i < n; i += 32, b++, dst += 32) {
        float d = half_f16_to_f32(load_u16(b->d));
        for (int j = 0; j < 16; j++) {
            dst[j] = d * (float)((b->qs[j] & 15) - 8);
            dst[j + 16] = d * (float)((b->qs[j] >> 4) - 8);
        }
    }
}
