/* Norms, activation functions and other loops over one vector, on AVX2. */
#include "kern/avx2/simd_avx2.h"
#include "kern/avx2/avx2.h"
#include "kern/vec_simd.h"

void vec_avx2_fill(kern *k) { vec_simd_fill(k); }
