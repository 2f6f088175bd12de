#include <inttypes.h>
#include <stdio.h>

#include "base/bits.h"
#include "model/gemma_config_int.h"
#include "model/weight_names.h"

/* Files that are something else, with what to do about it. */
static status check_architecture(const gguf_file *g, err *e)
{
    status st = OK;
    str arch, type;
    TRY(gguf_str_or(g, "general.architecture", STR(""), &arch, e));
    TRY(gguf_str_or(g, "general.type", STR("model"), &type, e));
    if (str_is(type, "adapter"))
        FAIL(e, E_UNSUPPORTED, "this file is an adapter (LoRA), not a model\nits key \"general.type\" is \"adapter\"\nGive the model that it was made for.");
    if (str_is(arch, "clip") || str_is(type, "mmproj"))
        FAIL(e, E_UNSUPPORTED, "this file is an mmproj: image and audio encoders, not a language model\nits architecture is \"%.*s\"\nGive the text model's file instead.", (int)MIN(arch.n, 80u), arch.p);
    if (str_is(arch, "gemma4-assistant") || str_is(arch, "gemma4_assistant") || str_is(arch, "gemma4_mtp"))
        FAIL(e, E_UNSUPPORTED, "this file is a drafter (multi-token prediction), not a model of its own\nits architecture is \"%.*s\"\nGive the model that it drafts for.", (int)MIN(arch.n, 80u), arch.p);
    if (arch.n == 0) FAIL(e, E_FORMAT, "key \"general.architecture\" is missing\nthis may be no model file");
    if (!str_is(arch, "gemma4"))
        FAIL(e, E_UNSUPPORTED, "cannot run a model of the architecture \"%.*s\"\nfacet runs Gemma 4 only (\"gemma4\")\n\"facet list\" shows models that it can run.", (int)MIN(arch.n, 80u), arch.p);
out:
    return st;
}

/* gemma4.<key>: one number for all layers, or an array with one for each.  fallback 0: the key must be there. */
static status per_layer(const gguf_file *g, const char *key, int32_t layer, int32_t layer_count, int64_t max, int64_t fallback, int32_t *out, err *e)
{
    status st = OK;
    int64_t n = fallback;
    const gguf_value *v = gguf_find(g, key);
    if (!v && fallback == 0) FAIL(e, E_FORMAT, "key \"%s\" is missing", key);
    if (v && v->type == GGUF_ARRAY && v->count != (uint64_t)layer_count)
        FAIL(e, E_FORMAT, "key \"%s\" has %" PRIu64 " elements\nthe model has %d layers", key, v->count, layer_count);
    if (v) TRY(gguf_item_i64(v, v->type == GGUF_ARRAY ? (uint64_t)layer : 0, &n, e));
    if (n < 1 || n > max) FAIL(e, E_FORMAT, "key \"%s\" is %" PRId64 " for layer %d\nit must be from 1 to %" PRId64, key, n, layer, max);
    *out = (int32_t)n;
out:
    return st;
}

/* An array with true for sliding layers, or a period: every n-th layer is full. */
static status read_pattern(gemma_config *c, const gguf_file *g, err *e)
{
    status st = OK;
    const char *key = "gemma4.attention.sliding_window_pattern";
    const gguf_value *v = gguf_find(g, key);
    int64_t n;
    if (!v) FAIL(e, E_FORMAT, "key \"%s\" is missing", key);
    if (v->type == GGUF_ARRAY && v->count != (uint64_t)c->layer_count)
        FAIL(e, E_FORMAT, "key \"%s\" has %" PRIu64 " elements\nthe model has %d layers", key, v->count, c->layer_count);
    for (int32_t i = 0; i < c->layer_count; i++) {
        TRY(gguf_item_i64(v, v->type == GGUF_ARRAY ? (uint64_t)i : 0, &n, e));
        if (v->type != GGUF_ARRAY && n < 1) FAIL(e, E_FORMAT, "key \"%s\" is %" PRId64, key, n);
        c->layers[i].full = v->type == GGUF_ARRAY ? n == 0 : (i + 1) % n == 0;
    }
out:
    return st;
}

