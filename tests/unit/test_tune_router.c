/* Counts of experts, and the hot ones of a profile. */
#include <math.h>

#include "base/bits.h"
#include "os/dir.h"
#include "support/folder.h"
#include "support/test.h"
#include "support/tiny.h"
#include "tune/router.h"
#include "tune/tune_int.h"

static char dir[256];
static gemma *m;

static int set_up(void **state)
{
    err e = { 0 };
    (void)state;
    snprintf(dir, sizeof dir, "%s/facet-router-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(dir)) return -1;
    assert_ok(tiny_write_gguf(folder_at(dir, "m.gguf"), TINY_26B, DTYPE_Q8_0, 3, &e), &e);
    return gemma_open(&m, folder_at(dir, "m.gguf"), &e) == OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    gemma_close(m);
    dir_remove(dir);
    return 0;
}

/* What the scores say is what the pass did. */
static void counts_are_those_of_the_pass(void **state)
{
    enum { T = 24 };
    (void)state;
    err e = { 0 };
    router_stats *s = NULL;
    tune_params *p = NULL;
    tune_step *step = NULL;
    tune_sums sums = { 0 };
    tune_row rows[T];
    const tune_spec spec = { .linears = 1u << GEMMA_Q, .rank = 2, .alpha = 2, .last_layer = -1 };
    const tune_step_opts o = { .threads = 1, .rows_max = T };
    int32_t E = m->config.expert_count, k = m->config.expert_used;
    for (int i = 0; i < T; i++) rows[i] = (tune_row){ .id = (i * 37 + 5) % m->config.vocab, .pos = i, .label = i % 3 ? (i * 11) % m->config.vocab : -1 };
    assert_ok(router_stats_new(&s, m, &e), &e);
    assert_ok(tune_params_new(&p, m, &spec, NULL, &e), &e);
    assert_ok(tune_step_new(&step, m, p, &o, NULL, &e), &e);
    gemma_ctx_tap(tune_step_context(step), router_stats_tap, s);
    assert_ok(tune_step_add(step, rows, T, 1, &sums, &e), &e);
    for (int32_t l = 0; l < m->config.layer_count; l++) {
        double share = 0, mean = 0, p_all = 0;
        assert_int_equal(s->rows[l], l + 1 < m->config.layer_count ? T : T - T / 3);
        assert_memory_equal(s->chosen + (int64_t)l * E, tune_step_expert_rows(step, l), (size_t)E * sizeof *s->chosen);
        for (int32_t i = 0; i < E; i++) {
            share += router_share(s, l, i);
            mean += router_weight(s, l, i);
            p_all += s->probability[(int64_t)l * E + i];
            assert_true(router_weight(s, l, i) <= router_share(s, l, i) * k + 1e-12);
        }
        assert_true(fabs(share - 1) < 1e-9 && fabs(mean - 1) < 1e-9 && fabs(p_all / (double)s->rows[l] - 1) < 1e-9);
        assert_true(s->margin[l] > 0 && s->margin[l] < (double)s->rows[l]);
    }
    tune_step_free(step);
    tune_params_free(p);
    router_stats_free(s);
}

/* The same shares in every layer: expert 1 first, then 4, 0, and the rest alike. */
static json_t *profile_of(double first)
{
    json_t *layers = json_array();
    int32_t E = m->config.expert_count;
    for (int32_t l = 0; l < m->config.layer_count; l++) {
        json_t *share = json_array();
        for (int32_t i = 0; i < E; i++) json_array_append_new(share, json_real(i == 1 ? first : i == 4 ? 0.2 : i == 0 ? 0.1 : (0.7 - first) / (E - 3)));
        json_array_append_new(layers, json_pack("{s:i, s:o, s:O}", "layer", l, "share", share, "weight", share));
    }
    return json_pack("{s:i, s:o}", "tokens", 100, "layers", layers);
}

static void hot_experts(void **state)
{
    (void)state;
    err e = { 0 };
    json_t *p = profile_of(0.5);
    int32_t E = m->config.expert_count, L = m->config.layer_count;
    uint8_t *hot = malloc((size_t)(L * E));
    const struct { double share; int64_t count; int want; } cases[] = { { 0, 1, 1 }, { 0, 3, 3 }, { 0.5, 0, 1 }, { 0.51, 0, 2 }, { 0.8, 0, 3 }, { 1, 0, E }, { 0.01, 0, 1 }, { 0, 99999, E } };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_ok(router_profile_hot(p, m, ROUTER_BY_CHOICES, cases[i].share, cases[i].count, hot, &e), &e);
        for (int32_t l = 0; l < L; l++) {
            int n = 0;
            for (int32_t x = 0; x < E; x++) n += hot[l * E + x];
            assert_int_equal(n, cases[i].want);
            assert_true(hot[l * E + 1]);
            if (n == 2) assert_true(hot[l * E + 4]);
        }
    }
    json_array_remove(json_object_get(p, "layers"), 0);
    assert_fails(router_profile_hot(p, m, ROUTER_BY_CHOICES, 0, 1, hot, &e), E_FORMAT, &e, "not of a model with");
    json_decref(p);
    p = profile_of(0.5);
    json_array_set_new(json_object_get(json_array_get(json_object_get(p, "layers"), 1), "share"), 2, json_string("many"));
    assert_fails(router_profile_hot(p, m, ROUTER_BY_WEIGHT, 0, 1, hot, &e), E_FORMAT, &e, "layer 1 has no list");
    json_decref(p);
    free(hot);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(counts_are_those_of_the_pass), cmocka_unit_test(hot_experts) };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
