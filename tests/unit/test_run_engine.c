/* The engine through facet.h, on miniatures without a vocabulary: ids in, ids out. */
#include <math.h>
#include <pthread.h>
#include <unistd.h>

#include "base/bits.h"
#include "fmt/safetensors.h"
#include "support/engine.h"

enum { MAX = HEARD_MAX, N_PROMPT = 24 };

#define DENSE "tests/golden/31b-f32"
#define MOE   "tests/golden/26b"

/* The reference implementation's own greedy continuation. */
static void greedy_text_is_the_reference(void **state)
{
    (void)state;
    const char *const goldens[] = { DENSE, MOE, "tests/golden/e2b", "tests/golden/12b" };
    for (size_t k = 0; k < COUNT_OF(goldens); k++) {
        facet_error e;
        char path[128];
        st_file *x = NULL;
        int32_t prompt[MAX], want[64];
        snprintf(path, sizeof path, "%s/expect.safetensors", goldens[k]);
        assert_ok(st_open(&x, path, &e), &e);
        const st_tensor *t = st_find(x, STR("tokens")), *g64 = st_find(x, STR("greedy"));
        assert_true(t && g64 && t->bytes <= sizeof prompt && g64->bytes == sizeof want);
        memcpy(prompt, t->data, t->bytes);
        memcpy(want, g64->data, sizeof want);
        size_t n = t->bytes / sizeof *prompt;
        st_close(x);

        facet_model *m = engine_open_model(goldens[k]);
        facet_engine *g = engine_start(m, &(facet_engine_opts){ .exact = true, .kv = FACET_KV_F32, .threads = 2, .chunk = 16 });
        facet_sampling s = engine_sampling(m, 1, 64);
        s.temperature = 0;
        s.ignore_end = false;
        int length = 0;
        while (length < 64 && want[length] != 1 && want[length] != 106 && want[length] != 50) length++;   /* the ends of every Gemma 4; the reference went on */
        heard h = { 0 };
        engine_ask(&h, g, &s, prompt, n);
        assert_int_equal(h.result.finish, length < 64 ? FACET_FINISH_STOP : FACET_FINISH_LENGTH);
        assert_int_equal(h.result.prompt_tokens, (int)n);
        assert_int_equal(h.progress_last, (int)n);
        assert_int_equal(h.count, length < 64 ? length + 1 : 64);
        assert_memory_equal(h.ids, want, (size_t)h.count * sizeof *want);
        facet_engine_stop(g);
        facet_model_close(m);
    }
}

/* Bit for bit: alone, among others, with any number of threads and any chunk. */
static void a_request_does_not_see_the_others(void **state)
{
    (void)state;
    enum { R = 6 };
    static heard alone[R], among[R];
    int32_t prompt[N_PROMPT + R];
    facet_error e;
    facet_model *m = engine_open_model(MOE);
    facet_engine *g = engine_start(m, &(facet_engine_opts){ .threads = 1 });
    for (int i = 0; i < R; i++) {
        facet_sampling s = engine_sampling(m, (uint64_t)i, 20 + i);
        engine_prompt(prompt, N_PROMPT + i, i);
        engine_ask(&alone[i], g, &s, prompt, (size_t)(N_PROMPT + i));
    }
    facet_engine_stop(g);
    const facet_engine_opts many[] = { { .parallel = 3, .threads = 2, .chunk = 5 }, { .parallel = 6, .threads = 3, .chunk = 64 },
                                       { .parallel = 1, .threads = 2, .chunk = 7 } };
    for (size_t k = 0; k < COUNT_OF(many); k++) {
        g = engine_start(m, &many[k]);
        for (int i = 0; i < R; i++) {
            facet_sampling s = engine_sampling(m, (uint64_t)i, 20 + i);
            engine_prompt(prompt, N_PROMPT + i, i);
            among[i] = (heard){ 0 };
            engine_submit(&among[i], g, &s, prompt, (size_t)(N_PROMPT + i));
        }
        for (int i = 0; i < R; i++) {
            assert_ok(facet_request_wait(among[i].r, NULL, &e), &e);
            engine_same(&alone[i], &among[i]);
            facet_request_free(among[i].r);
        }
        facet_engine_stop(g);
    }
    facet_model_close(m);
}

