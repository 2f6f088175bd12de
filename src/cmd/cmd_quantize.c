/* facet quantize: a model's weights in other number types, as one GGUF file. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/json.h"
#include "cmd/amount.h"
#include "cmd/convert.h"
#include "cmd/interrupt.h"
#include "cmd/setup.h"
#include "fmt/model_find.h"
#include "os/clock.h"
#include "os/tty.h"
#include "quant/quant.h"

/* ---- for people ---------------------------------------------------------------------------------- */

/* Root of the mean squared error against that of the weights; 0 where all was copied. */
static double relative(const quant_kind *k) { return k->power > 0 ? sqrt(k->error / k->power) : 0; }

static int part_of(int place) { return place == WEIGHT_PLACES ? WEIGHT_PARTS : (int)weight_names_part((weight_place)place); }
static const char *part_name(int part) { return part == WEIGHT_PARTS ? "copied as they are" : weight_names_part_text((weight_part)part); }

static void sum_parts(const quant_report *r, quant_kind parts[WEIGHT_PARTS + 1])
{
    memset(parts, 0, (WEIGHT_PARTS + 1) * sizeof *parts);
    for (int p = 0; p <= WEIGHT_PLACES; p++) {
        quant_kind *sum = &parts[part_of(p)];
        const quant_kind *k = &r->kinds[p];
        sum->tensors += k->tensors;
        sum->elements += k->elements;
        sum->before += k->before;
        sum->after += k->after;
        sum->error += k->error;
        sum->power += k->power;
    }
}

static void print_parts(const quant_report *r)
{
    char a[AMOUNT_CAP], b[AMOUNT_CAP];
    quant_kind parts[WEIGHT_PARTS + 1];
    sum_parts(r, parts);
    printf("\n%-22s %7s %10s %10s %6s\n", "part", "tensors", "before", "after", "");
    for (int p = 0; p <= WEIGHT_PARTS; p++)
        if (parts[p].tensors)
            printf("%-22s %7" PRId64 " %10s %10s %5.1f%%\n", part_name(p), parts[p].tensors, amount_bytes(parts[p].before, a), amount_bytes(parts[p].after, b),
                   100.0 * (double)parts[p].after / (double)MAX(parts[p].before, 1));
}

static void print_kinds(const quant_report *r)
{
    char name[WEIGHT_NAME_CAP], from[128], to[128], error[16];
    printf("\n%-22s %7s  %-12s %-12s %s\n", "tensors", "", "from", "to", "error (rms, relative)");
    for (int p = 0; p <= WEIGHT_PLACES; p++) {
        const quant_kind *k = &r->kinds[p];
        bool vectors = p < WEIGHT_PLACES && weight_names_part((weight_place)p) == WEIGHT_PART_NORMS;
        if (!k->tensors || (vectors && k->error == 0)) continue;
        snprintf(error, sizeof error, k->error > 0 ? "%.5f" : "none", relative(k));
        printf("%-22s %7" PRId64 "  %-12s %-12s %s\n", convert_kind(p, name), k->tensors, convert_types(k->from, from, sizeof from), convert_types(k->to, to, sizeof to), error);
    }
}

static void print_remarks(const quant_report *r)
{
    char name[WEIGHT_NAME_CAP];
    uint64_t quantized = 0, from = 0;
    const uint64_t floats = 1u << DTYPE_F32 | 1u << DTYPE_F16 | 1u << DTYPE_BF16;
    for (int p = 0; p <= WEIGHT_PLACES; p++) {
        const quant_kind *k = &r->kinds[p];
        if (k->fell)
            printf("\n%s: rows of %" PRId64 " are no multiple of %d, so %" PRId64 " tensor%s got %s instead of %s.", convert_kind(p, name), k->fell_cols,
                   dtype_of(k->fell_from)->block, k->fell, k->fell == 1 ? "" : "s", dtype_of(k->fell_to)->name, dtype_of(k->fell_from)->name);
        if (k->error > 0) quantized |= k->from & ~floats;
        from |= k->fell ? 1 : 0;
    }
    if (from) printf("\n");
    if (quantized) {
        char types[128];
        printf("\nThe source was quantized before (%s): its own errors come on top of these.\n", convert_types(quantized, types, sizeof types));
    }
}

static void print_text(const char *in, const char *out, const quant_report *r, double seconds)
{
    char a[AMOUNT_CAP], b[AMOUNT_CAP];
    printf("%s: %s\n%s: %s, %.1f%%, %.1f s\n", in, amount_bytes(r->file_before, a), out, amount_bytes(r->file_after, b),
           100.0 * (double)r->file_after / (double)MAX(r->file_before, 1), seconds);
    print_parts(r);
    print_kinds(r);
    print_remarks(r);
}

/* ---- for programs -------------------------------------------------------------------------------- */

