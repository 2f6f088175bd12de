/* What NEON with dot products can do at most. */
#include <arm_neon.h>

#include <stdint.h>

typedef uint64x2_t peak_v;
#define PEAK_LOAD(p) vreinterpretq_u64_u8(vld1q_u8(p))
#define PEAK_XOR(a, b) veorq_u64(a, b)
#define PEAK_FOLD(v) (vgetq_lane_u64(v, 0) ^ vgetq_lane_u64(v, 1))
#include "kern/peak_simd.h"

static uint64_t int8_sdot(int64_t rounds)
{
    int8x16_t x = vdupq_n_s8(3), y = vdupq_n_s8(-2);
    uint64x2_t sum = vdupq_n_u64(0);
#define DECLARE(i) int32x4_t s##i = vdupq_n_s32(0);
    PEAK_EACH(DECLARE)
    while (rounds-- > 0) {
#define STEP(i) s##i = vdotq_s32(s##i, x, y); PEAK_HIDE(s##i, "w");
        PEAK_EACH(STEP)
#undef STEP
    }
#define FOLD(i) sum = veorq_u64(sum, vreinterpretq_u64_s32(s##i));
    PEAK_EACH(FOLD)
    return PEAK_FOLD(sum);
}

static uint64_t f32_fma(int64_t rounds)
{
    float32x4_t x = vdupq_n_f32(1.0f), y = vdupq_n_f32(1e-7f);
    uint64x2_t sum = vdupq_n_u64(0);
#define DECLARE_F(i) float32x4_t f##i = vdupq_n_f32(0);
    PEAK_EACH(DECLARE_F)
    while (rounds-- > 0) {
#define STEP(i) f##i = vfmaq_f32(f##i, x, y); PEAK_HIDE(f##i, "w");
        PEAK_EACH(STEP)
#undef STEP
    }
#define FOLD_F(i) sum = veorq_u64(sum, vreinterpretq_u64_f32(f##i));
    PEAK_EACH(FOLD_F)
    return PEAK_FOLD(sum);
}

const peak_loop peak_neon_loops[] = {
    { .name = "sdot", .kind = PEAK_INT8, .ops = 32.0 * PEAK_SUMS, .run = int8_sdot },
    { .name = "fmla", .kind = PEAK_F32, .ops = 8.0 * PEAK_SUMS, .run = f32_fma },
    PEAK_READ_LOOPS,
    { .name = NULL } };
