/* Sequences, as gemma.h shows them: arguments are checked here, kv.c does the work. */
#include "model/gemma_int.h"

static status check(const gemma_ctx *x, int32_t seq, err *e)
{
    if (x->o.no_cache) return err_set(e, E_ARG, "cannot use sequences\nthis context runs without a cache");
    if (!kv_seq_alive(&x->cache, seq)) return err_set(e, E_ARG, "cannot use sequence %d\nthere is no such sequence", seq);
    return OK;
}

status gemma_seq_new(gemma_ctx *x, int32_t *seq, err *e)
{
    if (x->o.no_cache) return err_set(e, E_ARG, "cannot start a sequence\nthis context runs without a cache");
    return kv_seq_new(&x->cache, seq, e);
}

void gemma_seq_free(gemma_ctx *x, int32_t seq)
{
    if (!x->o.no_cache) kv_seq_free(&x->cache, seq);
}

int32_t gemma_seq_length(const gemma_ctx *x, int32_t seq)
{
    return !x->o.no_cache && kv_seq_alive(&x->cache, seq) ? x->cache.seqs[seq].length : 0;
}

status gemma_seq_take_back(gemma_ctx *x, int32_t seq, int32_t n, err *e)
{
    status st = check(x, seq, e);
    return st != OK ? st : kv_take_back(&x->cache, seq, n, e);
}

status gemma_seq_fork(gemma_ctx *x, int32_t from, int32_t *to, err *e)
{
    status st = check(x, from, e);
    return st != OK ? st : kv_fork(&x->cache, x->dev, from, to, e);
}

size_t gemma_seq_bytes(const gemma_ctx *x, int32_t seq) { return check(x, seq, NULL) == OK ? kv_save_bytes(&x->cache, seq) : 0; }

status gemma_seq_save(const gemma_ctx *x, int32_t seq, void *out, size_t n, err *e)
{
    status st = check(x, seq, e);
    if (st != OK) return st;
    if (n < kv_save_bytes(&x->cache, seq))
        return err_set(e, E_ARG, "cannot save the sequence\n%zu bytes are too few, it needs %zu", n, kv_save_bytes(&x->cache, seq));
    kv_save(&x->cache, x->dev, seq, out);
    return OK;
}

status gemma_seq_load(gemma_ctx *x, const void *p, size_t n, int32_t *seq, err *e)
{
    if (x->o.no_cache) return err_set(e, E_ARG, "cannot restore a sequence\nthis context runs without a cache");
    /* The keys of K = V layers are rebuilt with angles of every stored position. */
    status st = kv_load(&x->cache, x->dev, p, n, seq, e);
    if (st == OK) gemma_step_angles(x, x->cache.seqs[*seq].length);
    return st;
}

/* ---- prefixes ---- */

int32_t gemma_pages_free(const gemma_ctx *x) { return x->cache.free_count; }
int32_t gemma_pages_wanted(const gemma_ctx *x, int32_t seq, int32_t n) { return kv_pages_wanted(&x->cache, seq, n); }
int32_t gemma_seq_page(const gemma_ctx *x, int32_t seq, int32_t i) { return x->cache.seqs[seq].table[i]; }
void gemma_page_hold(gemma_ctx *x, int32_t page) { kv_page_hold(&x->cache, page); }
void gemma_page_drop(gemma_ctx *x, int32_t page) { kv_page_drop(&x->cache, page); }
void gemma_seq_share(gemma_ctx *x, int32_t seq, int32_t i, int32_t page) { kv_page_share(&x->cache, seq, i, page); }
int32_t gemma_page_users(const gemma_ctx *x, int32_t page) { return x->cache.refs[page]; }
int32_t gemma_state_save(gemma_ctx *x, int32_t state, int32_t seq, int32_t length) { return kv_state_save(&x->cache, x->dev, seq, length, state); }

status gemma_seq_resume(gemma_ctx *x, const int32_t *pages, int32_t state, int32_t length, int32_t *seq, err *e)
{
    if (x->o.no_cache || state < 0 || state >= x->o.states) return err_set(e, E_ARG, "cannot go on behind %d tokens\nthere is no window state %d", length, state);
    status st = kv_resume(&x->cache, x->dev, pages, state, length, seq, e);
    if (st == OK) gemma_step_angles(x, length);
    return st;
}
