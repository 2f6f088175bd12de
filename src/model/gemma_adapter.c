/* Low-rank terms: one list per linear, with the entries of all attached adapters. */
#include "base/bits.h"
#include "base/hash.h"
#include "model/gemma_int.h"

typedef struct term {
    gemma_term is;
    size_t place;
    dev_lora lora;
    struct term *next;
} term;

struct gemma_adapter {
    const gemma *m;
    arena memory;                    /* base NULL: measuring */
    term *first, **last;
    int32_t count, rank;
    int32_t id;                      /* of the rows that use it */
    struct gemma_adapter *next;      /* in the context's list */
};

/* ---- places -------------------------------------------------------------------------------------- */

const weight *gemma_adapter_weight(const gemma *m, int32_t layer, gemma_linear which)
{
    const weights *w = &m->weights;
    if ((int)which < 0 || which >= GEMMA_LINEAR_COUNT) return NULL;
    if (which == GEMMA_PLE_MODEL_PROJ || which == GEMMA_HEAD) {
        const weight *top = which == GEMMA_HEAD ? &w->head : &w->ple_model_proj;
        return layer == -1 && weight_has(top) ? top : NULL;
    }
    if (layer < 0 || layer >= m->config.layer_count) return NULL;
    const layer_weights *l = &w->layers[layer];
    const weight *by[GEMMA_LINEAR_COUNT] = {
        [GEMMA_Q] = &l->q, [GEMMA_K] = &l->k, [GEMMA_V] = &l->v, [GEMMA_O] = &l->o, [GEMMA_GATE] = &l->gate, [GEMMA_UP] = &l->up,
        [GEMMA_DOWN] = &l->down, [GEMMA_ROUTER] = &l->router, [GEMMA_EXPERT_GATE] = &l->gate_exps, [GEMMA_EXPERT_UP] = &l->up_exps,
        [GEMMA_EXPERT_DOWN] = &l->down_exps, [GEMMA_PLE_GATE] = &l->ple_gate, [GEMMA_PLE_PROJ] = &l->ple_proj,
    };
    return weight_has(by[which]) ? by[which] : NULL;
}

static bool is_expert(gemma_linear which) { return which >= GEMMA_EXPERT_GATE && which <= GEMMA_EXPERT_DOWN; }

static size_t places_of_layer(const gemma *m) { return GEMMA_LINEAR_COUNT + 3 * (size_t)m->config.expert_count; }

size_t gemma_adapter_places(const gemma *m) { return ((size_t)m->config.layer_count + 1) * places_of_layer(m); }

static size_t place_of(const gemma *m, int32_t layer, gemma_linear which, int32_t expert)
{
    size_t in_layer = (size_t)which;
    if (expert >= 0) in_layer = GEMMA_LINEAR_COUNT + (size_t)(which - GEMMA_EXPERT_GATE) * (size_t)m->config.expert_count + (size_t)expert;
    return (size_t)(layer + 1) * places_of_layer(m) + in_layer;
}

/* ---- one adapter --------------------------------------------------------------------------------- */

status gemma_adapter_new(gemma_adapter **out, const gemma *m, size_t bytes, err *e)
{
    status st = OK;
    gemma_adapter *a = mem_alloc(sizeof *a, MEM_WEIGHTS);
    if (!a) FAIL(e, E_NOMEM, "could not make room for an adapter\nout of memory");
    a->m = m;
    a->last = &a->first;
    if (bytes) TRY(arena_init(&a->memory, bytes, MEM_WEIGHTS, e));
    *out = a;
    a = NULL;
out:
    gemma_adapter_free(a);
    return st;
}

void gemma_adapter_free(gemma_adapter *a)
{
    if (!a) return;
    arena_done(&a->memory);
    mem_free(a);
}

size_t gemma_adapter_bytes(const gemma_adapter *a) { return a->memory.used; }
int32_t gemma_adapter_rank(const gemma_adapter *a) { return a->rank; }
int32_t gemma_adapter_count(const gemma_adapter *a) { return a->count; }

status gemma_adapter_matrix(gemma_adapter *a, int64_t rows, int64_t cols, float **out, err *e)
{
    int64_t n = 0;
    if (rows < 0 || cols < 0 || !mul_i64(rows, cols, &n)) return err_set(e, E_NOMEM, "could not make room for an adapter\nit is too large");
    return arena_take(&a->memory, out, (size_t)n, sizeof **out, e);
}

