#include <math.h>
#include <stdio.h>

#include "base/bits.h"
#include "model/gemma_config_int.h"

static const char WHERE[] = "config.json";

/* model_type at the top, and what to say about others. */
static status check_model_type(const json_t *config, err *e)
{
    static const char *const known[] = { "gemma4", "gemma4_unified", "gemma4_text", "gemma4_unified_text" };
    status st = OK;
    const char *type;
    if (!config) FAIL(e, E_FORMAT, "there is no config.json\nwithout it the tensors have no meaning");
    if (!json_is_object(config)) FAIL(e, E_FORMAT, "%s is no JSON object", WHERE);
    TRY(json_str_or_null(config, "model_type", WHERE, &type, e));
    if (!type) FAIL(e, E_FORMAT, "%s: \"model_type\" is missing", WHERE);
    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (strcmp(type, known[i]) == 0) goto out;
    if (strstr(type, "assistant"))
        FAIL(e, E_UNSUPPORTED, "this is a drafter (multi-token prediction), not a model of its own\nits model_type is \"%s\"\nGive the model that it drafts for.", type);
    FAIL(e, E_UNSUPPORTED, "cannot run a model of the type \"%s\"\nfacet runs Gemma 4 only (\"gemma4\")\n\"facet list\" shows models that it can run.", type);
out:
    return st;
}

static status check_unsupported(const json_t *config, const json_t *t, err *e)
{
    status st = OK;
    bool bias;
    const char *s;
    const json_t *q = json_object_get(config, "quantization_config");
    if (q && !json_is_null(q)) {
        s = json_string_value(json_object_get(q, "quant_method"));
        FAIL(e, E_UNSUPPORTED, "cannot run quantized safetensors (\"%s\")\nfacet runs BF16, F16 and F32 from safetensors\nTake the model's original files, or a GGUF.", s ? s : "unknown");
    }
    TRY(json_str_or_null(t, "hidden_activation", WHERE, &s, e));
    if (s && strcmp(s, "gelu_pytorch_tanh") != 0) FAIL(e, E_UNSUPPORTED, "cannot run this model\nits activation is \"%s\"; facet has gelu_pytorch_tanh", s);
    TRY(json_bool_or(t, "attention_bias", WHERE, false, &bias, e));
    if (bias) FAIL(e, E_UNSUPPORTED, "cannot run this model\nits attention has biases, which facet does not implement");
    TRY(json_str_or_null(t, "use_bidirectional_attention", WHERE, &s, e));
    if (s && strcmp(s, "vision") != 0) FAIL(e, E_UNSUPPORTED, "cannot run this model\nits use_bidirectional_attention is \"%s\", which facet does not implement", s);
out:
    return st;
}

/* rope_parameters.<kind>: base and, for full layers, the part of the pairs that turns. */
static status read_rope(const json_t *t, const char *kind, const char *type_wanted, double *theta, double *partial, err *e)
{
    status st = OK;
    const char *type;
    double factor, default_partial = *partial;
    const json_t *all = json_object_get(t, "rope_parameters");
    const json_t *r = json_object_get(all, kind);
    if (!r || json_is_null(r)) goto out;   /* the published values stand */
    if (!json_is_object(r)) FAIL(e, E_FORMAT, "%s: rope_parameters.%s is no object", WHERE, kind);
    TRY(json_str_or_null(r, "rope_type", WHERE, &type, e));
    TRY(json_f64_or(r, "rope_theta", WHERE, *theta, theta, e));
    TRY(json_f64_or(r, "factor", WHERE, 1, &factor, e));
    if (type && strcmp(type, type_wanted) != 0 && strcmp(type, "default") != 0)
        FAIL(e, E_UNSUPPORTED, "cannot run this model\nits rope_type of %s is \"%s\", which facet does not implement", kind, type);
    if (!type || strcmp(type, "default") == 0) default_partial = 1;
    TRY(json_f64_or(r, "partial_rotary_factor", WHERE, default_partial, partial, e));
    if (default_partial == 1 && *partial != 1) FAIL(e, E_UNSUPPORTED, "cannot run this model\nits partial_rotary_factor of %s is %g, which facet does not implement for this rope_type", kind, *partial);
    if (factor != 1) FAIL(e, E_UNSUPPORTED, "cannot run this model\nits rope factor of %s is %g, which facet does not implement", kind, factor);
    if (!(*partial >= 0 && *partial <= 1)) FAIL(e, E_FORMAT, "%s: partial_rotary_factor is %g\nit must be from 0 to 1", WHERE, *partial);
out:
    return st;
}

