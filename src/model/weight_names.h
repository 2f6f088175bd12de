/* The places of the network and what files call the tensors that fill them: one table for reading, writing and
 * describing models (file-formats section 2.4). */
#ifndef FC_MODEL_WEIGHT_NAMES_H
#define FC_MODEL_WEIGHT_NAMES_H

#include "base/str.h"

typedef enum weight_place {
    /* once per model */
    WEIGHT_EMBED, WEIGHT_HEAD, WEIGHT_OUT_NORM, WEIGHT_ROPE_FACTORS, WEIGHT_PLE_EMBED, WEIGHT_PLE_MODEL_PROJ, WEIGHT_PLE_PROJ_NORM,
    /* once per layer */
    WEIGHT_ATTN_NORM, WEIGHT_Q, WEIGHT_K, WEIGHT_V, WEIGHT_O, WEIGHT_Q_NORM, WEIGHT_K_NORM, WEIGHT_POST_ATTN_NORM,
    WEIGHT_FFN_NORM, WEIGHT_GATE, WEIGHT_UP, WEIGHT_DOWN, WEIGHT_POST_FFN_NORM, WEIGHT_LAYER_SCALAR,
    WEIGHT_ROUTER, WEIGHT_ROUTER_SCALE, WEIGHT_EXPERT_SCALE, WEIGHT_EXPERT_SCALE_OLD,
    WEIGHT_FFN_NORM_2, WEIGHT_POST_FFN_NORM_1, WEIGHT_POST_FFN_NORM_2,
    WEIGHT_GATE_UP_EXPS, WEIGHT_GATE_EXPS, WEIGHT_UP_EXPS, WEIGHT_DOWN_EXPS,
    WEIGHT_PLE_GATE, WEIGHT_PLE_PROJ, WEIGHT_PLE_NORM,
    WEIGHT_PLACES
} weight_place;

/* What a tensor belongs to, for people: "facet inspect" sums sizes by part. */
typedef enum weight_part {
    WEIGHT_PART_EMBED, WEIGHT_PART_PLE, WEIGHT_PART_ATTENTION, WEIGHT_PART_MLP, WEIGHT_PART_EXPERTS, WEIGHT_PART_NORMS,
    WEIGHT_PART_OTHER, WEIGHT_PARTS
} weight_part;

enum { WEIGHT_NAME_CAP = 160 };   /* bytes that any name below needs, with the final NUL */

static inline bool weight_names_per_layer(weight_place p) { return p >= WEIGHT_ATTN_NORM; }
/* "blk.3.attn_q.weight". */
void weight_names_gguf(weight_place p, int32_t layer, char out[WEIGHT_NAME_CAP]);
/* prefix + "layers.3.self_attn.q_proj.weight"; false where Hugging Face files have no such tensor. */
bool weight_names_hf(weight_place p, int32_t layer, const char *prefix, char out[WEIGHT_NAME_CAP]);
/* The prefixes that Hugging Face files use, most usual first; NULL at the end. */
extern const char *const weight_names_hf_prefixes[];
/* The place of a tensor by its name in either kind of file, WEIGHT_PLACES when it has none; *layer: -1 outside the layers. */
weight_place weight_names_place(str name, int32_t *layer);

weight_part weight_names_part(weight_place p);     /* WEIGHT_PART_OTHER for WEIGHT_PLACES */
const char *weight_names_part_text(weight_part p); /* "attention" */

#endif
