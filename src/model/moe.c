/* The expert branch beside the dense MLP (architecture section 2.9).
 *
 * Rows are sorted by expert, so that each expert's weights are read once for all rows that chose it. */
#include "model/gemma_int.h"

#include <math.h>
#include <string.h>

/* slot[t*k + j]: the place of (row t, its j-th expert) in expert order; first[e]: the first place of expert e. */
static void sort_by_expert(const gemma_bufs *b, int32_t T, int32_t E, int32_t k)
{
    memset(b->first, 0, (size_t)(E + 1) * sizeof *b->first);
    for (int32_t i = 0; i < T * k; i++) b->first[b->ids[i] + 1]++;
    for (int32_t e = 0; e < E; e++) b->first[e + 1] += b->first[e];
    for (int32_t i = 0; i < T * k; i++) {
        int32_t place = b->first[b->ids[i]]++;
        b->slot[i] = place;
        b->slot_row[place] = i / k;
    }
    for (int32_t e = E; e > 0; e--) b->first[e] = b->first[e - 1];
    b->first[0] = 0;
}

static void expert_adapter(const gemma_ctx *x, int32_t layer, gemma_linear which, int32_t expert, dev_product *p)
{
    if (!x->rows.any_adapter) return;
    p->lora = gemma_adapter_find(x, layer, which, expert);
    p->adapter = x->b.slot_adapter + x->b.first[expert];
}

/* Products of all experts that have rows: gate and up, or down. */
static status expert_products(gemma_ctx *x, int32_t layer, const float *in, bool down, int32_t *count, err *e)
{
    const gemma_config *c = gemma_int_config(x);
    const gemma_bufs *b = &x->b;
    status st = OK;
    int64_t H = c->hidden, Fe = c->expert_ff;
    *count = 0;
    for (int32_t i = 0; i < c->expert_count; i++) {
        int32_t at = b->first[i], n = b->first[i + 1] - at;
        if (n == 0) continue;
        expert_weights m;
        TRY(weights_take_expert(&x->m->weights, layer, i, &m, e));
        dev_product *p = &x->products[*count];
        if (down) {
            p[0] = (dev_product){ .w = weight_mat(&m.down), .x = b->slot_gate + at * Fe, .x_stride = Fe, .T = n, .y = b->slot_out + at * H, .y_stride = H, .factor = 1 };
            expert_adapter(x, layer, GEMMA_EXPERT_DOWN, i, p);
            *count += 1;
            continue;
        }
        /* A single row is everybody's input: without a list it is packed once. */
        const int32_t *rows = x->rows.T > 1 ? b->slot_row + at : NULL;
        p[0] = (dev_product){ .w = weight_mat(&m.gate), .x = in, .x_stride = H, .rows = rows, .T = n, .y = b->slot_gate + at * Fe, .y_stride = Fe, .factor = 1 };
        p[1] = (dev_product){ .w = weight_mat(&m.up), .x = in, .x_stride = H, .rows = rows, .T = n, .y = b->slot_up + at * Fe, .y_stride = Fe, .factor = 1 };
        expert_adapter(x, layer, GEMMA_EXPERT_GATE, i, &p[0]);
        expert_adapter(x, layer, GEMMA_EXPERT_UP, i, &p[1]);
        *count += 2;
    }
out:
    return st;
}

static void route(gemma_ctx *x, int32_t layer, const layer_weights *w)
{
    const gemma_config *c = gemma_int_config(x);
    dev *d = x->dev;
    int64_t H = c->hidden, T = x->rows.T;
    d->op->rms_norm(d, x->b.x, H, w->router_scale, c->eps, T, H, x->b.h, H);
    dev_product p = decoder_product(x, layer, GEMMA_ROUTER, &w->router, x->b.h, x->b.router);
    p.factor = 1.0f / sqrtf((float)c->hidden);
    p.exact = true;
    d->op->mul(d, &p, 1);
    gemma_int_tap(x, layer, "router", x->b.router, c->expert_count);
    d->op->route(d, x->b.router, T, c->expert_count, c->expert_used, w->expert_scale, x->b.ids, x->b.weight);
    sort_by_expert(&x->b, x->rows.T, c->expert_count, c->expert_used);
    if (x->rows.any_adapter)
        for (int32_t i = 0; i < x->rows.T * c->expert_used; i++) x->b.slot_adapter[i] = x->rows.adapter[x->b.slot_row[i]];
}

/* Reads the residual, and the dense branch's output in x->b.dense; leaves the sum of both normed branches in x->b.out. */
status moe_run(gemma_ctx *x, int32_t layer, const layer_weights *w, err *e)
{
    const gemma_config *c = gemma_int_config(x);
    status st = OK;
    dev *d = x->dev;
    int64_t H = c->hidden, T = x->rows.T, Fe = c->expert_ff, slots = T * c->expert_used;
    int32_t n = 0;
    d->op->rms_norm(d, x->b.dense, H, w->post_ffn_norm_1, c->eps, T, H, x->b.dense, H);
    gemma_int_tap(x, layer, "ffn_dense", x->b.dense, H);
    route(x, layer, w);
    d->op->rms_norm(d, x->b.x, H, w->ffn_norm_2, c->eps, T, H, x->b.h, H);
    TRY(expert_products(x, layer, x->b.h, false, &n, e));
    d->op->mul(d, x->products, n);
    d->op->gelu_mul(d, x->b.slot_gate, Fe, x->b.slot_up, Fe, slots, Fe, x->b.slot_gate, Fe);
    TRY(expert_products(x, layer, NULL, true, &n, e));
    d->op->mul(d, x->products, n);
    x->experts_read[layer] += (uint64_t)n;
    d->op->combine(d, x->b.slot_out, x->b.slot, x->b.weight, T, c->expert_used, H, x->b.out);
    gemma_int_tap_normed(x, layer, "ffn_experts", x->b.out, w->post_ffn_norm_2);
    d->op->norm_add(d, x->b.out, w->post_ffn_norm_2, c->eps, x->b.dense, 1, T, H, x->b.out);
    for (int32_t i = 0; i < c->expert_count; i++)
        if (x->b.first[i + 1] > x->b.first[i]) weights_give_expert(&x->m->weights, layer, i);
out:
    return st;
}
