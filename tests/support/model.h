/* Running models in tests: a golden's files, a context, prompts in pieces. */
#ifndef FC_TESTS_MODEL_H
#define FC_TESTS_MODEL_H

#include <unistd.h>

#include "model/gemma.h"
#include "support/test.h"

/* The folders first, then the GGUF files. */
static const char *const golden_names[] = { "e2b", "e2b-saved", "e4b", "12b", "26b", "26b-odd", "31b", "31b-f32", "31b-f16",
                                            "26b-types", "e2b-q4_0", "31b-q4_k_m" };
enum { GOLDEN_FOLDERS = 9, GOLDEN_COUNT = 12 };

typedef struct golden {
    gemma *m;
    st_file *expect;
    double bound;
    const int32_t *tokens;       /* [T] */
    int32_t T, V;
    const float *logits;         /* [T, V] */
} golden;

static inline const void *golden_tensor(const golden *g, const char *name, int64_t *rows)
{
    const st_tensor *t = st_find(g->expect, str_from(name));
    if (!t) return NULL;
    *rows = t->shape[0];
    return t->data;
}

static inline void golden_open(golden *g, const char *name)
{
    err e = { 0 };
    char path[256];
    int64_t rows = 0;
    json_error_t je;
    memset(g, 0, sizeof *g);
    snprintf(path, sizeof path, "tests/golden/%s/model", name);
    if (access(path, F_OK) != 0) snprintf(path, sizeof path, "tests/golden/%s/model.gguf", name);
    assert_ok(gemma_open(&g->m, path, &e), &e);
    snprintf(path, sizeof path, "tests/golden/%s/expect.safetensors", name);
    assert_ok(st_open(&g->expect, path, &e), &e);
    snprintf(path, sizeof path, "tests/golden/%s/golden.json", name);
    json_t *j = json_load_file(path, 0, &je);
    assert_non_null(j);
    g->bound = json_number_value(json_object_get(j, "bound"));
    json_decref(j);
    assert_true(g->bound > 0 && g->bound <= 3e-3);
    g->tokens = golden_tensor(g, "tokens", &rows);
    g->T = (int32_t)rows;
    g->logits = golden_tensor(g, "logits", &rows);
    g->V = g->m->config.vocab;
    assert_non_null(g->tokens);
    assert_non_null(g->logits);
    assert_int_equal(rows, g->T);
}

static inline void golden_close(golden *g)
{
    st_close(g->expect);
    gemma_close(g->m);
}

/* Every context of these tests: small, one thread, logits of all rows, the same bits in any company. */
static inline gemma_ctx_opts model_opts(bool exact)
{
    gemma_ctx_opts o;
    gemma_ctx_defaults(&o);
    o.ctx = 640;
    o.row_max = 512;
    o.logit_rows_max = 512;
    o.seq_max = 3;
    o.threads = 1;
    o.exact = exact;
    o.invariant = true;
    return o;
}

static inline gemma_ctx *model_ctx(const gemma *m, const gemma_ctx_opts *o)
{
    err e = { 0 };
    gemma_ctx *x = NULL;
    assert_ok(gemma_ctx_new(&x, m, o, NULL, &e), &e);
    return x;
}

/* Appends n tokens to a sequence, chunk at a time; logits [n, V]. */
static inline void model_run(gemma_ctx *x, int32_t seq, const int32_t *tokens, int32_t n, int32_t chunk, float *logits, int32_t V)
{
    static gemma_row rows[512];
    err e = { 0 };
    int32_t start = gemma_seq_length(x, seq);
    for (int32_t at = 0; at < n; at += chunk) {
        int32_t T = n - at < chunk ? n - at : chunk;
        for (int32_t t = 0; t < T; t++) rows[t] = (gemma_row){ .seq = seq, .pos = start + at + t, .token = tokens[at + t], .want_logits = true };
        assert_ok(gemma_step(x, rows, T, logits + (int64_t)at * V, &e), &e);
    }
}

static inline int32_t model_seq(gemma_ctx *x)
{
    err e = { 0 };
    int32_t seq = -1;
    assert_ok(gemma_seq_new(x, &seq, &e), &e);
    return seq;
}

/* n tokens that look random, the same every time. */
static inline void model_tokens(int32_t *out, int32_t n, int32_t V, uint32_t seed)
{
    for (int32_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        out[i] = (int32_t)((seed >> 8) % (uint32_t)V);
    }
}

/* Largest difference, and where. NaN counts as infinite. */
static inline double model_diff(const float *a, const float *b, int64_t n, int64_t *at)
{
    double most = 0;
    *at = -1;
    for (int64_t i = 0; i < n; i++) {
        double d = (double)a[i] - (double)b[i];
        if (d < 0) d = -d;
        if (d <= most) continue;
        most = d == d ? d : 1e30;
        *at = i;
    }
    return most;
}

/* Largest magnitude, at least 1: bounds are of numbers of that size.  (Not with fmax: gcc 12.2 for aarch64 fails inside on it.) */
static inline double model_scale(const float *a, int64_t n)
{
    double most = 1;
    for (int64_t i = 0; i < n; i++) {
        double d = a[i] < 0 ? -(double)a[i] : (double)a[i];
        if (d > most) most = d;
    }
    return most;
}

#endif
