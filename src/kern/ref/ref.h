/* The reference family: its parts, some of which other families fall back on. */
#ifndef FC_KERN_REF_REF_H
#define FC_KERN_REF_REF_H

#include "kern/kern_int.h"

void mul_ref_fill(kern *k);
void vec_ref_fill(kern *k);
void attn_ref_fill(kern *k);
void back_ref_fill(kern *k);

size_t mul_ref_act_bytes(kern_act act, int64_t n);
size_t mul_ref_scratch_bytes(int64_t cols);
void   mul_ref_pack_f32(const float *x, int64_t n, void *out);
void   mul_ref_pack_q8(const float *x, int64_t n, void *out);
void   mul_ref_exact(dtype type, const void *w, size_t row_bytes, int64_t rows, int64_t cols, const float *x, int64_t x_stride,
                     int64_t T, float *y, int64_t y_stride, void *scratch);

#endif
