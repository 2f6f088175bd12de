/* Per-layer embeddings of E2B and E4B (architecture section 2.3 and the end of 2.4). */
#include "model/gemma_int.h"

#include <math.h>

#include "num/half.h"

/* ple[t][l] = (identity part + normed context part) / sqrt(2); soft tokens use the row of <pad>. */
void ple_prepare(gemma_ctx *x)
{
    const gemma_config *c = gemma_int_config(x);
    const weights *w = &x->m->weights;
    dev *d = x->dev;
    int64_t T = x->rows.T, wide = (int64_t)c->ple * c->layer_count;
    float scale = half_bf16_to_f32(half_f32_to_bf16(sqrtf((float)c->ple)));
    dev_mat table = weight_mat(&w->ple_embed);
    d->op->embed(d, &table, x->rows.ids, T, scale * table.scale, x->b.ple, wide);
    float *context = x->b.gate;
    dev_product p = decoder_product(x, -1, GEMMA_PLE_MODEL_PROJ, &w->ple_model_proj, x->b.x, context);
    p.factor = 1.0f / sqrtf((float)c->hidden);
    d->op->mul(d, &p, 1);
    d->op->norm_add(d, context, w->ple_proj_norm, c->eps, x->b.ple, (float)M_SQRT1_2, T * c->layer_count, c->ple, x->b.ple);
    gemma_int_tap(x, -1, "ple", x->b.ple, wide);
}

void ple_run(gemma_ctx *x, int32_t layer, const layer_weights *w)
{
    const gemma_config *c = gemma_int_config(x);
    dev *d = x->dev;
    int64_t T = x->rows.T, P = c->ple;
    dev_product p = decoder_product(x, layer, GEMMA_PLE_GATE, &w->ple_gate, x->b.x, x->b.gate);
    d->op->mul(d, &p, 1);
    d->op->gelu_mul(d, x->b.gate, P, x->b.ple + (int64_t)layer * P, P * c->layer_count, T, P, x->b.gate, P);
    p = decoder_product(x, layer, GEMMA_PLE_PROJ, &w->ple_proj, x->b.gate, x->b.out);
    d->op->mul(d, &p, 1);
    gemma_int_tap_normed(x, layer, "ple_out", x->b.out, w->ple_norm);
    d->op->norm_add(d, x->b.out, w->ple_norm, c->eps, x->b.x, w->layer_scalar, T, c->hidden, x->b.x);
}
