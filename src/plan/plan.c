#include "plan/plan.h"

status plan_model(plan *out, const gemma *m, const gemma_ctx_opts *o, uint64_t logits, uint64_t text, err *e)
{
    gemma_bytes b = { 0 };
    gemma_ctx_opts used = *o;
    status st = gemma_ctx_choose(m, &used, e);
    if (st == OK) st = gemma_ctx_new(NULL, m, &used, &b, e);
    if (st != OK) return st;
    *out = (plan){ .used = used, .weights_mapped = b.weights_mapped, .weights_owned = b.weights_owned, .kv = b.kv,
                   .activations = b.activations, .logits = logits, .text = text, .other = b.other };
    out->total = b.weights_mapped + b.weights_owned + b.kv + b.activations + logits + text + b.other;
    return OK;
}

plan_fit plan_judge(const plan *p, uint64_t memory)
{
    uint64_t usable = memory - memory / 10;
    if (p->total <= usable) return PLAN_FITS;
    return p->total - p->weights_mapped <= usable ? PLAN_PAGES : PLAN_TOO_BIG;
}

const char *plan_fit_text(plan_fit f)
{
    static const char *const text[] = {
        "It fits into this machine's memory.",
        "The weights do not fit into this machine's memory: it runs, but reads parts of the file again and again.",
        "It does not fit into this machine's memory. Use a shorter context, fewer requests at once, or a smaller cache type.",
    };
    return text[f];
}
