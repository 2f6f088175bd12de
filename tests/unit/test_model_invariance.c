/* A row's result depends on that row and its cache alone: not on chunks, neighbours, threads, or who leaves early.
 * Everything here is compared bit for bit, on the exact and on the fast path. */
#include <math.h>
#include <unistd.h>

#include "base/bits.h"
#include "support/model.h"
#include "support/tiny.h"

enum { N = 530 };      /* tokens: several pages, several chunks of keys, rings that wrap */

typedef struct run {
    golden g;
    int32_t tokens[N];
    float *whole;      /* [N, V] from chunks of 512 */
    float *other;      /* [N, V] */
    gemma_ctx *x;
    gemma_ctx_opts o;
    size_t bytes;
    const char *what;
} run;

static void run_begin(run *r, const char *name, bool exact)
{
    memset(r, 0, sizeof *r);
    golden_open(&r->g, name);
    model_tokens(r->tokens, N, r->g.V, 7);
    r->bytes = sizeof(float) * N * (size_t)r->g.V;
    r->whole = malloc(r->bytes);
    r->other = malloc(r->bytes);
    r->o = model_opts(exact);
    r->x = model_ctx(r->g.m, &r->o);
    r->what = name;
    model_run(r->x, model_seq(r->x), r->tokens, N, 512, r->whole, r->g.V);
}

static void run_end(run *r)
{
    gemma_ctx_free(r->x);
    free(r->whole);
    free(r->other);
    golden_close(&r->g);
}

static void same_bits(const run *r, const float *a, const float *b, int64_t rows, const char *how)
{
    for (int64_t i = 0; i < rows * r->g.V; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0)
            fail_msg("%s, %s, %s path: row %d, token %d: %.9g and %.9g", r->what, how, r->o.exact ? "exact" : "fast", (int)(i / r->g.V), (int)(i % r->g.V), a[i], b[i]);
}

static void chunks(run *r)
{
    static const int32_t sizes[] = { 1, 2, 8, 17, 64, 200 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char how[32];
        int32_t seq = model_seq(r->x), n = sizes[i] == 17 || sizes[i] == 200 ? N : 140;
        model_run(r->x, seq, r->tokens, n, sizes[i], r->other, r->g.V);
        snprintf(how, sizeof how, "chunks of %d", sizes[i]);
        same_bits(r, r->other, r->whole, n, how);
        gemma_seq_free(r->x, seq);
    }
}

/* Two strangers' rows in every step, before, between and behind its own. */
static void among_others(run *r)
{
    enum { STEP = 24, ROWS = 11 * STEP };
    err e = { 0 };
    gemma_row rows[3 * STEP];
    int32_t seqs[3] = { 0, 0, 0 }, noise[N];
    float *logits = malloc(sizeof *logits * 3 * STEP * (size_t)r->g.V);
    gemma_ctx_opts o = r->o;
    o.row_max = o.logit_rows_max = 3 * STEP;
    gemma_ctx *x = model_ctx(r->g.m, &o);
    model_tokens(noise, N, r->g.V, 99);
    for (int s = 0; s < 3; s++) seqs[s] = model_seq(x);
    for (int32_t at = 0; at < ROWS; at += STEP) {
        for (int32_t t = 0; t < 3 * STEP; t++) {
            int32_t s = t % 3, pos = at + t / 3;
            rows[t] = (gemma_row){ .seq = seqs[s], .pos = pos, .token = s == 1 ? r->tokens[pos] : noise[(pos + s * 31) % N], .want_logits = true };
        }
        assert_ok(gemma_step(x, rows, 3 * STEP, logits, &e), &e);
        for (int32_t t = 0; t < STEP; t++)
            memcpy(r->other + (int64_t)(at + t) * r->g.V, logits + (int64_t)(3 * t + 1) * r->g.V, sizeof(float) * (size_t)r->g.V);
    }
    same_bits(r, r->other, r->whole, ROWS, "one of three sequences");
    gemma_ctx_free(x);
    free(logits);
}

static void threads(run *r)
{
    for (int n = 2; n <= 3; n++) {
        char how[32];
        gemma_ctx_opts o = r->o;
        o.threads = n;
        gemma_ctx *x = model_ctx(r->g.m, &o);
        snprintf(how, sizeof how, "%d threads", n);
        int32_t seq = model_seq(x);       /* a prompt, then token by token: attention is split by keys then */
        model_run(x, seq, r->tokens, 512, 512, r->other, r->g.V);
        model_run(x, seq, r->tokens + 512, N - 512, 1, r->other + 512 * (int64_t)r->g.V, r->g.V);
        same_bits(r, r->other, r->whole, N, how);
        gemma_ctx_free(x);
    }
}

