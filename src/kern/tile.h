/* Products of quantised weights and int8 activations, the part that all families share.  A family's mul_<isa>.c
 * includes its simd_<isa>.h, then this file once.
 *
 * Rows lie in vector lanes: a tile is R weight rows (R: 32-bit lanes of a vector), and a step is one vector with four
 * neighbouring codes of each of them.  One broadcast of four activation codes then meets R rows, nothing is ever
 * summed across lanes, and y[t][r] sees the same operations in the same order whatever T is and whatever rows its
 * tile shares: for every group of 32, in order,
 *
 *     acc = fma((float)isum * scale, d_x, acc)        isum: exact integer sum of code * activation code
 *     acc = fma(-min, d_x * sum_x, acc)               types with a minimum
 *
 * (groups of 16: both halves are scaled and added before the multiplication by d_x).
 *
 * Weights come straight from the file.  For every 256 columns the tiles of a block of rows are turned into panels
 * that stay in L1 (tile_unpack.h), and all tokens pass over them; running sums wait in scratch meanwhile. */
#ifndef FC_KERN_TILE_H
#define FC_KERN_TILE_H

#include "base/bits.h"
#include "kern/kern_int.h"

#ifndef SIMD_TILES
#define SIMD_TILES 0              /* no tile registers */
#endif

enum {
    TILE_R = SIMD_LANES,          /* rows of a tile */
    TILE_WIDE_T = 16,             /* tokens that tile registers take at once (tile_wide.h) */
    TILE_NT = SIMD_TILES ? TILE_WIDE_T : SIMD_NT,
    TILE_BLOCK = 64 / TILE_R,     /* tiles unpacked together when there are many tokens */
    TILE_T = 256,                 /* tokens that pass over a panel before the next rows */
    DIRECT_T = KERN_FEW,          /* tokens that need no panels (tile_direct.h) */
    DIRECT_PREP = 256,            /* their chunks, all together, that scratch has room for */
    TILE_AHEAD = 28 << 10,        /* bytes from a tile to the one that is fetched meanwhile, when there are no panels */
    FEW_STEPS = SIMD_FEW / 2 - 1, /* 4, 6 and 8 tokens have a step of their own, as far as registers go (tile_few.h) */
    FEW_MOST = FEW_STEPS == 0 ? DIRECT_T : SIMD_TILES ? TILE_WIDE_T - 1 : 2 * SIMD_FEW,    /* more are worth panels */
    FEW_PREP = 640                /* as DIRECT_PREP */
};

typedef struct tile_panel {
    uint8_t q[64][4 * TILE_R];    /* step, row, four codes */
    float scale[16][TILE_R], min[16][TILE_R];
} tile_panel;

/* What a step of NT tokens needs of the activations' sums: [token][group]. */
typedef struct tile_prep {
    int32_t init[TILE_NT][16];    /* -offset * sum of codes */
    float   sx[TILE_NT][16];      /* d * sum of codes */
} tile_prep;

/* What 256 columns of one token need of its activations where there is no panel. */
typedef struct direct_prep {
    int32_t init[16];             /* as in tile_prep */
    float   sx[16];
    uint32_t split[16];           /* four activations that one dword of the weights meets (tile_direct.h) */
} direct_prep;

/* The same and the activations themselves, side by side for the tokens of a step. */
typedef struct few_prep {
    kern_q8     x;
    direct_prep p;
} few_prep;

/* out[t][row] = products of `chunks` times 256 columns of TILE_R rows, stride bytes apart.
 * soon: weights that are wanted soon, NULL: none.  Memory answers late, so they are fetched early into L2, and from there into L1
 * just before their turn (tile_direct.h): no hardware sees what comes next in so many rows. */
typedef void (*tile_direct)(const uint8_t *w, size_t stride, int64_t chunks, const char *x, size_t x_bytes, const direct_prep *prep,
                         const uint8_t *soon, float *out);

