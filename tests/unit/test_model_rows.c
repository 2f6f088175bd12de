/* What a row can carry: image blocks, soft tokens, adapters; and what a step refuses. */
#include <math.h>
#include <pthread.h>

#include "support/model.h"

/* ---- image blocks ---- */

/* Against the reference with masks made from the rule (tests/oracle/blocks.py). */
static void image_blocks(void **state)
{
    static const char *const names[] = { "12b", "26b", "31b" };
    (void)state;
    for (int i = 0; i < 3; i++) {
        golden g;
        err e = { 0 };
        st_file *f = NULL;
        char path[96];
        int64_t at;
        gemma_row rows[64] = { { 0 } };
        golden_open(&g, names[i]);
        snprintf(path, sizeof path, "tests/golden/blocks/%s.safetensors", names[i]);
        assert_ok(st_open(&f, path, &e), &e);
        const int32_t *tokens = (const void *)st_find(f, STR("tokens"))->data, *block = (const void *)st_find(f, STR("block"))->data;
        const float *want = (const void *)st_find(f, STR("logits"))->data;
        int32_t T = (int32_t)st_find(f, STR("block"))->shape[0];
        gemma_ctx_opts o = model_opts(true);
        gemma_ctx *x = model_ctx(g.m, &o);
        float *got = malloc(sizeof *got * (size_t)T * (size_t)g.V);
        int32_t seq = model_seq(x);
        assert_true(T <= 64);
        for (int32_t t = 0; t < T; t++) rows[t] = (gemma_row){ .seq = seq, .pos = t, .token = tokens[t], .block = block[t], .want_logits = true };
        assert_ok(gemma_step(x, rows, T, got, &e), &e);
        double d = model_diff(got, want, (int64_t)T * g.V, &at);
        if (!(d <= g.bound)) fail_msg("%s: row %d off by %g, bound %g", names[i], (int)(at / g.V), d, g.bound);
        /* cut inside a block: refused; cut between blocks: the same */
        int32_t inside = 0, between = 0;
        for (int32_t t = 1; t < T; t++) {
            if (block[t] && block[t] == block[t - 1]) inside = t;
            else between = t;
        }
        seq = model_seq(x);
        for (int32_t t = 0; t < T; t++) rows[t].seq = seq;
        assert_ok(gemma_step(x, rows, between, got, &e), &e);
        assert_ok(gemma_step(x, rows + between, T - between, got + (int64_t)between * g.V, &e), &e);
        assert_true(model_diff(got, want, (int64_t)T * g.V, &at) <= g.bound);
        seq = model_seq(x);
        for (int32_t t = 0; t < T; t++) rows[t].seq = seq;
        assert_ok(gemma_step(x, rows, inside, got, &e), &e);
        assert_fails(gemma_step(x, rows + inside, T - inside, got, &e), E_ARG, &e, "continues from an earlier step");
        assert_int_equal(gemma_seq_length(x, seq), inside);
        free(got);
        gemma_ctx_free(x);
        st_close(f);
        golden_close(&g);
    }
}

/* ---- soft tokens ---- */

typedef struct keep { float *rows; const char *name; } keep;

static void keep_tap(void *user, int32_t layer, const char *name, const float *data, int64_t T, int64_t width)
{
    keep *k = user;
    (void)layer;
    if (strcmp(name, k->name) == 0) memcpy(k->rows, data, sizeof *data * (size_t)(T * width));
}

/* A soft token that equals a token's scaled embedding gives its logits, where nothing else depends on the id. */
static void soft_tokens(void **state)
{
    golden g;
    err e = { 0 };
    gemma_row rows[64] = { { 0 } };
    (void)state;
    golden_open(&g, "31b");
    int64_t H = g.m->config.hidden;
    gemma_ctx_opts o = model_opts(false);
    gemma_ctx *x = model_ctx(g.m, &o);
    size_t n = sizeof(float) * (size_t)g.T * (size_t)g.V;
    float *a = malloc(n), *b = malloc(n), *embed = malloc(sizeof(float) * (size_t)g.T * (size_t)H);
    keep k = { embed, "embed" };
    gemma_ctx_tap(x, keep_tap, &k);
    model_run(x, model_seq(x), g.tokens, g.T, g.T, a, g.V);
    gemma_ctx_tap(x, NULL, NULL);
    int32_t seq = model_seq(x);
    for (int32_t t = 0; t < g.T; t++)
        rows[t] = (gemma_row){ .seq = seq, .pos = t, .token = t % 3 ? g.tokens[t] : -7, .embed = t % 3 ? NULL : embed + t * H, .want_logits = true };
    assert_ok(gemma_step(x, rows, g.T, b, &e), &e);
    assert_memory_equal(a, b, n);
    free(a);
    free(b);
    free(embed);
    gemma_ctx_free(x);
    golden_close(&g);
}

