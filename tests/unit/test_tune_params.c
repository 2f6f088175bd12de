/* What is trained: which matrices, their first numbers, and that an adapter of them is the adapter they came from. */
#include <math.h>
#include <stdlib.h>

#include "base/bits.h"
#include "lora/lora.h"
#include "support/model.h"
#include "tune/params.h"

static tune_params *fresh(const gemma *m, const tune_spec *s)
{
    err e = { 0 };
    tune_params *p = NULL;
    assert_ok(tune_params_new(&p, m, s, NULL, &e), &e);
    return p;
}

static tune_spec experts_and_attention(void)
{
    return (tune_spec){ .linears = 1u << GEMMA_Q | 1u << GEMMA_V | 1u << GEMMA_EXPERT_UP | 1u << GEMMA_EXPERT_DOWN, .rank = 3, .expert_rank = 2, .alpha = 6,
                        .expert_alpha = 3, .last_layer = -1, .seed = 7 };
}

static void shapes_and_places(void **state)
{
    golden g;
    (void)state;
    golden_open(&g, "26b");
    tune_spec s = experts_and_attention();
    tune_params *p = fresh(g.m, &s);
    const gemma_config *c = &g.m->config;
    int64_t numbers = 0, n = 0;
    for (int64_t i = 0; i < p->count; i++) {
        const tune_param *q = &p->p[i];
        assert_int_equal(q->first, numbers);
        assert_ptr_equal(q->a, p->values + q->first);
        assert_ptr_equal(q->db, p->grads + q->first + q->rank * q->in);
        numbers += q->rank * (q->in + q->out);
        assert_ptr_equal(tune_params_find(p, q->layer, q->which, q->expert), q);
        n += q->group == TUNE_EXPERTS;
    }
    assert_int_equal(numbers, p->numbers);
    assert_int_equal(n, 2 * c->layer_count * c->expert_count);
    const tune_param *gate = tune_params_find(p, 1, GEMMA_EXPERT_GATE, 4);
    assert_int_equal(gate->out, 2 * c->expert_ff);
    assert_ptr_equal(tune_params_find(p, 1, GEMMA_EXPERT_UP, 4), gate);
    assert_true(gate->scale == 1.5f);
    assert_null(tune_params_find(p, 5, GEMMA_V, -1));          /* a full layer: K is V */
    assert_non_null(tune_params_find(p, 4, GEMMA_V, -1));
    assert_null(tune_params_find(p, 1, GEMMA_K, -1));
    tune_params_free(p);
    golden_close(&g);
}

static void first_numbers(void **state)
{
    golden g;
    (void)state;
    golden_open(&g, "26b");
    tune_spec s = experts_and_attention(), fewer = s;
    fewer.linears = 1u << GEMMA_EXPERT_GATE;
    uint8_t hot[6 * 20] = { 0 };
    hot[2 * 20 + 9] = 1;
    fewer.hot = hot;
    tune_params *p = fresh(g.m, &s), *q = fresh(g.m, &fewer);
    assert_int_equal(q->count, 1);
    assert_int_equal(q->p[0].expert, 9);
    const tune_param *same = tune_params_find(p, 2, GEMMA_EXPERT_GATE, 9), *other = tune_params_find(p, 2, GEMMA_EXPERT_GATE, 10);
    assert_memory_equal(same->a, q->p[0].a, (size_t)(same->rank * same->in) * sizeof(float));
    assert_memory_not_equal(same->a, other->a, (size_t)(same->rank * same->in) * sizeof(float));
    double sum = 0, squares = 0, top = 0, bound = 1 / sqrt((double)p->p[0].in);
    int64_t n = p->p[0].rank * p->p[0].in;
    for (int64_t i = 0; i < n; i++) {
        double v = p->p[0].a[i] / bound;
        sum += v;
        squares += v * v;
        top = MAX(top, fabs(v));
    }
    assert_true(top <= 1 && top > 0.9);
    assert_true(fabs(sum / (double)n) < 0.2);                  /* 144 numbers: 4 sigma */
    assert_true(fabs(squares / (double)n - 1.0 / 3) < 0.1);
    for (int64_t i = 0; i < p->count; i++)
        for (int64_t k = 0; k < p->p[i].rank * p->p[i].out; k++) assert_true(p->p[i].b[k] == 0);
    tune_params_free(p);
    tune_params_free(q);
    golden_close(&g);
}

