/* Norms, activation functions and other loops over one vector, on NEON. */
#include "kern/neon/simd_neon.h"
#include "kern/neon/neon.h"
#include "kern/vec_simd.h"

void vec_neon_fill(kern *k) { vec_simd_fill(k); }
