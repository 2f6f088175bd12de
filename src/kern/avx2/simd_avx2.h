/* Vector words of the shared kernel files, on AVX2 + FMA + F16C.  simd_i: 8 lanes of 32 bits.  A family that is more
 * than AVX2 in its dot product alone defines SIMD_DOT_ITSELF, and the words from here to #endif, before. */
#ifndef FC_KERN_AVX2_SIMD_AVX2_H
#define FC_KERN_AVX2_SIMD_AVX2_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "base/bits.h"

#ifndef SIMD_DOT_ITSELF
enum { SIMD_PAIR_NT = 3, SIMD_NT = 4, SIMD_FEW = 4 };
/* vpmaddubsw multiplies unsigned by signed bytes into 16 bits: codes of up to 6 bits stay unsigned, wider ones (offset
 * 128) are kept signed and multiplied as |code| * (sign(code) x). */
#define SIMD_DOT16 1
#define SIMD_CODE(code, offset) ((offset) == 128 ? _mm256_xor_si256(code, _mm256_set1_epi8(-128)) : (code))
#define SIMD_OFFSET(offset) ((offset) == 128 ? 0 : (offset))
#define SIMD_EACH_NT(M, ...) M(1, __VA_ARGS__) M(2, __VA_ARGS__) M(3, __VA_ARGS__) M(4, __VA_ARGS__)
#define SIMD_EACH_FEW(M, ...) M(4, __VA_ARGS__)
#endif
enum { SIMD_LANES = 8 };

typedef __m256 simd_f;
typedef __m256i simd_i;
#define SIMD_FN static inline __attribute__((always_inline, unused))

SIMD_FN simd_i simd_first(int64_t n)            /* all ones in the first n lanes */
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
SIMD_FN simd_f simd_load(const float *p) { return _mm256_loadu_ps(p); }
SIMD_FN void   simd_store(float *p, simd_f v) { _mm256_storeu_ps(p, v); }
/* The first n < SIMD_LANES; the rest is zero, and never touched in memory. */
SIMD_FN simd_f simd_load_n(const float *p, int64_t n) { return _mm256_maskload_ps(p, simd_first(n)); }
SIMD_FN void   simd_store_n(float *p, simd_f v, int64_t n) { _mm256_maskstore_ps(p, simd_first(n), v); }
SIMD_FN simd_f simd_set1(float x) { return _mm256_set1_ps(x); }
SIMD_FN simd_f simd_add(simd_f a, simd_f b) { return _mm256_add_ps(a, b); }
SIMD_FN simd_f simd_sub(simd_f a, simd_f b) { return _mm256_sub_ps(a, b); }
SIMD_FN simd_f simd_mul(simd_f a, simd_f b) { return _mm256_mul_ps(a, b); }
SIMD_FN simd_f simd_div(simd_f a, simd_f b) { return _mm256_div_ps(a, b); }
SIMD_FN simd_f simd_max(simd_f a, simd_f b) { return _mm256_max_ps(a, b); }
SIMD_FN simd_f simd_min(simd_f a, simd_f b) { return _mm256_min_ps(a, b); }
SIMD_FN simd_f simd_fma(simd_f a, simd_f b, simd_f c) { return _mm256_fmadd_ps(a, b, c); }
SIMD_FN simd_f simd_fnma(simd_f a, simd_f b, simd_f c) { return _mm256_fnmadd_ps(a, b, c); }
SIMD_FN simd_f simd_neg(simd_f a) { return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f)); }
SIMD_FN simd_f simd_abs(simd_f a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
SIMD_FN simd_f simd_copysign(simd_f a, simd_f s)
{
    simd_f sign = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(sign, a), _mm256_and_ps(sign, s));
}

