#include "support/engine.h"

#include <stdio.h>

void engine_listen(void *user, const facet_event *ev)
{
    heard *h = user;
    h->after_done += h->dones > 0;
    if (h->hold) {
        pthread_mutex_lock(h->hold);
        pthread_mutex_unlock(h->hold);
    }
    h->hold = NULL;
    switch (ev->kind) {
    case FACET_PROGRESS:
        h->progress_last = ev->prompt_done;
        if (h->cancel_prompt && ev->prompt_done >= h->cancel_prompt) facet_request_cancel(h->r);
        break;
    case FACET_TOKEN:
        if (h->count < HEARD_MAX) for (int32_t i = 0; i < ev->top_count; i++) h->top[h->count][i] = ev->top[i];
        if (h->count < HEARD_MAX) { h->ids[h->count] = ev->token.id; h->logprobs[h->count++] = ev->token.logprob; }
        if (h->cancel_after && h->count == h->cancel_after) facet_request_cancel(h->r);
        break;
    case FACET_DONE:
        h->dones++;
        if (h->order) h->place = ++*h->order;
        h->result = *ev->result;
        if (h->free_in_callback) facet_request_free(h->r);
        break;
    default: break;
    }
}

facet_model *engine_open_model(const char *golden)
{
    facet_error e;
    char path[128];
    facet_model *m = NULL;
    snprintf(path, sizeof path, "%s/model", golden);
    assert_ok(facet_model_open(&m, &(facet_model_opts){ .path = path }, &e), &e);
    return m;
}

facet_engine *engine_start(const facet_model *m, const facet_engine_opts *o)
{
    facet_error e;
    facet_engine *g = NULL;
    facet_engine_opts invariant = *o;
    invariant.invariant = true;
    assert_ok(facet_engine_start(&g, m, &invariant, &e), &e);
    return g;
}

facet_sampling engine_sampling(const facet_model *m, uint64_t seed, int32_t max_tokens)
{
    facet_sampling s;
    facet_sampling_defaults(m, &s);
    s.seed = seed;
    s.temperature = 1.5f;
    s.max_tokens = max_tokens;
    s.ignore_end = true;
    s.logprobs = true;
    return s;
}

void engine_submit_as(heard *h, facet_engine *g, const facet_sampling *s, const int32_t *ids, size_t n, uint64_t scope)
{
    facet_error e;
    assert_ok(facet_request_new(&h->r, g, s, &e), &e);
    facet_request_scope(h->r, scope);
    assert_ok(facet_request_tokens(h->r, ids, n, &e), &e);
    assert_ok(facet_request_submit(h->r, engine_listen, h, &e), &e);
}

void engine_submit(heard *h, facet_engine *g, const facet_sampling *s, const int32_t *ids, size_t n) { engine_submit_as(h, g, s, ids, n, 0); }

/* Submits, waits, frees. */
void engine_ask(heard *h, facet_engine *g, const facet_sampling *s, const int32_t *ids, size_t n)
{
    facet_error e;
    *h = (heard){ .cancel_after = h->cancel_after, .cancel_prompt = h->cancel_prompt };
    engine_submit(h, g, s, ids, n);
    status st = facet_request_wait(h->r, NULL, &e);
    if (st != OK && st != E_CANCELLED) fail_msg("%s: %s", e.what, e.why);
    assert_int_equal(h->dones, 1);
    assert_int_equal(h->after_done, 0);
    facet_request_free(h->r);
}

void engine_prompt(int32_t *ids, int n, int salt)
{
    for (int i = 0; i < n; i++) ids[i] = 10 + (i * 37 + salt * 11) % 200;
}

void engine_same(const heard *a, const heard *b)
{
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->ids, b->ids, (size_t)a->count * sizeof *a->ids);
    assert_memory_equal(a->logprobs, b->logprobs, (size_t)a->count * sizeof *a->logprobs);
    assert_memory_equal(a->top, b->top, (size_t)a->count * sizeof *a->top);
}
