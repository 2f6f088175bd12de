/* One compute device behind one table: the forward pass (model/) is written once against it.
 *
 * Activations are f32 rows in memory taken from the device.  Index arrays (ids, row lists, spans), rope angles and
 * weights are given in host memory that stays valid until dev_table.sync; a device with memory of its own
 * keeps copies of the weights by their address.  Operations queue work, cannot fail by themselves and report trouble
 * in sync.  Every operation's result for a row depends on that row alone: never on how many rows share the
 * call, nor on the number of threads.
 *
 * T is a number of rows, n their width; a stride counts floats from one row to the next. */
#ifndef FC_DEV_DEV_H
#define FC_DEV_DEV_H

#include "base/err.h"
#include "base/mem.h"
#include "num/dtype.h"

enum { DEV_BLOCK = 64 };   /* tokens in a block of the cache */

/* A weight matrix: y = scale * W x, W [rows, cols] of a file's type. */
typedef struct dev_mat {
    const void *data;
    dtype type;
    int64_t rows, cols;
    size_t row_bytes;
    float scale;
} dev_mat;

/* Low-rank terms of one linear, one list entry for each adapter: y += scale * B (A x) for the rows that use it. */
typedef struct dev_lora {
    int32_t adapter;             /* > 0 */
    int32_t rank;
    const float *a, *b;          /* [rank, cols], [rows, rank] */
    float scale;
    const struct dev_lora *next;
} dev_lora;

/* y_t = factor * (W x_t + low-rank terms).  Products given in one call run together; inputs that stand in several of them are packed once. */
typedef struct dev_product {
    dev_mat w;
    const float *x;
    int64_t x_stride;
    const int32_t *rows;         /* input of row t is x + rows[t] * x_stride; NULL: row t */
    int64_t T;
    float *y;
    int64_t y_stride;
    bool exact;                  /* f32 activations even on the fast path (router) */
    const dev_lora *lora;        /* or NULL */
    const int32_t *adapter;      /* [T] adapter of each row; not NULL when lora is given */
    float factor;                /* the model's own (1 / sqrt(H) of the router), normally 1 */
} dev_product;

/* Where the tokens of one sequence lie in a layer's cache: token p is entry p % 64 of stored block
 * table[p / 64], or base + (p / 64) % ring without a table; skip tokens are added to the address. */
typedef struct dev_span {
    const int32_t *table;
    int32_t base, ring;
    int32_t skip;
} dev_span;

/* Keys and values of one layer: [block][head][64][d], rows of row_bytes in the cache's element type. */
typedef struct dev_kv {
    dtype type;
    int32_t heads, d;
    uint8_t *k, *v;              /* k NULL: keys are rebuilt, K = rope(k_norm * V) (architecture section 2.5) */
    size_t row_bytes, head_bytes, block_bytes;
    const float *k_norm;         /* [d], for rebuilding */
    const float *key_rope;       /* [positions][pairs][2] cos, sin, for rebuilding */
    int32_t pairs;
} dev_kv;

/* A row's place, and the keys that it sees: positions first..last, both included. */
typedef struct dev_attn_row {
    int32_t span;                /* index into spans */
    int32_t pos, first, last;
} dev_attn_row;

/* out[t][j] = sum softmax(q[t][j] . K) V, scale 1; query head j reads kv head j / (nq / kv heads).  Keys are taken in
 * blocks aligned to absolute positions, merged in order, so the additions do not depend on the chunking. */
typedef struct dev_attn {
    const dev_kv *kv;
    const dev_span *spans;
    const dev_attn_row *rows;
    int64_t T;
    int32_t nq;
    const float *q;              /* [T][nq][d] */
    float *out;                  /* [T][nq][d] */
} dev_attn;

/* What the largest step needs of working memory, summed up by the model from its own sizes. */
typedef struct dev_work {
    size_t pack_bytes;           /* the largest packed input of one product (pack_bytes below) */
    int64_t cols_max, rows_max;  /* of any matrix */
    int32_t products_max;        /* in one call */
    int32_t rank_max;
    int32_t nq_max, d_max, ctx;  /* attention */
} dev_work;

/* ---- backward: the gradient of each operation above, for training ---- */

/* dx_t = factor * W^T dy_t, or added to what is there. */
typedef struct dev_back {
    dev_mat w;                   /* [rows, cols]; scale counts, as in a product */
    const float *dy;             /* [T, rows] */
    int64_t dy_stride, T;
    float *dx;                   /* [T, cols] */
    int64_t dx_stride;
    float factor;
    bool add;
} dev_back;

