/* facet inspect: what is in a model file. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "cmd/amount.h"
#include "cmd/opt.h"
#include "fmt/model_find.h"
#include "os/file.h"
#include "plan/inspect.h"
#include "text/chat.h"

typedef struct subject {
    char *path;
    gguf_file *gguf;
    st_file *safetensors;
    json_t *config, *generation;
    buf template_text;
    inspect_report *report;
} subject;

enum { JSON_MAX = 16 << 20, TEMPLATE_MAX = 4 << 20 };

static void subject_done(subject *s)
{
    if (s->report) inspect_done(s->report);
    mem_free(s->report);
    gguf_close(s->gguf);
    st_close(s->safetensors);
    json_decref(s->config);
    json_decref(s->generation);
    buf_done(&s->template_text);
    mem_free(s->path);
}

/* A file of the folder, or nothing where it is absent. */
static status read_beside(const subject *s, const char *name, buf *out, err *e)
{
    char *path = file_join(s->path, name);
    status st = !path ? err_set(e, E_NOMEM, "could not read \"%s\"\nout of memory", s->path) : file_exists(path) ? file_read_all(out, path, e) : OK;
    mem_free(path);
    return st;
}

static status json_beside(const subject *s, const char *name, json_t **out, err *e)
{
    buf text;
    buf_init(&text, JSON_MAX);
    status st = read_beside(s, name, &text, e);
    if (st == OK && text.len) st = json_parse(out, (str){ buf_text(&text), text.len }, name, false, e);
    buf_done(&text);
    return st;
}

static status subject_open(subject *s, const char *name, err *e)
{
    status st = OK;
    str text;
    buf_init(&s->template_text, TEMPLATE_MAX);
    TRY(model_find(&s->path, name, e));
    if (file_is_dir(s->path)) {
        TRY(json_beside(s, "config.json", &s->config, e));
        TRY(json_beside(s, "generation_config.json", &s->generation, e));
        TRY(read_beside(s, "chat_template.jinja", &s->template_text, e));
        TRY(st_open_dir(&s->safetensors, s->path, e));
    } else if (str_ends(str_from(s->path), ".safetensors")) {
        TRY(st_open(&s->safetensors, s->path, e));
    } else {
        TRY(gguf_open(&s->gguf, s->path, e));
        TRY(gguf_str_or(s->gguf, "tokenizer.chat_template", STR(""), &text, e));
        TRY(buf_add(&s->template_text, text.p, text.n, e));
    }
    s->report = mem_alloc(sizeof *s->report, MEM_OTHER);
    if (!s->report) FAIL(e, E_NOMEM, "could not inspect \"%s\"\nout of memory", s->path);
    const char *slash = strrchr(s->path, '/');
    TRY(inspect_read(s->report, s->gguf, s->safetensors, s->config, s->generation, slash && slash[1] ? slash + 1 : s->path, e));
out:
    return st;
}

/* ---- pieces of text that both forms use ---------------------------------------------------------- */

static const char *template_kind(const subject *s)
{
    bool known = false;
    str text = { buf_text(&s->template_text), s->template_text.len };
    if (text.n == 0) return "none";
    chat_variant v = chat_variant_of(text, s->report->known && s->report->config.ple == 0, &known);
    return !known ? "unknown" : v == CHAT_EDGE ? "edge" : "large";
}

static status tokenizer_kind(const subject *s, str *kind, uint64_t *tokens, err *e)
{
    status st = OK;
    *kind = STR("");
    *tokens = 0;
    if (s->gguf) {
        const gguf_value *v = gguf_find(s->gguf, "tokenizer.ggml.tokens");
        if (v) *tokens = v->count;
        TRY(gguf_str_or(s->gguf, "tokenizer.ggml.model", STR(""), kind, e));
    } else {
        char *path = file_join(s->path, "tokenizer.json");
        if (path && file_exists(path)) *kind = STR("tokenizer.json");
        mem_free(path);
    }
out:
    return st;
}

/* ---- for people ---------------------------------------------------------------------------------- */

static void print_layers(const gemma_config *c)
{
    char pattern[GEMMA_LAYERS_MAX + 1];
    const gemma_layer_config *sliding = NULL, *full = NULL;
    for (int32_t i = 0; i < c->layer_count; i++) *(c->layers[i].full ? &full : &sliding) = &c->layers[i];
    inspect_layer_pattern(c, pattern, sizeof pattern);
    printf("layers        %d: %s (s sliding, F full)\n", c->layer_count, pattern);
    if (c->kv_layers < c->layer_count) printf("              the last %d share keys and values of earlier ones\n", c->layer_count - c->kv_layers);
    if (sliding) printf("sliding       window %d, %d query heads, %d key/value heads of %d\n", c->window, sliding->nq, sliding->nkv, sliding->d);
    if (full) printf("full          %d query heads, %d key/value heads of %d%s\n", full->nq, full->nkv, full->d, full->k_eq_v ? ", values made from keys" : "");
    printf("hidden        %d; MLP %d", c->hidden, c->layers[0].ff);
    if (c->layers[c->layer_count - 1].ff != c->layers[0].ff) printf(" (%d in the last layers)", c->layers[c->layer_count - 1].ff);
    if (c->expert_count) printf("; %d experts of %d, %d used", c->expert_count, c->expert_ff, c->expert_used);
    if (c->ple) printf("; per-layer embeddings of %d", c->ple);
    printf("\n");
}

