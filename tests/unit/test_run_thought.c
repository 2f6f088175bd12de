/* The limit of a thought, with the bundled miniature: token by token, alone and among others, before answers that are held to something. */
#include <math.h>

#include "base/bits.h"
#include "base/json.h"
#include "support/test.h"

enum { MAX = 400, CHANNEL = 100, CHANNEL_END = 101, NEWLINE = 107, CALL = 48, TURN = 105, LIMITS = 6 };

#define SUM "{\"enable_thinking\":true,\"messages\":[{\"role\":\"user\",\"content\":\"What is 12 + 30?\"}]}"
#define TOOL "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"weather\",\"description\":\"Get the weather.\",\"parameters\":" \
             "{\"type\":\"object\",\"properties\":{\"city\":{\"enum\":[\"Paris\",\"Rome\"]}},\"required\":[\"city\"]}}}]"
#define WEATHER "{\"enable_thinking\":true," TOOL ",\"messages\":[{\"role\":\"user\",\"content\":\"What is the weather in Paris?\"}]}"
/* Its prompt ends inside a thought. */
#define RESULT "{\"enable_thinking\":true," TOOL ",\"messages\":[{\"role\":\"user\",\"content\":\"What is the weather in Paris?\"},{\"role\":\"assistant\"," \
               "\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"weather\",\"arguments\":{\"city\":\"Paris\"}}}]}," \
               "{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"sunny\"}]}"

static facet_model *model;
static facet_engine *engine;
static const int32_t limits[LIMITS] = { 0, 1, 2, 3, 7, 1000 };

typedef struct heard {
    int32_t ids[MAX];
    int count, calls;
    char thought[4096], answer[1024], arguments[256];
    facet_result result;
} heard;

static void append(char *to, size_t cap, const facet_event *ev)
{
    size_t n = strlen(to);
    assert_true(n + ev->n < cap);
    memcpy(to + n, ev->text, ev->n);
    to[n + ev->n] = '\0';
}

static void listen(void *user, const facet_event *ev)
{
    heard *h = user;
    if (ev->kind == FACET_TOKEN && h->count < MAX) h->ids[h->count++] = ev->token.id;
    if (ev->kind == FACET_THOUGHT) append(h->thought, sizeof h->thought, ev);
    if (ev->kind == FACET_ANSWER) append(h->answer, sizeof h->answer, ev);
    if (ev->kind == FACET_DONE) h->result = *ev->result;
    if (ev->kind != FACET_CALL) return;
    h->calls++;
    snprintf(h->arguments, sizeof h->arguments, "%s", ev->arguments);
}

static int set_up(void **state)
{
    (void)state;
    facet_error e;
    return facet_model_open(&model, &(facet_model_opts){ .path = "models/facet-mini.gguf" }, &e) != FACET_OK ||
           facet_engine_start(&engine, model, &(facet_engine_opts){ .ctx = 512, .threads = 2, .invariant = true, .parallel = 4 }, &e) != FACET_OK;
}

static int tear_down(void **state)
{
    (void)state;
    facet_engine_stop(engine);
    facet_model_close(model);
    return 0;
}

static facet_sampling sampling(uint64_t seed)
{
    facet_sampling s;
    facet_sampling_defaults(model, &s);
    s.seed = seed;
    s.temperature = seed ? 1 : 0;
    s.max_tokens = 120;
    s.logprobs = true;
    return s;
}

static facet_request *new_request(const facet_sampling *s, const char *talk, int32_t limit)
{
    facet_error e;
    facet_request *r = NULL;
    assert_ok(facet_request_new(&r, engine, s, &e), &e);
    assert_ok(facet_request_conversation(r, talk, strlen(talk), &e), &e);
    facet_request_think_budget(r, limit);
    return r;
}

static void submit(facet_request *r, heard *h)
{
    facet_error e;
    *h = (heard){ 0 };
    assert_ok(facet_request_submit(r, listen, h, &e), &e);
}

static void end(facet_request *r)
{
    facet_error e;
    assert_ok(facet_request_wait(r, NULL, &e), &e);
    facet_request_free(r);
}

