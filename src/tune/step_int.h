/* Inside tune/ only: a micro-batch while it runs, and the pieces of its backward pass. */
#ifndef FC_TUNE_STEP_INT_H
#define FC_TUNE_STEP_INT_H

#include "dev/dev.h"
#include "model/rope.h"
#include "tune/step.h"

/* Rows that a layer works on: all, or those with a label. */
typedef struct back_rows {
    int32_t T;
    float *cs_full, *cs_sliding;             /* [T][pairs][2] */
    dev_attn_row *full, *sliding;            /* for attention, over spans */
    dev_key_range *keys_full, *keys_sliding; /* the same as numbers of rows, for its gradient */
} back_rows;

/* [T, ...] each; of one layer at a time unless something else is said.  ctx: the context's own buffer, which its steps no longer need. */
typedef struct back_bufs {
    float *hidden;                           /* [labels, H] the last states of rows with a label */
    float *z;                                /* [BACK_LOSS_ROWS, V] */
    float *dx, *dh, *t1, *t2;                /* [T, H] gradients; dx: of the layer's output, at last of its input */
    float *x;                                /* [T, H] input of the layer that was run last */
    /* attention */
    float *h, *hq, *xq;                      /* [T, H] normed input (ctx); of the rows that go on: normed input, input (ctx) */
    float *q_raw, *q, *att, *datt;           /* [T, nq d]; q_raw, att: ctx.  The gradient of q comes to stand in att */
    float *k_raw, *v_raw;                    /* [T, nkv d] ctx */
    float *dk[2], *dv[2];                    /* [T, nkv d], sliding and full: collected from a layer and all that share its keys */
    float *o, *xm;                           /* [T, H] output of the block (ctx), residual behind it */
    /* feed-forward */
    float *h2, *down;                        /* [T, H] */
    float *gate, *up, *act, *wide;           /* [T, F]; gate, up: ctx */
    float *dense, *zr, *h3, *bsum, *sum;     /* [T, H] of models with experts, ctx if it has the room */
    float *logits, *dlogits;                 /* [T, E]; logits: ctx */
    int32_t *ids;                            /* [T k] experts of a row, ascending */
    float *weight, *dweight;                 /* [T k] */
    int32_t *first;                          /* [E + 1] places of an expert */
    int32_t *pair, *row;                     /* [T k] by place: index into ids, row */
    float *place_weight, *place_dot;         /* [T k] by place */
    float *slot_gate, *slot_up;              /* [T k, Fe] by place, ctx */
    float *xe, *ye, *be;                     /* [T, H] rows of one expert, ctx if it has the room */
    float *act_e, *act_w, *q_e;              /* [T, Fe] */
    /* per-layer embeddings */
    float *ple, *context;                    /* [T, L P] of all layers; ctx: ple, and context (gate) unless dple */
    float *dple;                             /* [L][T][P], where the projection behind them is trained; else NULL */
    float *xf, *pp;                          /* [T, H] */
    float *pg, *pa, *pe, *dpa;               /* [T, P] */
} back_bufs;

enum { BACK_LOSS_ROWS = 128 };               /* rows whose logits exist at a time */

/* Where the sweep ends in the lowest trained layer. */
typedef enum back_stop { BACK_STOP_PLE, BACK_STOP_FFN, BACK_STOP_O, BACK_STOP_ATTENTION } back_stop;

struct tune_step {
    const gemma *m;
    tune_params *p;
    tune_step_opts o;
    gemma_ctx *ctx;
    dev *dev;                                /* the context's */
    arena memory, small;
    rope_kind rope_full, rope_sliding;
    int64_t kv_width[2];                     /* nkv d of sliding and full layers */
    dev_lora *lora;                          /* [2 count]: of each parameter, and of the upper half of a fused one */
    int32_t lowest;                          /* trained layer; L: none */
    back_stop stop;
    int64_t *expert_rows;                    /* [L][E] */
    /* the micro-batch */
    gemma_row *rows;
    dev_span *spans;
    int32_t *ids;                            /* [T] tokens */
    int32_t *want, *labels;                  /* [kept.T] rows with a label, and it */
    int32_t *ones, *all_rows;                /* 1, 1, ...; 0, 1, 2, ... */
    float *factors;                          /* [kept.T] of the losses, in the gradient */
    bool base;                               /* the pass leaves the set out */
    dev_loss *losses;                        /* [BACK_LOSS_ROWS] */
    back_rows all, kept;
    back_bufs b;
};

static inline const gemma_config *back_config(const tune_step *s) { return &s->m->config; }
/* Rows of a layer's input, and of its output. */
static inline const back_rows *back_in(const tune_step *s, int32_t layer) { return layer < back_config(s)->kv_layers ? &s->all : &s->kept; }
static inline const back_rows *back_out(const tune_step *s, int32_t layer) { return layer < back_config(s)->kv_layers - 1 ? &s->all : &s->kept; }
/* Whether a gradient is wanted of what comes before a part of a layer. */
static inline bool back_below(const tune_step *s, int32_t layer, back_stop part)
{
    return layer > s->lowest || (layer == s->lowest && s->stop > part);
}

/* back_linear.c: y = factor W x with the set's terms, as the forward pass has it; and its gradient.  dx NULL: not wanted; else = or +=.
 * dy: by W x, the factor in it already. */
dev_product back_product(const tune_step *s, int32_t layer, gemma_linear which, int32_t expert, const weight *w, const float *x, int64_t T, float *y);
void back_linear(tune_step *s, int32_t layer, gemma_linear which, int32_t expert, const weight *w, const float *x, const float *dy, int64_t T, bool add, float *dx);

/* Each part in two: run again from the layer's input, and differentiated. */
status back_attention_run(tune_step *s, int32_t layer, const layer_weights *w, err *e);
void   back_attention(tune_step *s, int32_t layer, const layer_weights *w);
void   back_mlp_run(tune_step *s, int32_t layer, const layer_weights *w);
void   back_mlp(tune_step *s, int32_t layer, const layer_weights *w, const float *dy);      /* b.dh: gradient of b.h2 */
status back_moe_run(tune_step *s, int32_t layer, const layer_weights *w, err *e);
status back_moe(tune_step *s, int32_t layer, const layer_weights *w, const float *dy, err *e);   /* adds to b.dx */
status back_ple_prepare(tune_step *s, err *e);
void   back_ple_run(tune_step *s, int32_t layer, const layer_weights *w);
void   back_ple(tune_step *s, int32_t layer, const layer_weights *w);
void   back_ple_finish(tune_step *s);
/* factors [kept.T], or NULL for no gradient; logp [kept.T] or NULL. */
status back_head(tune_step *s, const float *factors, double *logp, tune_sums *sums, err *e);
status back_decoder(tune_step *s, err *e);

/* back_layout.c: all buffers, measured or taken. */
status back_layout(tune_step *s, err *e);

#endif
