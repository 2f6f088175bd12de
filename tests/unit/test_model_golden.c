/* The exact path against the reference implementation: logits, intermediate tensors, greedy text (tests/golden). */
#include <math.h>

#include "support/model.h"

static void logits_within_bound(void **state)
{
    (void)state;
    for (int i = 0; i < GOLDEN_COUNT; i++) {
        golden g;
        golden_open(&g, golden_names[i]);
        gemma_ctx_opts o = model_opts(true);
        gemma_ctx *x = model_ctx(g.m, &o);
        float *logits = malloc(sizeof *logits * (size_t)g.T * (size_t)g.V);
        int64_t at;
        model_run(x, model_seq(x), g.tokens, g.T, g.T, logits, g.V);
        double d = model_diff(logits, g.logits, (int64_t)g.T * g.V, &at);
        print_message("%-10s off by %.2e, bound %.2e\n", golden_names[i], d, g.bound);
        if (!(d <= g.bound)) fail_msg("%s: row %d, token %d: %g, expected %g", golden_names[i], (int)(at / g.V), (int)(at % g.V), logits[at], g.logits[at]);
        free(logits);
        gemma_ctx_free(x);
        golden_close(&g);
    }
}

typedef struct tap_state {
    const golden *g;
    const char *model;
    const int32_t *rows;
    int64_t row_count;
    int seen;
} tap_state;

/* Intermediate values of the size that they have: within the bound relative to the largest of the tensor. */
static void compare_tap(void *user, int32_t layer, const char *name, const float *data, int64_t T, int64_t width)
{
    tap_state *s = user;
    char key[96];
    int64_t rows = 0;
    snprintf(key, sizeof key, "tap.%d.%s", layer, name);
    const float *want = golden_tensor(s->g, key, &rows);
    if (!want) return;
    assert_int_equal(rows, s->row_count);
    s->seen++;
    double scale = 1;
    for (int64_t i = 0; i < rows * width; i++) {
        double v = want[i] < 0 ? -(double)want[i] : (double)want[i];
        if (v > scale) scale = v;
    }
    for (int64_t r = 0; r < rows; r++) {
        int64_t at;
        assert_true(s->rows[r] < T);
        double d = model_diff(data + s->rows[r] * width, want + r * width, width, &at);
        if (!(d <= s->g->bound * scale)) fail_msg("%s: first difference in %s, row %d, element %d: off by %g", s->model, key, s->rows[r], (int)at, d);
    }
}

static void intermediate_tensors(void **state)
{
    (void)state;
    for (int i = 0; i < GOLDEN_COUNT; i++) {
        golden g;
        golden_open(&g, golden_names[i]);
        gemma_ctx_opts o = model_opts(true);
        gemma_ctx *x = model_ctx(g.m, &o);
        float *logits = malloc(sizeof *logits * (size_t)g.T * (size_t)g.V);
        tap_state s = { .g = &g, .model = golden_names[i] };
        s.rows = golden_tensor(&g, "tap_rows", &s.row_count);
        gemma_ctx_tap(x, compare_tap, &s);
        model_run(x, model_seq(x), g.tokens, g.T, g.T, logits, g.V);
        uint64_t expected = 0;
        for (uint64_t t = 0; t < st_count(g.expect); t++) expected += str_starts(st_at(g.expect, t)->name, "tap.");
        assert_int_equal(s.seen, expected);
        free(logits);
        gemma_ctx_free(x);
        golden_close(&g);
    }
}

/* Last states of the golden's rows: of all rows, then of those three alone while the others leave early, with the logits of
 * the last row beside them. */
static void last_states(void **state)
{
    (void)state;
    static gemma_row rows[512];
    for (int i = 0; i < GOLDEN_COUNT; i++) {
        golden g;
        err e = { 0 };
        int64_t count = 0, n = 0, at;
        golden_open(&g, golden_names[i]);
        int64_t H = g.m->config.hidden;
        const int32_t *chosen = golden_tensor(&g, "tap_rows", &count);
        const float *want = golden_tensor(&g, "tap.-1.final_norm", &n);
        assert_true(want && n == count && g.T <= 512 && chosen[count - 1] == g.T - 1);
        gemma_ctx_opts o = model_opts(true);
        o.logit_rows_max = 1;
        o.hidden_rows_max = 512;
        gemma_ctx *x = model_ctx(g.m, &o);
        float *all = malloc(sizeof *all * (size_t)(g.T * H)), *some = malloc(sizeof *some * (size_t)(count * H)), *logits = malloc(sizeof *logits * (size_t)g.V);
        for (int32_t t = 0; t < g.T; t++) rows[t] = (gemma_row){ .seq = 0, .pos = t, .token = g.tokens[t], .want_hidden = true };
        assert_int_equal(model_seq(x), 0);
        assert_ok(gemma_step_hidden(x, rows, g.T, NULL, all, &e), &e);
        for (int32_t t = 0; t < g.T; t++) rows[t].seq = 1, rows[t].want_hidden = false;
        for (int64_t r = 0; r < count; r++) rows[chosen[r]].want_hidden = true;
        rows[g.T - 1].want_logits = true;
        assert_int_equal(model_seq(x), 1);
        assert_ok(gemma_step_hidden(x, rows, g.T, logits, some, &e), &e);
        double scale = model_scale(want, count * H);
        for (int64_t r = 0; r < count; r++) {
            assert_memory_equal(some + r * H, all + chosen[r] * H, (size_t)H * sizeof *all);
            double d = model_diff(some + r * H, want + r * H, H, &at);
            if (!(d <= g.bound * scale)) fail_msg("%s: row %d, element %d: off by %g", golden_names[i], chosen[r], (int)at, d);
        }
        assert_true(model_diff(logits, g.logits + (int64_t)(g.T - 1) * g.V, g.V, &at) <= g.bound);
        assert_int_equal(gemma_step_hidden(x, rows, 1, NULL, NULL, &e), E_ARG);        /* wanted, and no room for it */
        free(all);
        free(some);
        free(logits);
        gemma_ctx_free(x);
        golden_close(&g);
    }
}

static int32_t largest(const float *v, int32_t n)
{
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++)
        if (v[i] > v[best]) best = i;
    return best;
}

/* The likeliest token each time, equal wherever the reference's margin is above the bound. */
static void greedy_text(void **state)
{
    (void)state;
    for (int i = 0; i < GOLDEN_COUNT; i++) {
        golden g;
        int64_t n = 0;
        golden_open(&g, golden_names[i]);
        const int32_t *greedy = golden_tensor(&g, "greedy", &n);
        const float *margin = golden_tensor(&g, "greedy_margin", &n);
        gemma_ctx_opts o = model_opts(true);
        gemma_ctx *x = model_ctx(g.m, &o);
        float *logits = malloc(sizeof *logits * (size_t)g.T * (size_t)g.V);
        int32_t seq = model_seq(x), compared = 0;
        model_run(x, seq, g.tokens, g.T, g.T, logits, g.V);
        memmove(logits, logits + (int64_t)(g.T - 1) * g.V, sizeof *logits * (size_t)g.V);
        for (int64_t k = 0; k < n; k++) {
            if ((double)margin[k] > g.bound) {
                assert_int_equal(largest(logits, g.V), greedy[k]);
                compared++;
            }
            if (k + 1 < n) model_run(x, seq, &greedy[k], 1, 1, logits, g.V);
        }
        assert_true(compared > 32);
        free(logits);
        gemma_ctx_free(x);
        golden_close(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_within_bound),
        cmocka_unit_test(intermediate_tensors),
        cmocka_unit_test(last_states),
        cmocka_unit_test(greedy_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