/* Rows without wanted logits leave at the last layer with K and V: the others must not notice, then or later. */
static void leaving(run *r)
{
    err e = { 0 };
    gemma_row rows[128] = { { 0 } };
    int32_t seq = model_seq(r->x);
    for (int32_t t = 0; t < 128; t++) {
        bool want = t == 5 || t == 70 || t == 127;
        rows[t] = (gemma_row){ .seq = seq, .pos = t, .token = r->tokens[t], .want_logits = want };
    }
    assert_ok(gemma_step(r->x, rows, 128, r->other, &e), &e);
    static const int32_t which[] = { 5, 70, 127 };
    for (int i = 0; i < 3; i++) same_bits(r, r->other + (int64_t)i * r->g.V, r->whole + (int64_t)which[i] * r->g.V, 1, "some logits wanted");
    for (int32_t t = 0; t < 128; t++) rows[t] = (gemma_row){ .seq = seq, .pos = 128 + t, .token = r->tokens[128 + t] };
    assert_ok(gemma_step(r->x, rows, 128, NULL, &e), &e);
    model_run(r->x, seq, r->tokens + 256, 40, 40, r->other, r->g.V);
    same_bits(r, r->other, r->whole + 256 * (int64_t)r->g.V, 40, "after a step without logits");
    gemma_seq_free(r->x, seq);
}

static void uncached(run *r)
{
    err e = { 0 };
    gemma_ctx_opts o = r->o;
    gemma_row rows[512] = { { 0 } };
    if (!o.exact) return;                 /* the cache of the fast path is rounded to f16 */
    o.no_cache = true;
    gemma_ctx *x = model_ctx(r->g.m, &o);
    /* Two documents of one sequence, then another sequence: none sees the others. */
    for (int32_t t = 0; t < 512; t++) {
        int32_t start = t < 100 ? 0 : t < 400 ? 100 : 400;
        rows[t] = (gemma_row){ .seq = t < 400 ? 4 : 1, .doc = t < 100 ? 1 : 2, .pos = t - start, .token = r->tokens[t - start], .want_logits = true };
    }
    assert_ok(gemma_step(x, rows, 512, r->other, &e), &e);
    bool shared = r->g.m->config.kv_layers < r->g.m->config.layer_count;
    bool rebuilt = false;
    for (int32_t l = 0; l < r->g.m->config.layer_count; l++) rebuilt |= r->g.m->config.layers[l].k_eq_v;
    if (!rebuilt) {
        same_bits(r, r->other, r->whole, 100, "first document");
        same_bits(r, r->other + 100 * (int64_t)r->g.V, r->whole, 300, "second document");
        same_bits(r, r->other + 400 * (int64_t)r->g.V, r->whole, 112, "other sequence");
    }
    const float *k = NULL, *v = NULL;
    float *first = malloc(sizeof *first * (size_t)gemma_ctx_layer_rows(x, 0) * (size_t)r->g.m->config.hidden);
    assert_ok(gemma_ctx_layer_input(x, r->g.m->config.layer_count, first, &e), &e);
    assert_fails(gemma_ctx_layer_input(x, r->g.m->config.layer_count + 1, first, &e), E_ARG, &e, "there was no step that kept it");
    assert_ok(gemma_ctx_layer_input(x, 0, first, &e), &e);
    assert_memory_equal(first, first + 100 * (int64_t)r->g.m->config.hidden, sizeof(float) * 100 * (size_t)r->g.m->config.hidden);
    free(first);
    int32_t last = r->g.m->config.kv_layers - 1;
    if (shared) assert_ok(gemma_ctx_shared_kv(x, last, &k, &v, &e), &e);
    else assert_fails(gemma_ctx_shared_kv(x, last, &k, &v, &e), E_ARG, &e, "no other layer");
    gemma_ctx_free(x);
}

static void every_invariance(void **state)
{
    static const char *const names[] = { "e2b", "26b", "12b" };
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (int exact = 0; exact < 2; exact++) {
            run r;
            if (exact && i == 2) continue;
            run_begin(&r, names[i], exact);
            chunks(&r);
            among_others(&r);
            threads(&r);
            leaving(&r);
            uncached(&r);
            run_end(&r);
        }
}

