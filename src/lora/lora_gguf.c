/* Adapters as llama.cpp reads them: "blk.3.attn_q.weight.lora_a" {in, r} and ".lora_b" {r, out}, of all experts of a layer
 * {in, r, E} and {r, out, E}; one alpha for the file.
 *
 * llama.cpp adds the term of an expert's down behind the expert's own factor, which the model's definition applies to both; so B is
 * divided by that factor here. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/log.h"
#include "lora/lora_int.h"

enum { NAME_MAX_BYTES = 300 };
static const char A_END[] = ".lora_a", B_END[] = ".lora_b";

typedef struct pair {
    str key;
    const gguf_tensor *a, *b;
    int32_t layer;
    gemma_linear which;
    int64_t in, out, E, r;       /* E: 0 where there are no experts */
    bool both;                   /* gate and up of experts in one tensor */
} pair;

static status need_str(const gguf_file *g, const char *key, const char *expected, err *e)
{
    str s;
    status st = gguf_str_or(g, key, STR(""), &s, e);
    if (st != OK || str_is(s, expected)) return st;
    return err_set(e, E_UNSUPPORTED, "cannot use this file as an adapter\nits \"%s\" is \"%.*s\", expected \"%s\"\nGive a LoRA adapter for Gemma 4.", key,
                   (int)MIN(s.n, (size_t)64), s.p, expected);
}

/* The linear that the tensor's name begins with. */
static status name_pair(const gemma *m, pair *x, str base, bool *dead, err *e)
{
    weight_place place = weight_names_place(base, &x->layer);
    *dead = lora_is_dead(m, x->layer, place);
    if (*dead) return OK;
    x->both = place == WEIGHT_GATE_UP_EXPS;
    x->which = x->both || place == WEIGHT_GATE_EXPS ? GEMMA_EXPERT_GATE : place == WEIGHT_UP_EXPS ? GEMMA_EXPERT_UP
               : place == WEIGHT_DOWN_EXPS ? GEMMA_EXPERT_DOWN : lora_linear(place);
    const weight *w = gemma_adapter_weight(m, x->layer, x->which);
    if (!w) return lora_nothing(x->key, e);
    x->in = w->cols;
    x->out = x->both ? 2 * w->rows : w->rows;
    x->E = x->which >= GEMMA_EXPERT_GATE && x->which <= GEMMA_EXPERT_DOWN ? m->config.expert_count : 0;
    return OK;
}

static bool type_fits(const gguf_tensor *t)
{
    const dtype_info *d = dtype_of(t->type);
    return d && d->decode && t->ne[0] % d->block == 0;
}

static status shape_pair(const gemma *m, pair *x, err *e)
{
    char text[96];
    const gguf_tensor *a = x->a, *b = x->b;
    int64_t E = MAX(x->E, (int64_t)1);
    x->r = b->ne[0];
    if (!type_fits(a) || !type_fits(b)) return err_set(e, E_UNSUPPORTED, "cannot apply the tensor \"%.*s\"\nits type cannot be read", (int)x->key.n, x->key.p);
    if (a->ne[0] != x->in || a->ne[1] != x->r || a->ne[2] != E || a->ne[3] != 1 || b->ne[1] != x->out || b->ne[2] != E || b->ne[3] != 1) {
        snprintf(text, sizeof text, "{%lld, r, %lld} and {r, %lld, %lld}", (long long)x->in, (long long)E, (long long)x->out, (long long)E);
        return lora_shape(x->key, text, e);
    }
    for (int32_t i = 0; x->which == GEMMA_EXPERT_DOWN && i < m->config.expert_count; i++)
        if (m->weights.layers[x->layer].expert_scale[i] == 0) return err_set(e, E_UNSUPPORTED, "cannot apply the tensor \"%.*s\"\nthe factor of expert %d is 0", (int)x->key.n, x->key.p, i);
    return lora_check_rank(x->key, x->r, e);
}

