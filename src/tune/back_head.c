/* The head and the loss (model/head.c): forward and backward in one, some rows at a time, so that logits of all rows never exist. */
#include "base/bits.h"
#include "tune/step_int.h"

/* From b.hidden, the last states of the rows with a label, to sums and, with factors, to b.dx: the gradient of the last layer's output. */
status back_head(tune_step *s, const float *factors, double *logp, tune_sums *sums, err *e)
{
    const gemma_config *c = back_config(s);
    const weight *head = &s->m->weights.head;
    back_bufs *b = &s->b;
    dev *d = s->dev;
    status st = OK;
    int64_t H = c->hidden, V = c->vocab;
    bool further = factors && s->lowest < c->layer_count;
    for (int32_t at = 0, n; at < s->kept.T; at += n) {
        n = MIN((int32_t)BACK_LOSS_ROWS, s->kept.T - at);
        dev_product p = back_product(s, -1, GEMMA_HEAD, -1, head, b->hidden + at * H, n, b->z);
        d->op->mul(d, &p, 1);
        if (c->softcap > 0) d->op->softcap(d, c->softcap, n, V, b->z);
        d->op->loss(d, b->z, s->labels + at, n, V, c->softcap, factors ? factors + at : NULL, s->losses);
        for (int32_t i = 0; i < n; i++) {
            sums->loss += s->losses[i].loss;
            sums->entropy += s->losses[i].entropy;
            sums->right += s->losses[i].right;
            sums->targets++;
            if (logp) logp[at + i] = -s->losses[i].loss;
        }
        if (factors) back_linear(s, -1, GEMMA_HEAD, -1, head, b->hidden + at * H, b->z, n, false, further ? b->dh + at * H : NULL);
    }
    if (!further) return OK;
    TRY(gemma_ctx_layer_input(s->ctx, c->layer_count, b->x, e));
    d->op->norm_back(d, b->x, s->m->weights.out_norm, c->eps, b->dh, s->kept.T, H, false, b->dx);
out:
    return st;
}