static void ask(const facet_sampling *s, const char *talk, int32_t limit, heard *h)
{
    facet_request *r = new_request(s, talk, limit);
    submit(r, h);
    end(r);
}

static int count_of(const heard *h, int32_t id)
{
    int n = 0;
    for (int i = 0; i < h->count; i++) n += h->ids[i] == id;
    return n;
}

/* Where the thought's text begins and ends among the tokens; false: there is none. */
static bool find_thought(const heard *h, int *begin, int *end)
{
    int i = 0;
    while (i < h->count && h->ids[i] != CHANNEL) i++;
    while (i < h->count && h->ids[i] != NEWLINE) i++;
    *begin = i + 1;
    while (i < h->count && h->ids[i] != CHANNEL_END) i++;
    *end = i;
    return i < h->count;
}

/* The same thought up to the limit, then what the format has at its end, then an answer. */
static void a_thought_ends_at_its_limit(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 4; seed++) {
        facet_sampling s = sampling(seed);
        static heard free_one, h;
        int begin, full, stop;
        ask(&s, SUM, -1, &free_one);
        assert_true(find_thought(&free_one, &begin, &full) && full - begin > 7);
        assert_int_equal(free_one.result.thought_tokens, full - begin);
        for (size_t k = 0; k < LIMITS; k++) {
            int at = begin;
            ask(&s, SUM, limits[k], &h);
            int want = MIN(limits[k], full - begin);
            assert_true(find_thought(&h, &at, &stop));
            assert_int_equal(at, begin);
            assert_memory_equal(h.ids, free_one.ids, (size_t)(begin + want) * sizeof *h.ids);
            assert_int_equal(h.result.thought_tokens, want);
            assert_int_equal(stop, begin + want + (want < full - begin && h.ids[begin + want - 1] != NEWLINE));
            assert_memory_equal(h.thought, free_one.thought, strlen(h.thought));
            assert_true(strlen(h.thought) <= strlen(free_one.thought) && (want > 0) == (h.thought[0] != '\0'));
            assert_true(h.answer[0] && !strstr(h.answer, "<channel"));
            assert_int_equal(h.result.answer_tokens, h.count);
            if (limits[k] == 1000) assert_memory_equal(h.ids, free_one.ids, (size_t)free_one.count * sizeof *h.ids);
        }
    }
}

/* Requests with limits of their own share each step; none of their tokens changes. */
static void limits_in_a_batch(void **state)
{
    (void)state;
    static heard alone[LIMITS], among[LIMITS];
    facet_request *r[LIMITS];
    for (size_t k = 0; k < LIMITS; k++) {
        facet_sampling s = sampling(k);
        ask(&s, k % 2 ? WEATHER : SUM, limits[k], &alone[k]);
    }
    for (size_t k = 0; k < LIMITS; k++) {
        facet_sampling s = sampling(k);
        submit(r[k] = new_request(&s, k % 2 ? WEATHER : SUM, limits[k]), &among[k]);
    }
    for (size_t k = 0; k < LIMITS; k++) {
        end(r[k]);
        assert_int_equal(alone[k].count, among[k].count);
        assert_memory_equal(alone[k].ids, among[k].ids, (size_t)alone[k].count * sizeof *alone[k].ids);
        assert_string_equal(alone[k].answer, among[k].answer);
    }
}