/* layer_types, or every sixth layer full; the last layer always is. */
static status read_layer_types(gemma_config *c, const json_t *t, err *e)
{
    status st = OK;
    const json_t *types = json_object_get(t, "layer_types");
    if (json_is_null(types)) types = NULL;
    if (types && json_array_size(types) != (size_t)c->layer_count)
        FAIL(e, E_FORMAT, "%s: \"layer_types\" has %zu elements\nthe model has %d layers", WHERE, json_array_size(types), c->layer_count);
    for (int32_t i = 0; i < c->layer_count; i++) {
        const char *s = types ? json_string_value(json_array_get(types, (size_t)i)) : (i + 1) % 6 ? "sliding_attention" : "full_attention";
        c->layers[i].full = s && strcmp(s, "full_attention") == 0;
        if (!c->layers[i].full && (!s || strcmp(s, "sliding_attention") != 0))
            FAIL(e, E_UNSUPPORTED, "%s: layer_types[%d] is \"%s\"\nfacet knows sliding_attention and full_attention", WHERE, i, s ? s : "(no string)");
    }
    c->layers[c->layer_count - 1].full = true;
out:
    return st;
}

/* The newer form: {"05": {"head_dim": 512, "num_key_value_heads": 2}}; keys are padded with zeros to one width. */
static status read_overrides(gemma_config *c, const json_t *overrides, err *e)
{
    status st = OK;
    const char *key;
    json_t *o;
    int64_t i, n;
    json_object_foreach((json_t *)(uintptr_t)overrides, key, o) {
        if (str_to_i64(str_from(key), "layer", 0, c->layer_count - 1, &i, NULL) != OK)
            FAIL(e, E_FORMAT, "%s: per_layer_config has the key \"%s\"\nit must be a layer from 0 to %d", WHERE, key, c->layer_count - 1);
        if (!json_is_object(o)) FAIL(e, E_FORMAT, "%s: per_layer_config.%s is no object", WHERE, key);
        gemma_layer_config *l = &c->layers[i];
        TRY(json_i64_or(o, "head_dim", WHERE, 2, GEMMA_HEAD_MAX, l->d, &n, e));
        l->d = (int32_t)n;
        TRY(json_i64_or(o, "num_key_value_heads", WHERE, 1, GEMMA_HEADS_MAX, l->nkv, &n, e));
        l->nkv = (int32_t)n;
    }
out:
    return st;
}

/* The published form: global_head_dim and num_global_key_value_heads hold for full layers. */
static status read_globals(gemma_config *c, const json_t *t, bool k_eq_v, int64_t nkv, err *e)
{
    status st = OK;
    int64_t d, n;
    TRY(json_i64_or(t, "global_head_dim", WHERE, 2, GEMMA_HEAD_MAX, 512, &d, e));
    TRY(json_i64_or(t, "num_global_key_value_heads", WHERE, 1, GEMMA_HEADS_MAX, nkv, &n, e));
    if (!k_eq_v) n = nkv;   /* the number of its own takes effect only together with K = V */
    for (int32_t i = 0; i < c->layer_count; i++) {
        if (!c->layers[i].full) continue;
        c->layers[i].d = (int32_t)d;
        c->layers[i].nkv = (int32_t)n;
    }
out:
    return st;
}

