/* The expert branch (model/moe.c), again and backward: one expert after the other, its rows collected.
 *
 * A row's experts are added in ascending order, forward and backward, whoever computes them. */
#include "tune/step_int.h"

#include <math.h>
#include <string.h>

/* Places in order of expert, and in it of row. */
static void sort_by_expert(tune_step *s, int32_t layer, int32_t T)
{
    const gemma_config *c = back_config(s);
    back_bufs *b = &s->b;
    int32_t k = c->expert_used, E = c->expert_count;
    memset(b->first, 0, (size_t)(E + 1) * sizeof *b->first);
    for (int32_t i = 0; i < T * k; i++) b->first[b->ids[i] + 1]++;
    for (int32_t i = 0; i < E; i++) {
        s->expert_rows[(int64_t)layer * E + i] += b->first[i + 1];
        b->first[i + 1] += b->first[i];
    }
    for (int32_t i = 0; i < T * k; i++) {
        int32_t place = b->first[b->ids[i]]++;
        b->pair[place] = i;
        b->row[place] = i / k;
        b->place_weight[place] = b->weight[i];
    }
    memmove(b->first + 1, b->first, (size_t)E * sizeof *b->first);
    b->first[0] = 0;
}

static void route(tune_step *s, int32_t layer, const layer_weights *w, int32_t T)
{
    const gemma_config *c = back_config(s);
    back_bufs *b = &s->b;
    dev *d = s->dev;
    int64_t H = c->hidden;
    d->op->rms_norm(d, b->xm, H, w->router_scale, c->eps, T, H, b->zr, H);
    dev_product p = back_product(s, layer, GEMMA_ROUTER, -1, &w->router, b->zr, T, b->logits);
    p.factor = 1.0f / sqrtf((float)c->hidden);
    p.exact = true;
    d->op->mul(d, &p, 1);
    d->op->route(d, b->logits, T, c->expert_count, c->expert_used, w->expert_scale, b->ids, b->weight);
    sort_by_expert(s, layer, T);
}

/* Expert i over its n rows from a place on; adds to b.bsum. */
static status expert_run(tune_step *s, int32_t layer, int32_t i, int32_t at, int32_t n, err *e)
{
    const gemma_config *c = back_config(s);
    back_bufs *b = &s->b;
    dev *d = s->dev;
    status st = OK;
    expert_weights m;
    int64_t H = c->hidden, Fe = c->expert_ff;
    float *gate = b->slot_gate + at * Fe, *up = b->slot_up + at * Fe;
    TRY(weights_take_expert(&s->m->weights, layer, i, &m, e));
    d->op->gather(d, b->h3, H, b->row + at, n, H, b->xe, H);
    dev_product p[2] = { back_product(s, layer, GEMMA_EXPERT_GATE, i, &m.gate, b->xe, n, gate), back_product(s, layer, GEMMA_EXPERT_UP, i, &m.up, b->xe, n, up) };
    d->op->mul(d, p, 2);
    d->op->gelu_mul(d, gate, Fe, up, Fe, n, Fe, b->act_e, Fe);
    p[0] = back_product(s, layer, GEMMA_EXPERT_DOWN, i, &m.down, b->act_e, n, b->ye);
    d->op->mul(d, p, 1);
    d->op->scatter_add(d, b->ye, b->row + at, b->place_weight + at, n, H, b->bsum);
    weights_give_expert(&s->m->weights, layer, i);
out:
    return st;
}

status back_moe_run(tune_step *s, int32_t layer, const layer_weights *w, err *e)
{
    const gemma_config *c = back_config(s);
    back_bufs *b = &s->b;
    dev *d = s->dev;
    status st = OK;
    int64_t H = c->hidden;
    int32_t T = back_out(s, layer)->T;
    d->op->rms_norm(d, b->down, H, w->post_ffn_norm_1, c->eps, T, H, b->dense, H);
    route(s, layer, w, T);
    d->op->rms_norm(d, b->xm, H, w->ffn_norm_2, c->eps, T, H, b->h3, H);
    d->op->scale(d, 0, NULL, T, H, b->bsum);
    for (int32_t i = 0; i < c->expert_count; i++)
        if (b->first[i + 1] > b->first[i]) TRY(expert_run(s, layer, i, b->first[i], b->first[i + 1] - b->first[i], e));
    d->op->norm_add(d, b->bsum, w->post_ffn_norm_2, c->eps, b->dense, 1, T, H, b->sum);
out:
    return st;
}

