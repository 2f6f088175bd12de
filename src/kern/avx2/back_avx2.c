/* Backward passes, on AVX2. */
#include "kern/avx2/simd_avx2.h"
#include "kern/avx2/avx2.h"
#include "kern/back_simd.h"

void back_avx2_fill(kern *k) { back_simd_fill(k); }