/* *found: t was an A whose pair is to be applied. */
static status read_key(const gemma *m, const gguf_file *g, const gguf_tensor *t, pair *x, bool *found, err *e)
{
    status st = OK;
    char name[NAME_MAX_BYTES + 16];
    bool a = str_ends(t->name, A_END), b = str_ends(t->name, B_END), dead;
    *found = false;
    if (t->name.n > NAME_MAX_BYTES || !(a || b)) return lora_nothing(t->name, e);
    str base = { t->name.p, t->name.n - strlen(A_END) };
    snprintf(name, sizeof name, "%.*s%s", (int)base.n, base.p, a ? B_END : A_END);
    const gguf_tensor *half = gguf_tensor_find(g, name);
    if (!half) FAIL(e, E_FORMAT, "cannot apply the tensor \"%.*s\"\nthe other half of its pair is missing", (int)t->name.n, t->name.p);
    if (b) return OK;
    *x = (pair){ .key = t->name, .a = t, .b = half };
    TRY(name_pair(m, x, base, &dead, e));
    if (dead) log_print(LOG_INFO, "the adapter's \"%.*s\" has no effect: that layer reads an earlier layer's keys and values", (int)t->name.n, t->name.p);
    else TRY(shape_pair(m, x, e));
    *found = !dead;
out:
    return st;
}

static status read_alpha(const gguf_file *g, double *alpha, err *e)
{
    status st = gguf_f64_or(g, "adapter.lora.alpha", 0, alpha, e);
    if (st == OK && !(fabs(*alpha) <= 1e9)) st = err_set(e, E_FORMAT, "cannot use the alpha %g\nit is no sensible number", *alpha);
    return st;
}

status lora_gguf_check(const gemma *m, const gguf_file *g, err *e)
{
    status st = OK;
    pair x;
    bool found;
    double alpha;
    TRY(need_str(g, "general.type", "adapter", e));
    TRY(need_str(g, "general.architecture", "gemma4", e));
    TRY(need_str(g, "adapter.type", "lora", e));
    if (gguf_find(g, "adapter.alora.invocation_tokens"))
        FAIL(e, E_UNSUPPORTED, "cannot use an adapter that begins at certain tokens\nit has \"adapter.alora.invocation_tokens\"");
    TRY(read_alpha(g, &alpha, e));
    for (uint64_t i = 0; i < gguf_tensor_count(g); i++) TRY(read_key(m, g, gguf_tensor_at(g, i), &x, &found, e));
out:
    return st;
}

/* Matrix i of a tensor, rows of ne[0]. */
static status numbers(const gguf_tensor *t, int64_t first_row, int64_t rows, float *out, err *e)
{
    size_t row = dtype_row_bytes(t->type, t->ne[0]);
    return lora_decode(t->name, t->type, t->data + (size_t)first_row * row, out, rows * t->ne[0], e);
}

/* One matrix: expert i, or -1. */
static status fill_one(const gemma *m, const pair *x, int64_t i, gemma_adapter *to, float scale, err *e)
{
    status st = OK;
    float *a = NULL, *b = NULL;
    int64_t at = MAX(i, (int64_t)0);
    int halves = x->both ? 2 : 1;
    int64_t rows = x->out / halves;
    TRY(gemma_adapter_matrix(to, x->r, x->in, &a, e));
    if (a) TRY(numbers(x->a, at * x->r, x->r, a, e));
    for (int h = 0; h < halves; h++) {
        TRY(gemma_adapter_matrix(to, rows, x->r, &b, e));
        if (b) TRY(numbers(x->b, at * x->out + h * rows, rows, b, e));
        float factor = x->which == GEMMA_EXPERT_DOWN ? 1.0f / m->weights.layers[x->layer].expert_scale[at] : 1.0f;
        TRY(gemma_adapter_add(to, x->layer, (gemma_linear)((int)x->which + h), (int32_t)i, a, b, (int32_t)x->r, scale * factor, e));
    }
out:
    return st;
}

status lora_gguf_fill(const gemma *m, const gguf_file *g, gemma_adapter *to, double scale, err *e)
{
    status st = OK;
    double alpha;
    TRY(read_alpha(g, &alpha, e));
    for (uint64_t i = 0; i < gguf_tensor_count(g); i++) {
        pair x;
        bool found;
        TRY(read_key(m, g, gguf_tensor_at(g, i), &x, &found, e));
        if (!found) continue;
        float s = (float)(alpha != 0 ? scale * alpha / (double)x.r : scale);
        if (!x.E) TRY(fill_one(m, &x, -1, to, s, e));
        for (int64_t k = 0; k < x.E; k++) TRY(fill_one(m, &x, k, to, s, e));
    }
out:
    return st;
}