static void refusals(void **state)
{
    golden g;
    err e = { 0 };
    tune_params *p = NULL;
    (void)state;
    golden_open(&g, "31b");
    tune_spec s = experts_and_attention();
    assert_int_equal(tune_params_new(&p, g.m, &s, NULL, &e), E_ARG);
    assert_string_equal(e.why, "it has no weights of a kind that is to be trained (experts, linear 8)");
    s.linears = 1u << GEMMA_Q;
    s.rank = 513;
    assert_int_equal(tune_params_new(&p, g.m, &s, NULL, &e), E_ARG);
    assert_string_equal(e.what, "cannot train with rank 513");
    s.rank = 4;
    s.first_layer = 6;
    assert_int_equal(tune_params_new(&p, g.m, &s, NULL, &e), E_ARG);
    s.first_layer = s.linears = 0;
    assert_int_equal(tune_params_new(&p, g.m, &s, NULL, &e), E_ARG);
    assert_string_equal(e.what, "cannot train nothing");
    s.linears = 1u << GEMMA_Q;
    s.first_layer = 2;
    s.last_layer = 3;
    uint64_t bytes = 0;
    assert_ok(tune_params_new(&p, g.m, &s, &bytes, &e), &e);
    assert_int_equal(p->count, 2);
    assert_true(bytes >= (uint64_t)p->numbers * 8);
    assert_null(p->values);
    tune_params_free(p);
    golden_close(&g);
}

static float *logits_with(const golden *g, gemma_adapter *a)
{
    err e = { 0 };
    gemma_ctx_opts o = model_opts(true);
    gemma_ctx *x = model_ctx(g->m, &o);
    float *y = calloc((size_t)g->T * (size_t)g->V, sizeof *y);
    gemma_row *rows = calloc((size_t)g->T, sizeof *rows);
    int32_t seq = model_seq(x);
    assert_ok(gemma_adapter_attach(x, 1, a, &e), &e);
    for (int32_t t = 0; t < g->T; t++) rows[t] = (gemma_row){ .seq = seq, .pos = t, .token = g->tokens[t], .adapter = 1, .want_logits = true };
    assert_ok(gemma_step(x, rows, g->T, y, &e), &e);
    gemma_ctx_free(x);
    free(rows);
    return y;
}

/* Read, taken as parameters, and made an adapter again: the same bits.  26b: gate and up are one parameter each. */
static void from_an_adapter(void **state)
{
    static const char *const cases[] = { "e2b", "12b", "26b" };
    (void)state;
    for (int i = 0; i < 3; i++) {
        golden g;
        err e = { 0 };
        char path[96];
        gemma_adapter *a = NULL, *b = NULL;
        tune_params *p = NULL;
        golden_open(&g, cases[i]);
        snprintf(path, sizeof path, "tests/golden/lora/%s/adapter", cases[i]);
        lora_part part = { .path = path, .scale = 1 };
        assert_ok(lora_load(&a, g.m, &part, 1, &e), &e);
        assert_ok(tune_params_from(&p, g.m, a, &e), &e);
        assert_int_equal(p->rank_max, gemma_adapter_rank(a));
        if (g.m->config.expert_count) assert_true(tune_param_fused(p, tune_params_find(p, 0, GEMMA_EXPERT_GATE, 0)));
        assert_ok(tune_params_adapter(&b, p, &e), &e);
        assert_int_equal(gemma_adapter_count(b), gemma_adapter_count(a));
        float *y = logits_with(&g, a), *z = logits_with(&g, b);
        assert_memory_equal(y, z, sizeof *y * (size_t)g.T * (size_t)g.V);
        free(y);
        free(z);
        tune_params_free(p);
        golden_close(&g);
    }
}

static void from_two_adapters(void **state)
{
    golden g;
    err e = { 0 };
    gemma_adapter *a = NULL;
    tune_params *p = NULL;
    (void)state;
    golden_open(&g, "31b");
    lora_part parts[2] = { { .path = "tests/golden/lora/31b/adapter", .scale = 1 }, { .path = "tests/golden/lora/31b/adapter", .scale = 1 } };
    assert_ok(lora_load(&a, g.m, parts, 2, &e), &e);
    assert_int_equal(tune_params_from(&p, g.m, a, &e), E_ARG);
    assert_string_equal(e.what, "cannot start from these adapters");
    gemma_adapter_free(a);
    golden_close(&g);
}

static void allocations_fail(void **state)
{
    golden g;
    err e = { 0 };
    gemma_adapter *a = NULL;
    (void)state;
    golden_open(&g, "26b");
    tune_spec s = experts_and_attention();
    lora_part part = { .path = "tests/golden/lora/26b/adapter", .scale = 1 };
    assert_ok(lora_load(&a, g.m, &part, 1, &e), &e);
    bool hit = true;
    int failed = 0;
    for (int64_t n = 0; hit; n++) {
        tune_params *p = NULL, *q = NULL;
        gemma_adapter *b = NULL;
        mem_fail_at(n);
        status st = tune_params_new(&p, g.m, &s, NULL, &e);
        if (st == OK) st = tune_params_from(&q, g.m, a, &e);
        if (st == OK) st = tune_params_adapter(&b, q, &e);
        hit = mem_fail_hit();
        mem_fail_at(-1);
        assert_int_equal(st, hit ? E_NOMEM : OK);
        failed += hit;
        gemma_adapter_free(b);
        tune_params_free(p);
        tune_params_free(q);
    }
    assert_true(failed > 10);
    gemma_adapter_free(a);
    golden_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_and_places), cmocka_unit_test(first_numbers), cmocka_unit_test(refusals),
        cmocka_unit_test(from_an_adapter), cmocka_unit_test(from_two_adapters), cmocka_unit_test(allocations_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
