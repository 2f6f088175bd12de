/* One step: the rows are checked, placed in the cache, run, and made to count. */
#include "base/bits.h"
#include "model/gemma_int.h"

static status check_row(const gemma_ctx *x, const gemma_row *rows, int32_t t, err *e)
{
    const gemma_row *r = &rows[t];
    const gemma_config *c = gemma_int_config(x);
    if (!r->embed && (r->token < 0 || r->token >= c->vocab))
        return err_set(e, E_ARG, "cannot run row %d\ntoken %d is not in the vocabulary of %d", t, r->token, c->vocab);
    if (r->adapter && !gemma_adapter_known(x, r->adapter)) return err_set(e, E_ARG, "cannot run row %d\nthere is no adapter %d", t, r->adapter);
    if (r->pos < 0 || r->pos >= x->o.ctx)
        return err_set(e, E_ARG, "context is full\nposition %d does not fit a context of %d tokens\nStart with a longer context (--ctx), or shorten the conversation.",
                       r->pos, x->o.ctx);
    if (r->block < 0) return err_set(e, E_ARG, "cannot run row %d\nimage block %d is negative", t, r->block);
    if (x->o.no_cache) return OK;
    if (!kv_seq_alive(&x->cache, r->seq)) return err_set(e, E_ARG, "cannot run row %d\nthere is no sequence %d", t, r->seq);
    if (r->doc) return err_set(e, E_ARG, "cannot run row %d\ndocuments can be packed only without a cache", t);
    return OK;
}

static bool starts_run(const gemma_row *rows, int32_t t)
{
    return t == 0 || rows[t].seq != rows[t - 1].seq || rows[t].doc != rows[t - 1].doc;
}

/* Without a cache every run of rows is a sequence of its own. */
static status place_uncached(gemma_ctx *x, const gemma_row *rows, int32_t T, err *e)
{
    gemma_rows *r = &x->rows;
    int32_t runs = 0, first = 0;
    for (int32_t t = 0; t < T; t++) {
        if (starts_run(rows, t)) {
            first = t;
            r->span_full[runs++] = (dev_span){ .skip = t };
        }
        if (rows[t].pos != t - first)
            return err_set(e, E_ARG, "cannot run row %d\nposition %d does not continue its sequence, which has %d tokens", t, rows[t].pos, t - first);
        r->full[t].span = runs - 1;
    }
    memcpy(r->span_sliding, r->span_full, (size_t)runs * sizeof *r->span_full);
    return OK;
}

static status place_cached(gemma_ctx *x, const gemma_row *rows, int32_t T, err *e)
{
    gemma_rows *r = &x->rows;
    for (int32_t s = 0; s < x->o.seq_max; s++) r->added[s] = 0;
    for (int32_t t = 0; t < T; t++) {
        int32_t s = rows[t].seq, length = x->cache.seqs[s].length + r->added[s];
        if (rows[t].pos != length)
            return err_set(e, E_ARG, "cannot run row %d\nposition %d does not continue sequence %d, which has %d tokens", t, rows[t].pos, s, length);
        r->full[t].span = s;
        r->added[s]++;
    }
    return OK;
}

/* The next row of the same sequence, or -1. */
static int32_t next_of(const gemma_row *rows, int32_t T, int32_t t)
{
    for (int32_t i = t + 1; i < T; i++)
        if (rows[i].seq == rows[t].seq) return rows[i].doc == rows[t].doc ? i : -1;
    return -1;
}

/* What the rows see (architecture section 2.7).  A block of an image must stand in one step, in one piece. */
static status masks(gemma_ctx *x, const gemma_row *rows, int32_t T, err *e)
{
    const gemma_config *c = gemma_int_config(x);
    gemma_rows *r = &x->rows;
    for (int32_t t = 0; t < T; t++) {
        int32_t pos = rows[t].pos;
        r->full[t] = (dev_attn_row){ .span = r->full[t].span, .pos = pos, .first = 0, .last = pos };
        r->sliding[t] = r->full[t];
        r->sliding[t].first = MAX(0, pos - c->window + 1);
        if (!x->o.no_cache && c->vision_blocks && rows[t].block && pos == x->cache.seqs[rows[t].seq].length && x->cache.seqs[rows[t].seq].last_block == rows[t].block)
            return err_set(e, E_ARG, "cannot run row %d\nimage block %d continues from an earlier step\nAn image must be in one step: raise the rows of a step.", t,
                           rows[t].block);
    }
    if (!c->vision_blocks) return OK;
    for (int32_t t = T - 1; t >= 0; t--) {
        int32_t n = rows[t].block ? next_of(rows, T, t) : -1;
        if (n >= 0 && rows[n].block == rows[t].block) r->sliding[t].last = r->sliding[n].last;
    }
    return OK;
}

void gemma_step_angles(gemma_ctx *x, int32_t length)
{
    if (!x->key_rope) return;
    for (; x->key_rope_filled < length; x->key_rope_filled++)
        rope_at(&x->rope_full, x->key_rope_filled, x->key_rope + (int64_t)x->key_rope_filled * x->rope_full.pairs * 2);
}

