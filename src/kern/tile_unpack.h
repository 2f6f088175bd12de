/* Weight blocks of TILE_R rows to panels (tile.h), rows in lanes.  Included after tile.h, once in each family.
 *
 * simd_rows16 reads 16 bytes of each row and gives four vectors: dword j of every row in its lane.  Everything after
 * that is bytewise and the same for all rows, so a type's formula (file-formats section 5) is written here once. */
#ifndef FC_KERN_TILE_UNPACK_H
#define FC_KERN_TILE_UNPACK_H

#include "kern/tile.h"
#include "kern/unpack_row.h"
#include "num/blocks.h"

#define INLINE static inline __attribute__((always_inline))

INLINE void put(tile_panel *p, int step, simd_i code, int offset) { simd_i_store(p->q[step], SIMD_CODE(code, offset)); }
INLINE simd_i low4(simd_i v) { return simd_i_and(v, simd_i_set1(0x0f0f0f0f)); }
INLINE simd_i high4(simd_i v) { return simd_i_and(simd_i_srl(v, 4), simd_i_set1(0x0f0f0f0f)); }
INLINE simd_i bits2(simd_i v, int shift) { return simd_i_and(simd_i_srl(v, shift), simd_i_set1(0x03030303)); }
INLINE simd_i bit1(simd_i v, int shift) { return simd_i_and(simd_i_srl(v, shift), simd_i_set1(0x01010101)); }
/* Byte k of every lane. */
INLINE simd_i byte_of(simd_i v, int k) { return simd_i_and(simd_i_srl(v, 8 * k), simd_i_set1(0xff)); }
INLINE simd_i sbyte_of(simd_i v, int k) { return simd_i_sra(simd_i_sll(v, 24 - 8 * k), 24); }
/* Sixteen bytes of nibbles: 32 codes of group g, low nibbles first. */
INLINE void put_nibbles(tile_panel *p, int g, const simd_i q[4], int offset)
{
    UNROLL for (int j = 0; j < 4; j++) {
        put(p, 8 * g + j, low4(q[j]), offset);
        put(p, 8 * g + 4 + j, high4(q[j]), offset);
    }
}

static void unpack_q4_0(const tile_type *tt, const uint8_t *w, size_t stride, int groups, tile_panel *p)
{
    (void)tt;
    for (int g = 0; g < groups; g++, w += sizeof(q4_0_block)) {
        simd_i q[4];
        simd_rows16(w + 2, stride, q);
        put_nibbles(p, g, q, 8);
        simd_store(p->scale[g], simd_from_f16(simd_rows4(w, stride)));
    }
}

static void unpack_q4_1(const tile_type *tt, const uint8_t *w, size_t stride, int groups, tile_panel *p)
{
    (void)tt;
    for (int g = 0; g < groups; g++, w += sizeof(q4_1_block)) {
        simd_i q[4], head = simd_rows4(w, stride);
        simd_rows16(w + 4, stride, q);
        put_nibbles(p, g, q, 0);
        simd_store(p->scale[g], simd_from_f16(head));
        simd_store(p->min[g], simd_neg(simd_from_f16(simd_i_srl(head, 16))));
    }
}

INLINE void put_five(tile_panel *p, int g, const simd_i q[4], simd_i fifth, int offset)
{
    UNROLL for (int j = 0; j < 4; j++) {
        put(p, 8 * g + j, simd_or_bits(low4(q[j]), fifth, j, 16), offset);
        put(p, 8 * g + 4 + j, simd_or_bits(high4(q[j]), fifth, j + 4, 16), offset);
    }
}

static void unpack_q5_0(const tile_type *tt, const uint8_t *w, size_t stride, int groups, tile_panel *p)
{
    (void)tt;
    for (int g = 0; g < groups; g++, w += sizeof(q5_0_block)) {
        simd_i q[4];
        simd_rows16(w + 6, stride, q);
        put_five(p, g, q, simd_rows4(w + 2, stride), 16);
        simd_store(p->scale[g], simd_from_f16(simd_rows4(w, stride)));
    }
}

static void unpack_q5_1(const tile_type *tt, const uint8_t *w, size_t stride, int groups, tile_panel *p)
{
    (void)tt;
    for (int g = 0; g < groups; g++, w += sizeof(q5_1_block)) {
        simd_i q[4], head = simd_rows4(w, stride);
        simd_rows16(w + 8, stride, q);
        put_five(p, g, q, simd_rows4(w + 4, stride), 0);
        simd_store(p->scale[g], simd_from_f16(head));
        simd_store(p->min[g], simd_neg(simd_from_f16(simd_i_srl(head, 16))));
    }
}

