/* Products with one to three tokens: codes go from the file to the dot product in registers, without a panel.
 * Included after tile.h, once in each family, by tile_unpack.h, whose helpers it uses.
 *
 * The result is the panel's, bit for bit: a group's integer sum is exact in any order, and its place in the chain of
 * fma (tile.h) is the same.
 *
 * The blocks of 256 columns are read as one run of 16 bytes a step, whatever their size.  Codes that start s bytes
 * before a dword (18 bytes: s is 2 in every second block, 17 bytes: 3, 2, 1, 0 in turn) leave two dwords in part to
 * their neighbours, the first and the last.  Those parts make one dword, the first s codes behind the last 4 - s;
 * activations in that order are direct_prep.split.  The dwords between meet activations at any byte. */
#ifndef FC_KERN_TILE_DIRECT_H
#define FC_KERN_TILE_DIRECT_H

/* isum += codes * activations, step s of the `steps` of a group. */
INLINE void direct_dot(simd_i *isum, simd_i *part, simd_i code, const void *x, int s, int steps, bool wide, int depth)
{
#if SIMD_DOT16
    simd_i v = simd_i_set1_mem(x);
    v = simd_mul8_pairs(wide ? simd_abs8(code) : code, wide ? simd_sign8(v, code) : v);
    *part = s % depth ? simd_add16(*part, v) : v;
    if (s % depth == depth - 1 || s == steps - 1) *isum = simd_i_add(*isum, simd_sum16_pairs(*part));
#else
    (void)part, (void)s, (void)steps, (void)wide, (void)depth;
    *isum = simd_dot(*isum, code, x);
#endif
}

typedef struct direct_in {
    const kern_q8 *x[SIMD_FEW];
    const direct_prep *prep[SIMD_FEW];
    const uint8_t *soon;          /* as many bytes as 256 columns of a tile have */
    const uint8_t *near;          /* the next 256 columns; NULL: in L1 already */
    size_t stride;                /* from row to row there */
} direct_in;

/* Columns 256 c and on, of `bytes` a row. */
INLINE direct_in direct_in_at(const uint8_t *w, size_t stride, const uint8_t *soon, int64_t c, int64_t chunks, size_t bytes)
{
    const uint8_t *next = c + 1 < chunks ? w + (size_t)(c + 1) * bytes : w + TILE_R * stride;
    return (direct_in){.soon = soon ? soon + (size_t)c * bytes * TILE_R : NULL, .near = soon ? next : NULL, .stride = stride};
}

/* Asks for part i of n of what is wanted soon: a little at a time, or requests would be dropped and this tile's loads would wait.  Near:
 * the columns of the same rows that come next, from L2 into L1. */
INLINE void direct_ask(const direct_in *in, int bytes, int i, int n)
{
    const int lines = (bytes * TILE_R + 63) / 64, row_lines = (bytes + 63) / 64;
    if (in->soon)
        for (int line = lines * i / n; line < lines * (i + 1) / n; line++) __builtin_prefetch(in->soon + 64 * line, 0, 2);
    for (int k = TILE_R * row_lines * i / n; in->near && k < TILE_R * row_lines * (i + 1) / n; k++)
        __builtin_prefetch(in->near + (size_t)(k / row_lines) * in->stride + k % row_lines * 64, 0, 3);
}

#define EACH_T UNROLL for (int t = 0; t < nt; t++)

/* A type whose groups of 32 are one after the other. */
typedef struct direct_form {
    dtype type;
    int   bytes;                  /* of 256 columns */
    int   head;                   /* of them before the first group (IQ4_XS) */
    int   codes;                  /* bytes of a group's codes, at its end: 16 (low nibbles first) or 32 */
    bool  five, min, wide;        /* 32 fifth bits before the codes; f16 minimum after the scale; panel of kind W */
    int   offset, depth;          /* of the panel */
    const int8_t *values;         /* of the nibbles; NULL: themselves */
} direct_form;

/* One dword of every row: four codes, or eight in nibbles (low ones first, high ones 16 columns later).  x[t] and y[t]
 * are their activations. */
