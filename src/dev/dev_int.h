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
    size_t x_bytes;              /* from one row to the next */
    int64_t block;               /* weight rows of one item */
    int64_t item_first;
    int64_t pack_first;          /* number of its first row among all rows to pack */
    kern_act act;
    bool exact;
} dev_cpu_run;

typedef struct dev_cpu {
    dev base;
    pool *pool;
    int threads;
    bool exact;
    kern k;
    dev_work work;
    uint8_t *pack;               /* [work.pack_bytes] */
    dev_cpu_run *runs;           /* [products_max] */
    uint8_t *scratch;            /* threads x scratch_bytes */
    size_t scratch_bytes;
    float *partial;              /* attention of few rows over many keys: [partial_floats] */
    size_t partial_floats;
} dev_cpu;

static inline uint8_t *dev_cpu_scratch(const dev_cpu *d, int worker) { return d->scratch + (size_t)worker * d->scratch_bytes; }

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
size_t dev_cpu_mul_scratch(const dev_cpu *d, const dev_work *w);
size_t dev_cpu_mul_pack_bytes(const dev *d, dtype type, int64_t cols, bool exact, bool gathered);

void dev_cpu_attention_write(dev *d, const dev_kv *kv, const dev_span *spans, const dev_attn_row *rows, int64_t T, const float *k, const float *v);
void dev_cpu_attention(dev *d, const dev_attn *a);
size_t dev_cpu_attention_scratch(const dev_work *w);
size_t dev_cpu_attention_partial(const dev_work *w);   /* floats */

#endif
