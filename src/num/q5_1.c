/* 5 bits, a scale and a minimum for 32 elements; the fifth bits together in one word. */
#include "base/bits.h"
#include "num/blocks.h"
#include "num/half.h"

void q5_1_decode(const void *src, float *dst, int64_t n)
{
    const q5_1_block *b = src;
    for (int64_t i = 0; i < n; i += 32, b++, dst += 32) {
        float d = half_f16_to_f32(load_u16(b->d)), m = half_f16_to_f32(load_u16(b->m));
        uint32_t high = load_u32(b->qh);
        for (int j = 0; j < 16; j++) {
            dst[j] = d * (float)((b->qs[j] & 15) | (high >> j & 1) << 4) + m;
            dst[j + 16] = d * (float)((b->qs[j] >> 4) | (high >> (j + 16) & 1) << 4) + m;
        }
    }
}
