/* The CPU device: memory, working buffers, and the operations on rows. */
#include "dev/dev_int.h"

#include <math.h>
#include <string.h>

#include "base/bits.h"
#include "os/cpu.h"

static dev_cpu *self(dev *d) { return (dev_cpu *)d; }

static void cpu_free(dev *base)
{
    dev_cpu *d = self(base);
    pool_free(d->pool);
    mem_free(d);
}

static status cpu_sync(dev *d, err *e)
{
    (void)d;
    (void)e;
    return OK;      /* operations are done when they return */
}

static int cpu_threads(const dev *d) { return ((const dev_cpu *)d)->threads; }

static void cpu_copy(dev *d, void *dst, const void *src, size_t n)
{
    (void)d;
    memcpy(dst, src, n);
}

/* ---- working memory ---- */

typedef struct cpu_sizes { size_t pack, runs, scratch, partial; } cpu_sizes;

static cpu_sizes cpu_sizes_of(const dev_cpu *d, const dev_work *w)
{
    cpu_sizes s;
    s.pack = align_up(w->pack_bytes, 64);
    s.runs = align_up((size_t)w->products_max * sizeof(dev_cpu_run), 64);
    s.scratch = align_up(MAX(dev_cpu_mul_scratch(d, w), dev_cpu_attention_scratch(w)), 64);
    s.partial = align_up(dev_cpu_attention_partial(w) * sizeof(float), 64);
    return s;
}

static size_t cpu_work_bytes(const dev *base, const dev_work *w)
{
    const dev_cpu *d = (const dev_cpu *)base;
    cpu_sizes s = cpu_sizes_of(d, w);
    return s.pack + s.runs + s.scratch * (size_t)d->threads + s.partial;
}

static void cpu_work_set(dev *base, const dev_work *w, void *memory)
{
    dev_cpu *d = self(base);
    cpu_sizes s = cpu_sizes_of(d, w);
    uint8_t *p = memory;
    d->work = *w;
    d->pack = p;
    d->runs = (dev_cpu_run *)(void *)(p + s.pack);
    d->scratch = p + s.pack + s.runs;
    d->scratch_bytes = s.scratch;
    d->partial = (float *)(void *)(d->scratch + s.scratch * (size_t)d->threads);
    d->partial_floats = s.partial / sizeof(float);
}

/* ---- rows ---- */

typedef struct row_job {
    dev_cpu *d;
    const dev_mat *mat;
    const int32_t *ids;
    const float *x, *w, *cs;
    const float *up;
    float *y;
    int64_t xs, us, ys, n, cols;     /* cols: of one item, when rows are cut */
    int32_t count, pairs;
    float eps, a;
} row_job;

static void embed_row(void *ctx, int64_t t, int worker)
{
    row_job *j = ctx;
    (void)worker;
    float *y = j->y + t * j->ys;
    dtype_of(j->mat->type)->decode((const uint8_t *)j->mat->data + (size_t)j->ids[t] * j->mat->row_bytes, y, j->mat->cols);
    j->d->k.scale(j->a, j->mat->cols, y);
}

static void cpu_embed(dev *d, const dev_mat *w, const int32_t *ids, int64_t T, float scale, float *y, int64_t ys)
{
    row_job j = { .d = self(d), .mat = w, .ids = ids, .y = y, .ys = ys, .a = scale };
    dev_cpu_each(self(d), T, T * w->cols, embed_row, &j);
}

static void cpu_gather(dev *d, const float *x, int64_t xs, const int32_t *rows, int64_t T, int64_t n, float *y, int64_t ys)
{
    (void)d;
    for (int64_t t = 0; t < T; t++) {
        const float *from = x + rows[t] * xs;
        if (from != y + t * ys) memmove(y + t * ys, from, (size_t)n * sizeof *y);
    }
}

typedef struct move_job {
    dev_cpu *d;
    dtype type;
    const uint8_t *from;
    uint8_t *to;
    int64_t n;
    size_t bytes;                    /* of a stored row */
} move_job;

static void store_row(void *ctx, int64_t t, int worker)
{
    const move_job *j = ctx;
    (void)worker;
    j->d->k.kv_store(j->type, (const float *)(const void *)j->from + t * j->n, j->n, j->to + (size_t)t * j->bytes);
}

static void cpu_store(dev *d, dtype type, const float *x, int64_t T, int64_t n, void *out)
{
    move_job j = { .d = self(d), .type = type, .from = (const uint8_t *)x, .to = out, .n = n, .bytes = dtype_row_bytes(type, n) };
    dev_cpu_each(self(d), T, T * n, store_row, &j);
}

static void load_row(void *ctx, int64_t t, int worker)
{
    const move_job *j = ctx;
    (void)worker;
    j->d->k.kv_load(j->type, j->from + (size_t)t * j->bytes, j->n, (float *)(void *)j->to + t * j->n);
}

