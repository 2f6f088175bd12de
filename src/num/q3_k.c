/* 3 bits in 16 sub-blocks of 16 with signed 6-bit scales. */
#include "base/bits.h"
#include "num/blocks.h"
#include "num/half.h"

void q3_k_decode(const void *src, float *dst, int64_t n)
{
    const q3_k_block *b = src;
    for (int64_t done = 0; done < n; done += 256, b++, dst += 256) {
        float d = half_f16_to_f32(load_u16(b->d));
        for (int s = 0; s < 16; s++) {
            const uint8_t *q = b->qs + 32 * (s / 8) + 16 * (s & 1), *high = b->hmask + 16 * (s & 1);
            float scale = d * (float)q3_k_scale(b->scales, s);
            int shift = 2 * (s % 8 / 2);
            for (int j = 0; j < 16; j++)
                dst[16 * s + j] = scale * (float)((q[j] >> shift & 3) - (high[j] >> (s / 2) & 1 ? 0 : 4));
        }
    }
}
