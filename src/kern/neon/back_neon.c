/* Backward passes, on NEON. */
#include "kern/neon/simd_neon.h"
#include "kern/neon/neon.h"
#include "kern/back_simd.h"

void back_neon_fill(kern *k) { back_simd_fill(k); }
