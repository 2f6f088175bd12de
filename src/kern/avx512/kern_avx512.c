#include "kern/avx512/avx512.h"

void kern_avx512_fill(kern *k)
{
    mul_avx512_fill(k);
    mulf_avx512_fill(k);
    vec_avx512_fill(k);
    attn_avx512_fill(k);
}
