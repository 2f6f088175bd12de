/* The AVX-VNNI family with its one instruction in the encoding of AVX-512 VNNI, for processors that have that but not
 * the short one: everything around it is the family's own text. */
#include <immintrin.h>

#define AVXVNNI_DPBUSD _mm256_dpbusd_epi32
#include "kern/avxvnni/simd_avxvnni.h"
#include "kern/tile_unpack.h"

#include "support/kern_check.h"

void check_fill_avxvnni_evex(kern *k) { tile_fill(k, "avxvnni"); }
