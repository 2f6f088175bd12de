#include "num/half.h"

uint16_t half_f32_to_f16(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    uint32_t sign = u >> 16 & 0x8000, abs = u & 0x7fffffff;
    if (abs > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (abs >> 13 & 0x3ff));   /* quiet NaN */
    if (abs >= 0x477ff000) return (uint16_t)(sign | 0x7c00);                        /* rounds to 65536 or more */
    if (abs < 0x38800000) {
        /* Below 2^-14: adding 0.5 leaves the subnormal's bits, correctly rounded, at the end of the fraction. */
        float a;
        memcpy(&a, &abs, sizeof a);
        a += 0.5f;
        memcpy(&abs, &a, sizeof abs);
        return (uint16_t)(sign | (abs - 0x3f000000));
    }
    return (uint16_t)(sign | ((abs - 0x38000000 + 0xfff + (abs >> 13 & 1)) >> 13));
}
