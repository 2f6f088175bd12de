/* Dense gated MLP (architecture section 2.8): out = Wd (gelu_tanh(Wg in) * (Wu in)). */
#include "model/gemma_int.h"

void mlp_run(gemma_ctx *x, int32_t layer, const layer_weights *w, const float *in, float *out)
{
    int64_t F = w->gate.rows;
    dev_product p[2] = { decoder_product(x, layer, GEMMA_GATE, &w->gate, in, x->b.gate), decoder_product(x, layer, GEMMA_UP, &w->up, in, x->b.up) };
    x->dev->op->mul(x->dev, p, 2);
    x->dev->op->gelu_mul(x->dev, x->b.gate, F, x->b.up, F, x->rows.T, F, x->b.gate, F);
    p[0] = decoder_product(x, layer, GEMMA_DOWN, &w->down, x->b.gate, out);
    x->dev->op->mul(x->dev, p, 1);
}
