/* PEFT's folders.  Keys: "base_model.model." + the module's path + ".lora_A.weight" [r, in] or ".lora_B.weight" [out, r].
 *
 * All experts of a layer have one pair for gate and up together and one for down: A [E r, in], B [out, r E].  Row e r + k of A belongs
 * to expert e, and so does column k E + e of B: the two orders are opposite.  PEFT before 0.19 took the axes of the weights the other
 * way round, so that A carries the outputs and B the inputs.  Which pair is which shows in their shapes. */
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/log.h"
#include "lora/lora_int.h"
#include "os/file.h"

enum { NAME_MAX_BYTES = 400, CONFIG_BYTES_MAX = 16 << 20 };
static const char ROOT[] = "base_model.model.", A_END[] = ".lora_A.weight", B_END[] = ".lora_B.weight";

typedef struct pair {
    str key, module;             /* of A; the module without ROOT */
    const st_tensor *a, *b;
    int32_t layer, expert;       /* expert -1: not one alone */
    gemma_linear which;          /* GEMMA_EXPERT_GATE for gate and up of fused experts */
    bool fused, old;
    bool unclear;                /* a fused pair whose shapes fit both ways */
    int64_t r;
} pair;

struct lora_peft {
    const gemma *m;
    lora_config config;
    st_file *file;
    pair *pairs;
    size_t count;
    lora_order order;
};

/* ---- what a key names ------------------------------------------------------------------------------ */

static weight_place place_with(str module, const char *end, int32_t *layer)
{
    char name[NAME_MAX_BYTES + 32];
    int n = snprintf(name, sizeof name, "%.*s%s", (int)module.n, module.p, end);
    return weight_names_place((str){ name, (size_t)n }, layer);
}

/* "….experts" or "….experts.base_layer": all experts of a layer. */
static bool is_fused(str module, int32_t *layer)
{
    if (str_ends(module, ".base_layer")) module.n -= strlen(".base_layer");
    return str_ends(module, ".experts") && place_with(module, ".gate_up_proj", layer) == WEIGHT_GATE_UP_EXPS;
}

/* "….experts.7.up_proj", with or without "moe" in front: one expert, as vLLM has them. */
static bool is_one_expert(str module, int32_t *layer, int32_t *expert, gemma_linear *which)
{
    static const char *const ends[] = { "gate_proj", "up_proj", "down_proj" };
    size_t at = str_find(module, STR(".experts."));
    int64_t n;
    if (at == module.n) return false;
    str head = { module.p, at }, rest = str_skip(module, at + strlen(".experts.")), number;
    if (str_ends(head, ".moe")) head.n -= strlen(".moe");
    if (!str_split(&rest, '.', &number) || str_to_i64(number, "expert", 0, INT32_MAX, &n, NULL) != OK) return false;
    *expert = (int32_t)n;
    for (int i = 0; i < 3; i++)
        if (str_is(rest, ends[i])) {
            *which = (gemma_linear)(GEMMA_EXPERT_GATE + i);
            return place_with(head, ".experts.gate_up_proj", layer) == WEIGHT_GATE_UP_EXPS;
        }
    return false;
}

/* *dead: the model reads an earlier layer's K and V there. */
static status name_pair(const lora_peft *p, pair *x, bool *dead, err *e)
{
    const gemma *m = p->m;
    *dead = false;
    x->expert = -1;
    x->fused = is_fused(x->module, &x->layer);
    x->which = GEMMA_EXPERT_GATE;
    if (!x->fused && !is_one_expert(x->module, &x->layer, &x->expert, &x->which)) {
        weight_place place = place_with(x->module, ".weight", &x->layer);
        if (lora_is_dead(m, x->layer, place)) { *dead = true; return OK; }
        x->which = lora_linear(place);
    }
    if (!gemma_adapter_weight(m, x->layer, x->which) || x->expert >= m->config.expert_count) return lora_nothing(x->key, e);
    return OK;
}

/* ---- shapes ---------------------------------------------------------------------------------------- */

