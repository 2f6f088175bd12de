#include <ctype.h>
#include <stdio.h>

#include "base/bits.h"
#include "base/json.h"
#include "base/mem.h"
#include "fmt/gguf.h"
#include "fmt/model_find.h"
#include "fmt/safetensors.h"
#include "os/file.h"

typedef struct share { const char *name; uint64_t bytes; } share;
enum { SHARES_MAX = 64 };

static void count_bytes(share *s, const char *name, uint64_t bytes)
{
    int i = 0;
    while (i < SHARES_MAX - 1 && s[i].name && strcmp(s[i].name, name) != 0) i++;
    s[i].name = name;
    s[i].bytes += bytes;
}

/* "q4_K + q6_K" */
static void name_types(share *s, char *out, size_t cap)
{
    uint64_t total = 0;
    size_t used = 0;
    out[0] = '\0';
    for (int i = 0; i < SHARES_MAX; i++) total += s[i].bytes;
    for (;;) {
        share *top = s;
        for (int i = 0; i < SHARES_MAX; i++)
            if (s[i].bytes > top->bytes) top = &s[i];
        if (!top->bytes || (top->bytes < total / 20 && used)) return;
        int n = snprintf(out + used, cap - used, "%s%s", used ? " + " : "", top->name);
        if (n < 0 || (size_t)n >= cap - used) return;
        used += (size_t)n;
        top->bytes = 0;
    }
}

static status about_file(model_about *a, const char *path, err *e)
{
    status st = OK;
    str arch;
    gguf_file *g = NULL;
    share shares[SHARES_MAX] = { 0 };
    TRY(gguf_open(&g, path, e));
    TRY(gguf_str_or(g, "general.architecture", STR("unknown"), &arch, e));
    snprintf(a->architecture, sizeof a->architecture, "%.*s", (int)MIN(arch.n, sizeof a->architecture - 1), arch.p);
    for (uint64_t i = 0; i < gguf_tensor_count(g); i++) count_bytes(shares, dtype_of(gguf_tensor_at(g, i)->type)->name, gguf_tensor_at(g, i)->bytes);
    name_types(shares, a->types, sizeof a->types);
    if (gguf_tensor_count(g) == 0) snprintf(a->types, sizeof a->types, "vocabulary only");
    a->bytes = gguf_file_bytes(g);
    a->runs = str_is(arch, "gemma4") && gguf_tensor_count(g) > 0;
out:
    gguf_close(g);
    return st;
}

/* model_type of config.json. */
static status read_model_type(model_about *a, const char *dir, err *e)
{
    status st = OK;
    json_t *j = NULL;
    const char *type;
    buf text;
    buf_init(&text, 16 << 20);
    char *config = file_join(dir, "config.json");
    if (!config) FAIL(e, E_NOMEM, "could not read \"%s\"\nout of memory", dir);
    TRY(file_read_all(&text, config, e));
    TRY(json_parse(&j, (str){ buf_text(&text), text.len }, config, false, e));
    TRY(json_str_or_null(j, "model_type", config, &type, e));
    snprintf(a->architecture, sizeof a->architecture, "%s", type ? type : "unknown");
    a->runs = strncmp(a->architecture, "gemma4", 6) == 0 && !strstr(a->architecture, "assistant");
out:
    json_decref(j);
    mem_free(config);
    buf_done(&text);
    return st;
}

static status about_folder(model_about *a, const char *dir, err *e)
{
    status st = OK;
    st_file *s = NULL;
    share shares[SHARES_MAX] = { 0 };
    TRY(read_model_type(a, dir, e));
    TRY(st_open_dir(&s, dir, e));
    for (uint64_t i = 0; i < st_count(s); i++) count_bytes(shares, st_at(s, i)->type_name, st_at(s, i)->bytes);
    name_types(shares, a->types, sizeof a->types);
    for (char *c = a->types; *c; c++) *c = (char)tolower((unsigned char)*c);
    a->bytes = st_file_bytes(s);
out:
    st_close(s);
    return st;
}

status model_find_about(model_about *out, const char *path, err *e)
{
    *out = (model_about){ 0 };
    return file_is_dir(path) ? about_folder(out, path, e) : about_file(out, path, e);
}
