/* 6 bits in 16 sub-blocks of 16 with signed 8-bit scales. */
#include "base/bits.h"
#include "num/blocks.h"
#include "num/half.h"

void q6_k_decode(const void *src, float *dst, int64_t n)
{
    const q6_k_block *b = src;
    for (int64_t done = 0; done < n; done += 256, b++, dst += 256) {
        float d = half_f16_to_f32(load_u16(b->d));
        for (int s = 0; s < 16; s++) {
            int half = s / 8, g = s % 8 / 2, at = 16 * (s & 1);
            const uint8_t *low = b->ql + 64 * half + 32 * (g & 1) + at, *high = b->qh + 32 * half + at;
            float scale = d * (float)b->scales[s];
            for (int j = 0; j < 16; j++)
                dst[16 * s + j] = scale * (float)(((low[j] >> (4 * (g >> 1)) & 15) | (high[j] >> (2 * g) & 3) << 4) - 32);
        }
    }
}
