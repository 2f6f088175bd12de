/* Quantised products on AMX: many tokens as bf16; sixteen in int8 tiles, fewer on AVX-512 VNNI, the same bits. */
#include "kern/amx/simd_amx.h"
#include "kern/amx/amx.h"
#include "kern/amx/many_amx.h"
#include "kern/tile_unpack.h"

void mul_amx_fill(kern *k)
{
    tile_fill(k, "amx");
    many_fill(k);
}
