/* The prefix cache: what is reused has the bits of what is computed, and what is forgotten is forgotten evenly. */
#include "base/bits.h"
#include "base/rng.h"
#include "run/prefix.h"
#include "support/engine.h"
#include "support/model.h"

static int32_t draw(uint64_t *n, int32_t most) { return (int32_t)(rng_uniform(77, ++*n) * most); }

/* Random conversations on all architectures: the next one begins like any earlier one, cut anywhere, as edits, regenerated answers and
 * shared instructions do.  Every answer has the bits that an engine without a memory gives, whatever is cached and forgotten. */
static void reuse_changes_nothing(void **state)
{
    enum { PAST = 6, ROUNDS = 24, LONG = 200, ANSWER = 5 };
    static const char *const goldens[] = { "tests/golden/e2b", "tests/golden/e4b", "tests/golden/12b", "tests/golden/26b", "tests/golden/31b" };
    static heard with, without;
    (void)state;
    for (int k = 0; k < 2 * (int)COUNT_OF(goldens); k++) {
        facet_model *m = engine_open_model(goldens[k / 2]);
        facet_engine_opts o = { .threads = 1, .ctx = 256, .chunk = 48, .exact = k % 2, .cache = 600 << 10 }, bare = o;
        bare.cache = -1;
        bare.chunk = 31;
        facet_engine *g = engine_start(m, &o), *plain = engine_start(m, &bare);
        facet_sampling s = engine_sampling(m, 3, ANSWER);
        s.top_logprobs = HEARD_TOP;
        int32_t past[PAST][LONG + ANSWER], length[PAST] = { 0 };
        uint64_t n = (uint64_t)k << 20;
        int64_t cached = 0;
        for (int round = 0; round < ROUNDS; round++) {
            int from = draw(&n, PAST), to = round < PAST ? round : draw(&n, PAST);
            int32_t cut = draw(&n, MIN(length[from], LONG - 40) + 1);
            int32_t back = draw(&n, 20);
            if (round % 4 == 3) cut = MAX(0, MIN(length[from] - 1 - back, LONG - 40));      /* near the end: borders */
            int32_t total = cut + 1 + draw(&n, 39);
            memmove(past[to], past[from], (size_t)cut * sizeof *past[to]);
            for (int32_t i = cut; i < total; i++) past[to][i] = 10 + draw(&n, 200);
            s.seed = n;
            engine_ask(&with, g, &s, past[to], (size_t)total);
            engine_ask(&without, plain, &s, past[to], (size_t)total);
            engine_same(&with, &without);
            assert_int_equal(without.result.cached_tokens, 0);
            cached += with.result.cached_tokens;
            for (int i = 0; i < with.count; i++) past[to][total + i] = with.ids[i];
            length[to] = total + with.count;
        }
        assert_true(cached > ROUNDS * 6);      /* or it has shown nothing */
        facet_engine_stop(g);
        facet_engine_stop(plain);
        facet_model_close(m);
    }
}

/* What the tree says, against a list of everything that was kept, through random keeping, finding and forgetting. */
typedef struct kept { uint64_t scope; int32_t ids[160], length; } kept;

enum { BACK = 16 };      /* tokens before its length that a checkpoint serves when its sequence was computed from the start */

static int32_t alike(const int32_t *a, const int32_t *b, int32_t n)
{
    int32_t i = 0;
    while (i < n && a[i] == b[i]) i++;
    return i;
}

