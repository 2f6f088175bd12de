/* One and two bits and ternary digits: codes of two or three values and one scale. */
#include "base/bits.h"
#include "num/blocks.h"
#include "num/half.h"

void tern_q1_0_decode(const void *src, float *dst, int64_t n)
{
    const q1_0_block *b = src;
    for (int64_t i = 0; i < n; i += 128, b++, dst += 128) {
        float d = half_f16_to_f32(load_u16(b->d));
        for (int j = 0; j < 128; j++) dst[j] = b->bits[j / 8] >> (j % 8) & 1 ? d : -d;
    }
}

void tern_q2_0_decode(const void *src, float *dst, int64_t n)
{
    const q2_0_block *b = src;
    for (int64_t i = 0; i < n; i += 64, b++, dst += 64) {
        float d = half_f16_to_f32(load_u16(b->d));
        for (int j = 0; j < 64; j++) dst[j] = d * (float)((b->qs[j / 4] >> (2 * (j % 4)) & 3) - 1);
    }
}

/* Five digits to a byte: the byte is a fraction of 256, each multiplication by three shifts one digit out. */
static int trit(uint8_t byte, int k)
{
    static const uint8_t pow3[5] = {1, 3, 9, 27, 81};
    return ((uint8_t)(byte * pow3[k]) * 3 >> 8) - 1;
}

void tern_tq1_0_decode(const void *src, float *dst, int64_t n)
{
    const tq1_0_block *b = src;
    for (int64_t i = 0; i < n; i += 256, b++) {
        float d = half_f16_to_f32(load_u16(b->d));
        for (int k = 0; k < 5; k++)
            for (int j = 0; j < 32; j++) *dst++ = d * (float)trit(b->qs[j], k);
        for (int k = 0; k < 5; k++)
            for (int j = 32; j < 48; j++) *dst++ = d * (float)trit(b->qs[j], k);
        for (int k = 0; k < 4; k++)
            for (int j = 0; j < 4; j++) *dst++ = d * (float)trit(b->qh[j], k);
    }
}

void tern_tq2_0_decode(const void *src, float *dst, int64_t n)
{
    const tq2_0_block *b = src;
    for (int64_t i = 0; i < n; i += 256, b++, dst += 256) {
        float d = half_f16_to_f32(load_u16(b->d));
        for (int j = 0; j < 256; j++)
            dst[j] = d * (float)((b->qs[32 * (j / 128) + j % 32] >> (2 * (j % 128 / 32)) & 3) - 1);
    }
}
