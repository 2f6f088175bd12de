/* Norms, activation functions and other loops over one vector, on AVX-512. */
#include "kern/avx512/simd_avx512.h"
#include "kern/avx512/avx512.h"
#include "kern/vec_simd.h"

void vec_avx512_fill(kern *k) { vec_simd_fill(k); }
