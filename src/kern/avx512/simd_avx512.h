/* Vector words of the shared kernel files, on AVX-512 (F, BW, DQ, VL, VNNI).  simd_i: 16 lanes of 32 bits. */
#ifndef FC_KERN_AVX512_SIMD_AVX512_H
#define FC_KERN_AVX512_SIMD_AVX512_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "base/bits.h"

enum { SIMD_PAIR_NT = 6, SIMD_LANES = 16, SIMD_NT = 8, SIMD_FEW = 8 };
#define SIMD_DOT16 0
#define SIMD_CODE(code, offset) ((void)(offset), (code))          /* panels hold unsigned codes */
#define SIMD_OFFSET(offset) (offset)
#define SIMD_EACH_NT(M, ...) \
    M(1, __VA_ARGS__) M(2, __VA_ARGS__) M(3, __VA_ARGS__) M(4, __VA_ARGS__) M(5, __VA_ARGS__) M(6, __VA_ARGS__) M(7, __VA_ARGS__) \
    M(8, __VA_ARGS__)
#define SIMD_EACH_FEW(M, ...) M(4, __VA_ARGS__) M(6, __VA_ARGS__) M(8, __VA_ARGS__)

typedef __m512 simd_f;
typedef __m512i simd_i;
#define SIMD_FN static inline __attribute__((always_inline, unused))

SIMD_FN simd_f simd_load(const float *p) { return _mm512_loadu_ps(p); }
SIMD_FN void   simd_store(float *p, simd_f v) { _mm512_storeu_ps(p, v); }
/* The first n < SIMD_LANES; the rest is zero, and never touched in memory. */
SIMD_FN simd_f simd_load_n(const float *p, int64_t n) { return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
SIMD_FN void   simd_store_n(float *p, simd_f v, int64_t n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), v); }
SIMD_FN simd_f simd_set1(float x) { return _mm512_set1_ps(x); }
SIMD_FN simd_f simd_add(simd_f a, simd_f b) { return _mm512_add_ps(a, b); }
SIMD_FN simd_f simd_sub(simd_f a, simd_f b) { return _mm512_sub_ps(a, b); }
SIMD_FN simd_f simd_mul(simd_f a, simd_f b) { return _mm512_mul_ps(a, b); }
SIMD_FN simd_f simd_div(simd_f a, simd_f b) { return _mm512_div_ps(a, b); }
SIMD_FN simd_f simd_max(simd_f a, simd_f b) { return _mm512_max_ps(a, b); }
SIMD_FN simd_f simd_min(simd_f a, simd_f b) { return _mm512_min_ps(a, b); }
SIMD_FN simd_f simd_fma(simd_f a, simd_f b, simd_f c) { return _mm512_fmadd_ps(a, b, c); }
SIMD_FN simd_f simd_fnma(simd_f a, simd_f b, simd_f c) { return _mm512_fnmadd_ps(a, b, c); }
SIMD_FN simd_f simd_neg(simd_f a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
SIMD_FN simd_f simd_abs(simd_f a) { return _mm512_abs_ps(a); }
SIMD_FN simd_f simd_copysign(simd_f a, simd_f s)
{
    simd_f sign = _mm512_set1_ps(-0.0f);
    return _mm512_or_ps(_mm512_andnot_ps(sign, a), _mm512_and_ps(sign, s));
}

SIMD_FN simd_i simd_i_load(const void *p) { return _mm512_loadu_si512(p); }
SIMD_FN void   simd_i_store(void *p, simd_i v) { _mm512_storeu_si512(p, v); }
SIMD_FN simd_i simd_i_set1(int x) { return _mm512_set1_epi32(x); }
SIMD_FN simd_i simd_i_add(simd_i a, simd_i b) { return _mm512_add_epi32(a, b); }
SIMD_FN simd_i simd_i_sub(simd_i a, simd_i b) { return _mm512_sub_epi32(a, b); }
SIMD_FN simd_i simd_i_mul(simd_i a, simd_i b) { return _mm512_mullo_epi32(a, b); }
SIMD_FN simd_i simd_i_and(simd_i a, simd_i b) { return _mm512_and_si512(a, b); }
SIMD_FN simd_i simd_i_or(simd_i a, simd_i b) { return _mm512_or_si512(a, b); }
SIMD_FN simd_i simd_i_xor(simd_i a, simd_i b) { return _mm512_xor_si512(a, b); }
SIMD_FN simd_i simd_i_srl(simd_i a, int n) { return _mm512_srli_epi32(a, (unsigned)n); }
SIMD_FN simd_i simd_i_sll(simd_i a, int n) { return _mm512_slli_epi32(a, (unsigned)n); }
SIMD_FN simd_i simd_i_sra(simd_i a, int n) { return _mm512_srai_epi32(a, (unsigned)n); }
SIMD_FN simd_i simd_i_sllv(simd_i a, simd_i n) { return _mm512_sllv_epi32(a, n); }
SIMD_FN simd_i simd_i_select_lt(simd_i a, simd_i b, simd_i yes, simd_i no)
{
    return _mm512_mask_blend_epi32(_mm512_cmplt_epi32_mask(a, b), no, yes);
}
SIMD_FN simd_i simd_i_select(simd_i mask, simd_i yes, simd_i no) { return _mm512_ternarylogic_epi32(mask, yes, no, 0xca); }
/* Lower halves of the lanes of lo, upper ones of hi. */
SIMD_FN simd_i simd_halves(simd_i lo, simd_i hi) { return _mm512_mask_blend_epi16(0xaaaaaaaa, lo, hi); }
SIMD_FN simd_f simd_from_i(simd_i v) { return _mm512_cvtepi32_ps(v); }
SIMD_FN simd_i simd_to_i(simd_f v) { return _mm512_cvtps_epi32(v); }         /* to nearest even */
SIMD_FN simd_i simd_to_i_away(simd_f v)      /* to nearest, halves away from zero: |v| < 2^22 */
{
    return _mm512_cvttps_epi32(_mm512_add_ps(v, simd_copysign(_mm512_set1_ps(0x1.fffffep-2f), v)));
}
SIMD_FN simd_i simd_bits(simd_f v) { return _mm512_castps_si512(v); }
SIMD_FN simd_f simd_from_bits(simd_i v) { return _mm512_castsi512_ps(v); }
/* f16 in the low half of every lane. */
SIMD_FN simd_f simd_from_f16(simd_i v) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v)); }
SIMD_FN simd_f simd_set1_f16(const uint8_t *p) { return _mm512_cvtph_ps(_mm256_set1_epi16((short)load_u16(p))); }
SIMD_FN simd_f simd_load_f16(const void *p) { return _mm512_cvtph_ps(_mm256_loadu_si256(p)); }
SIMD_FN simd_f simd_load_bf16(const void *p)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p)), 16));
}
SIMD_FN simd_f simd_load_i8(const int8_t *p) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)p))); }
/* Sums of all lanes, in one order: halves are added until one lane is left. */
SIMD_FN float simd_sum(simd_f v)
{
    __m256 a = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}
