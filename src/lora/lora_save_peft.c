/* PEFT's folders (lora_peft.c reads them and tells how they are made).  target_modules is a regular expression over whole paths, since
 * the short names would also match the towers of the multimodal class, which PEFT refuses; patterns name a kind of linear where all
 * its layers agree, and single modules where they do not, so that no two of them match one module: PEFT sorts them. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "lora/lora_int.h"
#include "lora/lora_save.h"
#include "os/dir.h"
#include "os/file.h"

enum { PATH_CAP = WEIGHT_NAME_CAP + 64, REGEX_BYTES_MAX = 1 << 20, CONFIG_BYTES_MAX = 16 << 20 };

/* ---- the class ------------------------------------------------------------------------------------- */

status lora_class_choose(lora_class *c, const gemma *m, err *e)
{
    status st = OK;
    buf text;
    json_t *config = NULL;
    char *path = NULL;
    buf_init(&text, CONFIG_BYTES_MAX);
    if (*c != LORA_CLASS_BASE) goto out;
    *c = LORA_CLASS_MULTIMODAL;
    if (!m->safetensors) goto out;
    path = file_join(m->path, "config.json");
    if (!path) FAIL(e, E_NOMEM, "could not read the model's class\nout of memory");
    TRY(file_read_all(&text, path, e));
    TRY(json_parse(&config, (str){ buf_text(&text), text.len }, path, false, e));
    const char *name = json_string_value(json_array_get(json_object_get(config, "architectures"), 0));
    if (name && str_ends(str_from(name), "ForCausalLM")) *c = LORA_CLASS_TEXT;
out:
    mem_free(path);
    buf_done(&text);
    json_decref(config);
    return st;
}

static const char *prefix_of(lora_class c) { return c == LORA_CLASS_TEXT ? "model." : "model.language_model."; }

/* ---- names ----------------------------------------------------------------------------------------- */

static bool always(const gemma *m, int32_t layer) { (void)m; (void)layer; return true; }

static bool is_fused(const lora_group *g) { return g->which == GEMMA_EXPERT_GATE || g->which == GEMMA_EXPERT_DOWN; }

/* The module's path, of fused experts the parameter's; without `prefix` and "layers.N." it is the kind: "self_attn.q_proj". */
static void path_of(const lora_group *g, const char *prefix, char out[PATH_CAP])
{
    char name[WEIGHT_NAME_CAP];
    weight_names_hf(g->both ? WEIGHT_GATE_UP_EXPS : lora_place(g->which), g->layer, prefix, name);
    str s = str_from(name);
    if (str_ends(s, ".weight")) s.n -= strlen(".weight");
    snprintf(out, PATH_CAP, "%.*s", (int)s.n, s.p);
}

static void kind_of(const lora_group *g, char out[PATH_CAP])
{
    path_of(g, "", out);
    char *rest = g->layer >= 0 ? strchr(out + strlen("layers."), '.') : NULL;
    if (rest) memmove(out, rest + 1, strlen(rest + 1) + 1);
}

/* PEFT wraps the experts once for each tensor, gate_up first. */
static bool is_inner(const lora_groups *all, const lora_group *g)
{
    return g->both && g + 1 < all->at + all->count && g[1].layer == g->layer && g[1].which == GEMMA_EXPERT_DOWN;
}

static void key_of(const lora_groups *all, const lora_group *g, lora_class c, char half, char out[PATH_CAP + 64])
{
    char path[PATH_CAP];
    path_of(g, prefix_of(c), path);
    if (is_fused(g)) *strrchr(path, '.') = 0;      /* the parameter's own name */
    snprintf(out, PATH_CAP + 64, "base_model.model.%s%s.lora_%c.weight", path, is_inner(all, g) ? ".base_layer" : "", half);
}

/* ---- tensors --------------------------------------------------------------------------------------- */

