/* The work that a step cannot do without, counted from the model's shapes: what a share of a limit is a share of.
 *
 * Rows whose logits nobody wants leave after the last layer with keys and values of its own (E2B, E4B: the shared layers
 * are not theirs; elsewhere the last layer's end); the head is for wanted rows; of the experts those that were chosen. */
#ifndef FC_BENCH_BENCH_WORK_H
#define FC_BENCH_BENCH_WORK_H

#include "model/gemma.h"

typedef struct bench_work {
    double weight_bytes;         /* each matrix once a step, however many rows share it */
    double kv_bytes;             /* cached keys and values, once a sequence */
    double int8_ops;             /* products with quantised weights, a multiplication and an addition counted as two */
    double float_ops;            /* products with F32, F16, BF16 weights */
    double attention_ops;        /* scores and mix */
} bench_work;

/* Adds one step.  Rows as gemma_step gets them; kv: the cache's type.  Expert weights' bytes are left to
 * bench_work_experts. */
void bench_work_step(bench_work *w, const gemma *m, dtype kv, const gemma_row *rows, int32_t T);
/* Adds the bytes of `count` experts that layer read. */
void bench_work_experts(bench_work *w, const gemma *m, int32_t layer, double count);

static inline double bench_work_bytes(const bench_work *w) { return w->weight_bytes + w->kv_bytes; }

#endif
