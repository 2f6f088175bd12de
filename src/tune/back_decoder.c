/* The sweep over the layers (model/decoder.c), from the last to the lowest trained one. */
#include "tune/step_int.h"

/* Everything between the layer's input and its output that the gradient needs. */
static status run_again(tune_step *s, int32_t layer, const layer_weights *w, err *e)
{
    const gemma_config *c = back_config(s);
    back_bufs *b = &s->b;
    dev *d = s->dev;
    status st = OK;
    int64_t H = c->hidden, T = back_out(s, layer)->T;
    TRY(back_attention_run(s, layer, w, e));
    d->op->rms_norm(d, b->xm, H, w->ffn_norm, c->eps, T, H, b->h2, H);
    back_mlp_run(s, layer, w);
    if (weight_has(&w->router)) TRY(back_moe_run(s, layer, w, e));
    if (!c->ple) return OK;
    d->op->norm_add(d, b->down, w->post_ffn_norm, c->eps, b->xm, 1, T, H, b->xf);
    back_ple_run(s, layer, w);
out:
    return st;
}

/* b.dx: of the residual behind the feed-forward part, becomes that of the one before it. */
static status feed_forward(tune_step *s, int32_t layer, const layer_weights *w, err *e)
{
    const gemma_config *c = back_config(s);
    back_bufs *b = &s->b;
    dev *d = s->dev;
    status st = OK;
    int64_t H = c->hidden, T = back_out(s, layer)->T;
    bool experts = weight_has(&w->router), below = back_below(s, layer, BACK_STOP_FFN);
    d->op->norm_back(d, experts ? b->sum : b->down, w->post_ffn_norm, c->eps, b->dx, T, H, false, b->t2);
    if (experts) d->op->norm_back(d, b->down, w->post_ffn_norm_1, c->eps, b->t2, T, H, false, b->t1);
    back_mlp(s, layer, w, experts ? b->t1 : b->t2);
    if (below) d->op->norm_back(d, b->xm, w->ffn_norm, c->eps, b->dh, T, H, true, b->dx);
    if (experts) TRY(back_moe(s, layer, w, b->t2, e));
out:
    return st;
}

static status one_layer(tune_step *s, int32_t layer, err *e)
{
    status st = OK;
    const layer_weights *w = NULL;
    TRY(weights_take(&s->m->weights, layer, &w, e));
    TRY(run_again(s, layer, w, e));
    s->dev->op->scale(s->dev, w->layer_scalar, NULL, back_out(s, layer)->T, back_config(s)->hidden, s->b.dx);
    if (back_config(s)->ple) back_ple(s, layer, w);
    if (back_below(s, layer, BACK_STOP_PLE)) TRY(feed_forward(s, layer, w, e));
    if (back_below(s, layer, BACK_STOP_FFN)) back_attention(s, layer, w);
out:
    if (w) weights_give(&s->m->weights, layer);
    return st;
}

status back_decoder(tune_step *s, err *e)
{
    const gemma_config *c = back_config(s);
    dev *d = s->dev;
    status st = OK;
    if (s->lowest == c->layer_count) return OK;
    if (c->ple) TRY(back_ple_prepare(s, e));
    if (s->b.dple) d->op->scale(d, 0, NULL, (int64_t)c->layer_count * s->o.rows_max, c->ple, s->b.dple);
    for (int kind = 0; kind < 2; kind++) {
        d->op->scale(d, 0, NULL, s->all.T, s->kv_width[kind], s->b.dk[kind]);
        d->op->scale(d, 0, NULL, s->all.T, s->kv_width[kind], s->b.dv[kind]);
    }
    for (int32_t l = c->layer_count - 1; l >= s->lowest; l--) TRY(one_layer(s, l, e));
    back_ple_finish(s);
out:
    return st;
}
