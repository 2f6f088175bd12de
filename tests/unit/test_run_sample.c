/* run/sample against a straightforward computation: full sorts, one step after the other, in double. */
#include <math.h>

#include "base/bits.h"
#include "base/rng.h"
#include "run/sample.h"
#include "support/test.h"

enum { V = 500, DRAWS = 20000 };

static const facet_sampling plain = { .temperature = 1, .top_p = 1, .repeat_penalty = 1, .seed = 7 };

/* Logits between -12 and 12, some equal on purpose. */
static void fill(float *l, int n, uint64_t seed)
{
    for (int i = 0; i < n; i++) l[i] = roundf((float)(rng_uniform(seed, (uint64_t)i) * 24 - 12) * 8) / 8;
}

/* ---- the reference: probability of every token ---- */

typedef struct item { double l; int id; } item;

static int by_logit(const void *a, const void *b)
{
    const item *x = a, *y = b;
    return x->l > y->l ? -1 : x->l < y->l ? 1 : x->id - y->id;
}

static void softmax(const double *l, double *p, int n)
{
    double top = -INFINITY, sum = 0;
    for (int i = 0; i < n; i++) top = fmax(top, l[i]);
    for (int i = 0; i < n; i++) sum += p[i] = exp(l[i] - top);
    for (int i = 0; i < n; i++) p[i] /= sum;
}

static void sorted(const double *l, item *s, int n)
{
    for (int i = 0; i < n; i++) s[i] = (item){ l[i], i };
    qsort(s, (size_t)n, sizeof *s, by_logit);
}

static void reference(const facet_sampling *s, const float *logits, const int *prompt, int prompt_n, const int *answer, int answer_n, double *p)
{
    static double l[V];
    static item order[V];
    int in_answer[V] = { 0 }, seen[V] = { 0 };
    for (int i = 0; i < prompt_n; i++) seen[prompt[i]] = 1;
    for (int i = 0; i < answer_n; i++) { seen[answer[i]] = 1; in_answer[answer[i]]++; }
    for (int i = 0; i < V; i++) {
        l[i] = (double)logits[i];
        if (seen[i]) l[i] = l[i] > 0 ? l[i] / (double)s->repeat_penalty : l[i] * (double)s->repeat_penalty;
        if (in_answer[i]) l[i] -= (double)s->presence_penalty + in_answer[i] * (double)s->frequency_penalty;
    }
    for (size_t i = 0; i < s->bias_count; i++) l[s->bias[i].id] += (double)s->bias[i].add;
    for (int i = 0; i < V; i++) l[i] /= (double)s->temperature;
    if (s->top_k > 0 && s->top_k < V) {
        sorted(l, order, V);
        double limit = order[s->top_k - 1].l;
        for (int i = 0; i < V; i++) if (l[i] < limit) l[i] = -INFINITY;
    }
    if (s->top_p < 1) {
        softmax(l, p, V);
        sorted(l, order, V);
        double above = 0;
        for (int i = 0; i < V; i++) {
            int id = order[i].id;
            if (i > 0 && above >= (double)s->top_p) l[id] = -INFINITY;
            above += p[id];
        }
    }
    softmax(l, p, V);
    double top = 0;
    for (int i = 0; i < V; i++) top = fmax(top, p[i]);
    for (int i = 0; i < V; i++) if (p[i] < (double)s->min_p * top) l[i] = -INFINITY;
    softmax(l, p, V);
}

/* Draws many times and compares with the reference: nothing outside its set, and chi-square within five sigmas. */
static void compare(const facet_sampling *s, const float *logits, const int *prompt, int prompt_n, const int *answer, int answer_n)
{
    static double p[V];
    static int hits[V];
    static float copy[V];
    static sample_candidate scratch[V];
    err e;
    sample_state *x = NULL;
    memset(hits, 0, sizeof hits);
    reference(s, logits, prompt, prompt_n, answer, answer_n, p);
    assert_ok(sample_new(&x, s, NULL, 0, V, &e), &e);
    for (int i = 0; i < prompt_n; i++) sample_seen(x, prompt[i], false);
    for (int i = 0; i < answer_n; i++) sample_seen(x, answer[i], true);
    for (int n = 0; n < DRAWS; n++) {
        int32_t id;
        memcpy(copy, logits, sizeof copy);
        assert_ok(sample_pick(x, (uint64_t)n, copy, scratch, &id, &e), &e);
        if (p[id] == 0) fail_msg("token %d was drawn, its probability is 0", id);
        hits[id]++;
    }
    double chi = 0, rest = DRAWS, rest_hits = DRAWS;
    int cells = 0;
    for (int i = 0; i < V; i++) {
        double want = p[i] * DRAWS;
        if (want < 5) continue;
        chi += (hits[i] - want) * (hits[i] - want) / want;
        rest -= want;
        rest_hits -= hits[i];
        cells++;
    }
    if (rest > 5) { chi += (rest_hits - rest) * (rest_hits - rest) / rest; cells++; }
    int freedom = cells > 1 ? cells - 1 : 1;
    if (chi > freedom + 5 * sqrt(2.0 * freedom) + 5) fail_msg("chi-square %.1f with %d degrees of freedom", chi, freedom);
    sample_free(x);
}