/* ---- adapters ---- */

static void fill(float *v, int64_t n, uint32_t seed, float size)
{
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        v[i] = ((float)(seed >> 8) / 16777216.0f - 0.5f) * size;
    }
}

/* W + s B A in place of W, in f32. */
static float *merged(const weight *w, int64_t mat, const float *a, const float *b, int32_t r, float s)
{
    float *m = malloc(sizeof *m * (size_t)(w->mats * w->mat_rows * w->cols));
    for (int64_t row = 0; row < w->mats * w->mat_rows; row++) dtype_of(w->type)->decode(w->data + (size_t)row * w->row_bytes, m + row * w->cols, w->cols);
    for (int64_t row = 0; row < w->rows; row++)
        for (int64_t c = 0; c < w->cols; c++) {
            double add = 0;
            for (int32_t k = 0; k < r; k++) add += (double)b[row * r + k] * (double)a[k * w->cols + c];
            m[(mat * w->mat_rows + row) * w->cols + c] += (float)(s * add);
        }
    return m;
}

/* One term, attached by itself, beside what the id has already. */
static status add_term(gemma_ctx *x, const gemma *m, int32_t id, int32_t layer, gemma_linear which, int32_t expert, const float *a, const float *b,
                       int32_t r, float scale, err *e)
{
    status st = OK;
    gemma_adapter *n = NULL;
    float *da = NULL, *db = NULL;
    size_t bytes = 0;
    const weight *w = gemma_adapter_weight(m, layer, which);
    for (int pass = 0; pass < 2; pass++) {
        gemma_adapter_free(n);
        n = NULL;
        TRY(gemma_adapter_new(&n, m, bytes, e));
        TRY(gemma_adapter_matrix(n, r, w ? w->cols : 1, &da, e));
        TRY(gemma_adapter_matrix(n, w ? w->rows : 1, r, &db, e));
        TRY(gemma_adapter_add(n, layer, which, expert, da, db, r, scale, e));
        bytes = gemma_adapter_bytes(n);
        assert_int_equal(pass, da != NULL);
    }
    assert_int_equal(gemma_adapter_rank(n), r);
    assert_int_equal(gemma_adapter_count(n), 1);
    memcpy(da, a, sizeof *a * (size_t)(r * w->cols));
    memcpy(db, b, sizeof *b * (size_t)(r * w->rows));
    TRY(gemma_adapter_attach(x, id, n, e));
    n = NULL;
out:
    gemma_adapter_free(n);
    return st;
}

typedef struct place { gemma_linear which; int32_t expert; weight *w; } place;

