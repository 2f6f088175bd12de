/* The table of hot loops.  Leaf functions: no allocation, no threads, cannot fail, check nothing.
 *
 * Products of a weight matrix and activations come in two kinds.
 *
 *   exact: activations stay f32; a weight row is decoded to f32 and multiplied with sums in a fixed order.
 *   fast:  activations are first put into the form that the weight's type wants (kern_act): int8 in groups
 *          of 32 with an f32 scale, or bf16/f32 for float weights.
 *
 * In both, y[t][r] depends only on row r of the weight and row t of the activations: the grouping and the order
 * of additions never depend on T, so one token and many give the same bits. */
#ifndef FC_KERN_KERN_H
#define FC_KERN_KERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "num/dtype.h"

/* The forms an activation row can take for a fast product. */
typedef enum kern_act {
    KERN_ACT_F32,      /* n floats */
    KERN_ACT_Q8        /* int8 in groups of 32 with an f32 scale (kern_int.h), padded with zeros to a multiple of 256 */
} kern_act;

/* Of `many` products, which take tokens by groups, the form is bf16: in slices of KERN_MANY_COLS columns, all groups of a slice, and in
 * them for every 32 columns and every part [16 pairs of columns][KERN_MANY_GROUP tokens][2].  Parts: the rounded number, or three,
 * that and twice what is left, rounded: together they are the f32 number.  Columns and tokens that are missing are zeros. */
enum { KERN_MANY_GROUP = 16, KERN_MANY_COLS = 512, KERN_MANY_PARTS = 3, KERN_MANY_ROWS = 256 /* of weights that one call takes best */ };
/* Bytes of a slice of T tokens. */
static inline size_t kern_many_slice(int64_t T, int parts)
{
    return (size_t)((T + KERN_MANY_GROUP - 1) / KERN_MANY_GROUP) * KERN_MANY_GROUP * KERN_MANY_COLS * 2 * (size_t)parts;
}
static inline size_t kern_many_bytes(int64_t T, int64_t cols, int parts)
{
    return (size_t)((cols + KERN_MANY_COLS - 1) / KERN_MANY_COLS) * kern_many_slice(T, parts);
}

/* y[t * y_stride + r] = sum_c W[r][c] * x_t[c] for r in [0, rows), t in [0, T).
 * w: rows of row_bytes; x: T packed activation rows, x_bytes apart, made by pack[act] of this same table;
 * cols: K, a multiple of the type's block.  scratch: kern_scratch_bytes, per thread, 64-byte aligned; its first KERN_SCRATCH_HEAD bytes
 * are zero when it, x or what x holds is new, and left alone between calls with the same x, which then need not prepare it again.
 * next: rows of the same length that this thread will probably multiply after these, or NULL: fetched, not looked at.
 * Error: |y - exact(W, packed x)| <= 2^-20 * sum |x| (|scale * code| + |minimum|), which is sum |w x| for types
 * without a minimum. */
typedef void (*kern_mul_fn)(const void *w, size_t row_bytes, int64_t rows, int64_t cols, const void *x, size_t x_bytes, int64_t T,
                            float *y, int64_t y_stride, const void *next, void *scratch);

/* Products call kern_mul_for. */
typedef struct kern_mul {
    kern_act act;
    kern_mul_fn mul;
    kern_mul_fn few;       /* the same results, sooner, for T <= KERN_FEW; NULL: mul is as good */
    /* For T >= KERN_MANY and whole groups of 32 columns, NULL: none.  x: made by pack_many, x_bytes: of a slice.  Weights too are rounded to bf16, sums are f32 in the
     * order of columns: y[t][r] depends on its row and token alone here too, but has not the bits of mul.
     * |y - sum w x| <= (2^-9 + cols 2^-24) sum |w| |x as packed|, without 2^-9 for types that bf16 holds. */
    kern_mul_fn many;
    int many_parts;        /* of its packed activations */
} kern_mul;

enum { KERN_FEW = 3, KERN_MANY = 32, KERN_SCRATCH_HEAD = 64 };

static inline bool kern_takes_many(const kern_mul *m, int64_t cols, int64_t T) { return m->many && T >= KERN_MANY && cols % 32 == 0; }
static inline kern_mul_fn kern_mul_for(const kern_mul *m, int64_t T) { return m->few && T <= KERN_FEW ? m->few : m->mul; }

