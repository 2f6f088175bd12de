/* What facet bench computes without a clock: quartiles, other processes' time, needed work, the picture. */
#include "base/bits.h"
#include "bench/bench_plot.h"
#include "bench/bench_quiet.h"
#include "support/test.h"

static void near(double got, double want)
{
    if (!(got >= want - 1e-9 * want && got <= want + 1e-9 * want)) fail_msg("%.12g, should be %.12g", got, want);
}

static void quartiles(void **state)
{
    double x[] = { 5, 1, 4, 2, 3 }, y[] = { 10, 20, 30, 40 }, z[] = { 0, 0 };
    (void)state;
    bench_stats s = bench_stats_of(x, 5);
    near(s.median, 3);
    near(s.q1, 2);
    near(s.q3, 4);
    near(s.spread, 2.0 / 3);
    near(s.min, 1);
    near(s.max, 5);
    s = bench_stats_of(y, 4);      /* positions 0.75, 1.5, 2.25 */
    near(s.q1, 17.5);
    near(s.median, 25);
    near(s.q3, 32.5);
    near(bench_stats_of(y, 1).median, 10);
    assert_true(bench_stats_of(z, 2).spread == 0);
    assert_int_equal(bench_stats_of(z, 0).count, 0);
}

static void others_are_found(void **state)
{
    (void)state;
    /* user, nice, system, irq, softirq, steal; not idle and iowait */
    near(bench_quiet_busy("cpu  100 20 30 9999 777 4 5 6 0 0\ncpu0 1 2 3", 100), 1.65);
    near(bench_quiet_busy("cpu  100 20 30 9999 777 4 5\n", 100), 1.59);
    assert_true(bench_quiet_busy("intr 5", 100) < 0);
    assert_true(bench_quiet_disturbed(1, 0.2));
    assert_false(bench_quiet_disturbed(1, 0.1));
}

/* ---- work ---- */

static weight matrix(dtype type, int64_t rows, int64_t cols)
{
    return (weight){ .name = "w", .type = type, .mats = 1, .rows = rows, .cols = cols, .mat_rows = rows, .row_bytes = dtype_row_bytes(type, cols), .scale = 1 };
}

/* Three layers of hidden 32: a sliding one, a full one with the last keys of its own, a full one that shares them. */
typedef struct model {
    gemma m;
    gemma_layer_config lc[3];
    layer_weights lw[3];
} model;

static void make_model(model *x, bool ple)
{
    memset(x, 0, sizeof *x);
    x->m.config = (gemma_config){ .layer_count = 3, .hidden = 32, .vocab = 100, .window = 4, .kv_layers = 2, .ple = ple ? 32 : 0, .layers = x->lc };
    for (int i = 0; i < 3; i++) {
        x->lc[i] = (gemma_layer_config){ .full = i > 0, .nq = 2, .nkv = 1, .d = 32, .ff = 64, .kv_source = i == 2 ? 1 : i };
        layer_weights *l = &x->lw[i];
        l->q = matrix(DTYPE_Q4_0, 64, 32);
        l->o = matrix(DTYPE_Q4_0, 32, 64);
        if (i < 2) l->k = l->v = matrix(DTYPE_Q4_0, 32, 32);
        l->gate = l->up = matrix(DTYPE_Q4_0, 64, 32);
        l->down = matrix(DTYPE_Q4_0, 32, 64);
        if (ple) l->ple_gate = l->ple_proj = matrix(DTYPE_F32, 32, 32);
    }
    x->m.weights.layers = x->lw;
    x->m.weights.embed = x->m.weights.head = matrix(DTYPE_Q8_0, 100, 32);
    if (ple) {
        x->m.weights.ple_embed = matrix(DTYPE_Q8_0, 100, 96);
        x->m.weights.ple_model_proj = matrix(DTYPE_F32, 96, 32);
    }
}

/* One row of weights: q, o, gate, up, down have 64*32 numbers each in blocks of 32 in 18 bytes; k, v 32*32. */
enum { BIG = 64 * 32, BIG_BYTES = 64 * 18, SMALL = 32 * 32, SMALL_BYTES = 32 * 18, HEAD = 100 * 32, HEAD_BYTES = 100 * 34 };

