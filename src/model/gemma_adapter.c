/* Low-rank terms: one list per linear, with one entry for each adapter. */
#include <string.h>

#include "base/bits.h"
#include "model/gemma_int.h"

static const weight *linear_of(const gemma *m, int32_t layer, gemma_linear which)
{
    const weights *w = &m->weights;
    if (which == GEMMA_PLE_MODEL_PROJ) return layer == -1 ? &w->ple_model_proj : NULL;
    if (which == GEMMA_HEAD) return layer == -1 ? &w->head : NULL;
    if (layer < 0 || layer >= m->config.layer_count) return NULL;
    const layer_weights *l = &w->layers[layer];
    const weight *by[GEMMA_LINEAR_COUNT] = {
        [GEMMA_Q] = &l->q, [GEMMA_K] = &l->k, [GEMMA_V] = &l->v, [GEMMA_O] = &l->o, [GEMMA_GATE] = &l->gate, [GEMMA_UP] = &l->up,
        [GEMMA_DOWN] = &l->down, [GEMMA_ROUTER] = &l->router, [GEMMA_EXPERT_GATE] = &l->gate_exps, [GEMMA_EXPERT_UP] = &l->up_exps,
        [GEMMA_EXPERT_DOWN] = &l->down_exps, [GEMMA_PLE_GATE] = &l->ple_gate, [GEMMA_PLE_PROJ] = &l->ple_proj,
    };
    return (int)which >= 0 && which < GEMMA_LINEAR_COUNT ? by[which] : NULL;
}

static bool is_expert(gemma_linear which) { return which >= GEMMA_EXPERT_GATE && which <= GEMMA_EXPERT_DOWN; }

static void adapter_free(gemma_adapter *a)
{
    if (!a) return;
    mem_free((void *)(uintptr_t)a->lora.a);
    mem_free((void *)(uintptr_t)a->lora.b);
    mem_free(a);
}

/* Entries of one linear are chained through lora.next, in front of which stands the linear's first adapter. */
static gemma_adapter *find(const gemma_ctx *x, int32_t layer, gemma_linear which, int32_t expert)
{
    gemma_adapter *a = x->adapters;
    while (a && !(a->layer == layer && a->which == which && a->expert == expert)) a = a->next;
    return a;
}

const dev_lora *gemma_adapter_find(const gemma_ctx *x, int32_t layer, gemma_linear which, int32_t expert)
{
    const gemma_adapter *a = find(x, layer, which, expert);
    return a ? &a->lora : NULL;
}

bool gemma_adapter_known(const gemma_ctx *x, int32_t id)
{
    for (const gemma_adapter *a = x->adapters; a; a = a->next)
        if (a->lora.adapter == id) return true;
    return false;
}

/* Entries of one linear stand together, so that `lora.next` of each but the last is the entry behind it. */
static void link_terms(gemma_ctx *x)
{
    for (gemma_adapter *a = x->adapters; a; a = a->next) {
        const gemma_adapter *n = a->next;
        bool same = n && n->layer == a->layer && n->which == a->which && n->expert == a->expert;
        a->lora.next = same ? &n->lora : NULL;
    }
}

static void remove_terms(gemma_ctx *x, int32_t id, const gemma_adapter *only)
{
    for (gemma_adapter **at = &x->adapters; *at;) {
        gemma_adapter *a = *at;
        bool match = a->lora.adapter == id && (!only || (a != only && a->layer == only->layer && a->which == only->which && a->expert == only->expert));
        if (!match) {
            at = &a->next;
            continue;
        }
        *at = a->next;
        adapter_free(a);
    }
}

status gemma_adapter_set(gemma_ctx *x, int32_t id, int32_t layer, gemma_linear which, int32_t expert, const float *a, const float *b, int32_t r,
                         float scale, err *e)
{
    status st = OK;
    gemma_adapter *n = NULL;
    float *ca = NULL, *cb = NULL;
    const weight *w = linear_of(x->m, layer, which);
    if (!w || !weight_has(w)) FAIL(e, E_ARG, "cannot set adapter %d\nlayer %d of this model has no linear %d", id, layer, (int)which);
    if (is_expert(which) ? expert < 0 || expert >= x->m->config.expert_count : expert != -1)
        FAIL(e, E_ARG, "cannot set adapter %d\nexpert %d does not fit linear %d of layer %d", id, expert, (int)which, layer);
    if (id <= 0 || !a || !b || r < 1 || r > x->o.rank_max)
        FAIL(e, E_ARG, "cannot set adapter %d\nids start at 1, and ranks go from 1 to %d, not %d", id, x->o.rank_max, r);
    n = mem_alloc(sizeof *n, MEM_WEIGHTS);
    ca = mem_array((size_t)r, (size_t)w->cols * sizeof *ca, MEM_WEIGHTS);
    cb = mem_array((size_t)r, (size_t)w->rows * sizeof *cb, MEM_WEIGHTS);
    if (!n || !ca || !cb) FAIL(e, E_NOMEM, "could not set adapter %d\nout of memory", id);
    memcpy(ca, a, (size_t)r * (size_t)w->cols * sizeof *ca);
    memcpy(cb, b, (size_t)r * (size_t)w->rows * sizeof *cb);
    *n = (gemma_adapter){ .layer = layer, .which = which, .expert = expert, .lora = { .adapter = id, .rank = r, .a = ca, .b = cb, .scale = scale } };
    gemma_adapter *first = find(x, layer, which, expert);
    if (first) {
        n->next = first->next;
        first->next = n;
    } else {
        n->next = x->adapters;
        x->adapters = n;
    }
    remove_terms(x, id, n);
    link_terms(x);
    n = NULL;
    ca = cb = NULL;
out:
    mem_free(n);
    mem_free(ca);
    mem_free(cb);
    return st;
}

void gemma_adapter_clear(gemma_ctx *x, int32_t id)
{
    remove_terms(x, id, NULL);
    link_terms(x);
}

void gemma_adapter_free_all(gemma_ctx *x)
{
    while (x->adapters) {
        gemma_adapter *a = x->adapters;
        x->adapters = a->next;
        adapter_free(a);
    }
}