static void the_tree_is_what_was_kept(void **state)
{
    enum { ROUNDS = 400, LIST = 400 };
    golden f;
    (void)state;
    golden_open(&f, "e2b");
    err e = { 0 };
    for (int roomy = 0; roomy < 2; roomy++) {
        gemma_ctx_opts o = model_opts(false);
        o.ctx = 160;
        o.seq_max = 2;
        o.row_max = 160;
        o.states = roomy ? LIST + 1 : 9;
        o.pages = roomy ? 900 : 20;
        gemma_ctx *x = model_ctx(f.m, &o);
        prefix p = { 0 };
        arena measure = { 0 }, a = { 0 };
        assert_ok(prefix_layout(&p, &o, &measure, &e), &e);
        assert_ok(arena_init(&a, measure.used, MEM_OTHER, &e), &e);
        assert_ok(prefix_layout(&p, &o, &a, &e), &e);
        prefix_start(&p, x, &o);
        kept *list = calloc(LIST, sizeof *list);
        gemma_row rows[160];
        int count = 0;
        uint64_t n = 9;
        for (int round = 0; round < ROUNDS; round++) {
            kept now = { .scope = (uint64_t)draw(&n, 2), .length = 1 + draw(&n, 159) };
            int32_t common = 0;
            if (count && draw(&n, 4)) {
                const kept *old = &list[draw(&n, count)];
                common = draw(&n, MIN(old->length, now.length) + 1);
                memcpy(now.ids, old->ids, (size_t)common * sizeof *now.ids);
            }
            for (int32_t i = common; i < now.length; i++) now.ids[i] = 10 + draw(&n, 3);
            int32_t best = 0, sure = 0, same = 0;
            for (int i = 0; i < count; i++) {
                if (list[i].scope != now.scope) continue;
                int32_t c = alike(list[i].ids, now.ids, MIN(list[i].length, now.length - 1));
                same = MAX(same, c);
                if (c >= list[i].length - BACK) best = MAX(best, c);
                if (c == list[i].length) sure = MAX(sure, c);
            }
            prefix_hit h = prefix_find(&p, now.scope, now.ids, now.length - 1);
            prefix_touch(&p, &h);
            assert_in_range(h.length, 0, best);                 /* never what was not kept */
            if (roomy) assert_true(h.length >= sure);           /* and nothing of it is missed */
            if (roomy) assert_int_equal(h.same, same);
            int32_t seq;
            assert_ok(h.length ? gemma_seq_resume(x, h.pages, h.checkpoint, h.length, &seq, &e) : gemma_seq_new(x, &seq, &e), &e);
            int32_t T = now.length - h.length;
            for (int32_t i = 0; i < T; i++) rows[i] = (gemma_row){ .seq = seq, .pos = h.length + i, .token = now.ids[h.length + i] };
            while (gemma_pages_free(x) < gemma_pages_wanted(x, seq, T)) assert_true(prefix_shrink(&p));
            assert_ok(gemma_step(x, rows, T, NULL, &e), &e);
            prefix_keep(&p, now.scope, now.ids, now.length, seq, (prefix_kind)draw(&n, 4));
            if (roomy) assert_int_equal(prefix_find(&p, now.scope, now.ids, now.length).length, now.length);
            gemma_seq_free(x, seq);
            assert_int_equal(gemma_pages_free(x) + p.held, o.pages);
            assert_int_equal(prefix_pages(&p), p.held);
            list[count++ % LIST] = now;
        }
        while (prefix_shrink(&p)) { }
        assert_int_equal(p.kept, 0);
        assert_int_equal(p.held, 0);
        assert_int_equal(gemma_pages_free(x), o.pages);
        free(list);
        gemma_ctx_free(x);
        arena_done(&a);
    }
    golden_close(&f);
}

/* Conversations that take turns, each a little longer every time; the share of their prompts that is found again. */
static double round_robin(const facet_model *m, int conversations)
{
    enum { ROUNDS = 7, TURN = 24, ANSWER = 2, FIRST = 60 };
    facet_engine *g = engine_start(m, &(facet_engine_opts){ .threads = 1, .ctx = 256, .cache = 600 << 10 });
    facet_sampling s = engine_sampling(m, 1, ANSWER);
    static heard h;
    static int32_t ids[64][FIRST + ROUNDS * (TURN + ANSWER)];
    static int32_t length[64];
    int64_t cached = 0, could = 0;
    assert_true(conversations <= 64);
    for (int c = 0; c < conversations; c++) length[c] = 0;
    for (int round = 0; round < ROUNDS; round++)
        for (int c = 0; c < conversations; c++) {
            int32_t old = length[c], add = round ? TURN : FIRST;
            for (int32_t i = 0; i < add; i++) ids[c][length[c]++] = 10 + (c * 7 + i * 31 + round * 3 + c * i) % 200;
            engine_ask(&h, g, &s, ids[c], (size_t)length[c]);
            for (int i = 0; i < h.count; i++) ids[c][length[c]++] = h.ids[i];
            if (round < 3) continue;
            cached += h.result.cached_tokens;
            could += old - 1;
        }
    facet_stats st;
    facet_engine_read_stats(g, &st);
    assert_true(st.tokens <= st.tokens_max && st.checkpoints <= st.checkpoints_max);
    facet_engine_stop(g);
    return (double)cached / (double)could;
}

