/* facet list: models in the places where people keep them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/json.h"
#include "base/utf8.h"
#include "cmd/opt.h"
#include "fmt/model_find.h"

static const char *size_text(uint64_t n, char out[32])
{
    snprintf(out, 32, n >= 1u << 30 ? "%.1f GB" : "%.1f MB", (double)n / (n >= 1u << 30 ? 0x1p30 : 0x1p20));
    return out;
}

static void print_row(const model_entry *m, const model_about *about, const char *trouble, size_t width)
{
    char size[32], name[256], path[4096];
    utf8_plain(name, sizeof name, m->name, strlen(m->name));
    utf8_plain(path, sizeof path, m->path, strlen(m->path));
    printf("%-*s  %9s  %-22s  %-12s  %s\n", (int)width, name, trouble ? "-" : size_text(about->bytes, size), trouble ? trouble : about->types, m->where, path);
}

static json_t *row_json(const model_entry *m, const model_about *about, const err *trouble)
{
    json_t *o = json_object();
    json_object_set_new(o, "name", json_string(m->name));
    json_object_set_new(o, "path", json_string(m->path));
    json_object_set_new(o, "where", json_string(m->where));
    json_object_set_new(o, "runs", json_boolean(!trouble && about->runs));
    if (trouble) {
        json_object_set_new(o, "error", json_string(trouble->what));
        return o;
    }
    json_object_set_new(o, "architecture", json_string(about->architecture));
    json_object_set_new(o, "types", json_string(about->types));
    json_object_set_new(o, "bytes", json_integer((int64_t)about->bytes));
    return o;
}

/* Other architectures are left out unless asked for; damaged files are shown, so that people can find them. */
static status show(const model_list *l, bool all, bool json, err *e)
{
    status st = OK;
    size_t width = 4, shown = 0;
    json_t *rows = json ? json_array() : NULL;
    for (size_t i = 0; i < l->count; i++) width = MAX(width, MIN(strlen(l->items[i].name), 48u));
    for (size_t i = 0; i < l->count; i++) {
        err trouble = { 0 };
        model_about about;
        status read = model_find_about(&about, l->items[i].path, &trouble);
        if (read == E_NOMEM) { *e = trouble; st = read; goto out; }
        if (read == OK && !about.runs && !all) continue;
        if (!json && shown == 0) printf("%-*s  %9s  %-22s  %-12s  %s\n", (int)width, "name", "size", "types", "where", "path");
        if (json) json_array_append_new(rows, row_json(&l->items[i], &about, read == OK ? NULL : &trouble));
        else print_row(&l->items[i], &about, read == OK ? NULL : "unreadable", width);
        shown++;
    }
    if (json && json_dumpf(rows, stdout, JSON_INDENT(2)) != 0) FAIL(e, E_NOMEM, "could not print the list\nout of memory or the output is closed");
    if (json) putchar('\n');
    else if (!shown) fprintf(stderr, "No Gemma 4 model was found. Name a folder with models in FACET_MODELS, or a file with -m.\n");
out:
    json_decref(rows);
    return st;
}

static status run(args *a, err *e)
{
    model_list l = { 0 };
    status st = model_find_all(&l, e);
    if (st == OK) st = show(&l, args_flag(a, "all"), args_flag(a, "json"), e);
    model_find_done(&l);
    return st;
}

static const opt options[] = {
    { "all", 'a', OPT_FLAG, .group = "Output", .help = "Models of other architectures too." },
    { "json", 0, OPT_FLAG, .group = "Output", .help = "Print JSON." },
    { 0 } };

const cmd cmd_list = {
    .name = "list", .summary = "show the models on this machine",
    .details = "Looks through the folders in FACET_MODELS (separated by colons), ~/.local/share/facet/models, Ollama's store, the Hugging "
               "Face cache and LM Studio's folder. Names, or unique parts of them, can be given to -m.",
    .options = { options }, .run = run,
    .examples = { { "FACET_MODELS=/data/models facet list", "what is there, with size and type" }, { "facet list --json", "for a program" } } };
