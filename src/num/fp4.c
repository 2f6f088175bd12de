/* 4-bit floats (E2M1): MXFP4 has a power of two for 32 elements, NVFP4 an unsigned E4M3 scale for 16. */
#include <math.h>

#include "base/bits.h"
#include "num/blocks.h"

const int8_t fp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

float fp4_mx_scale(uint8_t e)
{
    uint32_t u = e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23;     /* the first two are subnormal */
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

float fp4_nv_scale(uint8_t e)
{
    int exp = e >> 3 & 15, man = e & 7;
    if (e == 0 || e == 0x7f) return 0;
    return 0.5f * (exp ? ldexpf(1.0f + (float)man / 8, exp - 7) : ldexpf((float)man, -9));
}

void fp4_mx_decode(const void *src, float *dst, int64_t n)
{
    const mxfp4_block *b = src;
    for (int64_t i = 0; i < n; i += 32, b++, dst += 32) {
        float d = fp4_mx_scale(b->e);
        for (int j = 0; j < 16; j++) {
            dst[j] = d * (float)fp4_values[b->qs[j] & 15];
            dst[j + 16] = d * (float)fp4_values[b->qs[j] >> 4];
        }
    }
}

void fp4_nv_decode(const void *src, float *dst, int64_t n)
{
    const nvfp4_block *b = src;
    for (int64_t i = 0; i < n; i += 64, b++, dst += 64)
        for (int s = 0; s < 4; s++) {
            float d = fp4_nv_scale(b->s[s]);
            for (int j = 0; j < 8; j++) {
                dst[16 * s + j] = d * (float)fp4_values[b->qs[8 * s + j] & 15];
                dst[16 * s + j + 8] = d * (float)fp4_values[b->qs[8 * s + j] >> 4];
            }
        }
}

void fp4_mx_encode(const float *src, void *dst, int64_t n, const float *importance)
{
    (void)importance;
    mxfp4_block *b = dst;
    for (int64_t i = 0; i < n; i += 32, b++) {
        const float *x = src + i;
        float top = 0;
        for (int j = 0; j < 32; j++) top = MAX(top, fabsf(x[j]));
        int e = top > 0 ? (int)floorf(log2f(top)) - 2 + 127 : 0;
        b->e = (uint8_t)MIN(MAX(e, 0), 254);
        float d = fp4_mx_scale(b->e);
        uint8_t q[32];
        for (int j = 0; j < 32; j++) {
            float best = INFINITY;
            q[j] = 0;
            for (int c = 0; c < 16; c++) {
                float error = fabsf((float)fp4_values[c] * d - x[j]);
                if (error < best) {
                    best = error;
                    q[j] = (uint8_t)c;
                }
            }
        }
        for (int j = 0; j < 16; j++) b->qs[j] = (uint8_t)(q[j] | q[j + 16] << 4);
    }
}