/* A prompt that goes on where an earlier one ended finds it in the cache, and nothing changes. */
static void kept_tokens_change_nothing(void **state)
{
    (void)state;
    facet_model *m = engine_open_model(DENSE);
    facet_sampling s = engine_sampling(m, 5, 12);
    int32_t ids[128];
    heard first = { 0 }, again = { 0 }, fresh = { 0 }, other = { 0 };
    facet_engine *g = engine_start(m, &(facet_engine_opts){ .threads = 1 }), *h = engine_start(m, &(facet_engine_opts){ .threads = 1 });
    engine_prompt(ids, N_PROMPT, 3);
    engine_ask(&first, g, &s, ids, N_PROMPT);
    assert_int_equal(first.result.cached_tokens, 0);
    memcpy(ids + N_PROMPT, first.ids, (size_t)first.count * sizeof *ids);
    size_t n = (size_t)(N_PROMPT + first.count);
    ids[n++] = 77;
    engine_ask(&again, g, &s, ids, n);
    engine_ask(&fresh, h, &s, ids, n);
    assert_int_equal(again.result.cached_tokens, N_PROMPT + first.count - 1);    /* the last token drawn was never computed */
    assert_int_equal(fresh.result.cached_tokens, 0);
    engine_same(&again, &fresh);
    /* the same prompt again: all but its last token */
    engine_ask(&again, h, &s, ids, n);
    assert_int_equal(again.result.cached_tokens, (int)n - 1);
    engine_same(&again, &fresh);
    engine_prompt(ids, N_PROMPT, 4);                                                 /* nothing in common */
    engine_ask(&other, h, &s, ids, N_PROMPT);
    assert_int_equal(other.result.cached_tokens, 0);
    facet_engine_stop(g);
    facet_engine_stop(h);
    facet_model_close(m);
}

/* A chat's next prompt has the last answer in other words (its thoughts are gone): the end of the last prompt is found again
 * behind any answer, only what follows is computed, and nothing changes. */
static void a_turn_reads_only_what_is_new(void **state)
{
    enum { FIRST = 120, BACK = 4, ANSWER = 240, NEW = 50 };
    const char *const goldens[] = { DENSE, MOE, "tests/golden/e2b" };
    (void)state;
    for (size_t k = 0; k < COUNT_OF(goldens); k++) {
        facet_model *m = engine_open_model(goldens[k]);
        facet_sampling s = engine_sampling(m, 5, 20), longer = engine_sampling(m, 6, ANSWER);
        int32_t ids[FIRST + 2 * NEW];
        heard h = { 0 }, again = { 0 }, fresh = { 0 };
        for (int keeps = 0; keeps < 2; keeps++) {
            engine_prompt(ids, FIRST + 2 * NEW, 3);
            facet_engine_opts o = { .threads = 1, .chunk = 32, .cache = keeps - 1 };
            facet_engine *g = engine_start(m, &o);
            facet_engine_read_opts(g, &o);
            assert_int_equal(o.cache, keeps - 1);
            engine_ask(&h, g, &longer, ids, FIRST);
            assert_int_equal(h.count, ANSWER);
            memmove(ids + FIRST - BACK, ids + FIRST, NEW * sizeof *ids);     /* the prompt's last tokens go, too */
            engine_ask(&again, g, &longer, ids, FIRST - BACK + NEW);
            assert_int_equal(again.result.cached_tokens, keeps ? FIRST - BACK : 0);
            engine_ask(&h, g, &s, ids, FIRST + NEW);                                /* and the turn after that */
            assert_int_equal(h.result.cached_tokens, keeps ? FIRST - BACK + NEW : 0);
            facet_engine_stop(g);
            g = engine_start(m, &o);
            engine_ask(&fresh, g, &longer, ids, FIRST - BACK + NEW);
            engine_same(&again, &fresh);
            facet_engine_stop(g);
            g = engine_start(m, &o);
            engine_ask(&fresh, g, &s, ids, FIRST + NEW);
            engine_same(&h, &fresh);
            facet_engine_stop(g);
        }
        facet_model_close(m);
    }
}

static void *cancel_soon(void *user)
{
    heard *h = user;
    usleep(5000);
    facet_request_cancel(h->r);
    return NULL;
}

