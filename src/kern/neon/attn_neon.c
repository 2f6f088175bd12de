/* Attention over stored keys and values, on NEON. */
#include "kern/neon/simd_neon.h"
#include "kern/neon/neon.h"
#include "kern/attn_simd.h"

void attn_neon_fill(kern *k) { attn_simd_fill(k); }
