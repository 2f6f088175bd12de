/* A server under load: clients that each hold one conversation after another over OpenAI's chat completions, streamed.
 *
 * The first turn of a conversation begins with words of its own, so nothing of it can be in a cache (cold); the second goes on with the
 * whole first turn before it (warm).  All times are the client's: to the first token from sending the request, then between the first
 * and the last one.  Answers cannot end early, so the work is the same for every server. */
#ifndef FC_BENCH_BENCH_SERVE_H
#define FC_BENCH_BENCH_SERVE_H

#include "base/err.h"

typedef struct bench_serve_opts {
    const char *host, *port;
    const char *key;                 /* API key, or NULL */
    int clients;                     /* at once */
    int conversations;               /* of each client */
    int turns;                       /* of a conversation: 1, or 2 */
    double seconds;                  /* no request is begun after this time; 0: all are */
    int words, answer;               /* words of a prompt, tokens of an answer */
    double think_seconds;            /* between the end of an answer and the next request: 0.5 to 1.5 of this */
    double leave;                    /* share of the requests whose client leaves in the middle of the answer */
    double first_limit, token_limit; /* seconds: a request counts for goodput when it keeps both */
    uint64_t seed;
} bench_serve_opts;

typedef struct bench_serve_times { double p50, p99; } bench_serve_times;

typedef struct bench_serve_result {
    int done, left, failed;          /* requests: answered whole, left on purpose, everything else */
    err why;                         /* of the first that failed */
    double seconds;                  /* from the first request to the last answer */
    bench_serve_times cold, warm;    /* seconds to the first token */
    bench_serve_times token;         /* seconds per token after the first */
    double tokens_per_second;        /* of all answers together */
    double good_per_second;          /* requests that kept both limits */
    int64_t prompt_tokens, cached_tokens, answer_tokens;   /* as the server counts them */
} bench_serve_result;

/* Fails as the first request did when not one was answered. */
status bench_serve_run(const bench_serve_opts *o, bench_serve_result *out, err *e);

#endif
