/* f16 and bf16 conversions, exact in both directions (round to nearest even, subnormals, infinities, NaN). */
#ifndef FC_NUM_HALF_H
#define FC_NUM_HALF_H

#include <stdint.h>
#include <string.h>

static inline float half_bf16_to_f32(uint16_t h)
{
    uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline uint16_t half_f32_to_bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((u >> 16) | 64);   /* quiet NaN */
    return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1)) >> 16);
}

/* sign, exponent, fraction are moved; the multiplication by 2^112 puts the exponent right, subnormals included. */
static inline float half_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = (uint32_t)(h & 0x7fff) << 13, u;
    float f;
    if (rest >= 0x0f800000u) {              /* infinity or NaN */
        u = sign | 0x70000000u | rest;
        u |= 0x7f800000u;
        memcpy(&f, &u, sizeof f);
        return f;
    }
    memcpy(&f, &rest, sizeof f);
    f *= 5.192296858534828e+33f;            /* 2^112 */
    memcpy(&u, &f, sizeof u);
    u |= sign;
    memcpy(&f, &u, sizeof f);
    return f;
}

uint16_t half_f32_to_f16(float f);

#endif