static void angles(gemma_ctx *x, const gemma_row *rows, int32_t T)
{
    gemma_rows *r = &x->rows;
    int32_t longest = 0;
    for (int32_t t = 0; t < T; t++) {
        rope_at(&x->rope_full, rows[t].pos, r->cs_full + (int64_t)t * x->rope_full.pairs * 2);
        rope_at(&x->rope_sliding, rows[t].pos, r->cs_sliding + (int64_t)t * x->rope_sliding.pairs * 2);
        longest = MAX(longest, rows[t].pos + 1);
    }
    gemma_step_angles(x, longest);
}

/* The rows that stay to the end, and what is wanted of them. */
static status choose_wanted(gemma_ctx *x, const gemma_row *rows, int32_t T, bool logits, bool hidden, err *e)
{
    status st = OK;
    gemma_rows *r = &x->rows;
    r->wanted = r->logits = r->hidden = 0;
    for (int32_t t = 0; t < T; t++) {
        if (rows[t].want_logits) r->logits_at[r->logits++] = r->wanted;
        if (rows[t].want_hidden) r->hidden_at[r->hidden++] = r->wanted;
        if (rows[t].want_logits || rows[t].want_hidden) r->want[r->wanted++] = t;
    }
    if (r->logits > x->o.logit_rows_max) FAIL(e, E_ARG, "cannot give logits of %d rows\nthis context gives at most %d at once", r->logits, x->o.logit_rows_max);
    if (r->hidden > x->o.hidden_rows_max)
        FAIL(e, E_ARG, "cannot give the last state of %d rows\nthis context gives at most %d at once", r->hidden, x->o.hidden_rows_max);
    if (r->logits && !logits) FAIL(e, E_ARG, "cannot give logits\nthere is no room for them");
    if (r->hidden && !hidden) FAIL(e, E_ARG, "cannot give last states\nthere is no room for them");
out:
    return st;
}

static status prepare(gemma_ctx *x, const gemma_row *rows, int32_t T, bool logits, bool hidden, err *e)
{
    status st = OK;
    gemma_rows *r = &x->rows;
    if (!rows || T < 1 || T > x->o.row_max) FAIL(e, E_ARG, "cannot run a step of %d rows\nthis context takes 1 to %d at once", T, x->o.row_max);
    r->T = T;
    r->any_adapter = false;
    for (int32_t t = 0; t < T; t++) {
        TRY(check_row(x, rows, t, e));
        r->ids[t] = rows[t].embed ? 0 : rows[t].token;
        r->adapter[t] = rows[t].adapter;
        r->any_adapter |= rows[t].adapter != 0;
    }
    TRY(choose_wanted(x, rows, T, logits, hidden, e));
    if (x->o.no_cache) TRY(place_uncached(x, rows, T, e));
    else TRY(place_cached(x, rows, T, e));
    TRY(masks(x, rows, T, e));
    angles(x, rows, T);
out:
    return st;
}

/* Enough for every sequence of the step, or nothing is touched. */
static status check_pages(const gemma_ctx *x, err *e)
{
    int64_t wanted = 0;
    for (int32_t s = 0; s < x->o.seq_max; s++)
        if (x->rows.added[s]) wanted += kv_pages_wanted(&x->cache, s, x->rows.added[s]);
    if (wanted <= x->cache.free_count) return OK;
    return err_set(e, E_BUSY, "the cache is full\nthe step needs %lld pages of %d tokens, %d are free\nFree a sequence, or start with more pages.",
                   (long long)wanted, DEV_BLOCK, x->cache.free_count);
}

status gemma_step(gemma_ctx *x, const gemma_row *rows, int32_t T, float *logits, err *e) { return gemma_step_hidden(x, rows, T, logits, NULL, e); }

status gemma_step_hidden(gemma_ctx *x, const gemma_row *rows, int32_t T, float *logits, float *hidden, err *e)
{
    status st = OK;
    x->last_T = 0;
    TRY(prepare(x, rows, T, logits != NULL, hidden != NULL, e));
    if (x->o.no_cache) {
        TRY(decoder_run(x, rows, logits, hidden, e));
        x->last_T = T;
        x->last_wanted = x->rows.wanted;
        return OK;
    }
    TRY(check_pages(x, e));
    for (int32_t s = 0; s < x->o.seq_max; s++) {
        if (!x->rows.added[s]) continue;
        kv_reserve(&x->cache, x->dev, s, x->rows.added[s]);
        x->rows.span_full[s] = kv_span(&x->cache, s, true);
        x->rows.span_sliding[s] = kv_span(&x->cache, s, false);
    }
    st = decoder_run(x, rows, logits, hidden, e);
    for (int32_t t = 0; t < T; t++) {       /* each row in turn, so that the last one leaves its image block */
        if (st == OK) kv_commit(&x->cache, rows[t].seq, 1, rows[t].block);
        else kv_drop(&x->cache, rows[t].seq);
    }
out:
    return st;
}