/* Low-rank terms of one linear change the logits as the merged weight does, for the rows that ask for them only. */
static void check_place(golden *g, const place *p, int32_t layer)
{
    enum { R = 3 };
    err e = { 0 };
    gemma_row rows[128] = { { 0 } };
    int64_t at;
    gemma_ctx_opts o = model_opts(true);
    gemma_ctx *x = model_ctx(g->m, &o);
    size_t n = (size_t)g->T * (size_t)g->V;
    float *a = malloc(sizeof *a * R * (size_t)p->w->cols), *b = malloc(sizeof *b * R * (size_t)p->w->rows);
    float *want = malloc(sizeof *want * n), *plain = malloc(sizeof *plain * n), *got = malloc(sizeof *got * n * 2);
    fill(a, R * p->w->cols, 5, 0.5f);
    fill(b, R * p->w->rows, 9, 0.3f);
    model_run(x, model_seq(x), g->tokens, g->T, g->T, plain, g->V);
    assert_ok(add_term(x, g->m, 7, layer, p->which, p->expert, a, b, 1, 9, &e), &e);
    gemma_adapter_clear(x, 7);
    assert_ok(add_term(x, g->m, 7, layer, p->which, p->expert, a, b, R, 0.375f, &e), &e);       /* terms of one id add up */
    assert_ok(add_term(x, g->m, 4, layer, p->which, p->expert, a, b, R, 1, &e), &e);
    assert_ok(add_term(x, g->m, 7, layer, p->which, p->expert, a, b, R, 0.125f, &e), &e);
    int32_t with = model_seq(x), without = model_seq(x);
    for (int32_t t = 0; t < 2 * g->T; t++)
        rows[t] = (gemma_row){ .seq = t % 2 ? with : without, .pos = t / 2, .token = g->tokens[t / 2], .adapter = t % 2 ? 7 : 0, .want_logits = true };
    assert_ok(gemma_step(x, rows, 2 * g->T, got, &e), &e);
    weight keep_weight = *p->w;
    float *m = merged(p->w, p->expert < 0 ? 0 : p->expert, a, b, R, 0.5f);
    p->w->type = DTYPE_F32;
    p->w->data = (const uint8_t *)m;
    p->w->row_bytes = (size_t)p->w->cols * sizeof(float);
    gemma_ctx *y = model_ctx(g->m, &o);
    model_run(y, model_seq(y), g->tokens, g->T, g->T, want, g->V);
    *p->w = keep_weight;
    assert_true(model_diff(want, plain, (int64_t)n, &at) > 0.01);
    for (int32_t t = 0; t < g->T; t++) {
        assert_memory_equal(got + (int64_t)(2 * t) * g->V, plain + (int64_t)t * g->V, sizeof(float) * (size_t)g->V);
        double d = model_diff(got + (int64_t)(2 * t + 1) * g->V, want + (int64_t)t * g->V, g->V, &at);
        if (!(d <= g->bound)) fail_msg("linear %d, expert %d: row %d off by %g", (int)p->which, p->expert, (int)t, d);
    }
    gemma_adapter_clear(x, 7);
    gemma_adapter_clear(x, 4);
    rows[0] = (gemma_row){ .seq = with, .pos = g->T, .token = 1, .adapter = 7 };
    assert_fails(gemma_step(x, rows, 1, NULL, &e), E_ARG, &e, "no adapter 7");
    gemma_ctx_free(x);
    gemma_ctx_free(y);
    free(m);
    free(a);
    free(b);
    free(want);
    free(plain);
    free(got);
}

static void adapters(void **state)
{
    golden g;
    (void)state;
    golden_open(&g, "26b-odd");
    layer_weights *l = &g.m->weights.layers[1];
    const place moe[] = {
        { GEMMA_Q, -1, &l->q },       { GEMMA_K, -1, &l->k },       { GEMMA_V, -1, &l->v },
        { GEMMA_O, -1, &l->o },       { GEMMA_GATE, -1, &l->gate }, { GEMMA_UP, -1, &l->up },
        { GEMMA_DOWN, -1, &l->down }, { GEMMA_EXPERT_DOWN, 2, &l->down_exps }, { GEMMA_ROUTER, -1, &l->router },
    };
    for (size_t i = 0; i < sizeof moe / sizeof *moe; i++) check_place(&g, &moe[i], 1);
    const place full = { GEMMA_K, -1, &g.m->weights.layers[3].k };      /* K = V: both change */
    check_place(&g, &full, 3);
    golden_close(&g);
    golden_open(&g, "e2b");
    l = &g.m->weights.layers[6];
    const place ple[] = { { GEMMA_PLE_GATE, -1, &l->ple_gate }, { GEMMA_PLE_PROJ, -1, &l->ple_proj } };
    for (size_t i = 0; i < 2; i++) check_place(&g, &ple[i], 6);
    const place top[] = { { GEMMA_PLE_MODEL_PROJ, -1, &g.m->weights.ple_model_proj }, { GEMMA_HEAD, -1, &g.m->weights.head } };
    for (size_t i = 0; i < 2; i++) check_place(&g, &top[i], -1);
    golden_close(&g);
}

static void fused_expert_adapters(void **state)
{
    golden g;
    (void)state;
    golden_open(&g, "26b-odd");
    layer_weights *l = &g.m->weights.layers[2];
    const place p[] = { { GEMMA_EXPERT_GATE, 1, &l->gate_exps }, { GEMMA_EXPERT_UP, 1, &l->up_exps } };
    for (size_t i = 0; i < 2; i++) check_place(&g, &p[i], 2);
    golden_close(&g);
}

