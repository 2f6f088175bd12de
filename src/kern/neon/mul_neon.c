/* Quantised products on NEON dotprod. */
#include "kern/neon/simd_neon.h"
#include "kern/neon/neon.h"
#include "kern/tile_unpack.h"

void mul_neon_fill(kern *k) { tile_fill(k, "neon"); }
