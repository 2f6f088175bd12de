/* Code books of the IQ1, IQ2 and IQ3 types: each code stands for 8 (or 4) small integers.
 * Facts of the format, taken from the packed tables of the gguf package (gguf-py, MIT licence); stored here with
 * 2 bits (3 bits for IQ3) an element, first element lowest. */
#ifndef FC_NUM_IQ_GRID_H
#define FC_NUM_IQ_GRID_H

#include <stdint.h>

extern const uint16_t iq_grid_2xxs[256], iq_grid_2xs[512], iq_grid_2s[1024];   /* 8 elements, 2 bits: 0, 1, 2 */
extern const uint16_t iq_grid_3xxs[256], iq_grid_3s[512];                      /* 4 elements, 3 bits: 0..7 */
extern const uint16_t iq_grid_1[2048];                                         /* 8 elements, 2 bits: 0, 1, 2 */

/* Eight signs stored in seven bits: their number of minus signs is even, the eighth follows. */
static inline uint8_t iq_grid_signs(uint32_t seven)
{
    uint32_t s = seven & 127, p = s ^ s >> 4;
    p ^= p >> 2;
    p ^= p >> 1;
    return (uint8_t)(s | (p & 1) << 7);
}

#endif
