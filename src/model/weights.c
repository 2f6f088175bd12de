#include "model/weights.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/bits.h"
#include "model/weights_int.h"
#include "os/file.h"

/* One walk over all places.  It is made twice: with an arena that only measures, then with one of that size. */
typedef struct walk {
    const weight_source *source;
    const gemma_config *c;
    arena a;
    int32_t layer;
    err *e;
} walk;

enum need { OPTIONAL, NEEDED };

static status find(walk *k, weight_place p, const char *suffix, weight_found *f, enum need need)
{
    *f = (weight_found){ .ne = { 1, 1, 1, 1 } };
    status st = k->source->find(k->source, p, k->layer, suffix, f, k->e);
    if (st == OK && need == NEEDED && !f->there)
        return err_set(k->e, E_FORMAT, "tensor \"%s\" is missing\nthe configuration asks for it\nThe file is incomplete or of a variant that facet does not know.", f->name);
    return st;
}

static status check_shape(walk *k, const weight_found *f, int64_t cols, int64_t rows, int64_t mats)
{
    if (f->ne[0] == cols && f->ne[1] == rows && f->ne[2] == mats && f->ne[3] == 1) return OK;
    return err_set(k->e, E_FORMAT, "tensor \"%s\" has the wrong shape\nit is {%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 "}, the configuration asks for {%" PRId64 ", %" PRId64 ", %" PRId64 "}",
                   f->name, f->ne[0], f->ne[1], f->ne[2], f->ne[3], cols, rows, mats);
}

static status copy_name(walk *k, const char *name, const char **out)
{
    char *copy;
    status st = arena_take(&k->a, &copy, strlen(name) + 1, 1, k->e);
    if (st != OK) return st;
    if (copy) strcpy(copy, name);
    *out = copy ? copy : "";   /* measuring: any name says that the tensor is there */
    return OK;
}

/* Small tensors become f32 arrays; damage in them is found here. */
static status decode_floats(walk *k, const weight_found *f, int64_t n, const float **out)
{
    const dtype_info *d = dtype_of(f->type);
    float *x;
    status st = arena_array(&k->a, &x, n, k->e);
    if (st != OK) return st;
    *out = x;
    if (!x) return OK;
    d->decode(f->data, x, n);
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return err_set(k->e, E_FORMAT, "tensor \"%s\" is damaged\nelement %" PRId64 " is no finite number", f->name, i);
    return OK;
}

/* *out is NULL when an optional one is absent. */
static status floats(walk *k, weight_place p, int64_t n, enum need need, const float **out)
{
    status st = OK;
    weight_found f;
    *out = NULL;
    TRY(find(k, p, NULL, &f, need));
    if (!f.there) goto out;
    TRY(check_shape(k, &f, n, 1, 1));
    TRY(decode_floats(k, &f, n, out));
out:
    return st;
}

/* NVFP4 files keep the outermost scale of a matrix, or of each expert's, in a tensor beside it. */
static status product_scale(walk *k, weight_place p, weight *w)
{
    status st = OK;
    weight_found f;
    const float *x;
    w->scale = 1;
    /* ffn_down_exps.scale is the router's per-expert scale; ffn_gate_inp.scale the router's input scale. */
    if (p == WEIGHT_DOWN_EXPS || p == WEIGHT_ROUTER) goto out;
    TRY(find(k, p, "scale", &f, OPTIONAL));
    if (!f.there) goto out;
    int64_t n = f.ne[0] == w->mats ? w->mats : 1;
    TRY(check_shape(k, &f, n, 1, 1));
    TRY(decode_floats(k, &f, n, &x));
    if (n > 1) w->scales = x;
    else if (x) w->scale = x[0];
out:
    return st;
}

static status matrix(walk *k, weight_place p, int64_t mats, int64_t rows, int64_t cols, enum need need, weight *out)
{
    status st = OK;
    weight_found f;
    *out = (weight){ 0 };
    TRY(find(k, p, NULL, &f, need));
    if (!f.there) goto out;
    TRY(check_shape(k, &f, cols, rows, mats));
    weight w = { .type = f.type, .mats = (int32_t)mats, .rows = rows, .cols = cols, .mat_rows = rows, .row_bytes = dtype_row_bytes(f.type, cols), .data = f.data };
    TRY(copy_name(k, f.name, &w.name));
    TRY(product_scale(k, p, &w));
    *out = w;
out:
    return st;
}

