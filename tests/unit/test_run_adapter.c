/* Adapters in an engine: requests with different ones in one step, loading and unloading meanwhile, the cache kept apart. */
#include "support/engine.h"

#define FILE_A "tests/golden/lora/26b/adapter"

enum { PROMPT = 90, ANSWER = 12 };

static facet_model *model;
static int32_t prompt[PROMPT];
static const facet_adapter one = { .name = "one", .path = FILE_A }, two = { .name = "two", .path = FILE_A, .scale = -0.5 };

static void submit_with(heard *h, facet_engine *g, const char *adapter)
{
    facet_error e = { 0 };
    facet_sampling s = engine_sampling(model, 5, ANSWER);
    memset(h, 0, sizeof *h);
    assert_ok(facet_request_new(&h->r, g, &s, &e), &e);
    assert_ok(facet_request_tokens(h->r, prompt, PROMPT, &e), &e);
    assert_ok(facet_request_adapter(h->r, adapter, &e), &e);
    assert_ok(facet_request_submit(h->r, engine_listen, h, &e), &e);
}

static void wait_for(heard *h)
{
    facet_error e = { 0 };
    assert_ok(facet_request_wait(h->r, NULL, &e), &e);
    facet_request_free(h->r);
}

static bool differs(const heard *a, const heard *b)
{
    for (int i = 0; i < ANSWER; i++)
        if (a->ids[i] != b->ids[i] || a->logprobs[i] != b->logprobs[i]) return true;
    return false;
}

/* What each says alone, in an engine that remembers nothing. */
static void alone(heard *h, const facet_adapter *a)
{
    facet_engine *g = engine_start(model, &(facet_engine_opts){ .ctx = 256, .exact = true, .threads = 1, .cache = -1, .adapters = a, .adapter_count = a != NULL });
    submit_with(h, g, a ? a->name : NULL);
    wait_for(h);
    facet_engine_stop(g);
}

static void together_as_alone(void **state)
{
    (void)state;
    static heard want[3], got[3];
    facet_error e = { 0 };
    facet_adapter_info *list = NULL;
    size_t n = 0;
    alone(&want[0], NULL);
    alone(&want[1], &one);
    alone(&want[2], &two);
    assert_true(differs(&want[0], &want[1]) && differs(&want[0], &want[2]) && differs(&want[1], &want[2]));
    facet_engine *g = engine_start(model, &(facet_engine_opts){ .ctx = 256, .parallel = 3, .exact = true, .threads = 2, .chunk = 40, .adapters = &one, .adapter_count = 1 });
    assert_ok(facet_adapter_load(g, &two, 1, &e), &e);
    static const char *const names[] = { NULL, "one", "two" };
    for (int round = 0; round < 2; round++) {       /* the second finds its own prompt in the cache, and nobody else's */
        for (int i = 0; i < 3; i++) submit_with(&got[i], g, names[i]);
        for (int i = 0; i < 3; i++) {
            wait_for(&got[i]);
            engine_same(&got[i], &want[i]);
            assert_true(round ? got[i].result.cached_tokens > 0 : got[i].result.cached_tokens == 0);
        }
    }
    assert_ok(facet_adapter_list(g, &list, &n, &e), &e);
    assert_int_equal(n, 2);
    assert_string_equal(list[0].name, "one");
    assert_string_equal(list[1].name, "two");
    assert_true(list[1].rank == 3 && list[1].users == 0 && list[1].terms > 6 * 20 * 3 && list[1].bytes > 0);
    facet_free(list);
    facet_engine_stop(g);
}

