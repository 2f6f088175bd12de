/* Products: inputs are packed once for all matrices that share them, then rows of all matrices are handed out.
 *
 * A call runs in rounds: as many products as the packing buffer holds are packed and multiplied together, usually
 * all of them. */
#include "dev/dev_int.h"

#include <string.h>

#include "base/bits.h"

static kern_act act_of(const dev_cpu *d, dtype type, bool exact) { return exact ? KERN_ACT_F32 : d->k.fast[type].act; }

/* f32 rows are read where they are, unless they have to be collected. */
static bool needs_pack(kern_act act, bool gathered) { return act != KERN_ACT_F32 || gathered; }

static bool is_exact(const dev_cpu *d, const dev_product *p) { return d->exact || (p->exact && p->w.type != DTYPE_F32); }

static bool is_many(const dev_cpu *d, dtype type, int64_t cols, int64_t T, bool exact)
{
    return !exact && !d->invariant && kern_takes_many(&d->k.fast[type], cols, T);
}

static size_t packed_row_bytes(const dev_cpu *d, kern_act act, int64_t cols)
{
    return align_up(d->k.act_bytes(act, cols), 64);
}

size_t dev_cpu_mul_pack_bytes(const dev *base, dtype type, int64_t cols, int64_t T, bool exact, bool gathered)
{
    const dev_cpu *d = (const dev_cpu *)base;
    bool precise = d->exact || (exact && type != DTYPE_F32);
    kern_act act = act_of(d, type, precise);
    size_t rows = needs_pack(act, gathered) ? packed_row_bytes(d, act, cols) * (size_t)T : 0;
    return is_many(d, type, cols, T, precise) ? MAX(rows, kern_many_bytes(T, cols, d->k.fast[type].many_parts)) : rows;
}

static size_t kernel_scratch(const dev_cpu *d, const dev_work *w) { return align_up(d->k.scratch_bytes(MAX(w->cols_max, w->rank_max)), 64); }

enum { LORA_ROWS = 32, LORA_OUT = 256 };     /* rows and outputs of a piece of low-rank terms */

/* The kernel's own, and room for A x of some rows and a piece of B (A x). */
size_t dev_cpu_mul_scratch(const dev_cpu *d, const dev_work *w)
{
    return kernel_scratch(d, w) + LORA_ROWS * (align_up((size_t)w->rank_max, 16) + LORA_OUT) * sizeof(float);
}

/* ---- packing ---- */

typedef struct mul_job {
    dev_cpu *d;
    const dev_cpu_run *runs;
    int32_t count;
    int64_t items;
} mul_job;

static bool same_input(const dev_product *a, const dev_product *b)
{
    return a->x == b->x && a->x_stride == b->x_stride && a->rows == b->rows && a->T == b->T && a->w.cols == b->w.cols;
}

static int many_parts(const dev_cpu *d, const dev_cpu_run *r) { return r->many ? d->k.fast[r->p->w.type].many_parts : 0; }

/* Input that an earlier run packs already, or NULL. */
static const dev_cpu_run *packed_before(const dev_cpu *d, int32_t i)
{
    const dev_cpu_run *r = &d->runs[i];
    for (int32_t j = i - 1; j >= 0; j--)
        if (d->runs[j].act == r->act && many_parts(d, &d->runs[j]) == many_parts(d, r) && same_input(d->runs[j].p, r->p)) return &d->runs[j];
    return NULL;
}

/* Where the packed input of runs[i] will be; *items counts what is to be packed.  False when the buffer is full. */
static bool place_input(dev_cpu *d, int32_t i, size_t *used, int64_t *items)
{
    dev_cpu_run *r = &d->runs[i];
    const dev_product *p = r->p;
    r->exact = is_exact(d, p);
    r->act = act_of(d, p->w.type, r->exact);
    r->many = is_many(d, p->w.type, p->w.cols, p->T, r->exact);
    r->pack_first = *items;
    if (!r->many && !needs_pack(r->act, p->rows != NULL)) {
        r->x = (const uint8_t *)p->x;
        r->x_bytes = (size_t)p->x_stride * sizeof(float);
        return true;
    }
    const dev_cpu_run *other = packed_before(d, i);
    if (other) {
        r->x = other->x;
        r->x_bytes = other->x_bytes;
        return true;
    }
    int parts = many_parts(d, r);
    r->x_bytes = r->many ? kern_many_slice(p->T, parts) : packed_row_bytes(d, r->act, p->w.cols);
    size_t need = r->many ? kern_many_bytes(p->T, p->w.cols, parts) : r->x_bytes * (size_t)p->T;
    if (*used + need > d->work.pack_bytes) return false;
    r->x = d->pack + *used;
    *used += need;
    *items += r->many ? (p->T + KERN_MANY_GROUP - 1) / KERN_MANY_GROUP : p->T;
    return true;
}

