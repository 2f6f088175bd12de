/* NumPy's .npy, version 1.0, of little-endian f32 in C order: the head; the numbers follow it. */
#ifndef FC_FMT_NPY_H
#define FC_FMT_NPY_H

#include <stdint.h>

enum { NPY_HEAD = 128 };

/* rows < 0: a single number, shape (). */
void npy_head(char out[NPY_HEAD], int64_t rows, int64_t cols);

#endif
