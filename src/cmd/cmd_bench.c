/* facet bench: how fast a model runs here, and how much of the machine that is. */
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/str.h"
#include "cmd/cmd_bench.h"
#include "os/cpu.h"
#include "os/tty.h"

/* ---- options ---- */

/* "512,2048"; zeros are left out where low is 1 and none_allowed. */
static status read_list(args *a, const char *name, int64_t low, int64_t high, bool none_allowed, bench_list *out, err *e)
{
    char what[32];
    str rest = str_from(args_text(a, name)), one;
    err why = { 0 };
    *out = (bench_list){ 0 };
    snprintf(what, sizeof what, "--%s", name);
    while (str_split(&rest, ',', &one)) {
        int64_t n;
        if (none_allowed && str_is(one, "0")) continue;
        if (str_to_i64(one, what, low, high, &n, &why) != OK) return args_mistake(a, e, "%s\n%s", why.what, why.why);
        if (out->count == BENCH_LIST_MAX) return args_mistake(a, e, "--%s has too many numbers\nat most %d are measured in one go", name, BENCH_LIST_MAX);
        out->at[out->count++] = (int32_t)n;
    }
    return OK;
}

status cmd_bench_isa(args *a, uint32_t *mask, err *e)
{
    err why = { 0 };
    const char *isa = args_text(a, "isa");
    *mask = 0;
    if (!isa || cpu_isa_parse(isa, mask, &why) == OK) return OK;
    return args_mistake(a, e, "%s\n%s", why.what, why.why);
}

static dtype kv_type(const args *a)
{
    static const struct { const char *name; dtype type; } types[] = { { "f32", DTYPE_F32 }, { "f16", DTYPE_F16 }, { "bf16", DTYPE_BF16 }, { "q8_0", DTYPE_Q8_0 } };
    for (size_t i = 0; args_text(a, "kv") && i < COUNT_OF(types); i++)
        if (strcmp(args_text(a, "kv"), types[i].name) == 0) return types[i].type;
    return DTYPE_COUNT;
}

static void on_progress(void *user, const char *what, double share)
{
    (void)user;
    tty_progress("measuring", share, what);
}

status cmd_bench_options(args *a, bench_model_opts *o, err *e)
{
    status st = OK;
    *o = (bench_model_opts){ .threads = (int)args_int(a, "threads"), .exact = args_flag(a, "exact"), .invariant = args_flag(a, "invariant"), .kv = kv_type(a), .chunk = (int32_t)args_int(a, "chunk"),
                             .ctx = (int32_t)args_int(a, "ctx"), .rounds = (int)args_int(a, "rounds"), .seconds = args_real(a, "seconds"),
                             .skip_machine = args_flag(a, "skip-machine"), .progress = args_flag(a, "quiet") ? NULL : on_progress };
    TRY(cmd_bench_isa(a, &o->isa, e));
    TRY(read_list(a, "prefill", 1, 1 << 20, true, &o->prefill, e));
    TRY(read_list(a, "decode", 1, 1 << 20, true, &o->decode, e));
    TRY(read_list(a, "depth", 0, 1 << 20, false, &o->depth, e));
    TRY(read_list(a, "batch", 1, 256, false, &o->batch, e));
    if (!o->prefill.count && !o->decode.count) st = args_mistake(a, e, "nothing to measure\n--prefill and --decode are both 0");
out:
    return st;
}

/* ---- which of the five ---- */

static const char *const parts[] = { "machine", "kernels", "masks", "serve" };
enum { PART_MODEL = COUNT_OF(parts) };

