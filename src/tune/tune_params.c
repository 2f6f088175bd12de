#include "tune/params.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/rng.h"

enum { RANK_MAX = 512 };          /* what adapters can be read with */

const char *tune_group_name(tune_group g)
{
    static const char *const names[TUNE_GROUP_COUNT] = { "attention", "dense", "experts", "router", "ple", "head" };
    return names[g];
}

tune_group tune_group_of(gemma_linear which)
{
    static const tune_group groups[GEMMA_LINEAR_COUNT] = {
        [GEMMA_Q] = TUNE_ATTENTION, [GEMMA_K] = TUNE_ATTENTION, [GEMMA_V] = TUNE_ATTENTION, [GEMMA_O] = TUNE_ATTENTION,
        [GEMMA_GATE] = TUNE_DENSE, [GEMMA_UP] = TUNE_DENSE, [GEMMA_DOWN] = TUNE_DENSE,
        [GEMMA_ROUTER] = TUNE_ROUTER,
        [GEMMA_EXPERT_GATE] = TUNE_EXPERTS, [GEMMA_EXPERT_UP] = TUNE_EXPERTS, [GEMMA_EXPERT_DOWN] = TUNE_EXPERTS,
        [GEMMA_PLE_GATE] = TUNE_PLE, [GEMMA_PLE_PROJ] = TUNE_PLE, [GEMMA_PLE_MODEL_PROJ] = TUNE_PLE,
        [GEMMA_HEAD] = TUNE_HEAD,
    };
    return groups[which];
}

static bool is_expert(gemma_linear which) { return tune_group_of(which) == TUNE_EXPERTS; }

/* ---- the list ------------------------------------------------------------------------------------ */

/* Grows as parameters come; pointers into the flat arrays are made at the end. */
static status append(tune_params *s, const tune_param *p, err *e)
{
    status st = OK;
    if (p->rank < 1 || p->rank > RANK_MAX) FAIL(e, E_ARG, "cannot train with rank %d\nranks go from 1 to %d", p->rank, RANK_MAX);
    if ((s->count & (s->count - 1)) == 0) {
        tune_param *grown = mem_resize(s->p, (size_t)MAX(2 * s->count, 1) * sizeof *s->p, MEM_OTHER);
        if (!grown) FAIL(e, E_NOMEM, "could not list what is trained\nout of memory");
        s->p = grown;
    }
    tune_param *q = &s->p[s->count];
    *q = *p;
    q->group = tune_group_of(q->which);
    q->first = s->numbers;
    int64_t n = 0;
    if (!mul_i64(q->rank, q->in + q->out, &n) || !add_i64(s->numbers, n, &s->numbers)) FAIL(e, E_NOMEM, "could not list what is trained\nit is too large");
    s->rank_max = MAX(s->rank_max, q->rank);
    s->count++;
out:
    return st;
}

static status make(tune_params **out, const gemma *m, err *e)
{
    tune_params *s = mem_alloc(sizeof *s, MEM_OTHER);
    if (!s) return err_set(e, E_NOMEM, "could not list what is trained\nout of memory");
    s->m = m;
    *out = s;
    return OK;
}

/* Room for the numbers, and everybody's place in it. */
static status take(tune_params *s, err *e)
{
    status st = OK;
    s->values = mem_array((size_t)s->numbers, sizeof *s->values, MEM_WEIGHTS);
    s->grads = mem_array((size_t)s->numbers, sizeof *s->grads, MEM_GRADIENTS);
    if (!s->values || !s->grads) FAIL(e, E_NOMEM, "could not make room for %lld trained numbers\nout of memory\nUse a lower rank, or train fewer kinds of weights.", (long long)s->numbers);
    for (int64_t i = 0; i < s->count; i++) {
        tune_param *p = &s->p[i];
        int64_t b = p->first + p->rank * p->in;
        p->a = s->values + p->first;
        p->b = s->values + b;
        p->da = s->grads + p->first;
        p->db = s->grads + b;
    }
out:
    return st;
}

void tune_params_free(tune_params *s)
{
    if (!s) return;
    mem_free(s->values);
    mem_free(s->grads);
    mem_free(s->p);
    mem_free(s);
}

void tune_params_clear(tune_params *s) { memset(s->grads, 0, (size_t)s->numbers * sizeof *s->grads); }

tune_param *tune_params_find(const tune_params *s, int32_t layer, gemma_linear which, int32_t expert)
{
    int64_t lo = 0, hi = s->count;
    while (lo < hi) {             /* the first that does not stand before the place */
        int64_t mid = lo + (hi - lo) / 2;
        const tune_param *p = &s->p[mid];
        bool before = p->layer != layer ? p->layer < layer : p->which != which ? p->which < which : p->expert < expert;
        if (before) lo = mid + 1;
        else hi = mid;
    }
    if (lo < s->count && s->p[lo].layer == layer && s->p[lo].which == which && s->p[lo].expert == expert) return &s->p[lo];
    if (which != GEMMA_EXPERT_UP) return NULL;
    tune_param *gate = tune_params_find(s, layer, GEMMA_EXPERT_GATE, expert);
    return gate && tune_param_fused(s, gate) ? gate : NULL;
}

