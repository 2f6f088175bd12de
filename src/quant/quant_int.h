/* What the steps from one file to another share: list the tensors, choose their types, write the keys, let the data through. */
#ifndef FC_QUANT_QUANT_INT_H
#define FC_QUANT_QUANT_INT_H

#include "os/pool.h"
#include "quant/quant.h"

/* Changes a row of a tensor on its way, in the order of the file (all matrices of experts one after the other): fills delta [cols] with
 * what is to be added, false when there is nothing.  Called by several threads. */
typedef bool (*quant_row_fn)(const void *user, int64_t row, float *delta);

typedef struct quant_item {
    char *name;                  /* in the file that is written; owned */
    weight_place place;          /* WEIGHT_PLACES: none */
    int32_t layer;
    dtype from, to;
    dtype wanted;                /* to, unless its blocks do not fit the rows */
    int n_dims;
    int64_t ne[4];               /* ggml order; unused ones are 1 */
    const uint8_t *data;
    bool mapped;                 /* data lies in the source's mapping */
    float *factors;              /* owned, [factor_count]: every matrix, or each of ne[2], is multiplied by its own; NULL: none */
    int64_t factor_count;
    quant_row_fn row;            /* NULL: nothing is added */
    const void *row_user;
} quant_item;

typedef struct quant_list {
    quant_item *items;
    size_t count, cap;
    float *rope;                 /* rotation factors that the source implies; owned */
} quant_list;

static inline int64_t quant_rows(const quant_item *t) { return t->ne[1] * t->ne[2] * t->ne[3]; }
static inline size_t quant_bytes(const quant_item *t, dtype type) { return dtype_row_bytes(type, t->ne[0]) * (size_t)quant_rows(t); }

/* The tensors of m by their names in a GGUF file: those of a GGUF in its order, those of a folder by place.  types: from == to. */
status quant_list_read(quant_list *out, const gemma *m, err *e);
/* Every tensor of a folder under its own name, in the order of st_at; what the text model has no place for has the place WEIGHT_PLACES. */
status quant_list_folder(quant_list *out, const gemma *m, err *e);
uint64_t quant_list_bytes(const quant_list *l);      /* of all tensors in the source */
void   quant_list_done(quant_list *l);

/* Sets to and wanted. */
void   quant_types_choose(quant_item *t, const quant_opts *o);

/* All keys of m for a file with this main type: copied from a GGUF, or made from a folder's files. */
status quant_keys_write(gguf_writer *w, const gemma *m, dtype main_type, err *e);

/* ---- data ----------------------------------------------------------------------------------------- */

typedef struct quant_sum {
    double error, power;         /* of what was stored against what should have been */
    double delta;                /* sum of squares of what was added */
    double kept;                 /* sum of delta times what became of it: (stored - source) */
} quant_sum;

typedef status (*quant_sink)(void *user, const void *p, size_t n, err *e);

typedef struct quant_stream quant_stream;
/* With room for any tensor of the list. */
status quant_stream_new(quant_stream **out, const quant_list *l, int threads, err *e);
void   quant_stream_free(quant_stream *s);
/* Gives the bytes of one tensor in its new type to the sink. */
status quant_stream_item(quant_stream *s, const quant_item *t, quant_sink sink, void *sink_user, quant_sum *sum, err *e);
/* Reports progress while items go through; total: bytes of all of them in the source. */
void   quant_stream_watch(quant_stream *s, quant_progress fn, void *user, uint64_t total);

/* ---- output --------------------------------------------------------------------------------------- */

/* out may be written: it is no file of m, and not there already unless force. */
status quant_check_out(const gemma *m, const char *out, bool force, err *e);
uint64_t quant_model_bytes(const gemma *m);          /* of its files */
/* Hears of each tensor that was written. */
typedef void (*quant_note)(void *user, const quant_item *t, const quant_sum *sum);
/* All tensors of the list, types chosen, to a GGUF file. */
status quant_write_gguf(const gemma *m, const quant_list *l, const char *out, dtype main_type, quant_stream *s, quant_note fn, void *user, err *e);

#endif
