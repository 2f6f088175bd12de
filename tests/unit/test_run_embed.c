/* Embeddings through the engine: against the reference's states, whatever the chunks and the company; limits and refusals. */
#include <math.h>

#include "facet.h"
#include "support/model.h"

#define MINIATURE "models/facet-mini.gguf"

typedef struct rig { facet_model *m; facet_engine *g; facet_model_info info; } rig;

static rig rig_open(const char *path, facet_engine_opts o)
{
    rig x = { 0 };
    facet_error e = { 0 };
    o.embed = true;
    if (!o.threads) o.threads = 1;
    assert_ok(facet_model_open(&x.m, &(facet_model_opts){ .path = path }, &e), &e);
    o.invariant = true;
    assert_ok(facet_engine_start(&x.g, x.m, &o, &e), &e);
    facet_model_read_info(x.m, &x.info);
    return x;
}

static void rig_close(rig *x)
{
    facet_engine_stop(x->g);
    facet_model_close(x->m);
}

static facet_request *ask_ids(rig *x, const int32_t *ids, size_t n, float *out)
{
    facet_error e = { 0 };
    facet_request *r = NULL;
    assert_ok(facet_request_new(&r, x->g, NULL, &e), &e);
    assert_ok(facet_request_tokens(r, ids, n, &e), &e);
    assert_ok(facet_request_embed(r, out, &e), &e);
    assert_ok(facet_request_submit(r, NULL, NULL, &e), &e);
    return r;
}

static facet_result end(facet_request *r)
{
    facet_result how;
    facet_error e = { 0 };
    assert_ok(facet_request_wait(r, &how, &e), &e);
    facet_request_free(r);
    return how;
}

/* mean_state is the reference's, in f64; an element of it is off by what an element of a state may be off (test_model_golden). */
static void reference(void **state)
{
    (void)state;
    for (int i = 0; i < GOLDEN_FOLDERS; i++) {
        golden g;
        char path[128];
        int64_t H = 0, at, rows = 0;
        golden_open(&g, golden_names[i]);
        const float *mean = golden_tensor(&g, "mean_state", &H), *states = golden_tensor(&g, "tap.-1.final_norm", &rows);
        assert_true(mean && states);
        double length = 0, scale = model_scale(states, rows * H);
        for (int64_t k = 0; k < H; k++) length += (double)mean[k] * (double)mean[k];
        length = sqrt(length);
        snprintf(path, sizeof path, "tests/golden/%s/model", golden_names[i]);
        for (int32_t chunk = 7; chunk <= 512; chunk += 505) {
            rig x = rig_open(path, (facet_engine_opts){ .exact = true, .ctx = 640, .chunk = chunk });
            float *got = calloc((size_t)H, sizeof *got), *want = malloc((size_t)H * sizeof *want);
            assert_int_equal(x.info.hidden, H);
            facet_result how = end(ask_ids(&x, g.tokens, (size_t)g.T, got));
            assert_int_equal(how.prompt_tokens, g.T);
            assert_int_equal(how.answer_tokens, 0);
            assert_int_equal(how.finish, FACET_FINISH_STOP);
            for (int64_t k = 0; k < H; k++) want[k] = (float)(mean[k] / length);
            double off = model_diff(got, want, H, &at), bound = 2 * g.bound * scale / length;      /* of the mean, and of its length */
            print_message("%-10s off by %.2e, bound %.2e\n", golden_names[i], off, bound);
            if (!(off <= bound)) fail_msg("%s: element %d is %g, expected %g", golden_names[i], (int)at, (double)got[at], (double)want[at]);
            free(got);
            free(want);
            rig_close(&x);
        }
        golden_close(&g);
    }
}

enum { TEXTS = 5, LONGEST = 300 };

/* Alone, in one step or in many, or among others and an answer: the same bits. */
static void company(void **state)
{
    (void)state;
    static const int32_t lengths[TEXTS] = { 1, 300, 17, 129, 2 };
    int32_t ids[TEXTS][LONGEST];
    rig alone = rig_open(MINIATURE, (facet_engine_opts){ .ctx = 400 });
    size_t H = (size_t)alone.info.hidden;
    float *want = calloc(TEXTS * H, sizeof *want), *got = calloc(TEXTS * H, sizeof *got);
    for (int i = 0; i < TEXTS; i++) {
        model_tokens(ids[i], lengths[i], 200, (uint32_t)i + 1);
        end(ask_ids(&alone, ids[i], (size_t)lengths[i], want + (size_t)i * H));
        double square = 0;
        for (size_t k = 0; k < H; k++) square += (double)want[(size_t)i * H + k] * (double)want[(size_t)i * H + k];
        assert_true(fabs(square - 1) < 1e-5);
    }
    assert_memory_not_equal(want, want + H, H * sizeof *want);
    rig_close(&alone);
    for (int32_t chunk = 24; chunk <= 512; chunk += 488) {
        rig x = rig_open(MINIATURE, (facet_engine_opts){ .ctx = 400, .parallel = 4, .chunk = chunk, .threads = 2 });
        facet_request *r[TEXTS], *talk = NULL;
        facet_sampling s;
        facet_error e = { 0 };
        facet_sampling_defaults(x.m, &s);
        s.ignore_end = true;
        s.max_tokens = 40;
        assert_ok(facet_request_new(&talk, x.g, &s, &e), &e);
        assert_ok(facet_request_text(talk, "Hello", 5, false, &e), &e);
        assert_ok(facet_request_submit(talk, NULL, NULL, &e), &e);
        for (int i = 0; i < TEXTS; i++) r[i] = ask_ids(&x, ids[i], (size_t)lengths[i], got + (size_t)i * H);
        for (int i = 0; i < TEXTS; i++) assert_int_equal(end(r[i]).cached_tokens, 0);
        assert_int_equal(end(talk).answer_tokens, 40);
        assert_memory_equal(got, want, TEXTS * H * sizeof *got);
        end(ask_ids(&x, ids[1], 300, got));              /* again: nothing of it may come from the cache */
        assert_memory_equal(got, want + H, H * sizeof *got);
        rig_close(&x);
    }
    free(want);
    free(got);
}