static void cpu_load(dev *d, dtype type, const void *in, int64_t T, int64_t n, float *y)
{
    move_job j = { .d = self(d), .type = type, .from = in, .to = (uint8_t *)y, .n = n, .bytes = dtype_row_bytes(type, n) };
    dev_cpu_each(self(d), T, T * n, load_row, &j);
}

static void norm_row(void *ctx, int64_t t, int worker)
{
    row_job *j = ctx;
    (void)worker;
    j->d->k.rms_norm(j->x + t * j->xs, j->w, j->eps, j->n, j->y + t * j->ys);
}

static void cpu_rms_norm(dev *d, const float *x, int64_t xs, const float *w, float eps, int64_t T, int64_t n, float *y, int64_t ys)
{
    row_job j = { .d = self(d), .x = x, .xs = xs, .w = w, .eps = eps, .n = n, .y = y, .ys = ys };
    dev_cpu_each(self(d), T, T * n, norm_row, &j);
}

static void norm_add_row(void *ctx, int64_t t, int worker)
{
    row_job *j = ctx;
    const kern *k = &j->d->k;
    float *tmp = (float *)(void *)dev_cpu_scratch(j->d, worker);
    float *y = j->y + t * j->n;
    const float *base = j->up + t * j->n;
    k->rms_norm(j->x + t * j->n, j->w, j->eps, j->n, tmp);
    if (y != base) memmove(y, base, (size_t)j->n * sizeof *y);
    k->add(tmp, j->n, y);
    if (j->a != 1.0f) k->scale(j->a, j->n, y);
}

static void cpu_norm_add(dev *d, const float *x, const float *w, float eps, const float *base, float a, int64_t T, int64_t n, float *y)
{
    row_job j = { .d = self(d), .x = x, .w = w, .eps = eps, .up = base, .a = a, .n = n, .y = y };
    dev_cpu_each(self(d), T, T * n, norm_add_row, &j);
}

static void norm_rope_row(void *ctx, int64_t t, int worker)
{
    row_job *j = ctx;
    const kern *k = &j->d->k;
    (void)worker;
    for (int32_t i = 0; i < j->count; i++) {
        float *x = j->y + (t * j->count + i) * j->n;
        k->rms_norm(x, j->w, j->eps, j->n, x);
        if (j->cs) k->rope(x, j->cs + t * j->pairs * 2, j->n, j->pairs);
    }
}

static void cpu_norm_rope(dev *d, float *x, int64_t T, int32_t count, int32_t width, const float *w, float eps, const float *cs, int32_t pairs)
{
    row_job j = { .d = self(d), .y = x, .n = width, .count = count, .w = w, .eps = eps, .cs = cs, .pairs = pairs };
    dev_cpu_each(self(d), T, T * count * width, norm_rope_row, &j);
}

/* One row is cut in pieces too: a decoded token has a single wide one. */
static void gelu_piece(void *ctx, int64_t item, int worker)
{
    row_job *j = ctx;
    (void)worker;
    int64_t pieces = (j->n + j->cols - 1) / j->cols, t = item / pieces, at = item % pieces * j->cols;
    int64_t n = MIN(j->cols, j->n - at);
    j->d->k.gelu_mul(j->x + t * j->xs + at, j->up + t * j->us + at, n, j->y + t * j->ys + at);
}

static void cpu_gelu_mul(dev *d, const float *gate, int64_t gs, const float *up, int64_t us, int64_t T, int64_t n, float *y, int64_t ys)
{
    row_job j = { .d = self(d), .x = gate, .xs = gs, .up = up, .us = us, .y = y, .ys = ys, .n = n, .cols = 2048 };
    dev_cpu_each(self(d), T * ((n + j.cols - 1) / j.cols), 4 * T * n, gelu_piece, &j);
}

static void softcap_piece(void *ctx, int64_t item, int worker)
{
    row_job *j = ctx;
    (void)worker;
    int64_t at = item * j->cols;
    j->d->k.softcap(j->a, MIN(j->cols, j->n - at), j->y + at);
}

static void cpu_softcap(dev *d, float cap, int64_t T, int64_t n, float *y)
{
    row_job j = { .d = self(d), .y = y, .n = T * n, .cols = 4096, .a = cap };
    dev_cpu_each(self(d), (T * n + j.cols - 1) / j.cols, 4 * T * n, softcap_piece, &j);
}

/* ---- experts ---- */

/* The largest not yet taken; ties go to the lower index. */
static int32_t largest_left(const float *p, int32_t n, const int32_t *taken, int32_t count)
{
    int32_t best = -1;
    for (int32_t i = 0; i < n; i++) {
        bool used = false;
        for (int32_t j = 0; j < count && !used; j++) used = taken[j] == i;
        if (!used && (best < 0 || p[i] > p[best])) best = i;
    }
    return best;
}

typedef struct route_job {
    dev_cpu *d;
    const float *logits, *scale;
    int32_t E, k;
    int32_t *ids;
    float *w;
} route_job;

