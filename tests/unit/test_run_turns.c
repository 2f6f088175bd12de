/* Chats in all their ways - the next turn, an edited message, another answer, a branch, thoughts on and off - ask engines with and without
 * a memory: the same words. */
#include <jansson.h>

#include "base/bits.h"
#include "base/rng.h"
#include "support/test.h"

enum { NODES = 64, AT_ONCE = 3, ANSWER = 14, TEXT_MAX = 512 };

/* One turn: what was asked behind another turn, and what was answered. */
typedef struct node { int before, system; char said[64], answer[TEXT_MAX]; } node;

typedef struct heard { char thought[TEXT_MAX], answer[TEXT_MAX], calls[TEXT_MAX]; facet_result result; } heard;

static facet_model *model;
static uint64_t draws;

static int draw(int most) { return (int)(rng_uniform(4242, ++draws) * most); }

static void add(char *to, const char *text, size_t n)
{
    size_t length = strlen(to);
    n = MIN(n, TEXT_MAX - 1 - length);
    memcpy(to + length, text, n);
    to[length + n] = '\0';
}

static void listen(void *user, const facet_event *ev)
{
    heard *h = user;
    if (ev->kind == FACET_THOUGHT) add(h->thought, ev->text, ev->n);
    if (ev->kind == FACET_ANSWER) add(h->answer, ev->text, ev->n);
    if (ev->kind == FACET_CALL) add(h->calls, ev->arguments, strlen(ev->arguments));
    if (ev->kind == FACET_DONE) h->result = *ev->result;
}

static void say_something(char out[64])
{
    static const char *const forms[] = { "What is %d + %d?", "Count from %d to %d.", "Repeat: river %d house %d", "Spell the word stone%d%d", "%d %d" };
    snprintf(out, 64, forms[draw(COUNT_OF(forms))], draw(90), draw(90));
}

static json_t *message(const char *role, const char *text) { return json_pack("{s:s, s:s}", "role", role, "content", text); }

/* The path to a turn as a conversation; owned text. */
static char *conversation(const node *nodes, int at, bool think)
{
    int system = nodes[at].system;
    json_t *list = json_array(), *o;
    for (int i = at; i >= 0; i = nodes[i].before) {
        if (i != at) json_array_insert_new(list, 0, message("assistant", nodes[i].answer));
        json_array_insert_new(list, 0, message("user", nodes[i].said));
    }
    if (system) json_array_insert_new(list, 0, message("system", system == 1 ? "Answer in capital letters." : "Answer in lower case letters, whatever you are asked about."));
    o = json_pack("{s:o, s:b}", "messages", list, "enable_thinking", (int)think);
    char *text = json_dumps(o, JSON_COMPACT);
    assert_non_null(text);
    json_decref(o);
    return text;
}

static facet_request *submit(facet_engine *g, const char *talk, uint64_t seed, heard *h)
{
    facet_error e;
    facet_request *r = NULL;
    facet_sampling s;
    facet_sampling_defaults(model, &s);
    s.temperature = 1;
    s.seed = seed;
    s.max_tokens = ANSWER;
    *h = (heard){ 0 };
    assert_ok(facet_request_new(&r, g, &s, &e), &e);
    assert_ok(facet_request_conversation(r, talk, strlen(talk), &e), &e);
    assert_ok(facet_request_submit(r, listen, h, &e), &e);
    return r;
}

static void end(facet_request *r)
{
    facet_error e;
    assert_ok(facet_request_wait(r, NULL, &e), &e);
    facet_request_free(r);
}

/* The next thing that somebody does with the chats so far: a turn number count, or an old one whose answer is asked for again. */
static int choose(node *nodes, int count)
{
    int from = count ? draw(count) : -1, what = count ? draw(10) : 0;
    node *n = &nodes[count];
    if (count && what < 2) return from;                                                    /* another answer */
    *n = (node){ .before = from < 0 || what == 9 ? -1 : what < 5 ? nodes[from].before : from };      /* anew; edited; the next turn, or a branch */
    n->system = n->before < 0 ? draw(3) : nodes[n->before].system;
    say_something(n->said);
    return count;
}

