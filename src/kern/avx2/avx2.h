/* Parts of the AVX2 family. */
#ifndef FC_KERN_AVX2_AVX2_H
#define FC_KERN_AVX2_AVX2_H

#include "kern/kern_int.h"

void mul_avx2_fill(kern *k);

#endif
