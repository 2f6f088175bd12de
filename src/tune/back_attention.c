/* The attention block (model/attention.c), again and backward. */
#include "tune/step_int.h"

/* What norm_rope and its gradient turn: the angles of some rows in a layer, and how many pairs. */
static const float *angles(const gemma_layer_config *g, const back_rows *r) { return g->full ? r->cs_full : r->cs_sliding; }
static int32_t pairs(const tune_step *s, const gemma_layer_config *g) { return (g->full ? &s->rope_full : &s->rope_sliding)->pairs; }

static size_t floats(int64_t rows, int64_t n) { return (size_t)(rows * n) * sizeof(float); }

/* Keys and values where attention wants them: [head][row]. */
static dev_kv stored_at(const tune_step *s, const gemma_layer_config *g, const float *k, const float *v)
{
    size_t row = (size_t)g->d * sizeof(float);
    return (dev_kv){ .type = DTYPE_F32, .heads = g->nkv, .d = g->d, .k = (uint8_t *)(uintptr_t)k, .v = (uint8_t *)(uintptr_t)v, .row_bytes = row,
                     .head_bytes = (size_t)s->o.rows_max * row, .block_bytes = DEV_BLOCK * row };
}

/* From b.k_raw and b.v_raw to where the layer's keys and values belong; those that later layers read become the same bits again. */
static void make_kv(tune_step *s, int32_t layer, const layer_weights *w)
{
    const gemma_layer_config *g = &back_config(s)->layers[layer];
    const back_rows *in = back_in(s, layer);
    back_bufs *b = &s->b;
    dev *d = s->dev;
    float eps = back_config(s)->eps, *k = b->datt, *v = b->q, *keys = NULL, *values = NULL;      /* k, v: still free */
    gemma_ctx_kv_room(s->ctx, layer, &keys, &values);
    dev_kv to = stored_at(s, g, keys, values);
    d->op->copy(d, k, b->k_raw, floats(in->T, (int64_t)g->nkv * g->d));
    d->op->copy(d, v, g->k_eq_v ? b->k_raw : b->v_raw, floats(in->T, (int64_t)g->nkv * g->d));
    d->op->norm_rope(d, v, in->T, g->nkv, g->d, NULL, eps, NULL, 0);
    d->op->norm_rope(d, k, in->T, g->nkv, g->d, w->k_norm, eps, angles(g, in), pairs(s, g));
    d->op->kv_write(d, &to, s->spans, g->full ? in->full : in->sliding, in->T, k, v);
}

status back_attention_run(tune_step *s, int32_t layer, const layer_weights *w, err *e)
{
    const gemma_config *c = back_config(s);
    const gemma_layer_config *g = &c->layers[layer];
    const back_rows *in = back_in(s, layer), *out = back_out(s, layer);
    back_bufs *b = &s->b;
    dev *d = s->dev;
    status st = OK;
    int64_t H = c->hidden;
    float *k = NULL, *v = NULL;
    bool own = g->kv_source == layer;
    dev_product p[3];
    int32_t n = 0;

    TRY(gemma_ctx_layer_input(s->ctx, layer, b->x, e));
    d->op->rms_norm(d, b->x, H, w->attn_norm, c->eps, in->T, H, b->h, H);
    d->op->gather(d, b->h, H, in == out ? s->all_rows : s->want, out->T, H, b->hq, H);
    d->op->gather(d, b->x, H, in == out ? s->all_rows : s->want, out->T, H, b->xq, H);
    p[n++] = back_product(s, layer, GEMMA_Q, -1, &w->q, b->hq, out->T, b->q_raw);
    if (own) p[n++] = back_product(s, layer, GEMMA_K, -1, &w->k, b->h, in->T, b->k_raw);
    if (own && !g->k_eq_v) p[n++] = back_product(s, layer, GEMMA_V, -1, &w->v, b->h, in->T, b->v_raw);
    d->op->mul(d, p, n);
    if (own) make_kv(s, layer, w);
    d->op->copy(d, b->q, b->q_raw, floats(out->T, (int64_t)g->nq * g->d));
    d->op->norm_rope(d, b->q, out->T, g->nq, g->d, w->q_norm, c->eps, angles(g, out), pairs(s, g));
    gemma_ctx_kv_room(s->ctx, g->kv_source, &k, &v);
    dev_kv stored = stored_at(s, g, k, v);
    dev_attn a = { .kv = &stored, .spans = s->spans, .rows = g->full ? out->full : out->sliding, .T = out->T, .nq = g->nq, .q = b->q, .out = b->att };
    d->op->attention(d, &a);
    p[0] = back_product(s, layer, GEMMA_O, -1, &w->o, b->att, out->T, b->o);
    d->op->mul(d, p, 1);
    d->op->norm_add(d, b->o, w->post_attn_norm, c->eps, b->xq, 1, out->T, H, b->xm);
out:
    return st;
}

