#include "model/weight_names.h"

#include <stdio.h>

#include "base/bits.h"

typedef struct place_names {
    const char *gguf;      /* after "blk.N." inside a layer */
    const char *hf;        /* after prefix and "layers.N."; NULL: there is none */
    weight_part part;
} place_names;

static const place_names places[WEIGHT_PLACES] = {
    [WEIGHT_EMBED]            = { "token_embd.weight", "embed_tokens.weight", WEIGHT_PART_EMBED },
    [WEIGHT_HEAD]             = { "output.weight", "lm_head.weight", WEIGHT_PART_EMBED },
    [WEIGHT_OUT_NORM]         = { "output_norm.weight", "norm.weight", WEIGHT_PART_NORMS },
    [WEIGHT_ROPE_FACTORS]     = { "rope_freqs.weight", NULL, WEIGHT_PART_OTHER },
    [WEIGHT_PLE_EMBED]        = { "per_layer_token_embd.weight", "embed_tokens_per_layer.weight", WEIGHT_PART_PLE },
    [WEIGHT_PLE_MODEL_PROJ]   = { "per_layer_model_proj.weight", "per_layer_model_projection.weight", WEIGHT_PART_PLE },
    [WEIGHT_PLE_PROJ_NORM]    = { "per_layer_proj_norm.weight", "per_layer_projection_norm.weight", WEIGHT_PART_NORMS },
    [WEIGHT_ATTN_NORM]        = { "attn_norm.weight", "input_layernorm.weight", WEIGHT_PART_NORMS },
    [WEIGHT_Q]                = { "attn_q.weight", "self_attn.q_proj.weight", WEIGHT_PART_ATTENTION },
    [WEIGHT_K]                = { "attn_k.weight", "self_attn.k_proj.weight", WEIGHT_PART_ATTENTION },
    [WEIGHT_V]                = { "attn_v.weight", "self_attn.v_proj.weight", WEIGHT_PART_ATTENTION },
    [WEIGHT_O]                = { "attn_output.weight", "self_attn.o_proj.weight", WEIGHT_PART_ATTENTION },
    [WEIGHT_Q_NORM]           = { "attn_q_norm.weight", "self_attn.q_norm.weight", WEIGHT_PART_NORMS },
    [WEIGHT_K_NORM]           = { "attn_k_norm.weight", "self_attn.k_norm.weight", WEIGHT_PART_NORMS },
    [WEIGHT_POST_ATTN_NORM]   = { "post_attention_norm.weight", "post_attention_layernorm.weight", WEIGHT_PART_NORMS },
    [WEIGHT_FFN_NORM]         = { "ffn_norm.weight", "pre_feedforward_layernorm.weight", WEIGHT_PART_NORMS },
    [WEIGHT_GATE]             = { "ffn_gate.weight", "mlp.gate_proj.weight", WEIGHT_PART_MLP },
    [WEIGHT_UP]               = { "ffn_up.weight", "mlp.up_proj.weight", WEIGHT_PART_MLP },
    [WEIGHT_DOWN]             = { "ffn_down.weight", "mlp.down_proj.weight", WEIGHT_PART_MLP },
    [WEIGHT_POST_FFN_NORM]    = { "post_ffw_norm.weight", "post_feedforward_layernorm.weight", WEIGHT_PART_NORMS },
    [WEIGHT_LAYER_SCALAR]     = { "layer_output_scale.weight", "layer_scalar", WEIGHT_PART_OTHER },
    [WEIGHT_ROUTER]           = { "ffn_gate_inp.weight", "router.proj.weight", WEIGHT_PART_EXPERTS },
    [WEIGHT_ROUTER_SCALE]     = { "ffn_gate_inp.scale", "router.scale", WEIGHT_PART_EXPERTS },
    [WEIGHT_EXPERT_SCALE]     = { "ffn_down_exps.scale", "router.per_expert_scale", WEIGHT_PART_EXPERTS },
    [WEIGHT_EXPERT_SCALE_OLD] = { "ffn_gate_inp.per_expert_scale", NULL, WEIGHT_PART_EXPERTS },
    [WEIGHT_FFN_NORM_2]       = { "pre_ffw_norm_2.weight", "pre_feedforward_layernorm_2.weight", WEIGHT_PART_NORMS },
    [WEIGHT_POST_FFN_NORM_1]  = { "post_ffw_norm_1.weight", "post_feedforward_layernorm_1.weight", WEIGHT_PART_NORMS },
    [WEIGHT_POST_FFN_NORM_2]  = { "post_ffw_norm_2.weight", "post_feedforward_layernorm_2.weight", WEIGHT_PART_NORMS },
    [WEIGHT_GATE_UP_EXPS]     = { "ffn_gate_up_exps.weight", "experts.gate_up_proj", WEIGHT_PART_EXPERTS },
    [WEIGHT_GATE_EXPS]        = { "ffn_gate_exps.weight", NULL, WEIGHT_PART_EXPERTS },
    [WEIGHT_UP_EXPS]          = { "ffn_up_exps.weight", NULL, WEIGHT_PART_EXPERTS },
    [WEIGHT_DOWN_EXPS]        = { "ffn_down_exps.weight", "experts.down_proj", WEIGHT_PART_EXPERTS },
    [WEIGHT_PLE_GATE]         = { "inp_gate.weight", "per_layer_input_gate.weight", WEIGHT_PART_PLE },
    [WEIGHT_PLE_PROJ]         = { "proj.weight", "per_layer_projection.weight", WEIGHT_PART_PLE },
    [WEIGHT_PLE_NORM]         = { "post_norm.weight", "post_per_layer_input_norm.weight", WEIGHT_PART_NORMS },
};

