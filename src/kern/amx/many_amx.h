/* Products of many tokens on tiles of bf16 (kern_mul.many).
 *
 * The int8 tiles of tile_wide.h give integer sums of 32 columns that AVX-512 must scale, token by token; that work, not the tiles, sets
 * their pace.  With both factors as bf16 the tiles themselves add up all columns in f32.  What is left for the vectors is turning weights
 * into bf16, once for up to MANY_T tokens, and they do it while the tiles work: between the tile instructions of one panel stand pieces
 * of the next.
 *
 * A panel is 32 rows by 512 columns, 32 KB, and stays in L1; activations pass from L2, where a slice of 512 columns of all tokens
 * has room (512 KB); sums of 256 rows wait there too.  A step is four products: two tiles of rows by two groups of tokens. */
#ifndef FC_KERN_AMX_MANY_AMX_H
#define FC_KERN_AMX_MANY_AMX_H

#include "base/bits.h"
#include "kern/amx/lines_amx.h"
#include "kern/amx/words_amx.h"

enum {
    MANY_T = 512,                      /* tokens that share an unpacked panel */
    MANY_PANEL = 32,                   /* rows of a panel */
    MANY_LINES = KERN_MANY_COLS / LINE_COLS,
    MANY_PIECE = 256                   /* columns of one row that are unpacked at a time */
};

typedef struct many_type {
    int bytes;                         /* of MANY_PIECE columns */
    int parts;                         /* of the activations */
    lines_fn lines;
} many_type;

/* [half][line][16 rows][32 columns]: tiles as they are loaded */
typedef uint16_t many_panel[2 * MANY_LINES * LINE_STEP];
/* Sums of a panel and two groups of tokens: [half][group][row][token] */
typedef float many_sums[2][2][16][16];

typedef struct many_scratch {
    many_panel panel[2];
    many_sums sums[KERN_MANY_ROWS / MANY_PANEL][MANY_T / 2 / KERN_MANY_GROUP];
} many_scratch;

_Static_assert(sizeof(many_scratch) + KERN_SCRATCH_HEAD <= KERN_TILE_SCRATCH, "scratch");

typedef struct many_job {
    const many_type *type;
    const uint8_t *w, *next;           /* next: or NULL */
    size_t row_bytes;
    int64_t rows, cols, T;
    const char *x;
    size_t slice_bytes;                /* of x */
    float *y;
    int64_t y_stride;
} many_job;

/* ---- the order of panels -------------------------------------------------------------------------------------- */

/* Tokens from t on, rows of the block at `block`, columns of the slice, row of the panel. */
typedef struct many_place { int64_t t, block, slice, row; } many_place;

static bool many_done(const many_job *j, many_place p) { return p.t >= j->T; }

static many_place many_after(const many_job *j, many_place p)
{
    int64_t end = MIN(p.block + KERN_MANY_ROWS, j->rows);
    p.row += MANY_PANEL;
    if (p.row < end) return p;
    p.row = p.block;
    if (++p.slice * KERN_MANY_COLS < j->cols) return p;
    p.slice = 0;
    p.row = p.block = end;
    if (end < j->rows) return p;
    return (many_place){p.t + MANY_T, 0, 0, 0};
}

/* The last panel starts early, so that it is full. */
static int64_t many_first_row(const many_job *j, many_place p) { return MAX(MIN(p.row, j->rows - MANY_PANEL), 0); }
static int many_slice_lines(const many_job *j, many_place p) { return (int)(MIN(j->cols - p.slice * KERN_MANY_COLS, KERN_MANY_COLS) / LINE_COLS); }

/* ---- weights to panels ---------------------------------------------------------------------------------------- */

