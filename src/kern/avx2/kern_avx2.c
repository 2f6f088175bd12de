#include "kern/kern_int.h"

void kern_avx2_fill(kern *k) { (void)k; }
