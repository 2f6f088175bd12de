/* Inside kern/ only: each family overwrites the entries it is better at. */
#ifndef FC_KERN_KERN_INT_H
#define FC_KERN_KERN_INT_H

#include "kern/kern.h"

void kern_fill_ref(kern *k);
void kern_fill_avx2(kern *k);
void kern_fill_avx512(kern *k);
void kern_fill_neon(kern *k);

#endif