static void cancelling_stops_one_and_only_one(void **state)
{
    (void)state;
    facet_error e;
    facet_model *m = engine_open_model(DENSE);
    facet_sampling s = engine_sampling(m, 1, 100);
    int32_t ids[N_PROMPT];
    static heard alone, a, b, c;
    facet_engine *g = engine_start(m, &(facet_engine_opts){ .threads = 2, .parallel = 2 });
    engine_prompt(ids, N_PROMPT, 1);
    engine_ask(&alone, g, &s, ids, N_PROMPT);
    a = (heard){ .cancel_after = 7 };
    b = c = (heard){ 0 };
    engine_submit(&b, g, &s, ids, N_PROMPT);
    engine_submit(&a, g, &s, ids, N_PROMPT);
    engine_submit(&c, g, &s, ids, N_PROMPT);       /* waits for a place */
    assert_int_equal(facet_request_wait(a.r, NULL, &e), FACET_E_CANCELLED);
    assert_int_equal(a.result.finish, FACET_FINISH_CANCELLED);
    assert_int_equal(a.count, 7);
    assert_ok(facet_request_wait(b.r, NULL, &e), &e);
    assert_ok(facet_request_wait(c.r, NULL, &e), &e);
    engine_same(&alone, &b);
    engine_same(&alone, &c);
    facet_request_free(a.r);
    facet_request_free(b.r);
    facet_request_free(c.r);
    /* before it is submitted, from another thread, and by freeing */
    a = b = c = (heard){ 0 };
    assert_ok(facet_request_new(&a.r, g, &s, &e), &e);
    assert_ok(facet_request_tokens(a.r, ids, N_PROMPT, &e), &e);
    facet_request_cancel(a.r);
    assert_ok(facet_request_submit(a.r, engine_listen, &a, &e), &e);
    assert_int_equal(facet_request_wait(a.r, NULL, &e), FACET_E_CANCELLED);
    assert_int_equal(a.count, 0);
    facet_request_free(a.r);
    s.max_tokens = 0;
    engine_submit(&b, g, &s, ids, N_PROMPT);
    pthread_t t;
    pthread_create(&t, NULL, cancel_soon, &b);
    status st = facet_request_wait(b.r, NULL, &e);
    assert_true(st == FACET_E_CANCELLED || (st == OK && b.result.finish == FACET_FINISH_LENGTH));
    pthread_join(t, NULL);
    facet_request_free(b.r);
    engine_submit(&c, g, &s, ids, N_PROMPT);
    facet_request_free(c.r);
    assert_int_equal(c.dones, 1);
    facet_engine_stop(g);
    facet_model_close(m);
}

static void limits_are_told(void **state)
{
    (void)state;
    facet_error e;
    facet_model *m = engine_open_model(DENSE);
    facet_model_info info;
    facet_request *r = NULL;
    int32_t ids[64];
    facet_sampling s = engine_sampling(m, 1, 0);
    heard h = { 0 };
    facet_model_read_info(m, &info);
    assert_false(info.text);
    facet_engine *g = engine_start(m, &(facet_engine_opts){ .threads = 1, .ctx = 40, .queue = 1 });
    engine_prompt(ids, 64, 0);
    engine_ask(&h, g, &s, ids, 30);                            /* the context is the limit */
    assert_int_equal(h.result.finish, FACET_FINISH_LENGTH);
    assert_int_equal(h.count, 10);
    assert_ok(facet_request_new(&r, g, &s, &e), &e);
    assert_fails(facet_request_submit(r, NULL, NULL, &e), E_ARG, &e, "no messages");
    assert_ok(facet_request_tokens(r, ids, 40, &e), &e);
    assert_fails(facet_request_submit(r, NULL, NULL, &e), E_CONTEXT, &e, "context");
    assert_fails(facet_request_message(r, FACET_USER, "x", 1, &e), E_ARG, &e, "raw text");
    assert_fails(facet_request_wait(r, NULL, &e), E_ARG, &e, "not submitted");
    facet_request_free(r);
    assert_ok(facet_request_new(&r, g, &s, &e), &e);
    ids[3] = info.vocab;
    assert_ok(facet_request_tokens(r, ids, 5, &e), &e);
    assert_fails(facet_request_submit(r, NULL, NULL, &e), E_ARG, &e, "token");
    facet_request_free(r);
    assert_ok(facet_request_new(&r, g, &s, &e), &e);
    assert_int_not_equal(facet_request_text(r, "x", 1, false, &e), OK);     /* no tokenizer */
    facet_request_free(r);
    facet_engine_stop(g);
    facet_engine_opts bad[] = { { .ctx = info.context + 1 }, { .ctx = -1 }, { .parallel = 1000 }, { .chunk = -1 }, { .threads = -1 },
                                { .isa = "mmx" }, { .kv = (facet_kv)9 }, { .queue = -1 } };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        g = NULL;
        assert_int_equal(facet_engine_start(&g, m, &bad[i], &e), E_ARG);
        assert_null(g);
    }
    facet_model_close(m);
}

