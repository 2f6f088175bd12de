/* Vector words of the shared kernel files, on ARMv8.2 with dotprod and fp16.  simd_i: 4 lanes of 32 bits. */
#ifndef FC_KERN_NEON_SIMD_NEON_H
#define FC_KERN_NEON_SIMD_NEON_H

#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

#include "base/bits.h"

enum { SIMD_PAIR_NT = 6, SIMD_LANES = 4, SIMD_NT = 8, SIMD_FEW = 8 };
#define SIMD_DOT16 0
/* sdot takes signed bytes on both sides: panels hold the codes themselves. */
#define SIMD_CODE(code, offset) \
    vreinterpretq_s32_u8(vsubq_u8(vreinterpretq_u8_s32(code), vdupq_n_u8((uint8_t)(offset))))
#define SIMD_OFFSET(offset) 0
#define SIMD_EACH_NT(M, ...) \
    M(1, __VA_ARGS__) M(2, __VA_ARGS__) M(3, __VA_ARGS__) M(4, __VA_ARGS__) M(5, __VA_ARGS__) M(6, __VA_ARGS__) M(7, __VA_ARGS__) \
    M(8, __VA_ARGS__)
#define SIMD_EACH_FEW(M, ...) M(4, __VA_ARGS__) M(6, __VA_ARGS__) M(8, __VA_ARGS__)

typedef float32x4_t simd_f;
typedef int32x4_t simd_i;
#define SIMD_FN static inline __attribute__((always_inline, unused))

SIMD_FN simd_f simd_load(const float *p) { return vld1q_f32(p); }
SIMD_FN void   simd_store(float *p, simd_f v) { vst1q_f32(p, v); }
/* The first n < SIMD_LANES; the rest is zero, and never touched in memory. */
SIMD_FN simd_f simd_load_n(const float *p, int64_t n)
{
    float v[4] = {0};
    memcpy(v, p, (size_t)n * 4);
    return vld1q_f32(v);
}
SIMD_FN void simd_store_n(float *p, simd_f v, int64_t n)
{
    float a[4];
    vst1q_f32(a, v);
    memcpy(p, a, (size_t)n * 4);
}
SIMD_FN simd_f simd_set1(float x) { return vdupq_n_f32(x); }
SIMD_FN simd_f simd_add(simd_f a, simd_f b) { return vaddq_f32(a, b); }
SIMD_FN simd_f simd_sub(simd_f a, simd_f b) { return vsubq_f32(a, b); }
SIMD_FN simd_f simd_mul(simd_f a, simd_f b) { return vmulq_f32(a, b); }
SIMD_FN simd_f simd_div(simd_f a, simd_f b) { return vdivq_f32(a, b); }
SIMD_FN simd_f simd_max(simd_f a, simd_f b) { return vmaxq_f32(a, b); }
SIMD_FN simd_f simd_min(simd_f a, simd_f b) { return vminq_f32(a, b); }
SIMD_FN simd_f simd_fma(simd_f a, simd_f b, simd_f c) { return vfmaq_f32(c, a, b); }
SIMD_FN simd_f simd_fnma(simd_f a, simd_f b, simd_f c) { return vfmsq_f32(c, a, b); }
SIMD_FN simd_f simd_neg(simd_f a) { return vnegq_f32(a); }
SIMD_FN simd_f simd_abs(simd_f a) { return vabsq_f32(a); }
SIMD_FN simd_f simd_copysign(simd_f a, simd_f s) { return vbslq_f32(vdupq_n_u32(0x80000000u), s, a); }

