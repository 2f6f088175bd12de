/* facet merge: adapters become part of a model's weights. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/bits.h"
#include "base/json.h"
#include "cmd/amount.h"
#include "cmd/convert.h"
#include "cmd/interrupt.h"
#include "cmd/setup.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/tty.h"
#include "quant/merge.h"

/* Rounding this much of the change or more: what is left is something else than the adapter. */
#define DESTROYED 0.5

static double share(double part, double whole) { return whole > 0 ? part / whole : 0; }
static double rounding(const merge_kind *k) { return sqrt(share(k->error, k->delta)); }

/* ---- for people ---------------------------------------------------------------------------------- */

static void print_kind(const char *name, const merge_kind *k)
{
    char from[128], to[128];
    printf("%-18s %5" PRId64 "  %-12s %-12s %9.5f %9.5f %12.4f %8.1f%%\n", name, k->tensors, convert_types(k->from, from, sizeof from), convert_types(k->to, to, sizeof to),
           sqrt(share(k->delta, k->power)), sqrt(share(k->error, k->power)), rounding(k), 100 * share(k->kept, k->delta));
}

static void print_text(const char *out, const merge_report *r, double seconds)
{
    char name[WEIGHT_NAME_CAP], a[AMOUNT_CAP], types[128];
    printf("%s: %s, %" PRId64 " terms merged, %.1f s\n\n", out, amount_bytes(r->file_after, a), r->terms, seconds);
    printf("%-18s %5s  %-12s %-12s %9s %9s %12s %9s\n", "matrices", "", "from", "to", "change", "rounding", "of change", "kept");
    for (int p = 0; p < WEIGHT_PLACES; p++)
        if (r->kinds[p].tensors) print_kind(convert_kind(p, name), &r->kinds[p]);
    print_kind("all", &r->all);
    printf("\nOver %d tokens the merged model's predictions diverge by %.3g from the adapter's (KL, nats); without the adapter: %.3g.\n", r->tokens, r->kl, r->kl_without);
    if (rounding(&r->all) >= DESTROYED)
        printf("\nWARNING: rounding to %s adds %.2g times what the adapter changes: little of the adapter is in this file.\n"
               "Keep the adapter beside the model (--adapter), or merge with --type bf16 or q8_0.\n", convert_types(r->all.to, types, sizeof types), rounding(&r->all));
}

/* ---- for programs -------------------------------------------------------------------------------- */

static json_t *kind_json(const merge_kind *k)
{
    json_t *o = json_pack("{s:I, s:f, s:f, s:f, s:f}", "tensors", (json_int_t)k->tensors, "change", sqrt(share(k->delta, k->power)), "rounding",
                          sqrt(share(k->error, k->power)), "rounding_of_change", rounding(k), "kept", share(k->kept, k->delta));
    json_object_set_new(o, "from", convert_types_json(k->from));
    json_object_set_new(o, "to", convert_types_json(k->to));
    return o;
}

static status print_json(const merge_report *r, double seconds, err *e)
{
    char name[WEIGHT_NAME_CAP];
    json_t *kinds = json_object();
    for (int p = 0; p < WEIGHT_PLACES; p++)
        if (r->kinds[p].tensors) json_object_set_new(kinds, convert_kind(p, name), kind_json(&r->kinds[p]));
    json_t *o = json_pack("{s:I, s:I, s:I, s:f, s:b, s:o, s:o, s:{s:i, s:f, s:f}}", "bytes_before", (json_int_t)r->file_before, "bytes_after",
                          (json_int_t)r->file_after, "terms", (json_int_t)r->terms, "seconds", seconds, "destroyed", rounding(&r->all) >= DESTROYED, "tensors", kinds,
                          "all", kind_json(&r->all), "divergence", "tokens", r->tokens, "merged", r->kl, "without_adapter", r->kl_without);
    return convert_print(o, e);
}

/* ---- the command --------------------------------------------------------------------------------- */

static status watch(void *user, const char *tensor, double fraction, err *e)
{
    const bool *quiet = user;
    if (!*quiet) tty_progress(tensor ? "merging" : "comparing", fraction, tensor);
    return interrupt_seen() ? err_set(e, E_CANCELLED, "interrupted") : OK;
}

