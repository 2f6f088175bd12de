/* The forward pass, layer by layer (architecture section 2.4). */
#include "model/gemma_int.h"

#include <math.h>

#include "base/bits.h"
#include "num/half.h"

dev_product decoder_product(const gemma_ctx *x, int32_t layer, gemma_linear which, const weight *w, const float *in, float *out)
{
    dev_product p = { .w = weight_mat(w), .x = in, .x_stride = w->cols, .T = x->rows.T, .y = out, .y_stride = w->rows, .factor = 1 };
    if (x->rows.any_adapter) {
        p.lora = gemma_adapter_find(x, layer, which, -1);
        p.adapter = x->rows.adapter;
    }
    return p;
}

/* The root is rounded to bf16 whatever the file, as published models run (architecture section 2.2).  Soft tokens are
 * not scaled. */
static void embed(gemma_ctx *x, const gemma_row *rows)
{
    const gemma_config *c = gemma_int_config(x);
    float scale = half_bf16_to_f32(half_f32_to_bf16(sqrtf((float)c->hidden)));
    dev_mat w = weight_mat(&x->m->weights.embed);
    x->dev->op->embed(x->dev, &w, x->rows.ids, x->rows.T, scale * w.scale, x->b.x, c->hidden);
    for (int32_t t = 0; t < x->rows.T; t++)
        if (rows[t].embed) x->dev->op->upload(x->dev, x->b.x + (int64_t)t * c->hidden, rows[t].embed, (size_t)c->hidden * sizeof(float));
    gemma_int_tap(x, -1, "embed", x->b.x, c->hidden);
}

void decoder_leave(gemma_ctx *x)
{
    const gemma_config *c = gemma_int_config(x);
    gemma_rows *r = &x->rows;
    dev *d = x->dev;
    int64_t H = c->hidden, ple = (int64_t)c->ple * c->layer_count;
    if (r->wanted == r->T) return;
    d->op->gather(d, x->b.x, H, r->want, r->wanted, H, x->b.x, H);
    d->op->gather(d, x->b.h, H, r->want, r->wanted, H, x->b.h, H);
    if (ple) d->op->gather(d, x->b.ple, ple, r->want, r->wanted, ple, x->b.ple, ple);
    for (int32_t i = 0; i < r->wanted; i++) {
        int32_t from = r->want[i];
        size_t full = (size_t)x->rope_full.pairs * 2, sliding = (size_t)x->rope_sliding.pairs * 2;
        r->ids[i] = r->ids[from];
        r->adapter[i] = r->adapter[from];
        r->full[i] = r->full[from];
        r->sliding[i] = r->sliding[from];
        memmove(r->cs_full + (size_t)i * full, r->cs_full + (size_t)from * full, full * sizeof(float));
        memmove(r->cs_sliding + (size_t)i * sliding, r->cs_sliding + (size_t)from * sliding, sliding * sizeof(float));
        r->want[i] = i;
    }
    r->T = r->wanted;
}

/* u = the residual after attention, in x->b.x; adds the feed-forward part (architecture sections 2.8, 2.9). */
static status feed_forward(gemma_ctx *x, int32_t layer, const layer_weights *w, float scalar, err *e)
{
    const gemma_config *c = gemma_int_config(x);
    status st = OK;
    dev *d = x->dev;
    int64_t H = c->hidden, T = x->rows.T;
    d->op->rms_norm(d, x->b.x, H, w->ffn_norm, c->eps, T, H, x->b.h, H);
    gemma_int_tap(x, layer, "ffn_norm", x->b.h, H);
    if (weight_has(&w->router)) {
        mlp_run(x, layer, w, x->b.h, x->b.dense);
        TRY(moe_run(x, layer, w, e));
    } else {
        mlp_run(x, layer, w, x->b.h, x->b.out);
    }
    gemma_int_tap_normed(x, layer, "ffn_out", x->b.out, w->post_ffn_norm);
    d->op->norm_add(d, x->b.out, w->post_ffn_norm, c->eps, x->b.x, scalar, T, H, x->b.x);
out:
    return st;
}

static void keep_input(gemma_ctx *x, int32_t layer)
{
    if (!x->b.inputs) return;
    x->dev->op->store(x->dev, gemma_int_inputs_type(x), x->b.x, x->rows.T, gemma_int_config(x)->hidden, x->b.inputs + gemma_int_input_at(x, layer));
}

static status run_layer(gemma_ctx *x, int32_t layer, bool leave, err *e)
{
    const gemma_config *c = gemma_int_config(x);
    status st = OK;
    const layer_weights *w = NULL;
    dev *d = x->dev;
    int64_t H = c->hidden;
    TRY(weights_take(&x->m->weights, layer, &w, e));
    keep_input(x, layer);
    attention_run(x, layer, w, leave);
    if (x->rows.T > 0) {
        gemma_int_tap_normed(x, layer, "attn_out", x->b.out, w->post_attn_norm);
        d->op->norm_add(d, x->b.out, w->post_attn_norm, c->eps, x->b.x, 1, x->rows.T, H, x->b.x);
        gemma_int_tap(x, layer, "attn_residual", x->b.x, H);
        TRY(feed_forward(x, layer, w, c->ple ? 1.0f : w->layer_scalar, e));
        if (c->ple) ple_run(x, layer, w);
        gemma_int_tap(x, layer, "out", x->b.x, H);
    }
out:
    if (w) weights_give(&x->m->weights, layer);
    return st;
}

status decoder_run(gemma_ctx *x, const gemma_row *rows, float *logits, float *hidden, err *e)
{
    const gemma_config *c = gemma_int_config(x);
    status st = OK;
    embed(x, rows);
    if (c->ple) ple_prepare(x);
    for (int32_t l = 0; l < c->layer_count && x->rows.T > 0; l++) {
        if (atomic_exchange(&x->interrupt, false)) FAIL(e, E_CANCELLED, "stopped\nthe step was interrupted");
        TRY(run_layer(x, l, l == c->kv_layers - 1 && gemma_int_leaves(x), e));
    }
    keep_input(x, c->layer_count);
    if (x->rows.wanted > 0) head_run(x, logits, hidden);
    TRY(x->dev->op->sync(x->dev, e));
out:
    return st;
}