/* Head sizes: the plain keys are those of full layers, _swa those of sliding ones. */
static status read_head_sizes(gemma_config *c, const gguf_file *g, err *e)
{
    status st = OK;
    int64_t full, sliding, value, rope;
    TRY(gguf_i64(g, "gemma4.attention.key_length", 2, GEMMA_HEAD_MAX, &full, e));
    TRY(gguf_i64_or(g, "gemma4.attention.value_length", 2, GEMMA_HEAD_MAX, full, &value, e));
    if (value != full) FAIL(e, E_UNSUPPORTED, "keys of size %" PRId64 " and values of size %" PRId64 " in full layers\nGemma 4 has one size for both", full, value);
    TRY(gguf_i64_or(g, "gemma4.rope.dimension_count", 0, GEMMA_HEAD_MAX, full, &rope, e));
    if (rope != full) FAIL(e, E_UNSUPPORTED, "key \"gemma4.rope.dimension_count\" is %" PRId64 "\nfacet knows only the head size, %" PRId64, rope, full);
    TRY(gguf_i64(g, "gemma4.attention.key_length_swa", 2, GEMMA_HEAD_MAX, &sliding, e));
    TRY(gguf_i64_or(g, "gemma4.attention.value_length_swa", 2, GEMMA_HEAD_MAX, sliding, &value, e));
    if (value != sliding) FAIL(e, E_UNSUPPORTED, "keys of size %" PRId64 " and values of size %" PRId64 " in sliding layers\nGemma 4 has one size for both", sliding, value);
    TRY(gguf_i64_or(g, "gemma4.rope.dimension_count_swa", 0, GEMMA_HEAD_MAX, sliding, &rope, e));
    if (rope != sliding) FAIL(e, E_UNSUPPORTED, "key \"gemma4.rope.dimension_count_swa\" is %" PRId64 "\nfacet knows only the head size, %" PRId64, rope, sliding);
    for (int32_t i = 0; i < c->layer_count; i++) c->layers[i].d = (int32_t)(c->layers[i].full ? full : sliding);
    c->rope_pairs_full = (int32_t)(full / 8);   /* a quarter of the pairs, unless rope_freqs.weight says otherwise */
out:
    return st;
}

/* A layer without a V tensor takes K for V.  A vocabulary has no tensors to look at: there the large models do so. */
static bool takes_k_for_v(const gemma_config *c, const gguf_file *g, int32_t layer)
{
    char name[WEIGHT_NAME_CAP];
    if (gguf_tensor_count(g) == 0) return c->layers[layer].full && c->ple == 0;
    weight_names_gguf(WEIGHT_V, layer, name);
    return !gguf_tensor_find(g, name);
}

static status read_layers(gemma_config *c, const gguf_file *g, err *e)
{
    status st = OK;
    int64_t n;
    TRY(gguf_i64(g, "gemma4.block_count", 1, GEMMA_LAYERS_MAX, &n, e));
    TRY(gemma_config_new_layers(c, n, e));
    TRY(gguf_i64_or(g, "gemma4.attention.shared_kv_layers", 0, c->layer_count - 1, 0, &n, e));
    c->kv_layers = c->layer_count - (int32_t)n;
    TRY(read_pattern(c, g, e));
    TRY(read_head_sizes(c, g, e));
    for (int32_t i = 0; i < c->layer_count; i++) {
        gemma_layer_config *l = &c->layers[i];
        TRY(per_layer(g, "gemma4.feed_forward_length", i, c->layer_count, GEMMA_WIDTH_MAX, 0, &l->ff, e));
        TRY(per_layer(g, "gemma4.attention.head_count", i, c->layer_count, GEMMA_HEADS_MAX, 0, &l->nq, e));
        TRY(per_layer(g, "gemma4.attention.head_count_kv", i, c->layer_count, GEMMA_HEADS_MAX, l->nq, &l->nkv, e));
        l->k_eq_v = i < c->kv_layers && takes_k_for_v(c, g, i);
    }
out:
    return st;
}