static void adapters_refused(void **state)
{
    golden g;
    err e = { 0 };
    float v[65536] = { 0 };
    (void)state;
    golden_open(&g, "31b");
    gemma_ctx_opts o = model_opts(true);
    gemma_ctx *x = model_ctx(g.m, &o);
    assert_fails(add_term(x, g.m, 1, 0, GEMMA_ROUTER, -1, v, v, 1, 1, &e), E_ARG, &e, "no linear");
    assert_fails(add_term(x, g.m, 1, 99, GEMMA_Q, -1, v, v, 1, 1, &e), E_ARG, &e, "no linear");
    assert_fails(add_term(x, g.m, 1, -1, GEMMA_Q, -1, v, v, 1, 1, &e), E_ARG, &e, "no linear");
    assert_fails(add_term(x, g.m, 1, 0, GEMMA_LINEAR_COUNT, -1, v, v, 1, 1, &e), E_ARG, &e, "no linear");
    assert_fails(add_term(x, g.m, 1, 0, GEMMA_Q, 3, v, v, 1, 1, &e), E_ARG, &e, "does not fit");
    assert_fails(add_term(x, g.m, 0, 0, GEMMA_Q, -1, v, v, 1, 1, &e), E_ARG, &e, "ids start at 1");
    assert_fails(add_term(x, g.m, 1, 0, GEMMA_Q, -1, v, v, 65, 1, &e), E_ARG, &e, "from 1 to 64");
    gemma_ctx_free(x);
    golden_close(&g);
}

/* ---- what a step refuses ---- */

static void bad_rows(void **state)
{
    golden g;
    err e = { 0 };
    (void)state;
    golden_open(&g, "26b");
    gemma_ctx_opts o = model_opts(true);
    o.ctx = 70;
    o.row_max = 8;
    o.logit_rows_max = 2;
    gemma_ctx *x = model_ctx(g.m, &o);
    float *logits = malloc(sizeof *logits * 2 * (size_t)g.V);
    gemma_row ok = { .seq = model_seq(x), .pos = 0, .token = 5 }, r[9];
    for (int i = 0; i < 9; i++) {
        r[i] = ok;
        r[i].pos = i;
    }
    assert_fails(gemma_step(x, r, 0, NULL, &e), E_ARG, &e, "1 to 8");
    assert_fails(gemma_step(x, r, -3, NULL, &e), E_ARG, &e, "1 to 8");
    assert_fails(gemma_step(x, r, 9, NULL, &e), E_ARG, &e, "1 to 8");
    assert_fails(gemma_step(x, NULL, 1, NULL, &e), E_ARG, &e, "step");
    r[0].token = g.V;
    assert_fails(gemma_step(x, r, 1, NULL, &e), E_ARG, &e, "not in the vocabulary");
    r[0].token = -1;
    assert_fails(gemma_step(x, r, 1, NULL, &e), E_ARG, &e, "not in the vocabulary");
    r[0] = ok;
    r[0].seq = 1;
    assert_fails(gemma_step(x, r, 1, NULL, &e), E_ARG, &e, "no sequence 1");
    r[0].seq = -1;
    assert_fails(gemma_step(x, r, 1, NULL, &e), E_ARG, &e, "no sequence -1");
    r[0] = ok;
    r[0].pos = 1;
    assert_fails(gemma_step(x, r, 1, NULL, &e), E_ARG, &e, "does not continue");
    r[0].pos = -1;
    assert_fails(gemma_step(x, r, 1, NULL, &e), E_ARG, &e, "position -1");
    r[0].pos = INT32_MAX;
    assert_fails(gemma_step(x, r, 1, NULL, &e), E_ARG, &e, "context of 70 tokens");
    r[0] = ok;
    r[1].pos = 2;
    assert_fails(gemma_step(x, r, 2, NULL, &e), E_ARG, &e, "does not continue");
    r[1].pos = 1;
    r[0].block = -1;
    assert_fails(gemma_step(x, r, 1, NULL, &e), E_ARG, &e, "block -1");
    r[0] = ok;
    r[0].doc = 1;
    assert_fails(gemma_step(x, r, 1, NULL, &e), E_ARG, &e, "without a cache");
    r[0] = ok;
    r[0].adapter = 3;
    assert_fails(gemma_step(x, r, 1, NULL, &e), E_ARG, &e, "no adapter 3");
    r[0] = ok;
    r[0].want_logits = true;
    assert_fails(gemma_step(x, r, 1, NULL, &e), E_ARG, &e, "no room");
    r[1].want_logits = r[2].want_logits = true;
    assert_fails(gemma_step(x, r, 3, logits, &e), E_ARG, &e, "at most 2");
    r[0] = r[1] = r[2] = ok;
    assert_int_equal(gemma_seq_length(x, ok.seq), 0);
    for (int32_t pos = 0; pos < 70; pos++) {
        r[0] = ok;
        r[0].pos = pos;
        assert_ok(gemma_step(x, r, 1, NULL, &e), &e);
    }
    r[0].pos = 70;
    assert_fails(gemma_step(x, r, 1, NULL, &e), E_ARG, &e, "context is full");
    assert_int_equal(gemma_seq_length(x, 99), 0);
    free(logits);
    gemma_ctx_free(x);
    golden_close(&g);
}

