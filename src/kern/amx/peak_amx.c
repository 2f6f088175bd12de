/* What AMX can do at most: two by two tiles, all eight tile registers, nothing loaded. */
#include <immintrin.h>

#include "base/bits.h"
#include "kern/peak.h"

/* Palette 1: eight tiles of 16 rows of 64 bytes. */
typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;
_Static_assert(sizeof(tile_config) == 64, "tile_config");

/* Constant, so that no store to it can be left out: gcc 12 believes that only its first bytes are read. */
static const tile_config whole = { .palette = 1, .row_bytes = { 64, 64, 64, 64, 64, 64, 64, 64 }, .rows = { 16, 16, 16, 16, 16, 16, 16, 16 } };

static void begin(void)
{
    _tile_loadconfig(&whole);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
}

static uint64_t int8_tiles(int64_t rounds)
{
    begin();
    for (int64_t i = 0; i < rounds; i++) {
        _tile_dpbssd(0, 4, 6);
        _tile_dpbssd(1, 4, 7);
        _tile_dpbssd(2, 5, 6);
        _tile_dpbssd(3, 5, 7);
    }
    _tile_release();
    return (uint64_t)rounds;
}

static uint64_t bf16_tiles(int64_t rounds)
{
    begin();
    for (int64_t i = 0; i < rounds; i++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
    return (uint64_t)rounds;
}

const peak_loop peak_amx_loops[] = {
    { .name = "tdpbssd", .kind = PEAK_INT8, .ops = 4 * 2.0 * 16 * 16 * 64, .run = int8_tiles },
    { .name = "tdpbf16ps", .kind = PEAK_BF16, .ops = 4 * 2.0 * 16 * 16 * 32, .run = bf16_tiles },
    { .name = NULL } };
