#include "bench/bench_model.h"

#include <stdio.h>

#include "base/bits.h"
#include "base/rng.h"
#include "bench/bench_quiet.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "text/text_model.h"

enum { TRIES = 3, SEED = 20261123 };   /* samples tried for each wanted one */

typedef struct run {
    const bench_model_opts *o;
    bench_report *report;
    gemma *m;
    gemma_ctx *x;
    gemma_row *rows;             /* [chunk] */
    float *logits;               /* [batch_max, V] */
    int32_t batch_max;
    int32_t *seq;                /* [batch_max] */
    uint8_t **saved;             /* [batch_max] states at the present depth, NULL at depth 0 */
    size_t *saved_bytes;
    uint64_t saved_total;
    uint64_t drawn;              /* tokens so far */
} run;

static int32_t most(const bench_list *l)
{
    int32_t n = 0;
    for (int32_t i = 0; i < l->count; i++) n = MAX(n, l->at[i]);
    return n;
}

/* ---- memory ---- */

/* "RssAnon:  1234 kB" of /proc/self/status, in bytes; 0 when it is not there. */
static uint64_t status_bytes(const char *name)
{
    char line[256];
    unsigned long long kb = 0;
    size_t n = strlen(name);
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, name, n) == 0 && sscanf(line + n, ": %llu", &kb) == 1) break;
    if (f) fclose(f);
    return kb << 10;
}

/* The states kept for restoring a depth are the measuring's own, not the model's. */
static void note_memory(run *r)
{
    uint64_t private_now = status_bytes("RssAnon"), all = status_bytes("VmRSS");
    r->report->private_bytes = MAX(r->report->private_bytes, private_now - MIN(private_now, r->saved_total));
    r->report->peak_rss_bytes = MAX(r->report->peak_rss_bytes, all - MIN(all, r->saved_total));
}

/* ---- steps ---- */

static int32_t draw(run *r) { return (int32_t)(rng_uniform(SEED, r->drawn++) * r->m->config.vocab); }

/* n more tokens of `batch` sequences from `first` on, in chunks; logits of each one's last row when wanted.  Adds up the
 * work when w is not NULL. */
static status prefill(run *r, const int32_t *seq, int32_t batch, int32_t first, int32_t n, bool want, bench_work *w, int32_t *steps, err *e)
{
    status st = OK;
    int32_t chunk = gemma_ctx_opts_used(r->x)->row_max, T = 0;
    int64_t left = (int64_t)batch * n;
    for (int32_t b = 0; b < batch; b++)
        for (int32_t i = 0; i < n; i++) {
            r->rows[T++] = (gemma_row){ .seq = seq[b], .pos = first + i, .token = draw(r), .want_logits = want && i == n - 1 };
            left--;
            if (T < chunk && left) continue;
            if (w) bench_work_step(w, r->m, r->report->kv, r->rows, T);
            *steps += 1;
            TRY(gemma_step(r->x, r->rows, T, r->logits, e));
            T = 0;
        }
out:
    return st;
}

static status decode(run *r, const int32_t *seq, int32_t batch, int32_t first, int32_t n, bench_work *w, int32_t *steps, err *e)
{
    status st = OK;
    for (int32_t i = 0; i < n; i++) {
        for (int32_t b = 0; b < batch; b++) r->rows[b] = (gemma_row){ .seq = seq[b], .pos = first + i, .token = draw(r), .want_logits = true };
        if (w) bench_work_step(w, r->m, r->report->kv, r->rows, batch);
        *steps += 1;
        TRY(gemma_step(r->x, r->rows, batch, r->logits, e));
    }
out:
    return st;
}

/* ---- depth ---- */

static void forget_depth(run *r)
{
    for (int32_t b = 0; b < r->batch_max; b++) {
        mem_free(r->saved[b]);
        r->saved[b] = NULL;
    }
    r->saved_total = 0;
}

