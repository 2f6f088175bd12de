#include "kern/amx/amx.h"

/* Float weights, vectors and attention stay with AVX-512, which every processor with tiles has. */
void kern_amx_fill(kern *k)
{
    mul_amx_fill(k);
}
