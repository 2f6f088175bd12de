/* The cache: forks, tokens taken back, saved state, failures, element types, rebuilt keys. */
#include "model/kv.h"
#include "support/model.h"
#include "support/tiny.h"

enum { N = 300 };

typedef struct fix {
    golden g;
    gemma_ctx *x;
    gemma_ctx_opts o;
    int32_t tokens[N];
    float *want;       /* [N, V] in one go */
    float *got;
    int32_t V;
} fix;

static void begin(fix *f, const char *name)
{
    memset(f, 0, sizeof *f);
    golden_open(&f->g, name);
    f->V = f->g.V;
    f->o = model_opts(false);
    f->o.row_max = f->o.logit_rows_max = 64;
    f->x = model_ctx(f->g.m, &f->o);
    model_tokens(f->tokens, N, f->V, 21);
    f->want = malloc(sizeof(float) * N * (size_t)f->V);
    f->got = malloc(sizeof(float) * N * (size_t)f->V);
    int32_t seq = model_seq(f->x);
    model_run(f->x, seq, f->tokens, N, 64, f->want, f->V);
    gemma_seq_free(f->x, seq);
}

static void end(fix *f)
{
    gemma_ctx_free(f->x);
    free(f->want);
    free(f->got);
    golden_close(&f->g);
}

static void same(const fix *f, int32_t from, int32_t n) { assert_memory_equal(f->got, f->want + (int64_t)from * f->V, sizeof(float) * (size_t)n * (size_t)f->V); }

static const char *const kinds[] = { "e2b", "26b", "31b-f16" };
enum { KINDS = 3 };

/* A fork goes its own way; what the original wrote before is shared, what follows is not. */
static void fork_shares_the_past(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        fix f;
        err e = { 0 };
        int32_t other[40], a, b, c;
        begin(&f, kinds[i]);
        model_tokens(other, 40, f.V, 5);
        a = model_seq(f.x);
        model_run(f.x, a, f.tokens, 100, 64, f.got, f.V);
        assert_ok(gemma_seq_fork(f.x, a, &b, &e), &e);
        assert_int_equal(gemma_seq_length(f.x, b), 100);
        model_run(f.x, b, other, 40, 40, f.got, f.V);
        assert_memory_not_equal(f.got, f.want + 100 * (int64_t)f.V, sizeof(float) * (size_t)f.V);
        model_run(f.x, a, f.tokens + 100, 60, 60, f.got, f.V);
        same(&f, 100, 60);
        assert_ok(gemma_seq_fork(f.x, a, &c, &e), &e);
        gemma_seq_free(f.x, a);
        model_run(f.x, c, f.tokens + 160, 64, 7, f.got, f.V);
        same(&f, 160, 64);
        assert_fails(gemma_seq_take_back(f.x, a, 1, &e), E_ARG, &e, "no such sequence");
        end(&f);
    }
}

/* Pages are counted: as many forks and frees as we like, none is lost. */
static void pages_come_back(void **state)
{
    fix f;
    err e = { 0 };
    int32_t a, b;
    (void)state;
    begin(&f, "26b");
    for (int round = 0; round < 50; round++) {
        a = model_seq(f.x);
        model_run(f.x, a, f.tokens, 90, 64, f.got, f.V);
        assert_ok(gemma_seq_fork(f.x, a, &b, &e), &e);
        model_run(f.x, b, f.tokens + 90, 60, 64, f.got, f.V);
        same(&f, 90, 60);
        gemma_seq_free(f.x, round % 2 ? a : b);
        gemma_seq_free(f.x, round % 2 ? b : a);
    }
    int32_t all[3];
    for (int s = 0; s < 3; s++) all[s] = model_seq(f.x);
    assert_fails(gemma_seq_new(f.x, &a, &e), E_BUSY, &e, "all 3 places");
    for (int s = 0; s < 3; s++)      /* all of them to the end of the context */
        for (int32_t at = 0; at < 600; at += 60) model_run(f.x, all[s], f.tokens, 60, 60, f.got, f.V);
    end(&f);
}

