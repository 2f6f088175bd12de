/* The backward pass on rows: norms, activation functions, routing, the loss. */
#include "dev/dev_int.h"

#include <math.h>
#include <string.h>

#include "base/bits.h"

/* ---- working memory ---- */

typedef struct back_sizes { size_t each, shared; } back_sizes;

static back_sizes sizes_of(const dev_back_work *w)
{
    back_sizes s;
    s.each = MAX(dev_cpu_back_mul_scratch(), dev_cpu_back_attention_scratch(w));
    s.each = align_up(MAX(s.each, (size_t)MAX(w->vocab, 2 * w->norm) * sizeof(float)), 64);
    s.shared = align_up((size_t)MAX(dev_cpu_back_lora_floats(w), dev_cpu_back_attention_floats(w)) * sizeof(float), 64);
    return s;
}

size_t dev_cpu_back_bytes(const dev *base, const dev_back_work *w)
{
    back_sizes s = sizes_of(w);
    return s.shared + s.each * (size_t)((const dev_cpu *)base)->threads;
}

void dev_cpu_back_set(dev *base, const dev_back_work *w, void *memory)
{
    dev_cpu *d = (dev_cpu *)base;
    back_sizes s = sizes_of(w);
    d->back_shared = memory;
    d->back_each = (uint8_t *)memory + s.shared;
    d->back_each_bytes = s.each;
}

/* ---- rows ---- */

typedef struct back_rows {
    dev_cpu *d;
    const float *x, *w, *dy, *up, *cs, *scale;
    float *dx, *dup;
    const int32_t *ids;
    int64_t n, us, cols;
    int32_t count, pairs;
    float eps;
    bool add;
} back_rows;

static void norm_row(void *ctx, int64_t t, int worker)
{
    const back_rows *j = ctx;
    const kern *k = &j->d->k;
    float *dx = j->dx + t * j->n, *to = j->add ? dev_cpu_back_scratch(j->d, worker) : dx;
    k->rms_norm_back(j->x + t * j->n, j->w, j->eps, j->n, j->dy + t * j->n, to);
    if (j->add) k->add(to, j->n, dx);
}

void dev_cpu_back_norm(dev *d, const float *x, const float *w, float eps, const float *dy, int64_t T, int64_t n, bool add, float *dx)
{
    back_rows j = { .d = (dev_cpu *)d, .x = x, .w = w, .eps = eps, .dy = dy, .n = n, .add = add, .dx = dx };
    dev_cpu_each(j.d, T, T * n, norm_row, &j);
}

/* The inverse of a rotation is the gradient's way through it. */
static void turn_back(const float *cs, int64_t d, int64_t pairs, const float *y, float *x)
{
    int64_t half = d / 2;
    memcpy(x, y, (size_t)d * sizeof *x);
    for (int64_t i = 0; i < pairs; i++) {
        float c = cs[2 * i], s = cs[2 * i + 1];
        x[i] = y[i] * c + y[half + i] * s;
        x[half + i] = y[half + i] * c - y[i] * s;
    }
}

static void norm_rope_row(void *ctx, int64_t t, int worker)
{
    const back_rows *j = ctx;
    const kern *k = &j->d->k;
    float *turned = dev_cpu_back_scratch(j->d, worker), *one = turned + j->n;
    for (int32_t i = 0; i < j->count; i++) {
        int64_t at = (t * j->count + i) * j->n;
        if (j->cs) turn_back(j->cs + t * j->pairs * 2, j->n, j->pairs, j->dy + at, turned);
        else memcpy(turned, j->dy + at, (size_t)j->n * sizeof *turned);
        k->rms_norm_back(j->x + at, j->w, j->eps, j->n, turned, one);
        if (j->add) k->add(one, j->n, j->dx + at);
        else memcpy(j->dx + at, one, (size_t)j->n * sizeof *one);
    }
}