/* Of y_t += scale * B (A x_t): da += scale (dy B)^T x, db += scale dy^T (A x), dx += scale (dy B) A. */
typedef struct dev_lora_back {
    const float *x, *dy;         /* [T, in], [T, out] */
    int64_t x_stride, dy_stride, T, in, out;
    int32_t rank;
    const float *a, *b;          /* [rank, in], [out, rank] */
    float scale;                 /* the product's factor in it */
    float *da, *db;
    float *dx;                   /* [T, in], NULL: not wanted */
    int64_t dx_stride;
} dev_lora_back;

/* Rows of K and V that a query row sees, both included. */
typedef struct dev_key_range { int32_t first, last; } dev_key_range;

/* Of attention over the rows of one step: d[query] becomes dq, what keys and values get is added to dk and dv. */
typedef struct dev_attn_back {
    const float *k, *v;          /* [heads][kv_rows][d] */
    int64_t kv_rows, keys;       /* keys: how many rows of them are in use */
    int32_t heads, d, nq;
    const dev_key_range *rows;   /* [T]; from row to row neither end goes back */
    int64_t T;
    const float *q, *out, *dout; /* [T][nq][d]; out: what attention gave */
    float *dq;                   /* [T][nq][d]; may be out */
    float *dk, *dv;              /* [keys][heads][d]; NULL: not wanted */
} dev_attn_back;

typedef struct dev_loss { double loss, entropy; bool right; } dev_loss;

/* What the largest backward step needs of working memory. */
typedef struct dev_back_work {
    int64_t T;                   /* rows; of experts too */
    int64_t width;               /* of any adapted linear's output */
    int64_t norm;                /* of any normed row */
    int32_t rank, nq, d;         /* highest, most, widest */
    int64_t vocab;
} dev_back_work;

typedef struct dev dev;

