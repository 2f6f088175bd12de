/* From the last residual to last states and logits (architecture section 2.10), for the rows that want them. */
#include "model/gemma_int.h"

void head_run(gemma_ctx *x, float *logits, float *hidden)
{
    const gemma_config *c = gemma_int_config(x);
    dev *d = x->dev;
    int64_t H = c->hidden;
    d->op->gather(d, x->b.x, H, x->rows.want, x->rows.wanted, H, x->b.h, H);
    for (int32_t i = 0; i < x->rows.wanted; i++) x->rows.adapter[i] = x->rows.adapter[x->rows.want[i]];
    x->rows.T = x->rows.wanted;
    d->op->rms_norm(d, x->b.h, H, x->m->weights.out_norm, c->eps, x->rows.T, H, x->b.h, H);
    gemma_int_tap(x, -1, "final_norm", x->b.h, H);
    if (x->rows.hidden) d->op->gather(d, x->b.h, H, x->rows.hidden_at, x->rows.hidden, H, hidden, H);
    if (x->rows.logits == 0) return;
    if (x->rows.logits < x->rows.wanted) {
        d->op->gather(d, x->b.h, H, x->rows.logits_at, x->rows.logits, H, x->b.h, H);
        for (int32_t i = 0; i < x->rows.logits; i++) x->rows.adapter[i] = x->rows.adapter[x->rows.logits_at[i]];
        x->rows.T = x->rows.logits;
    }
    dev_product p = decoder_product(x, -1, GEMMA_HEAD, &x->m->weights.head, x->b.h, logits);
    d->op->mul(d, &p, 1);
    if (c->softcap > 0) d->op->softcap(d, c->softcap, x->rows.T, c->vocab, logits);
    gemma_int_tap(x, -1, "logits", logits, c->vocab);
}