/* A panel that is unpacked piece by piece, and the bytes that the one after it will need. */
typedef struct many_ahead {
    const uint8_t *w, *later;          /* later: or NULL */
    size_t row_bytes;
    lines_fn unpack;
    int piece_bytes, rows, lines, pieces;      /* rows: fewer than a panel's are repeated; pieces: of a row */
    int at, count;                     /* done, in all */
    int64_t due, rate;                 /* count / steps, in 2^-16 */
    uint16_t *panel;
} many_ahead;

static const uint8_t *many_source(const many_job *j, many_place p)
{
    return j->w + (size_t)many_first_row(j, p) * j->row_bytes + (size_t)(p.slice * KERN_MANY_COLS / MANY_PIECE) * (size_t)j->type->bytes;
}

static many_ahead many_ahead_at(const many_job *j, many_place p, int64_t steps, uint16_t *panel)
{
    if (many_done(j, p)) return (many_ahead){.panel = panel};
    many_place after = many_after(j, p);
    int lines = many_slice_lines(j, p), pieces = (lines * LINE_COLS + MANY_PIECE - 1) / MANY_PIECE;
    many_ahead a = { .w = many_source(j, p), .row_bytes = j->row_bytes, .unpack = j->type->lines, .piece_bytes = j->type->bytes, .lines = lines,
                     .rows = (int)MIN(j->rows, MANY_PANEL), .pieces = pieces, .count = pieces * MANY_PANEL, .panel = panel };
    a.later = !many_done(j, after) ? many_source(j, after) : j->rows >= MANY_PANEL ? j->next : NULL;
    a.rate = ((int64_t)a.count << 16) / MAX(steps, 1) + 1;
    return a;
}

static void many_piece(many_ahead *a)
{
    int row = a->at / a->pieces, piece = a->at % a->pieces, line = piece * (MANY_PIECE / LINE_COLS);
    size_t at = (size_t)MIN(row, a->rows - 1) * a->row_bytes + (size_t)(piece * a->piece_bytes);
    uint16_t *out = a->panel + (row / 16 * a->lines + line) * LINE_STEP + row % 16 * LINE_COLS;
    a->unpack(a->w + at, MIN(a->lines - line, MANY_PIECE / LINE_COLS), out);
    if (a->later)
        for (int i = 0; i < a->piece_bytes; i += 64) __builtin_prefetch(a->later + at + i, 0, 2);
    a->at++;
}

/* What is due after one more step. */
static inline void many_step_ahead(many_ahead *a)
{
    for (a->due += a->rate; a->due >= 1 << 16 && a->at < a->count; a->due -= 1 << 16) many_piece(a);
}

static void many_rest(many_ahead *a)
{
    while (a->at < a->count) many_piece(a);
}

/* ---- products ------------------------------------------------------------------------------------------------- */

/* One panel and one or two groups of tokens. */
typedef struct many_block {
    const uint16_t *panel, *x[2];      /* x[1] NULL: one group */
    int lines, parts;
    bool first;                        /* of the slices: sums start at zero */
    many_sums *sums;
} many_block;

static void many_pair(const many_block *b, many_ahead *a)
{
    const uint16_t *w0 = b->panel, *w1 = w0 + b->lines * LINE_STEP, *x0 = b->x[0], *x1 = b->x[1];
    many_sums *s = b->sums;
    if (b->first) {
        amx_tilezero(0);
        amx_tilezero(1);
        amx_tilezero(2);
        amx_tilezero(3);
    } else {
        amx_tileloadd(0, (*s)[0][0], 64);
        amx_tileloadd(1, (*s)[0][1], 64);
        amx_tileloadd(2, (*s)[1][0], 64);
        amx_tileloadd(3, (*s)[1][1], 64);
    }
    for (int i = 0; i < b->lines; i++, w0 += LINE_STEP, w1 += LINE_STEP) {
        amx_tileloadd(4, w0, 64);
        amx_tileloadd(5, w1, 64);
        for (int k = 0; k < b->parts; k++, x0 += LINE_STEP, x1 += LINE_STEP) {
            amx_tileloaddt1(6, x0, 64);
            amx_tdpbf16ps(0, 4, 6);
            amx_tileloaddt1(7, x1, 64);
            amx_tdpbf16ps(1, 4, 7);
            amx_tdpbf16ps(2, 5, 6);
            amx_tdpbf16ps(3, 5, 7);
        }
        many_step_ahead(a);
    }
    amx_tilestored(0, (*s)[0][0], 64);
    amx_tilestored(1, (*s)[0][1], 64);
    amx_tilestored(2, (*s)[1][0], 64);
    amx_tilestored(3, (*s)[1][1], 64);
}