/* While the first request's callback holds the engine, the queue fills. */
typedef struct gate { pthread_mutex_t lock; bool entered; pthread_cond_t in; } gate;

static void hold(void *user, const facet_event *ev)
{
    gate *k = user;
    (void)ev;
    pthread_mutex_lock(&k->lock);
    k->entered = true;
    pthread_cond_signal(&k->in);
    pthread_mutex_unlock(&k->lock);
}

static void a_full_queue_is_busy(void **state)
{
    (void)state;
    facet_error e;
    facet_model *m = engine_open_model(DENSE);
    facet_engine *g = engine_start(m, &(facet_engine_opts){ .threads = 1, .parallel = 1, .queue = 2 });
    facet_sampling s = engine_sampling(m, 1, 0);
    facet_request *r[4];
    int32_t ids[4] = { 5, 6, 7, 8 };
    gate k = { .lock = PTHREAD_MUTEX_INITIALIZER, .in = PTHREAD_COND_INITIALIZER };
    for (int i = 0; i < 4; i++) {
        assert_ok(facet_request_new(&r[i], g, &s, &e), &e);
        assert_ok(facet_request_tokens(r[i], ids, 4, &e), &e);
    }
    pthread_mutex_lock(&k.lock);        /* the engine waits in the callback of r[0] */
    assert_ok(facet_request_submit(r[0], hold, &k, &e), &e);
    pthread_mutex_unlock(&k.lock);
    pthread_mutex_lock(&k.lock);
    while (!k.entered) pthread_cond_wait(&k.in, &k.lock);
    assert_ok(facet_request_submit(r[1], NULL, NULL, &e), &e);
    assert_ok(facet_request_submit(r[2], NULL, NULL, &e), &e);
    assert_fails(facet_request_submit(r[3], NULL, NULL, &e), E_BUSY, &e, "wait");
    pthread_mutex_unlock(&k.lock);
    facet_engine_stop(g);               /* all of them get their last event */
    for (int i = 0; i < 3; i++) assert_int_equal(facet_request_wait(r[i], NULL, &e), FACET_E_CANCELLED);
    for (int i = 0; i < 4; i++) facet_request_free(r[i]);
    facet_model_close(m);
}

static void a_callback_may_free_its_request(void **state)
{
    (void)state;
    facet_model *m = engine_open_model(DENSE);
    facet_engine *g = engine_start(m, &(facet_engine_opts){ .threads = 1 });
    facet_sampling s = engine_sampling(m, 1, 3);
    int32_t ids[4] = { 5, 6, 7, 8 };
    heard h = { .free_in_callback = true }, last = { 0 };
    engine_submit(&h, g, &s, ids, 4);
    engine_ask(&last, g, &s, ids, 4);          /* comes after it */
    assert_int_equal(h.dones, 1);
    assert_int_equal(h.count, 3);
    facet_engine_stop(g);
    facet_model_close(m);
}

static void biased_and_ending_tokens(void **state)
{
    (void)state;
    facet_model *m = engine_open_model(DENSE);
    facet_engine *g = engine_start(m, &(facet_engine_opts){ .threads = 1 });
    facet_sampling s = engine_sampling(m, 1, 10);
    int32_t ids[4] = { 5, 6, 7, 8 };
    facet_bias only = { .id = 42, .add = 1000 }, end = { .id = 1, .add = 1000 };
    heard h = { 0 };
    s.bias = &only;
    s.bias_count = 1;
    engine_ask(&h, g, &s, ids, 4);
    for (int i = 0; i < 10; i++) assert_int_equal(h.ids[i], 42);
    s.bias = &end;
    s.ignore_end = false;
    engine_ask(&h, g, &s, ids, 4);
    assert_int_equal(h.result.finish, FACET_FINISH_STOP);
    assert_int_equal(h.count, 1);
    s.ignore_end = true;
    engine_ask(&h, g, &s, ids, 4);
    assert_int_equal(h.count, 10);
    for (int i = 0; i < 10; i++) assert_int_not_equal(h.ids[i], 1);
    facet_engine_stop(g);
    facet_model_close(m);
}