static json_t *kind_json(const quant_kind *k, bool types)
{
    json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:f}", "tensors", (json_int_t)k->tensors, "weights", (json_int_t)k->elements, "bytes_before", (json_int_t)k->before,
                          "bytes_after", (json_int_t)k->after, "error", relative(k));
    if (!types) return o;
    json_object_set_new(o, "from", convert_types_json(k->from));
    json_object_set_new(o, "to", convert_types_json(k->to));
    if (k->fell)
        json_object_set_new(o, "did_not_fit", json_pack("{s:I, s:I, s:s, s:s}", "tensors", (json_int_t)k->fell, "row", (json_int_t)k->fell_cols, "wanted",
                                                         dtype_of(k->fell_from)->name, "got", dtype_of(k->fell_to)->name));
    return o;
}

static status print_json(const quant_report *r, double seconds, err *e)
{
    char name[WEIGHT_NAME_CAP];
    quant_kind parts[WEIGHT_PARTS + 1];
    json_t *o = json_object(), *by_part = json_object(), *by_kind = json_object();
    sum_parts(r, parts);
    for (int p = 0; p <= WEIGHT_PARTS; p++)
        if (parts[p].tensors) json_object_set_new(by_part, part_name(p), kind_json(&parts[p], false));
    for (int p = 0; p <= WEIGHT_PLACES; p++)
        if (r->kinds[p].tensors) json_object_set_new(by_kind, convert_kind(p, name), kind_json(&r->kinds[p], true));
    json_object_set_new(o, "bytes_before", json_integer((json_int_t)r->file_before));
    json_object_set_new(o, "bytes_after", json_integer((json_int_t)r->file_after));
    json_object_set_new(o, "seconds", json_real(seconds));
    json_object_set_new(o, "parts", by_part);
    json_object_set_new(o, "tensors", by_kind);
    return convert_print(o, e);
}

/* ---- the command --------------------------------------------------------------------------------- */

static status watch(void *user, const char *tensor, double fraction, err *e)
{
    const bool *quiet = user;
    if (!*quiet) tty_progress("quantizing", fraction, tensor);
    return interrupt_seen() ? err_set(e, E_CANCELLED, "interrupted") : OK;
}

static status run(args *a, err *e)
{
    status st = OK;
    char *in = NULL;
    const char *out = args_operand(a, 1);
    static quant_report report;          /* large */
    bool quiet = args_flag(a, "quiet");
    quant_opts o = { .type = convert_type(a, "type"), .embedding = convert_type(a, "embedding"), .ple = convert_type(a, "ple"),
                     .threads = (int)args_int(a, "threads"), .force = args_flag(a, "force"), .progress = watch, .user = &quiet };
    setup_log(a);
    if (o.type == DTYPE_COUNT) return args_mistake(a, e, "no type was named\n--type says which: " CONVERT_TYPES);
    TRY(model_find(&in, args_operand(a, 0), e));
    double start = clock_seconds();
    interrupt_watch(NULL);
    st = quant_file(in, out, &o, &report, e);
    interrupt_done();
    tty_progress_done();
    if (st != OK) goto out;
    if (args_flag(a, "json")) TRY(print_json(&report, clock_seconds() - start, e));
    else if (!quiet) print_text(in, out, &report, clock_seconds() - start);
out:
    mem_free(in);
    return st;
}

static const opt options[] = {
    { "type", 0, OPT_CHOICE, .argument = CONVERT_TYPES, .unset = "must be given", .group = "Types", .help = "Of the matrices. Norms, scales and routers stay f32." },
    { "embedding", 0, OPT_CHOICE, .argument = CONVERT_TYPES, .unset = "--type, at least q6_k", .group = "Types", .help = "Of the token table and the head." },
    { "ple", 0, OPT_CHOICE, .argument = CONVERT_TYPES, .unset = "--type, at least q6_k", .group = "Types", .help = "Of the table of per-layer embeddings (E2B, E4B)." },
    { "force", 'f', OPT_FLAG, .group = "Output", .help = "Replace a file OUT that is there already." },
    { "json", 0, OPT_FLAG, .group = "Output", .help = "Print the report as JSON." },
    { "threads", 't', OPT_INT, .argument = "N", .unset = "one per core", .min = 1, .max = 256, .group = "Machine",
      .help = "Threads to compute with; the file does not depend on it." },
    { 0 } };

const cmd cmd_quantize = {
    .name = "quantize", .summary = "write a model in another number type", .operands = "IN OUT", .operand_min = 2, .operand_max = 2,
    .details = "IN is a GGUF file of any types, a Hugging Face folder, or a name that \"facet list\" shows; OUT is the GGUF file that is written, "
               "complete or not at all. Keys, vocabulary and chat template come along. Rows that do not fill a type's blocks get the nearest type that "
               "they fill. The report says what each part takes and how far the rounded weights are from those of IN.",
    .options = { options, opt_output }, .run = run,
    .examples = { { "facet quantize gemma-4-26b-a4b-it/ 26b-q4_0.gguf --type q4_0", "a folder from Hugging Face in 4 bits" },
                  { "facet quantize e2b-bf16.gguf e2b-q8_0.gguf --type q8_0 --ple q4_0", "8 bits, with a smaller per-layer table" } } };
