/* Quantised products on AVX-512 VNNI. */
#include "kern/avx512/simd_avx512.h"
#include "kern/avx512/avx512.h"
#include "kern/tile_unpack.h"

void mul_avx512_fill(kern *k) { tile_fill(k, "avx512"); }