/* Options that the chosen part does not look at are mistakes, not ornaments. */
static status check_part(args *a, size_t part, err *e)
{
    static const struct { const char *name; bool model, machine, kernels, masks, serve; } uses[] = {
        { "model", true, true, false, true, false }, { "prefill", true, false, false, false, false }, { "decode", true, false, false, false, false },
        { "depth", true, false, false, false, false }, { "batch", true, false, false, false, false }, { "rounds", true, false, false, true, true },
        { "skip-machine", true, false, false, false, false }, { "svg", true, false, false, false, false }, { "ctx", true, false, false, false, false },
        { "kv", true, false, false, false, false }, { "chunk", true, false, false, false, false }, { "exact", true, false, false, false, false },
        { "invariant", true, false, false, false, false },
        { "dir", false, true, false, false, false }, { "type", false, false, true, false, false }, { "threads", true, true, false, false, false },
        { "json", true, true, false, true, true }, { "seconds", true, true, true, false, true }, { "isa", true, true, true, false, false },
        { "url", false, false, false, false, true }, { "api-key", false, false, false, false, true }, { "clients", false, false, false, false, true },
        { "words", false, false, false, false, true }, { "turns", false, false, false, false, true }, { "answer", false, false, false, false, true }, { "think", false, false, false, false, true },
        { "leave", false, false, false, false, true }, { "limit-first", false, false, false, false, true },
        { "limit-token", false, false, false, false, true },
    };
    for (size_t i = 0; i < COUNT_OF(uses); i++) {
        const bool fits[] = { uses[i].machine, uses[i].kernels, uses[i].masks, uses[i].serve, uses[i].model };
        if (args_given(a, uses[i].name) && !fits[part])
            return args_mistake(a, e, "--%s means nothing to \"facet bench%s%s\"", uses[i].name, part < PART_MODEL ? " " : "", part < PART_MODEL ? parts[part] : "");
    }
    return OK;
}

static status run(args *a, err *e)
{
    status st = OK;
    size_t part = PART_MODEL;
    bench_list clients;
    setup_log(a);
    if (args_operands(a)) {
        const char *word = args_operand(a, 0);
        for (part = 0; part < PART_MODEL && strcmp(word, parts[part]) != 0; part++) continue;
        if (part == PART_MODEL)
            return args_mistake(a, e, "cannot measure \"%s\"\n\"facet bench\" takes machine, kernels, masks, serve, or a model with -m FILE", word);
    }
    TRY(check_part(a, part, e));
    if (part == 0) TRY(cmd_bench_machine(a, e));
    else if (part == 1) TRY(cmd_bench_kernels(a, e));
    else if (part == 2) TRY(cmd_bench_masks(a, e));
    else if (part == 3) {
        TRY(read_list(a, "clients", 1, 256, false, &clients, e));
        TRY(cmd_bench_serve(a, &clients, e));
    }
    else TRY(cmd_bench_model(a, e));
out:
    tty_progress_done();
    return st;
}

