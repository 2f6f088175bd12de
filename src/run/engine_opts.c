/* The public options of an engine, checked, with every choice made. */
#include "base/bits.h"
#include "kern/kern.h"
#include "os/cpu.h"
#include "run/engine.h"
#include "run/run_int.h"

enum { PARALLEL_MAX = 256, CHUNK_DEFAULT = 512 };

/* What was asked for by name must be there: another speed than the one that was meant to be measured is no answer. */
static status choose_isa(const char *text, uint32_t *mask, err *e)
{
    status st = OK;
    char missing[64], built[64], machine[64];
    uint32_t there = kern_built() & cpu_isa_machine();
    TRY(text ? cpu_isa_parse(text, mask, e) : cpu_isa_env(mask, e));
    if (*mask == UINT32_MAX) *mask = there;     /* nobody asked */
    cpu_isa_names(*mask & ~there, missing, sizeof missing);
    cpu_isa_names(kern_built(), built, sizeof built);
    cpu_isa_names(cpu_isa_machine(), machine, sizeof machine);
    if (missing[0])
        FAIL(e, E_UNSUPPORTED, "%scannot use the instruction set %s\nthis build of facet has %s; this machine has %s\nAsk for one that both have.",
             text ? "" : "FACET_ISA: ", missing, built, machine);
out:
    return st;
}

status engine_translate(const facet_model *m, const facet_engine_opts *o, gemma_ctx_opts *out, err *e)
{
    static const dtype types[] = { DTYPE_F16, DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_Q8_0 };
    static const facet_engine_opts none = { 0 };
    status st = OK;
    int32_t context = m->gemma->config.context;
    if (!o) o = &none;
    gemma_ctx_defaults(out);
    if (o->ctx < 0 || o->ctx > context) FAIL(e, E_ARG, "cannot use a context of %d tokens\nthe model was made for %d", o->ctx, context);
    if (o->parallel < 0 || o->parallel > PARALLEL_MAX) FAIL(e, E_ARG, "cannot run %d requests at once\nat most %d", o->parallel, PARALLEL_MAX);
    if (o->chunk < 0) FAIL(e, E_ARG, "cannot run %d tokens in one step", o->chunk);
    if ((unsigned)o->kv >= COUNT_OF(types)) FAIL(e, E_ARG, "there is no cache type %d", (int)o->kv);
    if (o->threads < 0) FAIL(e, E_ARG, "cannot run with %d threads", o->threads);
    out->ctx = o->ctx ? o->ctx : MIN(context, 8192);
    out->seq_max = o->parallel ? o->parallel : 1;
    out->row_max = MAX(MIN(o->chunk ? o->chunk : CHUNK_DEFAULT, out->ctx * out->seq_max), out->seq_max);
    out->logit_rows_max = out->seq_max;
    out->kv_type = o->kv == FACET_KV_DEFAULT && o->exact ? DTYPE_F32 : types[o->kv];
    out->threads = o->threads;
    out->exact = o->exact;
    out->marks = o->turns;
    TRY(choose_isa(o->isa, &out->isa, e));
out:
    return st;
}