static void hits_fall_smoothly(void **state)
{
    (void)state;
    facet_model *m = engine_open_model("tests/golden/26b");
    facet_plan p;
    facet_error e;
    assert_ok(facet_plan_engine(m, &(facet_engine_opts){ .ctx = 256, .cache = 600 << 10 }, &p, &e), &e);
    /* what a conversation needs at the end: pages for 216 tokens, and checkpoints at the ends of prompt and answer */
    int whole = (int)MIN(p.tokens / 256, p.checkpoints / 2);
    const double loads[] = { 0.25, 0.5, 1, 1.5, 2, 3 };
    double share[COUNT_OF(loads)];
    assert_true(whole >= 8);
    for (size_t i = 0; i < COUNT_OF(loads); i++) share[i] = round_robin(m, (int)(loads[i] * whole));
    print_message("of the cache's size: 25 %% %.3f, 50 %% %.3f, 100 %% %.3f, 150 %% %.3f, 200 %% %.3f, 300 %% %.3f\n", share[0], share[1], share[2], share[3],
                  share[4], share[5]);
    assert_true(share[0] > 0.98);
    for (size_t i = 1; i < COUNT_OF(loads); i++) {
        assert_true(share[i] < share[i - 1] + 0.05);
        assert_true(share[i] > share[i - 1] - 0.45);      /* no cliff */
    }
    assert_true(share[1] > 0.8 && share[3] > 0.15 && share[5] > 0);
    facet_model_close(m);
}

/* The same beginning under another scope is found by nobody; under the same one it is. */
static void scopes_do_not_see_each_other(void **state)
{
    (void)state;
    facet_model *m = engine_open_model("tests/golden/31b");
    facet_engine *g = engine_start(m, &(facet_engine_opts){ .threads = 1 });
    facet_sampling s = engine_sampling(m, 1, 3);
    static heard h[5];
    const uint64_t scopes[] = { 0, 7, 8, 7, 0 };
    int32_t ids[150];
    engine_prompt(ids, 150, 1);
    for (int i = 0; i < 5; i++) {
        engine_submit_as(&h[i], g, &s, ids, 150, scopes[i]);
        facet_request_wait(h[i].r, NULL, NULL);
        facet_request_free(h[i].r);
        assert_int_equal(h[i].result.cached_tokens, i < 3 ? 0 : 149);
        engine_same(&h[0], &h[i]);
    }
    facet_engine_stop(g);
    facet_model_close(m);
}

/* A third conversation that begins like two others finds the place where those parted. */
static void shared_instructions_are_found(void **state)
{
    (void)state;
    facet_model *m = engine_open_model("tests/golden/31b");       /* its window is 20: a checkpoint every 80 tokens of a prompt */
    facet_engine *g = engine_start(m, &(facet_engine_opts){ .threads = 1, .parallel = 2 });
    facet_sampling s = engine_sampling(m, 1, 3);
    static heard h;
    int32_t ids[330];
    for (int c = 0; c < 4; c++) {
        engine_prompt(ids, 300, 1);
        engine_prompt(ids + 300, 30, 20 + c);
        engine_ask(&h, g, &s, ids, 330);
        assert_int_equal(h.result.cached_tokens, c == 0 ? 0 : c == 1 ? 240 : 300);
    }
    facet_engine_stop(g);
    facet_model_close(m);
}

/* Several answers to one prompt, asked for together: it is computed once, and every answer is what it is alone. */
static void one_prompt_is_computed_once(void **state)
{
    enum { R = 6, P = 230, A = 8 };
    (void)state;
    facet_model *m = engine_open_model("tests/golden/12b");
    static heard alone[R], h[R];
    int32_t ids[P];
    facet_stats st;
    engine_prompt(ids, P, 2);
    facet_engine *g = engine_start(m, &(facet_engine_opts){ .threads = 1, .cache = -1 });
    for (int i = 0; i < R; i++) {
        facet_sampling s = engine_sampling(m, (uint64_t)i, A);
        engine_ask(&alone[i], g, &s, ids, P);
    }
    facet_engine_stop(g);
    g = engine_start(m, &(facet_engine_opts){ .threads = 1, .parallel = R, .chunk = 32 });
    for (int i = 0; i < R; i++) {
        facet_sampling s = engine_sampling(m, (uint64_t)i, A);
        engine_submit(&h[i], g, &s, ids, P);
    }
    for (int i = 0; i < R; i++) {
        facet_request_wait(h[i].r, NULL, NULL);
        facet_request_free(h[i].r);
        engine_same(&h[i], &alone[i]);
    }
    facet_engine_read_stats(g, &st);
    assert_int_equal(st.rows, P + R * A - 1);             /* the first one computes the prompt, the others its last token again; nobody the last token drawn */
    assert_int_equal(st.prompt_tokens, R * P);
    assert_int_equal(st.cached_tokens, (R - 1) * (P - 1));
    facet_engine_stop(g);
    facet_model_close(m);
}

static pthread_mutex_t hold = PTHREAD_MUTEX_INITIALIZER;

