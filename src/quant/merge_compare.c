/* What merging does to answers: predictions of the merged model against those of the adapter at run time, token by token of one text. */
#include <math.h>

#include "base/bits.h"
#include "base/rng.h"
#include "quant/merge_int.h"
#include "text/tok.h"

enum { ROWS = 16, PARTS = 2 /* with the adapter, without */, ADAPTER = 1, RANDOM_TOKENS = 64 };

/* A little of everything that models are asked for. */
static const char built_in[] =
    "The ship left the harbour at dawn, and by noon the wind had turned. \"How far is it?\" asked the girl. Her father looked at the map: 12 miles "
    "to the island, then 30 more along the coast, 42 in all. Der Wind kommt aus Westen, sagte er. They wrote it down:\n\n| leg | miles |\n|---|---|\n"
    "| island | 12 |\n| coast | 30 |\n\nfor leg in legs:\n    total += leg[\"miles\"]\n";

typedef struct compare {
    const gemma *m;
    gemma_ctx *base, *merged;
    int32_t seq[PARTS], merged_seq;
    const int32_t *ids;
    int32_t count, V;
    float *want, *got;           /* [PARTS * ROWS, V], [ROWS, V] */
} compare;

/* ---- tokens --------------------------------------------------------------------------------------- */

static status read_tok(tok **out, const gemma *m, err *e)
{
    status st = OK;
    json_t *j = NULL;
    *out = NULL;
    if (m->gguf) return gguf_find(m->gguf, "tokenizer.ggml.tokens") ? tok_from_gguf(out, m->gguf, e) : OK;
    TRY(gemma_tokenizer_json(m, &j, e));
    if (j) TRY(tok_from_json(out, j, e));
out:
    json_decref(j);
    return st;
}

/* A model without a vocabulary is compared on tokens from a fixed seed. */
static status random_ids(const gemma *m, int32_t **ids, int32_t *count, err *e)
{
    int32_t *list = mem_array(RANDOM_TOKENS, sizeof *list, MEM_TEXT);
    if (!list) return err_set(e, E_NOMEM, "could not compare the models\nout of memory");
    for (int32_t i = 0; i < RANDOM_TOKENS; i++) list[i] = (int32_t)(rng_uniform(1, (uint64_t)i) * m->config.vocab);
    *ids = list;
    *count = MIN(RANDOM_TOKENS, m->config.context);
    return OK;
}

status merge_tokens(const gemma *m, const char *text, int32_t **out, int32_t *count, err *e)
{
    status st = OK;
    tok *t = NULL;
    tok_ids ids = { 0 };
    TRY(read_tok(&t, m, e));
    if (!t) {
        if (text) FAIL(e, E_UNSUPPORTED, "cannot compare the models on a text\nthis one has no tokenizer");
        TRY(random_ids(m, out, count, e));
        goto out;
    }
    if (tok_specials(t)->bos >= 0) TRY(tok_ids_add(&ids, tok_specials(t)->bos, e));
    TRY(tok_encode(t, str_from(text ? text : built_in), false, &ids, e));
    if (ids.len < 1) FAIL(e, E_ARG, "cannot compare the models\nthe text is empty");
    *count = (int32_t)MIN(ids.len, (size_t)MIN(MERGE_TOKENS_MAX, m->config.context));
    *out = ids.data;
    ids = (tok_ids){ 0 };
out:
    tok_ids_done(&ids);
    tok_free(t);
    return st;
}

/* ---- two models side by side ---------------------------------------------------------------------- */

static status new_ctx(gemma_ctx **out, const gemma *m, const merge_opts *o, int parts, int32_t rank, err *e)
{
    gemma_ctx_opts x;
    gemma_ctx_defaults(&x);
    x.ctx = MIN(MERGE_TOKENS_MAX, m->config.context);
    x.seq_max = parts;
    x.row_max = x.logit_rows_max = parts * ROWS;
    x.rank_max = rank;
    x.threads = o->threads;
    x.isa = o->isa;
    x.exact = o->exact;
    return gemma_ctx_new(out, m, &x, NULL, e);
}

