#include "fmt/model_find.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/buf.h"
#include "base/mem.h"
#include "fmt/model_find_int.h"
#include "os/file.h"

static status no_memory(err *e) { return err_set(e, E_NOMEM, "could not look for models\nout of memory"); }

void model_find_done(model_list *l)
{
    for (size_t i = 0; i < l->count; i++) {
        mem_free(l->items[i].name);
        mem_free(l->items[i].path);
    }
    mem_free(l->items);
    *l = (model_list){ 0 };
}

static bool same_file(const char *a, const char *b)
{
    char *ra = realpath(a, NULL), *rb = realpath(b, NULL);
    bool same = ra && rb && strcmp(ra, rb) == 0;
    free(ra);
    free(rb);
    return same;
}

status model_find_add(model_finder *f, const char *name, const char *path, err *e)
{
    model_list *l = f->out;
    for (size_t i = 0; i < l->count; i++)
        if (same_file(l->items[i].path, path)) return OK;
    if (l->count == l->cap) {
        model_entry *more = mem_resize(l->items, (l->cap + 16) * 2 * sizeof *more, MEM_OTHER);
        if (!more) return no_memory(e);
        l->items = more;
        l->cap = (l->cap + 16) * 2;
    }
    model_entry m = { mem_strdup(name, strlen(name), MEM_OTHER), mem_strdup(path, strlen(path), MEM_OTHER), f->where };
    if (!m.name || !m.path) {
        mem_free(m.name);
        mem_free(m.path);
        return no_memory(e);
    }
    l->items[l->count++] = m;
    return OK;
}

char *model_find_folder(const char *dir, const char *name)
{
    char *p = dir && dir[0] ? file_join(dir, name) : NULL;
    if (p && file_is_dir(p)) return p;
    mem_free(p);
    return NULL;
}

/* ---- the places -------------------------------------------------------------------------------- */

static status scan_variable(model_finder *f, err *e)
{
    const char *value = getenv("FACET_MODELS");
    str rest = str_from(value), part;
    f->where = "FACET_MODELS";
    while (value && str_split(&rest, ':', &part)) {
        if (part.n == 0) continue;
        char *dir = mem_strdup(part.p, part.n, MEM_OTHER);
        if (!dir) return no_memory(e);
        status st = model_find_scan(f, dir, "", e);
        mem_free(dir);
        if (st != OK) return st;
    }
    return OK;
}

/* A known way to look through base/sub, if it is there. */
static status look(model_finder *f, const char *where, const char *base, const char *sub, status (*how)(model_finder *, const char *, err *), err *e)
{
    char *dir = model_find_folder(base, sub);
    f->where = where;
    status st = dir ? how(f, dir, e) : OK;
    mem_free(dir);
    return st;
}

static status plain(model_finder *f, const char *dir, err *e) { return model_find_scan(f, dir, "", e); }

status model_find_all(model_list *out, err *e)
{
    status st = OK;
    model_list l = { 0 };
    model_finder f = { .out = &l, .visits = MODEL_FIND_VISITS };
    const char *home = getenv("HOME"), *data = getenv("XDG_DATA_HOME"), *cache = getenv("XDG_CACHE_HOME");
    const char *hub = getenv("HF_HUB_CACHE"), *hf = getenv("HF_HOME"), *ollama = getenv("OLLAMA_MODELS");
    TRY(scan_variable(&f, e));
    TRY(look(&f, "facet", data && data[0] ? data : home, data && data[0] ? "facet/models" : ".local/share/facet/models", plain, e));
    TRY(look(&f, "Ollama", ollama, ".", model_find_ollama, e));
    TRY(look(&f, "Ollama", home, ".ollama/models", model_find_ollama, e));
    TRY(look(&f, "Ollama", "/usr/share/ollama/.ollama", "models", model_find_ollama, e));
    TRY(look(&f, "Hugging Face", hub, ".", model_find_hub, e));
    TRY(look(&f, "Hugging Face", hf, "hub", model_find_hub, e));
    TRY(look(&f, "Hugging Face", cache && cache[0] ? cache : home, cache && cache[0] ? "huggingface/hub" : ".cache/huggingface/hub", model_find_hub, e));
    TRY(look(&f, "LM Studio", home, ".lmstudio/models", plain, e));
    TRY(look(&f, "LM Studio", home, ".cache/lm-studio/models", plain, e));
    *out = l;
    l = (model_list){ 0 };
out:
    model_find_done(&l);
    return st;
}

