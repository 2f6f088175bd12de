/* What int8 matrix products can do at most; float and memory are NEON's. */
#include <arm_neon.h>

#include "base/bits.h"
#include "kern/peak.h"

enum { SUMS = 12 };
#define EACH(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11)

static uint64_t int8_smmla(int64_t rounds)
{
    int8x16_t x = vdupq_n_s8(3), y = vdupq_n_s8(-2);
    int32x4_t sum = vdupq_n_s32(0);
#define DECLARE(i) int32x4_t s##i = vdupq_n_s32(0);
    EACH(DECLARE)
    while (rounds-- > 0) {
#define STEP(i) s##i = vmmlaq_s32(s##i, x, y); __asm__ volatile("" : "+w"(s##i));
        EACH(STEP)
#undef STEP
    }
#define FOLD(i) sum = veorq_s32(sum, s##i);
    EACH(FOLD)
    return (uint64_t)(vgetq_lane_s32(sum, 0) ^ vgetq_lane_s32(sum, 3));
}

const peak_loop peak_i8mm_loops[] = {
    { .name = "smmla", .kind = PEAK_INT8, .ops = 64.0 * SUMS, .run = int8_smmla },
    { .name = NULL } };