static void many_single(const many_block *b, many_ahead *a)
{
    const uint16_t *w0 = b->panel, *w1 = w0 + b->lines * LINE_STEP, *x = b->x[0];
    many_sums *s = b->sums;
    if (b->first) {
        amx_tilezero(0);
        amx_tilezero(2);
    } else {
        amx_tileloadd(0, (*s)[0][0], 64);
        amx_tileloadd(2, (*s)[1][0], 64);
    }
    for (int i = 0; i < b->lines; i++, w0 += LINE_STEP, w1 += LINE_STEP) {
        amx_tileloadd(4, w0, 64);
        amx_tileloadd(5, w1, 64);
        for (int k = 0; k < b->parts; k++, x += LINE_STEP) {
            amx_tileloaddt1(6, x, 64);
            amx_tdpbf16ps(0, 4, 6);
            amx_tdpbf16ps(2, 5, 6);
        }
        many_step_ahead(a);
    }
    amx_tilestored(0, (*s)[0][0], 64);
    amx_tilestored(2, (*s)[1][0], 64);
}

/* ---- turning -------------------------------------------------------------------------------------------------- */

/* Rows and columns of 16 by 16 lanes change places. */
SIMD_FN void many_turn(simd_i r[16])
{
    simd_i s[16];
    UNROLL for (int i = 0; i < 16; i += 2) {
        s[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        s[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    UNROLL for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(s[i], s[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(s[i], s[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(s[i + 1], s[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(s[i + 1], s[i + 3]);
    }
    UNROLL for (int i = 0; i < 4; i++) {
        s[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        s[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        s[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        s[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
    UNROLL for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_i32x4(s[i], s[i + 8], 0x88);
        r[i + 4] = _mm512_shuffle_i32x4(s[i + 4], s[i + 12], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(s[i], s[i + 8], 0xdd);
        r[i + 12] = _mm512_shuffle_i32x4(s[i + 4], s[i + 12], 0xdd);
    }
}

/* Sums of 16 rows and a group to y, `rows` and `tokens` of them. */
static void many_store(float sums[16][16], int rows, int tokens, float *y, int64_t y_stride)
{
    simd_i r[16];
    __mmask16 keep = (__mmask16)((1u << rows) - 1);
    UNROLL for (int i = 0; i < 16; i++) r[i] = simd_i_load(sums[i]);
    many_turn(r);
    if (tokens == 16) {
        UNROLL for (int i = 0; i < 16; i++) _mm512_mask_storeu_epi32(y + i * y_stride, keep, r[i]);
        return;
    }
    simd_i some[16];
    UNROLL for (int i = 0; i < 16; i++) some[i] = r[i];
    for (int i = 0; i < tokens; i++) _mm512_mask_storeu_epi32(y + i * y_stride, keep, some[i]);
}

static void many_store_block(const many_job *j, int64_t row, int64_t t, many_sums *s)
{
    for (int h = 0; h < 2; h++)
        for (int g = 0; g < 2; g++) {
            int64_t rows = MIN(j->rows - row - 16 * h, 16), tokens = MIN(j->T - t - 16 * g, 16);
            if (rows > 0 && tokens > 0) many_store((*s)[h][g], (int)rows, (int)tokens, j->y + (t + 16 * g) * j->y_stride + row + 16 * h, j->y_stride);
        }
}

/* ---- driver --------------------------------------------------------------------------------------------------- */

/* All tokens of a place pass over its panel; meanwhile the next one is unpacked. */
static void many_pass(const many_job *j, many_place p, const uint16_t *panel, many_ahead *a, many_scratch *s)
{
    bool last = (p.slice + 1) * KERN_MANY_COLS >= j->cols;
    int64_t end = MIN(p.t + MANY_T, j->T), row = many_first_row(j, p);
    size_t group = kern_many_slice(1, j->type->parts);
    many_sums *sums = s->sums[(p.row - p.block) / MANY_PANEL];
    many_block b = { .panel = panel, .lines = many_slice_lines(j, p), .parts = j->type->parts, .first = p.slice == 0, .sums = sums };
    const char *x = j->x + (size_t)p.slice * j->slice_bytes + (size_t)(p.t / KERN_MANY_GROUP) * group;
    for (int64_t t = p.t; t < end; t += 2 * KERN_MANY_GROUP, x += 2 * group, b.sums++) {
        b.x[0] = (const uint16_t *)(const void *)x;
        b.x[1] = t + KERN_MANY_GROUP < end ? (const uint16_t *)(const void *)(x + group) : NULL;
        if (b.x[1]) many_pair(&b, a);
        else many_single(&b, a);
        if (last) many_store_block(j, row, t, b.sums);
    }
    many_rest(a);
}

static void many_mul(const many_type *type, const void *w, size_t row_bytes, int64_t rows, int64_t cols, const void *x, size_t slice_bytes,
                     int64_t T, float *y, int64_t y_stride, const void *next, void *scratch)
{
    static const amx_shapes shapes = { .palette = 1, .row_bytes = { 64, 64, 64, 64, 64, 64, 64, 64 }, .rows = { 16, 16, 16, 16, 16, 16, 16, 16 } };
    many_scratch *s = (void *)((uint8_t *)scratch + KERN_SCRATCH_HEAD);
    many_job j = { type, w, next, row_bytes, rows, cols, T, x, slice_bytes, y, y_stride };
    many_place p = { 0, 0, 0, 0 };
    int now = 0;
    many_ahead a = many_ahead_at(&j, p, 1, s->panel[0]);
    many_rest(&a);
    amx_ldtilecfg(&shapes);
    for (; !many_done(&j, p); p = many_after(&j, p), now = !now) {
        int64_t steps = (MIN(T - p.t, MANY_T) + 2 * KERN_MANY_GROUP - 1) / (2 * KERN_MANY_GROUP) * many_slice_lines(&j, p);
        a = many_ahead_at(&j, many_after(&j, p), steps, s->panel[!now]);
        many_pass(&j, p, s->panel[now], &a, s);
    }
    amx_tilerelease();
}

/* ---- activations ---------------------------------------------------------------------------------------------- */

SIMD_FN simd_f many_left(simd_f v, __m256i rounded) { return simd_sub(v, simd_from_bits(simd_i_sll(_mm512_cvtepu16_epi32(rounded), 16))); }

/* Numbers c .. c + 31 of a row as bf16 in pairs, after `part` roundings what they left. */
SIMD_FN simd_i many_round(const float *x, int64_t c, int64_t n, int part)
{
    simd_f low = n - c >= 16 ? simd_load(x + c) : simd_load_n(x + c, n - c);
    simd_f high = n - c >= 32 ? simd_load(x + c + 16) : n - c > 16 ? simd_load_n(x + c + 16, n - c - 16) : simd_set1(0);
    simd_i v = lines_bf16_pair(low, high);
    for (int i = 0; i < part; i++) {
        low = many_left(low, _mm512_castsi512_si256(v));
        high = many_left(high, _mm512_extracti64x4_epi64(v, 1));
        v = lines_bf16_pair(low, high);
    }
    return v;
}

static void many_pack(const float *const x[KERN_MANY_GROUP], int64_t n, int parts, void *out, size_t slice_bytes)
{
    for (int64_t s = 0; s * KERN_MANY_COLS < n; s++) {
        uint8_t *to = (uint8_t *)out + (size_t)s * slice_bytes;
        for (int64_t c = s * KERN_MANY_COLS; c < MIN((s + 1) * KERN_MANY_COLS, n); c += LINE_COLS)
            for (int part = 0; part < parts; part++, to += LINE_STEP * sizeof(uint16_t)) {
                simd_i r[16];
                UNROLL for (int t = 0; t < 16; t++) r[t] = x[t] ? many_round(x[t], c, n, part) : simd_i_set1(0);
                many_turn(r);
                UNROLL for (int t = 0; t < 16; t++) simd_i_store(to + 64 * t, r[t]);
            }
    }
}

/* ---- the types ------------------------------------------------------------------------------------------------ */

/* type, bytes of 256 columns, parts, lines */
#define MANY_TYPES(X) \
    X(Q4_0, 144, 1, lines_q4_0) X(Q4_1, 160, 1, lines_q4_1) X(Q5_0, 176, 1, lines_q5_0) X(Q5_1, 192, 1, lines_q5_1) \
    X(Q8_0, 272, 1, lines_q8_0) X(IQ4_NL, 144, 1, lines_iq4_nl) X(IQ4_XS, 136, 1, lines_iq4_xs) X(MXFP4, 136, 1, lines_mxfp4) \
    X(Q4_K, 144, 1, lines_q4_k) X(Q5_K, 176, 1, lines_q5_k) X(Q6_K, 210, 1, lines_q6_k) X(BF16, 512, KERN_MANY_PARTS, lines_bf16_as_is) \
    MANY_DECODED(X)
#define MANY_DECODED(X) \
    X(Q2_K, 84, 1, lines_Q2_K) X(Q3_K, 110, 1, lines_Q3_K) X(NVFP4, 144, 1, lines_NVFP4) X(Q1_0, 36, 1, lines_Q1_0) X(Q2_0, 72, 1, lines_Q2_0) \
    X(TQ1_0, 54, 1, lines_TQ1_0) X(TQ2_0, 66, 1, lines_TQ2_0) X(IQ1_S, 50, 1, lines_IQ1_S) X(IQ1_M, 56, 1, lines_IQ1_M) \
    X(IQ2_XXS, 66, 1, lines_IQ2_XXS) X(IQ2_XS, 74, 1, lines_IQ2_XS) X(IQ2_S, 82, 1, lines_IQ2_S) X(IQ3_XXS, 98, 1, lines_IQ3_XXS) \
    X(IQ3_S, 110, 1, lines_IQ3_S)

#define MANY_LINES_OF(T_, ...) static void lines_##T_(const uint8_t *w, int n, uint16_t *out) { lines_decoded(DTYPE_##T_, w, n, out); }
MANY_DECODED(MANY_LINES_OF)

#define MANY_ENTRY(T_, bytes_, parts_, lines_)                                                                                 \
    static void many_##T_(const void *w, size_t row_bytes, int64_t rows, int64_t cols, const void *x, size_t x_bytes, int64_t T, \
                          float *y, int64_t y_stride, const void *next, void *scratch)                                         \
    {                                                                                                                          \
        static const many_type type = {bytes_, parts_, lines_};                                                                \
        many_mul(&type, w, row_bytes, rows, cols, x, x_bytes, T, y, y_stride, next, scratch);                                  \
    }
MANY_TYPES(MANY_ENTRY)

static void many_fill(kern *k)
{
    k->pack_many = many_pack;
#define MANY_SET(T_, bytes_, parts_, lines_) k->fast[DTYPE_##T_].many = many_##T_; k->fast[DTYPE_##T_].many_parts = parts_;
    MANY_TYPES(MANY_SET)
}

#endif
