/* Attention over stored keys and values, on AVX2. */
#include "kern/avx2/simd_avx2.h"
#include "kern/avx2/avx2.h"
#include "kern/attn_simd.h"

void attn_avx2_fill(kern *k) { attn_simd_fill(k); }
