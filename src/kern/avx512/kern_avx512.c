#include "kern/kern_int.h"

void kern_avx512_fill(kern *k) { (void)k; }
