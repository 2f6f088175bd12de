/* facet_model: the network and its tokenizer from one path; tokens and prompts. */
#include <string.h>

#include "base/log.h"
#include "os/file.h"
#include "run/run_int.h"
#include "text/chat_value.h"

enum { TEMPLATE_MAX = 4 << 20 };

status run_need_tok(const facet_model *m, err *e)
{
    if (m->tok) return OK;
    if (e) *e = m->tok_why;
    return m->tok_why.code;
}

/* The chat template that comes with the file: text, or empty. */
static status read_template(const facet_model *m, buf *out, err *e)
{
    status st = OK;
    str text = { "", 0 };
    const gemma *g = m->gemma;
    if (g->gguf) {
        TRY(gguf_str_or(g->gguf, "tokenizer.chat_template", text, &text, e));
        TRY(buf_add(out, text.p, text.n, e));
    } else {
        char *path = file_join(g->path, "chat_template.jinja");
        if (!path) FAIL(e, E_NOMEM, "could not read the chat template\nout of memory");
        if (file_exists(path)) st = file_read_all(out, path, e);
        mem_free(path);
    }
out:
    return st;
}

static status choose_variant(facet_model *m, err *e)
{
    status st = OK;
    bool known = false;
    buf text;
    buf_init(&text, TEMPLATE_MAX);
    TRY(read_template(m, &text, e));
    /* the small models are those with per-layer embeddings */
    m->variant = chat_variant_of((str){ buf_text(&text), text.len }, m->gemma->config.ple == 0, &known);
    if (text.len && !known)
        log_print(LOG_WARN, "the file's chat template is not one that facet knows; using the official one of %s models",
                  m->variant == CHAT_EDGE ? "the small" : "the large");
    const tok_special *s = tok_specials(m->tok);
    m->chat = s->bos >= 0 && s->turn >= 0 && s->turn_end >= 0;
out:
    buf_done(&text);
    return st;
}

static status load_tok(facet_model *m, err *e)
{
    status st = OK;
    json_t *j = NULL;
    const gemma *g = m->gemma;
    if (g->gguf) return tok_from_gguf(&m->tok, g->gguf, e);
    TRY(gemma_tokenizer_json(g, &j, e));
    if (!j) FAIL(e, E_UNSUPPORTED, "cannot read or write text with \"%s\"\nthe folder has no tokenizer.json", g->path);
    TRY(tok_from_json(&m->tok, j, e));
out:
    json_decref(j);
    return st;
}

facet_status facet_model_open(facet_model **out, const facet_model_opts *o, facet_error *e)
{
    status st = OK;
    facet_model *m = NULL;
    if (!o || !o->path || !o->path[0]) FAIL(e, E_ARG, "cannot open a model\nno path was given");
    m = mem_alloc(sizeof *m, MEM_OTHER);
    if (!m) FAIL(e, E_NOMEM, "could not open \"%s\"\nout of memory", o->path);
    m->trie = mem_alloc(sizeof *m->trie, MEM_OTHER);
    if (!m->trie) FAIL(e, E_NOMEM, "could not open \"%s\"\nout of memory", o->path);
    pthread_mutex_init(&m->trie->lock, NULL);
    TRY(gemma_open(&m->gemma, o->path, e));
    mem_stats before, after;
    mem_stats_read(&before);
    /* A network without a usable vocabulary still computes logits; whoever needs text is told why not. */
    st = load_tok(m, &m->tok_why);
    if (st == E_NOMEM || st == E_IO) { if (e) *e = m->tok_why; goto out; }
    st = OK;
    mem_stats_read(&after);
    m->text_bytes = after.tag_current[MEM_TEXT] > before.tag_current[MEM_TEXT] ? after.tag_current[MEM_TEXT] - before.tag_current[MEM_TEXT] : 0;
    if (m->tok && (st = choose_variant(m, e)) != OK) {
        err_wrap(e, "%s", o->path);
        goto out;
    }
    *out = m;
    m = NULL;
out:
    facet_model_close(m);
    return st;
}