/* simd_sum of four vectors at once: the same additions in the same order. */
SIMD_FN void simd_sum4(const simd_f v[4], float *out)
{
    simd_f a = _mm512_add_ps(_mm512_shuffle_f32x4(v[0], v[1], 0x44), _mm512_shuffle_f32x4(v[0], v[1], 0xee));
    simd_f b = _mm512_add_ps(_mm512_shuffle_f32x4(v[2], v[3], 0x44), _mm512_shuffle_f32x4(v[2], v[3], 0xee));
    a = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));   /* a quarter for each */
    a = _mm512_add_ps(a, _mm512_permute_ps(a, 0x4e));
    a = _mm512_add_ps(a, _mm512_permute_ps(a, 0xb1));
    _mm_storeu_ps(out, _mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, a)));
}
SIMD_FN float simd_top(simd_f v) { return _mm512_reduce_max_ps(v); }

SIMD_FN simd_f simd_select_lt(simd_f a, simd_f b, simd_f yes, simd_f no)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
}
/* 2 * SIMD_LANES floats: even ones and odd ones. */
SIMD_FN void simd_load_pairs(const float *p, simd_f *even, simd_f *odd)
{
    simd_f a = _mm512_loadu_ps(p), b = _mm512_loadu_ps(p + 16);
    const simd_i e = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    *even = _mm512_permutex2var_ps(a, e, b);
    *odd = _mm512_permutex2var_ps(a, _mm512_add_epi32(e, _mm512_set1_epi32(1)), b);
}
SIMD_FN void simd_store_i8(int8_t *p, simd_i v) { _mm_storeu_si128((void *)p, _mm512_cvtepi32_epi8(v)); }
SIMD_FN void simd_store_16(void *p, simd_i v) { _mm256_storeu_si256(p, _mm512_cvtepi32_epi16(v)); }   /* lower halves */
SIMD_FN void simd_store_f16(void *p, simd_f v) { _mm256_storeu_si256(p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT)); }