static status attention(walk *k, layer_weights *l)
{
    status st = OK;
    const gemma_layer_config *lc = &k->c->layers[k->layer];
    int64_t H = k->c->hidden, d = lc->d;
    TRY(floats(k, WEIGHT_ATTN_NORM, H, NEEDED, &l->attn_norm));
    TRY(matrix(k, WEIGHT_Q, 1, lc->nq * d, H, NEEDED, &l->q));
    TRY(matrix(k, WEIGHT_O, 1, H, lc->nq * d, NEEDED, &l->o));
    TRY(floats(k, WEIGHT_Q_NORM, d, NEEDED, &l->q_norm));
    TRY(floats(k, WEIGHT_POST_ATTN_NORM, H, NEEDED, &l->post_attn_norm));
    if (k->layer >= k->c->kv_layers) goto out;   /* published files carry K and V here too: dead weight */
    TRY(matrix(k, WEIGHT_K, 1, lc->nkv * d, H, NEEDED, &l->k));
    if (!lc->k_eq_v) TRY(matrix(k, WEIGHT_V, 1, lc->nkv * d, H, NEEDED, &l->v));
    TRY(floats(k, WEIGHT_K_NORM, d, NEEDED, &l->k_norm));
out:
    return st;
}

/* Gate and up of all experts, from one tensor or from two. */
static status gate_up(walk *k, layer_weights *l)
{
    status st = OK;
    int64_t E = k->c->expert_count, Fe = k->c->expert_ff, H = k->c->hidden;
    weight both;
    TRY(matrix(k, WEIGHT_GATE_UP_EXPS, E, 2 * Fe, H, OPTIONAL, &both));
    if (!weight_has(&both)) {
        TRY(matrix(k, WEIGHT_GATE_EXPS, E, Fe, H, NEEDED, &l->gate_exps));
        TRY(matrix(k, WEIGHT_UP_EXPS, E, Fe, H, NEEDED, &l->up_exps));
        goto out;
    }
    both.rows = Fe;
    l->gate_exps = l->up_exps = both;
    l->up_exps.data = weight_row(&both, 0, Fe);
out:
    return st;
}

/* Under its name or the one that older files use; 1 for every expert where a file has neither. */
static status expert_scale(walk *k, const float **out)
{
    static const weight_place names[] = { WEIGHT_EXPERT_SCALE, WEIGHT_EXPERT_SCALE_OLD };
    status st = OK;
    float *ones;
    weight_found f;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        TRY(find(k, names[i], NULL, &f, OPTIONAL));
        if (!f.there) continue;
        TRY(floats(k, names[i], k->c->expert_count, NEEDED, out));
        goto out;
    }
    TRY(arena_array(&k->a, &ones, k->c->expert_count, k->e));
    for (int32_t i = 0; ones && i < k->c->expert_count; i++) ones[i] = 1;
    *out = ones;
out:
    return st;
}

static status experts(walk *k, layer_weights *l)
{
    status st = OK;
    int64_t E = k->c->expert_count, Fe = k->c->expert_ff, H = k->c->hidden;
    if (E == 0) goto out;
    TRY(matrix(k, WEIGHT_ROUTER, 1, E, H, OPTIONAL, &l->router));
    if (!weight_has(&l->router)) goto out;   /* a dense layer among the others */
    TRY(floats(k, WEIGHT_ROUTER_SCALE, H, NEEDED, &l->router_scale));
    TRY(expert_scale(k, &l->expert_scale));
    TRY(floats(k, WEIGHT_FFN_NORM_2, H, NEEDED, &l->ffn_norm_2));
    TRY(floats(k, WEIGHT_POST_FFN_NORM_1, H, NEEDED, &l->post_ffn_norm_1));
    TRY(floats(k, WEIGHT_POST_FFN_NORM_2, H, NEEDED, &l->post_ffn_norm_2));
    TRY(gate_up(k, l));
    TRY(matrix(k, WEIGHT_DOWN_EXPS, E, H, Fe, NEEDED, &l->down_exps));
out:
    return st;
}

static status feed_forward(walk *k, layer_weights *l)
{
    status st = OK;
    int64_t H = k->c->hidden, F = k->c->layers[k->layer].ff;
    TRY(floats(k, WEIGHT_FFN_NORM, H, NEEDED, &l->ffn_norm));
    TRY(matrix(k, WEIGHT_GATE, 1, F, H, NEEDED, &l->gate));
    TRY(matrix(k, WEIGHT_UP, 1, F, H, NEEDED, &l->up));
    TRY(matrix(k, WEIGHT_DOWN, 1, H, F, NEEDED, &l->down));
    TRY(floats(k, WEIGHT_POST_FFN_NORM, H, NEEDED, &l->post_ffn_norm));
    TRY(experts(k, l));
out:
    return st;
}

static status layer(walk *k, layer_weights *l)
{
    status st = OK;
    int64_t H = k->c->hidden, P = k->c->ple;
    const float *scalar;
    *l = (layer_weights){ 0 };
    TRY(attention(k, l));
    TRY(feed_forward(k, l));
    TRY(floats(k, WEIGHT_LAYER_SCALAR, 1, OPTIONAL, &scalar));
    l->layer_scalar = scalar ? scalar[0] : 1;
    if (P == 0) goto out;
    TRY(matrix(k, WEIGHT_PLE_GATE, 1, P, H, NEEDED, &l->ple_gate));
    TRY(matrix(k, WEIGHT_PLE_PROJ, 1, H, P, NEEDED, &l->ple_proj));
    TRY(floats(k, WEIGHT_PLE_NORM, H, NEEDED, &l->ple_norm));
out:
    return st;
}