static status each_group(const lora_groups *all, const lora_group *g, lora_class c, bool shapes, lora_tensor_fn fn, void *user, err *e)
{
    status st = OK;
    char key[PATH_CAP + 64];
    float *a = NULL, *b = NULL;
    if (!shapes) {
        a = mem_array((size_t)(g->E * g->r * g->in), sizeof *a, MEM_IO);
        b = mem_array((size_t)(g->E * g->r * g->out), sizeof *b, MEM_IO);
        if (!a || !b) FAIL(e, E_NOMEM, "could not write an adapter\nout of memory");
        lora_group_fill(g, a, b, (lora_strides){ .by_output = g->r * g->E, .by_rank = g->E, .by_expert = 1 }, NULL);
    }
    key_of(all, g, c, 'A', key);
    TRY(fn(user, key, g->E * g->r, g->in, a, e));
    key_of(all, g, c, 'B', key);
    TRY(fn(user, key, g->out, g->E * g->r, b, e));
out:
    mem_free(a);
    mem_free(b);
    return st;
}

static status each(const lora_groups *all, lora_class c, bool shapes, lora_tensor_fn fn, void *user, err *e)
{
    status st = OK;
    for (size_t i = 0; i < all->count; i++) TRY(each_group(all, &all->at[i], c, shapes, fn, user, e));
out:
    return st;
}

status lora_save_each(const gemma *m, const gemma_adapter *a, lora_class c, bool shapes, lora_tensor_fn fn, void *user, err *e)
{
    status st = OK;
    lora_groups g = { 0 };
    TRY(lora_class_choose(&c, m, e));
    TRY(lora_groups_new(&g, m, a, always, e));
    TRY(each(&g, c, shapes, fn, user, e));
out:
    lora_groups_done(&g);
    return st;
}

static status put(void *user, const char *key, int64_t rows, int64_t cols, const float *data, err *e)
{
    if (data) return st_write_data(user, data, (size_t)(rows * cols) * sizeof *data, e);
    return st_put_tensor(user, key, ST_F32, 2, (const int64_t[]){ rows, cols }, e);
}

static status write_tensors(const char *dir, const lora_groups *all, lora_class c, err *e)
{
    status st = OK;
    st_writer *w = NULL;
    char *path = file_join(dir, "adapter_model.safetensors");
    if (!path) FAIL(e, E_NOMEM, "could not write an adapter\nout of memory");
    TRY(st_writer_new(&w, path, e));
    TRY(each(all, c, true, put, w, e));
    TRY(each(all, c, false, put, w, e));
    TRY(st_writer_end(w, e));
out:
    st_writer_free(w);
    mem_free(path);
    return st;
}

/* ---- the configuration ------------------------------------------------------------------------------ */

/* The number that somebody may have typed, where it gives the same scale. */
static double alpha_of(const lora_group *g)
{
    double r = (double)g->r, alpha = (double)g->scale * r, shorter = round(alpha * 1e6) / 1e6;
    return (float)(shorter / r) == g->scale ? shorter : alpha;
}
static double rank_of(const lora_group *g) { return (double)g->r; }

/* The value that most groups have. */
static double most(const lora_groups *all, double (*of)(const lora_group *))
{
    double best = of(&all->at[0]);
    size_t best_n = 0;
    for (size_t i = 0; i < all->count; i++) {
        size_t n = 0;
        for (size_t j = i; j < all->count; j++) n += of(&all->at[j]) == of(&all->at[i]);
        if (n <= best_n) continue;
        best_n = n;
        best = of(&all->at[i]);
    }
    return best;
}

static status add_escaped(buf *b, const char *path, err *e)
{
    status st = OK;
    for (; *path; path++) TRY(buf_addf(b, e, *path == '.' ? "\\%c" : "%c", *path));
out:
    return st;
}