static void bad_options(void **state)
{
    golden g;
    err e = { 0 };
    gemma_ctx *x = NULL;
    (void)state;
    golden_open(&g, "e2b");
    gemma_ctx_opts o = model_opts(false);
    o.ctx = g.m->config.context + 1;
    assert_fails(gemma_ctx_new(&x, g.m, &o, NULL, &e), E_ARG, &e, "at most 4096");
    o = model_opts(false);
    o.row_max = -1;
    assert_fails(gemma_ctx_new(&x, g.m, &o, NULL, &e), E_ARG, &e, "negative");
    o = model_opts(false);
    o.seq_max = INT32_MAX;
    assert_fails(gemma_ctx_new(&x, g.m, &o, NULL, &e), E_ARG, &e, "too many");
    o = model_opts(false);
    o.seq_max = 60000;          /* more memory than there is: refused or given, never a crash */
    o.ctx = 4096;
    if (gemma_ctx_new(&x, g.m, &o, NULL, &e) == OK) gemma_ctx_free(x);
    golden_close(&g);
}

/* ---- memory ---- */

static void nothing_is_allocated_between_tokens(void **state)
{
    (void)state;
    for (int i = 0; i < GOLDEN_COUNT; i++) {
        golden g;
        mem_stats before, after;
        golden_open(&g, golden_names[i]);
        gemma_ctx_opts o = model_opts(i % 2);
        o.threads = 2;
        gemma_ctx *x = model_ctx(g.m, &o);
        float *logits = malloc(sizeof *logits * (size_t)g.T * (size_t)g.V);
        int32_t seq = model_seq(x);
        mem_stats_read(&before);
        model_run(x, seq, g.tokens, g.T, 16, logits, g.V);
        for (int t = 0; t < 80; t++) model_run(x, seq, &g.tokens[t % g.T], 1, 1, logits, g.V);
        mem_stats_read(&after);
        assert_int_equal(after.calls, before.calls);
        free(logits);
        gemma_ctx_free(x);
        golden_close(&g);
    }
}

/* From another thread while a long prompt runs. */
static void *interrupter(void *x)
{
    gemma_ctx_interrupt(x);
    return NULL;
}

static void interrupt_from_another_thread(void **state)
{
    golden g;
    err e = { 0 };
    pthread_t t;
    static gemma_row rows[512];
    (void)state;
    golden_open(&g, "e2b");
    gemma_ctx_opts o = model_opts(true);
    gemma_ctx *x = model_ctx(g.m, &o);
    int32_t seq = model_seq(x), stopped = 0;
    for (int32_t i = 0; i < 512; i++) rows[i] = (gemma_row){ .seq = seq, .pos = i, .token = i % 300 };
    for (int round = 0; round < 3; round++) {
        assert_int_equal(pthread_create(&t, NULL, interrupter, x), 0);
        status st = gemma_step(x, rows, 64, NULL, &e);
        pthread_join(t, NULL);
        if (st == OK) st = gemma_step(x, rows + 64, 1, NULL, &e);      /* it came late: the next step stops */
        assert_int_equal(st, E_CANCELLED);
        stopped++;
        gemma_seq_free(x, seq);
        seq = model_seq(x);
        for (int32_t i = 0; i < 512; i++) rows[i].seq = seq;
    }
    assert_int_equal(stopped, 3);
    gemma_ctx_free(x);
    golden_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(image_blocks),
        cmocka_unit_test(soft_tokens),
        cmocka_unit_test(adapters),
        cmocka_unit_test(fused_expert_adapters),
        cmocka_unit_test(adapters_refused),
        cmocka_unit_test(bad_rows),
        cmocka_unit_test(bad_options),
        cmocka_unit_test(nothing_is_allocated_between_tokens),
        cmocka_unit_test(interrupt_from_another_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