static void print_model(const inspect_report *r)
{
    char a[32], b[32], d[32], name[96], plain[256];
    const gemma_config *c = &r->config;
    printf("model         %s (%s)\n", c->name[0] ? utf8_plain(plain, sizeof plain, c->name, strlen(c->name)) : "unnamed", gemma_config_size_name(c, name, sizeof name));
    printf("parameters    %s, %s active per token (%s without embeddings)\n", amount_count(r->parameters.total, a), amount_count(r->parameters.active, b), amount_count(r->parameters.active_inner, d));
    printf("context       %d tokens\n", c->context);
    print_layers(c);
}

static void print_types(const inspect_sum *types)
{
    char a[32];
    for (int i = 0; types[i].name; i++) printf("%s%s %s", i ? ", " : "", types[i].name, amount_bytes(types[i].bytes, a));
    printf("\n");
}

static void print_parts(const inspect_report *r)
{
    char a[32], b[32];
    printf("\n%-22s %7s %10s %10s %6s  %s\n", "part", "tensors", "weights", "size", "share", "types");
    for (int p = 0; p < INSPECT_PARTS; p++) {
        const inspect_sum *s = &r->parts[p];
        if (!s->tensors) continue;
        printf("%-22s %7" PRIu64 " %10s %10s %5.1f%%  ", s->name, s->tensors, amount_count(s->elements, a), amount_bytes(s->bytes, b),
               r->all.bytes ? 100.0 * (double)s->bytes / (double)r->all.bytes : 0.0);
        print_types(r->types[p]);
    }
    printf("%-22s %7" PRIu64 " %10s %10s         ", "all", r->all.tensors, amount_count(r->all.elements, a), amount_bytes(r->all.bytes, b));
    print_types(r->all_types);
}

static void print_tensors(const subject *s)
{
    printf("\n");
    for (uint64_t i = 0; i < inspect_tensor_count(s->gguf, s->safetensors); i++) {
        inspect_tensor t;
        char dims[128] = "", a[32], plain[256];
        size_t used = 0;
        inspect_tensor_at(s->gguf, s->safetensors, i, &t);
        for (int k = 0; k < t.n_dims && used < sizeof dims - 24; k++) used += (size_t)snprintf(dims + used, sizeof dims - used, "%s%" PRId64, k ? " x " : "", t.dims[k]);
        printf("%-8s %-22s %10s  %s\n", t.type, t.n_dims ? dims : "scalar", amount_bytes(t.bytes, a), utf8_plain(plain, sizeof plain, t.name.p, t.name.n));
    }
}

static status print_text(const subject *s, bool tensors, err *e)
{
    status st = OK;
    char a[32], plain[4096];
    str kind;
    uint64_t tokens;
    const inspect_report *r = s->report;
    TRY(tokenizer_kind(s, &kind, &tokens, e));
    printf("file          %s\n", utf8_plain(plain, sizeof plain, s->path, strlen(s->path)));
    printf("format        %s, architecture %s, %s\n", r->format, utf8_plain(plain, sizeof plain, r->architecture, strlen(r->architecture)), amount_bytes(r->file_bytes, a));
    if (r->known) print_model(r);
    else printf("not runnable  %s%s%s\n", r->why.what, r->why.why[0] ? ": " : "", r->why.why);
    if (kind.n && tokens) printf("tokenizer     %.*s, %" PRIu64 " tokens\n", (int)kind.n, kind.p, tokens);
    else printf("tokenizer     %.*s\n", kind.n ? (int)kind.n : 4, kind.n ? kind.p : "none");
    printf("template      %s\n", template_kind(s));
    if (r->all.tensors) print_parts(r);
    if (tensors) print_tensors(s);
out:
    return st;
}

/* ---- JSON ---------------------------------------------------------------------------------------- */

static void set_int(json_t *o, const char *key, int64_t v) { json_object_set_new(o, key, json_integer(v)); }
static void set_text(json_t *o, const char *key, str v)
{
    /* names in files may be no UTF-8: such a value is left out rather than printed wrong */
    json_t *s = json_stringn(v.p ? v.p : "", v.n);
    json_object_set_new(o, key, s ? s : json_null());
}

static json_t *types_json(const inspect_sum *types)
{
    json_t *o = json_object();
    for (int i = 0; types[i].name; i++) set_int(o, types[i].name, (int64_t)types[i].bytes);
    return o;
}