static const opt options[] = {
    { "prefill", 0, OPT_TEXT, .argument = "N,N,...", .value = "512", .group = "Tests", .help = "Lengths of prompts to compute; 0 leaves prompts out." },
    { "decode", 0, OPT_TEXT, .argument = "N,N,...", .value = "64", .group = "Tests", .help = "Tokens to produce one after the other; 0 leaves that out." },
    { "depth", 0, OPT_TEXT, .argument = "N,N,...", .value = "0", .group = "Tests", .help = "Tokens that are in the cache already; they are computed first." },
    { "batch", 0, OPT_TEXT, .argument = "N,N,...", .value = "1", .group = "Tests", .help = "Sequences that run in the same steps." },
    { "rounds", 0, OPT_INT, .argument = "N", .value = "5", .min = 1, .max = 1000, .group = "Tests", .help = "Samples of each test; conversations of each client; for masks, answers drawn at random for each schema." },
    { "seconds", 0, OPT_REAL, .argument = "X", .unset = "20 for a test, 0.6 for a limit of the machine", .min = 0.001, .max = 3600, .group = "Tests",
      .help = "No further sample of a test after this time, and no further request to a server; the time for each limit of the machine, and for each kernel." },
    { "skip-machine", 0, OPT_FLAG, .group = "Tests", .help = "Do not measure the machine's limits: no shares of them." },
    { "dir", 0, OPT_TEXT, .argument = "DIR", .unset = "$TMPDIR or /var/tmp", .group = "Tests",
      .help = "Folder whose disk is measured, with a temporary file of 256 MB; with -m the model's own file is read instead." },
    { "type", 0, OPT_TEXT, .argument = "NAME", .unset = "all", .group = "Tests", .help = "Only kernels for this type of weights: q4_0, q6_k, bf16, ..." },
    { "url", 0, OPT_TEXT, .argument = "URL", .value = "http://127.0.0.1:8080", .group = "Server", .help = "The server to ask, Facet's or another with OpenAI's chat completions." },
    { "api-key", 0, OPT_TEXT, .argument = "KEY", .group = "Server", .help = "Its key." },
    { "clients", 0, OPT_TEXT, .argument = "N,N,...", .value = "1,4,16,64", .group = "Server", .help = "Clients at once; each has --rounds conversations of two turns." },
    { "words", 0, OPT_INT, .argument = "N", .value = "256", .min = 1, .max = 1000000, .group = "Server", .help = "Words of a conversation's first turn." },
    { "turns", 0, OPT_INT, .argument = "N", .value = "2", .min = 1, .max = 2, .group = "Server", .help = "Turns of a conversation; with 1 nothing is warm." },
    { "answer", 0, OPT_INT, .argument = "N", .value = "64", .min = 2, .max = 100000, .group = "Server", .help = "Tokens of each answer." },
    { "think", 0, OPT_REAL, .argument = "S", .value = "0", .min = 0, .max = 3600, .group = "Server", .help = "Seconds that a client waits before it asks again, give or take a half." },
    { "leave", 0, OPT_REAL, .argument = "X", .value = "0", .min = 0, .max = 1, .group = "Server", .help = "Share of requests whose client leaves in the middle of the answer." },
    { "limit-first", 0, OPT_REAL, .argument = "S", .value = "2", .min = 0, .max = 3600, .group = "Server", .help = "Goodput counts requests with their first token within these seconds" },
    { "limit-token", 0, OPT_REAL, .argument = "S", .value = "0.1", .min = 0, .max = 3600, .group = "Server", .help = "and no more than these per token after it." },
    { "json", 0, OPT_FLAG, .group = "Output", .help = "For programs." },
    { "svg", 0, OPT_TEXT, .argument = "FILE", .group = "Output", .help = "Draw the results into this file too." },
    { 0 } };

const cmd cmd_bench = {
    .name = "bench", .summary = "measure speed: of a model, the machine, the kernels, constrained answers, a server", .operands = "[machine|kernels|masks|serve]", .operand_max = 1,
    .details = "Without a word, a model is timed: prompts (prefill) and one token after the other (decode), with random tokens. Rates are of all "
               "sequences together, medians of the samples; the spread is (q3 - q1) / median. Shares compare the work that is needed (rows without wanted "
               "logits leave early, only chosen experts are read, the head is for wanted rows) with limits measured in the same run, before and after.\n"
               "\"machine\" measures these limits: memory bandwidth by threads, products of int8, bf16 and f32 numbers, disk. \"kernels\" times each "
               "product and vector function alone. \"masks\" times constrained answers with the model's vocabulary (its file may have no tensors): "
               "schemas to compile, and for every token of answers that fit, drawn at random or written down, the set of tokens that may come "
               "and the step after it. \"serve\" puts load on a running server: times to the first token of a conversation's first (cold) and "
               "second (warm) turn, per token, tokens per second of all clients, and the share of prompts that the server had in its cache, as it says itself.\n"
               "Samples during which something else used the processor are repeated; when it never stops, a warning says so.",
    .options = { opt_model, options, opt_context, opt_machine, opt_output }, .run = run,
    .examples = { { "facet bench -m e2b --prefill 512,2048 --depth 0,8192 --batch 1,8", "twelve tests and their shares of the machine" },
                  { "facet bench -m e2b --prefill 0 --decode 32 --isa avx2 --json", "decoding with a lower instruction set, for a program" },
                  { "facet bench -m e2b --svg e2b.svg", "with a picture" },
                  { "facet bench machine --dir /mnt/models", "the limits; the disk is the one of that folder" },
                  { "facet bench kernels --isa avx512 --type q4_0", "one family and one type" },
                  { "facet bench masks -m gemma-4-vocab.gguf --rounds 20", "microseconds for the tokens that may come next" },

                  { "facet bench serve --url http://127.0.0.1:8080 --clients 1,8 --words 2000", "a server with one and with eight clients" } } };