/* Each weight type has kernels of its own: 1, 2, 8, 17 and 512 rows of one step must give the same bits. */
static void every_weight_type(void **state)
{
    static const dtype types[] = { DTYPE_Q4_0, DTYPE_Q8_0, DTYPE_Q4_K, DTYPE_Q5_K, DTYPE_Q6_K, DTYPE_Q4_1, DTYPE_BF16, DTYPE_F16, DTYPE_F32 };
    static const int32_t sizes[] = { 1, 2, 8, 17 };
    enum { SOME = 72 };
    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char path[] = "/tmp/facet-invariance-XXXXXX", how[64];
        err e = { 0 };
        run r = { .what = dtype_of(types[i])->name };
        close(mkstemp(path));
        status st = tiny_write_gguf(path, i % 2 ? TINY_E2B : TINY_26B, types[i], 3, &e);
        if (st == OK) st = gemma_open(&r.g.m, path, &e);
        unlink(path);
        if (st != OK) fail_msg("%s: %s: %s", r.what, e.what, e.why);
        r.g.V = r.g.m->config.vocab;
        r.o = model_opts(false);
        r.x = model_ctx(r.g.m, &r.o);
        model_tokens(r.tokens, N, r.g.V, 3);
        r.whole = malloc(sizeof(float) * 512 * (size_t)r.g.V);
        r.other = malloc(sizeof(float) * SOME * (size_t)r.g.V);
        model_run(r.x, model_seq(r.x), r.tokens, 512, 512, r.whole, r.g.V);
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            int32_t seq = model_seq(r.x);
            model_run(r.x, seq, r.tokens, SOME, sizes[k], r.other, r.g.V);
            snprintf(how, sizeof how, "steps of %d and 512", sizes[k]);
            same_bits(&r, r.other, r.whole, SOME, how);
            gemma_seq_free(r.x, seq);
        }
        gemma_ctx_free(r.x);
        gemma_close(r.g.m);
        free(r.whole);
        free(r.other);
    }
}

/* Mean divergence in nats of the predictions of 512 rows. */
static double divergence(const float *p, const float *q, int64_t V)
{
    double sum = 0;
    for (int64_t i = 0; i < 512; i++, p += V, q += V) {
        double top_p = p[0], top_q = q[0], zp = 0, zq = 0;
        for (int64_t v = 1; v < V; v++) {
            top_p = fmax(top_p, p[v]);
            top_q = fmax(top_q, q[v]);
        }
        for (int64_t v = 0; v < V; v++) {
            zp += exp(p[v] - top_p);
            zq += exp(q[v] - top_q);
        }
        for (int64_t v = 0; v < V; v++) sum += exp(p[v] - top_p) / zp * (p[v] - top_p - log(zp) - (q[v] - top_q - log(zq)));
    }
    return sum / 512;
}

static void run_as(const gemma *m, const int32_t *tokens, bool exact, bool invariant, int threads, float *logits)
{
    gemma_ctx_opts o = model_opts(exact);
    o.kv_type = DTYPE_F32;
    o.invariant = invariant;
    o.threads = threads;
    gemma_ctx *x = model_ctx(m, &o);
    model_run(x, model_seq(x), tokens, 512, 512, logits, m->config.vocab);
    gemma_ctx_free(x);
}

/* Steps of many rows may go a way of their own, but no further from the exact answer than few rows go, and the same on any number of threads. */
static void many_rows(void **state)
{
    static const dtype types[] = { DTYPE_Q4_0, DTYPE_Q8_0, DTYPE_Q4_K, DTYPE_Q6_K, DTYPE_BF16 };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        char path[] = "/tmp/facet-invariance-XXXXXX";
        err e = { 0 };
        gemma *m = NULL;
        int32_t tokens[512];
        close(mkstemp(path));
        status st = tiny_write_gguf(path, TINY_E2B, types[i], 3, &e);
        if (st == OK) st = gemma_open(&m, path, &e);
        unlink(path);
        if (st != OK) fail_msg("%s: %s", e.what, e.why);
        size_t bytes = sizeof(float) * 512 * (size_t)m->config.vocab;
        float *exact = malloc(bytes), *few = malloc(bytes), *many = malloc(bytes), *again = malloc(bytes);
        model_tokens(tokens, 512, m->config.vocab, 3);
        run_as(m, tokens, true, true, 1, exact);
        run_as(m, tokens, false, true, 1, few);
        run_as(m, tokens, false, false, 1, many);
        run_as(m, tokens, false, false, 2, again);
        assert_memory_equal(many, again, bytes);
        double of_few = divergence(exact, few, m->config.vocab), of_many = divergence(exact, many, m->config.vocab);
        if (!(of_many <= 1.1 * of_few + 1e-5)) fail_msg("%s: %g nats from the exact answer, few rows %g", dtype_of(types[i])->name, of_many, of_few);
        if (getenv("SHOW")) printf("%s: %g nats from the exact answer, few rows %g\n", dtype_of(types[i])->name, of_many, of_few);
        gemma_close(m);
        free(exact);
        free(few);
        free(many);
        free(again);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_invariance), cmocka_unit_test(every_weight_type), cmocka_unit_test(many_rows) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