typedef struct tile_type {
    dtype   type;
    int     bytes;                /* of 256 columns of a row */
    int     offset;               /* codes are stored with this added */
    int     group;                /* 32 or 16 columns have a scale */
    bool    has_min;
    /* 256 columns (or the first `groups` * 32) of TILE_R rows, stride bytes apart */
    void  (*unpack)(const struct tile_type *tt, const uint8_t *w, size_t stride, int groups, tile_panel *p);
    /* acc[t][row] += product, t < nt <= SIMD_NT or nt == TILE_NT; nt 0: two panels and SIMD_PAIR_NT tokens */
    void  (*micro)(const tile_panel *p, int groups, const kern_q8 *x, size_t x_bytes, int nt, const tile_prep *prep, float *acc);
    const tile_direct *direct;          /* [DIRECT_T] by number of tokens, then [FEW_STEPS]; NULL: always panels */
} tile_type;

/* Whose activations direct_prep or few_prep are: x NULL, nobody's. */
typedef struct tile_prepared {
    const tile_type *type;
    const void *x;
    size_t x_bytes;
    int64_t T, chunks;
} tile_prepared;
_Static_assert(sizeof(tile_prepared) <= KERN_SCRATCH_HEAD, "head");

typedef struct tile_scratch {
    _Alignas(64) tile_prepared prepared;
    tile_panel panel[TILE_BLOCK];
    tile_prep  prep;
    union {
        direct_prep direct_prep[DIRECT_PREP];
        few_prep    few_prep[FEW_PREP];
    };
    float      acc[TILE_BLOCK][TILE_T][TILE_R];
    uint8_t    few[TILE_R][512];  /* one chunk of fewer than TILE_R rows */
} tile_scratch;

_Static_assert(sizeof(tile_scratch) <= KERN_TILE_SCRATCH, "scratch");

/* ---- one step: NT tokens, RT panels ------------------------------------------------------------------------- */

/* isum[i][t] += codes * activations over `steps` steps, from step `first`. */
#if SIMD_DOT16
/* 16-bit sums hold `depth` steps; wide codes are signed bytes and lend their sign to the activation. */
#define TILE_DOT(RT, NT, WIDE, DEPTH, first, steps)                                                                       \
    do {                                                                                                                  \
        simd_i part[RT][NT];                                                                                              \
        UNROLL for (int s = 0; s < (steps); s++)                                                                          \
            UNROLL for (int i = 0; i < (RT); i++) {                                                                       \
                simd_i w = simd_i_load(p[i].q[first + s]), m = (WIDE) ? simd_abs8(w) : w;                                 \
                UNROLL for (int t = 0; t < (NT); t++) {                                                                   \
                    simd_i v = simd_i_set1_mem(xq[t] + 4 * (first + s));                                                  \
                    v = simd_mul8_pairs(m, (WIDE) ? simd_sign8(v, w) : v);                                                \
                    part[i][t] = s % (DEPTH) ? simd_add16(part[i][t], v) : v;                                             \
                    if (s % (DEPTH) == (DEPTH) - 1 || s == (steps) - 1)                                                   \
                        isum[i][t] = simd_i_add(isum[i][t], simd_sum16_pairs(part[i][t]));                                \
                }                                                                                                         \
            }                                                                                                             \
    } while (0)
#else
#define TILE_DOT(RT, NT, WIDE, DEPTH, first, steps)                                                                       \
    UNROLL for (int s = 0; s < (steps); s++) {                                                                            \
        simd_i w[RT];                                                                                                     \
        UNROLL for (int i = 0; i < (RT); i++) w[i] = simd_i_load(p[i].q[first + s]);                                      \
        UNROLL for (int t = 0; t < (NT); t++)                                                                             \
            UNROLL for (int i = 0; i < (RT); i++) isum[i][t] = simd_dot(isum[i][t], w[i], xq[t] + 4 * (first + s));       \
    }
#endif

#define TILE_EACH(RT, NT) UNROLL for (int i = 0; i < RT; i++) UNROLL for (int t = 0; t < NT; t++)

