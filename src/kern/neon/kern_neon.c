#include "kern/neon/neon.h"

void kern_neon_fill(kern *k)
{
    mul_neon_fill(k);
    mulf_neon_fill(k);
    vec_neon_fill(k);
    attn_neon_fill(k);
    back_neon_fill(k);
}