static void unpack_q8_0(const tile_type *tt, const uint8_t *w, size_t stride, int groups, tile_panel *p)
{
    (void)tt;
    simd_i flip = simd_i_set1((int)0x80808080);
    for (int g = 0; g < groups; g++, w += sizeof(q8_0_block)) {
        simd_i q[8];
        simd_rows16(w + 2, stride, q);
        simd_rows16(w + 18, stride, q + 4);
        UNROLL for (int j = 0; j < 8; j++) put(p, 8 * g + j, simd_i_xor(q[j], flip), 128);
        simd_store(p->scale[g], simd_from_f16(simd_rows4(w, stride)));
    }
}

/* The same with a table of values, which are in the form of SIMD_CODE already. */
INLINE void put_values(tile_panel *p, int g, const simd_i q[4], simd_i table)
{
    UNROLL for (int j = 0; j < 4; j++) {
        simd_i_store(p->q[8 * g + j], simd_lookup16(table, low4(q[j])));
        simd_i_store(p->q[8 * g + 4 + j], simd_lookup16(table, high4(q[j])));
    }
}

static void unpack_iq4_nl(const tile_type *tt, const uint8_t *w, size_t stride, int groups, tile_panel *p)
{
    (void)tt;
    simd_i table = simd_table16(iq4_values, SIMD_OFFSET(128));
    for (int g = 0; g < groups; g++, w += sizeof(iq4_nl_block)) {
        simd_i q[4];
        simd_rows16(w + 2, stride, q);
        put_values(p, g, q, table);
        simd_store(p->scale[g], simd_from_f16(simd_rows4(w, stride)));
    }
}

/* The scale of group g; head: d, two high bits of each, four low bits of each. */
INLINE simd_i xs_scale(const simd_i *head, int g)
{
    simd_i low = simd_i_and(simd_i_srl(head[1], 4 * g), simd_i_set1(15)), high = simd_i_srl(head[0], 16 + 2 * g);
    return simd_i_add(simd_i_or(low, simd_i_sll(simd_i_and(high, simd_i_set1(3)), 4)), simd_i_set1(-32));
}

static void unpack_iq4_xs(const tile_type *tt, const uint8_t *w, size_t stride, int groups, tile_panel *p)
{
    (void)tt;
    (void)groups;
    simd_i table = simd_table16(iq4_values, SIMD_OFFSET(128)), head[4];
    simd_rows16(w, stride, head);
    simd_f d = simd_from_f16(head[0]);
    UNROLL for (int g = 0; g < 8; g++) {
        simd_i q[4];
        simd_rows16(w + 8 + 16 * g, stride, q);
        put_values(p, g, q, table);
        simd_store(p->scale[g], simd_mul(d, simd_from_i(xs_scale(head, g))));
    }
}

/* 2^(e - 128) in every lane, also where that is subnormal. */
INLINE simd_f mx_scale(simd_i e)
{
    simd_i normal = simd_i_sll(simd_i_add(e, simd_i_set1(-1)), 23), sub = simd_i_sllv(simd_i_set1(0x00200000), e);
    return simd_from_bits(simd_i_select_lt(e, simd_i_set1(2), sub, normal));
}

static void unpack_mxfp4(const tile_type *tt, const uint8_t *w, size_t stride, int groups, tile_panel *p)
{
    (void)tt;
    simd_i table = simd_table16(fp4_values, SIMD_OFFSET(12));
    for (int g = 0; g < groups; g++, w += sizeof(mxfp4_block)) {
        simd_i q[4];
        simd_rows16(w + 1, stride, q);
        put_values(p, g, q, table);
        simd_store(p->scale[g], mx_scale(byte_of(simd_rows4(w, stride), 0)));
    }
}

