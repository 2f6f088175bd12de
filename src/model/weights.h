/* Tensors of a model file by their place in the network, whatever the file calls them.
 *
 * Shapes are checked against the configuration here, once; nothing above checks again.  Weights are
 * reached through weights_take / weights_give, so that a stream or an expert cache can stand where
 * the mapping is now. */
#ifndef FC_MODEL_WEIGHTS_H
#define FC_MODEL_WEIGHTS_H

#include "dev/dev.h"
#include "fmt/gguf.h"
#include "fmt/safetensors.h"
#include "model/gemma_config.h"

/* One matrix [rows, cols] (y = W x, cols contiguous), or mats of them (experts).  Matrix m begins at row m * mat_rows:
 * where a file keeps gate and up of an expert in one tensor, both are views of it with mat_rows = 2 * Fe. */
typedef struct weight {
    const char *name;        /* as in the file, for messages; NULL: absent */
    dtype type;
    int32_t mats;            /* 1, or E */
    int64_t rows, cols;      /* of one matrix; a vector is rows == 1 */
    int64_t mat_rows;        /* rows from one matrix to the next; rows unless it is a view */
    size_t row_bytes;
    const uint8_t *data;     /* maybe unaligned */
    float scale;             /* every product is multiplied by this (NVFP4's tensor scale), normally 1 */
    const float *scales;     /* [mats] further factors, one per matrix (NVFP4 experts), or NULL */
} weight;

static inline bool weight_has(const weight *w) { return w->name != NULL; }
static inline const uint8_t *weight_row(const weight *w, int64_t mat, int64_t row)
{
    return w->data + (size_t)(mat * w->mat_rows + row) * w->row_bytes;
}
static inline uint64_t weight_bytes(const weight *w) { return weight_has(w) ? (uint64_t)w->mats * (uint64_t)w->rows * w->row_bytes : 0; }
/* The factor of products with matrix `mat`. */
static inline float weight_scale(const weight *w, int64_t mat) { return w->scales ? w->scale * w->scales[mat] : w->scale; }

/* A plain one (mats == 1) as the device takes it. */
static inline dev_mat weight_mat(const weight *w)
{
    return (dev_mat){ .data = w->data, .type = w->type, .rows = w->rows, .cols = w->cols, .row_bytes = w->row_bytes, .scale = w->scale };
}

/* Norm vectors and other small float tensors are kept as f32 arrays (model lifetime). */
typedef struct layer_weights {
    const float *attn_norm;            /* [H] */
    weight q;                          /* [nq*d, H] */
    weight k, v;                       /* [nkv*d, H]; absent where K and V are shared; v absent where k_eq_v */
    weight o;                          /* [H, nq*d] */
    const float *q_norm, *k_norm;      /* [d]; k_norm NULL where K is shared */
    const float *post_attn_norm;       /* [H] */
    const float *ffn_norm;             /* [H] pre_feedforward_layernorm */
    weight gate, up;                   /* [F, H] */
    weight down;                       /* [H, F] */
    const float *post_ffn_norm;        /* [H] post_feedforward_layernorm */
    float layer_scalar;                /* 1 when absent */
    /* experts; router.name == NULL: dense layer */
    weight router;                     /* [E, H] */
    const float *router_scale;         /* [H] */
    const float *expert_scale;         /* [E] */
    const float *ffn_norm_2;           /* [H] pre_feedforward_layernorm_2 */
    const float *post_ffn_norm_1;      /* [H] */
    const float *post_ffn_norm_2;      /* [H] */
    weight gate_exps, up_exps;         /* E x [Fe, H] */
    weight down_exps;                  /* E x [H, Fe] */
    /* per-layer embeddings */
    weight ple_gate;                   /* [P, H] */
    weight ple_proj;                   /* [H, P] */
    const float *ple_norm;             /* [H] */
} layer_weights;

typedef struct weights {
    weight embed;                      /* [V, H] */
    weight head;                       /* [V, H]; = embed when tied */
    const float *out_norm;             /* [H] */
    weight ple_embed;                  /* [V, P*L] */
    weight ple_model_proj;             /* [P*L, H] */
    const float *ple_proj_norm;        /* [P] */
    layer_weights *layers;             /* [L] */
    /* private */
    void *owned;
    size_t owned_bytes;
} weights;

/* The files stay open as long as the weights are used.  rope factors found in a GGUF go into c.
 * A missing tensor or a wrong shape gives E_FORMAT, a type without a decoder E_UNSUPPORTED, both with the tensor's name. */
status weights_from_gguf(weights *w, gemma_config *c, const gguf_file *g, err *e);
status weights_from_safetensors(weights *w, const gemma_config *c, const st_file *s, err *e);
void   weights_done(weights *w);
/* What every token needs (not the tables that rows are taken from) is asked for in large pages, if all of it fits into `room` bytes. */
void   weights_steady(const weights *w, int32_t layer_count, uint64_t room);
/* The type that most bytes of the layers' matrices have. */
dtype  weights_main_type(const weights *w, int32_t layer_count);

/* The door to a layer: its tensors may be read between take and give.  Now they lie in the mapping and the door is always
 * open; a stream from disk would wait here. */
static inline status weights_take(const weights *w, int32_t layer, const layer_weights **out, err *e)
{
    (void)e;
    *out = &w->layers[layer];
    return OK;
}
static inline void weights_give(const weights *w, int32_t layer) { (void)w; (void)layer; }

/* The door to one expert of a taken layer: three plain matrices (mats == 1), scales folded in. */
typedef struct expert_weights { weight gate, up, down; } expert_weights;
status weights_take_expert(const weights *w, int32_t layer, int32_t expert, expert_weights *out, err *e);
static inline void weights_give_expert(const weights *w, int32_t layer, int32_t expert) { (void)w; (void)layer; (void)expert; }

#endif
