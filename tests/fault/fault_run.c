/* Every allocation of starting an engine and answering a conversation fails once: an error that says so, no leak, no
 * hang, and the next request is answered as if nothing had been. */
#include "base/json.h"
#include "support/test.h"
#include "support/tiny.h"

#define CONVERSATION \
    "{\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":\"How warm is it in Oslo?\"}]," \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"weather\",\"description\":\"d\",\"parameters\":{\"type\":\"object\"," \
    "\"properties\":{\"place\":{\"type\":\"string\"}}}}}],\"enable_thinking\":true}"

typedef struct heard { char text[4096]; size_t n; int dones; } heard;

static void listen(void *user, const facet_event *ev)
{
    heard *h = user;
    if (ev->kind == FACET_DONE) h->dones++;
    if (ev->kind != FACET_ANSWER && ev->kind != FACET_THOUGHT) return;
    if (h->n + ev->n < sizeof h->text) { memcpy(h->text + h->n, ev->text, ev->n); h->n += ev->n; }
}

static status ask(facet_engine *g, const facet_model *m, heard *h, err *e)
{
    status st = OK;
    facet_request *r = NULL;
    facet_sampling s;
    const char *const stops[] = { "never this text" };
    const facet_bias bias = { 300, 1 };
    *h = (heard){ 0 };
    facet_sampling_defaults(m, &s);
    s.seed = 3;
    s.temperature = 4;
    s.max_tokens = 6;
    s.ignore_end = true;
    s.stop = stops;
    s.stop_count = 1;
    s.bias = &bias;
    s.bias_count = 1;
    s.frequency_penalty = 1;
    s.logprobs = true;
    TRY(facet_request_new(&r, g, &s, e));
    TRY(facet_request_conversation(r, CONVERSATION, sizeof CONVERSATION - 1, e));
    TRY(facet_request_submit(r, listen, h, e));
    st = facet_request_wait(r, NULL, e);
    assert_int_equal(h->dones, 1);
out:
    facet_request_free(r);
    return st;
}

static facet_model *open_tiny(void)
{
    err e;
    char path[512];
    facet_model *m = NULL;
    const char *dir = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/fault-run.gguf", dir ? dir : "/tmp");
    assert_ok(tiny_write_gguf(path, TINY_26B, DTYPE_Q8_0, 1, &e), &e);
    assert_ok(facet_model_open(&m, &(facet_model_opts){ .path = path }, &e), &e);
    remove(path);
    return m;
}

static const facet_engine_opts small = { .ctx = 256, .threads = 1, .parallel = 2 };

static void starting_and_answering(void **state)
{
    (void)state;
    err e;
    heard want, got;
    facet_engine *g = NULL;
    facet_model *m = open_tiny();
    assert_ok(facet_engine_start(&g, m, &small, &e), &e);
    assert_ok(ask(g, m, &want, &e), &e);
    assert_true(want.n > 0);
    facet_engine_stop(g);
    size_t before = mem_now();
    int failures = 0;
    for (int n = 0;; n++) {
        g = NULL;
        memset(&e, 0, sizeof e);
        mem_fail_at(n);
        status st = facet_engine_start(&g, m, &small, &e);
        if (st == OK) st = ask(g, m, &got, &e);
        bool hit = mem_fail_hit();
        mem_fail_at(-1);
        if (st != OK) {
            failures++;
            if (e.what[0] == '\0') fail_msg("allocation %d: status %d without a message", n, (int)st);
            if (st != E_NOMEM) fail_msg("allocation %d: status %d, %s: %s", n, (int)st, e.what, e.why);
            /* the engine that lives on answers the next one */
            if (g) {
                assert_ok(ask(g, m, &got, &e), &e);
                assert_string_equal(got.text, want.text);
            }
        }
        facet_engine_stop(g);
        if (mem_now() != before) fail_msg("allocation %d: %zu bytes are lost", n, mem_now() - before);
        if (!hit) { assert_int_equal(st, OK); break; }
    }
    assert_true(failures > 40);
    facet_model_close(m);
}

int main(void)
{
    json_use_mem();
    const struct CMUnitTest tests[] = { cmocka_unit_test(starting_and_answering) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
