/* Attention over stored keys and values, on AVX-512. */
#include "kern/avx512/simd_avx512.h"
#include "kern/avx512/avx512.h"
#include "kern/attn_simd.h"

void attn_avx512_fill(kern *k) { attn_simd_fill(k); }
