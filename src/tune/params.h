/* What is trained: low-rank matrices A and B of a model's linears, y += scale * B (A x), and room for their gradients.
 *
 * All numbers stand in two flat arrays of the same order, values and grads: parameter by parameter, A [rank, in] and then B [out, rank],
 * without gaps.  An adapter made of the set reads the values where they are, so a change counts from the next step on.
 *
 * Gate and up of an expert share A, as in PEFT's fused tensors: one parameter of GEMMA_EXPERT_GATE with out = 2 Fe, whose B has the
 * gate's rows first.  A file can have them apart (GGUF); then they stay two parameters with out = Fe. */
#ifndef FC_TUNE_PARAMS_H
#define FC_TUNE_PARAMS_H

#include "model/gemma.h"

typedef enum tune_group { TUNE_ATTENTION, TUNE_DENSE, TUNE_EXPERTS, TUNE_ROUTER, TUNE_PLE, TUNE_HEAD, TUNE_GROUP_COUNT } tune_group;
/* "attention", "dense", ... */
const char *tune_group_name(tune_group g);
tune_group  tune_group_of(gemma_linear which);

/* A set from scratch: A uniform in +-1/sqrt(in), B zero. */
typedef struct tune_spec {
    uint32_t linears;              /* 1 << gemma_linear of all that is trained; of experts' gate and up either bit means both */
    int32_t rank, expert_rank;     /* 1 to 512; of one that nothing uses, anything */
    double alpha, expert_alpha;    /* scale = alpha / rank, with rslora alpha / sqrt(rank) */
    bool rslora;
    const uint8_t *hot;            /* [L][E] experts that are trained, or NULL: all */
    int32_t first_layer, last_layer;   /* both included; last_layer < 0: to the end.  Linears outside the layers are trained whatever these say */
    uint64_t seed;                 /* the same seed gives a matrix the same numbers, whatever else is trained */
} tune_spec;

typedef struct tune_param {
    int32_t layer, expert;         /* -1 where there is none */
    gemma_linear which;
    tune_group group;
    int32_t rank;
    int64_t in, out;
    float scale;
    int64_t first;                 /* its first number in values and grads: A's; B's begin at first + rank * in */
    float *a, *b, *da, *db;
} tune_param;

typedef struct tune_params {
    const gemma *m;                /* borrowed */
    tune_param *p;                 /* [count] in order of layer (those outside the layers first), linear, expert */
    int64_t count, numbers;
    int32_t rank_max;
    float *values, *grads;         /* [numbers] */
} tune_params;

/* *out owned: tune_params_free.  With measure != NULL nothing is allocated but the list (values and grads are NULL) and the bytes of all
 * are written there.  E_ARG: a linear that the model has nowhere, nothing to train, a rank out of range. */
status tune_params_new(tune_params **out, const gemma *m, const tune_spec *s, uint64_t *measure, err *e);
/* The set and the values of an adapter that was read (lora/lora.h).  E_ARG: two terms of one place (several files in one). */
status tune_params_from(tune_params **out, const gemma *m, const gemma_adapter *a, err *e);
void   tune_params_free(tune_params *p);       /* NULL is fine */

/* An adapter of these values: they stay the set's, which must outlive it.  *out owned: gemma_adapter_free, or a context's after
 * gemma_adapter_attach. */
status tune_params_adapter(gemma_adapter **out, const tune_params *p, err *e);
/* The parameter of a place, or NULL.  Fused: GEMMA_EXPERT_UP finds GEMMA_EXPERT_GATE's. */
tune_param *tune_params_find(const tune_params *p, int32_t layer, gemma_linear which, int32_t expert);
static inline bool tune_param_fused(const tune_params *p, const tune_param *q)
{
    return q->which == GEMMA_EXPERT_GATE && q->out == 2 * (int64_t)p->m->config.expert_ff;
}
/* All gradients become 0. */
void tune_params_clear(tune_params *p);

#endif
