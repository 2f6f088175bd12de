/* Inside model/ only: the context and the pieces of the forward pass. */
#ifndef FC_MODEL_GEMMA_INT_H
#define FC_MODEL_GEMMA_INT_H

#include <stdatomic.h>

#include "dev/dev.h"
#include "model/gemma.h"
#include "model/kv.h"
#include "model/rope.h"

/* What the active rows are; host memory, [row_max] each.  Rows that leave early are cut out of all of them. */
typedef struct gemma_rows {
    int32_t T;
    int32_t wanted;                  /* rows of which logits or the last state are wanted */
    int32_t logits, hidden;          /* how many of them want which */
    int32_t *ids;                    /* token, 0 for soft tokens (per-layer embeddings use <pad>) */
    int32_t *want;                   /* [wanted] indices of these rows */
    int32_t *logits_at, *hidden_at;  /* [logits], [hidden] places in `want` */
    int32_t *adapter;
    bool any_adapter;
    dev_attn_row *full, *sliding;    /* what each row sees, by kind of layer */
    dev_span *span_full, *span_sliding;   /* by sequence (no_cache: by run of rows) */
    float *cs_full, *cs_sliding;     /* [T][pairs][2] */
    int32_t *added;                  /* [seq_max] rows of each sequence in this step */
} gemma_rows;

typedef struct gemma_bufs {          /* f32 on the device; T rows each */
    float *x;                        /* [T, H] residual */
    float *h, *out;                  /* [T, H] normed input, product output */
    float *q, *att;                  /* [T, nq*d] */
    float *k, *v;                    /* [T, nkv*d] */
    float *gate, *up;                /* [T, F] */
    float *ple;                      /* [T, L*P] */
    float *dense;                    /* [T, H] output of the dense branch beside experts */
    float *router;                   /* [T, E] */
    float *slot_gate, *slot_up;      /* [T*k, Fe] rows sorted by expert */
    float *slot_out;                 /* [T*k, H] */
    uint8_t *inputs;                 /* [L+1][rows, H] with no_cache, of gemma_int_inputs_type */
    int32_t *ids, *slot;             /* [T*k] expert of (row, j), and its place in expert order */
    float *weight;                   /* [T*k] */
    int32_t *slot_row, *slot_adapter;/* [T*k] by place */
    int32_t *first;                  /* [E+1] first place of each expert */
} gemma_bufs;

struct gemma_ctx {
    const gemma *m;
    gemma_ctx_opts o;
    dev *dev;
    arena kv_memory, memory, small;
    kv cache;
    rope_kind rope_full, rope_sliding;
    float *key_rope;                 /* [ctx][pairs][2] of full layers, where keys are rebuilt */
    int32_t key_rope_filled;
    gemma_rows rows;
    gemma_bufs b;
    dev_product *products;
    uint64_t *experts_read;          /* [L], NULL without experts */
    gemma_adapter *adapters;         /* in the order in which they came */
    const dev_lora **lora;           /* [gemma_adapter_places] first term of each place, NULL: none */
    gemma_tap_fn tap;
    void *tap_user;
    atomic_bool interrupt;
    int32_t last_T, last_wanted;     /* of the newest step, for gemma_ctx_layer_input */
};

static inline const gemma_config *gemma_int_config(const gemma_ctx *x) { return &x->m->config; }

/* Rows of which nothing is wanted go no further than they must. */
static inline bool gemma_int_leaves(const gemma_ctx *x) { return !x->o.no_cache || x->o.leave; }

static inline dtype gemma_int_inputs_type(const gemma_ctx *x) { return x->o.half_inputs ? DTYPE_BF16 : DTYPE_F32; }
/* Where the input of a layer is kept; of layer L + 1: the end. */
size_t gemma_int_input_at(const gemma_ctx *x, int32_t layer);

static inline void gemma_int_tap(gemma_ctx *x, int32_t layer, const char *name, const float *data, int64_t width)
{
    if (x->tap && x->rows.T > 0) x->tap(x->tap_user, layer, name, data, x->rows.T, width);
}

/* Shows a term as the residual gets it: normed.  Uses b.h, which is free at the end of every block. */
static inline void gemma_int_tap_normed(gemma_ctx *x, int32_t layer, const char *name, const float *data, const float *w)
{
    int64_t H = gemma_int_config(x)->hidden;
    if (!x->tap) return;
    x->dev->op->rms_norm(x->dev, data, H, w, gemma_int_config(x)->eps, x->rows.T, H, x->b.h, H);
    gemma_int_tap(x, layer, name, x->b.h, H);
}

/* The product of a weight with the active rows; fields may be changed before it runs. */
dev_product decoder_product(const gemma_ctx *x, int32_t layer, gemma_linear which, const weight *w, const float *in, float *out);

/* All rows of a prepared step: embedding to logits and last states (NULL when none is wanted). */
status decoder_run(gemma_ctx *x, const gemma_row *rows, float *logits, float *hidden, err *e);
void   decoder_leave(gemma_ctx *x);               /* keeps only the wanted rows */
void   attention_run(gemma_ctx *x, int32_t layer, const layer_weights *w, bool leave);
void   mlp_run(gemma_ctx *x, int32_t layer, const layer_weights *w, const float *in, float *out);
status moe_run(gemma_ctx *x, int32_t layer, const layer_weights *w, err *e);
void   ple_prepare(gemma_ctx *x);
void   ple_run(gemma_ctx *x, int32_t layer, const layer_weights *w);
void   head_run(gemma_ctx *x, float *logits, float *hidden);

/* Places of terms, experts apart: the length of gemma_ctx.lora. */
size_t gemma_adapter_places(const gemma *m);
/* The list for a linear, or NULL. */
const dev_lora *gemma_adapter_find(const gemma_ctx *x, int32_t layer, gemma_linear which, int32_t expert);
bool gemma_adapter_known(const gemma_ctx *x, int32_t id);
/* Bytes that the weights take, mapped and owned. */
void gemma_ctx_measure_weights(const gemma *m, gemma_bytes *out);
void gemma_adapter_free_all(gemma_ctx *x);
/* Angles of stored positions 0..length-1, where keys are rebuilt. */
void gemma_step_angles(gemma_ctx *x, int32_t length);

#endif
