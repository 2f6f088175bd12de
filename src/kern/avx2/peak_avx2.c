/* What AVX2 can do at most. */
#include <immintrin.h>

typedef __m256i peak_v;
#define PEAK_LOAD(p) _mm256_load_si256((const __m256i *)(const void *)(p))
#define PEAK_XOR(a, b) _mm256_xor_si256(a, b)
#define PEAK_FOLD(v) ((uint64_t)_mm256_extract_epi64(v, 0) ^ (uint64_t)_mm256_extract_epi64(v, 1) ^ (uint64_t)_mm256_extract_epi64(v, 2) ^ (uint64_t)_mm256_extract_epi64(v, 3))
#include "kern/peak_simd.h"

#define DECLARE(i) __m256i s##i = _mm256_setzero_si256();
#define FOLD(i) sum = _mm256_xor_si256(sum, s##i);

/* Bytes to exact 32-bit sums. */
static uint64_t int8_madd(int64_t rounds)
{
    __m256i x = _mm256_set1_epi8(3), y = _mm256_set1_epi8(-2), one = _mm256_set1_epi16(1), sum = _mm256_setzero_si256();
    PEAK_EACH(DECLARE)
    while (rounds-- > 0) {
        PEAK_HIDE(x, "x");
#define STEP(i) s##i = _mm256_add_epi32(s##i, _mm256_madd_epi16(_mm256_maddubs_epi16(x, y), one)); PEAK_HIDE(s##i, "x"); PEAK_HIDE(x, "x");
        PEAK_EACH(STEP)
#undef STEP
    }
    PEAK_EACH(FOLD)
    return PEAK_FOLD(sum);
}

/* Bytes to 16-bit sums, as products of short codes can be added up for a while. */
static uint64_t int8_add16(int64_t rounds)
{
    __m256i x = _mm256_set1_epi8(3), y = _mm256_set1_epi8(-2), sum = _mm256_setzero_si256();
    PEAK_EACH(DECLARE)
    while (rounds-- > 0) {
#define STEP(i) PEAK_HIDE(x, "x"); s##i = _mm256_add_epi16(s##i, _mm256_maddubs_epi16(x, y)); PEAK_HIDE(s##i, "x");
        PEAK_EACH(STEP)
#undef STEP
    }
    PEAK_EACH(FOLD)
    return PEAK_FOLD(sum);
}

static uint64_t f32_fma(int64_t rounds)
{
    __m256 x = _mm256_set1_ps(1.0f), y = _mm256_set1_ps(1e-7f);
    __m256i sum = _mm256_setzero_si256();
#define DECLARE_F(i) __m256 f##i = _mm256_setzero_ps();
    PEAK_EACH(DECLARE_F)
    while (rounds-- > 0) {
#define STEP(i) f##i = _mm256_fmadd_ps(x, y, f##i); PEAK_HIDE(f##i, "x");
        PEAK_EACH(STEP)
#undef STEP
    }
#define FOLD_F(i) sum = _mm256_xor_si256(sum, _mm256_castps_si256(f##i));
    PEAK_EACH(FOLD_F)
    return PEAK_FOLD(sum);
}

const peak_loop peak_avx2_loops[] = {
    { .name = "vpmaddubsw ymm", .kind = PEAK_INT8, .ops = 64.0 * PEAK_SUMS, .run = int8_madd },
    { .name = "vpmaddubsw ymm, 16-bit sums", .kind = PEAK_INT8, .ops = 64.0 * PEAK_SUMS, .run = int8_add16 },
    { .name = "vfmadd ymm", .kind = PEAK_F32, .ops = 16.0 * PEAK_SUMS, .run = f32_fma },
    PEAK_READ_LOOPS,
    { .name = NULL } };