static status start(compare *c, const gemma *merged, gemma_adapter **a, const merge_opts *o, err *e)
{
    status st = OK;
    TRY(new_ctx(&c->base, c->m, o, PARTS, gemma_adapter_rank(*a), e));
    TRY(new_ctx(&c->merged, merged, o, 1, 0, e));
    TRY(gemma_adapter_attach(c->base, ADAPTER, *a, e));
    *a = NULL;                   /* the context's now */
    for (int p = 0; p < PARTS; p++) TRY(gemma_seq_new(c->base, &c->seq[p], e));
    TRY(gemma_seq_new(c->merged, &c->merged_seq, e));
    c->want = mem_array((size_t)c->V * PARTS * ROWS, sizeof *c->want, MEM_ACTIVATIONS);
    c->got = mem_array((size_t)c->V * ROWS, sizeof *c->got, MEM_ACTIVATIONS);
    if (!c->want || !c->got) FAIL(e, E_NOMEM, "could not compare the models\nout of memory");
out:
    return st;
}

static double log_sum(const float *z, int32_t V)
{
    double top = (double)z[0], sum = 0;
    for (int32_t i = 1; i < V; i++) top = MAX(top, (double)z[i]);
    for (int32_t i = 0; i < V; i++) sum += exp((double)z[i] - top);
    return top + log(sum);
}

/* Of the distribution of q from that of p, both given as logits. */
static double divergence(const float *p, const float *q, int32_t V)
{
    double zp = log_sum(p, V), zq = log_sum(q, V), sum = 0;
    for (int32_t i = 0; i < V; i++) {
        double lp = (double)p[i] - zp;
        sum += exp(lp) * (lp - ((double)q[i] - zq));
    }
    return MAX(sum, 0);
}

static void set_rows(const compare *c, gemma_row *rows, int32_t at, int32_t n, int32_t seq, int32_t adapter)
{
    for (int32_t i = 0; i < n; i++) rows[i] = (gemma_row){ .seq = seq, .pos = at + i, .token = c->ids[at + i], .adapter = adapter, .want_logits = true };
}

static status step(compare *c, int32_t at, int32_t n, merge_report *r, err *e)
{
    status st = OK;
    gemma_row rows[PARTS * ROWS], own[ROWS];
    set_rows(c, rows, at, n, c->seq[0], ADAPTER);
    set_rows(c, rows + n, at, n, c->seq[1], 0);
    set_rows(c, own, at, n, c->merged_seq, 0);
    TRY(gemma_step(c->base, rows, PARTS * n, c->want, e));
    TRY(gemma_step(c->merged, own, n, c->got, e));
    for (int32_t i = 0; i < n; i++) {
        const float *want = c->want + (int64_t)i * c->V;
        r->kl += divergence(want, c->got + (int64_t)i * c->V, c->V);
        r->kl_without += divergence(want, c->want + (int64_t)(n + i) * c->V, c->V);
    }
out:
    return st;
}

status merge_compare(const gemma *m, gemma_adapter *a, const gemma *merged, const int32_t *ids, int32_t count, const merge_opts *o, merge_report *r, err *e)
{
    status st = OK;
    compare c = { .m = m, .V = m->config.vocab, .ids = ids, .count = count };
    TRY(start(&c, merged, &a, o, e));
    for (int32_t at = 0; at < c.count; at += ROWS) {
        if (o->progress) TRY(o->progress(o->user, NULL, (double)at / c.count, e));
        TRY(step(&c, at, MIN(ROWS, c.count - at), r, e));
    }
    r->tokens = c.count;
    r->kl /= c.count;
    r->kl_without /= c.count;
out:
    gemma_ctx_free(c.base);
    gemma_ctx_free(c.merged);
    gemma_adapter_free(a);
    mem_free(c.want);
    mem_free(c.got);
    return st;
}
