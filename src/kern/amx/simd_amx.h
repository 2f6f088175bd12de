/* The tile words of tile_wide.h on AMX (TILE, INT8), beside the vector words of AVX-512. */
#ifndef FC_KERN_AMX_SIMD_AMX_H
#define FC_KERN_AMX_SIMD_AMX_H

#include "kern/amx/words_amx.h"
#include "kern/avx512/simd_avx512.h"

#define SIMD_TILES 1

/* From here to simd_tiles_end the thread's tile registers are in use.
 * 0: sums of 16 tokens by 16 weight rows.  2, 3: 16 tokens by 32 activations, and the eight steps of a panel that meet
 * them.  4, 5: 16 activations and four steps. */
SIMD_FN void simd_tiles_begin(void)
{
    static const amx_shapes shapes = { .palette = 1, .row_bytes = { 64, 0, 32, 64, 16, 64 }, .rows = { 16, 0, 16, 8, 16, 4 } };
    amx_ldtilecfg(&shapes);
}
SIMD_FN void simd_tiles_end(void) { amx_tilerelease(); }

/* sums[t][row] = products of 32 activations of each of 16 tokens, x_bytes apart, and eight steps of a panel. */
SIMD_FN void simd_tile_dot32(int32_t sums[16][16], const int8_t *x, size_t x_bytes, const uint8_t *codes)
{
    amx_tilezero(0);
    amx_tileloadd(2, x, x_bytes);
    amx_tileloadd(3, codes, 64);
    amx_tdpbsud(0, 2, 3);
    amx_tilestored(0, sums, 64);
}
/* The same for 16 activations and four steps. */
SIMD_FN void simd_tile_dot16(int32_t sums[16][16], const int8_t *x, size_t x_bytes, const uint8_t *codes)
{
    amx_tilezero(0);
    amx_tileloadd(4, x, x_bytes);
    amx_tileloadd(5, codes, 64);
    amx_tdpbsud(0, 4, 5);
    amx_tilestored(0, sums, 64);
}

#endif