/* More than the cache can hold at once: requests are set back and go on, and say what they say alone. */
static void setting_back_changes_nothing(void **state)
{
    enum { R = 4, P = 100, A = 600, CTX = 1024 };
    static const char *const goldens[] = { "tests/golden/26b", "tests/golden/e4b" };
    (void)state;
    for (size_t k = 0; k < COUNT_OF(goldens); k++) {
        facet_model *m = engine_open_model(goldens[k]);
        static heard alone[R], h[R];
        int32_t ids[P];
        facet_stats st;
        facet_engine *g = engine_start(m, &(facet_engine_opts){ .threads = 1, .ctx = CTX, .cache = -1 });
        facet_sampling s = engine_sampling(m, 1, A);
        s.top_logprobs = HEARD_TOP;
        for (int i = 0; i < R; i++) {
            engine_prompt(ids, P, i);
            s.seed = (uint64_t)i;
            engine_ask(&alone[i], g, &s, ids, P);
        }
        facet_engine_stop(g);
        /* room for one context and a little: what is expected of all of them fits, whole answers do not */
        g = engine_start(m, &(facet_engine_opts){ .threads = 1, .ctx = CTX, .parallel = R, .cache = k ? 64 << 10 : 96 << 10 });
        pthread_mutex_lock(&hold);
        for (int i = 0; i < R; i++) {
            engine_prompt(ids, P, i);
            s.seed = (uint64_t)i;
            h[i] = (heard){ .hold = &hold };
            engine_submit(&h[i], g, &s, ids, P);
        }
        pthread_mutex_unlock(&hold);
        for (int i = 0; i < R; i++) {
            facet_request_wait(h[i].r, NULL, NULL);
            facet_request_free(h[i].r);
            assert_int_equal(h[i].count, A);
            engine_same(&h[i], &alone[i]);
        }
        facet_engine_read_stats(g, &st);
        assert_true(st.preempted > 0);
        facet_engine_stop(g);
        facet_model_close(m);
    }
}

/* Cancelled while its prompt is read: the part that was computed helps the next try. */
static void a_cancelled_prompt_is_kept(void **state)
{
    enum { P = 200 };
    (void)state;
    facet_model *m = engine_open_model("tests/golden/31b");
    facet_engine *g = engine_start(m, &(facet_engine_opts){ .threads = 1, .chunk = 16 }), *plain = engine_start(m, &(facet_engine_opts){ .threads = 1, .cache = -1 });
    facet_sampling s = engine_sampling(m, 1, 4);
    static heard h, again, fresh;
    int32_t ids[P];
    engine_prompt(ids, P, 5);
    h.cancel_prompt = 100;
    engine_ask(&h, g, &s, ids, P);
    assert_int_equal(h.result.finish, FACET_FINISH_CANCELLED);
    assert_in_range(h.progress_last, 100, 130);
    engine_ask(&again, g, &s, ids, P);
    assert_int_equal(again.result.cached_tokens, h.progress_last);
    engine_ask(&fresh, plain, &s, ids, P);
    engine_same(&again, &fresh);
    facet_engine_stop(g);
    facet_engine_stop(plain);
    facet_model_close(m);
}

/* One key floods the queue; another one's only request does not wait behind all of it. */
static void scopes_get_equal_shares(void **state)
{
    enum { FLOOD = 8 };
    (void)state;
    facet_model *m = engine_open_model("tests/golden/31b");
    facet_engine *g = engine_start(m, &(facet_engine_opts){ .threads = 1 });
    facet_sampling s = engine_sampling(m, 1, 20);
    static heard h[FLOOD + 1];
    int order = 0;
    int32_t ids[40];
    pthread_mutex_lock(&hold);
    for (int i = 0; i <= FLOOD; i++) {
        engine_prompt(ids, 40, i);
        h[i] = (heard){ .order = &order, .hold = &hold };
        engine_submit_as(&h[i], g, &s, ids, 40, i == FLOOD ? 2 : 1);
    }
    pthread_mutex_unlock(&hold);
    for (int i = 0; i <= FLOOD; i++) {
        facet_request_wait(h[i].r, NULL, NULL);
        facet_request_free(h[i].r);
    }
    assert_int_equal(h[FLOOD].place, 2);        /* behind the one that ran already */
    for (int i = 1; i < FLOOD; i++) assert_true(h[i].place > h[i - 1].place);
    facet_engine_stop(g);
    facet_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reuse_changes_nothing),
        cmocka_unit_test(the_tree_is_what_was_kept),
        cmocka_unit_test(hits_fall_smoothly),
        cmocka_unit_test(scopes_do_not_see_each_other),
        cmocka_unit_test(shared_instructions_are_found),
        cmocka_unit_test(one_prompt_is_computed_once),
        cmocka_unit_test(setting_back_changes_nothing),
        cmocka_unit_test(a_cancelled_prompt_is_kept),
        cmocka_unit_test(scopes_get_equal_shares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