static void take_back(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        fix f;
        err e = { 0 };
        int32_t other[20], seq;
        begin(&f, kinds[i]);
        model_tokens(other, 20, f.V, 77);
        seq = model_seq(f.x);
        model_run(f.x, seq, f.tokens, 200, 64, f.got, f.V);
        model_run(f.x, seq, other, KV_TAKE_BACK, 16, f.got, f.V);
        assert_ok(gemma_seq_take_back(f.x, seq, KV_TAKE_BACK, &e), &e);
        assert_int_equal(gemma_seq_length(f.x, seq), 200);
        model_run(f.x, seq, f.tokens + 200, 60, 60, f.got, f.V);
        same(&f, 200, 60);
        assert_fails(gemma_seq_take_back(f.x, seq, 261, &e), E_ARG, &e, "the sequence has 260");
        assert_fails(gemma_seq_take_back(f.x, seq, -1, &e), E_ARG, &e, "cannot take back");
        assert_fails(gemma_seq_take_back(f.x, seq, 230, &e), E_ARG, &e, "windows have moved on");
        assert_int_equal(gemma_seq_length(f.x, seq), 260);
        /* before any window has wrapped, everything can go back */
        gemma_seq_free(f.x, seq);
        seq = model_seq(f.x);
        model_run(f.x, seq, other, 20, 20, f.got, f.V);
        assert_ok(gemma_seq_take_back(f.x, seq, 20, &e), &e);
        model_run(f.x, seq, f.tokens, 64, 64, f.got, f.V);
        same(&f, 0, 64);
        end(&f);
    }
}

/* Pages and a window state outlive their sequence: behind them, and up to 16 tokens before, new sequences go on with the bits of
 * one that was never gone; several from one state, also when it was saved in the middle of a step, and nobody changes a page. */
static void prefixes_outlive_their_sequence(void **state)
{
    static const dtype types[] = { DTYPE_F16, DTYPE_F32, DTYPE_BF16 };
    enum { AT = 150, LONG = 240, PAGES = 4 };
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        fix f;
        err e = { 0 };
        int32_t other[LONG], pages[PAGES], seq, one, two;
        begin(&f, kinds[i]);
        model_tokens(other, LONG, f.V, 78);
        assert_true(AT > f.g.m->config.window + KV_TAKE_BACK);
        gemma_ctx_opts o = f.o;
        o.states = 2;
        o.pages = (o.ctx + 63) / 64 + 8;
        o.kv_type = types[i];
        gemma_ctx *x = model_ctx(f.g.m, &o);
        seq = model_seq(x);
        model_run(x, seq, f.tokens, N, 64, f.want, f.V);     /* the cache's type changes the numbers */
        gemma_seq_free(x, seq);
        assert_int_equal(gemma_pages_free(x), o.pages);
        seq = model_seq(x);
        model_run(x, seq, f.tokens, 180, 60, f.got, f.V);
        assert_int_equal(gemma_state_save(x, 0, seq, AT), AT - KV_TAKE_BACK);        /* 30 tokens ago */
        assert_int_equal(gemma_state_save(x, 1, seq, 180), 180 - KV_TAKE_BACK);
        assert_int_equal(gemma_state_save(x, 1, seq, 181), 0);
        for (int32_t p = 0; p < 3; p++) gemma_page_hold(x, pages[p] = gemma_seq_page(x, seq, p));
        model_run(x, seq, other, LONG, 64, f.got, f.V);
        assert_int_equal(gemma_state_save(x, 1, seq, 180), 0);      /* the windows have moved on */
        assert_int_equal(gemma_pages_wanted(x, seq, 1), 0 + (gemma_seq_length(x, seq) % 64 == 0));
        gemma_seq_free(x, seq);
        assert_int_equal(gemma_pages_free(x), o.pages - 3);
        for (int32_t back = 0; back <= KV_TAKE_BACK; back += 8) {
            int32_t at = AT - back;
            assert_ok(gemma_seq_resume(x, pages, 0, at, &one, &e), &e);
            assert_ok(gemma_seq_resume(x, pages, 0, at, &two, &e), &e);
            assert_int_equal(gemma_seq_length(x, one), at);
            assert_int_equal(gemma_pages_wanted(x, one, 1), 1);              /* the last page is copied */
            model_run(x, one, other, 100, 64, f.got, f.V);
            model_run(x, two, f.tokens + at, 100, back ? 7 : 64, f.got, f.V);
            same(&f, at, 100);
            gemma_seq_free(x, one);
            gemma_seq_free(x, two);
            assert_int_equal(gemma_pages_free(x), o.pages - 3);
        }
        /* a state of a sequence that came from one serves what both have */
        assert_ok(gemma_seq_resume(x, pages, 0, AT - 10, &one, &e), &e);
        model_run(x, one, f.tokens + AT - 10, 5, 5, f.got, f.V);
        int32_t least = gemma_state_save(x, 1, one, AT - 5);
        assert_in_range(least, AT - 5 - KV_TAKE_BACK, AT - 10);
        assert_ok(gemma_seq_resume(x, pages, 1, least, &two, &e), &e);
        model_run(x, two, f.tokens + least, 60, 60, f.got, f.V);
        same(&f, least, 60);
        gemma_seq_free(x, one);
        gemma_seq_free(x, two);
        assert_fails(gemma_seq_resume(x, pages, 1, least - 1, &one, &e), E_ARG, &e, "windows");
        assert_fails(gemma_seq_resume(x, pages, 0, AT - KV_TAKE_BACK - 1, &one, &e), E_ARG, &e, "windows");
        assert_fails(gemma_seq_resume(x, pages, 0, AT + 1, &one, &e), E_ARG, &e, "windows");
        assert_fails(gemma_seq_resume(x, pages, 2, AT, &one, &e), E_ARG, &e, "no window state 2");
        for (int32_t p = 0; p < 3; p++) gemma_page_drop(x, pages[p]);
        assert_int_equal(gemma_pages_free(x), o.pages);
        gemma_ctx_free(x);
        end(&f);
    }
}