static status check_type(const st_tensor *t, err *e)
{
    if (t->type == ST_F32 || t->type == ST_F16 || t->type == ST_BF16) return OK;
    return err_set(e, E_UNSUPPORTED, "cannot apply the tensor \"%.*s\"\nits type %s is none of F32, F16, BF16", (int)MIN(t->name.n, (size_t)300), t->name.p, t->type_name);
}

static dtype type_of(const st_tensor *t) { return t->type == ST_F32 ? DTYPE_F32 : t->type == ST_F16 ? DTYPE_F16 : DTYPE_BF16; }

static bool shaped(const pair *x, int64_t a_cols, int64_t b_rows) { return x->a->shape[1] == a_cols && x->b->shape[0] == b_rows; }

/* Gate and up or down, and which way round: both ways fit only where two widths are equal. */
static status shape_fused(const gemma *m, pair *x, err *e)
{
    char text[160];
    int64_t E = m->config.expert_count, H = m->config.hidden, F = m->config.expert_ff;
    bool up = shaped(x, H, 2 * F), up_old = shaped(x, 2 * F, H), down = shaped(x, F, H), down_old = shaped(x, H, F);
    if (x->a->shape[0] % E != 0 || !(up || up_old || down || down_old)) {
        snprintf(text, sizeof text, "for %lld experts, [%lld r, %lld] with [%lld, %lld r], or [%lld r, %lld] with [%lld, %lld r]", (long long)E, (long long)E, (long long)H,
                 (long long)(2 * F), (long long)E, (long long)E, (long long)F, (long long)H, (long long)E);
        return lora_shape(x->key, text, e);
    }
    x->r = x->a->shape[0] / E;
    x->which = up || up_old ? GEMMA_EXPERT_GATE : GEMMA_EXPERT_DOWN;
    x->old = !up && !down;
    x->unclear = (up && up_old) || (down && down_old);
    return lora_check_rank(x->key, x->r, e);
}

static status shape_pair(const gemma *m, pair *x, err *e)
{
    status st = OK;
    char text[96];
    TRY(check_type(x->a, e));
    TRY(check_type(x->b, e));
    if (x->a->n_dims != 2 || x->b->n_dims != 2 || x->b->shape[1] != x->a->shape[0]) return lora_shape(x->key, "two matrices of one rank", e);
    if (x->fused) return shape_fused(m, x, e);
    const weight *w = gemma_adapter_weight(m, x->layer, x->which);
    if (!shaped(x, w->cols, w->rows)) {
        snprintf(text, sizeof text, "[r, %lld] and [%lld, r]", (long long)w->cols, (long long)w->rows);
        return lora_shape(x->key, text, e);
    }
    x->r = x->a->shape[0];
    TRY(lora_check_rank(x->key, x->r, e));
out:
    return st;
}

/* ---- a whole file ---------------------------------------------------------------------------------- */

/* A key that is no half of a pair. */
static status refuse_key(str key, err *e)
{
    static const struct { const char *part, *why; } known[] = {
        { "lora_magnitude_vector", "magnitudes (DoRA) are not supported" },
        { "lora_embedding_", "terms of embeddings are not supported" },
        { "trainable_tokens_delta", "trained tokens are not supported" },
        { ".bias", "trained biases are not supported" },
    };
    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (str_find(key, str_from(known[i].part)) < key.n)
            return err_set(e, E_UNSUPPORTED, "cannot apply the tensor \"%.*s\"\n%s\nMerge the adapter into its model with PEFT.", (int)MIN(key.n, (size_t)300), key.p, known[i].why);
    return lora_nothing(key, e);
}

static const st_tensor *other_half(const st_file *f, str key, const char *own, const char *other)
{
    char name[NAME_MAX_BYTES + 32];
    int n = snprintf(name, sizeof name, "%.*s%s", (int)(key.n - strlen(own)), key.p, other);
    return st_find(f, (str){ name, (size_t)n });
}