/* A name that was given again means what it means now. */
static void unloaded_and_loaded(void **state)
{
    (void)state;
    static heard first, again, other;
    facet_error e = { 0 };
    facet_adapter swapped = two;
    swapped.name = "one";
    alone(&other, &two);
    facet_engine *g = engine_start(model, &(facet_engine_opts){ .ctx = 256, .exact = true, .threads = 1, .adapters = &one, .adapter_count = 1 });
    submit_with(&first, g, "one");
    assert_fails(facet_adapter_unload(g, "one", &e), FACET_E_BUSY, &e, "\"one\"");
    wait_for(&first);
    assert_ok(facet_adapter_unload(g, "one", &e), &e);
    assert_fails(facet_adapter_unload(g, "one", &e), FACET_E_ARG, &e, "no adapter \"one\"");
    assert_ok(facet_adapter_load(g, &swapped, 1, &e), &e);
    assert_fails(facet_adapter_load(g, &one, 1, &e), FACET_E_ARG, &e, "already");
    submit_with(&again, g, "one");
    wait_for(&again);
    engine_same(&again, &other);
    facet_engine_stop(g);
}

/* What outlives the engine on the disk is found by the same terms only, not by the same name or number. */
static void kept_apart_on_disk(void **state)
{
    (void)state;
    static heard want, got;
    char dir[512];
    snprintf(dir, sizeof dir, "%s/cache", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    facet_adapter swapped = two;
    swapped.name = "one";
    const facet_adapter *const turns[] = { &one, &swapped, &one };
    for (int i = 0; i < 3; i++) {
        alone(&want, turns[i]);
        facet_engine *g = engine_start(model, &(facet_engine_opts){ .ctx = 256, .exact = true, .threads = 1, .cache_dir = dir, .adapters = turns[i], .adapter_count = 1 });
        submit_with(&got, g, "one");
        wait_for(&got);
        engine_same(&got, &want);
        assert_int_equal(got.result.cached_tokens > 0, i == 2);
        facet_engine_stop(g);
    }
}

/* Half and half of one file is the file, to the rounding of sums; names that are unknown are refused at submit. */
static void parts_and_names(void **state)
{
    (void)state;
    facet_error e = { 0 };
    facet_plan plain, with;
    const facet_adapter halves[] = { { .name = "one", .path = FILE_A, .scale = 0.5 }, { .name = "one", .path = FILE_A, .scale = 0.5 } };
    static heard want, got;
    alone(&want, &one);
    facet_engine_opts o = { .ctx = 256, .exact = true, .threads = 1, .adapters = halves, .adapter_count = 2 };
    assert_ok(facet_plan_engine(model, &o, &with, &e), &e);
    facet_engine *g = engine_start(model, &o);
    facet_adapter_info *list = NULL;
    size_t n = 0;
    assert_ok(facet_adapter_list(g, &list, &n, &e), &e);
    assert_int_equal(n, 1);
    assert_int_equal(list[0].bytes, with.adapters);         /* the plan is what is taken */
    facet_free(list);
    o.adapter_count = 0;
    assert_ok(facet_plan_engine(model, &o, &plain, &e), &e);
    assert_int_equal(with.total - plain.total, with.adapters);
    submit_with(&got, g, "one");
    wait_for(&got);
    for (int i = 0; i < ANSWER; i++) {
        assert_int_equal(got.ids[i], want.ids[i]);
        float d = got.logprobs[i] - want.logprobs[i];
        assert_true(d < 1e-3f && d > -1e-3f);
    }
    facet_request *r;
    assert_ok(facet_request_new(&r, g, NULL, &e), &e);
    assert_ok(facet_request_tokens(r, prompt, PROMPT, &e), &e);
    assert_ok(facet_request_adapter(r, "nobody", &e), &e);
    assert_fails(facet_request_submit(r, NULL, NULL, &e), FACET_E_ARG, &e, "no adapter \"nobody\"");
    facet_request_free(r);
    const facet_adapter gone = { .name = "x", .path = "tests/golden/lora/nothing" };
    assert_true(facet_adapter_load(g, &gone, 1, &e) != FACET_OK && strstr(e.what, "lora/nothing"));
    facet_engine_stop(g);
}

int main(void)
{
    model = engine_open_model("tests/golden/26b");
    engine_prompt(prompt, PROMPT, 3);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(together_as_alone),
        cmocka_unit_test(unloaded_and_loaded),
        cmocka_unit_test(parts_and_names),
        cmocka_unit_test(kept_apart_on_disk),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    facet_model_close(model);
    return failed;
}
