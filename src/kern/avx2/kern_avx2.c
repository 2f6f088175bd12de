#include "kern/avx2/avx2.h"

void kern_avx2_fill(kern *k)
{
    mul_avx2_fill(k);
    mulf_avx2_fill(k);
    vec_avx2_fill(k);
    attn_avx2_fill(k);
    back_avx2_fill(k);
}