/* bos stands before a text and does not count. */
static void begin(void **state)
{
    (void)state;
    rig x = rig_open(MINIATURE, (facet_engine_opts){ .ctx = 64 });
    size_t H = (size_t)x.info.hidden, n = 0;
    float *a = calloc(H, sizeof *a), *b = calloc(H, sizeof *b);
    int32_t *ids = NULL;
    facet_error e = { 0 };
    facet_request *r = NULL;
    assert_ok(facet_request_new(&r, x.g, NULL, &e), &e);
    assert_ok(facet_request_text(r, "Hello", 5, false, &e), &e);
    assert_ok(facet_request_embed(r, a, &e), &e);
    assert_ok(facet_request_submit(r, NULL, NULL, &e), &e);
    int32_t tokens = end(r).prompt_tokens;
    assert_ok(facet_tokenize(x.m, "Hello", 5, false, &ids, &n, &e), &e);
    assert_int_equal(tokens, n + 1);
    int32_t with[64] = { x.info.bos };
    memcpy(with + 1, ids, n * sizeof *ids);
    end(ask_ids(&x, with, n + 1, b));
    assert_memory_equal(a, b, H * sizeof *a);
    facet_free(ids);
    free(a);
    free(b);
    rig_close(&x);
}

static void expect(facet_status got, facet_status want, const facet_error *e, const char *says)
{
    assert_int_equal(got, want);
    if (!strstr(e->what, says) && !strstr(e->why, says)) fail_msg("\"%s\" is not in: %s: %s", says, e->what, e->why);
}

static void refused(void **state)
{
    (void)state;
    rig x = rig_open(MINIATURE, (facet_engine_opts){ .ctx = 32 });
    float *out = calloc((size_t)x.info.hidden, sizeof *out);
    int32_t ids[33] = { 5, 6, 7 };
    facet_error e = { 0 };
    facet_request *r = NULL;
    end(ask_ids(&x, ids, 32, out));                      /* a whole context: no answer needs room */
    assert_ok(facet_request_new(&r, x.g, NULL, &e), &e);
    assert_ok(facet_request_tokens(r, ids, 33, &e), &e);
    assert_ok(facet_request_embed(r, out, &e), &e);
    expect(facet_request_submit(r, NULL, NULL, &e), FACET_E_CONTEXT, &e, "it has 33 tokens, the context holds 32");
    facet_request_free(r);
    assert_ok(facet_request_new(&r, x.g, NULL, &e), &e);
    assert_ok(facet_request_text(r, "", 0, false, &e), &e);
    assert_ok(facet_request_embed(r, out, &e), &e);
    expect(facet_request_submit(r, NULL, NULL, &e), FACET_E_ARG, &e, "the text is empty");
    facet_request_free(r);
    assert_ok(facet_request_new(&r, x.g, NULL, &e), &e);
    assert_ok(facet_request_message(r, FACET_USER, "Hi", 2, &e), &e);
    assert_ok(facet_request_embed(r, out, &e), &e);
    expect(facet_request_submit(r, NULL, NULL, &e), FACET_E_ARG, &e, "raw text or tokens");
    facet_request_free(r);
    /* cancelled before it runs: nothing is written */
    out[0] = 77;
    assert_ok(facet_request_new(&r, x.g, NULL, &e), &e);
    assert_ok(facet_request_tokens(r, ids, 3, &e), &e);
    assert_ok(facet_request_embed(r, out, &e), &e);
    facet_request_cancel(r);
    assert_ok(facet_request_submit(r, NULL, NULL, &e), &e);
    assert_int_equal(facet_request_wait(r, NULL, &e), FACET_E_CANCELLED);
    assert_true(out[0] == 77);
    facet_request_free(r);
    rig_close(&x);
    facet_engine *plain = NULL;
    assert_ok(facet_model_open(&x.m, &(facet_model_opts){ .path = MINIATURE }, &e), &e);
    assert_ok(facet_engine_start(&plain, x.m, &(facet_engine_opts){ .ctx = 32, .threads = 1 }, &e), &e);
    assert_ok(facet_request_new(&r, plain, NULL, &e), &e);
    expect(facet_request_embed(r, out, &e), FACET_E_ARG, &e, "without room");
    facet_request_free(r);
    facet_engine_stop(plain);
    facet_model_close(x.m);
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(reference), cmocka_unit_test(company), cmocka_unit_test(begin), cmocka_unit_test(refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
