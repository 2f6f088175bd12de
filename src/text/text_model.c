#include "text/text_model.h"

#include <stdio.h>

#include "base/bits.h"
#include "base/log.h"
#include "os/file.h"

enum { CONFIG_BYTES = 16 << 20, TOKENIZER_BYTES = 256 << 20 };

/* The small models (E2B, E4B) are those with per-layer embeddings. */
static void choose(text_model *m, str template_text, bool large)
{
    m->has_template = template_text.n > 0;
    m->variant = chat_variant_of(template_text, large, &m->template_known);
    if (m->has_template && !m->template_known)
        log_print(LOG_WARN, "the file's chat template is not one that Facet knows; using the official one of the %s models",
                  m->variant == CHAT_EDGE ? "small" : "large");
}

static status open_gguf(text_model *m, const char *path, err *e)
{
    status st = OK;
    gguf_file *g = NULL;
    str template_text, arch;
    char key[128];
    int64_t ple = 0;
    TRY(gguf_open(&g, path, e));
    TRY(tok_from_gguf(&m->tok, g, e));
    TRY(gguf_str_or(g, "tokenizer.chat_template", STR(""), &template_text, e));
    TRY(gguf_str_or(g, "general.architecture", STR("gemma4"), &arch, e));
    snprintf(key, sizeof key, "%.*s.embedding_length_per_layer_input", (int)MIN(arch.n, 64u), arch.p);
    TRY(gguf_i64_or(g, key, 0, INT64_MAX, 0, &ple, e));
    choose(m, template_text, ple == 0);
out:
    gguf_close(g);
    return st;
}

/* A file of the folder; empty when it is not there. */
static status read_file(buf *out, const char *dir, const char *name, size_t limit, err *e)
{
    buf_init(out, limit);
    char *path = file_join(dir, name);
    if (!path) return err_set(e, E_NOMEM, "could not read \"%s\"\nout of memory", name);
    status st = file_exists(path) ? file_read_all(out, path, e) : OK;
    mem_free(path);
    return st;
}

static status read_json(json_t **out, const char *dir, const char *name, size_t limit, err *e)
{
    buf b;
    status st = read_file(&b, dir, name, limit, e);
    *out = NULL;
    if (st == OK && b.len) st = json_parse(out, (str){ buf_text(&b), b.len }, name, false, e);
    buf_done(&b);
    return st;
}

static status open_folder(text_model *m, const char *dir, err *e)
{
    status st = OK;
    json_t *tokenizer = NULL, *config = NULL;
    buf template_text;
    int64_t ple = 0;
    buf_init(&template_text, CONFIG_BYTES);
    TRY(read_json(&tokenizer, dir, "tokenizer.json", TOKENIZER_BYTES, e));
    if (!tokenizer) FAIL(e, E_IO, "could not open the tokenizer of \"%s\"\nthe folder has no tokenizer.json", dir);
    TRY(tok_from_json(&m->tok, tokenizer, e));
    TRY(read_json(&config, dir, "config.json", CONFIG_BYTES, e));
    const json_t *text = json_object_get(config, "text_config");
    TRY(json_i64_or(text ? text : config, "hidden_size_per_layer_input", "config.json", 0, INT64_MAX, 0, &ple, e));
    TRY(read_file(&template_text, dir, "chat_template.jinja", CONFIG_BYTES, e));
    choose(m, (str){ buf_text(&template_text), template_text.len }, ple == 0);
out:
    json_decref(tokenizer);
    json_decref(config);
    buf_done(&template_text);
    return st;
}

status text_model_open(text_model *out, const char *path, err *e)
{
    text_model m = { 0 };
    status st = file_is_dir(path) ? open_folder(&m, path, e) : open_gguf(&m, path, e);
    if (st == OK) *out = m;
    else text_model_done(&m);
    return st;
}

void text_model_done(text_model *m)
{
    tok_free(m->tok);
    *m = (text_model){ 0 };
}
