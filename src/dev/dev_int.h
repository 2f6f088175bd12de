/* Inside dev/ only: the CPU device. */
#ifndef FC_DEV_DEV_INT_H
#define FC_DEV_DEV_INT_H

#include "dev/dev.h"
#include "kern/kern.h"
#include "os/pool.h"

enum { DEV_INLINE = 16384 };     /* elements that one thread handles faster than the pool starts */
enum { DEV_CHUNK = 256 };        /* keys whose softmax is summed before it is merged */
enum { DEV_QUERIES = 64 };       /* query vectors that share one pass over the keys */

typedef struct dev_cpu_run {     /* a product while it runs */
    const dev_product *p;
    const uint8_t *x;            /* packed, or f32 in place */
    size_t x_bytes;              /* from one row to the next; of a slice where many */
    int64_t block;               /* weight rows of one item */
    int64_t item_first;
    int64_t pack_first;          /* number of its first row, or group of rows where many, among all to pack */
    kern_act act;
    bool exact;
    bool many;                   /* kern_mul.many */
} dev_cpu_run;

typedef struct dev_cpu {
    dev base;
    pool *pool;
    int threads;
    bool exact, invariant;
    kern k;
    dev_work work;
    uint8_t *pack;               /* [work.pack_bytes] */
    dev_cpu_run *runs;           /* [products_max] */
    uint8_t *scratch;            /* threads x scratch_bytes */
    size_t scratch_bytes;
    float *partial;              /* attention of few rows over many keys: [partial_floats] */
    size_t partial_floats;
    float *back_shared;          /* backward: of one operation, */
    uint8_t *back_each;          /* and threads x back_each_bytes */
    size_t back_each_bytes;
} dev_cpu;

static inline uint8_t *dev_cpu_scratch(const dev_cpu *d, int worker) { return d->scratch + (size_t)worker * d->scratch_bytes; }

static inline float *dev_cpu_back_scratch(const dev_cpu *d, int worker) { return (float *)(void *)(d->back_each + (size_t)worker * d->back_each_bytes); }

/* fn(ctx, item, worker) for every item: inline when there is little to do (`work` in elements), else in the pool. */
static inline void dev_cpu_each(dev_cpu *d, int64_t items, int64_t work, pool_fn fn, void *ctx)
{
    if (items > 1 && work >= DEV_INLINE && d->threads > 1) {
        pool_run(d->pool, items, fn, ctx);
        return;
    }
    for (int64_t i = 0; i < items; i++) fn(ctx, i, 0);
}

void dev_cpu_mul(dev *d, const dev_product *p, int32_t count);
/* y = W x on the calling thread, weights [rows, cols] and activations f32: a row has the same bits whatever rows share the call.  scratch: the thread's. */
void dev_cpu_mul_small(const dev_cpu *d, const float *w, int64_t rows, int64_t cols, const float *x, int64_t x_stride, int64_t T, float *y, int64_t y_stride,
                       void *scratch);
size_t dev_cpu_mul_scratch(const dev_cpu *d, const dev_work *w);
size_t dev_cpu_mul_pack_bytes(const dev *d, dtype type, int64_t cols, int64_t T, bool exact, bool gathered);

void dev_cpu_attention_write(dev *d, const dev_kv *kv, const dev_span *spans, const dev_attn_row *rows, int64_t T, const float *k, const float *v);
void dev_cpu_attention(dev *d, const dev_attn *a);
size_t dev_cpu_attention_scratch(const dev_work *w);
size_t dev_cpu_attention_partial(const dev_work *w);   /* floats */

size_t dev_cpu_back_bytes(const dev *d, const dev_back_work *w);
void dev_cpu_back_set(dev *d, const dev_back_work *w, void *memory);
void dev_cpu_back_mul(dev *d, const dev_back *p, int32_t count);
void dev_cpu_back_lora(dev *d, const dev_lora_back *p);
void dev_cpu_back_norm(dev *d, const float *x, const float *w, float eps, const float *dy, int64_t T, int64_t n, bool add, float *dx);
void dev_cpu_back_norm_rope(dev *d, const float *x, int64_t T, int32_t count, int32_t width, const float *w, float eps, const float *cs, int32_t pairs,
                            const float *dy, bool add, float *dx);
void dev_cpu_back_gelu_mul(dev *d, const float *gate, const float *up, const float *dy, int64_t T, int64_t n, float *dgate, float *dup);
void dev_cpu_back_attention(dev *d, const dev_attn_back *a);
void dev_cpu_back_route(dev *d, const float *logits, const int32_t *ids, const float *scale, const float *dw, int64_t T, int32_t E, int32_t k, float *dlogits);
void dev_cpu_back_scatter_add(dev *d, const float *x, const int32_t *rows, const float *w, int64_t T, int64_t n, float *y);
void dev_cpu_back_add(dev *d, float a, const float *x, int64_t n, float *y);
void dev_cpu_back_scale(dev *d, float a, const float *w, int64_t T, int64_t n, float *y);
void dev_cpu_back_dot(dev *d, const float *a, const float *b, int64_t T, int64_t n, float *out);
void dev_cpu_back_loss(dev *d, float *z, const int32_t *labels, int64_t T, int64_t V, float cap, const float *factors, dev_loss *out);
double dev_cpu_back_dot_of(const float *a, const float *b, int64_t n);
size_t dev_cpu_back_mul_scratch(void);                                 /* bytes of a thread */
size_t dev_cpu_back_attention_scratch(const dev_back_work *w);
int64_t dev_cpu_back_lora_floats(const dev_back_work *w);              /* of one operation */
int64_t dev_cpu_back_attention_floats(const dev_back_work *w);

#endif