static lora_order order_of(facet_lora_order o)
{
    return o == FACET_LORA_ORDER_RANK ? LORA_ORDER_RANK : o == FACET_LORA_ORDER_EXPERT ? LORA_ORDER_EXPERT : LORA_ORDER_FILE;
}

static status merge(const char *in, const setup_adapters *adapters, size_t count, const char *out, const merge_opts *o, merge_report *report, err *e)
{
    lora_part *parts = mem_array(count, sizeof *parts, MEM_OTHER);
    if (!parts) return err_set(e, E_NOMEM, "could not read the options\nout of memory");
    for (size_t i = 0; i < count; i++)
        parts[i] = (lora_part){ .path = adapters->list[i].path, .scale = adapters->list[i].scale, .order = order_of(adapters->list[i].order) };
    interrupt_watch(NULL);
    status st = merge_model(in, parts, count, out, o, report, e);
    interrupt_done();
    tty_progress_done();
    mem_free(parts);
    return st;
}

static status run(args *a, err *e)
{
    status st = OK;
    char *in = NULL;
    const char *out = args_operand(a, 0), *isa = args_text(a, "isa");
    static merge_report report;          /* large */
    setup_adapters adapters = { 0 };
    facet_engine_opts engine = { 0 };
    err why = { 0 };
    bool quiet = args_flag(a, "quiet");
    merge_opts o = { .type = convert_type(a, "type"), .force = args_flag(a, "force"), .text = args_text(a, "text"), .threads = (int)args_int(a, "threads"),
                     .exact = args_flag(a, "exact"), .progress = watch, .user = &quiet };
    setup_log(a);
    if (!args_count(a, "adapter")) return args_mistake(a, e, "no adapter was named\n--adapter PATH says what to merge");
    if (isa && cpu_isa_parse(isa, &o.isa, &why) != OK) return args_mistake(a, e, "%s\n%s", why.what, why.why);
    TRY(setup_adapters_read(a, false, &adapters, &engine, e));
    TRY(setup_path(a, &in, e));
    double start = clock_seconds();
    TRY(merge(in, &adapters, engine.adapter_count, out, &o, &report, e));
    if (args_flag(a, "json")) TRY(print_json(&report, clock_seconds() - start, e));
    else if (!quiet) print_text(out, &report, clock_seconds() - start);
out:
    setup_adapters_done(&adapters);
    mem_free(in);
    return st;
}

static const opt options[] = {
    { "type", 0, OPT_CHOICE, .argument = CONVERT_TYPES, .unset = "every tensor keeps its own", .group = "Output",
      .help = "Of the matrices that are written, as in \"facet quantize\"; f32, f16 or bf16 for a folder." },
    { "force", 'f', OPT_FLAG, .group = "Output", .help = "Replace a file OUT that is there already." },
    { "text", 0, OPT_TEXT, .argument = "TEXT", .unset = "one of our own", .group = "Output",
      .help = "Compare predictions of the merged model and of the adapter on this, 256 tokens at most." },
    { "json", 0, OPT_FLAG, .group = "Output", .help = "Print the report as JSON." },
    { 0 } };

const cmd cmd_merge = {
    .name = "merge", .summary = "make adapters part of a model's weights", .operands = "OUT", .operand_min = 1, .operand_max = 1,
    .details = "Writes the model with W + scale B A in place of every matrix W that an adapter has terms for: a GGUF file, or, from a Hugging Face folder where OUT "
               "does not end in .gguf, a folder. Sums are made in 32-bit floats and rounded once. The report says how large the rounding is beside the change, "
               "and how far the merged model's predictions are from those of the adapter at run time. Types of few bits lose most of an adapter; "
               "then it is better kept beside the model, with --adapter.",
    .options = { opt_model, opt_adapter, options, opt_machine, opt_output }, .run = run,
    .examples = { { "facet merge -m gemma-4-26b-a4b-it/ --adapter mine/ merged/", "a folder for Hugging Face" },
                  { "facet merge -m e2b-q4_0.gguf --adapter mine.gguf=0.8 --type q8_0 merged.gguf", "from 4 bits to 8, so that the change survives" } } };