/* ---- from scratch -------------------------------------------------------------------------------- */

static bool wanted(const tune_spec *s, gemma_linear which)
{
    uint32_t bits = 1u << which;
    if (which == GEMMA_EXPERT_GATE) bits |= 1u << GEMMA_EXPERT_UP;
    return s->linears & bits;
}

static status add_linear(tune_params *s, const tune_spec *spec, int32_t layer, gemma_linear which, bool *found, err *e)
{
    status st = OK;
    const weight *w = gemma_adapter_weight(s->m, layer, which);
    int32_t E = s->m->config.expert_count, rank = is_expert(which) ? spec->expert_rank : spec->rank;
    if (!w) return OK;
    *found = true;
    double alpha = is_expert(which) ? spec->expert_alpha : spec->alpha;
    tune_param p = { .layer = layer, .expert = -1, .which = which, .rank = rank, .in = w->cols, .out = w->rows };
    p.scale = (float)(alpha / (spec->rslora ? sqrt((double)MAX(rank, 1)) : MAX(rank, 1)));
    if (!is_expert(which)) return append(s, &p, e);
    if (which == GEMMA_EXPERT_GATE) p.out *= 2;
    for (p.expert = 0; p.expert < E; p.expert++)
        if (!spec->hot || spec->hot[(int64_t)layer * E + p.expert]) TRY(append(s, &p, e));
out:
    return st;
}

static status list(tune_params *s, const tune_spec *spec, err *e)
{
    status st = OK;
    bool found[GEMMA_LINEAR_COUNT] = { false };
    int32_t last = spec->last_layer < 0 ? s->m->config.layer_count - 1 : spec->last_layer;
    if (spec->linears >> GEMMA_LINEAR_COUNT) FAIL(e, E_ARG, "cannot train this model so\nthere is no linear of number %d", GEMMA_LINEAR_COUNT);
    for (int32_t l = -1; l <= MIN(last, s->m->config.layer_count - 1); l++)
        for (int w = 0; w < GEMMA_LINEAR_COUNT; w++)
            if (w != GEMMA_EXPERT_UP && wanted(spec, (gemma_linear)w) && (l < 0 || l >= spec->first_layer))
                TRY(add_linear(s, spec, l, (gemma_linear)w, &found[w], e));
    for (int w = 0; w < GEMMA_LINEAR_COUNT; w++)
        if (w != GEMMA_EXPERT_UP && wanted(spec, (gemma_linear)w) && !found[w])
            FAIL(e, E_ARG, "cannot train this model so\nit has no weights of a kind that is to be trained (%s, linear %d)\nChoose from what the model has.",
                 tune_group_name(tune_group_of((gemma_linear)w)), w);
    if (!s->count) FAIL(e, E_ARG, "cannot train nothing\nno weight of the model is chosen");
out:
    return st;
}

/* Numbers of a matrix depend on its place and the seed alone. */
static void fill_a(const tune_param *p, uint64_t seed)
{
    uint64_t place = ((uint64_t)(p->layer + 1) * GEMMA_LINEAR_COUNT + (uint64_t)p->which) << 12 | (uint64_t)(p->expert + 1);
    double bound = 1.0 / sqrt((double)p->in);
    for (int64_t i = 0; i < p->rank * p->in; i++) p->a[i] = (float)((2 * rng_uniform(seed, place << 32 | (uint64_t)i) - 1) * bound);
}

status tune_params_new(tune_params **out, const gemma *m, const tune_spec *spec, uint64_t *measure, err *e)
{
    status st = OK;
    tune_params *s = NULL;
    TRY(make(&s, m, e));
    TRY(list(s, spec, e));
    if (measure) {
        *measure = (uint64_t)s->numbers * (sizeof *s->values + sizeof *s->grads) + (uint64_t)s->count * sizeof *s->p;
    } else {
        TRY(take(s, e));
        for (int64_t i = 0; i < s->count; i++) fill_a(&s->p[i], spec->seed);
    }
    *out = s;
    s = NULL;
out:
    tune_params_free(s);
    return st;
}

/* ---- from an adapter ----------------------------------------------------------------------------- */

typedef struct source { tune_param p; const float *a, *b, *up; } source;     /* up: B of the other half, when fused */

typedef struct sources {
    const gemma *m;
    source *s;
    int64_t count, cap;
} sources;

static status collect(void *user, const gemma_term *t, err *e)
{
    status st = OK;
    sources *all = user;
    if (all->count == all->cap) {
        int64_t cap = MAX(2 * all->cap, 64);
        source *grown = mem_resize(all->s, (size_t)cap * sizeof *grown, MEM_OTHER);
        if (!grown) FAIL(e, E_NOMEM, "could not list what is trained\nout of memory");
        all->s = grown;
        all->cap = cap;
    }
    all->s[all->count++] = (source){ .p = { .layer = t->layer, .expert = t->expert, .which = t->which, .rank = t->rank, .in = t->in, .out = t->out, .scale = t->scale },
                                     .a = t->a, .b = t->b };
out:
    return st;
}

