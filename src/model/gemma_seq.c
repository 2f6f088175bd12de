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
    return st != OK ? st : kv_take_back(&x->cache, x->dev, seq, n, e);
}

status gemma_seq_mark(gemma_ctx *x, int32_t seq, err *e)
{
    status st = check(x, seq, e);
    if (st != OK) return st;
    if (!x->o.marks) return err_set(e, E_ARG, "cannot mark a place in a sequence\nthis context has no room for marks");
    kv_mark(&x->cache, seq);
    return OK;
}

int32_t gemma_seq_marked(const gemma_ctx *x, int32_t seq) { return check(x, seq, NULL) == OK ? x->cache.seqs[seq].mark : 0; }

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