INLINE void direct_dword(const direct_form f, int nt, simd_i v, simd_i table, simd_i fifth, int s, simd_i isum[SIMD_FEW],
                         simd_i part[SIMD_FEW], const void *const x[SIMD_FEW], const void *const y[SIMD_FEW])
{
    if (f.codes == 16) {
        simd_i low = low4(v), high = high4(v);
        if (f.five) {
            low = simd_or_bits(low, fifth, s, 16);
            high = simd_or_bits(high, fifth, s + 4, 16);
        }
        low = f.values ? simd_lookup16(table, low) : SIMD_CODE(low, f.offset);
        high = f.values ? simd_lookup16(table, high) : SIMD_CODE(high, f.offset);
        EACH_T direct_dot(&isum[t], &part[t], low, x[t], 2 * s, 8, f.wide, f.depth);
        EACH_T direct_dot(&isum[t], &part[t], high, y[t], 2 * s + 1, 8, f.wide, f.depth);
    } else {
        simd_i code = SIMD_CODE(simd_i_xor(v, simd_i_set1((int)0x80808080)), 128);
        EACH_T direct_dot(&isum[t], &part[t], code, x[t], s, 8, true, 1);
    }
}

/* Dwords 4 step .. 4 step + 3 of every row; the last step of 136 bytes reads some of them again. */
INLINE void direct_read(const uint8_t *w, size_t stride, int bytes, int step, simd_i d[16])
{
    const int at = MIN(16 * step, bytes - 16);
    simd_i q[4];
    simd_rows16(w + at, stride, q);
    UNROLL for (int j = 0; j < 4; j++)
        if (at / 4 + j >= 4 * step) d[(at / 4 + j) % 16] = q[j];
}

INLINE simd_f direct_scale(const direct_form f, int g, const simd_i d[16], simd_f d256, const simd_i *head)
{
    const int first = f.bytes / 8 * g;
    if (f.head) return simd_mul(d256, simd_from_i(xs_scale(head, g)));
    if (f.type == DTYPE_MXFP4) return mx_scale(byte_of(d[first / 4 % 16], first % 4));
    return simd_from_f16(first % 4 ? simd_i_srl(d[first / 4 % 16], 16) : d[first / 4 % 16]);
}

/* The 32 fifth bits, in the order of the codes' dwords: both halves begin with bit s. */
INLINE simd_i direct_fifth(int first, int s, const simd_i d[16])
{
    simd_i v = d[first / 4 % 16];
    if (first % 4) v = simd_halves(simd_i_srl(v, 16), simd_i_sll(d[(first / 4 + 1) % 16], 16));
    if (!s) return v;
    int low = 0xffff >> s, keep = low | (int)((unsigned)low << 16);
    return simd_i_or(simd_i_and(simd_i_srl(v, s), simd_i_set1(keep)), simd_i_and(simd_i_sll(v, 16 - s), simd_i_set1(~keep)));
}

/* 256 columns of a type of such a form. */
INLINE void direct_groups(const direct_form f, const uint8_t *w, size_t stride, int nt, const direct_in *in, simd_f acc[SIMD_FEW])
{
    const int n = f.codes / 4;
    int ready = 0;                                   /* dwords read so far; the last 16 are kept */
    simd_i d[16], table = simd_i_set1(0), head[2];
    simd_f d256 = simd_set1(0);
    if (f.values) table = simd_table16(f.values, SIMD_OFFSET(f.offset));
    UNROLL for (int g = 0; g < 8; g++) {
        const int end = f.head + (f.bytes - f.head) / 8 * (g + 1), codes = end - f.codes, s = (4 - codes % 4) % 4, k = (codes + s) / 4;
        UNROLL for (int need = 0; need < 4; need++)
            if (4 * ready < end) direct_read(w, stride, f.bytes, ready / 4, d), ready += 4;
        if (f.head && g == 0) {
            head[0] = d[0];
            head[1] = d[1];
            d256 = simd_from_f16(d[0]);
        }
        simd_i isum[SIMD_FEW], part[SIMD_FEW], fifth = table;
        if (f.five) fifth = direct_fifth(codes - 4, s, d);
        EACH_T isum[t] = part[t] = simd_i_set1(in->prep[t]->init[g]);
        UNROLL for (int i = 0; i < n; i++) {
            direct_ask(in, f.bytes, n * g + i, 8 * n);
            simd_i v = d[(k + i) % 16];
            const void *x[SIMD_FEW], *y[SIMD_FEW];
            EACH_T x[t] = in->x[t]->q + 32 * g + 4 * i + s;
            EACH_T y[t] = (const int8_t *)x[t] + 16;
            if (s && i == n - 1) {
                const simd_i first = simd_i_set1((int)(0xffffffffu << (32 - 8 * s)));
                v = s == 2 ? simd_halves(v, d[(k - 1) % 16]) : simd_i_select(first, d[(k - 1) % 16], v);
                EACH_T x[t] = &in->prep[t]->split[2 * g];
                EACH_T y[t] = &in->prep[t]->split[2 * g + 1];
            }
            direct_dword(f, nt, v, table, fifth, i, isum, part, x, y);
        }
        simd_f scale = direct_scale(f, g, d, d256, head);
        EACH_T acc[t] = simd_fma(simd_mul(simd_from_i(isum[t]), scale), simd_set1(in->x[t]->d[g]), acc[t]);
        if (f.min) {
            simd_f min = simd_neg(simd_from_f16(simd_i_srl(d[f.bytes / 32 * g % 16], 16)));
            EACH_T acc[t] = simd_fnma(min, simd_set1(in->prep[t]->sx[g]), acc[t]);
        }
    }
}