static bool kind_agrees(const lora_groups *all, const lora_group *g, double (*of)(const lora_group *))
{
    for (size_t i = 0; i < all->count; i++)
        if (all->at[i].which == g->which && of(&all->at[i]) != of(g)) return false;
    return true;
}

/* {"experts\\.down_proj": 2}: what differs from the value of most; ranks are whole numbers. */
static status pattern(json_t **out, const lora_groups *all, lora_class c, double (*of)(const lora_group *), bool whole, err *e)
{
    status st = OK;
    char path[PATH_CAP];
    double usual = most(all, of);
    buf key;
    json_t *o = json_object();
    buf_init(&key, 4 * PATH_CAP);
    if (!o) FAIL(e, E_NOMEM, "could not write an adapter\nout of memory");
    for (const lora_group *g = all->at; g < all->at + all->count; g++) {
        if (of(g) == usual) continue;
        if (kind_agrees(all, g, of)) kind_of(g, path);
        else path_of(g, prefix_of(c), path);
        buf_clear(&key);
        TRY(add_escaped(&key, path, e));
        if (json_object_set_new(o, buf_text(&key), whole ? json_integer((json_int_t)of(g)) : json_real(of(g))) != 0)
            FAIL(e, E_NOMEM, "could not write an adapter\nout of memory");
    }
    *out = o;
    o = NULL;
out:
    json_decref(o);
    buf_done(&key);
    return st;
}

/* Are all the layers in it that have such a linear? */
static bool everywhere(const gemma *m, const lora_groups *all, gemma_linear which)
{
    int32_t n = 0;
    for (size_t i = 0; i < all->count; i++) n += all->at[i].which == which;
    for (int32_t l = -1; l < m->config.layer_count; l++) n -= gemma_adapter_weight(m, l, which) != NULL;
    return n == 0;
}

/* "layers\\.(?:0|3)\\.self_attn\\.q_proj" */
static status add_module(buf *b, const gemma *m, const lora_groups *all, const lora_group *g, err *e)
{
    status st = OK;
    char kind[PATH_CAP];
    const char *between = "";
    kind_of(g, kind);
    if (g->layer >= 0) {
        TRY(buf_add_str(b, "layers\\.", e));
        TRY(buf_add_str(b, everywhere(m, all, g->which) ? "\\d+" : "(?:", e));
        for (size_t i = 0; !everywhere(m, all, g->which) && i < all->count; i++) {
            if (all->at[i].which != g->which) continue;
            TRY(buf_addf(b, e, "%s%d", between, all->at[i].layer));
            between = "|";
        }
        TRY(buf_add_str(b, *between ? ")\\." : "\\.", e));
    }
    TRY(add_escaped(b, kind, e));
out:
    return st;
}

static bool is_first(const lora_groups *all, const lora_group *g)
{
    for (const lora_group *x = all->at; x < g; x++)
        if (x->which == g->which) return false;
    return true;
}

/* One alternative for each kind; an empty list when experts are all there is. */
static status target_modules(json_t **out, const gemma *m, const lora_groups *all, lora_class c, err *e)
{
    status st = OK;
    bool head = false;
    const char *between = "";
    buf b;
    buf_init(&b, REGEX_BYTES_MAX);
    for (const lora_group *g = all->at; g < all->at + all->count; g++) {
        head |= g->which == GEMMA_HEAD;
        if (is_fused(g) || g->which == GEMMA_HEAD || !is_first(all, g)) continue;
        if (!b.len) TRY(add_escaped(&b, prefix_of(c), e));
        TRY(buf_add_str(&b, *between ? between : "(?:", e));
        TRY(add_module(&b, m, all, g, e));
        between = "|";
    }
    if (b.len) TRY(buf_add_str(&b, ")", e));
    if (head) TRY(buf_add_str(&b, b.len ? "|lm_head" : "lm_head", e));
    *out = b.len ? json_string(buf_text(&b)) : json_array();
    if (!*out) FAIL(e, E_NOMEM, "could not write an adapter\nout of memory");
out:
    buf_done(&b);
    return st;
}