/* Multimodal checkpoints; older saves and MLX; text-only saves; bare. */
const char *const weight_names_hf_prefixes[] = { "model.language_model.", "language_model.model.", "model.", "", NULL };

void weight_names_gguf(weight_place p, int32_t layer, char out[WEIGHT_NAME_CAP])
{
    if (weight_names_per_layer(p)) snprintf(out, WEIGHT_NAME_CAP, "blk.%d.%s", layer, places[p].gguf);
    else snprintf(out, WEIGHT_NAME_CAP, "%s", places[p].gguf);
}

bool weight_names_hf(weight_place p, int32_t layer, const char *prefix, char out[WEIGHT_NAME_CAP])
{
    if (!places[p].hf) return false;
    if (p == WEIGHT_HEAD) snprintf(out, WEIGHT_NAME_CAP, "%s%s", str_is(str_from(prefix), "language_model.model.") ? "language_model." : "", places[p].hf);
    else if (weight_names_per_layer(p)) snprintf(out, WEIGHT_NAME_CAP, "%slayers.%d.%s", prefix, layer, places[p].hf);
    else snprintf(out, WEIGHT_NAME_CAP, "%s%s", prefix, places[p].hf);
    return true;
}

/* "12.rest" -> 12 and "rest". */
static bool take_layer(str *s, int32_t *layer)
{
    size_t dot = str_find(*s, STR("."));
    int64_t n;
    if (dot == s->n || str_to_i64((str){ s->p, dot }, "layer", 0, INT32_MAX, &n, NULL) != OK) return false;
    *s = str_skip(*s, dot + 1);
    *layer = (int32_t)n;
    return true;
}

static weight_place find_place(str name, bool layered, bool hf)
{
    for (int p = layered ? WEIGHT_ATTN_NORM : 0; p < (layered ? WEIGHT_PLACES : WEIGHT_ATTN_NORM); p++) {
        const char *own = hf ? places[p].hf : places[p].gguf;
        if (own && str_is(name, own)) return (weight_place)p;
    }
    return WEIGHT_PLACES;
}

static weight_place hf_place(str name, int32_t *layer)
{
    *layer = -1;
    if (str_is(name, "lm_head.weight") || str_is(name, "language_model.lm_head.weight")) return WEIGHT_HEAD;
    for (int i = 0; weight_names_hf_prefixes[i]; i++) {
        if (!str_starts(name, weight_names_hf_prefixes[i])) continue;
        str rest = str_skip(name, strlen(weight_names_hf_prefixes[i]));
        weight_place p = find_place(rest, false, true);
        if (p != WEIGHT_PLACES) return p;
        if (!str_starts(rest, "layers.")) continue;
        rest = str_skip(rest, strlen("layers."));
        if (!take_layer(&rest, layer)) return WEIGHT_PLACES;
        return find_place(rest, true, true);
    }
    return WEIGHT_PLACES;
}

weight_place weight_names_place(str name, int32_t *layer)
{
    *layer = -1;
    if (str_starts(name, "blk.")) {
        str rest = str_skip(name, strlen("blk."));
        return take_layer(&rest, layer) ? find_place(rest, true, false) : WEIGHT_PLACES;
    }
    weight_place p = find_place(name, false, false);
    return p != WEIGHT_PLACES ? p : hf_place(name, layer);
}

weight_part weight_names_part(weight_place p) { return p < WEIGHT_PLACES ? places[p].part : WEIGHT_PART_OTHER; }

const char *weight_names_part_text(weight_part p)
{
    static const char *const texts[WEIGHT_PARTS] = { "embeddings", "per-layer embeddings", "attention", "dense MLP", "experts", "norms", "other" };
    return texts[p];
}
