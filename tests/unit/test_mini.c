/* The bundled miniature answers held-out questions as the reference does, token by token.
 *
 * tests/golden/mini_answers.json is made by models/evaluate.py with transformers, jinja2 and tokenizers: prompts as the
 * official template renders them, answers that greedy decoding gives with a margin of at least 0.5 at every token. */
#include <jansson.h>

#include "support/test.h"

#define MODEL  "models/facet-mini.gguf"
#define GOLDEN "tests/golden/mini_answers.json"

enum { MAX = 256, STOP_TURN = 106, STOP_CALLS = 50 };

static facet_model *model;
static json_t *cases;

typedef struct heard {
    int32_t ids[MAX];
    int count, calls;
    char name[64];
} heard;

static void listen(void *user, const facet_event *ev)
{
    heard *h = user;
    if (ev->kind == FACET_TOKEN && h->count < MAX) h->ids[h->count++] = ev->token.id;
    if (ev->kind == FACET_CALL) {
        h->calls++;
        snprintf(h->name, sizeof h->name, "%s", ev->name);
    }
}

static int set_up(void **state)
{
    (void)state;
    facet_error e;
    json_error_t je;
    cases = json_load_file(GOLDEN, 0, &je);
    return !cases || facet_model_open(&model, &(facet_model_opts){ .path = MODEL }, &e) != FACET_OK;
}

static int tear_down(void **state)
{
    (void)state;
    facet_model_close(model);
    json_decref(cases);
    return 0;
}

static void assert_ids(const int32_t *got, size_t count, const json_t *want, const char *skill)
{
    size_t n = json_array_size(want), i = 0;
    while (i < n && i < count && got[i] == json_integer_value(json_array_get(want, i))) i++;
    if (i != n || n != count) fail_msg("%s: token %zu differs (%zu, expected %zu)", skill, i, count, n);
}

static void test_prompts_are_the_reference_prompts(void **state)
{
    (void)state;
    facet_error e;
    size_t i;
    json_t *c;
    json_array_foreach(cases, i, c) {
        int32_t *ids = NULL;
        size_t count = 0;
        char *text = json_dumps(json_object_get(c, "conversation"), 0);
        assert_non_null(text);
        assert_ok(facet_render(model, text, strlen(text), &ids, &count, &e), &e);
        assert_ids(ids, count, json_object_get(c, "prompt_tokens"), json_string_value(json_object_get(c, "skill")));
        facet_free(ids);
        free(text);
    }
}

/* Asks every n-th conversation: the reference kernels are slow where they are instrumented or emulated. */
static void ask(const facet_engine_opts *o, size_t every)
{
    facet_error e;
    facet_engine *g = NULL;
    size_t i;
    json_t *c;
    assert_ok(facet_engine_start(&g, model, o, &e), &e);
    facet_sampling s;
    facet_sampling_defaults(model, &s);
    s.temperature = 0;
    s.logprobs = true;
    s.max_tokens = MAX;
    json_array_foreach(cases, i, c) {
        if (i % every) continue;
        const json_t *want = json_object_get(c, "tokens");
        const char *skill = json_string_value(json_object_get(c, "skill"));
        char *text = json_dumps(json_object_get(c, "conversation"), 0);
        heard h = { .count = 0 };
        facet_request *r = NULL;
        facet_result result;
        assert_non_null(text);
        assert_ok(facet_request_new(&r, g, &s, &e), &e);
        assert_ok(facet_request_conversation(r, text, strlen(text), &e), &e);
        assert_ok(facet_request_submit(r, listen, &h, &e), &e);
        assert_ok(facet_request_wait(r, &result, &e), &e);
        facet_request_free(r);
        free(text);
        assert_ids(h.ids, (size_t)h.count, want, skill);
        bool calls = json_integer_value(json_array_get(want, json_array_size(want) - 1)) == STOP_CALLS;
        assert_int_equal(result.finish, calls ? FACET_FINISH_CALLS : FACET_FINISH_STOP);
        assert_int_equal(h.calls, calls ? 1 : 0);
        if (calls) {
            char said[96];
            snprintf(said, sizeof said, "call:%s{", h.name);
            assert_non_null(strstr(json_string_value(json_object_get(c, "answer")), said));
        }
    }
    facet_engine_stop(g);
}

static void test_exact_answers(void **state) { (void)state; ask(&(facet_engine_opts){ .exact = true, .threads = 2 }, 4); }
static void test_fast_answers(void **state) { (void)state; ask(&(facet_engine_opts){ .threads = 2 }, 1); }
static void test_answers_in_small_chunks(void **state) { (void)state; ask(&(facet_engine_opts){ .threads = 1, .chunk = 7 }, 3); }

static uint64_t distance(uint64_t a, uint64_t b) { return a > b ? a - b : b - a; }

/* Two requests that are held to a schema and to a function: what they take is what the plan counts for them, within 3 % and
 * what prompts and JSON take. */
static void test_constrained_answers_are_planned(void **state)
{
    (void)state;
    static const char talk[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"What is 7 plus 5?\"}],\"tools\":[{\"type\":\"function\","
                               "\"function\":{\"name\":\"add\",\"parameters\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}}}}}]}";
    facet_error e;
    facet_plan without, with;
    facet_engine_opts o = { .parallel = 2, .threads = 1 };
    facet_engine *g = NULL;
    facet_request *r[2] = { 0 };
    facet_sampling s;
    mem_stats before, after;
    assert_ok(facet_plan_engine(model, &o, &without, &e), &e);
    mem_stats_reset_peaks();
    mem_stats_read(&before);
    o.constrained = true;
    assert_ok(facet_plan_engine(model, &o, &with, &e), &e);
    uint64_t planned = with.text - without.text;
    assert_int_equal(with.total - without.total, planned);
    assert_ok(facet_engine_start(&g, model, &o, &e), &e);
    facet_engine_read_opts(g, &o);
    assert_true(o.constrained);
    facet_sampling_defaults(model, &s);
    s.max_tokens = 24;
    for (int i = 0; i < 2; i++) {
        assert_ok(facet_request_new(&r[i], g, &s, &e), &e);
        assert_ok(facet_request_format(r[i], NULL, 0, false, &e), &e);
        assert_ok(facet_request_tools(r[i], FACET_TOOLS_AUTO, NULL, true, &e), &e);
        assert_ok(facet_request_conversation(r[i], talk, sizeof talk - 1, &e), &e);
        assert_ok(facet_request_submit(r[i], NULL, NULL, &e), &e);
    }
    for (int i = 0; i < 2; i++) assert_ok(facet_request_wait(r[i], NULL, &e), &e);
    mem_stats_read(&after);
    uint64_t took = after.tag_peak[MEM_TEXT] - before.tag_current[MEM_TEXT];
    if (distance(planned, took) > took * 3 / 100 + (64 << 10)) fail_msg("planned %llu bytes, taken %llu", (unsigned long long)planned, (unsigned long long)took);
    for (int i = 0; i < 2; i++) facet_request_free(r[i]);
    facet_engine_stop(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prompts_are_the_reference_prompts),
        cmocka_unit_test(test_exact_answers),
        cmocka_unit_test(test_fast_answers),
        cmocka_unit_test(test_answers_in_small_chunks),
        cmocka_unit_test(test_constrained_answers_are_planned),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
