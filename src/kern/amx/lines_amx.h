/* Weights as bf16 lines: up to 256 columns of one row, 32 to a line of 64 bytes, lines LINE_STEP numbers apart.
 *
 * Each number is the one that num/ decodes, rounded to nearest even.  Types of four and five bits look codes up in a table of the
 * 16 or 32 numbers that a scale allows: one permutation makes a line. */
#ifndef FC_KERN_AMX_LINES_AMX_H
#define FC_KERN_AMX_LINES_AMX_H

#include "kern/avx512/simd_avx512.h"
#include "kern/kern_int.h"
#include "num/blocks.h"
#include "num/half.h"

enum { LINE_COLS = 32, LINE_STEP = 16 * LINE_COLS /* the same row of the next tile */ };

/* w: the first block of the columns; n: lines, at most 8. */
typedef void (*lines_fn)(const uint8_t *w, int n, uint16_t *out);

SIMD_FN __m256i lines_bf16(simd_f v) { return (__m256i)_mm512_cvtneps_pbh(v); }
SIMD_FN simd_i lines_bf16_pair(simd_f low, simd_f high) { return (simd_i)_mm512_cvtne2ps_pbh(high, low); }
SIMD_FN void lines_put(uint16_t *out, int line, simd_i v) { _mm512_storeu_si512(out + line * LINE_STEP, v); }

SIMD_FN simd_f lines_sixteen(void) { return _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }
/* Tables of 16 and 32 numbers. */
SIMD_FN simd_i lines_table(simd_f v) { return _mm512_castsi256_si512(lines_bf16(v)); }
/* 32 bytes as indices. */
SIMD_FN simd_i lines_words(__m256i bytes) { return _mm512_cvtepu8_epi16(bytes); }
/* Of 16 bytes, low nibbles first. */
SIMD_FN simd_i lines_nibbles(const uint8_t *qs)
{
    __m128i q = _mm_loadu_si128((const void *)qs), low = _mm_set1_epi8(15);
    return lines_words(_mm256_set_m128i(_mm_and_si128(_mm_srli_epi16(q, 4), low), _mm_and_si128(q, low)));
}
/* 16 where a bit is set. */
SIMD_FN simd_i lines_fifth(simd_i index, uint32_t bits) { return _mm512_mask_add_epi16(index, bits, index, _mm512_set1_epi16(16)); }
SIMD_FN simd_f lines_i8(__m128i v) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(v)); }

static void lines_q4_0(const uint8_t *w, int n, uint16_t *out)
{
    const q4_0_block *b = (const void *)w;
    simd_f value = simd_sub(lines_sixteen(), simd_set1(8));
    for (int i = 0; i < n; i++, b++)
        lines_put(out, i, _mm512_permutexvar_epi16(lines_nibbles(b->qs), lines_table(simd_mul(simd_set1_f16(b->d), value))));
}

static void lines_q4_1(const uint8_t *w, int n, uint16_t *out)
{
    const q4_1_block *b = (const void *)w;
    for (int i = 0; i < n; i++, b++) {
        simd_f v = simd_add(simd_mul(simd_set1_f16(b->d), lines_sixteen()), simd_set1_f16(b->m));
        lines_put(out, i, _mm512_permutexvar_epi16(lines_nibbles(b->qs), lines_table(v)));
    }
}

static void lines_q5_0(const uint8_t *w, int n, uint16_t *out)
{
    const q5_0_block *b = (const void *)w;
    simd_f low = simd_sub(lines_sixteen(), simd_set1(16));
    for (int i = 0; i < n; i++, b++) {
        simd_f d = simd_set1_f16(b->d);
        simd_i table = lines_bf16_pair(simd_mul(d, low), simd_mul(d, lines_sixteen()));
        lines_put(out, i, _mm512_permutexvar_epi16(lines_fifth(lines_nibbles(b->qs), load_u32(b->qh)), table));
    }
}

