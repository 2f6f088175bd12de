/* The dense gated MLP (model/mlp.c), again and backward. */
#include "tune/step_int.h"

void back_mlp_run(tune_step *s, int32_t layer, const layer_weights *w)
{
    back_bufs *b = &s->b;
    dev *d = s->dev;
    int64_t F = w->gate.rows, T = back_out(s, layer)->T;
    dev_product p[2] = { back_product(s, layer, GEMMA_GATE, -1, &w->gate, b->h2, T, b->gate), back_product(s, layer, GEMMA_UP, -1, &w->up, b->h2, T, b->up) };
    d->op->mul(d, p, 2);
    d->op->gelu_mul(d, b->gate, F, b->up, F, T, F, b->act, F);
    p[0] = back_product(s, layer, GEMMA_DOWN, -1, &w->down, b->act, T, b->down);
    d->op->mul(d, p, 1);
}

void back_mlp(tune_step *s, int32_t layer, const layer_weights *w, const float *dy)
{
    back_bufs *b = &s->b;
    int64_t T = back_out(s, layer)->T;
    float *dh = back_below(s, layer, BACK_STOP_FFN) ? b->dh : NULL;
    back_linear(s, layer, GEMMA_DOWN, -1, &w->down, b->act, dy, T, false, b->wide);
    s->dev->op->gelu_mul_back(s->dev, b->gate, b->up, b->wide, T, w->gate.rows, b->gate, b->up);
    back_linear(s, layer, GEMMA_GATE, -1, &w->gate, b->h2, b->gate, T, false, dh);
    back_linear(s, layer, GEMMA_UP, -1, &w->up, b->h2, b->up, T, true, dh);
}