static void count_calls(void *user, const facet_event *ev)
{
    heard *h = user;
    mem_stats now;
    if (ev->kind != FACET_TOKEN) return;
    mem_stats_read(&now);
    h->ids[h->count++] = (int32_t)now.calls;
}

/* Once an answer has begun, nothing is allocated until it ends. */
static void nothing_is_allocated_between_tokens(void **state)
{
    (void)state;
    const char *const goldens[] = { DENSE, MOE, "tests/golden/e2b" };
    for (size_t k = 0; k < COUNT_OF(goldens); k++) {
        facet_error e;
        int32_t ids[N_PROMPT];
        heard h = { 0 };
        facet_model *m = engine_open_model(goldens[k]);
        facet_engine *g = engine_start(m, &(facet_engine_opts){ .threads = 2 });
        facet_sampling s = engine_sampling(m, 1, 100);
        s.repeat_penalty = 1.1f;
        engine_prompt(ids, N_PROMPT, 2);
        assert_ok(facet_request_new(&h.r, g, &s, &e), &e);
        assert_ok(facet_request_tokens(h.r, ids, N_PROMPT, &e), &e);
        assert_ok(facet_request_submit(h.r, count_calls, &h, &e), &e);
        assert_ok(facet_request_wait(h.r, NULL, &e), &e);
        facet_request_free(h.r);
        assert_int_equal(h.count, 100);
        for (int i = 1; i < h.count; i++)
            if (h.ids[i] != h.ids[0]) fail_msg("%s: token %d allocated", goldens[k], i);
        facet_engine_stop(g);
        facet_model_close(m);
    }
}

/* What the plan says is what is taken, within 3 % and what a request itself holds. */
static void the_plan_is_the_peak(void **state)
{
    (void)state;
    const char *const goldens[] = { DENSE, MOE, "tests/golden/e2b" };
    const facet_engine_opts opts[] = { { .threads = 2 }, { .threads = 2, .parallel = 4, .chunk = 64, .kv = FACET_KV_F32 },
                                       { .threads = 1, .ctx = 64, .chunk = 16, .exact = true },
                                       { .threads = 1, .chunk = 16, .parallel = 2, .cache = -1, .constrained = true /* nothing, without text */ },
                                       { .threads = 1, .parallel = 3, .cache = 1 << 20 } };
    for (size_t k = 0; k < COUNT_OF(goldens); k++) {
        facet_model *m = engine_open_model(goldens[k]);
        for (size_t i = 0; i < COUNT_OF(opts); i++) {
            facet_error e;
            facet_plan p;
            mem_stats before, after;
            int32_t ids[40];
            heard h = { 0 };
            engine_prompt(ids, 40, 1);
            assert_ok(facet_plan_engine(m, &opts[i], &p, &e), &e);
            mem_stats_reset_peaks();
            mem_stats_read(&before);
            facet_engine *g = engine_start(m, &opts[i]);
            facet_sampling s = engine_sampling(m, 1, 20);
            engine_ask(&h, g, &s, ids, 40);
            mem_stats_read(&after);
            facet_engine_stop(g);
            double planned = (double)(p.kv + p.activations + p.logits + p.other), peak = (double)(after.peak - before.current);
            if (fabs(planned - peak) > 0.03 * peak + 65536) fail_msg("%s, options %zu: planned %.0f bytes, taken %.0f", goldens[k], i, planned, peak);
        }
        facet_model_close(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_text_is_the_reference),
        cmocka_unit_test(a_request_does_not_see_the_others),
        cmocka_unit_test(kept_tokens_change_nothing),
        cmocka_unit_test(a_turn_reads_only_what_is_new),
        cmocka_unit_test(cancelling_stops_one_and_only_one),
        cmocka_unit_test(limits_are_told),
        cmocka_unit_test(a_full_queue_is_busy),
        cmocka_unit_test(a_callback_may_free_its_request),
        cmocka_unit_test(biased_and_ending_tokens),
        cmocka_unit_test(nothing_is_allocated_between_tokens),
        cmocka_unit_test(the_plan_is_the_peak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