SIMD_FN simd_i simd_i_load(const void *p) { return vreinterpretq_s32_u8(vld1q_u8(p)); }
SIMD_FN void   simd_i_store(void *p, simd_i v) { vst1q_u8(p, vreinterpretq_u8_s32(v)); }
SIMD_FN simd_i simd_i_set1(int x) { return vdupq_n_s32(x); }
SIMD_FN simd_i simd_i_add(simd_i a, simd_i b) { return vaddq_s32(a, b); }
SIMD_FN simd_i simd_i_sub(simd_i a, simd_i b) { return vsubq_s32(a, b); }
SIMD_FN simd_i simd_i_mul(simd_i a, simd_i b) { return vmulq_s32(a, b); }
SIMD_FN simd_i simd_i_and(simd_i a, simd_i b) { return vandq_s32(a, b); }
SIMD_FN simd_i simd_i_or(simd_i a, simd_i b) { return vorrq_s32(a, b); }
SIMD_FN simd_i simd_i_xor(simd_i a, simd_i b) { return veorq_s32(a, b); }
SIMD_FN simd_i simd_i_srl(simd_i a, int n) { return vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(a), vdupq_n_s32(-n))); }
SIMD_FN simd_i simd_i_sll(simd_i a, int n) { return vshlq_s32(a, vdupq_n_s32(n)); }
SIMD_FN simd_i simd_i_sra(simd_i a, int n) { return vshlq_s32(a, vdupq_n_s32(-n)); }
SIMD_FN simd_i simd_i_sllv(simd_i a, simd_i n) { return vshlq_s32(a, n); }
SIMD_FN simd_i simd_i_select_lt(simd_i a, simd_i b, simd_i yes, simd_i no) { return vbslq_s32(vcltq_s32(a, b), yes, no); }
SIMD_FN simd_i simd_i_select(simd_i mask, simd_i yes, simd_i no) { return vbslq_s32(vreinterpretq_u32_s32(mask), yes, no); }
/* Lower halves of the lanes of lo, upper ones of hi. */
SIMD_FN simd_i simd_halves(simd_i lo, simd_i hi) { return vbslq_s32(vdupq_n_u32(0xffff), lo, hi); }
SIMD_FN simd_f simd_from_i(simd_i v) { return vcvtq_f32_s32(v); }
SIMD_FN simd_i simd_to_i(simd_f v) { return vcvtnq_s32_f32(v); }             /* to nearest even */
SIMD_FN simd_i simd_to_i_away(simd_f v) { return vcvtaq_s32_f32(v); }        /* to nearest, halves away from zero */
SIMD_FN simd_i simd_bits(simd_f v) { return vreinterpretq_s32_f32(v); }
SIMD_FN simd_f simd_from_bits(simd_i v) { return vreinterpretq_f32_s32(v); }
/* f16 in the low half of every lane. */
SIMD_FN simd_f simd_from_f16(simd_i v) { return vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32(vreinterpretq_u32_s32(v)))); }
SIMD_FN simd_f simd_set1_f16(const uint8_t *p) { return vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(load_u16(p)))); }
SIMD_FN simd_f simd_load_f16(const void *p)
{
    uint16x4_t h = vreinterpret_u16_u8(vld1_u8(p));
    return vcvt_f32_f16(vreinterpret_f16_u16(h));
}
SIMD_FN simd_f simd_load_bf16(const void *p)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16));
}
SIMD_FN simd_f simd_load_i8(const int8_t *p)
{
    int8x8_t v = vreinterpret_s8_u32(vdup_n_u32(load_u32(p)));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(v))));
}
/* Sums of all lanes, in one order: halves are added until one lane is left. */
SIMD_FN float simd_sum(simd_f v)
{
    float32x2_t h = vadd_f32(vget_low_f32(v), vget_high_f32(v));
    return vget_lane_f32(h, 0) + vget_lane_f32(h, 1);
}
/* simd_sum of four vectors at once: the same additions in the same order. */
SIMD_FN void simd_sum4(const simd_f v[4], float *out)
{
    for (int i = 0; i < 4; i++) out[i] = simd_sum(v[i]);
}
SIMD_FN float simd_top(simd_f v) { return vmaxvq_f32(v); }

SIMD_FN simd_f simd_select_lt(simd_f a, simd_f b, simd_f yes, simd_f no) { return vbslq_f32(vcltq_f32(a, b), yes, no); }
/* 2 * SIMD_LANES floats: even ones and odd ones. */
SIMD_FN void simd_load_pairs(const float *p, simd_f *even, simd_f *odd)
{
    float32x4x2_t v = vld2q_f32(p);
    *even = v.val[0];
    *odd = v.val[1];
}
SIMD_FN void simd_store_i8(int8_t *p, simd_i v)
{
    int16x4_t h = vmovn_s32(v);
    int8x8_t b = vmovn_s16(vcombine_s16(h, h));
    vst1_lane_u32((void *)p, vreinterpret_u32_s8(b), 0);
}
SIMD_FN void simd_store_16(void *p, simd_i v) { vst1_u8(p, vreinterpret_u8_s16(vmovn_s32(v))); }   /* lower halves */
SIMD_FN void simd_store_f16(void *p, simd_f v) { vst1_u8(p, vreinterpret_u8_f16(vcvt_f16_f32(v))); }

