/* What AVX-VNNI can do at most; float and memory are AVX2's. */
#include <immintrin.h>

#include "base/bits.h"
#include "kern/peak.h"

enum { SUMS = 12 };
#define EACH(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11)

static uint64_t int8_vnni(int64_t rounds)
{
    __m256i x = _mm256_set1_epi8(3), y = _mm256_set1_epi8(-2), sum = _mm256_setzero_si256();
#define DECLARE(i) __m256i s##i = _mm256_setzero_si256();
    EACH(DECLARE)
    while (rounds-- > 0) {
#define STEP(i) s##i = _mm256_dpbusd_avx_epi32(s##i, x, y); __asm__ volatile("" : "+x"(s##i));
        EACH(STEP)
#undef STEP
    }
#define FOLD(i) sum = _mm256_xor_si256(sum, s##i);
    EACH(FOLD)
    return (uint64_t)_mm256_extract_epi64(sum, 0) ^ (uint64_t)_mm256_extract_epi64(sum, 3);
}

const peak_loop peak_avxvnni_loops[] = {
    { .name = "vpdpbusd ymm", .kind = PEAK_INT8, .ops = 64.0 * SUMS, .run = int8_vnni },
    { .name = NULL } };