/* acc[i][t] += product of panel i and token t, i < RT, t < NT: rows of acc are TILE_T tokens. */
#define TILE_STEP(name, RT, NT, GROUP, MIN_, WIDE, DEPTH)                                                                 \
    static void name(const tile_panel *p, int groups, const kern_q8 *x, size_t x_bytes, const tile_prep *prep, float *out) \
    {                                                                                                                     \
        const int8_t *xq[NT];                                                                                             \
        const float *xd[NT];                                                                                              \
        simd_f acc[RT][NT], f[RT][NT];                                                                                    \
        simd_i isum[RT][NT];                                                                                              \
        UNROLL for (int t = 0; t < NT; t++) {                                                                             \
            const kern_q8 *v = (const void *)((const char *)x + (size_t)t * x_bytes);                                     \
            xq[t] = v->q;                                                                                                 \
            xd[t] = v->d;                                                                                                 \
        }                                                                                                                 \
        TILE_EACH(RT, NT) acc[i][t] = simd_load(out + (i * TILE_T + t) * TILE_R);                                         \
        for (int g = 0; g < groups; g++) {                                                                                \
            if (GROUP == 32) {                                                                                            \
                TILE_EACH(RT, NT) isum[i][t] = simd_i_set1(prep->init[t][g]);                                             \
                TILE_DOT(RT, NT, WIDE, DEPTH, 8 * g, 8);                                                                  \
                TILE_EACH(RT, NT) f[i][t] = simd_mul(simd_from_i(isum[i][t]), simd_load(p[i].scale[g]));                  \
            } else {                                                                                                      \
                TILE_EACH(RT, NT) isum[i][t] = simd_i_set1(prep->init[t][2 * g]);                                         \
                TILE_DOT(RT, NT, WIDE, DEPTH, 8 * g, 4);                                                                  \
                TILE_EACH(RT, NT) f[i][t] = simd_mul(simd_from_i(isum[i][t]), simd_load(p[i].scale[2 * g]));              \
                TILE_EACH(RT, NT) isum[i][t] = simd_i_set1(prep->init[t][2 * g + 1]);                                     \
                TILE_DOT(RT, NT, WIDE, DEPTH, 8 * g + 4, 4);                                                              \
                TILE_EACH(RT, NT) f[i][t] = simd_fma(simd_from_i(isum[i][t]), simd_load(p[i].scale[2 * g + 1]), f[i][t]); \
            }                                                                                                             \
            TILE_EACH(RT, NT) acc[i][t] = simd_fma(f[i][t], simd_set1(xd[t][g]), acc[i][t]);                              \
            if (MIN_)                                                                                                     \
                for (int k = g * (32 / GROUP); k < (g + 1) * (32 / GROUP); k++)                                           \
                    TILE_EACH(RT, NT) acc[i][t] = simd_fnma(simd_load(p[i].min[k]), simd_set1(prep->sx[t][k]), acc[i][t]); \
        }                                                                                                                 \
        TILE_EACH(RT, NT) simd_store(out + (i * TILE_T + t) * TILE_R, acc[i][t]);                                         \
    }

#if SIMD_TILES
#include "kern/tile_wide.h"
#else
#define TILE_WIDE(kind, GROUP, MIN_)
#define TILE_WIDE_CASE(kind)
static inline void simd_tiles_begin(void) {}
static inline void simd_tiles_end(void) {}
#endif

