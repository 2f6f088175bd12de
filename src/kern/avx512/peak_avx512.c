/* What AVX-512 with VNNI can do at most. */
#include <immintrin.h>

typedef __m512i peak_v;
#define PEAK_LOAD(p) _mm512_load_si512((const void *)(p))
#define PEAK_XOR(a, b) _mm512_xor_si512(a, b)
#define PEAK_FOLD(v) ((uint64_t)_mm512_reduce_add_epi64(v))
#include "kern/peak_simd.h"

static uint64_t int8_vnni(int64_t rounds)
{
    __m512i x = _mm512_set1_epi8(3), y = _mm512_set1_epi8(-2), sum = _mm512_setzero_si512();
#define DECLARE(i) __m512i s##i = _mm512_setzero_si512();
    PEAK_EACH(DECLARE)
    while (rounds-- > 0) {
#define STEP(i) s##i = _mm512_dpbusd_epi32(s##i, x, y); PEAK_HIDE(s##i, "v");
        PEAK_EACH(STEP)
#undef STEP
    }
#define FOLD(i) sum = _mm512_xor_si512(sum, s##i);
    PEAK_EACH(FOLD)
    return PEAK_FOLD(sum);
}

static uint64_t f32_fma(int64_t rounds)
{
    __m512 x = _mm512_set1_ps(1.0f), y = _mm512_set1_ps(1e-7f);
    __m512i sum = _mm512_setzero_si512();
#define DECLARE_F(i) __m512 f##i = _mm512_setzero_ps();
    PEAK_EACH(DECLARE_F)
    while (rounds-- > 0) {
#define STEP(i) f##i = _mm512_fmadd_ps(x, y, f##i); PEAK_HIDE(f##i, "v");
        PEAK_EACH(STEP)
#undef STEP
    }
#define FOLD_F(i) sum = _mm512_xor_si512(sum, _mm512_castps_si512(f##i));
    PEAK_EACH(FOLD_F)
    return PEAK_FOLD(sum);
}

const peak_loop peak_avx512_loops[] = {
    { .name = "vpdpbusd zmm", .kind = PEAK_INT8, .ops = 128.0 * PEAK_SUMS, .run = int8_vnni },
    { .name = "vfmadd zmm", .kind = PEAK_F32, .ops = 32.0 * PEAK_SUMS, .run = f32_fma },
    PEAK_READ_LOOPS,
    { .name = NULL } };
