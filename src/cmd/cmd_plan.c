/* facet plan: how much memory a model takes, before it is started. */
#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"
#include "cmd/setup.h"
#include "os/cpu.h"

static status print_json(const facet_plan *p, err *e)
{
    json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:i, s:i, s:I, s:I}", "weights_mapped", (json_int_t)p->weights_mapped,
                          "weights_owned", (json_int_t)p->weights_owned, "kv", (json_int_t)p->kv, "activations", (json_int_t)p->activations,
                          "other", (json_int_t)p->other, "total", (json_int_t)p->total, "ctx", (int)p->ctx, "parallel", (int)p->parallel,
                          "chunk", (int)p->chunk, "memory_total", (json_int_t)cpu_memory_total(),
                          "memory_available", (json_int_t)cpu_memory_available());
    if (!o) return err_set(e, E_NOMEM, "could not print the plan\nout of memory");
    json_dumpf(o, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(o);
    return OK;
}

static void line(const char *name, uint64_t bytes, const char *what)
{
    printf("%-12s %10.1f MiB  %s\n", name, (double)bytes / (1 << 20), what);
}

static void print_text(const facet_plan *p)
{
    char cache[96];
    uint64_t have = cpu_memory_available();
    snprintf(cache, sizeof cache, "attention cache: %d tokens x %d sequence%s", p->ctx, p->parallel, p->parallel == 1 ? "" : "s");
    line("weights", p->weights_mapped, "mapped from the file; the system may take them back and read them again");
    line("", p->weights_owned, "of the weights, kept in memory");
    line("cache", p->kv, cache);
    line("steps", p->activations, "activations and logits");
    line("other", p->other, "tokenizer, tables");
    line("total", p->total, p->total <= have ? "fits into the memory that is free" : "");
    if (p->total > have) {
        printf("\nOnly %.1f MiB are free", (double)have / (1 << 20));
        printf(p->total - p->weights_mapped <= have ? ": the weights will be read from the disk again and again, which is slow.\n"
                                                    : ": it will not start. A smaller --ctx or --kv q8_0 needs less.\n");
    }
}

static status run(args *a, err *e)
{
    status st = OK;
    facet_model *m = NULL;
    facet_engine_opts o;
    facet_plan p;
    setup_log(a);
    TRY(setup_engine(a, &o, e));
    o.parallel = (int32_t)args_int(a, "parallel");
    TRY(setup_model(a, &m, e));
    TRY(facet_plan_engine(m, &o, &p, e));
    if (args_flag(a, "json")) TRY(print_json(&p, e));
    else print_text(&p);
out:
    facet_model_close(m);
    return st;
}

static const opt options[] = {
    { "parallel", 0, OPT_INT, .argument = "N", .value = "1", .min = 1, .max = 256, .group = "Context", .help = "Conversations held at once." },
    { "json", 0, OPT_FLAG, .group = "Output", .help = "For programs." },
    { 0 } };

const cmd cmd_plan = {
    .name = "plan", .summary = "say how much memory a model needs", .options = { opt_model, opt_context, options, opt_machine, opt_output },
    .run = run,
    .examples = { { "facet plan -m e2b --ctx 32768 --kv q8_0", "a long context with a small cache" },
                  { "facet plan -m 26b --parallel 4 --json", "four conversations, for a program" } } };