/* The scales and minimums of Q4_K and Q5_K, a byte each: head is d and dmin, then twelve packed bytes. */
INLINE void k_bytes(const simd_i head[4], simd_i sc[2], simd_i mn[2])
{
    simd_i six = simd_i_set1(0x3f3f3f3f), four = simd_i_set1(0x0f0f0f0f), two = simd_i_set1(0x30303030);
    sc[0] = simd_i_and(head[1], six);
    mn[0] = simd_i_and(head[2], six);
    sc[1] = simd_i_or(simd_i_and(head[3], four), simd_i_and(simd_i_srl(head[1], 2), two));
    mn[1] = simd_i_or(simd_i_and(simd_i_srl(head[3], 4), four), simd_i_and(simd_i_srl(head[2], 2), two));
}

INLINE void k_scales(tile_panel *p, const simd_i head[4])
{
    simd_f d = simd_from_f16(head[0]), dmin = simd_from_f16(simd_i_srl(head[0], 16));
    simd_i sc[2], mn[2];
    k_bytes(head, sc, mn);
    UNROLL for (int g = 0; g < 8; g++) {
        simd_store(p->scale[g], simd_mul(d, simd_from_i(byte_of(sc[g / 4], g % 4))));
        simd_store(p->min[g], simd_mul(dmin, simd_from_i(byte_of(mn[g / 4], g % 4))));
    }
}

static void unpack_q4_k(const tile_type *tt, const uint8_t *w, size_t stride, int groups, tile_panel *p)
{
    (void)tt;
    (void)groups;
    simd_i head[4];
    simd_rows16(w, stride, head);
    k_scales(p, head);
    for (int k = 0; k < 8; k++) {                    /* 16 bytes: half of groups 2(k/2) and 2(k/2) + 1 */
        simd_i q[4];
        int step = 16 * (k / 2) + 4 * (k & 1);
        simd_rows16(w + 16 + 16 * k, stride, q);
        UNROLL for (int j = 0; j < 4; j++) {
            put(p, step + j, low4(q[j]), 0);
            put(p, step + 8 + j, high4(q[j]), 0);
        }
    }
}

INLINE simd_i k5_bit(simd_i code, simd_i high, int bit) { return simd_i_or(code, simd_i_sll(bit1(high, bit), 4)); }

static void unpack_q5_k(const tile_type *tt, const uint8_t *w, size_t stride, int groups, tile_panel *p)
{
    (void)tt;
    (void)groups;
    simd_i head[4], high[8];
    simd_rows16(w, stride, head);
    k_scales(p, head);
    simd_rows16(w + 16, stride, high);
    simd_rows16(w + 32, stride, high + 4);
    UNROLL for (int k = 0; k < 8; k++) {
        simd_i q[4];
        int step = 16 * (k / 2) + 4 * (k & 1), bit = 2 * (k / 2);
        simd_rows16(w + 48 + 16 * k, stride, q);
        UNROLL for (int j = 0; j < 4; j++) {
            simd_i h = high[4 * (k & 1) + j];
            put(p, step + j, k5_bit(low4(q[j]), h, bit), 0);
            put(p, step + 8 + j, k5_bit(high4(q[j]), h, bit + 1), 0);
        }
    }
}

static void unpack_q6_k(const tile_type *tt, const uint8_t *w, size_t stride, int groups, tile_panel *p)
{
    (void)tt;
    (void)groups;
    simd_i scales[4];
    simd_f d = simd_from_f16(simd_rows4_high(w + 206, stride));
    simd_rows16(w + 192, stride, scales);
    UNROLL for (int g = 0; g < 16; g++) simd_store(p->scale[g], simd_mul(d, simd_from_i(sbyte_of(scales[g / 4], g % 4))));
    for (int half = 0; half < 2; half++)
        for (int part = 0; part < 2; part++) {       /* elements 16 part .. 16 part + 15 of four groups */
            simd_i a[4], b[4], h[4];
            int step = 32 * half + 4 * part;
            simd_rows16(w + 64 * half + 16 * part, stride, a);
            simd_rows16(w + 64 * half + 32 + 16 * part, stride, b);
            simd_rows16(w + 128 + 32 * half + 16 * part, stride, h);
            UNROLL for (int j = 0; j < 4; j++) {
                put(p, step + j, simd_i_or(low4(a[j]), simd_i_sll(bits2(h[j], 0), 4)), 32);
                put(p, step + 8 + j, simd_i_or(low4(b[j]), simd_i_sll(bits2(h[j], 2), 4)), 32);
                put(p, step + 16 + j, simd_i_or(high4(a[j]), simd_i_sll(bits2(h[j], 4), 4)), 32);
                put(p, step + 24 + j, simd_i_or(high4(b[j]), simd_i_sll(bits2(h[j], 6), 4)), 32);
            }
        }
}