static status read_experts(gemma_config *c, const gguf_file *g, err *e)
{
    status st = OK;
    int64_t n;
    TRY(gguf_i64_or(g, "gemma4.expert_count", 0, GEMMA_EXPERTS_MAX, 0, &n, e));
    c->expert_count = (int32_t)n;
    if (n == 0) goto out;
    TRY(gguf_i64(g, "gemma4.expert_used_count", 1, c->expert_count, &n, e));
    c->expert_used = (int32_t)n;
    for (int32_t i = 0; i < c->layer_count; i++) {
        int32_t width;
        TRY(per_layer(g, "gemma4.expert_feed_forward_length", i, c->layer_count, GEMMA_WIDTH_MAX, 0, &width, e));
        if (i > 0 && width != c->expert_ff) FAIL(e, E_UNSUPPORTED, "experts of different widths (%d and %d) in different layers", c->expert_ff, width);
        c->expert_ff = width;
    }
out:
    return st;
}

/* The number of tokens, wherever the file says it; all places must agree. */
static status read_vocab(gemma_config *c, const gguf_file *g, err *e)
{
    status st = OK;
    int64_t n, key;
    const gguf_value *tokens = gguf_find(g, "tokenizer.ggml.tokens");
    const gguf_tensor *embed = gguf_tensor_find(g, "token_embd.weight");
    n = embed ? embed->ne[1] : tokens && tokens->type == GGUF_ARRAY ? (int64_t)tokens->count : 0;
    TRY(gguf_i64_or(g, "gemma4.vocab_size", 1, GEMMA_VOCAB_MAX, n, &key, e));
    if (n == 0) n = key;
    if (n < 1 || n > GEMMA_VOCAB_MAX) FAIL(e, E_FORMAT, "the vocabulary has %" PRId64 " tokens\nit must have 1 to %d", n, GEMMA_VOCAB_MAX);
    if (key != n) FAIL(e, E_FORMAT, "key \"gemma4.vocab_size\" is %" PRId64 "\ntensor \"token_embd.weight\" has %" PRId64 " rows", key, n);
    if (tokens && tokens->count != (uint64_t)n)
        FAIL(e, E_FORMAT, "the tokenizer has %" PRIu64 " tokens\ntensor \"token_embd.weight\" has %" PRId64 " rows", tokens->count, n);
    c->vocab = (int32_t)n;
out:
    return st;
}

static status read_numbers(gemma_config *c, const gguf_file *g, err *e)
{
    status st = OK;
    int64_t n;
    double x;
    TRY(gguf_i64(g, "gemma4.embedding_length", 1, GEMMA_WIDTH_MAX, &n, e));
    c->hidden = (int32_t)n;
    TRY(gguf_i64_or(g, "gemma4.context_length", 1, INT32_MAX, 131072, &n, e));
    c->context = (int32_t)n;
    TRY(gguf_i64(g, "gemma4.attention.sliding_window", 1, INT32_MAX, &n, e));
    c->window = (int32_t)n;
    TRY(gguf_i64_or(g, "gemma4.embedding_length_per_layer_input", 0, GEMMA_PLE_MAX, 0, &n, e));
    c->ple = (int32_t)n;
    c->vision_blocks = n == 0;
    c->untied = gguf_tensor_find(g, "output.weight") != NULL;
    TRY(gguf_f64_or(g, "gemma4.attention.layer_norm_rms_epsilon", 1e-6, &x, e));
    c->eps = (float)x;
    TRY(gguf_f64_or(g, "gemma4.final_logit_softcapping", 0, &x, e));
    c->softcap = (float)x;
    TRY(gguf_f64_or(g, "gemma4.rope.freq_base", 1e6, &c->theta_full, e));
    TRY(gguf_f64_or(g, "gemma4.rope.freq_base_swa", 1e4, &c->theta_sliding, e));
out:
    return st;
}