/* Reads one key; *found: it was an A with all that belongs to it. */
static status read_key(const lora_peft *p, const st_tensor *t, pair *x, bool *found, err *e)
{
    status st = OK;
    bool a = str_ends(t->name, A_END), b = str_ends(t->name, B_END), dead = false;
    *found = false;
    if (t->name.n > NAME_MAX_BYTES || !str_starts(t->name, ROOT) || !(a || b)) return refuse_key(t->name, e);
    const st_tensor *half = other_half(p->file, t->name, a ? A_END : B_END, a ? B_END : A_END);
    if (!half) FAIL(e, E_FORMAT, "cannot apply the tensor \"%.*s\"\nthe other half of its pair is missing", (int)t->name.n, t->name.p);
    if (b) return OK;
    str module = str_skip(t->name, strlen(ROOT));
    module.n -= MIN(strlen(A_END), module.n);
    *x = (pair){ .key = t->name, .module = module, .a = t, .b = half };
    TRY(name_pair(p, x, &dead, e));
    if (dead) log_print(LOG_INFO, "the adapter's \"%.*s\" has no effect: that layer reads an earlier layer's keys and values", (int)t->name.n, t->name.p);
    else TRY(shape_pair(p->m, x, e));
    *found = !dead;
out:
    return st;
}

/* One name for one place: the two classes' prefixes in one file, or two pairs of one kind, would count twice. */
static status check_twice(const lora_peft *p, const pair *x, err *e)
{
    for (const pair *y = p->pairs; y < x; y++)
        if (y->layer == x->layer && y->which == x->which && y->expert == x->expert && y->fused == x->fused)
            return err_set(e, E_FORMAT, "cannot apply the tensor \"%.*s\"\n\"%.*s\" is for the same place", (int)MIN(x->key.n, (size_t)200), x->key.p,
                           (int)MIN(y->key.n, (size_t)200), y->key.p);
    return OK;
}

/* Where shapes fit both ways the version decides, else the other pairs of the file. */
static void settle_orientation(lora_peft *p)
{
    int seen = p->config.old;
    for (size_t i = 0; i < p->count && seen < 0; i++)
        if (p->pairs[i].fused && !p->pairs[i].unclear) seen = p->pairs[i].old;
    for (size_t i = 0; i < p->count; i++)
        if (p->pairs[i].unclear) p->pairs[i].old = seen > 0;
}

static void settle_order(lora_peft *p, lora_order asked)
{
    bool matters = false;
    for (size_t i = 0; i < p->count; i++) matters |= p->pairs[i].fused && p->pairs[i].r > 1;
    p->order = asked != LORA_ORDER_FILE ? asked : p->config.order != LORA_ORDER_FILE ? p->config.order : LORA_ORDER_RANK;
    if (matters && asked == LORA_ORDER_FILE && p->config.order == LORA_ORDER_FILE)
        log_print(p->config.unsloth ? LOG_WARN : LOG_INFO, "the adapter does not say in which order its experts' B stand: read in PEFT's%s",
                  p->config.unsloth ? "; Unsloth wrote another one until September 2026 (--lora-b-layout expert)" : "");
}

static status read_all(lora_peft *p, lora_order order, err *e)
{
    status st = OK;
    uint64_t n = st_count(p->file);
    p->pairs = mem_array(n, sizeof *p->pairs, MEM_OTHER);
    if (!p->pairs) FAIL(e, E_NOMEM, "could not read an adapter\nout of memory");
    for (uint64_t i = 0; i < n; i++) {
        bool found;
        TRY(read_key(p, st_at(p->file, i), &p->pairs[p->count], &found, e));
        if (!found) continue;
        TRY(check_twice(p, &p->pairs[p->count], e));
        p->count++;
    }
    settle_orientation(p);
    settle_order(p, order);
out:
    return st;
}

/* ---- opening --------------------------------------------------------------------------------------- */

static status new_peft(lora_peft **out, const gemma *m, const json_t *config, err *e)
{
    status st = OK;
    lora_peft *p = mem_alloc(sizeof *p, MEM_OTHER);
    if (!p) FAIL(e, E_NOMEM, "could not read an adapter\nout of memory");
    p->m = m;
    TRY(lora_config_read(&p->config, config, e));
    *out = p;
    p = NULL;
out:
    lora_peft_close(p);
    return st;
}

static status in_folder(status st, const char *dir, err *e)
{
    if (st != OK && st != E_NOMEM) err_wrap(e, "%s", dir);
    return st;
}

