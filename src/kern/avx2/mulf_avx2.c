/* Products with float weights, on AVX2. */
#include "kern/avx2/simd_avx2.h"
#include "kern/avx2/avx2.h"
#include "kern/tile_float.h"

void mulf_avx2_fill(kern *k) { tile_float_fill(k, "avx2"); }