static void with_memory_as_without(int64_t cache, int parallel, bool exact, int rounds)
{
    facet_error e;
    facet_engine *g = NULL, *plain = NULL;
    static node nodes[NODES + AT_ONCE];
    static heard with[AT_ONCE], without;
    int count = 0;
    int64_t cached = 0, read = 0;
    assert_ok(facet_engine_start(&g, model, &(facet_engine_opts){ .ctx = 1024, .threads = 1, .invariant = true, .parallel = parallel, .chunk = 40, .cache = cache, .exact = exact }, &e), &e);
    assert_ok(facet_engine_start(&plain, model, &(facet_engine_opts){ .ctx = 1024, .threads = 1, .invariant = true, .chunk = 33, .cache = -1, .exact = exact }, &e), &e);
    for (int round = 0; round < rounds && count < NODES; round++) {
        facet_request *r[AT_ONCE];
        char *talk[AT_ONCE];
        int at[AT_ONCE], some = round == 0 ? 1 : 1 + draw(AT_ONCE), fresh = count;
        uint64_t seed = draws;
        for (int i = 0; i < some; i++) {
            at[i] = choose(nodes, fresh);
            fresh += at[i] == fresh;
            if (at[i] >= count && nodes[at[i]].before >= count) nodes[at[i]].before = -1;      /* that one has no answer yet */
            talk[i] = conversation(nodes, at[i], draw(6) == 0);
        }
        for (int i = 0; i < some; i++) r[i] = submit(g, talk[i], seed + (uint64_t)i, &with[i]);
        for (int i = 0; i < some; i++) {
            end(r[i]);
            end(submit(plain, talk[i], seed + (uint64_t)i, &without));
            assert_string_equal(with[i].thought, without.thought);
            assert_string_equal(with[i].answer, without.answer);
            assert_string_equal(with[i].calls, without.calls);
            assert_int_equal(with[i].result.finish, without.result.finish);
            assert_int_equal(with[i].result.answer_tokens, without.result.answer_tokens);
            cached += with[i].result.cached_tokens;
            read += with[i].result.prompt_tokens;
            snprintf(nodes[at[i]].answer, TEXT_MAX, "%s", with[i].answer);
            free(talk[i]);
        }
        count = fresh;
    }
    print_message("%d turns, %lld of %lld tokens were remembered\n", count, (long long)cached, (long long)read);
    assert_true(count > rounds / 2 && cached * 10 > read);       /* or it has shown nothing */
    facet_engine_stop(g);
    facet_engine_stop(plain);
}

static void one_at_a_time(void **state) { (void)state; with_memory_as_without(0, 1, false, 24); }
static void several_at_once(void **state) { (void)state; with_memory_as_without(0, 3, false, 24); }
static void in_little_memory(void **state) { (void)state; with_memory_as_without(4 << 20, 3, false, 24); }
static void exactly(void **state) { (void)state; with_memory_as_without(4 << 20, 2, true, 8); }

/* Raw prompts too short for regular checkpoints: another end, and another second half, go on from inside. */
static void raw_prompts(void **state)
{
    enum { LONG = 400 };
    (void)state;
    facet_error e;
    facet_engine *g = NULL, *plain = NULL;
    static const int same[] = { 0, 300, 230, 100 }, cached[] = { 0, 256, 192, 0 };      /* 256: two pages before the end; 192: the middle */
    int32_t ids[LONG];
    assert_ok(facet_engine_start(&plain, model, &(facet_engine_opts){ .ctx = 1024, .threads = 1, .invariant = true, .cache = -1 }, &e), &e);
    for (size_t k = 0; k < COUNT_OF(same); k++) {
        heard with, without;
        facet_sampling s;
        facet_sampling_defaults(model, &s);
        s.seed = k;
        s.max_tokens = ANSWER;
        assert_ok(facet_engine_start(&g, model, &(facet_engine_opts){ .ctx = 1024, .threads = 1, .invariant = true, .chunk = 90 }, &e), &e);
        for (int again = 0; again < 2; again++) {
            facet_engine *engines[] = { g, plain };
            for (int i = again ? same[k] : 0; i < LONG; i++) ids[i] = 400 + (i * 37 + again * 11) % 900;
            for (int w = 0; w < 2; w++) {
                facet_request *r = NULL;
                heard *h = w ? &without : &with;
                *h = (heard){ 0 };
                assert_ok(facet_request_new(&r, engines[w], &s, &e), &e);
                assert_ok(facet_request_tokens(r, ids, LONG, &e), &e);
                assert_ok(facet_request_submit(r, listen, h, &e), &e);
                end(r);
            }
            assert_string_equal(with.answer, without.answer);
            assert_int_equal(with.result.cached_tokens, again ? cached[k] : 0);
        }
        facet_engine_stop(g);
    }
    facet_engine_stop(plain);
}

static int set_up(void **state)
{
    (void)state;
    facet_error e;
    return facet_model_open(&model, &(facet_model_opts){ .path = "models/facet-mini.gguf" }, &e) != FACET_OK;
}

static int tear_down(void **state)
{
    (void)state;
    facet_model_close(model);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_at_a_time),
        cmocka_unit_test(several_at_once),
        cmocka_unit_test(in_little_memory),
        cmocka_unit_test(exactly),
        cmocka_unit_test(raw_prompts),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