SIMD_FN simd_i simd_i_load(const void *p) { return _mm256_loadu_si256(p); }
SIMD_FN void   simd_i_store(void *p, simd_i v) { _mm256_storeu_si256(p, v); }
SIMD_FN simd_i simd_i_set1(int x) { return _mm256_set1_epi32(x); }
SIMD_FN simd_i simd_i_add(simd_i a, simd_i b) { return _mm256_add_epi32(a, b); }
SIMD_FN simd_i simd_i_sub(simd_i a, simd_i b) { return _mm256_sub_epi32(a, b); }
SIMD_FN simd_i simd_i_mul(simd_i a, simd_i b) { return _mm256_mullo_epi32(a, b); }
SIMD_FN simd_i simd_i_and(simd_i a, simd_i b) { return _mm256_and_si256(a, b); }
SIMD_FN simd_i simd_i_or(simd_i a, simd_i b) { return _mm256_or_si256(a, b); }
SIMD_FN simd_i simd_i_xor(simd_i a, simd_i b) { return _mm256_xor_si256(a, b); }
SIMD_FN simd_i simd_i_srl(simd_i a, int n) { return _mm256_srli_epi32(a, n); }
SIMD_FN simd_i simd_i_sll(simd_i a, int n) { return _mm256_slli_epi32(a, n); }
SIMD_FN simd_i simd_i_sra(simd_i a, int n) { return _mm256_srai_epi32(a, n); }
SIMD_FN simd_i simd_i_sllv(simd_i a, simd_i n) { return _mm256_sllv_epi32(a, n); }
SIMD_FN simd_i simd_i_select_lt(simd_i a, simd_i b, simd_i yes, simd_i no) { return _mm256_blendv_epi8(no, yes, _mm256_cmpgt_epi32(b, a)); }
SIMD_FN simd_i simd_i_select(simd_i mask, simd_i yes, simd_i no) { return _mm256_blendv_epi8(no, yes, mask); }   /* whole bytes */
/* Lower halves of the lanes of lo, upper ones of hi. */
SIMD_FN simd_i simd_halves(simd_i lo, simd_i hi) { return _mm256_blend_epi16(lo, hi, 0xaa); }
SIMD_FN simd_f simd_from_i(simd_i v) { return _mm256_cvtepi32_ps(v); }
SIMD_FN simd_i simd_to_i(simd_f v) { return _mm256_cvtps_epi32(v); }         /* to nearest even */
SIMD_FN simd_i simd_to_i_away(simd_f v)      /* to nearest, halves away from zero: |v| < 2^22 */
{
    return _mm256_cvttps_epi32(_mm256_add_ps(v, simd_copysign(_mm256_set1_ps(0x1.fffffep-2f), v)));
}
SIMD_FN simd_i simd_bits(simd_f v) { return _mm256_castps_si256(v); }
SIMD_FN simd_f simd_from_bits(simd_i v) { return _mm256_castsi256_ps(v); }
/* f16 in the low half of every lane. */
SIMD_FN simd_f simd_from_f16(simd_i v)
{
    v = _mm256_and_si256(v, _mm256_set1_epi32(0xffff));
    v = _mm256_permute4x64_epi64(_mm256_packus_epi32(v, v), 0xd8);
    return _mm256_cvtph_ps(_mm256_castsi256_si128(v));
}
SIMD_FN simd_f simd_set1_f16(const uint8_t *p) { return _mm256_cvtph_ps(_mm_set1_epi16((short)load_u16(p))); }
SIMD_FN simd_f simd_load_f16(const void *p) { return _mm256_cvtph_ps(_mm_loadu_si128(p)); }
SIMD_FN simd_f simd_load_bf16(const void *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16));
}
SIMD_FN simd_f simd_load_i8(const int8_t *p) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)p))); }
/* Sums of all lanes, in one order: halves are added until one lane is left. */
SIMD_FN float simd_sum(simd_f v)
{
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}
/* simd_sum of four vectors at once: the same additions in the same order. */
SIMD_FN void simd_sum4(const simd_f v[4], float *out)
{
    simd_f a = _mm256_add_ps(_mm256_permute2f128_ps(v[0], v[1], 0x20), _mm256_permute2f128_ps(v[0], v[1], 0x31));
    simd_f b = _mm256_add_ps(_mm256_permute2f128_ps(v[2], v[3], 0x20), _mm256_permute2f128_ps(v[2], v[3], 0x31));
    a = _mm256_add_ps(_mm256_shuffle_ps(a, b, 0x44), _mm256_shuffle_ps(a, b, 0xee));   /* pairs of 0, 2, 1, 3 */
    a = _mm256_add_ps(a, _mm256_movehdup_ps(a));
    a = _mm256_permutevar8x32_ps(a, _mm256_setr_epi32(0, 4, 2, 6, 0, 4, 2, 6));
    _mm_storeu_ps(out, _mm256_castps256_ps128(a));
}
SIMD_FN float simd_top(simd_f v)
{
    __m128 b = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    b = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}

SIMD_FN simd_f simd_select_lt(simd_f a, simd_f b, simd_f yes, simd_f no) { return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ)); }
/* 2 * SIMD_LANES floats: even ones and odd ones. */
SIMD_FN void simd_load_pairs(const float *p, simd_f *even, simd_f *odd)
{
    simd_f a = _mm256_loadu_ps(p), b = _mm256_loadu_ps(p + 8);
    simd_f e = _mm256_shuffle_ps(a, b, 0x88), o = _mm256_shuffle_ps(a, b, 0xdd);
    *even = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(e), 0xd8));
    *odd = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(o), 0xd8));
}
SIMD_FN void simd_store_i8(int8_t *p, simd_i v)
{
    __m128i h = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _mm_storel_epi64((void *)p, _mm_packs_epi16(h, h));
}
SIMD_FN void simd_store_16(void *p, simd_i v)                                   /* lower halves */
{
    v = simd_i_and(v, simd_i_set1(0xffff));
    _mm_storeu_si128(p, _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)));
}
SIMD_FN void simd_store_f16(void *p, simd_f v) { _mm_storeu_si128(p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT)); }

