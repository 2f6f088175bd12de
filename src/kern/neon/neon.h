/* Parts of the NEON family. */
#ifndef FC_KERN_NEON_NEON_H
#define FC_KERN_NEON_NEON_H

#include "kern/kern_int.h"

void mul_neon_fill(kern *k);
void mulf_neon_fill(kern *k);
void vec_neon_fill(kern *k);
void attn_neon_fill(kern *k);
void back_neon_fill(kern *k);

#endif