/* The numbers scale * 0 .. scale * 31, all with `add` added. */
SIMD_FN simd_i lines_table32(simd_f scale, simd_f add)
{
    simd_f low = lines_sixteen(), high = simd_add(low, simd_set1(16));
    return lines_bf16_pair(simd_add(simd_mul(scale, low), add), simd_add(simd_mul(scale, high), add));
}

static void lines_q5_1(const uint8_t *w, int n, uint16_t *out)
{
    const q5_1_block *b = (const void *)w;
    for (int i = 0; i < n; i++, b++) {
        simd_i table = lines_table32(simd_set1_f16(b->d), simd_set1_f16(b->m));
        lines_put(out, i, _mm512_permutexvar_epi16(lines_fifth(lines_nibbles(b->qs), load_u32(b->qh)), table));
    }
}

static void lines_q8_0(const uint8_t *w, int n, uint16_t *out)
{
    const q8_0_block *b = (const void *)w;
    for (int i = 0; i < n; i++, b++) {
        simd_f d = simd_set1_f16(b->d);
        lines_put(out, i, lines_bf16_pair(simd_mul(simd_load_i8(b->qs), d), simd_mul(simd_load_i8(b->qs + 16), d)));
    }
}

static void lines_iq4_nl(const uint8_t *w, int n, uint16_t *out)
{
    const iq4_nl_block *b = (const void *)w;
    simd_f value = simd_load_i8(iq4_values);
    for (int i = 0; i < n; i++, b++)
        lines_put(out, i, _mm512_permutexvar_epi16(lines_nibbles(b->qs), lines_table(simd_mul(simd_set1_f16(b->d), value))));
}

static void lines_iq4_xs(const uint8_t *w, int n, uint16_t *out)
{
    const iq4_xs_block *b = (const void *)w;
    simd_f value = simd_load_i8(iq4_values);
    float d = half_f16_to_f32(load_u16(b->d));
    for (int s = 0; s < n; s++) {
        simd_i table = lines_table(simd_mul(simd_set1(d * (float)iq4_xs_scale(b, s)), value));
        lines_put(out, s, _mm512_permutexvar_epi16(lines_nibbles(b->qs + 16 * s), table));
    }
}

static void lines_mxfp4(const uint8_t *w, int n, uint16_t *out)
{
    const mxfp4_block *b = (const void *)w;
    simd_f value = simd_load_i8(fp4_values);
    for (int i = 0; i < n; i++, b++)
        lines_put(out, i, _mm512_permutexvar_epi16(lines_nibbles(b->qs), lines_table(simd_mul(simd_set1(fp4_mx_scale(b->e)), value))));
}

/* d times the eight scales and -dmin times the eight minimums of a Q4_K or Q5_K block. */
SIMD_FN void lines_k_scales(const uint8_t *d, const uint8_t *dmin, const uint8_t s[12], float scale[8], float add[8])
{
    uint32_t a = load_u32(s), b = load_u32(s + 4), c = load_u32(s + 8);
    __m128i scales = _mm_setr_epi32((int)(a & 0x3f3f3f3f), (int)((c & 0x0f0f0f0f) | (a >> 2 & 0x30303030)), 0, 0);
    __m128i mins = _mm_setr_epi32((int)(b & 0x3f3f3f3f), (int)((c >> 4 & 0x0f0f0f0f) | (b >> 2 & 0x30303030)), 0, 0);
    __m256 one = _mm256_cvtph_ps(_mm_set1_epi16((short)load_u16(d))), min = _mm256_cvtph_ps(_mm_set1_epi16((short)load_u16(dmin)));
    _mm256_storeu_ps(scale, _mm256_mul_ps(one, _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(scales))));
    min = _mm256_xor_ps(min, _mm256_set1_ps(-0.0f));
    _mm256_storeu_ps(add, _mm256_mul_ps(min, _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(mins))));
}