/* Fewer pages than the sequences could want: a step that lacks some is refused and changes nothing. */
static void a_full_pool_is_told(void **state)
{
    fix f;
    err e = { 0 };
    (void)state;
    begin(&f, "26b");
    gemma_ctx_opts o = f.o;
    o.ctx = 256;
    o.seq_max = 3;
    o.pages = 4;
    gemma_ctx *x = NULL;
    assert_fails(gemma_ctx_new(&x, f.g.m, &o, NULL, &e), E_ARG, &e, "a page for each");
    o.pages = 7;
    x = model_ctx(f.g.m, &o);
    int32_t a = model_seq(x), b = model_seq(x);
    gemma_row row = { .seq = b, .pos = 192, .token = 5 };
    model_run(x, a, f.tokens, 256, 64, f.got, f.V);
    model_run(x, b, f.tokens, 192, 64, f.got, f.V);
    assert_int_equal(gemma_pages_free(x), 0);
    assert_fails(gemma_step(x, &row, 1, NULL, &e), E_BUSY, &e, "the cache is full");
    assert_int_equal(gemma_seq_length(x, b), 192);
    gemma_seq_free(x, a);
    model_run(x, b, f.tokens + 192, 60, 60, f.got, f.V);
    same(&f, 192, 60);
    gemma_ctx_free(x);
    end(&f);
}

/* Saved, loaded into another context with another ring length, and continued. */
static void save_and_load(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        fix f;
        err e = { 0 };
        int32_t seq, loaded;
        begin(&f, kinds[i]);
        seq = model_seq(f.x);
        model_run(f.x, seq, f.tokens, 150, 64, f.got, f.V);
        size_t n = gemma_seq_bytes(f.x, seq);
        unsigned char *p = malloc(n);
        assert_fails(gemma_seq_save(f.x, seq, p, n - 1, &e), E_ARG, &e, "too few");
        assert_ok(gemma_seq_save(f.x, seq, p, n, &e), &e);
        gemma_ctx_opts o = f.o;
        o.row_max = o.logit_rows_max = 200;
        gemma_ctx *y = model_ctx(f.g.m, &o);
        assert_ok(gemma_seq_load(y, p, n, &loaded, &e), &e);
        assert_int_equal(gemma_seq_length(y, loaded), 150);
        assert_ok(gemma_seq_take_back(y, loaded, KV_TAKE_BACK, &e), &e);
        model_run(y, loaded, f.tokens + 134, 100, 100, f.got, f.V);
        same(&f, 134, 100);
        assert_fails(gemma_seq_take_back(y, loaded, 150, &e), E_ARG, &e, "windows have moved on");
        /* damage is noticed, wherever it is */
        for (size_t at = 0; at < n; at += n / 37 + 1) {
            p[at] ^= 4;
            assert_int_not_equal(gemma_seq_load(y, p, n, &loaded, &e), OK);
            p[at] ^= 4;
        }
        for (size_t cut = 0; cut < n; cut += n / 11 + 1) assert_int_not_equal(gemma_seq_load(y, p, cut, &loaded, &e), OK);
        o.kv_type = DTYPE_F32;
        gemma_ctx *z = model_ctx(f.g.m, &o);
        assert_fails(gemma_seq_load(z, p, n, &loaded, &e), E_ARG, &e, "another cache type");
        o = f.o;
        o.ctx = 128;
        gemma_ctx *s = model_ctx(f.g.m, &o);
        assert_fails(gemma_seq_load(s, p, n, &loaded, &e), E_ARG, &e, "the context holds 128");
        gemma_ctx_free(s);
        gemma_ctx_free(z);
        gemma_ctx_free(y);
        free(p);
        end(&f);
    }
}