static void pack_group(const dev_cpu *d, const dev_cpu_run *r, int64_t group)
{
    const dev_product *p = r->p;
    const float *x[KERN_MANY_GROUP] = {NULL};
    int64_t first = group * KERN_MANY_GROUP, n = MIN(p->T - first, (int64_t)KERN_MANY_GROUP);
    int parts = many_parts(d, r);
    for (int64_t t = 0; t < n; t++) x[t] = p->x + (p->rows ? p->rows[first + t] : first + t) * p->x_stride;
    uint8_t *out = d->pack + (r->x - d->pack) + kern_many_slice(1, parts) * (size_t)group;
    d->k.pack_many(x, p->w.cols, parts, out, r->x_bytes);
}

/* The last run with pack_first <= item: runs that pack nothing share the number with the next that does. */
static void pack_item(void *ctx, int64_t item, int worker)
{
    const mul_job *j = ctx;
    int32_t lo = 0, hi = j->count - 1;
    (void)worker;
    while (lo < hi) {
        int32_t mid = (lo + hi + 1) / 2;
        if (j->runs[mid].pack_first <= item) lo = mid;
        else hi = mid - 1;
    }
    const dev_cpu_run *r = &j->runs[lo];
    const dev_product *p = r->p;
    int64_t t = item - r->pack_first;
    if (r->many) {
        pack_group(j->d, r, t);
        return;
    }
    uint8_t *out = j->d->pack + (r->x - j->d->pack) + (size_t)t * r->x_bytes;
    j->d->k.pack[r->act](p->x + (p->rows ? p->rows[t] : t) * p->x_stride, p->w.cols, out);
}

/* ---- multiplying ---- */

static const dev_cpu_run *run_of(const mul_job *j, int64_t item)
{
    int32_t lo = 0, hi = j->count - 1;
    while (lo < hi) {
        int32_t mid = (lo + hi + 1) / 2;
        if (j->runs[mid].item_first <= item) lo = mid;
        else hi = mid - 1;
    }
    return &j->runs[lo];
}

/* Weights of the item that the thread with this item of `now` will take next if all threads keep pace, or NULL. */
static const void *next_weights(const mul_job *j, const dev_cpu_run *now, int64_t item)
{
    item += j->d->threads;
    if (item >= j->items) return NULL;
    const dev_cpu_run *r = run_of(j, item);
    if (r->p->w.row_bytes != now->p->w.row_bytes) return NULL;
    return (const uint8_t *)r->p->w.data + (size_t)((item - r->item_first) * r->block) * r->p->w.row_bytes;
}

static void mul_item(void *ctx, int64_t item, int worker)
{
    const mul_job *j = ctx;
    const dev_cpu_run *r = run_of(j, item);
    const dev_product *p = r->p;
    const dev_mat *w = &p->w;
    const kern *k = &j->d->k;
    int64_t row = (item - r->item_first) * r->block, rows = MIN(r->block, w->rows - row);
    const uint8_t *data = (const uint8_t *)w->data + (size_t)row * w->row_bytes;
    void *scratch = dev_cpu_scratch(j->d, worker);
    if (r->exact)
        k->mul_exact(w->type, data, w->row_bytes, rows, w->cols, (const float *)(const void *)r->x, (int64_t)(r->x_bytes / sizeof(float)), p->T,
                     p->y + row, p->y_stride, scratch);
    else {
        kern_mul_fn mul = r->many ? k->fast[w->type].many : kern_mul_for(&k->fast[w->type], p->T);
        mul(data, w->row_bytes, rows, w->cols, r->x, r->x_bytes, p->T, p->y + row, p->y_stride, next_weights(j, r, item), scratch);
    }
    float scale = w->scale * p->factor;
    if (scale == 1.0f) return;
    for (int64_t t = 0; t < p->T; t++) k->scale(scale, rows, p->y + t * p->y_stride + row);
}

/* Weight bytes of one item: small enough to share the work evenly, large enough that a block of weights is worth a
 * call.  Few tokens read weights as fast as memory gives them; the first rows of a block arrive late (kernels ask for
 * the next ones ahead), so blocks are larger there.  The results do not depend on it. */
static int64_t block_bytes(const dev_cpu *d, int32_t count)
{
    int64_t bytes = 0, small = 48 * 1024, large = 1024 * 1024;
    for (int32_t i = 0; i < count; i++) {
        const dev_product *p = d->runs[i].p;
        if (p->T > 16) return small;
        bytes += p->w.rows * (int64_t)p->w.row_bytes;
    }
    return MIN(MAX(bytes / (8 * d->threads), small), large);
}

static int64_t block_rows(const dev_product *p, int64_t bytes)
{
    int64_t step = p->T > 4 ? 64 : 16;
    int64_t rows = bytes / (int64_t)MAX(p->w.row_bytes, (size_t)1);
    return MAX(rows / step * step, step);
}