/* Requests that are set back in their thoughts or behind them, because all of them do not fit at once. */
static void set_back_with_a_limit(void **state)
{
    enum { R = 4, LIMIT = 350, ALL = 400 };
    (void)state;
    /* nothing but the limit ends a thought, whatever this machine's kernels let the model draw */
    const facet_bias bias[] = { { CHANNEL, 50 }, { CHANNEL_END, -INFINITY }, { CALL, -INFINITY }, { TURN, -INFINITY } };
    static heard alone[R], among[R];
    facet_error e;
    facet_stats st;
    facet_engine *roomy = engine;
    facet_request *r[R];
    for (int round = 0; round < 2; round++) {
        if (round) assert_ok(facet_engine_start(&engine, model, &(facet_engine_opts){ .ctx = 512, .threads = 2, .invariant = true, .parallel = R, .cache = 1 }, &e), &e);
        for (int i = 0; i < R; i++) {
            facet_sampling s = sampling((uint64_t)i + 1);
            s.bias = bias;
            s.bias_count = COUNT_OF(bias);
            s.ignore_end = true;
            s.max_tokens = ALL;
            submit(r[i] = new_request(&s, SUM, LIMIT - i), round ? &among[i] : &alone[i]);
            if (!round) end(r[i]);
        }
        for (int i = 0; round && i < R; i++) end(r[i]);
    }
    facet_engine_read_stats(engine, &st);
    facet_engine_stop(engine);
    engine = roomy;
    assert_true(st.preempted > 0);
    for (int i = 0; i < R; i++) {
        assert_int_equal(alone[i].result.thought_tokens, LIMIT - i);
        assert_int_equal(among[i].count, ALL);
        assert_memory_equal(among[i].ids, alone[i].ids, ALL * sizeof *alone[i].ids);
    }
}

/* A thought that would never end by itself, and an answer that must be JSON. */
static void json_after_a_limit(void **state)
{
    (void)state;
    static const char schema[] = "{\"type\":\"object\",\"properties\":{\"n\":{\"enum\":[1,2]}},\"required\":[\"n\"],\"additionalProperties\":false}";
    const facet_bias bias[] = { { CHANNEL, 50 }, { CHANNEL_END, -INFINITY } };
    for (uint64_t seed = 0; seed < 3; seed++) {
        facet_error e;
        static heard h;
        facet_sampling s = sampling(seed);
        s.bias = bias;
        s.bias_count = COUNT_OF(bias);
        facet_request *r = new_request(&s, SUM, 20);
        assert_ok(facet_request_format(r, schema, strlen(schema), true, &e), &e);
        submit(r, &h);
        end(r);
        assert_int_equal(h.result.finish, FACET_FINISH_STOP);
        assert_int_equal(h.result.thought_tokens, 20);
        assert_true(strcmp(h.answer, "{\"n\":1}") == 0 || strcmp(h.answer, "{\"n\":2}") == 0);
    }
}

static void a_call_after_a_limit(void **state)
{
    (void)state;
    const facet_bias bias[] = { { CHANNEL_END, -INFINITY }, { CALL, -INFINITY } };
    static const char *const talks[] = { WEATHER, RESULT };
    for (size_t k = 0; k < COUNT_OF(talks); k++) {
        facet_error e;
        static heard h;
        facet_sampling s = sampling(k);
        s.bias = bias;
        s.bias_count = 1;
        facet_request *r = new_request(&s, talks[k], 5);
        assert_ok(facet_request_tools(r, FACET_TOOLS_REQUIRED, NULL, false, &e), &e);
        submit(r, &h);
        end(r);
        assert_int_equal(h.result.finish, FACET_FINISH_CALLS);
        assert_int_equal(h.result.thought_tokens, 5);
        assert_int_equal(h.calls, 1);
        assert_true(strcmp(h.arguments, "{\"city\":\"Paris\"}") == 0 || strcmp(h.arguments, "{\"city\":\"Rome\"}") == 0);
    }
}

/* What the prompt has opened is closed, too; without a limit these thoughts go on until the tokens are used up. */
static void a_thought_of_the_prompt(void **state)
{
    (void)state;
    const facet_bias bias[] = { { CHANNEL_END, -INFINITY }, { CALL, -INFINITY } };
    static heard h;
    facet_sampling s = sampling(0);
    ask(&s, RESULT, 0, &h);
    assert_int_equal(h.ids[0], CHANNEL_END);
    assert_int_equal(h.result.thought_tokens, 0);
    assert_int_equal(h.result.finish, FACET_FINISH_STOP);
    assert_true(h.answer[0] && !h.thought[0]);
    s.bias = bias;
    s.bias_count = COUNT_OF(bias);
    s.ignore_end = true;
    ask(&s, RESULT, 9, &h);
    assert_int_equal(h.result.thought_tokens, 9);
    assert_true(h.answer[0] && h.thought[0]);
    ask(&s, RESULT, -1, &h);
    assert_int_equal(h.result.finish, FACET_FINISH_LENGTH);
    assert_int_equal(h.result.thought_tokens, 120);
    assert_true(h.thought[0] && !h.answer[0]);
}