/* A step that fails in its middle leaves everything as it was. */
static void stop_midway(void *user, int32_t layer, const char *name, const float *data, int64_t T, int64_t width)
{
    (void)name;
    (void)data;
    (void)T;
    (void)width;
    if (layer == 2) gemma_ctx_interrupt(user);
}

static void failure_changes_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < KINDS; i++) {
        fix f;
        err e = { 0 };
        gemma_row rows[64];
        begin(&f, kinds[i]);
        int32_t seq = model_seq(f.x);
        model_run(f.x, seq, f.tokens, 100, 64, f.got, f.V);
        for (int32_t t = 0; t < 64; t++) rows[t] = (gemma_row){ .seq = seq, .pos = 100 + t, .token = 3, .want_logits = true };
        gemma_ctx_tap(f.x, stop_midway, f.x);
        assert_fails(gemma_step(f.x, rows, 64, f.got, &e), E_CANCELLED, &e, "interrupted");
        gemma_ctx_tap(f.x, NULL, NULL);
        assert_int_equal(gemma_seq_length(f.x, seq), 100);
        assert_ok(gemma_seq_take_back(f.x, seq, KV_TAKE_BACK, &e), &e);
        model_run(f.x, seq, f.tokens + 84, 100, 64, f.got, f.V);
        same(&f, 84, 100);
        gemma_ctx_interrupt(f.x);         /* before a step: the next one stops */
        rows[0] = (gemma_row){ .seq = seq, .pos = 184, .token = 1 };
        assert_fails(gemma_step(f.x, rows, 1, NULL, &e), E_CANCELLED, &e, "interrupted");
        assert_ok(gemma_step(f.x, rows, 1, NULL, &e), &e);
        end(&f);
    }
}

/* Mean over rows of the squared distance between the logits, relative to their size. */
static double noise(const float *a, const float *b, int64_t n)
{
    double d = 0, s = 0;
    for (int64_t i = 0; i < n; i++) {
        d += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        s += (double)b[i] * (double)b[i];
    }
    return d / s;
}

/* Coarser caches cost some exactness, in the order that their steps suggest, and never much. */
static void element_types(void **state)
{
    static const dtype types[] = { DTYPE_F16, DTYPE_BF16 };
    static const double limit[] = { 1e-5, 1e-3 };
    static const char *const dense[] = { "e2b", "12b", "31b" };     /* with experts a flip drowns the rounding */
    (void)state;
    for (int i = 0; i < 3; i++) {
        golden g;
        golden_open(&g, dense[i]);
        int64_t n = (int64_t)g.T * g.V;
        float *f32 = malloc(sizeof *f32 * (size_t)n), *got = malloc(sizeof *got * (size_t)n);
        gemma_ctx_opts o = model_opts(true);
        gemma_ctx *x = model_ctx(g.m, &o);
        model_run(x, model_seq(x), g.tokens, g.T, g.T, f32, g.V);
        gemma_ctx_free(x);
        for (int t = 0; t < 2; t++) {
            o.kv_type = types[t];
            x = model_ctx(g.m, &o);
            model_run(x, model_seq(x), g.tokens, g.T, g.T, got, g.V);
            double d = noise(got, f32, n);
            if (!(d > 0 && d < limit[t])) fail_msg("%s, cache type %d: noise %g, limit %g", dense[i], (int)types[t], d, limit[t]);
            gemma_ctx_free(x);
        }
        free(f32);
        free(got);
        golden_close(&g);
    }
}

