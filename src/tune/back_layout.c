/* The backward pass's memory.  back_layout runs twice, first measuring. */
#include "base/bits.h"
#include "tune/step_int.h"

typedef struct layout_sizes { int64_t q, F; } layout_sizes;      /* the widest row of queries; most numbers of a feed-forward layer, all rows */

static layout_sizes sizes_of(const tune_step *s)
{
    const gemma_config *c = back_config(s);
    layout_sizes z = { 0 };
    for (int32_t l = 0; l < c->layer_count; l++) {
        const gemma_layer_config *g = &c->layers[l];
        z.q = MAX(z.q, (int64_t)g->nq * g->d);
        z.F = MAX(z.F, (int64_t)(l < c->kv_layers - 1 ? s->o.rows_max : s->o.labels_max) * g->ff);
    }
    return z;
}

static status take_all(arena *a, float **const p[], size_t count, int64_t numbers, err *e)
{
    status st = OK;
    for (size_t i = 0; i < count; i++) TRY(arena_take(a, p[i], (size_t)numbers, sizeof(float), e));
out:
    return st;
}

static status rows_layout(tune_step *s, back_rows *r, int64_t T, err *e)
{
    status st = OK;
    arena *a = &s->small;
    TRY(arena_array(a, &r->cs_full, T * 2 * s->rope_full.pairs, e));
    TRY(arena_array(a, &r->cs_sliding, T * 2 * s->rope_sliding.pairs, e));
    TRY(arena_array(a, &r->full, T, e));
    TRY(arena_array(a, &r->sliding, T, e));
    TRY(arena_array(a, &r->keys_full, T, e));
    TRY(arena_array(a, &r->keys_sliding, T, e));
out:
    return st;
}

static status small_layout(tune_step *s, err *e)
{
    const gemma_config *c = back_config(s);
    status st = OK;
    arena *a = &s->small;
    int64_t T = s->o.rows_max, slots = MAX(T * c->expert_used, T);
    TRY(rope_layout(&s->rope_full, c, true, a, e));
    TRY(rope_layout(&s->rope_sliding, c, false, a, e));
    TRY(arena_array(a, &s->lora, 2 * s->p->count, e));
    TRY(arena_array(a, &s->rows, T, e));
    TRY(arena_array(a, &s->spans, T, e));
    TRY(arena_array(a, &s->ids, T, e));
    TRY(arena_array(a, &s->want, T, e));
    TRY(arena_array(a, &s->labels, T, e));
    TRY(arena_array(a, &s->factors, T, e));
    TRY(arena_array(a, &s->ones, slots, e));
    TRY(arena_array(a, &s->all_rows, T, e));
    TRY(arena_array(a, &s->losses, BACK_LOSS_ROWS, e));
    TRY(rows_layout(s, &s->all, T, e));
    TRY(rows_layout(s, &s->kept, s->o.labels_max, e));
    if (c->expert_count) TRY(arena_array(a, &s->expert_rows, (int64_t)c->layer_count * c->expert_count, e));
out:
    return st;
}

static status experts_layout(tune_step *s, const gemma_spare *ctx, err *e)
{
    const gemma_config *c = back_config(s);
    status st = OK;
    back_bufs *b = &s->b;
    arena *a = &s->memory;
    int64_t T = s->o.rows_max, slots = T * c->expert_used;
    float **const wide[] = { &b->zr, &b->h3, &b->bsum, &b->sum, &b->xe, &b->ye, &b->be };
    float **const each[] = { &b->dlogits };
    float **const pairs[] = { &b->weight, &b->dweight, &b->place_weight, &b->place_dot };
    float **const inner[] = { &b->act_e, &b->act_w, &b->q_e };
    size_t lent = MIN(COUNT_OF(wide), (size_t)c->expert_used);       /* slot_out has room for k of them */
    for (size_t i = 0; i < lent && ctx->slot_out; i++) *wide[i] = ctx->slot_out + (int64_t)i * T * c->hidden;
    TRY(take_all(a, wide + lent, COUNT_OF(wide) - lent, T * c->hidden, e));
    TRY(take_all(a, each, COUNT_OF(each), T * c->expert_count, e));
    TRY(take_all(a, pairs, COUNT_OF(pairs), slots, e));
    TRY(take_all(a, inner, COUNT_OF(inner), T * c->expert_ff, e));
    TRY(arena_array(a, &b->ids, slots, e));
    TRY(arena_array(a, &b->pair, slots, e));
    TRY(arena_array(a, &b->row, slots, e));
    TRY(arena_array(a, &b->first, c->expert_count + 1, e));
    b->dense = ctx->dense;
    b->logits = ctx->router;
    b->slot_gate = ctx->slot_gate;
    b->slot_up = ctx->slot_up;
out:
    return st;
}

