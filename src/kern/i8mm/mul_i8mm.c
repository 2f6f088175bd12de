/* Quantised products on ARM with int8 matrix products: sixteen tokens at once, fewer on dot products, the same bits. */
#include "kern/i8mm/simd_i8mm.h"
#include "kern/tile_unpack.h"

/* Everything else is NEON's. */
void kern_i8mm_fill(kern *k) { tile_fill(k, "i8mm"); }