/* type, bytes of 256 columns, head, code bytes, fifth bits, minimum, wide, offset, depth, values */
#define DIRECT_FORMS(X) \
    X(q4_0, Q4_0, 144, 0, 16, false, false, false, 8, 8, NULL) \
    X(q4_1, Q4_1, 160, 0, 16, false, true, false, 0, 8, NULL) \
    X(q5_0, Q5_0, 176, 0, 16, true, false, false, 16, 4, NULL) \
    X(q5_1, Q5_1, 192, 0, 16, true, true, false, 0, 4, NULL) \
    X(q8_0, Q8_0, 272, 0, 32, false, false, true, 128, 1, NULL) \
    X(iq4_nl, IQ4_NL, 144, 0, 16, false, false, true, 128, 1, iq4_values) \
    X(iq4_xs, IQ4_XS, 136, 8, 16, false, false, true, 128, 1, iq4_values) \
    X(mxfp4, MXFP4, 136, 0, 16, false, false, false, 12, 4, fp4_values)
#define DIRECT_FORM(name, T_, ...)                                                                                        \
    INLINE void direct_##name(const uint8_t *w, size_t stride, int nt, const direct_in *in, simd_f acc[SIMD_FEW])         \
    {                                                                                                                     \
        const direct_form f = {DTYPE_##T_, __VA_ARGS__};                                                                  \
        direct_groups(f, w, stride, nt, in, acc);                                                                         \
    }
DIRECT_FORMS(DIRECT_FORM)

/* What stands before the codes of 256 columns: Q4_K; five: Q5_K. */
typedef struct k45_head {
    simd_f d, dmin;
    simd_i sc[2], mn[2], fifth[8];
} k45_head;

INLINE k45_head k45_read(bool five, const uint8_t *w, size_t stride)
{
    k45_head h;
    simd_i head[4];
    simd_rows16(w, stride, head);
    h.d = simd_from_f16(head[0]);
    h.dmin = simd_from_f16(simd_i_srl(head[0], 16));
    k_bytes(head, h.sc, h.mn);
    if (five) {
        simd_rows16(w + 16, stride, h.fifth);
        simd_rows16(w + 32, stride, h.fifth + 4);
    }
    return h;
}

/* acc += the sums of group g, scaled, less their minimum. */
INLINE void k45_add(const k45_head *h, int g, int nt, const direct_in *in, const simd_i isum[SIMD_FEW], simd_f acc[SIMD_FEW])
{
    simd_f scale = simd_mul(h->d, simd_from_i(byte_of(h->sc[g / 4], g % 4))), min = simd_mul(h->dmin, simd_from_i(byte_of(h->mn[g / 4], g % 4)));
    EACH_T {
        acc[t] = simd_fma(simd_mul(simd_from_i(isum[t]), scale), simd_set1(in->x[t]->d[g]), acc[t]);
        acc[t] = simd_fnma(min, simd_set1(in->prep[t]->sx[g]), acc[t]);
    }
}

INLINE void direct_k45(bool five, const uint8_t *w, size_t stride, int nt, const direct_in *in, simd_f acc[SIMD_FEW])
{
    const int depth = five ? 4 : 8;
    const k45_head h = k45_read(five, w, stride);
    UNROLL for (int i = 0; i < 4; i++) {             /* 32 bytes: groups 2i (low nibbles) and 2i + 1 */
        simd_i isum[2][SIMD_FEW], part[2][SIMD_FEW];
        UNROLL for (int b = 0; b < 2; b++) EACH_T isum[b][t] = part[b][t] = simd_i_set1(0);
        UNROLL for (int k = 0; k < 2; k++) {
            simd_i q[4];
            simd_rows16(w + (five ? 48 : 16) + 32 * i + 16 * k, stride, q);
            UNROLL for (int j = 0; j < 4; j++) {
                direct_ask(in, five ? 176 : 144, 8 * i + 4 * k + j, 32);
                simd_i low = low4(q[j]), high = high4(q[j]);
                if (five) {
                    low = k5_bit(low, h.fifth[4 * k + j], 2 * i);
                    high = k5_bit(high, h.fifth[4 * k + j], 2 * i + 1);
                }
                EACH_T direct_dot(&isum[0][t], &part[0][t], low, in->x[t]->q + 64 * i + 16 * k + 4 * j, 4 * k + j, 8, false, depth);
                EACH_T direct_dot(&isum[1][t], &part[1][t], high, in->x[t]->q + 64 * i + 32 + 16 * k + 4 * j, 4 * k + j, 8, false, depth);
            }
        }
        UNROLL for (int b = 0; b < 2; b++) k45_add(&h, 2 * i + b, nt, in, isum[b], acc);
    }
}

INLINE void direct_q4_k(const uint8_t *w, size_t stride, int nt, const direct_in *in, simd_f acc[SIMD_FEW]) { direct_k45(false, w, stride, nt, in, acc); }
INLINE void direct_q5_k(const uint8_t *w, size_t stride, int nt, const direct_in *in, simd_f acc[SIMD_FEW]) { direct_k45(true, w, stride, nt, in, acc); }

INLINE void direct_q6_k(const uint8_t *w, size_t stride, int nt, const direct_in *in, simd_f acc[SIMD_FEW])
{
    simd_i scales[4];
    simd_f d = simd_from_f16(simd_rows4_high(w + 206, stride));
    simd_rows16(w + 192, stride, scales);
    UNROLL for (int half = 0; half < 2; half++) {
        simd_f f[4][SIMD_FEW];
        UNROLL for (int part = 0; part < 2; part++) {        /* columns 16 part .. 16 part + 15 of four groups */
            simd_i a[4], b[4], h[4];
            simd_rows16(w + 64 * half + 16 * part, stride, a);
            simd_rows16(w + 64 * half + 32 + 16 * part, stride, b);
            simd_rows16(w + 128 + 32 * half + 16 * part, stride, h);
            UNROLL for (int g = 0; g < 4; g++) {
                const int k = 8 * half + 2 * g + part;       /* which 16 columns */
                simd_i isum[SIMD_FEW], sum16[SIMD_FEW];
                EACH_T isum[t] = simd_i_set1(in->prep[t]->init[k]), sum16[t] = isum[t];
                UNROLL for (int j = 0; j < 4; j++) {
                    direct_ask(in, 210, 32 * half + 16 * part + 4 * g + j, 64);
                    simd_i v = g % 2 ? b[j] : a[j];
                    v = SIMD_CODE(simd_i_or(g < 2 ? low4(v) : high4(v), simd_i_sll(bits2(h[j], 2 * g), 4)), 32);
                    EACH_T direct_dot(&isum[t], &sum16[t], v, in->x[t]->q + 16 * k + 4 * j, j, 4, false, 2);
                }
                simd_f scale = simd_mul(d, simd_from_i(sbyte_of(scales[k / 4], k % 4)));
                EACH_T f[g][t] = part ? simd_fma(simd_from_i(isum[t]), scale, f[g][t]) : simd_mul(simd_from_i(isum[t]), scale);
            }
        }
        UNROLL for (int g = 0; g < 4; g++) EACH_T acc[t] = simd_fma(f[g][t], simd_set1(in->x[t]->d[4 * half + g]), acc[t]);
    }
}

/* acc[t][row] = products of `chunks` times 256 columns of TILE_R rows; asks for as much of what is wanted soon. */
#define DIRECT_STEP(kind, NT, BYTES)                                                                                         \
    static void kind##_##NT(const uint8_t *w, size_t stride, int64_t chunks, const char *x, size_t x_bytes, const direct_prep *prep, \
                            const uint8_t *soon, float *out)                                                                   \
    {                                                                                                                     \
        simd_f acc[SIMD_FEW];                                                                                                \
        UNROLL for (int t = 0; t < NT; t++) acc[t] = simd_set1(0);                                                        \
        for (int64_t c = 0; c < chunks; c++) {                                                                            \
            direct_in in = direct_in_at(w, stride, soon, c, chunks, BYTES);                                                  \
            UNROLL for (int t = 0; t < NT; t++) {                                                                         \
                in.x[t] = (const kern_q8 *)(const void *)(x + (size_t)t * x_bytes) + c;                                   \
                in.prep[t] = prep + t * chunks + c;                                                                       \
            }                                                                                                             \
            kind(w + (size_t)c * BYTES, stride, NT, &in, acc);                                                            \
        }                                                                                                                 \
        UNROLL for (int t = 0; t < NT; t++) simd_store(out + t * TILE_R, acc[t]);                                         \
    }

#endif