/* Probabilities over all experts, then top-k renormalised, in the reference's order of operations (architecture
 * section 2.9).  Ids ascend because the reference adds the experts' outputs in that order. */
static void route_row(void *ctx, int64_t t, int worker)
{
    route_job *j = ctx;
    float *p = (float *)(void *)dev_cpu_scratch(j->d, worker);
    int32_t *ids = j->ids + t * j->k;
    float *w = j->w + t * j->k;
    memcpy(p, j->logits + t * j->E, (size_t)j->E * sizeof *p);
    j->d->k.softmax(p, j->E);
    float sum = 0;
    for (int32_t i = 0; i < j->k; i++) {
        ids[i] = largest_left(p, j->E, ids, i);
        sum += p[ids[i]];
    }
    for (int32_t i = 1; i < j->k; i++)
        for (int32_t at = i; at > 0 && ids[at - 1] > ids[at]; at--) {
            int32_t swap = ids[at];
            ids[at] = ids[at - 1];
            ids[at - 1] = swap;
        }
    for (int32_t i = 0; i < j->k; i++) w[i] = p[ids[i]] / sum * (j->scale ? j->scale[ids[i]] : 1.0f);
}

static void cpu_route(dev *d, const float *logits, int64_t T, int32_t E, int32_t k, const float *scale, int32_t *ids, float *w)
{
    route_job j = { .d = self(d), .logits = logits, .scale = scale, .E = E, .k = k, .ids = ids, .w = w };
    dev_cpu_each(self(d), T, T * E * k, route_row, &j);
}

typedef struct combine_job {
    dev_cpu *d;
    const float *x, *w;
    const int32_t *slot;
    int32_t k;
    int64_t n;
    float *y;
} combine_job;

static void combine_row(void *ctx, int64_t t, int worker)
{
    combine_job *j = ctx;
    (void)worker;
    float *y = j->y + t * j->n;
    memset(y, 0, (size_t)j->n * sizeof *y);
    for (int32_t i = 0; i < j->k; i++) j->d->k.axpy(j->w[t * j->k + i], j->x + j->slot[t * j->k + i] * j->n, j->n, y);
}

static void cpu_combine(dev *d, const float *x, const int32_t *slot, const float *w, int64_t T, int32_t k, int64_t n, float *y)
{
    combine_job j = { .d = self(d), .x = x, .w = w, .slot = slot, .k = k, .n = n, .y = y };
    dev_cpu_each(self(d), T, T * n * k, combine_row, &j);
}

/* ---- the table ---- */

static const dev_table cpu_table = {
    .name = "cpu",
    .free = cpu_free,
    .sync = cpu_sync,
    .threads = cpu_threads,
    .shares_host = true,
    .copy = cpu_copy,
    .upload = cpu_copy,
    .download = cpu_copy,
    .pack_bytes = dev_cpu_mul_pack_bytes,
    .work_bytes = cpu_work_bytes,
    .work_set = cpu_work_set,
    .embed = cpu_embed,
    .gather = cpu_gather,
    .store = cpu_store,
    .load = cpu_load,
    .rms_norm = cpu_rms_norm,
    .norm_add = cpu_norm_add,
    .norm_rope = cpu_norm_rope,
    .gelu_mul = cpu_gelu_mul,
    .softcap = cpu_softcap,
    .mul = dev_cpu_mul,
    .kv_write = dev_cpu_attention_write,
    .attention = dev_cpu_attention,
    .route = cpu_route,
    .combine = cpu_combine,
    .back_bytes = dev_cpu_back_bytes,
    .back_set = dev_cpu_back_set,
    .mul_back = dev_cpu_back_mul,
    .lora_back = dev_cpu_back_lora,
    .norm_back = dev_cpu_back_norm,
    .norm_rope_back = dev_cpu_back_norm_rope,
    .gelu_mul_back = dev_cpu_back_gelu_mul,
    .attention_back = dev_cpu_back_attention,
    .route_back = dev_cpu_back_route,
    .scatter_add = dev_cpu_back_scatter_add,
    .add = dev_cpu_back_add,
    .scale = dev_cpu_back_scale,
    .dot = dev_cpu_back_dot,
    .loss = dev_cpu_back_loss,
};

status dev_cpu_new(dev **out, const dev_cpu_opts *o, err *e)
{
    status st = OK;
    dev_cpu *d = mem_alloc(sizeof *d, MEM_OTHER);
    if (!d) FAIL(e, E_NOMEM, "could not start the CPU device\nout of memory");
    d->base.op = &cpu_table;
    d->exact = o->exact;
    d->invariant = o->invariant;
    d->threads = o->threads > 0 ? o->threads : cpu_cores();
    kern_init(&d->k, o->exact ? CPU_REF : o->isa);
    if (!o->measure) {
        TRY(pool_new(&d->pool, d->threads, e));
        d->threads = pool_threads(d->pool);
    }
    *out = &d->base;
    d = NULL;
out:
    if (d) cpu_free(&d->base);
    return st;
}
