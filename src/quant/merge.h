/* An adapter becomes part of its model: every matrix W that it has terms for is written as W + s B A, added in 32-bit floats and rounded once, to
 * the matrix's own type or another.  A row that no term changes keeps its bits where its type stays.
 *
 * Few bits destroy small changes: a step of q4_0 is larger than most of what an adapter adds.  So what became of the change is measured, and the
 * answers of the merged file are held against those of the adapter at run time. */
#ifndef FC_QUANT_MERGE_H
#define FC_QUANT_MERGE_H

#include "lora/lora.h"
#include "quant/quant.h"

enum { MERGE_TOKENS_MAX = 256 };

typedef struct merge_opts {
    dtype type;                  /* DTYPE_COUNT: every tensor keeps its own.  To a folder: f32, f16 or bf16 */
    bool force;                  /* replaces a file that is there */
    const char *text;            /* on which answers are compared, its first MERGE_TOKENS_MAX tokens; NULL: one of our own */
    int threads;                 /* 0: one per core */
    uint32_t isa;                /* of the comparison, as in gemma_ctx_opts */
    bool exact;
    quant_progress progress;     /* NULL: none */
    void *user;
} merge_opts;

/* Of the matrices with terms; sums of squares. */
typedef struct merge_kind {
    int64_t tensors;
    uint64_t from, to;           /* bit 1 << dtype of each type that occurs */
    double power;                /* of the weights that were stored */
    double delta;                /* of what the adapter adds */
    double error;                /* of what rounding adds to that */
    double kept;                 /* sum of delta times (stored - source): delta where nothing is lost */
} merge_kind;

typedef struct merge_report {
    merge_kind kinds[WEIGHT_PLACES], all;
    int64_t terms;
    uint64_t file_before, file_after;
    int32_t tokens;              /* on which answers were compared */
    double kl;                   /* mean divergence of the merged model's predictions from the run-time adapter's, nats */
    double kl_without;           /* the same of the model without the adapter: what there was to lose */
} merge_report;

/* The model `in` with the adapters of parts, all added up, goes to `out`: a GGUF file, or, from a Hugging Face folder where the name does not end in
 * ".gguf", such a folder, with the files that lay beside the weights.  Neither is there under its name until it is whole.  E_UNSUPPORTED: a matrix has a
 * type that is only read, or a term belongs to a head that shares its tensor with the token table. */
status merge_model(const char *in, const lora_part *parts, size_t count, const char *out, const merge_opts *o, merge_report *report, err *e);

#endif
