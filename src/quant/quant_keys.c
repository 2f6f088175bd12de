/* The keys of a GGUF file: another one's as they are, or made from the files of a Hugging Face folder (file-formats sections 2.1, 2.2, 4.1). */
#include <stdio.h>

#include "base/bits.h"
#include "os/file.h"
#include "quant/quant_int.h"
#include "text/tok.h"

enum { TEMPLATE_MAX = 4 << 20, BLOCKS_VERSION = 2 };

/* ---- from GGUF ----------------------------------------------------------------------------------- */

/* What was true of the other file only: its types, its alignment, its shards, what its types were chosen by. */
static bool is_of_the_file(str key)
{
    static const char *const own[] = { "general.file_type", "general.quantization_version", "general.alignment" };
    for (size_t i = 0; i < COUNT_OF(own); i++)
        if (str_is(key, own[i])) return true;
    return str_starts(key, "split.") || str_starts(key, "quantize.imatrix.");
}

static status copy_keys(gguf_writer *w, const gguf_file *g, err *e)
{
    status st = OK;
    for (uint64_t i = 0; i < gguf_value_count(g); i++) {
        const gguf_value *v = gguf_value_at(g, i);
        if (!is_of_the_file(v->key)) TRY(gguf_put_value(w, v, e));
    }
out:
    return st;
}

/* ---- from a folder ------------------------------------------------------------------------------- */

/* One number where all layers have the same, else one for each: what other readers ask for. */
static status put_layers(gguf_writer *w, const gemma_config *c, const char *key, size_t at, err *e)
{
    int32_t all[GEMMA_LAYERS_MAX];
    bool same = true;
    for (int32_t i = 0; i < c->layer_count; i++) {
        memcpy(&all[i], (const char *)&c->layers[i] + at, sizeof all[i]);
        same = same && all[i] == all[0];
    }
    return same ? gguf_put_u32(w, key, (uint32_t)all[0], e) : gguf_put_i32s(w, key, all, (uint64_t)c->layer_count, e);
}

static status put_attention(gguf_writer *w, const gemma_config *c, err *e)
{
    status st = OK;
    bool sliding[GEMMA_LAYERS_MAX];
    int32_t d[2] = { 0 };            /* of sliding layers, of full ones */
    for (int32_t i = 0; i < c->layer_count; i++) {
        const gemma_layer_config *l = &c->layers[i];
        sliding[i] = !l->full;
        if (d[l->full] && d[l->full] != l->d) FAIL(e, E_UNSUPPORTED, "cannot write this model as GGUF\nits layers have heads of different sizes (%d and %d)", d[l->full], l->d);
        d[l->full] = l->d;
    }
    if (!d[0]) d[0] = d[1];
    if (!d[1]) d[1] = d[0];
    const struct { const char *key; int32_t value; } numbers[] = {
        { "gemma4.attention.key_length", d[1] }, { "gemma4.attention.value_length", d[1] },
        { "gemma4.attention.key_length_swa", d[0] }, { "gemma4.attention.value_length_swa", d[0] },
        { "gemma4.rope.dimension_count", d[1] }, { "gemma4.rope.dimension_count_swa", d[0] },
        { "gemma4.attention.sliding_window", c->window }, { "gemma4.attention.shared_kv_layers", c->layer_count - c->kv_layers } };
    for (size_t i = 0; i < COUNT_OF(numbers); i++) TRY(gguf_put_u32(w, numbers[i].key, (uint32_t)numbers[i].value, e));
    TRY(put_layers(w, c, "gemma4.attention.head_count", offsetof(gemma_layer_config, nq), e));
    TRY(put_layers(w, c, "gemma4.attention.head_count_kv", offsetof(gemma_layer_config, nkv), e));
    TRY(gguf_put_bools(w, "gemma4.attention.sliding_window_pattern", sliding, (uint64_t)c->layer_count, e));
    TRY(gguf_put_f32(w, "gemma4.attention.layer_norm_rms_epsilon", c->eps, e));
    TRY(gguf_put_f32(w, "gemma4.rope.freq_base", (float)c->theta_full, e));
    TRY(gguf_put_f32(w, "gemma4.rope.freq_base_swa", (float)c->theta_sliding, e));
out:
    return st;
}

