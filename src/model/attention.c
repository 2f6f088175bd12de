/* One attention block, from the residual to the output projection (architecture sections 2.5 to 2.7). */
#include "model/gemma_int.h"

/* k and v hold the projections of all rows: norms, rope, and into the cache. */
static void store_kv(gemma_ctx *x, int32_t layer, const layer_weights *w, const float *cs, int32_t pairs)
{
    const gemma_config *c = gemma_int_config(x);
    const gemma_layer_config *g = &c->layers[layer];
    const gemma_rows *r = &x->rows;
    dev *d = x->dev;
    dev_kv stored = x->cache.layers[layer];
    /* The raw projection is V's input too: before k_norm and rope. */
    if (g->k_eq_v) d->op->copy(d, x->b.v, x->b.k, (size_t)r->T * (size_t)(g->nkv * g->d) * sizeof(float));
    d->op->norm_rope(d, x->b.v, r->T, g->nkv, g->d, NULL, c->eps, NULL, 0);
    if (stored.k || x->tap) d->op->norm_rope(d, x->b.k, r->T, g->nkv, g->d, w->k_norm, c->eps, cs, pairs);
    gemma_int_tap(x, layer, "k", x->b.k, (int64_t)g->nkv * g->d);
    gemma_int_tap(x, layer, "v", x->b.v, (int64_t)g->nkv * g->d);
    d->op->kv_write(d, &stored, g->full ? r->span_full : r->span_sliding, g->full ? r->full : r->sliding, r->T, x->b.k, x->b.v);
}

void attention_run(gemma_ctx *x, int32_t layer, const layer_weights *w, bool leave)
{
    const gemma_config *c = gemma_int_config(x);
    const gemma_layer_config *g = &c->layers[layer];
    gemma_rows *r = &x->rows;
    dev *d = x->dev;
    const rope_kind *rope = g->full ? &x->rope_full : &x->rope_sliding;
    const float *cs = g->full ? r->cs_full : r->cs_sliding;
    bool own = g->kv_source == layer;
    dev_product p[3];
    int32_t n = 0;
    leave = leave && r->wanted < r->T;

    d->op->rms_norm(d, x->b.x, c->hidden, w->attn_norm, c->eps, r->T, c->hidden, x->b.h, c->hidden);
    gemma_int_tap(x, layer, "attn_norm", x->b.h, c->hidden);
    if (!leave) p[n++] = decoder_product(x, layer, GEMMA_Q, &w->q, x->b.h, x->b.q);
    if (own) p[n++] = decoder_product(x, layer, GEMMA_K, &w->k, x->b.h, x->b.k);
    if (own && !g->k_eq_v) p[n++] = decoder_product(x, layer, GEMMA_V, &w->v, x->b.h, x->b.v);
    d->op->mul(d, p, n);
    if (own) store_kv(x, layer, w, cs, rope->pairs);
    if (leave) {
        decoder_leave(x);
        if (r->T == 0) return;
        p[0] = decoder_product(x, layer, GEMMA_Q, &w->q, x->b.h, x->b.q);
        d->op->mul(d, p, 1);
    }
    d->op->norm_rope(d, x->b.q, r->T, g->nq, g->d, w->q_norm, c->eps, cs, rope->pairs);
    gemma_int_tap(x, layer, "q", x->b.q, (int64_t)g->nq * g->d);

    dev_kv stored = x->cache.layers[layer];
    stored.k_norm = x->m->weights.layers[g->kv_source].k_norm;
    stored.key_rope = x->key_rope;
    stored.pairs = rope->pairs;
    dev_attn a = { .kv = &stored, .spans = g->full ? r->span_full : r->span_sliding, .rows = g->full ? r->full : r->sliding, .T = r->T, .nq = g->nq,
                   .q = x->b.q, .out = x->b.att };
    d->op->attention(d, &a);
    gemma_int_tap(x, layer, "attn", x->b.att, (int64_t)g->nq * g->d);
    p[0] = decoder_product(x, layer, GEMMA_O, &w->o, x->b.att, x->b.out);
    d->op->mul(d, p, 1);
}
