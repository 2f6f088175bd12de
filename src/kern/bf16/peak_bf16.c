/* What AVX-512 BF16 can do at most: half of f32 on some processors, twice on others. */
#include <immintrin.h>

#include "base/bits.h"
#include "kern/peak.h"

enum { SUMS = 12 };
#define EACH(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11)

static uint64_t bf16_dot(int64_t rounds)
{
    __m512bh x = (__m512bh)_mm512_set1_epi16(0x3f80), y = (__m512bh)_mm512_set1_epi16(0x3300);
    __m512i sum = _mm512_setzero_si512();
#define DECLARE(i) __m512 f##i = _mm512_setzero_ps();
    EACH(DECLARE)
    while (rounds-- > 0) {
#define STEP(i) f##i = _mm512_dpbf16_ps(f##i, x, y); __asm__ volatile("" : "+v"(f##i));
        EACH(STEP)
#undef STEP
    }
#define FOLD(i) sum = _mm512_xor_si512(sum, _mm512_castps_si512(f##i));
    EACH(FOLD)
    return (uint64_t)_mm512_reduce_add_epi64(sum);
}

const peak_loop peak_bf16_loops[] = {
    { .name = "vdpbf16ps zmm", .kind = PEAK_BF16, .ops = 64.0 * SUMS, .run = bf16_dot },
    { .name = NULL } };
