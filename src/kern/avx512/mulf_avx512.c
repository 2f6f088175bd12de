/* Products with float weights, on AVX-512. */
#include "kern/avx512/simd_avx512.h"
#include "kern/avx512/avx512.h"
#include "kern/tile_float.h"

void mulf_avx512_fill(kern *k) { tile_float_fill(k, "avx512"); }