/* Running sums in f64: two halves. */
typedef struct simd_d { float64x2_t lo, hi; } simd_d;
SIMD_FN simd_d simd_d_zero(void) { return (simd_d){vdupq_n_f64(0), vdupq_n_f64(0)}; }
SIMD_FN simd_d simd_d_add(simd_d a, simd_f v)
{
    a.lo = vaddq_f64(a.lo, vcvt_f64_f32(vget_low_f32(v)));
    a.hi = vaddq_f64(a.hi, vcvt_high_f64_f32(v));
    return a;
}
SIMD_FN simd_d simd_d_add_square(simd_d a, simd_f v)
{
    float64x2_t lo = vcvt_f64_f32(vget_low_f32(v)), hi = vcvt_high_f64_f32(v);
    a.lo = vfmaq_f64(a.lo, lo, lo);
    a.hi = vfmaq_f64(a.hi, hi, hi);
    return a;
}
SIMD_FN double simd_d_sum(simd_d a) { return vaddvq_f64(vaddq_f64(a.lo, a.hi)); }

/* Sixteen signed bytes, each with offset added, as a table for simd_lookup16. */
SIMD_FN simd_i simd_table16(const int8_t *t, int offset) { return vreinterpretq_s32_s8(vaddq_s8(vld1q_s8(t), vdupq_n_s8((int8_t)offset))); }
SIMD_FN simd_i simd_lookup16(simd_i table, simd_i nibbles)
{
    return vreinterpretq_s32_u8(vqtbl1q_u8(vreinterpretq_u8_s32(table), vreinterpretq_u8_s32(nibbles)));
}

/* value in byte i of a lane where bit 4 j + i of the same lane of bits is set. */
SIMD_FN simd_i simd_or_bits(simd_i code, simd_i bits, int j, int value)
{
    uint8x16_t pick = vreinterpretq_u8_u32(vmulq_n_u32(vsetq_lane_u32(3, vsetq_lane_u32(2, vsetq_lane_u32(1, vdupq_n_u32(0), 1), 2), 3), 0x04040404u));
    uint8x16_t b = vqtbl1q_u8(vreinterpretq_u8_s32(bits), vaddq_u8(pick, vdupq_n_u8((uint8_t)(j / 2))));
    uint8x16_t on = vtstq_u8(b, vreinterpretq_u8_u32(vdupq_n_u32(j % 2 ? 0x80402010u : 0x08040201u)));
    return vreinterpretq_s32_u8(vorrq_u8(vreinterpretq_u8_s32(code), vandq_u8(on, vdupq_n_u8((uint8_t)value))));
}

/* acc += four products of signed codes and the signed bytes at x, in every lane. */
SIMD_FN simd_i simd_dot(simd_i acc, simd_i codes, const int8_t *x)
{
    return vdotq_s32(acc, vreinterpretq_s8_s32(codes), vreinterpretq_s8_u32(vdupq_n_u32(load_u32(x))));
}

/* 16 bytes of each of 4 rows; out[j]: dword j of every row. */
SIMD_FN void simd_rows16(const uint8_t *w, size_t stride, simd_i out[4])
{
    int32x4_t a = simd_i_load(w), b = simd_i_load(w + stride), c = simd_i_load(w + 2 * stride), d = simd_i_load(w + 3 * stride);
    int64x2_t p = vreinterpretq_s64_s32(vzip1q_s32(a, b)), q = vreinterpretq_s64_s32(vzip1q_s32(c, d));
    int64x2_t r = vreinterpretq_s64_s32(vzip2q_s32(a, b)), s = vreinterpretq_s64_s32(vzip2q_s32(c, d));
    out[0] = vreinterpretq_s32_s64(vzip1q_s64(p, q));
    out[1] = vreinterpretq_s32_s64(vzip2q_s64(p, q));
    out[2] = vreinterpretq_s32_s64(vzip1q_s64(r, s));
    out[3] = vreinterpretq_s32_s64(vzip2q_s64(r, s));
}

/* 4 bytes of each row. */
SIMD_FN simd_i simd_rows4(const uint8_t *w, size_t stride)
{
    uint32_t v[4] = {load_u32(w), load_u32(w + stride), load_u32(w + 2 * stride), load_u32(w + 3 * stride)};
    return vreinterpretq_s32_u32(vld1q_u32(v));
}
/* The upper 16 bits of 4 bytes of each row. */
SIMD_FN simd_i simd_rows4_high(const uint8_t *w, size_t stride) { return simd_i_srl(simd_rows4(w, stride), 16); }

#endif
