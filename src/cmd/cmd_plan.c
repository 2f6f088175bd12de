/* facet plan: how much memory a model takes, before it is started. */
#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"
#include "cmd/setup.h"
#include "os/cpu.h"
#include "plan/plan.h"

static const char *const fits[] = { "fits", "fits without the weights", "does not fit" };

static status print_json(const facet_plan *p, err *e)
{
    json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:i, s:i, s:i, s:I, s:i, s:I, s:I, s:I}", "weights_mapped", (json_int_t)p->weights_mapped,
                          "weights_owned", (json_int_t)p->weights_owned, "kv", (json_int_t)p->kv, "activations", (json_int_t)p->activations,
                          "logits", (json_int_t)p->logits, "text", (json_int_t)p->text, "other", (json_int_t)p->other,
                          "total", (json_int_t)p->total, "fit", fits[p->fit], "ctx", (int)p->ctx, "parallel", (int)p->parallel,
                          "chunk", (int)p->chunk, "cache_tokens", (json_int_t)p->tokens, "checkpoints", (int)p->checkpoints,
                          "memory_total", (json_int_t)cpu_memory_total(),
                          "memory_available", (json_int_t)cpu_memory_available(), "adapters", (json_int_t)p->adapters);
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
    snprintf(cache, sizeof cache, "attention, %lld tokens of %d conversation%s, %d to go on from", (long long)p->tokens, p->parallel, p->parallel == 1 ? "" : "s",
             p->checkpoints);
    line("weights", p->weights_mapped, "mapped from the file; the system may drop them and read them again");
    line("", p->weights_owned, "of the weights, kept as 32-bit floats");
    line("cache", p->kv, cache);
    line("steps", p->activations, "activations");
    line("logits", p->logits, "and drawing tokens");
    line("text", p->text, "tokenizer, and constrained answers if they are counted");
    line("adapters", p->adapters, "low-rank terms");
    line("other", p->other, "tables, threads");
    line("total", p->total, "");
    printf("\nFree memory: %.1f MiB. %s\n", (double)cpu_memory_available() / (1 << 20), plan_fit_text((plan_fit)p->fit));
}

static status run(args *a, err *e)
{
    status st = OK;
    facet_model *m = NULL;
    facet_engine_opts o;
    facet_plan p;
    setup_adapters adapters = { 0 };
    setup_log(a);
    TRY(setup_engine(a, &o, e));
    TRY(setup_adapters_read(a, false, &adapters, &o, e));
    o.parallel = (int32_t)args_int(a, "parallel");
    o.embed = args_flag(a, "embed");
    o.constrained = args_flag(a, "constrained");
    if (args_flag(a, "remember") || o.parallel > 1) o.cache = 0;
    if (args_given(a, "cache")) o.cache = setup_cache(a);
    setup_disk(a, &o);
    TRY(setup_model(a, &m, e));
    TRY(facet_plan_engine(m, &o, &p, e));
    if (args_flag(a, "json")) TRY(print_json(&p, e));
    else print_text(&p);
out:
    facet_model_close(m);
    setup_adapters_done(&adapters);
    return st;
}

static const opt options[] = {
    { "parallel", 0, OPT_INT, .argument = "N", .value = "1", .min = 1, .max = 256, .group = "Context", .help = "Conversations held at once." },
    { "remember", 0, OPT_FLAG, .group = "Context",
      .help = "Count what \"facet chat\" and \"facet serve\" keep of earlier prompts; always with more conversations than one." },
    { "cache", 0, OPT_BYTES, .argument = "SIZE", .unset = "by --parallel and free memory", .group = "Context",
      .help = "Count so much memory for that, as in \"facet serve --cache\"." },
    { "embed", 0, OPT_FLAG, .group = "Context", .help = "With room for embeddings, as \"facet serve\" has it." },
    { "constrained", 0, OPT_FLAG, .group = "Context",
      .help = "Count what every conversation takes while its answer is held to a schema or to functions, as \"facet serve\" may have to." },
    { "json", 0, OPT_FLAG, .group = "Output", .help = "For programs." },
    { 0 } };

const cmd cmd_plan = {
    .name = "plan", .summary = "say how much memory a model needs", .options = { opt_model, opt_adapter, opt_context, opt_disk, options, opt_machine, opt_output },
    .run = run,
    .examples = { { "facet plan -m e2b --ctx 32768 --kv q8_0", "a long context with a small cache" },
                  { "facet plan -m 26b --parallel 4 --json", "four conversations, for a program" } } };