static status ple_layout(tune_step *s, const gemma_spare *ctx, err *e)
{
    const gemma_config *c = back_config(s);
    status st = OK;
    back_bufs *b = &s->b;
    arena *a = &s->memory;
    int64_t T = s->o.rows_max;
    float **const all[] = { &b->context, &b->dple };
    float **const wide[] = { &b->xf, &b->pp };
    float **const narrow[] = { &b->pg, &b->pa, &b->pe, &b->dpa };
    bool trained = tune_params_find(s->p, -1, GEMMA_PLE_MODEL_PROJ, -1) != NULL;
    b->ple = ctx->ple;
    b->context = ctx->gate;
    if (trained) TRY(take_all(a, all, COUNT_OF(all), T * c->layer_count * c->ple, e));
    TRY(take_all(a, wide, COUNT_OF(wide), T * c->hidden, e));
    TRY(take_all(a, narrow, COUNT_OF(narrow), T * c->ple, e));
out:
    return st;
}

static status work_layout(tune_step *s, err *e)
{
    const gemma_config *c = back_config(s);
    status st = OK;
    void *work = NULL;
    dev_back_work w = { .T = s->o.rows_max, .rank = s->p->rank_max, .vocab = c->vocab };
    for (int64_t i = 0; i < s->p->count; i++) w.width = MAX(w.width, s->p->p[i].out);
    for (int32_t l = 0; l < c->layer_count; l++) {
        w.nq = MAX(w.nq, c->layers[l].nq);
        w.d = MAX(w.d, c->layers[l].d);
    }
    w.norm = MAX(w.d, c->hidden);
    TRY(arena_take(&s->memory, &work, s->dev->op->back_bytes(s->dev, &w), 1, e));
    if (work) s->dev->op->back_set(s->dev, &w, work);
out:
    return st;
}

status back_layout(tune_step *s, err *e)
{
    const gemma_config *c = back_config(s);
    status st = OK;
    back_bufs *b = &s->b;
    arena *a = &s->memory;
    gemma_spare ctx = { 0 };
    layout_sizes z = sizes_of(s);
    int64_t T = s->o.rows_max;
    float **const wide[] = { &b->dx, &b->dh, &b->t1, &b->t2, &b->x, &b->hq, &b->xm, &b->h2, &b->down };
    float **const q[] = { &b->q, &b->datt };
    float **const ff[] = { &b->act, &b->wide };
    if (s->ctx) ctx = gemma_ctx_spare(s->ctx);
    b->h = ctx.h;
    b->xq = ctx.x;
    b->o = ctx.out;
    b->q_raw = ctx.q;
    b->att = ctx.att;
    b->k_raw = ctx.k;
    b->v_raw = ctx.v;
    b->gate = ctx.gate;
    b->up = ctx.up;
    TRY(small_layout(s, e));
    TRY(arena_array(a, &b->hidden, (int64_t)s->o.labels_max * c->hidden, e));
    TRY(arena_array(a, &b->z, (int64_t)MIN((int32_t)BACK_LOSS_ROWS, s->o.labels_max) * c->vocab, e));
    TRY(take_all(a, wide, COUNT_OF(wide), T * c->hidden, e));
    TRY(take_all(a, q, COUNT_OF(q), T * z.q, e));
    TRY(take_all(a, ff, COUNT_OF(ff), z.F, e));
    for (int kind = 0; kind < 2; kind++) {
        float **const collected[] = { &b->dk[kind], &b->dv[kind] };
        TRY(take_all(a, collected, COUNT_OF(collected), T * s->kv_width[kind], e));
    }
    if (c->expert_count) TRY(experts_layout(s, &ctx, e));
    if (c->ple) TRY(ple_layout(s, &ctx, e));
    TRY(work_layout(s, e));
out:
    return st;
}