/* A model that would rather think again is not let. */
static void one_thought_only(void **state)
{
    (void)state;
    const facet_bias bias = { CHANNEL, 100 };
    static heard h;
    facet_sampling s = sampling(1);
    s.bias = &bias;
    s.bias_count = 1;
    s.max_tokens = 40;
    ask(&s, SUM, -1, &h);
    assert_int_equal(count_of(&h, CHANNEL), 40);
    ask(&s, SUM, 4, &h);
    assert_int_equal(count_of(&h, CHANNEL), 1);
    assert_int_equal(h.result.thought_tokens, 4);
    assert_true(h.answer[0]);
}

/* max_tokens may end the answer between the tokens that close the thought. */
static void the_other_limit_first(void **state)
{
    (void)state;
    static heard h;
    int begin = 0, stop = 0;
    facet_sampling s = sampling(0);
    ask(&s, SUM, 3, &h);
    assert_true(find_thought(&h, &begin, &stop));
    for (s.max_tokens = begin; s.max_tokens <= stop + 1; s.max_tokens++) {
        ask(&s, SUM, 3, &h);
        assert_int_equal(h.result.finish, FACET_FINISH_LENGTH);
        assert_int_equal(h.count, s.max_tokens);
        assert_int_equal(h.result.thought_tokens, MIN(s.max_tokens - begin, 3));
        assert_true(!h.answer[0]);
    }
}

/* A thought of the same words for ever is closed, the answer begins, and that is said; one that is only long is not. */
static void a_thought_in_circles(void **state)
{
    (void)state;
    static heard h;
    facet_error e;
    facet_engine *g = NULL;
    facet_request *r = NULL;
    const facet_bias always[] = { { 300, 100 } };
    facet_sampling s = sampling(0);
    s.bias = always;
    s.bias_count = 1;
    s.max_tokens = 560;
    s.logprobs = false;
    assert_ok(facet_engine_start(&g, model, &(facet_engine_opts){ .ctx = 1024, .threads = 2, .invariant = true }, &e), &e);
    memset(&h, 0, sizeof h);
    assert_ok(facet_request_new(&r, g, &s, &e), &e);
    assert_ok(facet_request_conversation(r, RESULT, sizeof RESULT - 1, &e), &e);
    assert_ok(facet_request_submit(r, NULL, NULL, &e), &e);
    assert_ok(facet_request_wait(r, &h.result, &e), &e);
    facet_request_free(r);
    assert_int_equal(h.result.thought_tokens, 512);
    assert_int_equal(h.result.answer_tokens, 560);
    assert_int_equal(h.result.finish, FACET_FINISH_LENGTH);
    assert_non_null(strstr(h.result.warning, "thought repeated itself"));
    s.max_tokens = 500;                                      /* not long enough to say */
    assert_ok(facet_request_new(&r, g, &s, &e), &e);
    assert_ok(facet_request_conversation(r, RESULT, sizeof RESULT - 1, &e), &e);
    assert_ok(facet_request_submit(r, NULL, NULL, &e), &e);
    assert_ok(facet_request_wait(r, &h.result, &e), &e);
    facet_request_free(r);
    assert_int_equal(h.result.thought_tokens, 500);
    assert_string_equal(h.result.warning, "");
    facet_engine_stop(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thought_ends_at_its_limit),
        cmocka_unit_test(limits_in_a_batch),
        cmocka_unit_test(set_back_with_a_limit),
        cmocka_unit_test(json_after_a_limit),
        cmocka_unit_test(a_call_after_a_limit),
        cmocka_unit_test(a_thought_of_the_prompt),
        cmocka_unit_test(one_thought_only),
        cmocka_unit_test(the_other_limit_first),
        cmocka_unit_test(a_thought_in_circles),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