static status head(walk *k, weights *w)
{
    status st = OK;
    int64_t V = k->c->vocab, H = k->c->hidden;
    w->head = (weight){ 0 };
    if (!k->source->ignore_head) TRY(matrix(k, WEIGHT_HEAD, 1, V, H, k->source->untied ? NEEDED : OPTIONAL, &w->head));
    if (!weight_has(&w->head)) w->head = w->embed;
out:
    return st;
}

static status model(walk *k, weights *w)
{
    status st = OK;
    int64_t V = k->c->vocab, H = k->c->hidden, P = k->c->ple, L = k->c->layer_count;
    layer_weights measured;
    k->layer = -1;
    TRY(arena_array(&k->a, &w->layers, L, k->e));
    TRY(matrix(k, WEIGHT_EMBED, 1, V, H, NEEDED, &w->embed));
    TRY(head(k, w));
    TRY(floats(k, WEIGHT_OUT_NORM, H, NEEDED, &w->out_norm));
    if (P) {
        TRY(matrix(k, WEIGHT_PLE_EMBED, 1, V, P * L, NEEDED, &w->ple_embed));
        TRY(matrix(k, WEIGHT_PLE_MODEL_PROJ, 1, P * L, H, NEEDED, &w->ple_model_proj));
        TRY(floats(k, WEIGHT_PLE_PROJ_NORM, P, NEEDED, &w->ple_proj_norm));
    }
    for (k->layer = 0; k->layer < L; k->layer++) TRY(layer(k, w->layers ? &w->layers[k->layer] : &measured));
out:
    return st;
}

status weights_place(weights *w, const gemma_config *c, const weight_source *s, err *e)
{
    status st = OK;
    weights placed = { 0 };
    walk measure = { .source = s, .c = c, .e = e }, take = measure;
    TRY(model(&measure, &placed));
    TRY(arena_init(&take.a, measure.a.used, MEM_WEIGHTS, e));
    TRY(model(&take, &placed));
    placed.owned = take.a.base;
    placed.owned_bytes = take.a.size;
    *w = placed;
    take.a = (arena){ 0 };
out:
    arena_done(&take.a);
    return st;
}

void weights_done(weights *w)
{
    mem_free(w->owned);
    *w = (weights){ 0 };
}

static weight one_of(const weight *all, int32_t expert)
{
    weight w = *all;
    w.mats = 1;
    w.data = weight_row(all, expert, 0);
    w.scale = weight_scale(all, expert);
    w.scales = NULL;
    return w;
}

status weights_take_expert(const weights *w, int32_t layer_index, int32_t expert, expert_weights *out, err *e)
{
    (void)e;   /* a mapping is always there; an expert cache may fail to read */
    const layer_weights *l = &w->layers[layer_index];
    *out = (expert_weights){ one_of(&l->gate_exps, expert), one_of(&l->up_exps, expert), one_of(&l->down_exps, expert) };
    return OK;
}

enum { LAYER_MATRICES = 10 };
static const weight *layer_matrix(const layer_weights *l, int i)
{
    const weight *all[LAYER_MATRICES] = { &l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down, &l->gate_exps, &l->up_exps, &l->down_exps };
    return all[i];
}

/* From the first matrix to the end of the last; a view's stand apart. */
static void steady(const weight *w)
{
    if (weight_has(w)) file_map_steady(w->data, (size_t)((w->mats - 1) * w->mat_rows + w->rows) * w->row_bytes);
}

void weights_steady(const weights *w, int32_t layer_count, uint64_t room)
{
    uint64_t bytes = weight_bytes(&w->head);
    for (int32_t l = 0; l < layer_count; l++)
        for (int i = 0; i < LAYER_MATRICES; i++) bytes += weight_bytes(layer_matrix(&w->layers[l], i));
    if (bytes > room) return;
    steady(&w->head);
    for (int32_t l = 0; l < layer_count; l++)
        for (int i = 0; i < LAYER_MATRICES; i++) steady(layer_matrix(&w->layers[l], i));
}

dtype weights_main_type(const weights *w, int32_t layer_count)
{
    uint64_t bytes[DTYPE_COUNT] = { 0 };
    dtype most = DTYPE_F32;
    for (int32_t l = 0; l < layer_count; l++)
        for (int i = 0; i < LAYER_MATRICES; i++) {
            const weight *m = layer_matrix(&w->layers[l], i);
            bytes[m->type] += weight_bytes(m);
        }
    for (int t = 0; t < DTYPE_COUNT; t++)
        if (bytes[t] > bytes[most]) most = (dtype)t;
    return most;
}