static json_t *parts_json(const inspect_report *r)
{
    json_t *all = json_object();
    for (int p = 0; p < INSPECT_PARTS; p++) {
        if (!r->parts[p].tensors) continue;
        json_t *o = json_object();
        set_int(o, "tensors", (int64_t)r->parts[p].tensors);
        set_int(o, "weights", r->parts[p].elements);
        set_int(o, "bytes", (int64_t)r->parts[p].bytes);
        json_object_set_new(o, "types", types_json(r->types[p]));
        json_object_set_new(all, r->parts[p].name, o);
    }
    return all;
}

static json_t *model_json(const inspect_report *r)
{
    char size[96], pattern[GEMMA_LAYERS_MAX + 1];
    const gemma_config *c = &r->config;
    json_t *o = json_object(), *p = json_object();
    inspect_layer_pattern(c, pattern, sizeof pattern);
    set_text(o, "name", str_from(c->name));
    set_text(o, "size", str_from(gemma_config_size_name(c, size, sizeof size)));
    set_int(p, "total", r->parameters.total);
    set_int(p, "active", r->parameters.active);
    set_int(p, "active_without_embeddings", r->parameters.active_inner);
    json_object_set_new(o, "parameters", p);
    set_int(o, "context", c->context);
    set_int(o, "layers", c->layer_count);
    set_text(o, "layer_pattern", str_from(pattern));
    set_int(o, "kv_shared_layers", c->layer_count - c->kv_layers);
    set_int(o, "hidden", c->hidden);
    set_int(o, "vocab", c->vocab);
    set_int(o, "window", c->window);
    set_int(o, "experts", c->expert_count);
    set_int(o, "experts_used", c->expert_used);
    return o;
}

static json_t *tensors_json(const subject *s)
{
    json_t *list = json_array();
    for (uint64_t i = 0; i < inspect_tensor_count(s->gguf, s->safetensors); i++) {
        inspect_tensor t;
        json_t *o = json_object(), *dims = json_array();
        inspect_tensor_at(s->gguf, s->safetensors, i, &t);
        set_text(o, "name", t.name);
        set_text(o, "type", str_from(t.type));
        for (int k = 0; k < t.n_dims; k++) json_array_append_new(dims, json_integer(t.dims[k]));
        json_object_set_new(o, "dims", dims);
        set_int(o, "bytes", (int64_t)t.bytes);
        set_text(o, "part", str_from(inspect_part_name(t.part)));
        json_array_append_new(list, o);
    }
    return list;
}

static status print_json(const subject *s, bool tensors, err *e)
{
    status st = OK;
    str kind;
    uint64_t tokens;
    const inspect_report *r = s->report;
    json_t *o = json_object();
    TRY(tokenizer_kind(s, &kind, &tokens, e));
    set_text(o, "file", str_from(s->path));
    set_text(o, "format", str_from(r->format));
    set_text(o, "architecture", str_from(r->architecture));
    set_int(o, "bytes", (int64_t)r->file_bytes);
    if (r->known) json_object_set_new(o, "model", model_json(r));
    else set_text(o, "not_runnable", str_from(r->why.what));
    set_text(o, "tokenizer", kind);
    set_int(o, "tokens", (int64_t)tokens);
    set_text(o, "template", str_from(template_kind(s)));
    json_object_set_new(o, "types", types_json(r->all_types));
    json_object_set_new(o, "parts", parts_json(r));
    if (tensors) json_object_set_new(o, "tensors", tensors_json(s));
    if (!o || json_dumpf(o, stdout, JSON_INDENT(2)) != 0) FAIL(e, E_NOMEM, "could not print the report\nout of memory or the output is closed");
    putchar('\n');
out:
    json_decref(o);
    return st;
}

static status run(args *a, err *e)
{
    status st = OK;
    subject s = { 0 };
    const char *name = args_operands(a) ? args_operand(a, 0) : args_text(a, "model");
    if (!name) {
        st = args_mistake(a, e, "no file was named");
        goto out;
    }
    TRY(subject_open(&s, name, e));
    TRY(args_flag(a, "json") ? print_json(&s, args_flag(a, "tensors"), e) : print_text(&s, args_flag(a, "tensors"), e));
out:
    subject_done(&s);
    return st;
}

static const opt options[] = {
    { "model", 'm', OPT_TEXT, .argument = "FILE", .group = "Model", .help = "The same as FILE alone." },
    { "tensors", 0, OPT_FLAG, .group = "Output", .help = "List every tensor: type, dimensions (the contiguous one first), size, name." },
    { "json", 0, OPT_FLAG, .group = "Output", .help = "Print JSON." },
    { 0 } };

const cmd cmd_inspect = {
    .name = "inspect", .summary = "show what is in a model file", .operands = "FILE", .operand_max = 1,
    .details = "FILE is a GGUF file, a safetensors file, a Hugging Face folder, or a name that \"facet list\" shows. Files that facet "
               "cannot run can be looked at too.",
    .options = { options }, .run = run,
    .examples = { { "facet inspect gemma-4-E2B-it-Q4_0.gguf", "size by part, types, parameters" },
                  { "facet inspect --tensors --json model/ > model.json", "everything, for a program" } } };
