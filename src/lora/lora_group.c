/* Terms of an adapter, gathered into the pairs of matrices that files have. */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "lora/lora_int.h"

typedef struct lora_piece {
    gemma_term t;
    gemma_linear group;          /* of gate and up together: gate */
    size_t order;                /* in which it came */
    int64_t at;                  /* its first rank within the group's */
} piece;

typedef struct gather { const gemma *m; lora_groups *g; bool (*both)(const gemma *, int32_t); bool count_only; } gather;

static bool is_expert(gemma_linear w) { return w == GEMMA_EXPERT_GATE || w == GEMMA_EXPERT_UP || w == GEMMA_EXPERT_DOWN; }

static status take(void *user, const gemma_term *t, err *e)
{
    gather *x = user;
    (void)e;
    if (!x->count_only)
        x->g->pieces[x->g->piece_count] = (piece){ .t = *t, .order = x->g->piece_count,
                                                   .group = t->which == GEMMA_EXPERT_UP && x->both(x->m, t->layer) ? GEMMA_EXPERT_GATE : t->which };
    x->g->piece_count++;
    return OK;
}

static int by_place(const void *a, const void *b)
{
    const piece *x = a, *y = b;
    if (x->t.layer != y->t.layer) return x->t.layer < y->t.layer ? -1 : 1;
    if (x->group != y->group) return x->group < y->group ? -1 : 1;
    if (x->t.expert != y->t.expert) return x->t.expert < y->t.expert ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static bool one_group(const piece *x, const piece *y) { return x->t.layer == y->t.layer && x->group == y->group; }

/* Gate and up may share their A: then they share their ranks. */
static bool shares(const piece *x, const piece *y)
{
    if (x->t.which == y->t.which || x->t.rank != y->t.rank || x->t.in != y->t.in || x->t.scale != y->t.scale) return false;
    return x->t.a == y->t.a || memcmp(x->t.a, y->t.a, (size_t)(x->t.rank * x->t.in) * sizeof(float)) == 0;
}

/* Gives the pieces of one expert their ranks; returns how many there are. */
static int64_t place(piece *p, size_t n)
{
    int64_t r = 0;
    for (size_t i = 0; i < n; i++) {
        p[i].at = -1;
        for (size_t j = 0; j < i && p[i].at < 0; j++)
            if (shares(&p[j], &p[i])) p[i].at = p[j].at;
        if (p[i].at >= 0) continue;
        p[i].at = r;
        r += p[i].t.rank;
    }
    return r;
}

static void make_group(lora_group *g, const gemma *m, piece *p, size_t n, bool both)
{
    const gemma_term *t = &p->t;
    *g = (lora_group){ .layer = t->layer, .which = p->group, .both = both && p->group == GEMMA_EXPERT_GATE, .in = t->in, .out = t->out,
                       .scale = t->scale, .E = is_expert(t->which) ? m->config.expert_count : 1, .pieces = p, .count = n };
    if (g->both) g->out *= 2;
    for (size_t i = 0, k; i < n; i += k) {
        for (k = 1; i + k < n && p[i + k].t.expert == p[i].t.expert;) k++;
        g->r = MAX(g->r, place(p + i, k));
    }
    for (size_t i = 0; i < n && g->scale == 0; i++) g->scale = p[i].t.scale;   /* others are divided by it */
}

status lora_groups_new(lora_groups *g, const gemma *m, const gemma_adapter *a, bool (*both)(const gemma *m, int32_t layer), err *e)
{
    status st = OK;
    *g = (lora_groups){ 0 };
    gather x = { .m = m, .g = g, .both = both, .count_only = true };
    TRY(gemma_adapter_visit(a, take, &x, e));
    if (!g->piece_count) FAIL(e, E_ARG, "cannot write an adapter that has no terms");
    g->pieces = mem_array(g->piece_count, sizeof *g->pieces, MEM_IO);
    g->at = mem_array(g->piece_count, sizeof *g->at, MEM_IO);
    if (!g->pieces || !g->at) FAIL(e, E_NOMEM, "could not write an adapter\nout of memory");
    x.count_only = false;
    g->piece_count = 0;
    TRY(gemma_adapter_visit(a, take, &x, e));
    qsort(g->pieces, g->piece_count, sizeof *g->pieces, by_place);
    for (size_t i = 0, n; i < g->piece_count; i += n) {
        piece *p = g->pieces + i;
        for (n = 1; i + n < g->piece_count && one_group(p, p + n);) n++;
        make_group(&g->at[g->count++], m, p, n, is_expert(p->t.which) && both(m, p->t.layer));
    }
out:
    if (st != OK) lora_groups_done(g);
    return st;
}

void lora_groups_done(lora_groups *g)
{
    mem_free(g->at);
    mem_free(g->pieces);
    *g = (lora_groups){ 0 };
}

void lora_group_fill(const lora_group *g, float *a, float *b, lora_strides s, const float *factors)
{
    memset(a, 0, (size_t)(g->E * g->r * g->in) * sizeof *a);
    memset(b, 0, (size_t)(g->E * g->r * g->out) * sizeof *b);
    for (size_t i = 0; i < g->count; i++) {
        const piece *p = &g->pieces[i];
        const gemma_term *t = &p->t;
        int64_t e = MAX(t->expert, 0), first = g->both && t->which == GEMMA_EXPERT_UP ? g->out / 2 : 0;
        float factor = (t->scale == g->scale ? 1.0f : t->scale / g->scale) * (factors ? factors[e] : 1.0f);
        memcpy(a + (e * g->r + p->at) * g->in, t->a, (size_t)(t->rank * t->in) * sizeof *a);
        for (int64_t o = 0; o < t->out; o++)
            for (int64_t k = 0; k < t->rank; k++)
                b[(first + o) * s.by_output + (p->at + k) * s.by_rank + e * s.by_expert] = t->b[o * t->rank + k] * factor;
    }
}
