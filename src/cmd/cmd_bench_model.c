/* facet bench -m FILE: prefill and decode. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "bench/bench_plot.h"
#include "cmd/cmd_bench.h"
#include "os/file.h"
#include "os/tty.h"

static json_t *result_json(const bench_result *t)
{
    json_t *o = json_pack("{s:s, s:i, s:i, s:i, s:f, s:f, s:i, s:i, s:b}", "test", t->decode ? "decode" : "prefill", "tokens", t->tokens, "depth", t->depth, "batch", t->batch,
                          "tok_s", t->tok_s.median, "spread", t->tok_s.spread, "samples", (int)t->tok_s.count, "discarded", t->noisy ? 0 : t->disturbed, "disturbed", (int)t->noisy);
    json_t *more = json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "bandwidth_share", t->bandwidth_share, "peak_share", t->peak_share, "roofline_tok_s", t->roofline_tok_s,
                             "needed_gb", bench_work_bytes(&t->work) * 1e-9, "needed_kv_gb", t->work.kv_bytes * 1e-9, "needed_gop", (t->work.int8_ops + t->work.float_ops) * 1e-9,
                             "needed_attention_gop", t->work.attention_ops * 1e-9, "experts_read", t->experts);
    if (o && more) json_object_update(o, more);
    json_decref(more);
    return o;
}

static json_t *report_json(const bench_report *r, const char *path)
{
    json_t *results = json_array(), *memory = json_pack("{s:I, s:I, s:I}", "file_bytes", (json_int_t)r->file_bytes, "private_bytes", (json_int_t)r->private_bytes,
                                                        "peak_rss_bytes", (json_int_t)r->peak_rss_bytes);
    for (int i = 0; results && i < r->count; i++) json_array_append_new(results, result_json(&r->results[i]));
    return json_pack("{s:s, s:s, s:s, s:i, s:s, s:i, s:f, s:f, s:o, s:o, s:o}", "model", r->name[0] ? r->name : path, "size", r->size, "path", path, "threads", r->threads,
                     "kv", dtype_of(r->kv)->name, "chunk", r->chunk, "open_s", r->open_seconds, "first_token_s", r->first_token_seconds, "results", results,
                     "machine", cmd_bench_machine_json(&r->machine, r->isa), "memory", memory);
}

static void print_result(const bench_result *t, bool shares, bool experts)
{
    printf("%-8s %7d %7d %6d %10.2f %7.1f %%", t->decode ? "decode" : "prefill", t->tokens, t->depth, t->batch, t->tok_s.median, 100 * t->tok_s.spread);
    if (shares) printf(" %8.0f %% %8.0f %% %10.1f", 100 * t->bandwidth_share, 100 * t->peak_share, t->roofline_tok_s);
    if (experts) printf(" %8.1f", t->experts);
    printf("  %d", (int)t->tok_s.count);
    if (t->noisy) printf(", disturbed");
    else if (t->disturbed) printf(", %d left out", t->disturbed);
    printf("\n");
}

static void print_text(const bench_report *r, const char *machine)
{
    bool shares = r->machine.count > 0, experts = false;
    for (int i = 0; i < r->count; i++) experts |= r->results[i].experts > 0;
    printf("%s (%s)\n%s\n\n", r->name[0] ? r->name : "unnamed", r->size, machine);
    printf("%-8s %7s %7s %6s %10s %9s", "test", "tokens", "depth", "batch", "tok/s", "spread");
    if (shares) printf(" %10s %10s %10s", "memory", "arithmetic", "limit");
    if (experts) printf(" %8s", "experts");
    printf("  samples\n");
    for (int i = 0; i < r->count; i++) print_result(&r->results[i], shares, experts);
    printf("\nStart to first token %.2f s (files, tokenizer and buffers %.2f s). Memory: file %.0f MB, besides it %.0f MB, together at most %.0f MB.\n", r->first_token_seconds,
           r->open_seconds, (double)r->file_bytes / 1e6, (double)r->private_bytes / 1e6, (double)r->peak_rss_bytes / 1e6);
    if (shares) printf("memory, arithmetic: shares of the measured limits, needed work only; limit: tok/s that the lower of both allows.\n");
    if (experts) printf("experts: weights of so many experts were read in each layer and step, on average.\n");
}

static status write_svg(const bench_report *r, const char *path, const char *machine, err *e)
{
    status st = OK;
    file_out f = { .fd = -1 };
    buf b;
    buf_init(&b, 1 << 20);
    TRY(bench_plot(&b, r, machine, e));
    TRY(file_out_begin(&f, path, e));
    TRY(file_out_write(&f, buf_text(&b), b.len, e));
    TRY(file_out_commit(&f, e));
out:
    file_out_abort(&f);
    buf_done(&b);
    return st;
}

status cmd_bench_model(args *a, err *e)
{
    status st = OK;
    char *path = NULL, machine[512];
    bench_model_opts o;
    bench_report r = { 0 };
    TRY(cmd_bench_options(a, &o, e));
    TRY(setup_path(a, &path, e));
    o.path = path;
    TRY(bench_model_run(&r, &o, e));
    tty_progress_done();
    if (!args_flag(a, "quiet")) cmd_bench_warn(&r.machine);
    cmd_bench_describe(machine, sizeof machine, &r.machine, r.threads, r.isa);
    if (args_text(a, "svg")) TRY(write_svg(&r, args_text(a, "svg"), machine, e));
    if (args_flag(a, "json")) TRY(cmd_bench_print(report_json(&r, path), e));
    else print_text(&r, machine);
out:
    bench_report_done(&r);
    mem_free(path);
    return st;
}
