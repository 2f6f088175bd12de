/* The AMX family with its tile instructions acted out in C, for processors that have AVX-512 but no tiles: shapes,
 * operand order, strides and sums are those of the instruction set reference, so the kernels around them are proven. */
#define FC_KERN_AMX_WORDS_AMX_H
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "support/kern_check.h"

typedef struct amx_shapes {
    uint8_t palette, start, zero[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} amx_shapes;
_Static_assert(sizeof(amx_shapes) == 64, "as the processor reads it");

static amx_shapes shape;
static uint8_t tile[8][16][64];

/* What the processor answers with an exception. */
static void must(int fine) { if (!fine) abort(); }
static void in_use(int n) { must(shape.palette == 1 && shape.rows[n] > 0 && shape.rows[n] <= 16 && shape.row_bytes[n] <= 64); }

static void amx_ldtilecfg(const amx_shapes *s)
{
    shape = *s;
    memset(tile, 0, sizeof tile);
}
static void amx_tilerelease(void) { memset(&shape, 0, sizeof shape); }
static void amx_tilezero(int n)
{
    in_use(n);
    memset(tile[n], 0, sizeof tile[n]);
}
static void amx_tileloadd(int n, const void *p, size_t stride)
{
    in_use(n);
    memset(tile[n], 0, sizeof tile[n]);
    for (int r = 0; r < shape.rows[n]; r++) memcpy(tile[n][r], (const char *)p + (size_t)r * stride, shape.row_bytes[n]);
}
static void amx_tilestored(int n, void *p, size_t stride)
{
    in_use(n);
    for (int r = 0; r < shape.rows[n]; r++) memcpy((char *)p + (size_t)r * stride, tile[n][r], shape.row_bytes[n]);
}
static void amx_tdpbsud(int d, int a, int b)
{
    in_use(d), in_use(a), in_use(b);
    must(d != a && d != b && a != b && shape.rows[d] == shape.rows[a] && shape.row_bytes[d] == shape.row_bytes[b] &&
         shape.row_bytes[a] == 4 * shape.rows[b]);
    for (int m = 0; m < shape.rows[d]; m++)
        for (int n = 0; n < shape.row_bytes[d] / 4; n++) {
            int32_t sum;
            memcpy(&sum, &tile[d][m][4 * n], 4);
            for (int k = 0; k < shape.row_bytes[a]; k++) sum += (int8_t)tile[a][m][k] * (int)tile[b][k / 4][4 * n + k % 4];
            memcpy(&tile[d][m][4 * n], &sum, 4);
        }
}

static float of_bf16(const uint8_t *p)
{
    uint16_t half;
    memcpy(&half, p, 2);
    uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
static void amx_tdpbf16ps(int d, int a, int b)
{
    in_use(d), in_use(a), in_use(b);
    must(d != a && d != b && a != b && shape.rows[d] == shape.rows[a] && shape.row_bytes[d] == shape.row_bytes[b] &&
         shape.row_bytes[a] == 4 * shape.rows[b]);
    for (int m = 0; m < shape.rows[d]; m++)
        for (int n = 0; n < shape.row_bytes[d] / 4; n++) {
            float sum;
            memcpy(&sum, &tile[d][m][4 * n], 4);
            for (int k = 0; k < shape.row_bytes[a] / 2; k++) sum += of_bf16(&tile[a][m][2 * k]) * of_bf16(&tile[b][k / 2][4 * n + k % 2 * 2]);
            memcpy(&tile[d][m][4 * n], &sum, 4);
        }
}
static void amx_tileloaddt1(int n, const void *p, size_t stride) { amx_tileloadd(n, p, stride); }

#include "kern/amx/simd_amx.h"
#include "kern/amx/many_amx.h"
#include "kern/tile_unpack.h"

void check_fill_amx_in_c(kern *k)
{
    tile_fill(k, "amx");
    many_fill(k);
}
