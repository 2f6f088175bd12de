/* Vector words on AVX2 with AVX-VNNI: 256-bit vpdpbusd in the short encoding, for processors without AVX-512. */
#ifndef FC_KERN_AVXVNNI_SIMD_AVXVNNI_H
#define FC_KERN_AVXVNNI_SIMD_AVXVNNI_H

#ifndef AVXVNNI_FEW_ONLY
enum { SIMD_PAIR_NT = 4, SIMD_NT = 8, SIMD_FEW = 4 };
#define SIMD_EACH_NT(M, ...) \
    M(1, __VA_ARGS__) M(2, __VA_ARGS__) M(3, __VA_ARGS__) M(4, __VA_ARGS__) M(5, __VA_ARGS__) M(6, __VA_ARGS__) M(7, __VA_ARGS__) \
    M(8, __VA_ARGS__)
#define SIMD_EACH_FEW(M, ...) M(4, __VA_ARGS__)
#else                             /* avx512/half_avx512.c: what up to three tokens need, a third of the time to compile */
enum { SIMD_PAIR_NT = 1, SIMD_NT = 3, SIMD_FEW = 3 };
#define SIMD_EACH_NT(M, ...) M(1, __VA_ARGS__) M(2, __VA_ARGS__) M(3, __VA_ARGS__)
#define SIMD_EACH_FEW(M, ...)
#endif
#define SIMD_DOT_ITSELF
#define SIMD_DOT16 0
#define SIMD_CODE(code, offset) ((void)(offset), (code))          /* panels hold unsigned codes */
#define SIMD_OFFSET(offset) (offset)

#include "kern/avx2/simd_avx2.h"

/* The one instruction; avx512/half_avx512.c puts the long encoding of the same in its place. */
#ifndef AVXVNNI_DPBUSD
#define AVXVNNI_DPBUSD _mm256_dpbusd_avx_epi32
#endif

/* acc += four products of unsigned codes and the signed bytes at x, in every lane. */
SIMD_FN simd_i simd_dot(simd_i acc, simd_i codes, const int8_t *x) { return AVXVNNI_DPBUSD(acc, codes, simd_i_set1_mem(x)); }

#endif