static void a_decoded_token(void **state)
{
    model x;
    bench_work w = { 0 };
    gemma_row row = { .pos = 9, .want_logits = true };
    (void)state;
    make_model(&x, false);
    bench_work_step(&w, &x.m, DTYPE_F16, &row, 1);
    near(w.int8_ops, 2.0 * (15 * BIG + 4 * SMALL + HEAD));
    near(w.weight_bytes, 15 * BIG_BYTES + 4 * SMALL_BYTES + HEAD_BYTES + 34);      /* and the row of the embedding */
    near(w.kv_bytes, (4 + 10 + 10) * 2 * 64.0);                                    /* window 4; K and V of 32 halves */
    near(w.attention_ops, (4 + 10 + 10) * 4.0 * 2 * 32);
    assert_true(w.float_ops == 0);
}

/* Of five rows one wants logits: the others compute layer 0 whole, and keys and values of layer 1. */
static void rows_leave(void **state)
{
    model x;
    bench_work w = { 0 };
    gemma_row rows[5];
    (void)state;
    make_model(&x, false);
    for (int i = 0; i < 5; i++) rows[i] = (gemma_row){ .pos = i, .want_logits = i == 4 };
    bench_work_step(&w, &x.m, DTYPE_F32, rows, 5);
    near(w.int8_ops, 2.0 * (5 * (5 * BIG + 2 * SMALL) + 1 * 5 * BIG + 5 * 2 * SMALL + 1 * 5 * BIG + HEAD));
    near(w.weight_bytes, 15 * BIG_BYTES + 4 * SMALL_BYTES + HEAD_BYTES + 5 * 34);
    near(w.attention_ops, (1 + 2 + 3 + 4 + 4 + 5 + 5) * 4.0 * 2 * 32);
    near(w.kv_bytes, (5 + 5 + 5) * 2 * 128.0);
    memset(&w, 0, sizeof w);
    rows[4].want_logits = false;                   /* nobody's logits: layers 1 and 2 are for keys and values only */
    bench_work_step(&w, &x.m, DTYPE_F32, rows, 5);
    near(w.int8_ops, 2.0 * 5 * (5 * BIG + 4 * SMALL));
    near(w.weight_bytes, 5 * BIG_BYTES + 4 * SMALL_BYTES + 5 * 34);
}

static void sequences_share_weights(void **state)
{
    model x;
    bench_work one = { 0 }, two = { 0 };
    gemma_row rows[2] = { { .seq = 0, .pos = 9, .want_logits = true }, { .seq = 1, .pos = 9, .want_logits = true } };
    (void)state;
    make_model(&x, false);
    bench_work_step(&one, &x.m, DTYPE_Q8_0, rows, 1);
    bench_work_step(&two, &x.m, DTYPE_Q8_0, rows, 2);
    near(two.weight_bytes, one.weight_bytes + 34);
    near(two.kv_bytes, 2 * one.kv_bytes);
    near(two.int8_ops, 2 * one.int8_ops);
}

static void per_layer_inputs(void **state)
{
    model x;
    bench_work with = { 0 }, without = { 0 };
    gemma_row rows[3] = { { .pos = 0 }, { .pos = 1 }, { .pos = 2, .want_logits = true } };
    (void)state;
    make_model(&x, true);
    bench_work_step(&with, &x.m, DTYPE_F16, rows, 3);
    make_model(&x, false);
    bench_work_step(&without, &x.m, DTYPE_F16, rows, 3);
    near(with.int8_ops, without.int8_ops);
    /* the two that leave need one layer's third of the projection; gate and projection: 3 rows in layer 0, 1 in 1 and 2 */
    near(with.float_ops, 2.0 * (96 * 32 * (1 + 2.0 / 3) + 2 * SMALL * (3 + 1 + 1)));
    near(with.weight_bytes - without.weight_bytes, (1 + 2.0 / 3) * 102 + 96 * 128 + 6 * 32 * 128);
}

