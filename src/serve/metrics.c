#include "serve/metrics.h"

#include <math.h>

#include "base/bits.h"

/* vLLM's buckets for the time to the first token, in seconds. */
static const double bounds[METRICS_BUCKETS] = { 0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640 };

static void observe(metrics_histogram *h, double seconds)
{
    size_t i = 0;
    while (i < METRICS_BUCKETS && seconds > bounds[i]) i++;
    h->count[i]++;
    h->sum += seconds;
}

void metrics_add(metrics *m, const facet_result *r)
{
    if ((unsigned)r->finish < METRICS_FINISHES) m->finished[r->finish]++;
    m->prompt_tokens += (uint64_t)r->prompt_tokens;
    m->cached_tokens += (uint64_t)r->cached_tokens;
    m->answer_tokens += (uint64_t)r->answer_tokens;
    if (r->answer_tokens == 0) return;
    double service = r->prompt_seconds + r->answer_seconds;
    m->service = m->service > 0 ? m->service + (service - m->service) / 8 : service;
    observe(&m->first_token, r->wait_seconds + r->prompt_seconds);
    observe(&m->whole, r->wait_seconds + r->prompt_seconds + r->answer_seconds);
    observe(&m->queue, r->wait_seconds);
    observe(&m->prompt, r->prompt_seconds);
    observe(&m->decode, r->answer_seconds);
}

int metrics_queue_seconds(const metrics *m, int parallel)
{
    double seconds = m->service * (double)(m->submitted - m->running + 1) / (parallel > 0 ? parallel : 1);
    return seconds >= 600 ? 600 : seconds > 1 ? (int)ceil(seconds) : 1;
}

static status print_number(buf *b, const char *name, const char *type, const char *help, const char *model, double v, err *e)
{
    return buf_addf(b, e, "# HELP facet:%s %s\n# TYPE facet:%s %s\nfacet:%s{model_name=\"%s\"} %.17g\n", name, help, name, type, name, model, v);
}

static status print_histogram(buf *b, const char *name, const char *help, const char *model, const metrics_histogram *h, err *e)
{
    status st = OK;
    uint64_t sum = 0;
    TRY(buf_addf(b, e, "# HELP facet:%s %s\n# TYPE facet:%s histogram\n", name, help, name));
    for (size_t i = 0; i < METRICS_BUCKETS; i++) {
        sum += h->count[i];
        TRY(buf_addf(b, e, "facet:%s_bucket{model_name=\"%s\",le=\"%g\"} %llu\n", name, model, bounds[i], (unsigned long long)sum));
    }
    sum += h->count[METRICS_BUCKETS];
    TRY(buf_addf(b, e, "facet:%s_bucket{model_name=\"%s\",le=\"+Inf\"} %llu\nfacet:%s_sum{model_name=\"%s\"} %.9g\nfacet:%s_count{model_name=\"%s\"} %llu\n",
                 name, model, (unsigned long long)sum, name, model, h->sum, name, model, (unsigned long long)sum));
out:
    return st;
}

static status print_finished(const metrics *m, const char *model, buf *b, err *e)
{
    static const char *const names[METRICS_FINISHES] = { "stop", "stop_text", "length", "tool_calls", "cancelled", "error" };
    status st = buf_add_str(b, "# HELP facet:request_success_total Requests that ended, by how.\n# TYPE facet:request_success_total counter\n", e);
    for (size_t i = 0; st == OK && i < METRICS_FINISHES; i++)
        st = buf_addf(b, e, "facet:request_success_total{model_name=\"%s\",finished_reason=\"%s\"} %llu\n", model, names[i], (unsigned long long)m->finished[i]);
    return st;
}

status metrics_print(const metrics *m, const facet_stats *engine, const char *model, int connections, int calls, buf *b, err *e)
{
    status st = OK;
    TRY(print_number(b, "num_requests_running", "gauge", "Requests that are computed now.", model, (double)m->running, e));
    TRY(print_number(b, "num_requests_waiting", "gauge", "Requests in the queue.", model, (double)(m->submitted - m->running), e));
    TRY(print_number(b, "connections", "gauge", "Open connections.", model, connections, e));
    TRY(print_number(b, "calls", "gauge", "HTTP requests that are being answered.", model, calls, e));
    TRY(print_number(b, "requests_refused_total", "counter", "Requests answered with an error before they were computed.", model, (double)m->refused, e));
    TRY(print_number(b, "prompt_tokens_total", "counter", "Tokens of prompts.", model, (double)m->prompt_tokens, e));
    TRY(print_number(b, "generation_tokens_total", "counter", "Tokens of answers.", model, (double)m->answer_tokens, e));
    TRY(print_number(b, "prefix_cache_queries", "counter", "Tokens of prompts that were looked for in the cache.", model, (double)m->prompt_tokens, e));
    TRY(print_number(b, "prefix_cache_hits", "counter", "Tokens of prompts that were in the cache.", model, (double)m->cached_tokens, e));
    TRY(print_number(b, "kv_cache_usage_perc", "gauge", "Share of the cache that requests and remembered prefixes use, 0 to 1.", model,
                     engine->tokens_max ? (double)engine->tokens / (double)engine->tokens_max : 0, e));
    TRY(print_number(b, "num_preemptions_total", "counter", "Requests set back to make room; they went on later.", model, (double)engine->preempted, e));
    TRY(print_number(b, "checkpoints", "gauge", "Places behind which a prompt can go on.", model, engine->checkpoints, e));
    TRY(print_number(b, "checkpoints_evicted_total", "counter", "Checkpoints forgotten to make room.", model, (double)engine->evicted, e));
    TRY(print_number(b, "prefix_cache_disk_hits", "counter", "Tokens of prompts that came back from the disk; they count as hits, too.", model, (double)engine->disk_tokens, e));
    TRY(print_number(b, "prefix_cache_disk_bytes", "gauge", "Bytes of the cache on disk.", model, (double)engine->disk_bytes, e));
    TRY(print_number(b, "prefix_cache_disk_files", "gauge", "Files of the cache on disk.", model, engine->disk_files, e));
    TRY(print_number(b, "prefix_cache_disk_failures_total", "counter", "Files of the cache that could not be written or read.", model, (double)engine->disk_failed, e));
    TRY(print_finished(m, model, b, e));
    TRY(print_histogram(b, "time_to_first_token_seconds", "From the request to its first token.", model, &m->first_token, e));
    TRY(print_histogram(b, "e2e_request_latency_seconds", "From the request to its last token.", model, &m->whole, e));
    TRY(print_histogram(b, "request_queue_time_seconds", "In the queue.", model, &m->queue, e));
    TRY(print_histogram(b, "request_prefill_time_seconds", "Reading the prompt.", model, &m->prompt, e));
    TRY(print_histogram(b, "request_decode_time_seconds", "From the first token to the last.", model, &m->decode, e));
out:
    return st;
}
