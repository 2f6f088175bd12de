/* Inside kern/ only: each family overwrites the entries it is better at; forms that all families share. */
#ifndef FC_KERN_KERN_INT_H
#define FC_KERN_KERN_INT_H

#include "kern/kern.h"

void kern_ref_fill(kern *k);
void kern_avx2_fill(kern *k);
void kern_avxvnni_fill(kern *k);
void kern_avx512_fill(kern *k);
void kern_amx_fill(kern *k);          /* on top of avx512 */
void kern_neon_fill(kern *k);
void kern_i8mm_fill(kern *k);         /* on top of neon */

/* A piece of an activation row in form KERN_ACT_Q8: value i is q[i] * d[i / 32].  The sums of 16 codes serve the types
 * whose weights carry an offset or a minimum.  All families share this form, and make the same bits of it:
 * d = max|x| / 127, q = x * (127 / max|x|) rounded to nearest even; a group whose maximum is below 1e-30 is zero. */
typedef struct kern_q8 {
    int8_t  q[256];
    float   d[8];
    int16_t sum[16];
} kern_q8;
_Static_assert(sizeof(kern_q8) == 320, "kern_q8");

/* Scratch that the products on int8 activations need, whatever the shape (tile.h). */
enum { KERN_TILE_SCRATCH = 580 << 10 };

/* Widest row a kernel's own stack buffers are cut to. */
enum { KERN_PIECE = 64 };

/* Every type that can be a weight in a quantised form. */
#define KERN_QUANT_TYPES(X) \
    X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q8_0) X(Q2_K) X(Q3_K) X(Q4_K) X(Q5_K) X(Q6_K) X(IQ2_XXS) X(IQ2_XS) X(IQ3_XXS) \
    X(IQ1_S) X(IQ4_NL) X(IQ3_S) X(IQ2_S) X(IQ4_XS) X(IQ1_M) X(TQ1_0) X(TQ2_0) X(MXFP4) X(NVFP4) X(Q1_0) X(Q2_0)
#define KERN_FLOAT_TYPES(X) X(F32) X(F16) X(BF16) X(F64)

#endif