/* Runs `depth` tokens in batch_max sequences, one after the other, and keeps their states. */
static status fill_depth(run *r, int32_t depth, err *e)
{
    status st = OK;
    int32_t seq = -1, steps = 0;
    char what[64];
    forget_depth(r);
    snprintf(what, sizeof what, "filling depth %d", depth);
    for (int32_t b = 0; depth && b < r->batch_max; b++) {
        if (r->o->progress) r->o->progress(r->o->user, what, (double)b / r->batch_max);
        TRY(gemma_seq_new(r->x, &seq, e));
        TRY(prefill(r, &seq, 1, 0, depth, false, NULL, &steps, e));
        size_t n = gemma_seq_bytes(r->x, seq);
        r->saved[b] = mem_alloc(n, MEM_IO);
        if (!r->saved[b]) FAIL(e, E_NOMEM, "could not keep a sequence of %d tokens\nno memory for %zu MB", depth, n >> 20);
        r->saved_bytes[b] = n;
        r->saved_total += n;
        TRY(gemma_seq_save(r->x, seq, r->saved[b], n, e));
        gemma_seq_free(r->x, seq);
        seq = -1;
    }
out:
    if (seq >= 0) gemma_seq_free(r->x, seq);
    return st;
}

static status restore(run *r, int32_t batch, int32_t depth, err *e)
{
    status st = OK;
    for (int32_t b = 0; b < batch; b++)
        TRY(depth ? gemma_seq_load(r->x, r->saved[b], r->saved_bytes[b], &r->seq[b], e) : gemma_seq_new(r->x, &r->seq[b], e));
out:
    return st;
}

static void drop(run *r)
{
    for (int32_t b = 0; b < r->batch_max; b++) {
        if (r->seq[b] >= 0) gemma_seq_free(r->x, r->seq[b]);
        r->seq[b] = -1;
    }
}

/* ---- one test ---- */

static double experts_read(const run *r, bench_work *w, double sign)
{
    double total = 0;
    for (int32_t l = 0; l < r->m->config.layer_count; l++) {
        double n = sign * (double)gemma_ctx_experts_read(r->x, l);
        bench_work_experts(w, r->m, l, n);
        total += n;
    }
    return total;
}

/* Runs the test once.  The work is the same each time but for the experts that random tokens choose: the last sample's
 * are kept. */
static status sample(run *r, bench_result *t, double *seconds, double *others, err *e)
{
    status st = OK;
    bench_quiet q;
    bench_work w = { 0 };
    TRY(restore(r, t->batch, t->depth, e));
    double read = experts_read(r, &w, -1);
    t->steps = 0;
    bench_quiet_begin(&q);
    if (t->decode) TRY(decode(r, r->seq, t->batch, t->depth, t->tokens, &w, &t->steps, e));
    else TRY(prefill(r, r->seq, t->batch, t->depth, t->tokens, true, &w, &t->steps, e));
    *seconds = bench_quiet_end(&q, others);
    read += experts_read(r, &w, 1);
    t->work = w;
    t->experts = read / (double)((int64_t)t->steps * r->m->config.layer_count);
    note_memory(r);
out:
    drop(r);
    return st;
}

static void show(const run *r, const bench_result *t, int at, int of)
{
    char what[128];
    if (!r->o->progress) return;
    snprintf(what, sizeof what, "%s %d, depth %d, batch %d", t->decode ? "decode" : "prefill", t->tokens, t->depth, t->batch);
    r->o->progress(r->o->user, what, (double)at / of);
}

/* The first sample warms caches and clocks up; it counts only where time does not allow a second one. */
static status run_test(run *r, bench_result *t, err *e)
{
    status st = OK;
    int rounds = r->o->rounds ? r->o->rounds : 5, tries = TRIES * rounds, quiets = 0, louds = 0;
    double limit = r->o->seconds > 0 ? r->o->seconds : 20, seconds = 0, others = 0, start = clock_seconds();
    double tokens = (double)t->tokens * t->batch;
    double *quiet = mem_array((size_t)tries + 1, sizeof *quiet, MEM_OTHER), *loud = mem_array((size_t)tries + 1, sizeof *loud, MEM_OTHER);
    if (!quiet || !loud) FAIL(e, E_NOMEM, "could not keep the samples\nout of memory");
    for (int i = 0; i <= tries && quiets < rounds; i++) {
        double spent = clock_seconds() - start;
        if ((quiets && spent > limit) || (louds && spent > 2 * limit)) break;
        show(r, t, quiets, rounds);
        TRY(sample(r, t, &seconds, &others, e));
        if (i == 0 && seconds < limit / 2) continue;
        if (bench_quiet_disturbed(seconds, others)) loud[louds++] = tokens / seconds;
        else quiet[quiets++] = tokens / seconds;
    }
    t->disturbed = louds;
    t->noisy = quiets == 0;
    t->tok_s = bench_stats_of(quiets ? quiet : loud, (size_t)(quiets ? quiets : louds));
    t->seconds = t->tok_s.median > 0 ? tokens / t->tok_s.median : 0;
out:
    mem_free(quiet);
    mem_free(loud);
    return st;
}