/* One kind of panel: a step for each number of tokens up to SIMD_NT, one for pairs of panels, and one on tile registers. */
#define TILE_MICRO(kind, GROUP, MIN_, WIDE, DEPTH)                                                                        \
    TILE_WIDE(kind, GROUP, MIN_)                                                                                          \
    SIMD_EACH_NT(TILE_STEP_, kind, GROUP, MIN_, WIDE, DEPTH)                                                              \
    TILE_STEP(kind##_pair, 2, SIMD_PAIR_NT, GROUP, MIN_, WIDE, DEPTH)                                                     \
    static void kind(const tile_panel *p, int groups, const kern_q8 *x, size_t x_bytes, int nt, const tile_prep *prep, float *acc) \
    {                                                                                                                     \
        switch (nt) {                                                                                                     \
            SIMD_EACH_NT(TILE_CASE_, kind, GROUP, MIN_, WIDE, DEPTH)                                                      \
            TILE_WIDE_CASE(kind)                                                                                          \
        default: kind##_pair(p, groups, x, x_bytes, prep, acc);                                                           \
        }                                                                                                                 \
    }
#define TILE_STEP_(NT, kind, GROUP, MIN_, WIDE, DEPTH) TILE_STEP(kind##_##NT, 1, NT, GROUP, MIN_, WIDE, DEPTH)
#define TILE_CASE_(NT, kind, GROUP, MIN_, WIDE, DEPTH) case NT: kind##_##NT(p, groups, x, x_bytes, prep, acc); break;

/* ---- driver -------------------------------------------------------------------------------------------------- */

/* init and sx of one token. */
static inline void tile_sums(const tile_type *tt, const kern_q8 *x, int32_t init[16], float sx[16])
{
    if (tt->group == 16) {
        for (int g = 0; g < 16; g++) {
            init[g] = -SIMD_OFFSET(tt->offset) * x->sum[g];
            sx[g] = x->d[g / 2] * (float)x->sum[g];
        }
    } else {
        for (int g = 0; g < 8; g++) {
            int sum = x->sum[2 * g] + x->sum[2 * g + 1];
            init[g] = -SIMD_OFFSET(tt->offset) * sum;
            sx[g] = x->d[g] * (float)sum;
        }
    }
}

static void tile_prepare(const tile_type *tt, const kern_q8 *x, size_t x_bytes, int nt, tile_prep *prep)
{
    for (int t = 0; t < nt; t++)
        tile_sums(tt, (const void *)((const char *)x + (size_t)t * x_bytes), prep->init[t], prep->sx[t]);
}

/* Asks for the bytes that the next tile will read at the same place; a tile's rows are one stretch of memory. */
static inline void tile_prefetch(const uint8_t *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(p + i, 0, 2);
}

static inline void tile_prepare_chunk(const tile_type *tt, const kern_q8 *x, direct_prep *prep)
{
    int codes = tt->type == DTYPE_Q8_0 ? 32 : 16;
    tile_sums(tt, x, prep->init, prep->sx);
    for (int i = 0; i < 16; i++) {           /* of group i / 2; nibbles: of both halves */
        int s = -((i / 2 + 1) * tt->bytes / 8) & 3;
        const int8_t *q = x->q + i / 2 * 32 + i % 2 * (32 - codes);
        prep->split[i] = load_u32(q + codes - 4) >> 8 * s | (s ? load_u32(q) << (32 - 8 * s) : 0);
    }
}

/* What the products without panels read, [token][chunk]. */
static void tile_prepare_direct(const tile_type *tt, const char *x, size_t x_bytes, int nt, int64_t chunks, direct_prep *prep)
{
    for (int t = 0; t < nt; t++)
        for (int64_t c = 0; c < chunks; c++, prep++)
            tile_prepare_chunk(tt, (const kern_q8 *)(const void *)(x + (size_t)t * x_bytes) + c, prep);
}

/* T tokens in equal parts, each a step of 4, 6 .. SIMD_FEW tokens. */
typedef struct few_part { int first, tokens, step; } few_part;

static inline int few_parts(int T) { return (T + SIMD_FEW - 1) / SIMD_FEW; }
static inline few_part few_part_at(int T, int i)
{
    int most = (T + few_parts(T) - 1) / few_parts(T), tokens = MIN(most, T - i * most);
    return (few_part){i * most, tokens, MAX((tokens + 1) / 2 * 2, 4)};
}
/* Tokens of all steps before part i. */
static inline int few_before(int T, int i) { return i * few_part_at(T, 0).step; }

/* As tile_prepare_direct, [part][chunk][token]; the last token of a part fills its step. */
static void tile_prepare_few(const tile_type *tt, const char *x, size_t x_bytes, int T, int64_t chunks, few_prep *prep)
{
    for (int i = 0; i < few_parts(T); i++) {
        few_part f = few_part_at(T, i);
        for (int64_t c = 0; c < chunks; c++)
            for (int t = 0; t < f.step; t++, prep++) {
                prep->x = ((const kern_q8 *)(const void *)(x + (size_t)(f.first + MIN(t, f.tokens - 1)) * x_bytes))[c];
                tile_prepare_chunk(tt, &prep->x, &prep->p);
            }
    }
}

/* Once for all calls with the same activations. */
static void tile_prepare_without(const tile_type *tt, const void *x, size_t x_bytes, int64_t T, int64_t chunks, tile_scratch *s)
{
    const tile_prepared want = { tt, x, x_bytes, T, chunks }, *has = &s->prepared;
    if (has->type == tt && has->x == x && has->x_bytes == x_bytes && has->T == T && has->chunks == chunks) return;
    if (T > DIRECT_T) tile_prepare_few(tt, x, x_bytes, (int)T, chunks, s->few_prep);
    else tile_prepare_direct(tt, x, x_bytes, (int)T, chunks, s->direct_prep);
    s->prepared = want;
}

/* A tile without panels.  Its weights come from memory for the first part of the tokens alone. */
static void tile_row_direct(const tile_type *tt, const uint8_t *w, size_t row_bytes, int64_t chunks, const char *x, size_t x_bytes,
                            int T, const uint8_t *soon, tile_scratch *s)
{
    if (T <= DIRECT_T) {
        tt->direct[T - 1](w, row_bytes, chunks, x, x_bytes, s->direct_prep, soon, s->acc[0][0]);
        return;
    }
    for (int i = 0; i < few_parts(T); i++) {
        few_part f = few_part_at(T, i);
        tt->direct[DIRECT_T + f.step / 2 - 2](w, row_bytes, chunks, (const char *)(s->few_prep + few_before(T, i) * chunks), 0, NULL, soon,
                                              s->acc[0][f.first]);
        soon = NULL;
    }
}

/* Whether T tokens go without panels. */
static bool tile_is_direct(const tile_type *tt, int64_t rows, int64_t chunks, int64_t T)
{
    if (!tt->direct || rows < TILE_R || T > FEW_MOST) return false;
    return T <= DIRECT_T ? chunks * T <= DIRECT_PREP : chunks * few_before((int)T, few_parts((int)T)) <= FEW_PREP;
}

/* Rows [r0, r0 + n) of w against tokens [0, T), T <= TILE_T, into acc.  soon: as many rows that are read later.
 * direct: without panels, but for a last piece of fewer than 256 columns. */
static void tile_rows(const tile_type *tt, const uint8_t *w, size_t row_bytes, int tiles, int few, int64_t cols,
                      const char *x, size_t x_bytes, int64_t T, const uint8_t *soon, bool direct, tile_scratch *s)
{
    int64_t c = direct ? cols / 256 : 0;
    if (direct) tile_row_direct(tt, w, row_bytes, c, x, x_bytes, (int)T, soon, s);
    else for (int i = 0; i < tiles; i++) memset(s->acc[i], 0, sizeof s->acc[i][0] * (size_t)T);
    for (; c * 256 < cols; c++) {
        int groups = (int)(MIN(cols - c * 256, 256) / 32);
        size_t at = (size_t)c * (size_t)tt->bytes, stride = row_bytes, bytes = (size_t)tt->bytes * (size_t)groups / 8;
        const uint8_t *p = w + at;
        if (few) {                                      /* less than a tile: a copy, the last row repeated */
            for (int r = 0; r < TILE_R; r++) memcpy(s->few[r], p + (size_t)MIN(r, few - 1) * row_bytes, bytes);
            p = s->few[0];
            stride = sizeof s->few[0];
        }
        for (int i = 0; i < tiles; i++) tt->unpack(tt, p + (size_t)(i * TILE_R) * stride, stride, groups, &s->panel[i]);
        if (soon) tile_prefetch(soon + at * TILE_R * (size_t)tiles, bytes * TILE_R * (size_t)tiles);
        for (int64_t t = 0; t < T;) {
            /* Two panels at a time share the loads of activations, but need the registers of more tokens. */
            bool all = SIMD_TILES && T - t >= TILE_WIDE_T;
            bool pair = !all && tiles % 2 == 0 && SIMD_PAIR_NT > 1 && (T - t == SIMD_PAIR_NT || T - t >= SIMD_PAIR_NT + 4);
            int nt = all ? TILE_WIDE_T : pair ? SIMD_PAIR_NT : (int)MIN(T - t, SIMD_NT);
            const kern_q8 *v = (const kern_q8 *)(const void *)(x + (size_t)t * x_bytes) + c;
            tile_prepare(tt, v, x_bytes, nt, &s->prep);
            for (int i = 0; i < tiles; i += pair ? 2 : 1)
                tt->micro(&s->panel[i], groups, v, x_bytes, pair ? 0 : nt, &s->prep, s->acc[i][t]);
            t += nt;
        }
    }
}

/* The product's rows, and those that follow them somewhere else. */
typedef struct tile_walk {
    const uint8_t *w, *next;      /* next: or NULL */
    size_t row_bytes;
    int64_t rows, lead;           /* lead: tiles from the one that is multiplied to the one that is fetched */
} tile_walk;

/* `tiles` tiles that begin `lead` tiles after the one at row r; NULL where nothing follows. */
static const uint8_t *tile_later(const tile_walk *k, int64_t r, int64_t lead, int tiles)
{
    int64_t whole = k->rows / TILE_R * TILE_R;
    r += lead * TILE_R;
    if (r + tiles * TILE_R <= k->rows) return k->w + (size_t)r * k->row_bytes;
    return k->next && r >= whole ? k->next + (size_t)(r - whole) * k->row_bytes : NULL;
}

static void tile_mul(const tile_type *tt, const void *w, size_t row_bytes, int64_t rows, int64_t cols, const void *x, size_t x_bytes,
                     int64_t T, float *y, int64_t y_stride, const void *next, void *scratch)
{
    tile_scratch *s = scratch;
    int64_t chunks = cols / 256;
    bool direct = tile_is_direct(tt, rows, chunks, T);
    int64_t wide = direct || T <= DIRECT_T ? 1 : TILE_BLOCK;
    if (direct) tile_prepare_without(tt, x, x_bytes, T, chunks, s);
    tile_walk walk = {w, next, row_bytes, rows, direct ? MAX(TILE_AHEAD / (TILE_R * (int64_t)row_bytes), 1) : wide};
    if (T >= TILE_WIDE_T) simd_tiles_begin();
    for (int64_t t0 = 0; t0 < T; t0 += TILE_T) {
        int64_t nt = MIN(T - t0, TILE_T);
        for (int64_t r = 0, end; r < rows; r = end) {
            /* Whole blocks of tiles, then single tiles; the last tile starts early, so that it is full. */
            int tiles = (int)(rows - r >= wide * TILE_R ? wide : 1), less = rows < TILE_R ? (int)rows : 0;
            if (!less && rows - r < TILE_R) r = rows - TILE_R;
            end = r + (int64_t)tiles * TILE_R;
            tile_rows(tt, (const uint8_t *)w + (size_t)r * row_bytes, row_bytes, tiles, less, cols,
                      (const char *)x + (size_t)t0 * x_bytes, x_bytes, nt, tile_later(&walk, r, walk.lead, tiles), direct, s);
            for (int64_t t = 0; t < nt; t++)
                for (int i = 0; i < tiles; i++)
                    memcpy(y + (t0 + t) * y_stride + r + i * TILE_R, s->acc[i][t], (size_t)(less ? less : TILE_R) * sizeof(float));
        }
    }
    if (T >= TILE_WIDE_T) simd_tiles_end();
}

#endif