static void distribution_is_the_reference(void **state)
{
    (void)state;
    float l[V];
    facet_sampling s;
    const int prompt[] = { 3, 17, 3, 400 }, answer[] = { 5, 17, 5, 5, 499 };
    const facet_bias bias[] = { { 8, 6.0f }, { 9, -INFINITY }, { 17, 2.5f } };
    for (uint64_t seed = 1; seed <= 3; seed++) {
        fill(l, V, seed);
        s = plain;                                   compare(&s, l, NULL, 0, NULL, 0);
        s = plain; s.temperature = 2.5f;             compare(&s, l, NULL, 0, NULL, 0);
        s = plain; s.top_k = 10;                     compare(&s, l, NULL, 0, NULL, 0);
        s = plain; s.top_k = V;                      compare(&s, l, NULL, 0, NULL, 0);
        s = plain; s.top_p = 0.7f;                   compare(&s, l, NULL, 0, NULL, 0);
        s = plain; s.top_p = 0;                      compare(&s, l, NULL, 0, NULL, 0);
        s = plain; s.min_p = 0.2f;                   compare(&s, l, NULL, 0, NULL, 0);
        s = plain; s.top_k = 64; s.top_p = 0.95f;    compare(&s, l, NULL, 0, NULL, 0);
        s = plain; s.top_k = 40; s.top_p = 0.9f; s.min_p = 0.1f; s.temperature = 3; s.repeat_penalty = 1.3f;
        s.presence_penalty = 0.5f; s.frequency_penalty = 0.25f; s.bias = bias; s.bias_count = 3;
        compare(&s, l, prompt, 4, answer, 5);
        s = plain; s.repeat_penalty = 1.5f; s.temperature = 4; compare(&s, l, prompt, 4, answer, 5);
    }
}

static void equals_of_the_kth_stay(void **state)
{
    (void)state;
    err e;
    float l[V];
    sample_candidate scratch[V];
    bool met[V] = { false };
    facet_sampling s = plain;
    sample_state *x = NULL;
    s.top_k = 2;
    assert_ok(sample_new(&x, &s, NULL, 0, V, &e), &e);
    for (int n = 0; n < 2000; n++) {
        int32_t id;
        for (int i = 0; i < V; i++) l[i] = i == 40 ? 2.0f : i % 100 == 7 ? 1.0f : 0.0f;
        assert_ok(sample_pick(x, (uint64_t)n, l, scratch, &id, &e), &e);
        met[id] = true;
    }
    for (int i = 0; i < V; i++) assert_int_equal(met[i], i == 40 || i % 100 == 7);
    sample_free(x);
}

static int32_t draw(const facet_sampling *s, const float *logits, uint64_t n, const int32_t *never, int32_t never_n)
{
    err e;
    float l[V];
    sample_candidate scratch[V];
    sample_state *x = NULL;
    int32_t id = -1;
    memcpy(l, logits, sizeof l);
    assert_ok(sample_new(&x, s, never, never_n, V, &e), &e);
    assert_ok(sample_pick(x, n, l, scratch, &id, &e), &e);
    sample_free(x);
    return id;
}

static void greedy_takes_the_lowest_of_equals(void **state)
{
    (void)state;
    float l[V] = { 0 };
    facet_sampling s = plain;
    s.temperature = 0;
    l[30] = l[20] = l[25] = 5;
    l[0] = NAN;
    for (uint64_t n = 0; n < 10; n++) assert_int_equal(draw(&s, l, n, NULL, 0), 20);
    const int32_t never[] = { 20, 30 };
    assert_int_equal(draw(&s, l, 0, never, 2), 25);
    s.repeat_penalty = 2;       /* nothing was seen yet: no effect */
    assert_int_equal(draw(&s, l, 0, NULL, 0), 20);
}

