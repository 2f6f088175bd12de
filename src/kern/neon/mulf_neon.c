/* Products with float weights, on NEON. */
#include "kern/neon/simd_neon.h"
#include "kern/neon/neon.h"
#include "kern/tile_float.h"

void mulf_neon_fill(kern *k) { tile_float_fill(k, "neon"); }
