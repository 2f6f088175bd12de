/* The public options of an engine, checked, with every choice made. */
#include "base/bits.h"
#include "base/log.h"
#include "kern/kern.h"
#include "lora/lora.h"
#include "os/cpu.h"
#include "run/engine.h"
#include "run/run_int.h"

enum { PARALLEL_MAX = 256, CHUNK_DEFAULT = 512, HIDDEN_ROWS = 128, STATES_MAX = 1024, PAGES_MAX = 1 << 24 };

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

/* Bytes that may be taken without being asked: half of what the weights leave free. */
static uint64_t spare_memory(const gemma *g)
{
    uint64_t free_bytes = cpu_memory_available(), file = g->gguf ? gguf_file_bytes(g->gguf) : st_file_bytes(g->safetensors);
    return MAX(free_bytes > file ? (free_bytes - file) / 2 : 0, free_bytes / 16);
}

/* Room for one request of a whole context always; what others need, and what is remembered, lies in the cache's bytes: half of them
 * for window states, half for pages, except that nobody needs more of either than is chosen for free. */
static status choose_cache(const facet_model *m, int64_t bytes, gemma_ctx_opts *o, err *e)
{
    status st = OK;
    uint64_t page = 0, state = 0;
    int64_t context = (o->ctx + GEMMA_PAGE - 1) / GEMMA_PAGE, pages = context * o->seq_max, states = 4 * (int64_t)o->seq_max + 2;
    o->pages = (int32_t)(context * (bytes < 0 ? o->seq_max : 1)) + o->seq_max;
    if (bytes < 0) goto out;
    TRY(gemma_ctx_units(m->gemma, o, &page, &state, e));
    uint64_t chosen = (uint64_t)pages * page + (uint64_t)states * state, room = bytes ? (uint64_t)bytes : MIN(chosen, spare_memory(m->gemma));
    if (bytes || room < chosen) {
        states = state ? (int64_t)MIN(room / 2 / state, (uint64_t)STATES_MAX) : STATES_MAX;
        pages = page ? (int64_t)((room - (uint64_t)states * state) / page) : context * o->seq_max;
    }
    o->states = (int32_t)states;
    o->pages += (int32_t)MIN(pages, (int64_t)PAGES_MAX);
    if (!states) log_print(LOG_WARN, "the cache is too small to remember prompts: %llu bytes are needed for each", (unsigned long long)state);
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
    out->hidden_rows_max = o->embed ? MIN(HIDDEN_ROWS, out->row_max) : 0;
    out->kv_type = o->kv == FACET_KV_DEFAULT && o->exact ? DTYPE_F32 : types[o->kv];
    out->threads = o->threads;
    out->exact = o->exact;
    out->invariant = o->invariant;
    out->rank_max = LORA_RANK_MAX;
    TRY(choose_isa(o->isa, &out->isa, e));
    TRY(choose_cache(m, o->cache, out, e));
out:
    return st;
}