/* Keys that would change the computation into one that facet does not have. */
static status check_unsupported(const gguf_file *g, err *e)
{
    status st = OK;
    str scaling;
    double x;
    TRY(gguf_str_or(g, "gemma4.rope.scaling.type", STR("none"), &scaling, e));
    if (scaling.n && !str_is(scaling, "none"))
        FAIL(e, E_UNSUPPORTED, "cannot run this model\nits key \"gemma4.rope.scaling.type\" is \"%.*s\", which facet does not implement", (int)MIN(scaling.n, 80u), scaling.p);
    TRY(gguf_f64_or(g, "gemma4.attn_logit_softcapping", 0, &x, e));
    if (x != 0) FAIL(e, E_UNSUPPORTED, "cannot run this model\nit has softcapped attention (key \"gemma4.attn_logit_softcapping\"), which facet does not implement");
out:
    return st;
}

/* ---- generation defaults ---------------------------------------------------------------------- */

/* These tokens end an answer, whatever ids a vocabulary gives them. */
static status find_stop_token(void *user, uint64_t id, str s, err *e)
{
    (void)e;
    if (str_is(s, "<eos>") || str_is(s, "<turn|>") || str_is(s, "<|tool_response>")) gemma_config_add_eos(user, (int64_t)id);
    return OK;
}

static status read_id_list(gemma_config *c, const gguf_file *g, const char *key, void (*add)(gemma_config *, int64_t), err *e)
{
    status st = OK;
    int64_t id;
    const gguf_value *v = gguf_find(g, key);
    for (uint64_t i = 0; v && i < MIN(v->count, 1000u); i++) {
        TRY(gguf_item_i64(v, i, &id, e));
        add(c, id);
    }
out:
    return st;
}

static status read_generation(gemma_config *c, const gguf_file *g, err *e)
{
    static const char *const eos_keys[] = { "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id", "tokenizer.ggml.eos_token_ids" };
    status st = OK;
    double x;
    int64_t n;
    const gguf_value *tokens = gguf_find(g, "tokenizer.ggml.tokens");
    if (tokens) TRY(gguf_each_str(tokens, find_stop_token, c, e));
    for (size_t i = 0; i < COUNT_OF(eos_keys); i++) TRY(read_id_list(c, g, eos_keys[i], gemma_config_add_eos, e));
    TRY(read_id_list(c, g, "tokenizer.ggml.suppress_tokens", gemma_config_add_suppress, e));
    TRY(gguf_f64_or(g, "general.sampling.temp", 1.0, &x, e));
    c->temperature = (float)x;
    TRY(gguf_f64_or(g, "general.sampling.top_p", 0.95, &x, e));
    c->top_p = (float)x;
    TRY(gguf_i64_or(g, "general.sampling.top_k", INT32_MIN, INT32_MAX, 64, &n, e));
    c->top_k = (int32_t)n;
out:
    return st;
}

status gemma_config_from_gguf(gemma_config *out, const gguf_file *g, err *e)
{
    status st = OK;
    gemma_config c;
    str name;
    gemma_config_begin(&c);
    TRY(check_architecture(g, e));
    TRY(check_unsupported(g, e));
    TRY(gguf_str_or(g, "general.name", STR(""), &name, e));
    snprintf(c.name, sizeof c.name, "%.*s", (int)MIN(name.n, sizeof c.name - 1), name.p ? name.p : "");
    TRY(read_numbers(&c, g, e));
    TRY(read_layers(&c, g, e));
    TRY(read_experts(&c, g, e));
    TRY(read_vocab(&c, g, e));
    TRY(read_generation(&c, g, e));
    TRY(gemma_config_finish(&c, e));
    *out = c;
    c = (gemma_config){ 0 };
out:
    gemma_config_done(&c);
    return st;
}