static void lines_q4_k(const uint8_t *w, int n, uint16_t *out)
{
    const q4_k_block *b = (const void *)w;
    float scale[8], add[8];
    simd_f value = lines_sixteen();
    __m256i low = _mm256_set1_epi8(15);
    (void)n;
    lines_k_scales(b->d, b->dmin, b->scales, scale, add);
    UNROLL for (int s = 0; s < 8; s += 2) {
        __m256i q = _mm256_loadu_si256((const void *)(b->qs + 16 * s));
        simd_i first = lines_table(simd_add(simd_mul(simd_set1(scale[s]), value), simd_set1(add[s])));
        simd_i second = lines_table(simd_add(simd_mul(simd_set1(scale[s + 1]), value), simd_set1(add[s + 1])));
        lines_put(out, s, _mm512_permutexvar_epi16(lines_words(_mm256_and_si256(q, low)), first));
        lines_put(out, s + 1, _mm512_permutexvar_epi16(lines_words(_mm256_and_si256(_mm256_srli_epi16(q, 4), low)), second));
    }
}

static void lines_q5_k(const uint8_t *w, int n, uint16_t *out)
{
    const q5_k_block *b = (const void *)w;
    float scale[8], add[8];
    __m256i low = _mm256_set1_epi8(15), fifth = _mm256_loadu_si256((const void *)b->qh);
    (void)n;
    lines_k_scales(b->d, b->dmin, b->scales, scale, add);
    UNROLL for (int s = 0; s < 8; s++) {
        __m256i q = _mm256_loadu_si256((const void *)(b->qs + s / 2 * 32));
        simd_i index = lines_words(_mm256_and_si256(s % 2 ? _mm256_srli_epi16(q, 4) : q, low));
        index = lines_fifth(index, _mm256_test_epi8_mask(fifth, _mm256_set1_epi8((char)(1 << s))));
        lines_put(out, s, _mm512_permutexvar_epi16(index, lines_table32(simd_set1(scale[s]), simd_set1(add[s]))));
    }
}

static void lines_q6_k(const uint8_t *w, int n, uint16_t *out)
{
    const q6_k_block *b = (const void *)w;
    float d = half_f16_to_f32(load_u16(b->d));
    (void)n;
    UNROLL for (int i = 0; i < 8; i++) {                  /* file-formats section 5: half i / 4, quarter i % 4 */
        int g = i % 4;
        __m256i low = _mm256_loadu_si256((const void *)(b->ql + 64 * (i / 4) + 32 * (g & 1)));
        __m256i high = _mm256_loadu_si256((const void *)(b->qh + 32 * (i / 4)));
        low = _mm256_and_si256(g >> 1 ? _mm256_srli_epi16(low, 4) : low, _mm256_set1_epi8(15));
        high = _mm256_and_si256(g < 2 ? _mm256_slli_epi16(high, 4 - 2 * g) : _mm256_srli_epi16(high, 2 * g - 4), _mm256_set1_epi8(0x30));
        __m256i q = _mm256_sub_epi8(_mm256_or_si256(low, high), _mm256_set1_epi8(32));
        simd_f even = simd_mul(lines_i8(_mm256_castsi256_si128(q)), simd_set1(d * (float)b->scales[2 * i]));
        simd_f odd = simd_mul(lines_i8(_mm256_extracti128_si256(q, 1)), simd_set1(d * (float)b->scales[2 * i + 1]));
        lines_put(out, i, lines_bf16_pair(even, odd));
    }
}

static void lines_bf16_as_is(const uint8_t *w, int n, uint16_t *out)
{
    for (int i = 0; i < n; i++) lines_put(out, i, simd_i_load(w + 64 * i));
}

/* Any type, by its decoder. */
SIMD_FN void lines_decoded(dtype type, const uint8_t *w, int n, uint16_t *out)
{
    float v[256];
    dtype_of(type)->decode(w, v, n * LINE_COLS);
    for (int i = 0; i < n; i++) lines_put(out, i, lines_bf16_pair(simd_load(v + LINE_COLS * i), simd_load(v + LINE_COLS * i + 16)));
}

#endif
