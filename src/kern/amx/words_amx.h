/* The AMX instructions that the kernels use, one word each.
 *
 * In assembly with memory clobbered: gcc 12's intrinsics let a store that a tile reads move behind the load, or drop
 * it.  n, d, a, b: numbers of tile registers, written as literals. */
#ifndef FC_KERN_AMX_WORDS_AMX_H
#define FC_KERN_AMX_WORDS_AMX_H

#include <stddef.h>
#include <stdint.h>

/* What ldtilecfg reads: palette 1, bytes of a row and rows of each tile register. */
typedef struct amx_shapes {
    uint8_t palette, start, zero[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} amx_shapes;

#define amx_ldtilecfg(shapes) __asm__ volatile("ldtilecfg %0" : : "m"(*(shapes)) : "memory")
#define amx_tilerelease() __asm__ volatile("tilerelease" : : : "memory")
#define amx_tilezero(n) __asm__ volatile("tilezero %%tmm" #n : : : "memory")
/* Rows stride bytes apart. */
#define amx_tileloadd(n, p, stride) __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #n : : "r"(p), "r"((size_t)(stride)) : "memory")
/* The same for what is read once: the line is not kept in L1. */
#define amx_tileloaddt1(n, p, stride) __asm__ volatile("tileloaddt1 (%0,%1,1), %%tmm" #n : : "r"(p), "r"((size_t)(stride)) : "memory")
#define amx_tilestored(n, p, stride) __asm__ volatile("tilestored %%tmm" #n ", (%0,%1,1)" : : "r"(p), "r"((size_t)(stride)) : "memory")
/* d[t][r] += sum over steps and four bytes: signed a[t][4 step + i] * unsigned b[step][4 r + i] */
#define amx_tdpbsud(d, a, b) __asm__ volatile("tdpbsud %%tmm" #b ", %%tmm" #a ", %%tmm" #d : : : "memory")
/* The same with pairs of bf16, sums in f32. */
#define amx_tdpbf16ps(d, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #d : : : "memory")

#endif