/* b.t1: gradient of the weighted sum; adds to b.dh the gradient of the experts' input.
 *
 * The gradient of the weight is that of the unweighted output times the output, which is the same as the gradient of the activation
 * times the activation: so the output need not be made again.  A and B of down see weight * activation for the same reason. */
static status expert_back(tune_step *s, int32_t layer, int32_t i, int32_t at, int32_t n, err *e)
{
    const gemma_config *c = back_config(s);
    back_bufs *b = &s->b;
    dev *d = s->dev;
    status st = OK;
    expert_weights m;
    int64_t H = c->hidden, Fe = c->expert_ff;
    float *gate = b->slot_gate + at * Fe, *up = b->slot_up + at * Fe;
    const float *share = b->place_weight + at;
    bool below = back_below(s, layer, BACK_STOP_FFN);
    TRY(weights_take_expert(&s->m->weights, layer, i, &m, e));
    d->op->gather(d, b->t1, H, b->row + at, n, H, b->be, H);
    d->op->gather(d, b->h3, H, b->row + at, n, H, b->xe, H);
    d->op->gelu_mul(d, gate, Fe, up, Fe, n, Fe, b->act_e, Fe);
    d->op->copy(d, b->act_w, b->act_e, (size_t)(n * Fe) * sizeof *b->act_w);
    d->op->scale(d, 0, share, n, Fe, b->act_w);
    back_linear(s, layer, GEMMA_EXPERT_DOWN, i, &m.down, b->act_w, b->be, n, false, b->q_e);
    d->op->dot(d, b->q_e, b->act_e, n, Fe, b->place_dot + at);
    d->op->scale(d, 0, share, n, Fe, b->q_e);
    d->op->gelu_mul_back(d, gate, up, b->q_e, n, Fe, gate, up);
    back_linear(s, layer, GEMMA_EXPERT_GATE, i, &m.gate, b->xe, gate, n, false, below ? b->ye : NULL);
    back_linear(s, layer, GEMMA_EXPERT_UP, i, &m.up, b->xe, up, n, true, below ? b->ye : NULL);
    if (below) d->op->scatter_add(d, b->ye, b->row + at, NULL, n, H, b->dh);
    weights_give_expert(&s->m->weights, layer, i);
out:
    return st;
}

/* Frozen or not, the router's scores depend on the residual, and that is where their gradient goes. */
static void router_back(tune_step *s, int32_t layer, const layer_weights *w, int32_t T)
{
    const gemma_config *c = back_config(s);
    back_bufs *b = &s->b;
    dev *d = s->dev;
    int64_t H = c->hidden;
    bool below = back_below(s, layer, BACK_STOP_FFN);
    for (int32_t i = 0; i < T * c->expert_used; i++) b->dweight[b->pair[i]] = b->place_dot[i];
    d->op->route_back(d, b->logits, b->ids, w->expert_scale, b->dweight, T, c->expert_count, c->expert_used, b->dlogits);
    d->op->scale(d, 1.0f / sqrtf((float)c->hidden), NULL, T, c->expert_count, b->dlogits);
    back_linear(s, layer, GEMMA_ROUTER, -1, &w->router, b->zr, b->dlogits, T, false, below ? b->t1 : NULL);
    if (below) d->op->norm_back(d, b->xm, w->router_scale, c->eps, b->t1, T, H, true, b->dx);
}

status back_moe(tune_step *s, int32_t layer, const layer_weights *w, const float *dy, err *e)
{
    const gemma_config *c = back_config(s);
    back_bufs *b = &s->b;
    dev *d = s->dev;
    status st = OK;
    int64_t H = c->hidden;
    int32_t T = back_out(s, layer)->T;
    d->op->norm_back(d, b->bsum, w->post_ffn_norm_2, c->eps, dy, T, H, false, b->t1);
    d->op->scale(d, 0, NULL, T, H, b->dh);
    for (int32_t i = 0; i < c->expert_count; i++)
        if (b->first[i + 1] > b->first[i]) TRY(expert_back(s, layer, i, b->first[i], b->first[i + 1] - b->first[i], e));
    if (back_below(s, layer, BACK_STOP_FFN)) d->op->norm_back(d, b->xm, w->ffn_norm_2, c->eps, b->dh, T, H, true, b->dx);
    router_back(s, layer, w, T);
out:
    return st;
}
