#include "bench/bench_work.h"

#include "base/bits.h"

static void add_ops(bench_work *w, const weight *m, double ops) { *(dtype_of(m->type)->block > 1 ? &w->int8_ops : &w->float_ops) += ops; }

/* A matrix and T rows. */
static void product(bench_work *w, const weight *m, int64_t T)
{
    if (!weight_has(m) || T == 0) return;
    w->weight_bytes += (double)m->rows * (double)m->row_bytes;
    add_ops(w, m, 2.0 * (double)m->rows * (double)m->cols * (double)T);
}

/* Layers and rows of a step. */
typedef struct step {
    const gemma *m;
    dtype kv;
    const gemma_row *rows;
    int32_t T, wanted;
} step;

/* Positions that a row at pos sees. */
static int64_t seen(const gemma_config *c, int32_t layer, int64_t pos) { return c->layers[layer].full ? pos + 1 : MIN(pos + 1, (int64_t)c->window); }

/* all: every row is still there, else the wanted ones. */
static void attention(bench_work *w, const step *s, int32_t layer, bool all)
{
    const gemma_config *c = &s->m->config;
    const gemma_layer_config *g = &c->layers[layer];
    double token = (double)g->nkv * (double)dtype_row_bytes(s->kv, g->d) * (g->k_eq_v ? 1 : 2);
    int64_t last_seq = -1, low = 0;
    for (int32_t t = 0; t < s->T; t++) {
        const gemma_row *r = &s->rows[t];
        if (!all && !r->want_logits) continue;
        int64_t n = seen(c, layer, r->pos), first = r->pos + 1 - n;
        w->attention_ops += 4.0 * (double)g->nq * (double)g->d * (double)n;
        /* neighbouring rows of a sequence share what they see: only the new positions count */
        if (r->seq != last_seq) low = first;
        w->kv_bytes += token * (double)(r->pos + 1 - low);
        low = r->pos + 1;
        last_seq = r->seq;
    }
}

static void experts(bench_work *w, const gemma_config *c, const layer_weights *l, int64_t T)
{
    const weight *const all[] = { &l->gate_exps, &l->up_exps, &l->down_exps };
    product(w, &l->router, T);
    for (size_t i = 0; i < COUNT_OF(all); i++)
        if (weight_has(all[i])) add_ops(w, all[i], 2.0 * (double)all[i]->rows * (double)all[i]->cols * (double)(T * c->expert_used));
}

static void one_layer(bench_work *w, const step *s, int32_t i)
{
    const gemma_config *c = &s->m->config;
    const layer_weights *l = &s->m->weights.layers[i];
    bool all = i < c->kv_layers - 1;
    int64_t T = all ? s->T : s->wanted, kv_rows = i < c->kv_layers ? s->T : 0;
    const weight *const dense[] = { &l->q, &l->o, &l->gate, &l->up, &l->down, &l->ple_gate, &l->ple_proj };
    for (size_t k = 0; k < COUNT_OF(dense); k++) product(w, dense[k], T);
    product(w, &l->k, kv_rows);
    product(w, &l->v, kv_rows);
    attention(w, s, i, all);
    if (weight_has(&l->router)) experts(w, c, l, T);
}

/* A row that leaves needs the per-layer inputs of the layers that it passes whole. */
static void per_layer_inputs(bench_work *w, const step *s)
{
    const gemma_config *c = &s->m->config;
    const weight *table = &s->m->weights.ple_embed, *proj = &s->m->weights.ple_model_proj;
    double of_leaving = (double)MAX(c->kv_layers - 1, 0) / c->layer_count, leaving = s->T - s->wanted;
    if (!weight_has(proj)) return;
    double parts = of_leaving * leaving + s->wanted, widest = s->wanted ? 1 : of_leaving;
    w->weight_bytes += (double)table->row_bytes * parts + widest * (double)proj->rows * (double)proj->row_bytes;
    add_ops(w, proj, 2.0 * (double)proj->rows * (double)proj->cols * parts);
}

void bench_work_step(bench_work *w, const gemma *m, dtype kv, const gemma_row *rows, int32_t T)
{
    step s = { .m = m, .kv = kv, .rows = rows, .T = T };
    for (int32_t t = 0; t < T; t++) s.wanted += rows[t].want_logits;
    w->weight_bytes += (double)T * (double)m->weights.embed.row_bytes;
    per_layer_inputs(w, &s);
    for (int32_t i = 0; i < m->config.layer_count; i++) one_layer(w, &s, i);
    product(w, &m->weights.head, s.wanted);
}

void bench_work_experts(bench_work *w, const gemma *m, int32_t layer, double count)
{
    const layer_weights *l = &m->weights.layers[layer];
    const weight *const all[] = { &l->gate_exps, &l->up_exps, &l->down_exps };
    for (size_t i = 0; i < COUNT_OF(all); i++)
        if (weight_has(all[i])) w->weight_bytes += count * (double)all[i]->rows * (double)all[i]->row_bytes;
}