static status read_config(json_t **out, const char *dir, err *e)
{
    status st = OK;
    buf text;
    char *path = file_join(dir, "adapter_config.json");
    buf_init(&text, CONFIG_BYTES_MAX);
    if (!path) FAIL(e, E_NOMEM, "could not open \"%s\"\nout of memory", dir);
    if (!file_exists(path))
        FAIL(e, E_ARG, "\"%s\" is no adapter folder\nit has no adapter_config.json\nGive a folder that PEFT has written, or a GGUF file.", dir);
    TRY(file_read_all(&text, path, e));
    TRY(json_parse(out, (str){ buf_text(&text), text.len }, path, false, e));
out:
    buf_done(&text);
    mem_free(path);
    return st;
}

status lora_peft_open(lora_peft **out, const gemma *m, const char *dir, lora_order order, err *e)
{
    status st = OK;
    lora_peft *p = NULL;
    json_t *config = NULL;
    char *path = file_join(dir, "adapter_model.safetensors");
    if (!path) FAIL(e, E_NOMEM, "could not open \"%s\"\nout of memory", dir);
    TRY(read_config(&config, dir, e));
    TRY(in_folder(new_peft(&p, m, config, e), dir, e));
    TRY(st_open(&p->file, path, e));
    TRY(in_folder(read_all(p, order, e), dir, e));
    *out = p;
    p = NULL;
out:
    lora_peft_close(p);
    json_decref(config);
    mem_free(path);
    return st;
}

status lora_peft_open_memory(lora_peft **out, const gemma *m, const json_t *config, str bytes, lora_order order, err *e)
{
    status st = OK;
    lora_peft *p = NULL;
    TRY(new_peft(&p, m, config, e));
    TRY(st_open_memory(&p->file, bytes.p, bytes.n, e));
    TRY(read_all(p, order, e));
    *out = p;
    p = NULL;
out:
    lora_peft_close(p);
    return st;
}

void lora_peft_close(lora_peft *p)
{
    if (!p) return;
    lora_config_done(&p->config);
    st_close(p->file);
    mem_free(p->pairs);
    mem_free(p);
}

/* ---- terms ----------------------------------------------------------------------------------------- */

/* n numbers from element `first` on. */
static status numbers(const st_tensor *t, int64_t first, float *out, int64_t n, err *e)
{
    dtype type = type_of(t);
    return lora_decode(t->name, type, t->data + (size_t)first * dtype_row_bytes(type, 1), out, n, e);
}

static status fill_plain(const pair *x, gemma_adapter *to, float scale, err *e)
{
    status st = OK;
    float *a = NULL, *b = NULL;
    int64_t in = x->a->shape[1], rows = x->b->shape[0];
    TRY(gemma_adapter_matrix(to, x->r, in, &a, e));
    TRY(gemma_adapter_matrix(to, rows, x->r, &b, e));
    if (a) TRY(numbers(x->a, 0, a, x->r * in, e));
    if (b) TRY(numbers(x->b, 0, b, rows * x->r, e));
    TRY(gemma_adapter_add(to, x->layer, x->which, x->expert, a, b, (int32_t)x->r, scale, e));
out:
    return st;
}

/* The matrices of all experts of one pair while they are filled. */
typedef struct fused {
    const pair *x;
    int64_t E, r, in, out;       /* of one expert; out: gate and up together */
    int64_t split;               /* outputs of one matrix: gate's, or all */
    bool by_expert;              /* columns of B: e r + k */
    float **a, **b[2];           /* [E] each; b[1]: up, or none */
    float *row;                  /* [the longest row of a file's tensor] */
} fused;

static float *b_at(const fused *f, int64_t e, int64_t o, int64_t k) { return f->b[o / f->split][e] + (o % f->split) * f->r + k; }

/* A of the file: rows e r + k; its columns are the inputs, or the outputs in the old way. */
static status fill_a(const fused *f, err *e)
{
    status st = OK;
    for (int64_t i = 0; i < f->E * f->r; i++) {
        int64_t expert = i / f->r, k = i % f->r;
        if (!f->x->old) TRY(numbers(f->x->a, i * f->in, f->a[expert] + k * f->in, f->in, e));
        else TRY(numbers(f->x->a, i * f->out, f->row, f->out, e));
        for (int64_t o = 0; f->x->old && o < f->out; o++) *b_at(f, expert, o, k) = f->row[o];
    }
out:
    return st;
}