static void draws_depend_on_seed_and_number_only(void **state)
{
    (void)state;
    float l[V];
    facet_sampling a = plain, b = plain;
    int differ = 0, moved = 0;
    fill(l, V, 9);
    a.temperature = b.temperature = 5;
    b.seed = 8;
    for (uint64_t n = 0; n < 200; n++) {
        assert_int_equal(draw(&a, l, n, NULL, 0), draw(&a, l, n, NULL, 0));
        differ += draw(&a, l, n, NULL, 0) != draw(&b, l, n, NULL, 0);
        moved += draw(&a, l, n, NULL, 0) != draw(&a, l, n + 1, NULL, 0);
    }
    assert_true(differ > 150);
    assert_true(moved > 150);
}

static void nothing_to_draw_is_an_error(void **state)
{
    (void)state;
    err e;
    float l[4] = { NAN, -INFINITY, NAN, -INFINITY }, high[4] = { 1, INFINITY, 0, 0 };
    sample_candidate scratch[4];
    sample_state *x = NULL;
    int32_t id = -1;
    assert_ok(sample_new(&x, &plain, NULL, 0, 4, &e), &e);
    assert_fails(sample_pick(x, 0, l, scratch, &id, &e), E_INTERNAL, &e, "finite");
    assert_fails(sample_pick(x, 0, high, scratch, &id, &e), E_INTERNAL, &e, "finite");
    assert_int_equal(id, -1);
    sample_free(x);
}

static void impossible_parameters_are_refused(void **state)
{
    (void)state;
    err e;
    sample_state *x = NULL;
    facet_bias outside = { V, 1 }, up = { 1, INFINITY };
    facet_sampling bad[] = { plain, plain, plain, plain, plain, plain, plain, plain, plain, plain };
    bad[0].temperature = -1;        bad[1].temperature = NAN;       bad[2].top_k = -1;
    bad[3].top_p = 1.5f;            bad[4].min_p = -0.1f;           bad[5].repeat_penalty = 0;
    bad[6].presence_penalty = NAN;  bad[7].top_logprobs = 21;
    bad[8].bias = &outside;         bad[8].bias_count = 1;
    bad[9].bias = &up;              bad[9].bias_count = 1;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(sample_new(&x, &bad[i], NULL, 0, V, &e), E_ARG);
        assert_null(x);
    }
}

static void logprobs_are_those_of_the_softmax(void **state)
{
    (void)state;
    float l[V];
    double d[V], p[V];
    item order[V];
    facet_logprob top[SAMPLE_LOGPROBS_MAX], chosen = { .id = 123 };
    fill(l, V, 4);
    for (int i = 0; i < V; i++) d[i] = (double)l[i];
    softmax(d, p, V);
    sorted(d, order, V);
    assert_int_equal(sample_logprobs(l, V, &chosen, top, 20), 20);
    assert_true(fabs((double)chosen.logprob - log(p[123])) < 1e-5);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(top[i].id, order[i].id);
        assert_true(fabs((double)top[i].logprob - log(p[order[i].id])) < 1e-5);
    }
    assert_int_equal(sample_logprobs(l, V, &chosen, NULL, 0), 0);
    assert_int_equal(sample_logprobs(l, 3, &chosen, top, 5), 3);
}

static void no_allocation_leaks(void **state)
{
    (void)state;
    err e;
    facet_sampling s = plain;
    const facet_bias bias = { 1, 1 };
    s.presence_penalty = 1;
    s.bias = &bias;
    s.bias_count = 1;
    size_t before = mem_now();
    for (int n = 0;; n++) {
        sample_state *x = NULL;
        const int32_t never = 2;
        mem_fail_at(n);
        status st = sample_new(&x, &s, &never, 1, V, &e);
        bool hit = mem_fail_hit();
        mem_fail_at(-1);
        sample_free(x);
        assert_int_equal(mem_now(), before);
        if (!hit) { assert_int_equal(st, OK); assert_true(n >= 4); break; }
        assert_int_equal(st, E_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distribution_is_the_reference),
        cmocka_unit_test(equals_of_the_kth_stay),
        cmocka_unit_test(greedy_takes_the_lowest_of_equals),
        cmocka_unit_test(draws_depend_on_seed_and_number_only),
        cmocka_unit_test(nothing_to_draw_is_an_error),
        cmocka_unit_test(impossible_parameters_are_refused),
        cmocka_unit_test(logprobs_are_those_of_the_softmax),
        cmocka_unit_test(no_allocation_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
