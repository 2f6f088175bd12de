/* Engines and requests on miniatures without a vocabulary: ids in, ids out. */
#ifndef FC_TESTS_ENGINE_H
#define FC_TESTS_ENGINE_H

#include <pthread.h>

#include "facet.h"
#include "support/test.h"

enum { HEARD_MAX = 640, HEARD_TOP = 20 };

/* What one request said. */
typedef struct heard {
    int32_t ids[HEARD_MAX];
    float logprobs[HEARD_MAX];
    facet_logprob top[HEARD_MAX][HEARD_TOP];   /* with sampling.top_logprobs */
    int count, dones, after_done, progress_last;
    int cancel_after;           /* cancel from the callback after this many tokens; 0: never */
    int cancel_prompt;          /* or when so much of the prompt is in the cache */
    bool free_in_callback;
    pthread_mutex_t *hold;      /* the engine waits for it in the first event: until others are submitted, too */
    int *order; int place;      /* if set: a counter of requests that have ended, and which one it was */
    facet_request *r;
    facet_result result;
} heard;

facet_model *engine_open_model(const char *golden);      /* "tests/golden/26b" */
/* Invariant: what company, chunks and caches must not change is compared bit for bit. */
facet_engine *engine_start(const facet_model *m, const facet_engine_opts *o);
/* Temperature 1.5, no end, log-probabilities. */
facet_sampling engine_sampling(const facet_model *m, uint64_t seed, int32_t max_tokens);
void engine_listen(void *user, const facet_event *ev);     /* user: a heard */
/* h->r is freed by the caller. */
void engine_submit(heard *h, facet_engine *g, const facet_sampling *s, const int32_t *ids, size_t n);
void engine_submit_as(heard *h, facet_engine *g, const facet_sampling *s, const int32_t *ids, size_t n, uint64_t scope);
/* Submits, waits, frees. */
void engine_ask(heard *h, facet_engine *g, const facet_sampling *s, const int32_t *ids, size_t n);
void engine_prompt(int32_t *ids, int n, int salt);
void engine_same(const heard *a, const heard *b);        /* bit for bit */

#endif