typedef struct dev_table {
    const char *name;
    void (*free)(dev *d);
    status (*sync)(dev *d, err *e);       /* all queued work is done; its failure, if any */
    int (*threads)(const dev *d);

    /* ---- memory ---- */
    bool shares_host;                     /* device pointers are host pointers: logits are written in place */
    void (*copy)(dev *d, void *dst, const void *src, size_t n);       /* within the device */
    void (*upload)(dev *d, void *dst, const void *src, size_t n);
    void (*download)(dev *d, void *dst, const void *src, size_t n);
    /* At most so many bytes are the packed input of a product with this weight type and T rows, or fewer. */
    size_t (*pack_bytes)(const dev *d, dtype type, int64_t cols, int64_t T, bool exact, bool gathered);
    size_t (*work_bytes)(const dev *d, const dev_work *w);
    void (*work_set)(dev *d, const dev_work *w, void *memory);        /* work_bytes of it, 64-byte aligned, borrowed */

    /* ---- rows ---- */
    /* y_t = scale * row ids[t] of w */
    void (*embed)(dev *d, const dev_mat *w, const int32_t *ids, int64_t T, float scale, float *y, int64_t y_stride);
    /* y_t = x_rows[t]; y may be x when rows is ascending */
    void (*gather)(dev *d, const float *x, int64_t x_stride, const int32_t *rows, int64_t T, int64_t n, float *y, int64_t y_stride);
    /* T rows of n numbers to a type of the cache, and back */
    void (*store)(dev *d, dtype type, const float *x, int64_t T, int64_t n, void *out);
    void (*load)(dev *d, dtype type, const void *in, int64_t T, int64_t n, float *y);
    /* y = x / rms(x) * w; w may be NULL; y may be x */
    void (*rms_norm)(dev *d, const float *x, int64_t x_stride, const float *w, float eps, int64_t T, int64_t n, float *y, int64_t y_stride);
    /* y = (base + x / rms(x) * w) * a, all [T, n]; y may be x or base */
    void (*norm_add)(dev *d, const float *x, const float *w, float eps, const float *base, float a, int64_t T, int64_t n, float *y);
    /* heads [T][count][d] in place: norm with w (or NULL), then rope with the row's angles cs [T][pairs][2] (or NULL) */
    void (*norm_rope)(dev *d, float *x, int64_t T, int32_t count, int32_t width, const float *w, float eps, const float *cs, int32_t pairs);
    /* y = gelu_tanh(gate) * up; y may be gate */
    void (*gelu_mul)(dev *d, const float *gate, int64_t gate_stride, const float *up, int64_t up_stride, int64_t T, int64_t n,
                     float *y, int64_t y_stride);
    /* y = cap * tanh(y / cap) */
    void (*softcap)(dev *d, float cap, int64_t T, int64_t n, float *y);

    /* ---- matrices ---- */
    void (*mul)(dev *d, const dev_product *p, int32_t count);

    /* ---- attention ---- */
    /* k may be NULL (K = V layers); k, v: [T][heads][d] */
    void (*kv_write)(dev *d, const dev_kv *kv, const dev_span *spans, const dev_attn_row *rows, int64_t T, const float *k, const float *v);
    void (*attention)(dev *d, const dev_attn *a);

    /* ---- experts ---- */
    /* softmax over E logits, the k largest renormalised to sum 1, times scale[expert]; ids ascending. ids, w: [T, k] on the host */
    void (*route)(dev *d, const float *logits, int64_t T, int32_t E, int32_t k, const float *scale, int32_t *ids, float *w);
    /* y_t = sum_j w[t*k + j] * x_slot[t*k + j], in order of j */
    void (*combine)(dev *d, const float *x, const int32_t *slot, const float *w, int64_t T, int32_t k, int64_t n, float *y);

    /* ---- backward; rows lie one behind the other where there is no stride ---- */
    size_t (*back_bytes)(const dev *d, const dev_back_work *w);
    void (*back_set)(dev *d, const dev_back_work *w, void *memory);   /* back_bytes of it, 64-byte aligned, borrowed; after work_set */
    /* Products of one call have outputs of their own. */
    void (*mul_back)(dev *d, const dev_back *p, int32_t count);
    void (*lora_back)(dev *d, const dev_lora_back *p);
    /* dx = or += the gradient of rms_norm at x */
    void (*norm_back)(dev *d, const float *x, const float *w, float eps, const float *dy, int64_t T, int64_t n, bool add, float *dx);
    /* Of norm_rope; x: what it was given */
    void (*norm_rope_back)(dev *d, const float *x, int64_t T, int32_t count, int32_t width, const float *w, float eps, const float *cs, int32_t pairs,
                           const float *dy, bool add, float *dx);
    /* Of gelu_mul; outputs may be inputs */
    void (*gelu_mul_back)(dev *d, const float *gate, const float *up, const float *dy, int64_t T, int64_t n, float *dgate, float *dup);
    void (*attention_back)(dev *d, const dev_attn_back *a);
    /* Of route: dw [T, k] by its weights; dlogits [T, E], zero but for the chosen */
    void (*route_back)(dev *d, const float *logits, const int32_t *ids, const float *scale, const float *dw, int64_t T, int32_t E, int32_t k, float *dlogits);
    /* y_rows[t] += w[t] x_t, w NULL: 1; no row stands twice in rows */
    void (*scatter_add)(dev *d, const float *x, const int32_t *rows, const float *w, int64_t T, int64_t n, float *y);
    void (*add)(dev *d, float a, const float *x, int64_t n, float *y);                         /* y += a x */
    void (*scale)(dev *d, float a, const float *w, int64_t T, int64_t n, float *y);            /* y_t *= w[t], or a where w is NULL: 0 clears, whatever y is */
    void (*dot)(dev *d, const float *a, const float *b, int64_t T, int64_t n, float *out);     /* out[t] = a_t . b_t, sum in f64 */
    /* z [T, V] softcapped logits (cap 0: plain) become the gradient of the sum of factors[t] * loss of row t by the raw logits; NULL: left alone */
    void (*loss)(dev *d, float *z, const int32_t *labels, int64_t T, int64_t V, float cap, const float *factors, dev_loss *out);
} dev_table;

struct dev { const dev_table *op; };

typedef struct dev_cpu_opts {
    int threads;                 /* 0: one per core */
    uint32_t isa;                /* 0: all that the machine has */
    bool exact;                  /* f32 activations and reference kernels */
    bool invariant;              /* no product whose bits depend on how many rows share it (kern_mul.many) */
    bool measure;                /* no threads are started; only pack_bytes, work_bytes and threads may be called */
} dev_cpu_opts;

/* The CPU: kern/ and a thread pool. */
status dev_cpu_new(dev **out, const dev_cpu_opts *o, err *e);
static inline void dev_free(dev *d) { if (d) d->op->free(d); }

#endif