static status read_heads(gemma_config *c, const json_t *t, bool k_eq_v, err *e)
{
    status st = OK;
    int64_t nq, nkv, d;
    const json_t *overrides = json_object_get(t, "per_layer_config");
    TRY(json_need_i64(t, "num_attention_heads", WHERE, 1, GEMMA_HEADS_MAX, &nq, e));
    TRY(json_i64_or(t, "num_key_value_heads", WHERE, 1, GEMMA_HEADS_MAX, nq, &nkv, e));
    TRY(json_i64_or(t, "head_dim", WHERE, 2, GEMMA_HEAD_MAX, 256, &d, e));
    for (int32_t i = 0; i < c->layer_count; i++) {
        gemma_layer_config *l = &c->layers[i];
        l->nq = (int32_t)nq;
        l->nkv = (int32_t)nkv;
        l->d = (int32_t)d;
        l->k_eq_v = k_eq_v && l->full;
    }
    if (json_is_object(overrides)) TRY(read_overrides(c, overrides, e));
    else TRY(read_globals(c, t, k_eq_v, nkv, e));
out:
    return st;
}

static status read_layers(gemma_config *c, const json_t *t, err *e)
{
    status st = OK;
    int64_t n, shared, ff;
    bool wide, k_eq_v;
    double partial = 0.25, whole = 1;
    TRY(json_need_i64(t, "num_hidden_layers", WHERE, 1, GEMMA_LAYERS_MAX, &n, e));
    TRY(gemma_config_new_layers(c, n, e));
    TRY(json_i64_or(t, "num_kv_shared_layers", WHERE, 0, n - 1, 0, &shared, e));
    c->kv_layers = (int32_t)(n - shared);
    TRY(read_layer_types(c, t, e));
    TRY(json_bool_or(t, "attention_k_eq_v", WHERE, false, &k_eq_v, e));
    TRY(read_heads(c, t, k_eq_v, e));
    TRY(json_need_i64(t, "intermediate_size", WHERE, 1, GEMMA_WIDTH_MAX / 2, &ff, e));
    TRY(json_bool_or(t, "use_double_wide_mlp", WHERE, false, &wide, e));
    for (int32_t i = 0; i < c->layer_count; i++) c->layers[i].ff = (int32_t)(wide && i >= c->kv_layers ? 2 * ff : ff);
    TRY(read_rope(t, "sliding_attention", "default", &c->theta_sliding, &whole, e));
    TRY(read_rope(t, "full_attention", "proportional", &c->theta_full, &partial, e));
    c->rope_pairs_full = (int32_t)(partial * c->layers[c->layer_count - 1].d / 2);   /* the last layer is full */
out:
    return st;
}

static status read_experts(gemma_config *c, const json_t *t, err *e)
{
    status st = OK;
    bool moe;
    int64_t n;
    TRY(json_bool_or(t, "enable_moe_block", WHERE, false, &moe, e));
    if (!moe) goto out;
    TRY(json_need_i64(t, "num_experts", WHERE, 1, GEMMA_EXPERTS_MAX, &n, e));
    c->expert_count = (int32_t)n;
    TRY(json_need_i64(t, "top_k_experts", WHERE, 1, n, &n, e));
    c->expert_used = (int32_t)n;
    TRY(json_i64_or(t, "expert_intermediate_size", WHERE, 1, GEMMA_WIDTH_MAX, 0, &n, e));   /* an older name */
    if (n == 0) TRY(json_need_i64(t, "moe_intermediate_size", WHERE, 1, GEMMA_WIDTH_MAX, &n, e));
    else TRY(json_i64_or(t, "moe_intermediate_size", WHERE, 1, GEMMA_WIDTH_MAX, n, &n, e));
    c->expert_ff = (int32_t)n;
out:
    return st;
}

