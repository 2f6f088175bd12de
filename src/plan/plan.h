/* How many bytes a model takes with given options, by purpose, and whether a machine has them.  The numbers come from
 * the functions that lay the memory out, in measuring mode: there is no second formula. */
#ifndef FC_PLAN_PLAN_H
#define FC_PLAN_PLAN_H

#include "model/gemma.h"

typedef enum plan_fit {
    PLAN_FITS,        /* everything, the whole file included */
    PLAN_PAGES,       /* what must be in memory fits, the file does not: parts of it are read again and again */
    PLAN_TOO_BIG      /* not even the cache and the buffers fit */
} plan_fit;

typedef struct plan {
    gemma_ctx_opts used;          /* the options with every choice made */
    uint64_t weights_mapped;      /* read from the file; given back by the system when it needs memory */
    uint64_t weights_owned;       /* small tensors kept as f32 */
    uint64_t kv, activations, logits, text, other;
    uint64_t total;
} plan;

/* logits, text: bytes that the caller holds besides (room for logits, the tokenizer). */
status plan_model(plan *out, const gemma *m, const gemma_ctx_opts *o, uint64_t logits, uint64_t text, err *e);

/* memory: bytes that the process may use.  A tenth is left to the system. */
plan_fit plan_judge(const plan *p, uint64_t memory);
/* "fits", ... one sentence for people. */
const char *plan_fit_text(plan_fit f);

#endif
