/* Quantised products on AVX2. */
#include "kern/avx2/simd_avx2.h"
#include "kern/avx2/avx2.h"
#include "kern/tile_unpack.h"

void mul_avx2_fill(kern *k) { tile_fill(k, "avx2"); }