/* Running sums in f64: two halves. */
typedef struct simd_d { __m256d lo, hi; } simd_d;
SIMD_FN simd_d simd_d_zero(void) { return (simd_d){_mm256_setzero_pd(), _mm256_setzero_pd()}; }
SIMD_FN simd_d simd_d_add(simd_d a, simd_f v)
{
    a.lo = _mm256_add_pd(a.lo, _mm256_cvtps_pd(_mm256_castps256_ps128(v)));
    a.hi = _mm256_add_pd(a.hi, _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1)));
    return a;
}
SIMD_FN simd_d simd_d_add_square(simd_d a, simd_f v)
{
    __m256d lo = _mm256_cvtps_pd(_mm256_castps256_ps128(v)), hi = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
    a.lo = _mm256_fmadd_pd(lo, lo, a.lo);
    a.hi = _mm256_fmadd_pd(hi, hi, a.hi);
    return a;
}
SIMD_FN double simd_d_sum(simd_d a)
{
    __m256d s = _mm256_add_pd(a.lo, a.hi);
    __m128d h = _mm_add_pd(_mm256_castpd256_pd128(s), _mm256_extractf128_pd(s, 1));
    return _mm_cvtsd_f64(_mm_add_sd(h, _mm_unpackhi_pd(h, h)));
}

/* Sixteen signed bytes, each with offset added, as a table for simd_lookup16. */
SIMD_FN simd_i simd_table16(const int8_t *t, int offset)
{
    return _mm256_broadcastsi128_si256(_mm_add_epi8(_mm_loadu_si128((const void *)t), _mm_set1_epi8((char)offset)));
}
SIMD_FN simd_i simd_lookup16(simd_i table, simd_i nibbles) { return _mm256_shuffle_epi8(table, nibbles); }
/* value in byte i of a lane where bit 4 j + i of the same lane of bits is set. */
SIMD_FN simd_i simd_or_bits(simd_i code, simd_i bits, int j, int value)
{
    simd_i pick = _mm256_add_epi8(_mm256_set_epi64x(0x0c0c0c0c08080808, 0x0404040400000000, 0x0c0c0c0c08080808, 0x0404040400000000),
                                  _mm256_set1_epi8((char)(j / 2)));
    simd_i bit = _mm256_set1_epi32(j % 2 ? (int)0x80402010 : 0x08040201);
    simd_i on = _mm256_cmpeq_epi8(_mm256_and_si256(_mm256_shuffle_epi8(bits, pick), bit), bit);
    return _mm256_or_si256(code, _mm256_and_si256(on, _mm256_set1_epi8((char)value)));
}

SIMD_FN simd_i simd_i_set1_mem(const int8_t *x) { return _mm256_set1_epi32((int)load_u32(x)); }
SIMD_FN simd_i simd_abs8(simd_i v) { return _mm256_abs_epi8(v); }
SIMD_FN simd_i simd_sign8(simd_i v, simd_i s) { return _mm256_sign_epi8(v, s); }
SIMD_FN simd_i simd_mul8_pairs(simd_i u, simd_i s) { return _mm256_maddubs_epi16(u, s); }
SIMD_FN simd_i simd_add16(simd_i a, simd_i b) { return _mm256_add_epi16(a, b); }
SIMD_FN simd_i simd_sum16_pairs(simd_i v) { return _mm256_madd_epi16(v, _mm256_set1_epi16(1)); }

/* 16 bytes of each of 8 rows; out[j]: dword j of every row. */
SIMD_FN void simd_rows16(const uint8_t *w, size_t stride, simd_i out[4])
{
    simd_i a[4];
    UNROLL for (int i = 0; i < 4; i++) {
        const uint8_t *p = w + (size_t)i * stride;
        a[i] = _mm256_castsi128_si256(_mm_loadu_si128((const void *)p));
        a[i] = _mm256_inserti128_si256(a[i], _mm_loadu_si128((const void *)(p + 4 * stride)), 1);
    }
    simd_i b0 = _mm256_unpacklo_epi32(a[0], a[1]), b1 = _mm256_unpackhi_epi32(a[0], a[1]);
    simd_i b2 = _mm256_unpacklo_epi32(a[2], a[3]), b3 = _mm256_unpackhi_epi32(a[2], a[3]);
    out[0] = _mm256_unpacklo_epi64(b0, b2);
    out[1] = _mm256_unpackhi_epi64(b0, b2);
    out[2] = _mm256_unpacklo_epi64(b1, b3);
    out[3] = _mm256_unpackhi_epi64(b1, b3);
}

SIMD_FN __m128i simd_four(const uint8_t *p, size_t stride)
{
    return _mm_set_epi32((int)load_u32(p + 3 * stride), (int)load_u32(p + 2 * stride), (int)load_u32(p + stride), (int)load_u32(p));
}
/* 4 bytes of each row. */
SIMD_FN simd_i simd_rows4(const uint8_t *w, size_t stride)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(simd_four(w, stride)), simd_four(w + 4 * stride, stride), 1);
}
/* The upper 16 bits of 4 bytes of each row. */
SIMD_FN simd_i simd_rows4_high(const uint8_t *w, size_t stride) { return simd_i_srl(simd_rows4(w, stride), 16); }

#endif