/* ---- names ------------------------------------------------------------------------------------- */

static bool same_letter(char a, char b) { return tolower((unsigned char)a) == tolower((unsigned char)b); }

static bool has_part(const char *name, const char *part)
{
    size_t n = strlen(part), have = strlen(name);
    for (size_t i = 0; i + n <= have; i++) {
        size_t k = 0;
        while (k < n && same_letter(name[i + k], part[k])) k++;
        if (k == n) return true;
    }
    return false;
}

/* 3: this is its name; 2: the last part of it is; 1: it has this in it; 0: no. */
static int match(const char *name, const char *wanted)
{
    const char *slash = strrchr(name, '/');
    if (!has_part(name, wanted)) return 0;
    if (strlen(name) == strlen(wanted)) return 3;
    return slash && strlen(slash + 1) == strlen(wanted) && has_part(slash + 1, wanted) ? 2 : 1;
}

static bool runs(const char *path)
{
    model_about about;
    return model_find_about(&about, path, NULL) == OK && about.runs;
}

static status ambiguous(const model_list *l, const bool *chosen, const char *name, err *e)
{
    buf text;
    buf_init(&text, 400);   /* what fits a message */
    status st = OK;
    for (size_t i = 0; i < l->count && st == OK; i++)
        if (chosen[i]) st = buf_addf(&text, NULL, "%s\"%s\"", text.len ? ", " : "", l->items[i].name);
    err_set(e, E_ARG, "\"%s\" means more than one model\n%s%s\nGive more of the name.", name, buf_text(&text), st == OK ? "" : ", ...");
    buf_done(&text);
    return E_ARG;
}

/* Keeps the best kind of match; of several, only models that facet can run. */
static status choose(const model_list *l, const char *name, size_t *out, err *e)
{
    status st = OK;
    int best = 1;
    size_t count = 0;
    bool *chosen = mem_array(l->count, sizeof *chosen, MEM_OTHER);
    if (!chosen) return no_memory(e);
    for (size_t i = 0; i < l->count; i++) best = MAX(best, match(l->items[i].name, name));
    for (size_t i = 0; i < l->count; i++) count += chosen[i] = match(l->items[i].name, name) == best;
    for (size_t i = 0; i < l->count && count > 1; i++)
        if (chosen[i] && !runs(l->items[i].path)) chosen[i] = false, count--;
    if (count > 1) st = ambiguous(l, chosen, name, e);
    else if (count == 0) st = err_set(e, E_ARG, "could not find the model \"%s\"\nthere is no file of this name, and no model in the known folders has it in its name\nRun \"facet list\" to see what is there.", name);
    for (size_t i = 0; i < l->count; i++)
        if (chosen[i]) *out = i;
    mem_free(chosen);
    return st;
}

status model_find(char **path, const char *name, err *e)
{
    status st = OK;
    size_t at = 0;
    model_list l = { 0 };
    if (!name[0]) FAIL(e, E_ARG, "no model was named");
    if (!file_exists(name)) {
        TRY(model_find_all(&l, e));
        TRY(choose(&l, name, &at, e));
        name = l.items[at].path;
    }
    char *copy = mem_strdup(name, strlen(name), MEM_OTHER);
    if (!copy) { st = no_memory(e); goto out; }
    *path = copy;
out:
    model_find_done(&l);
    return st;
}
