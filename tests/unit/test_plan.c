/* The plan against what is then really taken. */
#include "plan/plan.h"
#include "support/model.h"
#include "support/tiny.h"

static uint64_t distance(uint64_t a, uint64_t b) { return a > b ? a - b : b - a; }

/* Takes a context, runs T tokens in one step, and compares what was taken with the plan. */
static void compare(const char *name, const gemma *m, const gemma_ctx_opts *o, const int32_t *tokens, int32_t T)
{
    err e = { 0 };
    plan p;
    mem_stats before, now;
    int32_t V = m->config.vocab;
    assert_ok(plan_model(&p, m, o, 0, 0, &e), &e);
    mem_stats_read(&before);
    gemma_ctx *x = model_ctx(m, o);
    float *logits = malloc(sizeof *logits * (size_t)T * (size_t)V);
    model_run(x, model_seq(x), tokens, T, T, logits, V);
    mem_stats_read(&now);
    assert_int_equal(now.tag_current[MEM_KV] - before.tag_current[MEM_KV], p.kv);
    assert_int_equal(now.tag_current[MEM_ACTIVATIONS] - before.tag_current[MEM_ACTIVATIONS], p.activations);
    uint64_t took = now.current - before.current, planned = p.kv + p.activations + p.other;
    if (distance(took, planned) > planned / 33) fail_msg("%s: took %llu bytes, planned %llu", name, (unsigned long long)took, (unsigned long long)planned);
    free(logits);
    gemma_ctx_free(x);
}

static void measured_equals_planned(void **state)
{
    static const dtype types[] = { DTYPE_F32, DTYPE_F16, DTYPE_BF16 };
    (void)state;
    for (int i = 0; i < GOLDEN_COUNT; i++) {
        golden g;
        golden_open(&g, golden_names[i]);
        gemma_ctx_opts o = model_opts(i % 2);
        o.kv_type = types[i % 3];
        o.threads = 1 + i % 2;
        o.ctx = 4000;
        if (i % 4 == 3) { o.states = 5; o.pages = 4000 / 64 + 9; }
        o.hidden_rows_max = i % 3 ? 0 : 100;
        compare(golden_names[i], g.m, &o, g.tokens, g.T);
        golden_close(&g);
    }
}

/* Types whose rows are no multiple of a float's size, on heads that q8_0 can hold; and what each costs. */
static void small_caches_are_planned(void **state)
{
    enum { T = 40 };
    static const dtype types[] = { DTYPE_BF16, DTYPE_Q8_0 };
    (void)state;
    for (int kind = 0; kind < TINY_KINDS; kind++) {
        err e = { 0 };
        gemma *m = NULL;
        char path[256];
        int32_t tokens[T];
        uint64_t kv[2];
        tiny_shape s = tiny_shape_of((tiny_kind)kind);
        s.nq = s.nkv = s.nkv_full = 2;
        s.d = 256;
        s.d_full = 512;
        snprintf(path, sizeof path, "%s/plan.gguf", getenv("TMPDIR"));
        assert_ok(tiny_write_shape(path, &s, DTYPE_F16, 5, &e), &e);
        assert_ok(gemma_open(&m, path, &e), &e);
        model_tokens(tokens, T, TINY_VOCAB, 9);
        for (int k = 0; k < 2; k++) {
            plan p;
            gemma_ctx_opts o = model_opts(k);
            o.kv_type = types[k];
            o.keep_k = true;           /* no angles in it: only rows */
            o.states = 3;
            o.row_max = T;
            compare(s.name, m, &o, tokens, T);
            assert_ok(plan_model(&p, m, &o, 0, 0, &e), &e);
            kv[k] = p.kv;
        }
        assert_true(distance(kv[1] * 64, kv[0] * 34) <= 64 * 64 * 1000);      /* 34 bytes for 32 numbers, 64 in bf16; arenas round up */
        gemma_close(m);
        unlink(path);
    }
}

static void weights_are_counted(void **state)
{
    golden g;
    plan p;
    err e = { 0 };
    mem_stats s;
    (void)state;
    golden_open(&g, "31b-f32");
    gemma_ctx_opts o = model_opts(true);
    assert_ok(plan_model(&p, g.m, &o, 1000, 100, &e), &e);
    mem_stats_read(&s);
    assert_true(distance(p.weights_owned, s.tag_current[MEM_WEIGHTS]) <= s.tag_current[MEM_WEIGHTS] / 33 + 4096);
    assert_true(p.weights_mapped < st_file_bytes(g.m->safetensors));
    assert_true(p.weights_mapped > st_file_bytes(g.m->safetensors) * 9 / 10);
    assert_int_equal(p.total, p.weights_mapped + p.weights_owned + p.kv + p.activations + p.other + 1100);
    golden_close(&g);
}

/* Half the numbers, half the bytes; K = V layers store one vector instead of two. */
static void sizes_follow_the_options(void **state)
{
    golden g;
    plan f32, f16, with_k;
    err e = { 0 };
    (void)state;
    golden_open(&g, "31b");
    gemma_ctx_opts o = model_opts(false);
    o.kv_type = DTYPE_F32;
    assert_ok(plan_model(&f32, g.m, &o, 0, 0, &e), &e);
    o.keep_k = true;
    assert_ok(plan_model(&with_k, g.m, &o, 0, 0, &e), &e);
    o.keep_k = false;
    o.kv_type = DTYPE_F16;
    assert_ok(plan_model(&f16, g.m, &o, 0, 0, &e), &e);
    assert_true(f32.kv > f16.kv * 3 / 2 && f32.kv <= f16.kv * 2);
    uint64_t keys = 0;            /* numbers in the K of all K = V layers, 640 tokens in 3 sequences; the angles are saved */
    for (int32_t l = 0; l < g.m->config.layer_count; l++)
        if (g.m->config.layers[l].k_eq_v) keys += 640 * 3 * (uint64_t)(g.m->config.layers[l].nkv * g.m->config.layers[l].d);
    assert_true(keys > 0);
    assert_int_equal(with_k.kv - f32.kv, (keys - 640 * 2 * (uint64_t)g.m->config.rope_pairs_full) * 4);
    golden_close(&g);
}

static void judged(void **state)
{
    plan p = { .weights_mapped = 800, .kv = 100, .total = 900 };
    (void)state;
    assert_int_equal(plan_judge(&p, 1000), PLAN_FITS);
    assert_int_equal(plan_judge(&p, 998), PLAN_PAGES);
    assert_int_equal(plan_judge(&p, 110), PLAN_TOO_BIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(measured_equals_planned),
        cmocka_unit_test(small_caches_are_planned),
        cmocka_unit_test(weights_are_counted),
        cmocka_unit_test(sizes_follow_the_options),
        cmocka_unit_test(judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