/* B of the file: a row for each output, or input in the old way; columns are (rank, expert). */
static status fill_b(const fused *f, err *e)
{
    status st = OK;
    int64_t cols = f->E * f->r, rows = f->x->old ? f->in : f->out;
    for (int64_t i = 0; i < rows; i++) {
        TRY(numbers(f->x->b, i * cols, f->row, cols, e));
        for (int64_t c = 0; c < cols; c++) {
            int64_t expert = f->by_expert ? c / f->r : c % f->E, k = f->by_expert ? c % f->r : c / f->E;
            if (f->x->old) f->a[expert][k * f->in + i] = f->row[c];
            else *b_at(f, expert, i, k) = f->row[c];
        }
    }
out:
    return st;
}

/* Terms without their numbers yet; gate and up share A. */
static status place_fused(const fused *f, gemma_adapter *to, float scale, err *e)
{
    status st = OK;
    const pair *x = f->x;
    int halves = f->split < f->out ? 2 : 1;
    for (int64_t i = 0; i < f->E; i++) {
        float *a = NULL, *b = NULL;
        TRY(gemma_adapter_matrix(to, f->r, f->in, &a, e));
        f->a[i] = a;
        for (int h = 0; h < halves; h++) {
            TRY(gemma_adapter_matrix(to, f->split, f->r, &b, e));
            f->b[h][i] = b;
            TRY(gemma_adapter_add(to, x->layer, (gemma_linear)((int)x->which + h), (int32_t)i, a, b, (int32_t)f->r, scale, e));
        }
    }
out:
    return st;
}

static status fill_fused(const lora_peft *p, const pair *x, gemma_adapter *to, float scale, err *e)
{
    status st = OK;
    const gemma_config *c = &p->m->config;
    bool down = x->which == GEMMA_EXPERT_DOWN;
    fused f = { .x = x, .E = c->expert_count, .r = x->r, .in = down ? c->expert_ff : c->hidden, .out = down ? c->hidden : 2 * c->expert_ff,
                .split = down ? c->hidden : c->expert_ff, .by_expert = p->order == LORA_ORDER_EXPERT };
    size_t E = (size_t)f.E;
    float **lists = mem_array(3 * E, sizeof *lists, MEM_OTHER);
    f.row = mem_array((size_t)MAX(f.E * f.r, f.out), sizeof *f.row, MEM_OTHER);
    if (!lists || !f.row) FAIL(e, E_NOMEM, "could not read an adapter\nout of memory");
    f.a = lists;
    f.b[0] = lists + E;
    f.b[1] = lists + 2 * E;
    TRY(place_fused(&f, to, scale, e));
    if (!f.a[0]) goto out;       /* measuring */
    TRY(fill_a(&f, e));
    TRY(fill_b(&f, e));
out:
    mem_free(lists);
    mem_free(f.row);
    return st;
}

/* PEFT looks a fused tensor up by the parameter's path. */
static float scale_of(const lora_peft *p, const pair *x, double scale)
{
    char path[NAME_MAX_BYTES + 32];
    str module = x->module;
    if (x->fused && str_ends(module, ".base_layer")) module.n -= strlen(".base_layer");
    int n = snprintf(path, sizeof path, "%.*s%s", (int)module.n, module.p, !x->fused ? "" : x->which == GEMMA_EXPERT_DOWN ? ".down_proj" : ".gate_up_proj");
    return (float)(scale * lora_config_scale(&p->config, (str){ path, (size_t)n }, x->r));
}

status lora_peft_fill(const lora_peft *p, gemma_adapter *to, double scale, err *e)
{
    status st = OK;
    for (size_t i = 0; i < p->count; i++) {
        const pair *x = &p->pairs[i];
        float s = scale_of(p, x, scale);
        TRY(x->fused ? fill_fused(p, x, to, s, e) : fill_plain(x, to, s, e));
    }
out:
    return st;
}
