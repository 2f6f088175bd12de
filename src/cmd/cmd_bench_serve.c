/* facet bench serve: a server under load. */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "bench/bench_serve.h"
#include "cmd/cmd_bench.h"
#include "os/tty.h"

/* "http://127.0.0.1:8080" -> host and port. */
static status read_url(args *a, char host[256], char port[8], err *e)
{
    const char *url = args_text(a, "url");
    str rest = str_from(url), name;
    if (!str_starts(rest, "http://")) return args_mistake(a, e, "cannot use the address \"%s\"\nit must begin with http://", url);
    rest = str_skip(rest, 7);
    rest.n = str_find(rest, STR("/"));
    name = rest;
    for (size_t i = rest.n; i > 0; i--)
        if (rest.p[i - 1] == ':') { name.n = i - 1; break; }
    str number = name.n < rest.n ? str_skip(rest, name.n + 1) : STR("80");
    if (name.n > 2 && name.p[0] == '[') name = (str){ name.p + 1, name.n - 2 };
    if (name.n == 0 || name.n >= 256 || number.n == 0 || number.n >= 8) return args_mistake(a, e, "cannot use the address \"%s\"\nit must be http://HOST:PORT", url);
    snprintf(host, 256, "%.*s", (int)name.n, name.p);
    snprintf(port, 8, "%.*s", (int)number.n, number.p);
    return OK;
}

static json_t *times_json(bench_serve_times t) { return json_pack("{s:f, s:f}", "p50_s", t.p50, "p99_s", t.p99); }

static json_t *result_json(int clients, const bench_serve_result *r)
{
    return json_pack("{s:i, s:i, s:i, s:i, s:s, s:f, s:o, s:o, s:o, s:f, s:f, s:f, s:I, s:I, s:I}", "clients", clients, "done", r->done, "left", r->left,
                     "failed", r->failed, "why", r->why.what, "seconds", r->seconds, "first_token_cold", times_json(r->cold), "first_token_warm", times_json(r->warm),
                     "per_token", times_json(r->token), "tok_s", r->tokens_per_second, "requests_s", r->done / r->seconds, "goodput_s", r->good_per_second,
                     "prompt_tokens", (json_int_t)r->prompt_tokens, "cached_tokens", (json_int_t)r->cached_tokens, "answer_tokens", (json_int_t)r->answer_tokens);
}

static void print_row(int clients, const bench_serve_result *r, bool first)
{
    if (first)
        printf("%7s %5s %5s %6s %10s %10s %10s %10s %9s %9s %9s %9s %10s\n", "clients", "done", "left", "failed", "cold ms", "p99", "warm ms", "p99", "ms/token",
               "p99", "tok/s", "good/s", "cached");
    printf("%7d %5d %5d %6d %10.1f %10.1f %10.1f %10.1f %9.2f %9.2f %9.1f %9.2f %8.0f %%\n", clients, r->done, r->left, r->failed, 1e3 * r->cold.p50,
           1e3 * r->cold.p99, 1e3 * r->warm.p50, 1e3 * r->warm.p99, 1e3 * r->token.p50, 1e3 * r->token.p99, r->tokens_per_second, r->good_per_second,
           r->prompt_tokens ? 100.0 * (double)r->cached_tokens / (double)r->prompt_tokens : 0);
    fflush(stdout);
}

status cmd_bench_serve(args *a, const bench_list *clients, err *e)
{
    status st = OK;
    char host[256], port[8], what[32];
    json_t *all = json_array();
    bench_serve_opts o = { .host = host, .port = port, .key = args_text(a, "api-key"), .conversations = (int)args_int(a, "rounds"), .turns = (int)args_int(a, "turns"),
                           .seconds = args_given(a, "seconds") ? args_real(a, "seconds") : 0,
                           .words = (int)args_int(a, "words"), .answer = (int)args_int(a, "answer"), .think_seconds = args_real(a, "think"),
                           .leave = args_real(a, "leave"), .first_limit = args_real(a, "limit-first"), .token_limit = args_real(a, "limit-token"), .seed = 1 };
    TRY(read_url(a, host, port, e));
    for (int i = 0; i < clients->count; i++) {
        bench_serve_result r;
        o.clients = clients->at[i];
        snprintf(what, sizeof what, "%d clients", o.clients);
        if (!args_flag(a, "quiet") && args_flag(a, "json")) tty_progress("measuring", (double)i / clients->count, what);
        TRY(bench_serve_run(&o, &r, e));
        if (args_flag(a, "json")) json_array_append_new(all, result_json(o.clients, &r));
        else print_row(o.clients, &r, i == 0);
        if (r.failed && !args_flag(a, "quiet")) fprintf(stderr, "facet: %d of %d clients had a request that failed: %s\n", r.failed, o.clients, r.why.what);
    }
    if (args_flag(a, "json")) {
        TRY(cmd_bench_print(json_pack("{s:s, s:i, s:i, s:f, s:f, s:O}", "url", args_text(a, "url"), "words", o.words, "answer", o.answer, "think_s", o.think_seconds,
                                      "leave", o.leave, "results", all), e));
    }
out:
    json_decref(all);
    return st;
}
