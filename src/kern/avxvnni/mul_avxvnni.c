/* Quantised products on AVX-VNNI. */
#include "kern/avxvnni/simd_avxvnni.h"
#include "kern/tile_unpack.h"

/* Everything else is AVX2's. */
void kern_avxvnni_fill(kern *k) { tile_fill(k, "avxvnni"); }