static void multiply(dev_cpu *d, int32_t count)
{
    int64_t items = 0, work = 0, bytes = block_bytes(d, count);
    for (int32_t i = 0; i < count; i++) {
        dev_cpu_run *r = &d->runs[i];
        r->block = r->many ? KERN_MANY_ROWS : block_rows(r->p, bytes);
        r->item_first = items;
        items += (r->p->w.rows + r->block - 1) / r->block;
        work += r->p->w.rows * r->p->w.cols * r->p->T;
    }
    mul_job job = { .d = d, .runs = d->runs, .count = count, .items = items };
    for (int i = 0; i < d->threads; i++) memset(dev_cpu_scratch(d, i), 0, KERN_SCRATCH_HEAD);
    dev_cpu_each(d, items, work / 4, mul_item, &job);
}

/* ---- low-rank terms ---- */

typedef struct lora_job {
    dev_cpu *d;
    const dev_product *p;
    int64_t piece;               /* rows of an item */
} lora_job;

void dev_cpu_mul_small(const dev_cpu *d, const float *w, int64_t rows, int64_t cols, const float *x, int64_t x_stride, int64_t T, float *y, int64_t y_stride,
                          void *scratch)
{
    const kern_mul *fast = &d->k.fast[DTYPE_F32];
    if (d->exact || fast->act != KERN_ACT_F32)
        d->k.mul_exact(DTYPE_F32, w, (size_t)cols * sizeof *w, rows, cols, x, x_stride, T, y, y_stride, scratch);
    else
        kern_mul_for(fast, T)(w, (size_t)cols * sizeof *w, rows, cols, x, (size_t)x_stride * sizeof *x, T, y, y_stride, NULL, scratch);
}

/* The terms of one adapter for T rows from `t` on. */
static void lora_rows(const lora_job *j, int64_t t, int64_t T, int worker)
{
    const dev_product *p = j->p;
    const dev_cpu *d = j->d;
    const float *x = p->x + (p->rows ? p->rows[t] : t) * p->x_stride;
    uint8_t *scratch = dev_cpu_scratch(d, worker);
    float *u = (float *)(void *)(scratch + kernel_scratch(d, &d->work)), *v = u + LORA_ROWS * align_up((size_t)d->work.rank_max, 16);
    for (const dev_lora *l = p->lora; l; l = l->next) {
        if (l->adapter != p->adapter[t]) continue;
        dev_cpu_mul_small(d, l->a, l->rank, p->w.cols, x, p->x_stride, T, u, l->rank, scratch);
        for (int64_t row = 0; row < p->w.rows; row += LORA_OUT) {
            int64_t n = MIN((int64_t)LORA_OUT, p->w.rows - row);
            dev_cpu_mul_small(d, l->b + row * l->rank, n, l->rank, u, l->rank, T, v, n, scratch);
            for (int64_t i = 0; i < T; i++) d->k.axpy(l->scale * p->factor, v + i * n, n, p->y + (t + i) * p->y_stride + row);
        }
    }
}

/* Rows of a piece that use the same adapter, and lie one behind the other, go together. */
static void lora_item(void *ctx, int64_t item, int worker)
{
    const lora_job *j = ctx;
    const dev_product *p = j->p;
    int64_t end = MIN((item + 1) * j->piece, p->T);
    for (int64_t t = item * j->piece, n; t < end; t += n) {
        for (n = 1; !p->rows && t + n < end && p->adapter[t + n] == p->adapter[t]; n++) {}
        if (p->adapter[t]) lora_rows(j, t, n, worker);
    }
}

static void add_lora(dev_cpu *d, const dev_product *p)
{
    if (!p->lora) return;
    lora_job job = { .d = d, .p = p, .piece = p->T < 2 * LORA_ROWS ? 4 : LORA_ROWS };
    dev_cpu_each(d, (p->T + job.piece - 1) / job.piece, p->T * (p->w.rows + p->w.cols), lora_item, &job);
}

void dev_cpu_mul(dev *base, const dev_product *p, int32_t count)
{
    dev_cpu *d = (dev_cpu *)base;
    while (count > 0) {
        size_t used = 0;
        int64_t items = 0;
        int32_t n = 0;
        for (; n < count && n < d->work.products_max; n++) {
            d->runs[n] = (dev_cpu_run){ .p = &p[n] };
            if (!place_input(d, n, &used, &items)) break;
        }
        mul_job job = { .d = d, .runs = d->runs, .count = n };
        dev_cpu_each(d, items, (int64_t)used, pack_item, &job);
        multiply(d, n);
        for (int32_t i = 0; i < n; i++) add_lora(d, &p[i]);
        p += n;
        count -= n;
    }
}