/* Eight bits a number: between bf16 and a limit, also with heads as wide as the real ones; and as invariant as any other. */
static void eight_bits(void **state)
{
    enum { T = 80 };
    static const tiny_kind of[] = { TINY_E2B, TINY_12B, TINY_31B };
    (void)state;
    for (int i = 0; i < 3; i++) {
        err e = { 0 };
        gemma *m = NULL;
        char path[256];
        int32_t tokens[T];
        int64_t n = (int64_t)T * TINY_VOCAB;
        float *out[4];                   /* f32, bf16, q8_0, q8_0 in pieces */
        tiny_shape s = tiny_shape_of(of[i]);
        if (i == 0) s.nq = 2, s.d = 256, s.d_full = 512;
        snprintf(path, sizeof path, "%s/eight.gguf", getenv("TMPDIR"));
        assert_ok(tiny_write_shape(path, &s, DTYPE_F16, 5, &e), &e);
        assert_ok(gemma_open(&m, path, &e), &e);
        model_tokens(tokens, T, TINY_VOCAB, 9);
        for (int k = 0; k < 4; k++) {
            static const dtype types[] = { DTYPE_F32, DTYPE_BF16, DTYPE_Q8_0, DTYPE_Q8_0 };
            gemma_ctx_opts o = model_opts(true);
            o.kv_type = types[k];
            o.threads = k == 3 ? 3 : 1;
            gemma_ctx *x = model_ctx(m, &o);
            out[k] = malloc(sizeof *out[k] * (size_t)n);
            model_run(x, model_seq(x), tokens, T, k == 3 ? 7 : T, out[k], TINY_VOCAB);
            gemma_ctx_free(x);
        }
        double bf16 = noise(out[1], out[0], n), q8 = noise(out[2], out[0], n);
        if (!(q8 > bf16 && q8 < 3e-3)) fail_msg("%s: noise of q8_0 %g, of bf16 %g", s.name, q8, bf16);
        assert_memory_equal(out[2], out[3], sizeof(float) * (size_t)n);
        for (int k = 0; k < 4; k++) free(out[k]);
        gemma_close(m);
        unlink(path);
    }
}

static void q8_needs_whole_blocks(void **state)
{
    golden g;
    err e = { 0 };
    gemma_ctx *x = NULL;
    (void)state;
    golden_open(&g, "26b");
    gemma_ctx_opts o = model_opts(false);
    o.kv_type = DTYPE_Q8_0;
    assert_fails(gemma_ctx_new(&x, g.m, &o, NULL, &e), E_ARG, &e, "no multiple of 32");
    o.kv_type = DTYPE_Q4_0;
    assert_fails(gemma_ctx_new(&x, g.m, &o, NULL, &e), E_ARG, &e, "f32, f16, bf16 or q8_0");
    golden_close(&g);
}

/* K rebuilt from V and K stored: the same logits within the exact path's bound (they round in different places). */
static void rebuilt_keys(void **state)
{
    static const char *const names[] = { "12b", "26b", "26b-odd", "31b" };
    (void)state;
    for (int i = 0; i < 4; i++) {
        golden g;
        int64_t at;
        golden_open(&g, names[i]);
        int64_t n = (int64_t)g.T * g.V;
        float *a = malloc(sizeof *a * (size_t)n), *b = malloc(sizeof *b * (size_t)n);
        gemma_ctx_opts o = model_opts(true);
        gemma_ctx *x = model_ctx(g.m, &o);
        o.keep_k = true;
        gemma_ctx *y = model_ctx(g.m, &o);
        model_run(x, model_seq(x), g.tokens, g.T, 9, a, g.V);
        model_run(y, model_seq(y), g.tokens, g.T, 9, b, g.V);
        assert_true(model_diff(a, b, n, &at) <= g.bound);
        assert_true(model_diff(b, g.logits, n, &at) <= g.bound);
        gemma_ctx_free(x);
        gemma_ctx_free(y);
        free(a);
        free(b);
        golden_close(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fork_shares_the_past),  cmocka_unit_test(pages_come_back), cmocka_unit_test(take_back),
        cmocka_unit_test(prefixes_outlive_their_sequence),
        cmocka_unit_test(a_full_pool_is_told),
        cmocka_unit_test(save_and_load),         cmocka_unit_test(failure_changes_nothing), cmocka_unit_test(element_types),
        cmocka_unit_test(eight_bits),
        cmocka_unit_test(q8_needs_whole_blocks), cmocka_unit_test(rebuilt_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
