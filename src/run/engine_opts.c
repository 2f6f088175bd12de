/* The public options of an engine, checked, with every choice made. */
#include "base/bits.h"
#include "os/cpu.h"
#include "run/engine.h"
#include "run/run_int.h"

enum { PARALLEL_MAX = 256, CHUNK_DEFAULT = 512 };

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
    TRY(o->isa ? cpu_isa_parse(o->isa, &out->isa, e) : cpu_isa_env(&out->isa, e));
    out->isa &= cpu_isa_machine();
out:
    return st;
}
