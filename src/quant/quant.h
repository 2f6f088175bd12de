/* A model in other number types: whatever gemma_open takes becomes one GGUF file.
 *
 * Tensors go through one after the other, in pieces of rows, so that memory does not depend on the model's size; pieces are cut by their
 * rows alone, so the file does not depend on the number of threads.  A tensor that has its type already is copied.  Blocks of 4 and 5 bits are
 * searched for, every weight counting alike; there are no importance matrices here, and no mixtures of types by layer. */
#ifndef FC_QUANT_QUANT_H
#define FC_QUANT_QUANT_H

#include "model/gemma.h"
#include "model/weight_names.h"

/* Called again and again with the tensor in work and the part of the model that is done.  Anything but OK ends the work. */
typedef status (*quant_progress)(void *user, const char *tensor, double fraction, err *e);

typedef struct quant_opts {
    dtype type;                  /* of the matrices: quant_types_written */
    dtype embedding;             /* of the token table and the head; DTYPE_COUNT: as llama.cpp's mixtures have it, at least Q6_K */
    dtype ple;                   /* of the per-layer table; DTYPE_COUNT: the same */
    int threads;                 /* 0: one per core */
    bool force;                  /* replaces a file that is there */
    quant_progress progress;     /* NULL: none */
    void *user;
} quant_opts;

/* Of the tensors of one place, in all layers. */
typedef struct quant_kind {
    int64_t tensors, elements;
    uint64_t before, after;      /* bytes */
    uint64_t from, to;           /* bit 1 << dtype of each type that occurs */
    double error, power;         /* sums of (x - x')^2 and x^2, of tensors that were not copied */
    int64_t fell, fell_cols;     /* tensors whose rows of fell_cols the wanted type does not fit, ... */
    dtype fell_from, fell_to;    /* ... and what they got instead */
} quant_kind;

typedef struct quant_report {
    quant_kind kinds[WEIGHT_PLACES + 1];     /* by weight_place; the last: tensors that no place asks for, copied */
    uint64_t file_before, file_after;
} quant_report;

/* The tensors of `in` go to the GGUF file `out`, which is not there under its name until it is whole.  E_ARG: the type is none that is
 * written, out is there already or is a file of in.  E_FORMAT: a tensor holds numbers that are none.  E_UNSUPPORTED: a type cannot hold a tensor's
 * numbers. */
status quant_file(const char *in, const char *out, const quant_opts *o, quant_report *report, err *e);

/* ---- types (quant_types.c) ------------------------------------------------------------------------ */

/* Types that quant_file writes, DTYPE_COUNT at the end. */
extern const dtype quant_types_written[];
bool quant_types_is_written(dtype t);
/* The key general.file_type of a file of which most matrices have this type. */
uint32_t quant_types_file(dtype t);

#endif