/* "experts.down_proj" for all layers, else the parameters' paths; null when there are none. */
static status target_parameters(json_t **out, const gemma *m, const lora_groups *all, lora_class c, err *e)
{
    status st = OK;
    char path[PATH_CAP];
    json_t *a = json_array();
    if (!a) FAIL(e, E_NOMEM, "could not write an adapter\nout of memory");
    for (const lora_group *g = all->at; g < all->at + all->count; g++) {
        bool whole = everywhere(m, all, g->which);
        if (!is_fused(g) || (whole && !is_first(all, g))) continue;
        if (whole) kind_of(g, path);
        else path_of(g, prefix_of(c), path);
        if (json_array_append_new(a, json_string(path)) != 0) FAIL(e, E_NOMEM, "could not write an adapter\nout of memory");
    }
    if (json_array_size(a)) {
        *out = a;
        a = NULL;
    } else {
        *out = json_null();
    }
out:
    json_decref(a);
    return st;
}

static status write_config(const char *dir, const gemma *m, const lora_groups *all, lora_class c, err *e)
{
    status st = OK;
    json_t *o = NULL, *ranks = NULL, *alphas = NULL, *modules = NULL, *parameters = NULL;
    buf text;
    file_out f = { .fd = -1 };
    char *path = file_join(dir, "adapter_config.json");
    buf_init(&text, CONFIG_BYTES_MAX);
    TRY(pattern(&ranks, all, c, rank_of, true, e));
    TRY(pattern(&alphas, all, c, alpha_of, false, e));
    TRY(target_modules(&modules, m, all, c, e));
    TRY(target_parameters(&parameters, m, all, c, e));
    o = json_pack("{s:s, s:s, s:n, s:I, s:f, s:f, s:s, s:b, s:b, s:b, s:b, s:n, s:s}", "peft_type", "LORA", "task_type", "CAUSAL_LM", "base_model_name_or_path",
                  "r", (json_int_t)most(all, rank_of), "lora_alpha", most(all, alpha_of), "lora_dropout", 0.0, "bias", "none", "use_rslora", 0, "use_dora", 0,
                  "fan_in_fan_out", 0, "inference_mode", 1, "modules_to_save", "peft_version", "0.21.2");
    if (!o || !path || json_object_set(o, "target_modules", modules) || json_object_set(o, "target_parameters", parameters) ||
        json_object_set(o, "rank_pattern", ranks) || json_object_set(o, "alpha_pattern", alphas))
        FAIL(e, E_NOMEM, "could not write an adapter\nout of memory");
    TRY(json_print(&text, o, JSON_INDENT(2), e));
    TRY(buf_add_str(&text, "\n", e));
    TRY(file_out_begin(&f, path, e));
    TRY(file_out_write(&f, text.data, text.len, e));
    TRY(file_out_commit(&f, e));
out:
    file_out_abort(&f);
    buf_done(&text);
    json_decref(o);
    json_decref(ranks);
    json_decref(alphas);
    json_decref(modules);
    json_decref(parameters);
    mem_free(path);
    return st;
}

status lora_save_peft(const char *dir, const gemma *m, const gemma_adapter *a, lora_class c, err *e)
{
    static const char *const names[] = { "adapter_model.safetensors", "adapter_config.json", NULL };
    status st = OK;
    lora_groups g = { 0 };
    dir_out d = { 0 };
    TRY(lora_class_choose(&c, m, e));
    TRY(lora_groups_new(&g, m, a, always, e));
    TRY(dir_out_begin(&d, dir, e));
    TRY(write_tensors(d.tmp, &g, c, e));
    TRY(write_config(d.tmp, m, &g, c, e));
    TRY(dir_out_commit(&d, names, e));
out:
    dir_out_abort(&d);
    lora_groups_done(&g);
    return st;
}
