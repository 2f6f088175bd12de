/* Backward passes, on AVX-512. */
#include "kern/avx512/simd_avx512.h"
#include "kern/avx512/avx512.h"
#include "kern/back_simd.h"

void back_avx512_fill(kern *k) { back_simd_fill(k); }