static void unpack_q2_k(const tile_type *tt, const uint8_t *w, size_t stride, int groups, tile_panel *p)
{
    (void)tt;
    (void)groups;
    simd_i scales[4], head = simd_rows4(w + 80, stride);
    simd_f d = simd_from_f16(head), dmin = simd_from_f16(simd_i_srl(head, 16));
    simd_rows16(w, stride, scales);
    UNROLL for (int g = 0; g < 16; g++) {
        simd_i v = byte_of(scales[g / 4], g % 4);
        simd_store(p->scale[g], simd_mul(d, simd_from_i(simd_i_and(v, simd_i_set1(15)))));
        simd_store(p->min[g], simd_mul(dmin, simd_from_i(simd_i_srl(v, 4))));
    }
    for (int k = 0; k < 4; k++) {                    /* 16 bytes: half of four groups */
        simd_i q[4];
        int step = 32 * (k / 2) + 4 * (k & 1);
        simd_rows16(w + 16 + 16 * k, stride, q);
        UNROLL for (int g = 0; g < 4; g++)
            UNROLL for (int j = 0; j < 4; j++) put(p, step + 8 * g + j, bits2(q[j], 2 * g), 0);
    }
}

static void unpack_q3_k(const tile_type *tt, const uint8_t *w, size_t stride, int groups, tile_panel *p)
{
    (void)tt;
    (void)groups;
    simd_i s[4], high[8];
    simd_f d = simd_from_f16(simd_rows4_high(w + 106, stride));
    simd_rows16(w + 92, stride, s);                  /* s[1..3]: the twelve packed bytes */
    UNROLL for (int g = 0; g < 16; g++) {
        simd_i low = simd_i_srl(s[1 + (g / 4 & 1)], 8 * (g % 4) + 4 * (g / 8)), top = simd_i_srl(s[3], 8 * (g % 4) + 2 * (g / 4));
        simd_i six = simd_i_or(simd_i_and(low, simd_i_set1(15)), simd_i_sll(simd_i_and(top, simd_i_set1(3)), 4));
        simd_store(p->scale[g], simd_mul(d, simd_from_i(simd_i_add(six, simd_i_set1(-32)))));
    }
    simd_rows16(w, stride, high);
    simd_rows16(w + 16, stride, high + 4);
    UNROLL for (int k = 0; k < 4; k++) {
        simd_i q[4];
        int step = 32 * (k / 2) + 4 * (k & 1);
        simd_rows16(w + 32 + 16 * k, stride, q);
        UNROLL for (int g = 0; g < 4; g++)
            UNROLL for (int j = 0; j < 4; j++) {
                simd_i h = simd_i_sll(bit1(high[4 * (k & 1) + j], 4 * (k / 2) + g), 2);
                put(p, step + 8 * g + j, simd_i_or(bits2(q[j], 2 * g), h), 4);
            }
    }
}

/* Rare types: each row through plain C (unpack_row.c), then turned. */
static void unpack_by_row(const tile_type *tt, const uint8_t *w, size_t stride, int groups, tile_panel *p)
{
    uint8_t rows[TILE_R][256];
    for (int r = 0; r < TILE_R; r++) {
        float scale[16];
        unpack_row(tt->type, w + (size_t)r * stride, groups, rows[r], scale);
        for (int g = 0; g < 2 * groups; g++) p->scale[g][r] = scale[g];
    }
    for (int k = 0; k < 2 * groups; k++) {
        simd_i q[4];
        simd_rows16(rows[0] + 16 * k, sizeof rows[0], q);
        UNROLL for (int j = 0; j < 4; j++) put(p, 4 * k + j, q[j], tt->offset);
    }
}

#include "kern/tile_direct.h"
#include "kern/tile_few.h"

/* ---- the types ---------------------------------------------------------------------------------------------- */

/* Kinds of panel: letter S (scale), M (scale and minimum), W (codes of all eight bits); group; steps whose sum fits
 * 16 bits.  A family whose dot product does not go through 16 bits uses one kind for all depths. */