void facet_model_close(facet_model *m)
{
    if (!m) return;
    if (m->trie) {
        trie_free(m->trie->trie);
        pthread_mutex_destroy(&m->trie->lock);
        mem_free(m->trie);
    }
    tok_free(m->tok);
    gemma_close(m->gemma);
    mem_free(m);
}

void facet_model_read_info(const facet_model *m, facet_model_info *out)
{
    const gemma *g = m->gemma;
    const gemma_config *c = &g->config;
    gemma_parameters parameters;
    gemma_config_parameters(c, &parameters);
    *out = (facet_model_info){
        .name = c->name, .vocab = c->vocab, .context = c->context, .layer_count = c->layer_count, .hidden = c->hidden,
        .expert_count = c->expert_count, .expert_used = c->expert_used, .bos = m->tok ? tok_specials(m->tok)->bos : -1,
        .text = m->tok != NULL, .chat = m->chat, .parameters = (uint64_t)parameters.total, .format = g->gguf ? "gguf" : "safetensors",
        .weight_type = dtype_of(weights_main_type(&g->weights, c->layer_count))->name,
        .file_bytes = g->gguf ? gguf_file_bytes(g->gguf) : st_file_bytes(g->safetensors) };
    const char *name = gemma_config_size_name(c, out->size_name, sizeof out->size_name);
    if (name != out->size_name) strncpy(out->size_name, name, sizeof out->size_name - 1);
}

facet_status facet_tokenize(const facet_model *m, const char *text, size_t n, bool special, int32_t **ids, size_t *count, facet_error *e)
{
    status st = OK;
    tok_ids list = { 0 };
    TRY(run_need_tok(m, e));
    TRY(tok_encode(m->tok, (str){ text, n }, special, &list, e));
    *ids = list.data;
    *count = list.len;
    list = (tok_ids){ 0 };
out:
    tok_ids_done(&list);
    return st;
}

facet_status facet_detokenize(const facet_model *m, const int32_t *ids, size_t count, bool special, char **text, size_t *n, facet_error *e)
{
    status st = OK;
    tok_decoder d = { .special = special };
    buf b;
    buf_init(&b, (size_t)1 << 40);
    TRY(run_need_tok(m, e));
    for (size_t i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= tok_count(m->tok))
            FAIL(e, E_ARG, "cannot write token %d as text\nthe vocabulary has %d tokens", ids[i], tok_count(m->tok));
        TRY(tok_decode(m->tok, &d, ids[i], &b, e));
    }
    TRY(tok_decode_end(&d, &b, e));
    TRY(buf_add(&b, "", 0, e));      /* at least the final NUL */
    *n = b.len;
    *text = buf_take(&b);
out:
    buf_done(&b);
    return st;
}

facet_status facet_render(const facet_model *m, const char *json, size_t n, int32_t **ids, size_t *count, facet_error *e)
{
    status st = OK;
    json_t *conversation = NULL;
    chat_prompt p = { 0 };
    tok_ids list = { 0 };
    TRY(run_need_tok(m, e));
    TRY(json_parse(&conversation, (str){ json, n }, "the conversation", false, e));
    TRY(chat_render_conversation(&p, conversation, m->variant, e));
    if (chat_value_true(json_object_get(conversation, "add_generation_prompt")))
        TRY(chat_open_turn(&p, &(chat_opts){ .variant = m->variant, .think = chat_value_true(json_object_get(conversation, "enable_thinking")) }, e));
    TRY(chat_encode(m->tok, &p, &list, e));
    *ids = list.data;
    *count = list.len;
    list = (tok_ids){ 0 };
out:
    tok_ids_done(&list);
    chat_prompt_done(&p);
    json_decref(conversation);
    return st;
}
