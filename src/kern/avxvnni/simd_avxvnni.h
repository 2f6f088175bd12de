/* Vector words on AVX2 with AVX-VNNI: 256-bit vpdpbusd in the short encoding, for processors without AVX-512. */
#ifndef FC_KERN_AVXVNNI_SIMD_AVXVNNI_H
#define FC_KERN_AVXVNNI_SIMD_AVXVNNI_H

enum { SIMD_PAIR_NT = 4, SIMD_NT = 8 };
#define SIMD_DOT_ITSELF
#define SIMD_DOT16 0
#define SIMD_CODE(code, offset) ((void)(offset), (code))          /* panels hold unsigned codes */
#define SIMD_OFFSET(offset) (offset)
#define SIMD_EACH_NT(M, ...) \
    M(1, __VA_ARGS__) M(2, __VA_ARGS__) M(3, __VA_ARGS__) M(4, __VA_ARGS__) M(5, __VA_ARGS__) M(6, __VA_ARGS__) M(7, __VA_ARGS__) \
    M(8, __VA_ARGS__)

#include "kern/avx2/simd_avx2.h"

/* The one instruction; tests/support/avx512 puts the long encoding of the same in its place. */
#ifndef AVXVNNI_DPBUSD
#define AVXVNNI_DPBUSD _mm256_dpbusd_avx_epi32
#endif

/* acc += four products of unsigned codes and the signed bytes at x, in every lane. */
SIMD_FN simd_i simd_dot(simd_i acc, simd_i codes, const int8_t *x) { return AVXVNNI_DPBUSD(acc, codes, simd_i_set1_mem(x)); }

#endif
