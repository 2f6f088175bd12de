/* Parts of the AVX2 family. */
#ifndef FC_KERN_AVX2_AVX2_H
#define FC_KERN_AVX2_AVX2_H

#include "kern/kern_int.h"

void mul_avx2_fill(kern *k);
void mulf_avx2_fill(kern *k);
void vec_avx2_fill(kern *k);
void attn_avx2_fill(kern *k);
void back_avx2_fill(kern *k);

#endif
