#include "cmd/setup.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/mem.h"
#include "base/str.h"
#include "fmt/model_find.h"
#include "os/cpu.h"
#include "os/file.h"
#include "os/tty.h"

/* ---- the bundled miniature ------------------------------------------------------------------------ */

enum { PATH_BYTES = 4096 };

/* Where the program lies, without its name; false when the system does not say. */
static bool own_folder(char *out, size_t cap)
{
    ssize_t n = readlink("/proc/self/exe", out, cap - 1);
    if (n <= 0) return false;
    out[n] = '\0';
    char *slash = strrchr(out, '/');
    if (slash) *slash = '\0';
    return slash != NULL;
}

/* Beside the program, in the source tree that it was built in, or where it was installed. */
static bool find_bundled(char *out, size_t cap)
{
    static const char *const places[] = { "models", "../../models", "../share/facet" };
    char dir[PATH_BYTES];
    if (!own_folder(dir, sizeof dir)) return false;
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        int n = snprintf(out, cap, "%s/%s/facet-mini.gguf", dir, places[i]);
        if (n > 0 && (size_t)n < cap && file_exists(out)) return true;
    }
    return false;
}

status setup_path(const args *a, char **path, err *e)
{
    char bundled[PATH_BYTES + 64];
    const char *name = args_text(a, "model");
    if (name) return model_find(path, name, e);
    if (!find_bundled(bundled, sizeof bundled))
        return err_set(e, E_ARG, "no model was named, and the bundled miniature is not where it should be\n"
                                 "expected models/facet-mini.gguf beside the program\nName a model with -m FILE.");
    if (!args_flag(a, "quiet"))
        fprintf(stderr, "No model was named (-m FILE): this is the bundled miniature, which knows very little.\n");
    *path = mem_strdup(bundled, strlen(bundled), MEM_OTHER);
    return *path ? OK : err_set(e, E_NOMEM, "could not find a model\nout of memory");
}

status setup_model(const args *a, facet_model **out, err *e)
{
    char *path = NULL;
    status st = setup_path(a, &path, e);
    if (st != OK) return st;
    if (!args_flag(a, "quiet")) tty_progress("loading", -1, path);
    st = facet_model_open(out, &(facet_model_opts){ .path = path }, e);
    tty_progress_done();
    mem_free(path);
    return st;
}

/* ---- options -------------------------------------------------------------------------------------- */

status setup_engine(args *a, facet_engine_opts *out, err *e)
{
    static const char *const kinds[] = { NULL, "f32", "f16", "bf16", "q8_0" };
    const char *isa = args_text(a, "isa");
    uint32_t mask;
    err why = { 0 };
    if (isa && cpu_isa_parse(isa, &mask, &why) != OK) return args_mistake(a, e, "%s\n%s", why.what, why.why);
    *out = (facet_engine_opts){ .ctx = (int32_t)args_int(a, "ctx"), .chunk = (int32_t)args_int(a, "chunk"),
                                .threads = (int)args_int(a, "threads"), .isa = isa, .exact = args_flag(a, "exact"),
                                .invariant = args_flag(a, "invariant"), .cache = -1 };
    for (size_t i = 1; args_text(a, "kv") && i < COUNT_OF(kinds); i++)
        if (strcmp(args_text(a, "kv"), kinds[i]) == 0) out->kv = (facet_kv)i;
    return OK;
}

/* "PATH=0.5" or "NAME=PATH=0.5", cut into its parts in place; what stands behind the last = is part of the path unless it is a number. */
static status read_adapter(args *a, bool named, char *text, facet_adapter *out, err *e)
{
    const char *name = SETUP_ADAPTER;
    double scale = 1;
    if (named) {
        char *first = strchr(text, '=');
        if (!first || first == text || !first[1])
            return args_mistake(a, e, "--adapter: \"%s\" is not NAME=PATH\nrequests call the adapter by its name\nExample: --adapter style=adapters/style", text);
        *first = '\0';
        name = text;
        text = first + 1;
    }
    char *equals = strrchr(text, '=');
    if (equals && str_to_f64(str_from(equals + 1), "the scale", -1e6, 1e6, &scale, NULL) == OK) *equals = '\0';
    if (scale == 0) return args_mistake(a, e, "--adapter: the scale of \"%s\" is 0\nit would change nothing", text);
    const char *order = args_text(a, "lora-b-layout");
    *out = (facet_adapter){ .name = name, .path = text, .scale = scale,
                            .order = !order ? FACET_LORA_ORDER_FILE : strcmp(order, "rank") == 0 ? FACET_LORA_ORDER_RANK : FACET_LORA_ORDER_EXPERT };
    return OK;
}

status setup_adapters_read(args *a, bool named, setup_adapters *out, facet_engine_opts *o, err *e)
{
    status st = OK;
    size_t bytes = 0, count = (size_t)args_count(a, "adapter"), at = 0;
    for (size_t i = 0; i < count; i++) bytes += strlen(args_nth(a, "adapter", (int)i)) + 1;
    setup_adapters s = { mem_array(count, sizeof *s.list, MEM_OTHER), mem_alloc(bytes, MEM_OTHER) };
    if (!s.list || !s.texts) FAIL(e, E_NOMEM, "could not read the options\nout of memory");
    for (size_t i = 0; i < count; i++) {
        const char *text = args_nth(a, "adapter", (int)i);
        memcpy(s.texts + at, text, strlen(text) + 1);
        TRY(read_adapter(a, named, s.texts + at, &s.list[i], e));
        at += strlen(text) + 1;
    }
    o->adapters = s.list;
    o->adapter_count = count;
    *out = s;
    s = (setup_adapters){ 0 };
out:
    setup_adapters_done(&s);
    return st;
}

void setup_adapters_done(setup_adapters *s)
{
    mem_free(s->list);
    mem_free(s->texts);
}

int64_t setup_cache(const args *a)
{
    uint64_t bytes = args_bytes(a, "cache");
    return !args_given(a, "cache") ? 0 : bytes == 0 ? -1 : bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes;
}

void setup_disk(const args *a, facet_engine_opts *o)
{
    uint64_t bytes = args_bytes(a, "cache-disk");
    o->cache_dir = args_text(a, "cache-dir");
    o->cache_disk = (int64_t)MIN(MAX(bytes, 1), (uint64_t)INT64_MAX);
    if (o->cache_dir && o->cache < 0) o->cache = 0;
}

static void print_remark(void *user, facet_log_level level, const char *text)
{
    const facet_log_level *most = user;
    if (level <= *most) fprintf(stderr, "facet: %s\n", text);
}

void setup_log(const args *a)
{
    static facet_log_level most;
    most = args_flag(a, "verbose") ? FACET_LOG_DEBUG : FACET_LOG_WARN;
    if (!args_flag(a, "quiet")) facet_log_sink(print_remark, &most);
}
