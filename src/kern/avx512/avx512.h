/* Parts of the AVX-512 family. */
#ifndef FC_KERN_AVX512_AVX512_H
#define FC_KERN_AVX512_AVX512_H

#include "kern/kern_int.h"

void mul_avx512_fill(kern *k);
void mulf_avx512_fill(kern *k);
void vec_avx512_fill(kern *k);
void attn_avx512_fill(kern *k);
void back_avx512_fill(kern *k);
/* All products on vectors of 256 bits, made for few tokens. */
void half_avx512_fill(kern *k);

#endif