void dev_cpu_back_norm_rope(dev *d, const float *x, int64_t T, int32_t count, int32_t width, const float *w, float eps, const float *cs, int32_t pairs,
                            const float *dy, bool add, float *dx)
{
    back_rows j = { .d = (dev_cpu *)d, .x = x, .n = width, .count = count, .w = w, .eps = eps, .cs = cs, .pairs = pairs, .dy = dy, .add = add, .dx = dx };
    dev_cpu_each(j.d, T, T * count * width, norm_rope_row, &j);
}

static void gelu_row(void *ctx, int64_t t, int worker)
{
    const back_rows *j = ctx;
    (void)worker;
    j->d->k.gelu_mul_back(j->x + t * j->n, j->up + t * j->n, j->dy + t * j->n, j->n, j->dx + t * j->n, j->dup + t * j->n);
}

void dev_cpu_back_gelu_mul(dev *d, const float *gate, const float *up, const float *dy, int64_t T, int64_t n, float *dgate, float *dup)
{
    back_rows j = { .d = (dev_cpu *)d, .x = gate, .up = up, .dy = dy, .n = n, .dx = dgate, .dup = dup };
    dev_cpu_each(j.d, T, 4 * T * n, gelu_row, &j);
}

static void scatter_row(void *ctx, int64_t t, int worker)
{
    const back_rows *j = ctx;
    (void)worker;
    float *y = j->dx + j->ids[t] * j->n;
    if (j->scale) j->d->k.axpy(j->scale[t], j->x + t * j->n, j->n, y);
    else j->d->k.add(j->x + t * j->n, j->n, y);
}

void dev_cpu_back_scatter_add(dev *d, const float *x, const int32_t *rows, const float *w, int64_t T, int64_t n, float *y)
{
    back_rows j = { .d = (dev_cpu *)d, .x = x, .ids = rows, .scale = w, .n = n, .dx = y };
    dev_cpu_each(j.d, T, T * n, scatter_row, &j);
}

static void add_piece(void *ctx, int64_t item, int worker)
{
    const back_rows *j = ctx;
    (void)worker;
    int64_t at = item * j->cols;
    j->d->k.axpy(j->eps, j->x + at, MIN(j->cols, j->n - at), j->dx + at);
}

void dev_cpu_back_add(dev *d, float a, const float *x, int64_t n, float *y)
{
    back_rows j = { .d = (dev_cpu *)d, .x = x, .n = n, .cols = 8192, .eps = a, .dx = y };
    dev_cpu_each(j.d, (n + j.cols - 1) / j.cols, n, add_piece, &j);
}

static void scale_row(void *ctx, int64_t t, int worker)
{
    const back_rows *j = ctx;
    (void)worker;
    j->d->k.scale(j->scale ? j->scale[t] : j->eps, j->n, j->dx + t * j->n);
}

void dev_cpu_back_scale(dev *d, float a, const float *w, int64_t T, int64_t n, float *y)
{
    if (!w && a == 0) {
        memset(y, 0, (size_t)(T * n) * sizeof *y);
        return;
    }
    back_rows j = { .d = (dev_cpu *)d, .eps = a, .scale = w, .n = n, .dx = y };
    dev_cpu_each(j.d, T, T * n, scale_row, &j);
}