static status run_tests(run *r, err *e)
{
    status st = OK;
    const bench_model_opts *o = r->o;
    bench_result *t = r->report->results;
    for (int32_t d = 0; d < o->depth.count; d++) {
        TRY(fill_depth(r, o->depth.at[d], e));
        for (int32_t b = 0; b < o->batch.count; b++) {
            for (int32_t i = 0; i < o->prefill.count; i++, t++) {
                *t = (bench_result){ .tokens = o->prefill.at[i], .depth = o->depth.at[d], .batch = o->batch.at[b] };
                TRY(run_test(r, t, e));
            }
            for (int32_t i = 0; i < o->decode.count; i++, t++) {
                *t = (bench_result){ .decode = true, .tokens = o->decode.at[i], .depth = o->depth.at[d], .batch = o->batch.at[b] };
                TRY(run_test(r, t, e));
            }
        }
    }
out:
    return st;
}

/* ---- limits ---- */

void bench_result_shares(bench_result *r, const bench_limits *l)
{
    if (r->seconds <= 0 || l->read.rate <= 0 || l->int8.rate <= 0 || l->bf16.rate <= 0) return;
    double memory = bench_work_bytes(&r->work) / l->read.rate, sums = r->work.int8_ops / l->int8.rate + r->work.float_ops / l->bf16.rate;
    r->bandwidth_share = memory / r->seconds;
    r->peak_share = sums / r->seconds;
    r->roofline_tok_s = (double)r->tokens * r->batch / MAX(memory, sums);
}

static void mean_limit(bench_limit *a, const bench_limit *b)
{
    double mean = (a->rate + b->rate) / 2, apart = mean > 0 ? (a->rate > b->rate ? a->rate - b->rate : b->rate - a->rate) / mean : 0;
    a->spread = MAX(MAX(a->spread, b->spread), apart);
    a->rate = mean;
}

/* Shared hosts change within minutes: the limits are those of before and after, in the middle. */
static void mean_machine(bench_machine *a, const bench_machine *b)
{
    bench_limits *x = &a->by[a->count - 1];
    const bench_limits *y = bench_machine_full(b);
    mean_limit(&x->read, &y->read);
    mean_limit(&x->int8, &y->int8);
    mean_limit(&x->bf16, &y->bf16);
    mean_limit(&x->f32, &y->f32);
    a->windows += b->windows;
    a->disturbed += b->disturbed;
    a->noisy |= b->noisy;
    a->others = (a->others + b->others) / 2;
}

static status measure_machine(const bench_model_opts *o, bench_machine *out, err *e)
{
    bench_machine_opts mo = { .threads = o->threads, .isa = o->isa, .seconds = o->seconds > 0 ? MIN(o->seconds, 0.4) : 0.4 };
    if (o->progress) o->progress(o->user, "limits of the machine", 0);
    return bench_machine_measure(out, &mo, e);
}

/* ---- opening ---- */

static status check(const run *r, err *e)
{
    const bench_model_opts *o = r->o;
    int64_t need = (int64_t)most(&o->depth) + MAX(most(&o->prefill), most(&o->decode)), have = o->ctx ? MIN(o->ctx, r->m->config.context) : r->m->config.context;
    if (need > have)
        return err_set(e, E_ARG, "cannot measure at depth %d\nthat needs a context of %lld tokens, and there are %lld\nAsk for less depth or fewer tokens.",
                       most(&o->depth), (long long)need, (long long)have);
    return OK;
}

