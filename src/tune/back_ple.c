/* Per-layer embeddings (model/ple.c), again and backward. */
#include "tune/step_int.h"

#include <math.h>

#include "num/half.h"

/* The table's row and the context's projection, of all rows and layers. */
status back_ple_prepare(tune_step *s, err *e)
{
    const gemma_config *c = back_config(s);
    const weights *w = &s->m->weights;
    dev *d = s->dev;
    status st = OK;
    int64_t T = s->all.T, wide = (int64_t)c->ple * c->layer_count;
    float scale = half_bf16_to_f32(half_f32_to_bf16(sqrtf((float)c->ple)));
    dev_mat table = weight_mat(&w->ple_embed);
    for (int64_t t = 0; t < T; t++) s->ids[t] = s->rows[t].token;
    d->op->embed(d, &table, s->ids, T, scale * table.scale, s->b.ple, wide);
    TRY(gemma_ctx_layer_input(s->ctx, 0, s->b.x, e));
    dev_product p = back_product(s, -1, GEMMA_PLE_MODEL_PROJ, -1, &w->ple_model_proj, s->b.x, T, s->b.context);
    p.factor = 1.0f / sqrtf((float)c->hidden);
    d->op->mul(d, &p, 1);
    d->op->norm_add(d, s->b.context, w->ple_proj_norm, c->eps, s->b.ple, (float)M_SQRT1_2, T * c->layer_count, c->ple, s->b.ple);
out:
    return st;
}

void back_ple_run(tune_step *s, int32_t layer, const layer_weights *w)
{
    const gemma_config *c = back_config(s);
    const back_rows *out = back_out(s, layer);
    back_bufs *b = &s->b;
    dev *d = s->dev;
    int64_t P = c->ple;
    d->op->gather(d, b->ple + layer * P, P * c->layer_count, out == &s->all ? s->all_rows : s->want, out->T, P, b->pe, P);
    dev_product p = back_product(s, layer, GEMMA_PLE_GATE, -1, &w->ple_gate, b->xf, out->T, b->pg);
    d->op->mul(d, &p, 1);
    d->op->gelu_mul(d, b->pg, P, b->pe, P, out->T, P, b->pa, P);
    p = back_product(s, layer, GEMMA_PLE_PROJ, -1, &w->ple_proj, b->pa, out->T, b->pp);
    d->op->mul(d, &p, 1);
}

void back_ple(tune_step *s, int32_t layer, const layer_weights *w)
{
    const gemma_config *c = back_config(s);
    const back_rows *out = back_out(s, layer);
    back_bufs *b = &s->b;
    dev *d = s->dev;
    int64_t P = c->ple;
    d->op->norm_back(d, b->pp, w->ple_norm, c->eps, b->dx, out->T, c->hidden, false, b->t1);
    back_linear(s, layer, GEMMA_PLE_PROJ, -1, &w->ple_proj, b->pa, b->t1, out->T, false, b->dpa);
    d->op->gelu_mul_back(d, b->pg, b->pe, b->dpa, out->T, P, b->pg, b->pe);
    if (b->dple) d->op->scatter_add(d, b->pe, out == &s->all ? s->all_rows : s->want, NULL, out->T, P, b->dple + (int64_t)layer * s->o.rows_max * P);
    back_linear(s, layer, GEMMA_PLE_GATE, -1, &w->ple_gate, b->xf, b->pg, out->T, true, back_below(s, layer, BACK_STOP_PLE) ? b->dx : NULL);
}

/* The projection of the context, from what all layers have left in dple; the last of them was layer 0, so b.x is its input. */
void back_ple_finish(tune_step *s)
{
    const gemma_config *c = back_config(s);
    const weights *w = &s->m->weights;
    back_bufs *b = &s->b;
    dev *d = s->dev;
    int64_t T = s->all.T, P = c->ple, wide = P * c->layer_count;
    if (!b->dple) return;
    for (int32_t l = 0; l < c->layer_count; l++) d->op->gather(d, b->dple + (int64_t)l * s->o.rows_max * P, P, s->all_rows, T, P, b->ple + l * P, wide);
    d->op->norm_back(d, b->context, w->ple_proj_norm, c->eps, b->ple, T * c->layer_count, P, false, b->context);
    d->op->scale(d, (float)M_SQRT1_2 / sqrtf((float)c->hidden), NULL, T, wide, b->context);
    back_linear(s, -1, GEMMA_PLE_MODEL_PROJ, -1, &w->ple_model_proj, b->x, b->context, T, false, NULL);
}