static int order(int64_t a, int64_t b) { return a < b ? -1 : a > b; }

static int by_place(const tune_param *a, const tune_param *b)
{
    int by = order(a->layer, b->layer);
    if (!by) by = order(a->which, b->which);
    return by ? by : order(a->expert, b->expert);
}

static int by_place_of(const void *x, const void *y) { return by_place(&((const source *)x)->p, &((const source *)y)->p); }

/* The same, but gate and up of an expert stand together. */
static int by_expert(const void *x, const void *y)
{
    tune_param a = ((const source *)x)->p, b = ((const source *)y)->p;
    gemma_linear wa = a.which, wb = b.which;
    if (wa == GEMMA_EXPERT_UP) a.which = GEMMA_EXPERT_GATE;
    if (wb == GEMMA_EXPERT_UP) b.which = GEMMA_EXPERT_GATE;
    int by = by_place(&a, &b);
    return by ? by : order(wa, wb);
}

static bool one_input(const source *gate, const source *up)
{
    return up->p.which == GEMMA_EXPERT_UP && gate->p.which == GEMMA_EXPERT_GATE && up->p.layer == gate->p.layer && up->p.expert == gate->p.expert &&
           up->p.rank == gate->p.rank && up->p.scale == gate->p.scale &&
           (up->a == gate->a || memcmp(up->a, gate->a, (size_t)(gate->p.rank * gate->p.in) * sizeof *gate->a) == 0);
}

/* Gate and up with the same A become one; then all are in order of their places. */
static status join(sources *all, err *e)
{
    status st = OK;
    int64_t n = 0;
    qsort(all->s, (size_t)all->count, sizeof *all->s, by_expert);
    for (int64_t i = 0; i < all->count; i++) {
        source s = all->s[i];
        if (i + 1 < all->count && one_input(&s, &all->s[i + 1])) {
            s.up = all->s[++i].b;
            s.p.out *= 2;
        }
        all->s[n++] = s;
    }
    all->count = n;
    qsort(all->s, (size_t)n, sizeof *all->s, by_place_of);
    for (int64_t i = 1; i < n; i++)
        if (by_place(&all->s[i - 1].p, &all->s[i].p) == 0)
            FAIL(e, E_ARG, "cannot start from these adapters\ntwo of their terms are for the same weight (layer %d)\nStart from one adapter.", all->s[i].p.layer);
    if (!n) FAIL(e, E_ARG, "cannot start from this adapter\nit has no terms");
out:
    return st;
}

status tune_params_from(tune_params **out, const gemma *m, const gemma_adapter *a, err *e)
{
    status st = OK;
    tune_params *s = NULL;
    sources all = { .m = m };
    TRY(gemma_adapter_visit(a, collect, &all, e));
    TRY(join(&all, e));
    TRY(make(&s, m, e));
    for (int64_t i = 0; i < all.count; i++) TRY(append(s, &all.s[i].p, e));
    TRY(take(s, e));
    for (int64_t i = 0; i < s->count; i++) {
        const tune_param *p = &s->p[i];
        const source *from = &all.s[i];
        int64_t half = from->up ? p->out / 2 : p->out;
        memcpy(p->a, from->a, (size_t)(p->rank * p->in) * sizeof *p->a);
        memcpy(p->b, from->b, (size_t)(p->rank * half) * sizeof *p->b);
        if (from->up) memcpy(p->b + p->rank * half, from->up, (size_t)(p->rank * half) * sizeof *p->b);
    }
    *out = s;
    s = NULL;
out:
    tune_params_free(s);
    mem_free(all.s);
    return st;
}

/* ---- as an adapter ------------------------------------------------------------------------------- */

static status fill_adapter(gemma_adapter *to, const tune_params *s, err *e)
{
    status st = OK;
    for (int64_t i = 0; i < s->count; i++) {
        const tune_param *p = &s->p[i];
        TRY(gemma_adapter_add(to, p->layer, p->which, p->expert, p->a, p->b, p->rank, p->scale, e));
        if (tune_param_fused(s, p))
            TRY(gemma_adapter_add(to, p->layer, GEMMA_EXPERT_UP, p->expert, p->a, p->b + p->rank * (p->out / 2), p->rank, p->scale, e));
    }
out:
    return st;
}

status tune_params_adapter(gemma_adapter **out, const tune_params *s, err *e)
{
    status st = OK;
    gemma_adapter *measured = NULL, *a = NULL;
    TRY(gemma_adapter_new(&measured, s->m, 0, e));
    TRY(fill_adapter(measured, s, e));
    TRY(gemma_adapter_new(&a, s->m, gemma_adapter_bytes(measured), e));
    TRY(fill_adapter(a, s, e));
    *out = a;
    a = NULL;
out:
    gemma_adapter_free(measured);
    gemma_adapter_free(a);
    return st;
}