/* Gradients of queries, and of keys and values at their source when that is reached at all. */
static void scores_back(tune_step *s, int32_t layer, const float *datt)
{
    const gemma_layer_config *g = &back_config(s)->layers[layer];
    const back_rows *out = back_out(s, layer);
    back_bufs *b = &s->b;
    float *k = NULL, *v = NULL;
    bool wanted = back_below(s, g->kv_source, BACK_STOP_O);
    gemma_ctx_kv_room(s->ctx, g->kv_source, &k, &v);
    dev_attn_back a = { .k = k, .v = v, .kv_rows = s->o.rows_max, .keys = s->all.T, .heads = g->nkv, .d = g->d, .nq = g->nq,
                        .rows = g->full ? out->keys_full : out->keys_sliding, .T = out->T, .q = b->q, .out = b->att, .dout = datt, .dq = b->att,
                        .dk = wanted ? b->dk[g->full] : NULL, .dv = b->dv[g->full] };
    s->dev->op->attention_back(s->dev, &a);
}

/* From what all readers of this layer's keys and values have collected to b.dh; the collection is empty then. */
static void kv_back(tune_step *s, int32_t layer, const layer_weights *w, bool below)
{
    const gemma_layer_config *g = &back_config(s)->layers[layer];
    const back_rows *in = back_in(s, layer);
    back_bufs *b = &s->b;
    dev *d = s->dev;
    float eps = back_config(s)->eps, *dk = b->dk[g->full], *dv = b->dv[g->full], *dh = below ? b->dh : NULL;
    d->op->norm_rope_back(d, b->k_raw, in->T, g->nkv, g->d, w->k_norm, eps, angles(g, in), pairs(s, g), dk, false, dk);
    d->op->norm_rope_back(d, g->k_eq_v ? b->k_raw : b->v_raw, in->T, g->nkv, g->d, NULL, eps, NULL, 0, dv, g->k_eq_v, g->k_eq_v ? dk : dv);
    back_linear(s, layer, GEMMA_K, -1, &w->k, b->h, dk, in->T, true, dh);
    if (!g->k_eq_v) back_linear(s, layer, GEMMA_V, -1, &w->v, b->h, dv, in->T, true, dh);
    d->op->scale(d, 0, NULL, in->T, (int64_t)g->nkv * g->d, dk);
    d->op->scale(d, 0, NULL, in->T, (int64_t)g->nkv * g->d, dv);
}

/* Gradients of the rows that went on become gradients of all, the others' being zero.  t: spare. */
static void spread(tune_step *s, float **x, float **t)
{
    dev *d = s->dev;
    int64_t H = back_config(s)->hidden;
    float *all = *t;
    d->op->scale(d, 0, NULL, s->all.T, H, all);
    d->op->scatter_add(d, *x, s->want, NULL, s->kept.T, H, all);
    *t = *x;
    *x = all;
}

void back_attention(tune_step *s, int32_t layer, const layer_weights *w)
{
    const gemma_config *c = back_config(s);
    const gemma_layer_config *g = &c->layers[layer];
    const back_rows *in = back_in(s, layer), *out = back_out(s, layer);
    back_bufs *b = &s->b;
    dev *d = s->dev;
    int64_t H = c->hidden;
    bool below = back_below(s, layer, BACK_STOP_ATTENTION);
    d->op->norm_back(d, b->o, w->post_attn_norm, c->eps, b->dx, out->T, H, false, b->t1);
    bool scores = back_below(s, layer, BACK_STOP_O);
    back_linear(s, layer, GEMMA_O, -1, &w->o, b->att, b->t1, out->T, false, scores ? b->datt : NULL);
    if (!scores) return;
    scores_back(s, layer, b->datt);
    d->op->norm_rope_back(d, b->q_raw, out->T, g->nq, g->d, w->q_norm, c->eps, angles(g, out), pairs(s, g), b->att, false, b->att);
    back_linear(s, layer, GEMMA_Q, -1, &w->q, b->hq, b->att, out->T, false, below ? b->dh : NULL);
    if (below && in != out) {
        spread(s, &b->dx, &b->t1);
        spread(s, &b->dh, &b->t2);
    }
    if (g->kv_source == layer) kv_back(s, layer, w, below);
    if (below) d->op->norm_back(d, b->x, w->attn_norm, c->eps, b->dh, in->T, H, true, b->dx);
}