static status put_network(gguf_writer *w, const gemma_config *c, err *e)
{
    const struct { const char *key; int32_t value; } numbers[] = {
        { "gemma4.block_count", c->layer_count }, { "gemma4.context_length", c->context }, { "gemma4.embedding_length", c->hidden },
        { "gemma4.vocab_size", c->vocab }, { "gemma4.embedding_length_per_layer_input", c->ple },
        { "gemma4.expert_count", c->expert_count }, { "gemma4.expert_used_count", c->expert_used }, { "gemma4.expert_feed_forward_length", c->expert_ff } };
    status st = OK;
    for (size_t i = 0; i < COUNT_OF(numbers) - (c->expert_count ? 0 : 3); i++) TRY(gguf_put_u32(w, numbers[i].key, (uint32_t)numbers[i].value, e));
    TRY(put_layers(w, c, "gemma4.feed_forward_length", offsetof(gemma_layer_config, ff), e));
    TRY(put_attention(w, c, e));
    if (c->softcap > 0) TRY(gguf_put_f32(w, "gemma4.final_logit_softcapping", c->softcap, e));
out:
    return st;
}

static status put_general(gguf_writer *w, const gemma_config *c, err *e)
{
    status st = OK;
    TRY(gguf_put_str(w, "general.architecture", STR("gemma4"), e));
    TRY(gguf_put_str(w, "general.type", STR("model"), e));
    if (c->name[0]) TRY(gguf_put_str(w, "general.name", str_from(c->name), e));
    TRY(gguf_put_i32(w, "general.sampling.top_k", c->top_k, e));
    TRY(gguf_put_f32(w, "general.sampling.top_p", c->top_p, e));
    TRY(gguf_put_f32(w, "general.sampling.temp", c->temperature, e));
out:
    return st;
}

/* chat_template.jinja, or what tokenizer_config.json has. */
static status put_template(gguf_writer *w, const gemma *m, err *e)
{
    status st = OK;
    buf text;
    json_t *config = NULL;
    const char *said = NULL;
    buf_init(&text, TEMPLATE_MAX);
    char *path = file_join(m->path, "chat_template.jinja");
    if (!path) FAIL(e, E_NOMEM, "could not read the chat template\nout of memory");
    if (file_exists(path)) {
        TRY(file_read_all(&text, path, e));
        TRY(gguf_put_str(w, "tokenizer.chat_template", (str){ buf_text(&text), text.len }, e));
        goto out;
    }
    TRY(gemma_folder_json(m, "tokenizer_config.json", &config, e));
    said = json_string_value(json_object_get(config, "chat_template"));
    if (said) TRY(gguf_put_str(w, "tokenizer.chat_template", str_from(said), e));
out:
    mem_free(path);
    buf_done(&text);
    json_decref(config);
    return st;
}

static status put_text(gguf_writer *w, const gemma *m, err *e)
{
    status st = OK;
    json_t *j = NULL;
    const gemma_config *c = &m->config;
    TRY(gemma_tokenizer_json(m, &j, e));
    if (!j) goto out;                /* a model without a tokenizer stays one */
    TRY(tok_write_gguf(w, j, c->vocab, c->eos, c->eos_count, e));
    if (c->suppress_count) TRY(gguf_put_i32s(w, "tokenizer.ggml.suppress_tokens", c->suppress, (uint64_t)c->suppress_count, e));
    TRY(put_template(w, m, e));
out:
    json_decref(j);
    return st;
}

/* ---- both ---------------------------------------------------------------------------------------- */

status quant_keys_write(gguf_writer *w, const gemma *m, dtype main_type, err *e)
{
    status st = OK;
    if (m->gguf) {
        TRY(copy_keys(w, m->gguf, e));
    } else {
        TRY(put_general(w, &m->config, e));
        TRY(put_network(w, &m->config, e));
        TRY(put_text(w, m, e));
    }
    TRY(gguf_put_u32(w, "general.file_type", quant_types_file(main_type), e));
    TRY(gguf_put_u32(w, "general.quantization_version", BLOCKS_VERSION, e));
out:
    return st;
}