double dev_cpu_back_dot_of(const float *a, const float *b, int64_t n)
{
    double sum[4] = { 0 };
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (int k = 0; k < 4; k++) sum[k] += (double)a[i + k] * (double)b[i + k];
    for (; i < n; i++) sum[0] += (double)a[i] * (double)b[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static void dot_row(void *ctx, int64_t t, int worker)
{
    const back_rows *j = ctx;
    (void)worker;
    j->dx[t] = (float)dev_cpu_back_dot_of(j->x + t * j->n, j->dy + t * j->n, j->n);
}

void dev_cpu_back_dot(dev *d, const float *a, const float *b, int64_t T, int64_t n, float *out)
{
    back_rows j = { .d = (dev_cpu *)d, .x = a, .dy = b, .n = n, .dx = out };
    dev_cpu_each(j.d, T, T * n, dot_row, &j);
}

/* ---- routing ---- */

typedef struct route_job {
    const float *logits, *scale, *dw;
    const int32_t *ids;
    int32_t E, k;
    float *dlogits;
} route_job;

/* The weights are a softmax of the chosen logits alone: the sum over all experts cancels. */
static void route_row(void *ctx, int64_t t, int worker)
{
    const route_job *j = ctx;
    const float *logits = j->logits + t * j->E, *dw = j->dw + t * j->k;
    const int32_t *ids = j->ids + t * j->k;
    float *out = j->dlogits + t * j->E;
    double top = -INFINITY, sum = 0, mean = 0;
    (void)worker;
    memset(out, 0, (size_t)j->E * sizeof *out);
    for (int32_t i = 0; i < j->k; i++) top = MAX(top, (double)logits[ids[i]]);
    for (int32_t i = 0; i < j->k; i++) sum += exp((double)logits[ids[i]] - top);
    for (int32_t i = 0; i < j->k; i++)
        mean += exp((double)logits[ids[i]] - top) / sum * (double)dw[i] * (j->scale ? (double)j->scale[ids[i]] : 1);
    for (int32_t i = 0; i < j->k; i++)
        out[ids[i]] = (float)(exp((double)logits[ids[i]] - top) / sum * ((double)dw[i] * (j->scale ? (double)j->scale[ids[i]] : 1) - mean));
}

void dev_cpu_back_route(dev *d, const float *logits, const int32_t *ids, const float *scale, const float *dw, int64_t T, int32_t E, int32_t k, float *dlogits)
{
    route_job j = { .logits = logits, .scale = scale, .dw = dw, .ids = ids, .E = E, .k = k, .dlogits = dlogits };
    dev_cpu_each((dev_cpu *)d, T, T * (E + 16 * k), route_row, &j);
}

/* ---- the loss ---- */

typedef struct loss_job {
    dev_cpu *d;
    float *z;
    const int32_t *labels;
    int64_t V;
    float cap;
    const float *factors;
    dev_loss *out;
} loss_job;

/* -log softmax(cap tanh(raw / cap))[label], and by the raw logits: (p - one-hot) (1 - (z / cap)^2). */
static void loss_row(void *ctx, int64_t t, int worker)
{
    const loss_job *j = ctx;
    float *z = j->z + t * j->V, *p = dev_cpu_back_scratch(j->d, worker), sum = 0;
    int32_t label = j->labels[t];
    int64_t best = 0;
    double mean = 0;
    memcpy(p, z, (size_t)j->V * sizeof *p);
    float top = j->d->k.exp_sum(p, j->V, &sum), inv = 1.0f / sum, bend = j->cap > 0 ? 1.0f / (j->cap * j->cap) : 0;
    for (int64_t i = 0; i < j->V; i++) {
        if (z[i] > z[best]) best = i;
        mean += (double)(p[i] * (z[i] - top));
    }
    double lse = log((double)sum);
    j->out[t] = (dev_loss){ .loss = lse - ((double)z[label] - (double)top), .entropy = lse - mean * (double)inv, .right = best == label };
    if (!j->factors) return;
    float factor = j->factors[t], at_label = (p[label] * inv - 1) * (1 - z[label] * z[label] * bend) * factor;
    for (int64_t i = 0; i < j->V; i++) z[i] = p[i] * inv * (1 - z[i] * z[i] * bend) * factor;
    z[label] = at_label;
}

void dev_cpu_back_loss(dev *d, float *z, const int32_t *labels, int64_t T, int64_t V, float cap, const float *factors, dev_loss *out)
{
    loss_job j = { .d = (dev_cpu *)d, .z = z, .labels = labels, .V = V, .cap = cap, .factors = factors, .out = out };
    dev_cpu_each(j.d, T, 16 * T * V, loss_row, &j);
}