status gemma_adapter_add(gemma_adapter *a, int32_t layer, gemma_linear which, int32_t expert, const float *down, const float *up,
                         int32_t r, float scale, err *e)
{
    status st = OK;
    term *t = NULL;
    const weight *w = gemma_adapter_weight(a->m, layer, which);
    if (!w) FAIL(e, E_ARG, "cannot use an adapter\nlayer %d of this model has no linear %d", layer, (int)which);
    if (is_expert(which) ? expert < 0 || expert >= a->m->config.expert_count : expert != -1)
        FAIL(e, E_ARG, "cannot use an adapter\nexpert %d does not fit linear %d of layer %d", expert, (int)which, layer);
    if (r < 1) FAIL(e, E_ARG, "cannot use an adapter\nranks start at 1, and one is %d", r);
    TRY(arena_array(&a->memory, &t, 1, e));
    a->count++;
    a->rank = MAX(a->rank, r);
    if (!t) return OK;
    *t = (term){ .is = { .layer = layer, .which = which, .expert = expert, .rank = r, .in = w->cols, .out = w->rows, .a = down, .b = up, .scale = scale },
                 .place = place_of(a->m, layer, which, expert), .lora = { .rank = r, .a = down, .b = up, .scale = scale } };
    *a->last = t;
    a->last = &t->next;
out:
    return st;
}

status gemma_adapter_visit(const gemma_adapter *a, gemma_term_fn fn, void *user, err *e)
{
    status st = OK;
    for (const term *t = a->first; t; t = t->next) TRY(fn(user, &t->is, e));
out:
    return st;
}

uint64_t gemma_adapter_hash(const gemma_adapter *a)
{
    uint64_t h = 0;
    for (const term *t = a->first; t; t = t->next) {
        uint64_t head[3] = { t->place, (uint64_t)t->lora.rank, 0 };
        memcpy(&head[2], &t->lora.scale, sizeof t->lora.scale);
        h = hash_bytes(head, sizeof head, h);
        h = hash_bytes(t->lora.a, (size_t)(t->is.in * t->is.rank) * sizeof *t->lora.a, h);
        h = hash_bytes(t->lora.b, (size_t)(t->is.out * t->is.rank) * sizeof *t->lora.b, h);
    }
    return h;
}

/* ---- attached ones ------------------------------------------------------------------------------- */

const dev_lora *gemma_adapter_find(const gemma_ctx *x, int32_t layer, gemma_linear which, int32_t expert)
{
    return x->lora[place_of(x->m, layer, which, expert)];
}

bool gemma_adapter_known(const gemma_ctx *x, int32_t id)
{
    for (const gemma_adapter *a = x->adapters; a; a = a->next)
        if (a->id == id) return true;
    return false;
}

static void link_adapter(gemma_ctx *x, gemma_adapter *a)
{
    for (term *t = a->first; t; t = t->next) {
        t->lora.adapter = a->id;
        t->lora.next = x->lora[t->place];
        x->lora[t->place] = &t->lora;
    }
}

status gemma_adapter_attach(gemma_ctx *x, int32_t id, gemma_adapter *a, err *e)
{
    if (id <= 0) return err_set(e, E_ARG, "cannot use an adapter as number %d\nids start at 1", id);
    if (a->rank > x->o.rank_max) return err_set(e, E_ARG, "cannot use an adapter of rank %d\nranks go from 1 to %d", a->rank, x->o.rank_max);
    gemma_adapter **at = &x->adapters;
    while (*at) at = &(*at)->next;
    a->id = id;
    a->next = NULL;
    *at = a;
    link_adapter(x, a);
    return OK;
}

void gemma_adapter_clear(gemma_ctx *x, int32_t id)
{
    memset(x->lora, 0, gemma_adapter_places(x->m) * sizeof *x->lora);
    for (gemma_adapter **at = &x->adapters; *at;) {
        gemma_adapter *a = *at;
        if (a->id != id) {
            link_adapter(x, a);
            at = &a->next;
            continue;
        }
        *at = a->next;
        gemma_adapter_free(a);
    }
}

void gemma_adapter_free_all(gemma_ctx *x)
{
    while (x->adapters) {
        gemma_adapter *a = x->adapters;
        x->adapters = a->next;
        gemma_adapter_free(a);
    }
}