/* Running sums in f64: two halves. */
typedef struct simd_d { __m512d lo, hi; } simd_d;
SIMD_FN simd_d simd_d_zero(void) { return (simd_d){_mm512_setzero_pd(), _mm512_setzero_pd()}; }
SIMD_FN simd_d simd_d_add(simd_d a, simd_f v)
{
    a.lo = _mm512_add_pd(a.lo, _mm512_cvtps_pd(_mm512_castps512_ps256(v)));
    a.hi = _mm512_add_pd(a.hi, _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1)));
    return a;
}
SIMD_FN simd_d simd_d_add_square(simd_d a, simd_f v)
{
    __m512d lo = _mm512_cvtps_pd(_mm512_castps512_ps256(v)), hi = _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
    a.lo = _mm512_fmadd_pd(lo, lo, a.lo);
    a.hi = _mm512_fmadd_pd(hi, hi, a.hi);
    return a;
}
SIMD_FN double simd_d_sum(simd_d a)
{
    __m512d s = _mm512_add_pd(a.lo, a.hi);
    __m256d q = _mm256_add_pd(_mm512_castpd512_pd256(s), _mm512_extractf64x4_pd(s, 1));
    __m128d h = _mm_add_pd(_mm256_castpd256_pd128(q), _mm256_extractf128_pd(q, 1));
    return _mm_cvtsd_f64(_mm_add_sd(h, _mm_unpackhi_pd(h, h)));
}

/* Sixteen signed bytes, each with offset added, as a table for simd_lookup16. */
SIMD_FN simd_i simd_table16(const int8_t *t, int offset)
{
    return _mm512_broadcast_i32x4(_mm_add_epi8(_mm_loadu_si128((const void *)t), _mm_set1_epi8((char)offset)));
}
SIMD_FN simd_i simd_lookup16(simd_i table, simd_i nibbles) { return _mm512_shuffle_epi8(table, nibbles); }
/* value in byte i of a lane where bit 4 j + i of the same lane of bits is set. */
SIMD_FN simd_i simd_or_bits(simd_i code, simd_i bits, int j, int value)
{
    simd_i pick = _mm512_add_epi8(_mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0), _mm512_set1_epi8((char)(j / 2)));
    __mmask64 on = _mm512_test_epi8_mask(_mm512_shuffle_epi8(bits, pick), _mm512_set1_epi32(j % 2 ? (int)0x80402010 : 0x08040201));
    return _mm512_mask_add_epi8(code, on, code, _mm512_set1_epi8((char)value));
}

/* acc += four products of unsigned codes and the signed bytes at x, in every lane. */
SIMD_FN simd_i simd_dot(simd_i acc, simd_i codes, const int8_t *x)
{
    return _mm512_dpbusd_epi32(acc, codes, _mm512_set1_epi32((int)load_u32(x)));
}

/* 16 bytes of each of 16 rows; out[j]: dword j of every row. */
SIMD_FN void simd_rows16(const uint8_t *w, size_t stride, simd_i out[4])
{
    simd_i a[4];
    UNROLL for (int i = 0; i < 4; i++) {
        const uint8_t *p = w + (size_t)i * stride;
        a[i] = _mm512_castsi128_si512(_mm_loadu_si128((const void *)p));
        a[i] = _mm512_mask_broadcast_i32x4(a[i], 0x00f0, _mm_loadu_si128((const void *)(p + 4 * stride)));
        a[i] = _mm512_mask_broadcast_i32x4(a[i], 0x0f00, _mm_loadu_si128((const void *)(p + 8 * stride)));
        a[i] = _mm512_mask_broadcast_i32x4(a[i], 0xf000, _mm_loadu_si128((const void *)(p + 12 * stride)));
    }
    simd_i b0 = _mm512_unpacklo_epi32(a[0], a[1]), b1 = _mm512_unpackhi_epi32(a[0], a[1]);
    simd_i b2 = _mm512_unpacklo_epi32(a[2], a[3]), b3 = _mm512_unpackhi_epi32(a[2], a[3]);
    out[0] = _mm512_unpacklo_epi64(b0, b2);
    out[1] = _mm512_unpackhi_epi64(b0, b2);
    out[2] = _mm512_unpacklo_epi64(b1, b3);
    out[3] = _mm512_unpackhi_epi64(b1, b3);
}

SIMD_FN __m128i simd_four(const uint8_t *p, size_t stride)
{
    return _mm_set_epi32((int)load_u32(p + 3 * stride), (int)load_u32(p + 2 * stride), (int)load_u32(p + stride), (int)load_u32(p));
}
/* 4 bytes of each row. */
SIMD_FN simd_i simd_rows4(const uint8_t *w, size_t stride)
{
    simd_i v = _mm512_castsi128_si512(simd_four(w, stride));
    v = _mm512_inserti32x4(v, simd_four(w + 4 * stride, stride), 1);
    v = _mm512_inserti32x4(v, simd_four(w + 8 * stride, stride), 2);
    return _mm512_inserti32x4(v, simd_four(w + 12 * stride, stride), 3);
}
/* The upper 16 bits of 4 bytes of each row. */
SIMD_FN simd_i simd_rows4_high(const uint8_t *w, size_t stride) { return simd_i_srl(simd_rows4(w, stride), 16); }

#endif
