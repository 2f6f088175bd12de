/* Codes and scales of one row, in plain C, for types that no family unpacks by itself. */
#ifndef FC_KERN_UNPACK_ROW_H
#define FC_KERN_UNPACK_ROW_H

#include <stdint.h>

#include "num/dtype.h"

/* groups * 32 elements (at most 256, whole blocks) of a row at w:
 * element i = scale[i / 16] * (code[i] - offset), offset as in tile_unpack.h. */
void unpack_row(dtype type, const uint8_t *w, int groups, uint8_t code[256], float scale[16]);

#endif