TILE_MICRO(s32_8, 32, 0, 0, 8)
TILE_MICRO(m32_8, 32, 1, 0, 8)
TILE_MICRO(s16_2, 16, 0, 0, 2)
TILE_MICRO(m16_4, 16, 1, 0, 4)
#if SIMD_DOT16
TILE_MICRO(s32_4, 32, 0, 0, 4)
TILE_MICRO(m32_4, 32, 1, 0, 4)
TILE_MICRO(w32_1, 32, 0, 1, 1)
TILE_MICRO(s16_1, 16, 0, 0, 1)
#else
#define s32_4 s32_8
#define m32_4 m32_8
#define w32_1 s32_8
#define s16_1 s16_2
#endif

/* type, bytes of 256 columns, offset, group, minimum, unpack, kind, without panels */
#define TILE_TYPES(X) \
    X(Q4_0, 144, 8, 32, false, unpack_q4_0, s32_8, direct_q4_0_by) \
    X(Q4_1, 160, 0, 32, true, unpack_q4_1, m32_8, direct_q4_1_by) \
    X(Q5_0, 176, 16, 32, false, unpack_q5_0, s32_4, direct_q5_0_by) \
    X(Q5_1, 192, 0, 32, true, unpack_q5_1, m32_4, direct_q5_1_by) \
    X(Q8_0, 272, 128, 32, false, unpack_q8_0, w32_1, direct_q8_0_by) \
    X(IQ4_NL, 144, 128, 32, false, unpack_iq4_nl, w32_1, direct_iq4_nl_by) \
    X(IQ4_XS, 136, 128, 32, false, unpack_iq4_xs, w32_1, direct_iq4_xs_by) \
    X(MXFP4, 136, 12, 32, false, unpack_mxfp4, s32_4, direct_mxfp4_by) \
    X(Q4_K, 144, 0, 32, true, unpack_q4_k, m32_8, direct_q4_k_by) \
    X(Q5_K, 176, 0, 32, true, unpack_q5_k, m32_4, direct_q5_k_by) \
    X(Q6_K, 210, 32, 16, false, unpack_q6_k, s16_2, direct_q6_k_by) \
    X(Q2_K, 84, 0, 16, true, unpack_q2_k, m16_4, NULL) \
    X(Q3_K, 110, 4, 16, false, unpack_q3_k, s16_2, NULL) \
    X(NVFP4, 144, 12, 16, false, unpack_by_row, s16_2, NULL) \
    X(Q1_0, 36, 1, 16, false, unpack_by_row, s16_2, NULL) \
    X(Q2_0, 72, 1, 16, false, unpack_by_row, s16_2, NULL) \
    X(TQ1_0, 54, 1, 16, false, unpack_by_row, s16_2, NULL) \
    X(TQ2_0, 66, 1, 16, false, unpack_by_row, s16_2, NULL) \
    X(IQ1_S, 50, 9, 16, false, unpack_by_row, s16_2, NULL) \
    X(IQ1_M, 56, 9, 16, false, unpack_by_row, s16_2, NULL) \
    X(IQ2_XXS, 66, 43, 16, false, unpack_by_row, s16_1, NULL) \
    X(IQ2_XS, 74, 43, 16, false, unpack_by_row, s16_1, NULL) \
    X(IQ2_S, 82, 43, 16, false, unpack_by_row, s16_1, NULL) \
    X(IQ3_XXS, 98, 62, 16, false, unpack_by_row, s16_1, NULL) \
    X(IQ3_S, 110, 15, 16, false, unpack_by_row, s16_2, NULL)

#define TILE_ENTRY(T_, bytes_, offset_, group_, min_, unpack_, micro_, direct_)                                          \
    static void mul_##T_(const void *w, size_t row_bytes, int64_t rows, int64_t cols, const void *x, size_t x_bytes, int64_t T, \
                         float *y, int64_t y_stride, const void *next, void *scratch)                                    \
    {                                                                                                                    \
        static const tile_type tt = {DTYPE_##T_, bytes_, offset_, group_, min_, unpack_, micro_, direct_};                \
        tile_mul(&tt, w, row_bytes, rows, cols, x, x_bytes, T, y, y_stride, next, scratch);                              \
    }
TILE_TYPES(TILE_ENTRY)

static void tile_fill(kern *k, const char *family)
{
#define TILE_SET(T_, ...) k->fast[DTYPE_##T_] = (kern_mul){.act = KERN_ACT_Q8, .mul = mul_##T_}; k->family[DTYPE_##T_] = family;
    TILE_TYPES(TILE_SET)
}

#endif
