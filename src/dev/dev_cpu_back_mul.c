/* Products of the backward pass: dx = dy W, and the gradients of low-rank matrices.
 *
 * Both are y += x B with B's rows as they lie in memory: no transposed copy.  A block of B's rows is decoded, one piece of columns
 * at a time, and multiplied with many rows of x.  Work is cut by columns of B and rows of x; the sum over B's rows is never cut, so its
 * order is that of the rows, whatever the threads do. */
#include "dev/dev_int.h"

#include <string.h>

#include "base/bits.h"

enum {
    BACK_COLS = 256,             /* of a piece: a multiple of every block's length */
    BACK_ROWS = 128,             /* of B that are decoded at a time: with BACK_COLS 128 KB, which stay in L2 */
    BACK_X = 512                 /* rows of x that share a decoded piece */
};

size_t dev_cpu_back_mul_scratch(void) { return (size_t)BACK_COLS * BACK_ROWS * sizeof(float); }

typedef struct back_job {
    dev_cpu *d;
    const dev_back *p;
    int32_t count;
} back_job;

static int64_t pieces(int64_t n, int64_t piece) { return (n + piece - 1) / piece; }

static int64_t items_of(const dev_back *p) { return pieces(p->T, BACK_X) * pieces(p->w.cols, BACK_COLS); }

/* Rows [k, k + n) of columns [c, c + cols), times the product's factor. */
static void decode(const dev_cpu *d, const dev_back *p, int64_t k, int64_t n, int64_t c, int64_t cols, float *out)
{
    const dtype_info *type = dtype_of(p->w.type);
    size_t skip = (size_t)(c / type->block) * (size_t)type->bytes;
    float scale = p->w.scale * p->factor;
    for (int64_t i = 0; i < n; i++) {
        type->decode((const uint8_t *)p->w.data + (size_t)(k + i) * p->w.row_bytes + skip, out + i * cols, cols);
        if (scale != 1.0f) d->k.scale(scale, cols, out + i * cols);
    }
}

static void back_item(void *ctx, int64_t item, int worker)
{
    const back_job *j = ctx;
    const dev_back *p = j->p;
    while (item >= items_of(p)) item -= items_of(p++);
    const kern *k = &j->d->k;
    int64_t across = pieces(p->w.cols, BACK_COLS), c = item % across * BACK_COLS, t = item / across * BACK_X;
    int64_t cols = MIN((int64_t)BACK_COLS, p->w.cols - c), T = MIN((int64_t)BACK_X, p->T - t);
    float *dx = p->dx + t * p->dx_stride + c;
    const float *dy = p->dy + t * p->dy_stride;
    bool plain = p->w.type == DTYPE_F32 && p->w.scale * p->factor == 1.0f && (uintptr_t)p->w.data % sizeof(float) == 0;
    if (!p->add)
        for (int64_t i = 0; i < T; i++) memset(dx + i * p->dx_stride, 0, (size_t)cols * sizeof *dx);
    if (plain) {
        int64_t stride = (int64_t)(p->w.row_bytes / sizeof(float));
        const float *b = (const float *)p->w.data + c;
        for (int64_t r = 0; r < p->w.rows; r += BACK_ROWS)
            k->mul_add(b + r * stride, stride, MIN((int64_t)BACK_ROWS, p->w.rows - r), cols, dy + r, p->dy_stride, T, dx, p->dx_stride);
        return;
    }
    float *b = dev_cpu_back_scratch(j->d, worker);
    for (int64_t r = 0; r < p->w.rows; r += BACK_ROWS) {
        int64_t n = MIN((int64_t)BACK_ROWS, p->w.rows - r);
        decode(j->d, p, r, n, c, cols, b);
        k->mul_add(b, cols, n, cols, dy + r, p->dy_stride, T, dx, p->dx_stride);
    }
}

void dev_cpu_back_mul(dev *base, const dev_back *p, int32_t count)
{
    dev_cpu *d = (dev_cpu *)base;
    int64_t items = 0, work = 0;
    for (int32_t i = 0; i < count; i++) {
        items += items_of(&p[i]);
        work += p[i].T * p[i].w.rows * p[i].w.cols / 4;
    }
    back_job j = { .d = d, .p = p, .count = count };
    dev_cpu_each(d, items, work, back_item, &j);
}

/* ---- low-rank matrices --------------------------------------------------------------------------- */

/* Between rows and numbers of a row, [n, m] to [m, n]. */
static void turn(const float *x, int64_t n, int64_t m, float scale, float *y)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < m; k++) y[k * n + i] = scale * x[i * m + k];
}

typedef struct rank_job {
    const dev_cpu *d;
    const dev_lora_back *p;
    float *h;
} rank_job;

enum { RANK_ROWS = 64 };

/* h = A x for some rows. */
static void rank_item(void *ctx, int64_t item, int worker)
{
    const rank_job *j = ctx;
    const dev_lora_back *p = j->p;
    int64_t t = item * RANK_ROWS, T = MIN((int64_t)RANK_ROWS, p->T - t);
    dev_cpu_mul_small(j->d, p->a, p->rank, p->in, p->x + t * p->x_stride, p->x_stride, T, j->h + t * p->rank, p->rank, dev_cpu_scratch(j->d, worker));
}

static void one_product(dev_cpu *d, const float *x, int64_t x_stride, int64_t T, const float *b, int64_t rows, int64_t cols, int64_t b_stride, bool add, float *y,
                        int64_t y_stride)
{
    dev_back p = { .w = { .data = b, .type = DTYPE_F32, .rows = rows, .cols = cols, .row_bytes = (size_t)b_stride * sizeof(float), .scale = 1 }, .dy = x,
                   .dy_stride = x_stride, .T = T, .dx = y, .dx_stride = y_stride, .factor = 1, .add = add };
    dev_cpu_back_mul(&d->base, &p, 1);
}

/* Numbers in the buffers below. */
int64_t dev_cpu_back_lora_floats(const dev_back_work *w) { return (4 * w->T + w->width) * w->rank; }

void dev_cpu_back_lora(dev *base, const dev_lora_back *p)
{
    dev_cpu *d = (dev_cpu *)base;
    int64_t T = p->T, r = p->rank;
    float *h = d->back_shared, *dh = h + T * r, *turned = dh + T * r, *db = turned + T * r;
    rank_job job = { .d = d, .p = p, .h = h };
    dev_cpu_each(d, (T + RANK_ROWS - 1) / RANK_ROWS, T * r * p->in, rank_item, &job);
    one_product(d, p->dy, p->dy_stride, T, p->b, p->out, r, r, false, dh, r);
    turn(h, T, r, p->scale, turned);                       /* dB = scale dy^T h, made turned: [rank, out] */
    one_product(d, turned, T, r, p->dy, T, p->out, p->dy_stride, false, db, p->out);
    for (int64_t o = 0; o < p->out; o++)
        for (int64_t k = 0; k < r; k++) p->db[o * r + k] += db[k * p->out + o];
    turn(dh, T, r, p->scale, turned);                      /* dA = scale (dy B)^T x */
    one_product(d, turned, T, r, p->x, T, p->in, p->x_stride, true, p->da, p->in);
    if (!p->dx) return;
    d->k.scale(p->scale, T * r, dh);
    one_product(d, dh, r, T, p->a, r, p->in, p->in, true, p->dx, p->dx_stride);
}
