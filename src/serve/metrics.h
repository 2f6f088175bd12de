/* Counters and histograms of a server, and their Prometheus text.  The names behind "facet:" are those of vLLM. */
#ifndef FC_SERVE_METRICS_H
#define FC_SERVE_METRICS_H

#include "base/buf.h"

enum { METRICS_BUCKETS = 21, METRICS_FINISHES = 6 };

typedef struct metrics_histogram { uint64_t count[METRICS_BUCKETS + 1]; double sum; } metrics_histogram;

typedef struct metrics {
    uint64_t finished[METRICS_FINISHES];     /* by facet_finish */
    uint64_t prompt_tokens, cached_tokens, answer_tokens;
    uint64_t refused;                        /* answered with an error before the engine saw them */
    int64_t submitted, running;              /* now in the engine; of these, those that left its queue */
    double service;                          /* seconds that a request takes once it has a place: mean in which the newest count most; 0: none ended yet */
    metrics_histogram first_token, whole, queue, prompt, decode;   /* seconds */
} metrics;

void metrics_add(metrics *m, const facet_result *r);
/* Seconds until what waits now has a place and one more could have one, when `parallel` are computed at once: 1 to 600. */
int metrics_queue_seconds(const metrics *m, int parallel);
/* engine: its own counters.  connections, calls: of the door. */
status metrics_print(const metrics *m, const facet_stats *engine, const char *model, int connections, int calls, buf *out, err *e);

#endif
