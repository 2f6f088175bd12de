/* Tensors of a model file by their place in the network, whatever the file calls them.
 *
 * Shapes are checked against the configuration here, once; nothing above checks again.  Weights are
 * reached through weights_take / weights_give, so that a stream or an expert cache can stand where
 * the mapping is now. */
#ifndef FC_MODEL_WEIGHTS_H
#define FC_MODEL_WEIGHTS_H

#include "fmt/gguf.h"
#include "fmt/safetensors.h"
#include "model/gemma_config.h"

/* One matrix [rows, cols] (y = W x, cols contiguous) or mats of them behind one another (experts). */
typedef struct weight {
    const char *name;        /* as in the file, for messages; NULL: absent */
    dtype type;
    int32_t mats;            /* 1, or E */
    int64_t rows, cols;      /* of one matrix; a vector is rows == 1 */
    size_t row_bytes;
    const uint8_t *data;     /* mats * rows * row_bytes, maybe unaligned */
    float scale;             /* the product is multiplied by this (NVFP4's tensor scale), normally 1 */
    const float *scales;     /* [mats] per-expert product scales of NVFP4 sources, or NULL */
} weight;

static inline bool weight_has(const weight *w) { return w->name != NULL; }
static inline const uint8_t *weight_row(const weight *w, int64_t mat, int64_t row)
{
    return w->data + (size_t)(mat * w->rows + row) * w->row_bytes;
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
    weight gate_exps, up_exps;         /* E x [Fe, H]; views of one tensor when the file has them fused: then
                                        * mat_stride below is 2*Fe rows */
    weight down_exps;                  /* E x [H, Fe] */
    int64_t gate_up_mat_rows;          /* rows from one expert's gate to the next one's: Fe, or 2*Fe when fused */
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
    void *owned;                       /* private */
} weights;

/* The files stay open as long as the weights are used.  rope factors found in a GGUF go into c. */
status weights_from_gguf(weights *w, gemma_config *c, const gguf_file *g, err *e);
status weights_from_safetensors(weights *w, const gemma_config *c, const st_file *s, err *e);
void   weights_done(weights *w);

/* Row `row` of expert `mat` of a gate or up tensor that may be fused. */
static inline const uint8_t *weight_expert_row(const weight *w, int64_t mat_rows, int64_t mat, int64_t row)
{
    return w->data + (size_t)(mat * mat_rows + row) * w->row_bytes;
}

#endif
