#include "kern/avx512/avx512.h"

#include "os/cpu.h"

/* Zen 4 passes one token's weights 6 to 40 % sooner so (docs/kernels.md). */
static void take_halves(kern *k)
{
    kern half = { 0 };
    half_avx512_fill(&half);
    for (int t = 0; t < DTYPE_COUNT; t++) k->fast[t].few = half.fast[t].mul;
}

void kern_avx512_fill(kern *k)
{
    mul_avx512_fill(k);
    mulf_avx512_fill(k);
    vec_avx512_fill(k);
    attn_avx512_fill(k);
    back_avx512_fill(k);
    if (cpu_halves_vectors()) take_halves(k);
}
