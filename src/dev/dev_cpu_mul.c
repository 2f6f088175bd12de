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

static size_t packed_row_bytes(const dev_cpu *d, kern_act act, int64_t cols)
{
    return align_up(d->k.act_bytes(act, cols), 64);
}

size_t dev_cpu_mul_pack_bytes(const dev *base, dtype type, int64_t cols, bool exact, bool gathered)
{
    const dev_cpu *d = (const dev_cpu *)base;
    kern_act act = act_of(d, type, d->exact || (exact && type != DTYPE_F32));
    return needs_pack(act, gathered) ? packed_row_bytes(d, act, cols) : 0;
}

/* The kernel's own, and room for one row of A x and B (A x). */
size_t dev_cpu_mul_scratch(const dev_cpu *d, const dev_work *w)
{
    int64_t floats = MAX(w->rows_max, w->cols_max);
    return align_up(d->k.scratch_bytes(MAX(w->cols_max, w->rank_max)), 64) + align_up((size_t)floats * 4, 64) + align_up((size_t)w->rank_max * 4, 64);
}

/* ---- packing ---- */

typedef struct pack_job {
    dev_cpu *d;
    const dev_cpu_run *run;
    uint8_t *out;
    kern_act act;
} pack_job;

static void pack_row(void *ctx, int64_t t, int worker)
{
    pack_job *j = ctx;
    const dev_product *p = j->run->p;
    (void)worker;
    j->d->k.pack[j->act](p->x + (p->rows ? p->rows[t] : t) * p->x_stride, p->w.cols, j->out + (size_t)t * j->run->x_bytes);
}

static bool same_input(const dev_product *a, const dev_product *b)
{
    return a->x == b->x && a->x_stride == b->x_stride && a->rows == b->rows && a->T == b->T && a->w.cols == b->w.cols;
}

/* Finds or makes the packed input of runs[i]; false when the buffer is full. */
static bool pack_input(dev_cpu *d, int32_t i, int32_t first, size_t *used)
{
    dev_cpu_run *r = &d->runs[i];
    const dev_product *p = r->p;
    r->exact = is_exact(d, p);
    kern_act act = act_of(d, p->w.type, r->exact);
    if (!needs_pack(act, p->rows != NULL)) {
        r->x = (const uint8_t *)p->x;
        r->x_bytes = (size_t)p->x_stride * sizeof(float);
        return true;
    }
    for (int32_t j = i - 1; j >= first; j--) {
        const dev_cpu_run *other = &d->runs[j];
        if (!same_input(other->p, p)) continue;
        if (act_of(d, other->p->w.type, other->exact) != act) continue;
        r->x = other->x;
        r->x_bytes = other->x_bytes;
        return true;
    }
    r->x_bytes = packed_row_bytes(d, act, p->w.cols);
    size_t need = r->x_bytes * (size_t)p->T;
    if (*used + need > d->work.pack_bytes) return false;
    pack_job job = { .d = d, .run = r, .out = d->pack + *used, .act = act };
    dev_cpu_each(d, p->T, 2 * p->T * p->w.cols, pack_row, &job);
    r->x = job.out;
    *used += need;
    return true;
}

/* ---- multiplying ---- */

typedef struct mul_job {
    dev_cpu *d;
    const dev_cpu_run *runs;
    int32_t count;
} mul_job;

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
    else
        k->fast[w->type].mul(data, w->row_bytes, rows, w->cols, r->x, r->x_bytes, p->T, p->y + row, p->y_stride, scratch);
    float scale = w->scale * p->factor;
    if (scale == 1.0f) return;
    for (int64_t t = 0; t < p->T; t++) k->scale(scale, rows, p->y + t * p->y_stride + row);
}

/* Small enough to share the work evenly, large enough that a block of weights is worth a call; the results do
 * not depend on it. */
static int64_t block_rows(const dev_product *p)
{
    int64_t target = p->T > 4 ? 64 * 1024 : 32 * 1024;
    int64_t rows = target / (int64_t)MAX(p->w.row_bytes, (size_t)1);
    rows &= ~(int64_t)15;
    return MAX(rows, 16);
}

static void multiply(dev_cpu *d, int32_t first, int32_t end)
{
    int64_t items = 0, work = 0;
    for (int32_t i = first; i < end; i++) {
        dev_cpu_run *r = &d->runs[i];
        r->block = block_rows(r->p);
        r->item_first = items;
        items += (r->p->w.rows + r->block - 1) / r->block;
        work += r->p->w.rows * r->p->w.cols * r->p->T;
    }
    mul_job job = { .d = d, .runs = d->runs + first, .count = end - first };
    dev_cpu_each(d, items, work / 4, mul_item, &job);
}

/* ---- low-rank terms ---- */

typedef struct lora_job {
    dev_cpu *d;
    const dev_product *p;
} lora_job;

static void lora_row(void *ctx, int64_t t, int worker)
{
    const lora_job *j = ctx;
    const dev_product *p = j->p;
    const dev_cpu *d = j->d;
    if (!p->adapter[t]) return;
    const float *x = p->x + (p->rows ? p->rows[t] : t) * p->x_stride;
    uint8_t *scratch = dev_cpu_scratch(d, worker);
    float *u = (float *)(void *)(scratch + align_up(d->k.scratch_bytes(MAX(d->work.cols_max, d->work.rank_max)), 64));
    float *v = u + align_up((size_t)d->work.rank_max, 16);
    for (const dev_lora *l = p->lora; l; l = l->next) {
        if (l->adapter != p->adapter[t]) continue;
        d->k.mul_exact(DTYPE_F32, l->a, (size_t)p->w.cols * 4, l->rank, p->w.cols, x, p->w.cols, 1, u, l->rank, scratch);
        d->k.mul_exact(DTYPE_F32, l->b, (size_t)l->rank * 4, p->w.rows, l->rank, u, l->rank, 1, v, p->w.rows, scratch);
        d->k.axpy(l->scale * p->factor, v, p->w.rows, p->y + t * p->y_stride);
    }
}

static void add_lora(dev_cpu *d, const dev_product *p)
{
    if (!p->lora) return;
    lora_job job = { .d = d, .p = p };
    dev_cpu_each(d, p->T, p->T * (p->w.rows + p->w.cols), lora_row, &job);
}

void dev_cpu_mul(dev *base, const dev_product *p, int32_t count)
{
    dev_cpu *d = (dev_cpu *)base;
    int32_t first = 0;
    while (first < count) {
        size_t used = 0;
        int32_t i = first;
        for (; i < count && i - first < d->work.products_max; i++) {
            d->runs[i - first] = (dev_cpu_run){ .p = &p[i] };
            if (!pack_input(d, i - first, 0, &used)) break;
        }
        multiply(d, 0, i - first);
        for (int32_t at = first; at < i; at++) add_lora(d, &p[at]);
        first = i;
    }
}