/* Missing keys have the reference's defaults, which differ for the unified family (12B). */
static status read_numbers(gemma_config *c, const json_t *config, const json_t *t, err *e)
{
    status st = OK;
    int64_t n;
    double x;
    bool tied;
    const char *s;
    bool unified = strstr(json_string_value(json_object_get(config, "model_type")), "unified") != NULL;
    TRY(json_need_i64(t, "hidden_size", WHERE, 1, GEMMA_WIDTH_MAX, &n, e));
    c->hidden = (int32_t)n;
    TRY(json_need_i64(t, "vocab_size", WHERE, 1, GEMMA_VOCAB_MAX, &n, e));
    c->vocab = (int32_t)n;
    TRY(json_i64_or(t, "max_position_embeddings", WHERE, 1, INT32_MAX, 131072, &n, e));
    c->context = (int32_t)n;
    TRY(json_i64_or(t, "sliding_window", WHERE, 1, INT32_MAX, unified ? 1024 : 512, &n, e));
    c->window = (int32_t)n;
    TRY(json_i64_or(t, "hidden_size_per_layer_input", WHERE, 0, GEMMA_PLE_MAX, unified || json_object_get(t, "hidden_size_per_layer_input") ? 0 : 256, &n, e));
    c->ple = (int32_t)n;
    TRY(json_f64_or(t, "rms_norm_eps", WHERE, 1e-6, &x, e));
    c->eps = (float)x;
    TRY(json_f64_or(t, "final_logit_softcapping", WHERE, 0, &x, e));
    c->softcap = (float)x;
    TRY(json_bool_or(t, "tie_word_embeddings", WHERE, true, &tied, e));
    if (t != config && !json_object_get(t, "tie_word_embeddings")) TRY(json_bool_or(config, "tie_word_embeddings", WHERE, true, &tied, e));
    c->untied = !tied;
    TRY(json_str_or_null(t, "use_bidirectional_attention", WHERE, &s, e));
    c->vision_blocks = s != NULL || (unified && !json_object_get(t, "use_bidirectional_attention"));
out:
    return st;
}

/* One id or a list of them; anything else is left out. */
static bool add_ids(gemma_config *c, const json_t *v, void (*add)(gemma_config *, int64_t))
{
    if (json_is_integer(v)) add(c, json_integer_value(v));
    for (size_t i = 0; i < json_array_size(v); i++)
        if (json_is_integer(json_array_get(v, i))) add(c, json_integer_value(json_array_get(v, i)));
    return json_is_integer(v) || json_array_size(v) > 0;
}

static status read_generation(gemma_config *c, const json_t *config, const json_t *t, const json_t *generation, err *e)
{
    status st = OK;
    const char *where = "generation_config.json";
    int64_t n;
    double x;
    if (!add_ids(c, json_object_get(generation, "eos_token_id"), gemma_config_add_eos)) {
        add_ids(c, json_object_get(config, "eos_token_id"), gemma_config_add_eos);
        add_ids(c, json_object_get(t, "eos_token_id"), gemma_config_add_eos);
        static const int64_t published[] = { 1, 106, 50 };   /* config.json alone leaves some out */
        for (size_t i = 0; c->vocab == 262144 && i < COUNT_OF(published); i++) gemma_config_add_eos(c, published[i]);
    }
    add_ids(c, json_object_get(generation, "suppress_tokens"), gemma_config_add_suppress);
    if (!generation) goto out;
    TRY(json_f64_or(generation, "temperature", where, 1.0, &x, e));
    c->temperature = (float)x;
    TRY(json_f64_or(generation, "top_p", where, 0.95, &x, e));
    c->top_p = (float)x;
    TRY(json_i64_or(generation, "top_k", where, INT32_MIN, INT32_MAX, 64, &n, e));
    c->top_k = (int32_t)n;
out:
    return st;
}

status gemma_config_from_hf(gemma_config *out, const json_t *config, const json_t *generation, const char *name, err *e)
{
    status st = OK;
    gemma_config c;
    gemma_config_begin(&c);
    TRY(check_model_type(config, e));
    const json_t *t = json_object_get(config, "text_config");
    if (!json_is_object(t)) t = config;   /* text-only models have no nesting */
    TRY(check_unsupported(config, t, e));
    snprintf(c.name, sizeof c.name, "%s", name ? name : "");
    TRY(read_numbers(&c, config, t, e));
    TRY(read_layers(&c, t, e));
    TRY(read_experts(&c, t, e));
    TRY(read_generation(&c, config, t, generation, e));
    TRY(gemma_config_finish(&c, e));
    *out = c;
    c = (gemma_config){ 0 };
out:
    gemma_config_done(&c);
    return st;
}