static status make_ctx(run *r, err *e)
{
    status st = OK;
    const bench_model_opts *o = r->o;
    gemma_ctx_opts c;
    gemma_ctx_defaults(&c);
    c.ctx = o->ctx ? o->ctx : most(&o->depth) + MAX(most(&o->prefill), most(&o->decode));
    c.seq_max = r->batch_max;
    c.logit_rows_max = r->batch_max;
    c.row_max = o->chunk ? o->chunk : 512;     /* not shortened to a short context: rows of several sequences share a step */
    c.row_max = MAX(c.row_max, r->batch_max);
    c.threads = o->threads;
    c.isa = o->isa;
    c.exact = o->exact;
    c.invariant = o->invariant;
    if (o->kv != DTYPE_COUNT) c.kv_type = o->kv;
    TRY(gemma_ctx_new(&r->x, r->m, &c, NULL, e));
    const gemma_ctx_opts *used = gemma_ctx_opts_used(r->x);
    r->report->threads = used->threads;
    r->report->kv = used->kv_type;
    r->report->chunk = used->row_max;
    r->rows = mem_array((size_t)used->row_max, sizeof *r->rows, MEM_OTHER);
    r->logits = mem_array((size_t)r->batch_max * (size_t)r->m->config.vocab, sizeof *r->logits, MEM_ACTIVATIONS);
    r->seq = mem_array((size_t)r->batch_max, sizeof *r->seq, MEM_OTHER);
    r->saved = mem_array((size_t)r->batch_max, sizeof *r->saved, MEM_OTHER);
    r->saved_bytes = mem_array((size_t)r->batch_max, sizeof *r->saved_bytes, MEM_OTHER);
    if (!r->rows || !r->logits || !r->seq || !r->saved || !r->saved_bytes) FAIL(e, E_NOMEM, "could not measure the model\nout of memory");
    for (int32_t b = 0; b < r->batch_max; b++) r->seq[b] = -1;
out:
    return st;
}

/* Everything that stands between a user and the first token: both readings of the file, memory, one step. */
static status open_model(run *r, err *e)
{
    status st = OK;
    double start = clock_seconds();
    text_model text = { 0 };
    err why;
    int32_t steps = 0;
    TRY(gemma_open(&r->m, r->o->path, e));
    if (text_model_open(&text, r->o->path, &why) == OK) text_model_done(&text);   /* a file without a vocabulary can be measured too */
    TRY(check(r, e));
    TRY(make_ctx(r, e));
    r->report->open_seconds = clock_seconds() - start;
    TRY(restore(r, 1, 0, e));
    TRY(prefill(r, r->seq, 1, 0, 1, true, NULL, &steps, e));
    r->report->first_token_seconds = clock_seconds() - start;
    snprintf(r->report->name, sizeof r->report->name, "%s", r->m->config.name);
    snprintf(r->report->size, sizeof r->report->size, "%s", gemma_config_size_name(&r->m->config, (char[96]){ 0 }, 96));
    r->report->file_bytes = r->m->gguf ? gguf_file_bytes(r->m->gguf) : st_file_bytes(r->m->safetensors);
out:
    if (r->seq) drop(r);
    return st;
}

static void close_model(run *r)
{
    if (r->saved) forget_depth(r);
    mem_free(r->saved);
    mem_free(r->saved_bytes);
    mem_free(r->seq);
    mem_free(r->logits);
    mem_free(r->rows);
    gemma_ctx_free(r->x);
    gemma_close(r->m);
}

void bench_report_done(bench_report *r)
{
    mem_free(r->results);
    r->results = NULL;
    r->count = 0;
}

status bench_model_run(bench_report *out, const bench_model_opts *o, err *e)
{
    status st = OK;
    bench_machine after;
    bench_report report = { .isa = cpu_isa_found() & (o->isa ? o->isa : UINT32_MAX) };
    run r = { .o = o, .report = &report, .batch_max = most(&o->batch) };
    report.count = o->depth.count * o->batch.count * (o->prefill.count + o->decode.count);
    report.results = mem_array((size_t)report.count + 1, sizeof *report.results, MEM_OTHER);
    if (!report.results) FAIL(e, E_NOMEM, "could not measure the model\nout of memory");
    if (!o->skip_machine) TRY(measure_machine(o, &report.machine, e));
    TRY(open_model(&r, e));
    TRY(run_tests(&r, e));
    if (!o->skip_machine) {
        TRY(measure_machine(o, &after, e));
        mean_machine(&report.machine, &after);
        for (int i = 0; i < report.count; i++) bench_result_shares(&report.results[i], bench_machine_full(&report.machine));
    }
    *out = report;
    report.results = NULL;
out:
    close_model(&r);
    mem_free(report.results);
    return st;
}
