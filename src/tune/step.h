/* One micro-batch: forward, loss, and the gradient of every parameter of a set.
 *
 * The forward pass is the model's own (gemma_step without a cache), with the set as its adapter; of each layer only its input is kept.
 * Backward each layer is run again from there and differentiated: one back_<file>.c for each file of the forward pass, against dev/dev.h.
 * Frozen weights are multiplied as the file has them.  Nothing below the lowest trained layer is differentiated; behind the last layer
 * with keys and values of its own only rows with a label are computed, forward and backward.
 *
 * Results do not depend on the number of threads, bit for bit, nor, beyond rounding, on how rows are packed and cut into micro-batches. */
#ifndef FC_TUNE_STEP_H
#define FC_TUNE_STEP_H

#include "tune/params.h"

typedef struct tune_row {
    int32_t id;                /* token */
    int32_t pos;               /* 0, 1, 2, ... within its document */
    int32_t doc;               /* neighbouring rows of equal doc are one document; they see no other */
    int32_t label;             /* the token that this row is to predict, -1: none (its own document's next one, normally) */
} tune_row;

/* Sums over rows with a label. */
typedef struct tune_sums {
    double loss;               /* of -log p(label), natural logarithm */
    double entropy;            /* of the predicted distributions */
    int64_t targets;           /* how many */
    int64_t right;             /* of which the label was the likeliest token */
} tune_sums;

typedef struct tune_step_opts {
    int threads;               /* 0: one per core */
    uint32_t isa;              /* mask, 0: all that the machine has */
    bool exact;                /* f32 activations and reference kernels */
    bool half_inputs;          /* layer inputs are kept as bf16, which halves them; gradients are then of a layer run again from rounded inputs */
    int32_t rows_max;          /* most rows of a micro-batch, >= 1 */
    int32_t labels_max;        /* most rows with a label among them; 0: rows_max */
} tune_step_opts;

typedef struct tune_step tune_step;

/* p is borrowed and must outlive *out (owned: tune_step_free); only its values and grads may change meanwhile.  With measure != NULL
 * nothing is allocated: bytes by purpose, by the code that takes them (activations: forward and backward). */
status tune_step_new(tune_step **out, const gemma *m, tune_params *p, const tune_step_opts *o, gemma_bytes *measure, err *e);
void   tune_step_free(tune_step *s);            /* NULL is fine */

/* Runs T rows, whole documents.  The gradient of (sum of their losses) / targets is ADDED to p->grads, targets being the number of
 * labels in the whole optimizer step; with targets == 0 there is no backward pass.  *sums is added to.  Rows without any label
 * change nothing.  E_ARG: a token, position or label that cannot be; E_CANCELLED: interrupted (gradients are then incomplete). */
status tune_step_add(tune_step *s, const tune_row *rows, int32_t T, int64_t targets, tune_sums *sums, err *e);

/* The same in two steps, for losses of whole sequences.  Log-probabilities of the labels (natural logarithm) in the order of their rows,
 * logp [as many]; base: as the model is without the set.  *sums is added to, or NULL. */
status tune_step_log_probs(tune_step *s, const tune_row *rows, int32_t T, bool base, double *logp, tune_sums *sums, err *e);
/* Straight after tune_step_log_probs without base: the gradient of -(sum of factors[i] * logp[i]) is ADDED to p->grads. */
status tune_step_back(tune_step *s, const float *factors, err *e);

/* The forward pass's context; the set's adapter has id 1 in it.  For taps, interruption, and logits of other rows. */
gemma_ctx *tune_step_context(tune_step *s);
/* [E] rows that chose each expert of a layer, over all backward passes since the start; NULL without experts. */
const int64_t *tune_step_expert_rows(const tune_step *s, int32_t layer);

#endif