typedef struct kern {
    uint32_t isa;                       /* mask that was used */
    const char *family[DTYPE_COUNT];    /* who made fast[t]: "ref", "avx2", ...; NULL where fast[t].mul is NULL */
    /* ---- products ---- */
    /* Bytes of one packed activation row of n elements. */
    size_t (*act_bytes)(kern_act act, int64_t n);
    void   (*pack[2])(const float *x, int64_t n, void *out);                   /* by kern_act */
    /* A group of tokens, NULL: none, to its place in the first slice. */
    void   (*pack_many)(const float *const x[KERN_MANY_GROUP], int64_t n, int parts, void *out, size_t slice_bytes);
    kern_mul fast[DTYPE_COUNT];         /* mul NULL: type cannot be a weight.  Types without a kernel of their own
                                         * go through a generic one (decode, then multiply), same contract */
    /* x f32 [T, cols] (x_stride floats apart); otherwise as kern_mul.mul. Any weight type.  Sums: 16 partial sums in
     * f64 or equivalent; |y - y64| <= 2^-22 * sum |w x| . */
    void (*mul_exact)(dtype type, const void *w, size_t row_bytes, int64_t rows, int64_t cols, const float *x, int64_t x_stride,
                      int64_t T, float *y, int64_t y_stride, void *scratch);
    size_t (*scratch_bytes)(int64_t cols);   /* per thread, for both kinds */
    /* ---- vectors; every one has a fixed order of additions for a given n ---- */
    void (*rms_norm)(const float *x, const float *w /* or NULL */, float eps, int64_t n, float *y);   /* sum in f64; y may be x */
    void (*gelu_mul)(const float *gate, const float *up, int64_t n, float *y);                        /* gelu_tanh(gate) * up; y may be gate */
    void (*rope)(float *x, const float *cs /* [pairs][2]: cos, sin */, int64_t d, int64_t pairs);     /* pairs (i, i + d/2), i < pairs, in place */
    void (*add)(const float *x, int64_t n, float *y);                                                 /* y += x */
    void (*scale)(float a, int64_t n, float *y);                                                      /* y *= a */
    void (*axpy)(float a, const float *x, int64_t n, float *y);                                       /* y += a x */
    void (*softcap)(float cap, int64_t n, float *y);                                                  /* cap * tanh(y / cap) */
    /* softmax over n scores in place: subtracts the maximum, returns nothing; sum in f64 */
    void (*softmax)(float *s, int64_t n);
    /* one block of an online softmax: s[i] = exp(s[i] - m) with m = max(s), *sum = their sum (fixed order for a
     * given n).  -inf gives 0; n >= 1 and at least one score is finite.  Returns m. */
    float (*exp_sum)(float *s, int64_t n, float *sum);
    /* attention over stored keys of one kv head: for each of nq query vectors (q_stride apart)
     * s[j * s_stride + i] = q_j . K_i for i in [0, n); keys are key_bytes apart, element type kv (F32, F16, BF16, Q8_0).
     * Each score depends on q_j and K_i alone, not on nq, n or i (prompts in chunks give the same bits).  nq is
     * n_heads when one token is decoded and up to 64 (heads x rows) in a prompt; n up to 64.
     * ahead: n rows, key_bytes apart, that will be read soon, or NULL: they are fetched into the cache and not looked at. */
    void (*attn_scores)(dtype kv, const float *q, int64_t q_stride, int64_t nq, int64_t d, const void *keys, size_t key_bytes,
                        const void *ahead, int64_t n, float *s, int64_t s_stride);
    /* o[j] += sum_i p[j][i] V_i, i in order: o_j depends on p_j and V alone, not on nq; p = 0 adds nothing, whether
     * it stands inside or at an end, so queries with different windows may share a call */
    void (*attn_mix)(dtype kv, const float *p, int64_t p_stride, int64_t nq, int64_t d, const void *values, size_t value_bytes,
                     const void *ahead, int64_t n, float *o, int64_t o_stride);
    /* ---- backward passes (training) ---- */
    /* y[t * y_stride + c] += sum_k x[t * x_stride + k] b[k * b_stride + c] for c in [0, cols), t in [0, T), k in order: each y depends on its
     * own row of x and column of b alone.  |y - y64| <= 2^-23 K (|y before| + sum |x b|). */
    void (*mul_add)(const float *b, int64_t b_stride, int64_t K, int64_t cols, const float *x, int64_t x_stride, int64_t T, float *y, int64_t y_stride);
    /* The gradient of rms_norm's input: dx = R (g - x R^2 mean(g x)), g = dy w, R = 1 / rms(x); sums in f64; dx may be dy or x */
    void (*rms_norm_back)(const float *x, const float *w /* or NULL */, float eps, int64_t n, const float *dy, float *dx);
    /* Of gelu_mul's: dgate = dy up gelu'(gate), dup = dy gelu(gate); outputs may be inputs of the same place */
    void (*gelu_mul_back)(const float *gate, const float *up, const float *dy, int64_t n, float *dgate, float *dup);
    /* Of softmax: s becomes p = exp(s - top) * inv, dp becomes p (dp - mean), by element */
    void (*softmax_back)(float *s, float *dp, const float *top, const float *inv, const float *mean, int64_t n);
    /* f32 row of n elements to the cache's element type and back */
    void (*kv_store)(dtype kv, const float *x, int64_t n, void *out);
    void (*kv_load)(dtype kv, const void *p, int64_t n, float *out);
} kern;

/* Fills the table: reference first, then each wider family that the mask allows and the CPU has.
 * mask 0: everything the CPU has. */
void kern_init(kern *k, uint32_t isa_mask);
/* The sets that this build has kernels for, whatever the machine. */
uint32_t kern_built(void);
/* Which family won for the fast product of a type: "ref", "avx2", ...; NULL when the type cannot be a weight. */
const char *kern_family(const kern *k, dtype t);

#endif
