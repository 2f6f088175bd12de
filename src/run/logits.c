/* facet_logits: every position's logits, then the likeliest tokens; no engine, no thread of its own. */
#include "base/bits.h"
#include "run/engine_int.h"

enum { ROWS_DEFAULT = 64 };   /* a row of logits is 1 MB with the real vocabulary */

static status row(const facet_logits_opts *o, int32_t pos, const float *logits, int32_t vocab, err *e)
{
    return o->row ? o->row(o->row_user, pos, logits, vocab, e) : OK;
}

/* ids[0..count) in steps of at most opts->row_max; the last row of logits is left at *last. */
static status prompt(gemma_ctx *x, const gemma_ctx_opts *opts, const facet_logits_opts *o, int32_t seq, const int32_t *ids, int32_t count,
                     gemma_row *rows, float *logits, int32_t vocab, const float **last, err *e)
{
    status st = OK;
    for (int32_t at = 0; at < count; at += opts->row_max) {
        int32_t T = MIN(opts->row_max, count - at);
        for (int32_t i = 0; i < T; i++) rows[i] = (gemma_row){ .seq = seq, .pos = at + i, .token = ids[at + i], .adapter = o->engine.adapter_count > 0, .want_logits = true };
        TRY(gemma_step(x, rows, T, logits, e));
        for (int32_t i = 0; i < T; i++) TRY(row(o, at + i, logits + (size_t)i * (size_t)vocab, vocab, e));
        *last = logits + (size_t)(T - 1) * (size_t)vocab;
    }
out:
    return st;
}

static status check_ids(const facet_model *m, const int32_t *ids, size_t count, const facet_logits_opts *o, int32_t ctx, err *e)
{
    status st = OK;
    int32_t vocab = m->gemma->config.vocab;
    if (count == 0) FAIL(e, E_ARG, "cannot compute logits\nthere are no tokens");
    if (o->greedy < 0) FAIL(e, E_ARG, "cannot go on with %d tokens", o->greedy);
    if (count > (size_t)ctx || (size_t)o->greedy > (size_t)ctx - count)
        FAIL(e, E_CONTEXT, "cannot fit the tokens into the context\n%zu and %d more are asked for, it holds %d\nUse --ctx with a larger number.", count, o->greedy, ctx);
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= vocab) FAIL(e, E_ARG, "cannot use token %d\nthe model knows %d tokens", ids[i], vocab);
out:
    return st;
}

/* All adapters of the options, as number 1. */
static status attach(const facet_model *m, gemma_ctx *x, const facet_engine_opts *o, err *e)
{
    status st = OK;
    lora_part *parts = NULL;
    gemma_adapter *a = NULL;
    if (!o->adapter_count) return OK;
    TRY(engine_adapter_parts(o->adapters, o->adapter_count, &parts, e));
    TRY(lora_load(&a, m->gemma, parts, o->adapter_count, e));
    TRY(gemma_adapter_attach(x, 1, a, e));
    a = NULL;
out:
    gemma_adapter_free(a);
    mem_free(parts);
    return st;
}

facet_status facet_logits(const facet_model *m, const int32_t *ids, size_t count, const facet_logits_opts *o, facet_error *e)
{
    status st = OK;
    gemma_ctx *x = NULL;
    gemma_ctx_opts opts;
    gemma_row *rows = NULL;
    float *logits = NULL;
    const float *last = NULL;
    int32_t seq, vocab = m->gemma->config.vocab;
    TRY(engine_translate(m, &o->engine, &opts, e));
    TRY(check_ids(m, ids, count, o, opts.ctx, e));
    opts.row_max = MIN(MIN(o->engine.chunk ? o->engine.chunk : ROWS_DEFAULT, opts.row_max), (int32_t)count);
    opts.logit_rows_max = opts.row_max;
    opts.pages = opts.states = 0;
    rows = mem_array((size_t)opts.row_max, sizeof *rows, MEM_ACTIVATIONS);
    logits = mem_array((size_t)opts.row_max, (size_t)vocab * sizeof *logits, MEM_ACTIVATIONS);
    if (!rows || !logits) FAIL(e, E_NOMEM, "could not compute logits\nout of memory\nUse --chunk with a smaller number.");
    TRY(gemma_ctx_new(&x, m->gemma, &opts, NULL, e));
    TRY(attach(m, x, &o->engine, e));
    gemma_ctx_tap(x, o->tap, o->tap_user);
    TRY(gemma_seq_new(x, &seq, e));
    TRY(prompt(x, &opts, o, seq, ids, (int32_t)count, rows, logits, vocab, &last, e));
    for (int32_t i = 0; i < o->greedy; i++) {
        int32_t id = sample_likeliest(last, vocab);
        if (id < 0) FAIL(e, E_INTERNAL, "could not choose a token\nno token has a finite score");
        o->greedy_out[i] = id;
        rows[0] = (gemma_row){ .seq = seq, .pos = (int32_t)count + i, .token = id, .adapter = o->engine.adapter_count > 0, .want_logits = true };
        if (i + 1 < o->greedy) TRY(gemma_step(x, rows, 1, logits, e));
        last = logits;
    }
out:
    gemma_ctx_free(x);
    mem_free(rows);
    mem_free(logits);
    return st;
}
