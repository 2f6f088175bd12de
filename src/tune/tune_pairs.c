/* DPO and ORPO: the pairs of a micro-batch. */
#include <math.h>

#include "base/bits.h"
#include "tune/tune_int.h"

status tune_pairs_open(tune *t, err *e)
{
    status st = OK;
    size_t docs = (size_t)t->data->doc_count, rows = (size_t)t->rows_max;
    if (!t->pairs) return OK;
    t->reference = mem_array(docs, sizeof *t->reference, MEM_OTHER);
    t->policy = mem_array(docs, sizeof *t->policy, MEM_OTHER);
    t->logp = mem_array(rows, sizeof *t->logp, MEM_OTHER);
    t->weights = mem_array(rows, sizeof *t->weights, MEM_OTHER);
    if (!t->reference || !t->policy || !t->logp || !t->weights) FAIL(e, E_NOMEM, "could not train on pairs\nout of memory");
    for (size_t i = 0; i < docs; i++) t->reference[i] = t->prefer.kind == PREFER_ORPO ? 0 : NAN;
out:
    return st;
}

void tune_pairs_close(tune *t)
{
    mem_free(t->reference);
    mem_free(t->policy);
    mem_free(t->logp);
    mem_free(t->weights);
}

/* t->logp, of a micro-batch's labels, summed by document. */
static void sum_by_document(const tune *t, const data_groups *g, int64_t group, double *out)
{
    const double *p = t->logp;
    for (int64_t i = g->first[group]; i < g->first[group + 1]; i++) {
        double sum = 0;
        for (int32_t k = 0; k < t->data->docs[g->docs[i]].targets; k++) sum += *p++;
        out[g->docs[i]] = sum;
    }
}

static status log_probs(tune *t, const data_groups *g, int64_t group, bool base, tune_sums *tokens, double *out, err *e)
{
    status st = OK;
    int32_t T = data_fill(t->rows, t->data, g, group);
    TRY(tune_step_log_probs(t->step, t->rows, T, base, t->logp, tokens, e));
    sum_by_document(t, g, group, out);
out:
    return st;
}

/* A fresh adapter changes nothing, so the reference is the model without it: computed when a pair first comes, kept for later epochs. */
static status need_reference(tune *t, const data_groups *g, int64_t group, err *e)
{
    bool known = true;
    for (int64_t i = g->first[group]; i < g->first[group + 1]; i++) known = known && !isnan(t->reference[g->docs[i]]);
    return known ? OK : log_probs(t, g, group, true, NULL, t->reference, e);
}

status tune_pairs_reference(tune *t, err *e)
{
    status st = OK;
    data_groups g = { 0 };
    int64_t n = t->data->example_count, *all = NULL;
    if (!t->pairs || t->prefer.kind == PREFER_ORPO || !t->r.init_from) return OK;
    all = mem_array((size_t)n, sizeof *all, MEM_OTHER);
    if (!all) FAIL(e, E_NOMEM, "could not train on pairs\nout of memory");
    for (int64_t i = 0; i < n; i++) all[i] = i;
    TRY(data_group(&g, t->data, all, n, t->rows_max, e));
    for (int64_t i = 0; i < g.count; i++) TRY(log_probs(t, &g, i, false, NULL, t->reference, e));
out:
    data_groups_done(&g);
    mem_free(all);
    return st;
}

static prefer_answer answer(const tune *t, int64_t doc)
{
    return (prefer_answer){ .logp = t->policy[doc], .base = t->reference[doc], .n = t->data->docs[doc].targets };
}

static void add(pair_sums *sums, const prefer_loss *l)
{
    sums->count++;
    sums->right += l->reward_chosen > l->reward_rejected;
    sums->loss += l->loss;
    sums->chosen += l->reward_chosen;
    sums->rejected += l->reward_rejected;
}

status tune_pairs_add(tune *t, const data_groups *g, int64_t group, int64_t pairs, tune_sums *tokens, pair_sums *sums, err *e)
{
    status st = OK;
    float *w = t->weights;
    TRY(need_reference(t, g, group, e));
    TRY(log_probs(t, g, group, false, tokens, t->policy, e));
    for (int64_t i = g->first[group]; i < g->first[group + 1]; i += 2) {
        const prefer_answer c = answer(t, g->docs[i]), r = answer(t, g->docs[i + 1]);
        prefer_loss l = prefer_pair(&t->prefer, &c, &r);
        add(sums, &l);
        for (int64_t k = 0; k < c.n && pairs; k++) *w++ = (float)(-l.chosen / (double)pairs);
        for (int64_t k = 0; k < r.n && pairs; k++) *w++ = (float)(-l.rejected / (double)pairs);
    }
    if (pairs) TRY(tune_step_back(t->step, t->weights, e));
out:
    return st;
}