static void chosen_experts(void **state)
{
    model x;
    bench_work w = { 0 }, plain = { 0 };
    gemma_row row = { .pos = 0, .want_logits = true };
    (void)state;
    make_model(&x, false);
    bench_work_step(&plain, &x.m, DTYPE_F16, &row, 1);
    x.m.config.expert_count = 8;
    x.m.config.expert_used = 2;
    x.lw[0].router = matrix(DTYPE_F32, 8, 32);
    x.lw[0].gate_exps = x.lw[0].up_exps = matrix(DTYPE_Q4_0, 64, 32);
    x.lw[0].down_exps = matrix(DTYPE_Q8_0, 32, 64);
    bench_work_step(&w, &x.m, DTYPE_F16, &row, 1);
    near(w.int8_ops - plain.int8_ops, 2.0 * 2 * 3 * BIG);
    near(w.float_ops, 2.0 * 8 * 32);
    near(w.weight_bytes - plain.weight_bytes, 8 * 128);
    bench_work_experts(&w, &x.m, 0, 5);
    near(w.weight_bytes - plain.weight_bytes, 8 * 128 + 5 * (2.0 * BIG_BYTES + 32 * 2 * 34));
}

/* ---- shares and picture ---- */

static void shares(void **state)
{
    bench_limits l = { .read.rate = 100, .int8.rate = 1000, .bf16.rate = 500 };
    bench_result r = { .tokens = 10, .batch = 2, .seconds = 4, .work = { .weight_bytes = 150, .kv_bytes = 50, .int8_ops = 500, .float_ops = 250 } };
    (void)state;
    bench_result_shares(&r, &l);
    near(r.bandwidth_share, 0.5);
    near(r.peak_share, 0.25);
    near(r.roofline_tok_s, 10);         /* 20 tokens in the 2 s that memory needs */
    memset(&l, 0, sizeof l);
    r.bandwidth_share = 0;
    bench_result_shares(&r, &l);
    assert_true(r.bandwidth_share == 0);
}

/* Every tag that opens closes, in order; no raw '&' or '<' in texts. */
static void check_well_formed(const char *p)
{
    char open[32][16];
    int depth = 0;
    for (; *p; p++) {
        if (*p == '&' && strncmp(p, "&amp;", 5) && strncmp(p, "&lt;", 4) && strncmp(p, "&gt;", 4)) fail_msg("a raw & before \"%.20s\"", p);
        if (*p != '<') continue;
        const char *end = strchr(p, '>');
        assert_non_null(end);
        char name[16] = { 0 };
        const char *from = p + (p[1] == '/' ? 2 : 1);
        size_t n = strcspn(from, " >/");
        assert_true(n > 0 && n < sizeof name);
        memcpy(name, from, n);
        if (p[1] == '/') {
            assert_true(depth > 0);
            assert_string_equal(open[--depth], name);
        } else if (end[-1] != '/') {
            assert_true(depth < 32);
            memcpy(open[depth++], name, sizeof name);
        }
        p = end;
    }
    assert_int_equal(depth, 0);
}

static void picture(void **state)
{
    bench_result results[] = {
        { .tokens = 512, .batch = 1, .tok_s = { .median = 280, .q1 = 270, .q3 = 290 }, .roofline_tok_s = 430, .bandwidth_share = 0.1, .peak_share = 0.65 },
        { .decode = true, .tokens = 64, .depth = 8192, .batch = 8, .tok_s = { .median = 80, .q1 = 70, .q3 = 85 } } };
    bench_report r = { .name = "a <b> & \"c\"", .threads = 2, .results = results, .count = 2 };
    buf out;
    err e = { 0 };
    (void)state;
    buf_init(&out, 1 << 20);
    assert_ok(bench_plot(&out, &r, "machine & co", &e), &e);
    check_well_formed(buf_text(&out));
    assert_non_null(strstr(buf_text(&out), "a &lt;b&gt; &amp; \"c\""));
    assert_non_null(strstr(buf_text(&out), "280 tok/s, 10 % of memory, 65 % of arithmetic"));
    assert_non_null(strstr(buf_text(&out), "64 tokens, depth 8192, batch 8"));
    buf_done(&out);
    buf_init(&out, 100);
    assert_fails(bench_plot(&out, &r, "x", &e), E_NOMEM, &e, "");
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quartiles), cmocka_unit_test(others_are_found), cmocka_unit_test(a_decoded_token), cmocka_unit_test(rows_leave),
        cmocka_unit_test(sequences_share_weights), cmocka_unit_test(per_layer_inputs), cmocka_unit_test(chosen_experts), cmocka_unit_test(shares),
        cmocka_unit_test(picture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
