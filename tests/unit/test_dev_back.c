/* Backward operations of the device against plain sums in f64 and central differences. */
#include <math.h>

#include "base/bits.h"
#include "dev/dev.h"
#include "support/kern_check.h"
#include "support/test.h"

static uint64_t seed = 5;

static float *floats(int64_t n, float scale)
{
    float *p = malloc((size_t)n * sizeof *p);
    for (int64_t i = 0; i < n; i++) p[i] = check_gauss(&seed) * scale;
    return p;
}

typedef struct work { dev *d; void *forward, *back; } work;

static work work_new(int threads, bool exact)
{
    err e = { 0 };
    work w = { 0 };
    dev_work f = { .pack_bytes = 1 << 20, .cols_max = 1024, .rows_max = 1024, .products_max = 4, .rank_max = 16, .nq_max = 16, .d_max = 64, .ctx = 256 };
    dev_back_work b = { .T = 600, .width = 1024, .norm = 1024, .rank = 16, .nq = 16, .d = 64, .vocab = 300 };
    assert_ok(dev_cpu_new(&w.d, &(dev_cpu_opts){ .threads = threads, .exact = exact }, &e), &e);
    w.forward = mem_alloc(w.d->op->work_bytes(w.d, &f), MEM_OTHER);
    w.back = mem_alloc(w.d->op->back_bytes(w.d, &b), MEM_OTHER);
    w.d->op->work_set(w.d, &f, w.forward);
    w.d->op->back_set(w.d, &b, w.back);
    return w;
}

static void work_free(work *w)
{
    dev_free(w->d);
    mem_free(w->forward);
    mem_free(w->back);
}

static void near(const char *what, int64_t i, double got, double want, double bound)
{
    if (!(fabs(got - want) <= bound)) fail_msg("%s[%lld]: %.9g, should be %.9g (error %.2g, bound %.2g)", what, (long long)i, got, want, fabs(got - want), bound);
}

/* Every weight type, several pieces of columns, blocks of rows and of tokens, a scale, added and not. */
static void transposed_products(void **state)
{
    enum { ROWS = 300, COLS = 512, TOKENS = 530, FEW = 37 };        /* more than one block of tokens once, for one type */
    (void)state;
    work one = work_new(1, false), three = work_new(3, false), exact = work_new(2, true);
    float *w = malloc(ROWS * COLS * sizeof *w), *dy = floats(TOKENS * ROWS, 1), *y[3];
    for (int i = 0; i < 3; i++) y[i] = malloc(TOKENS * COLS * sizeof *y[i]);
    for (uint32_t t = 0; t < DTYPE_COUNT; t++) {
        const dtype_info *info = dtype_find(t);
        if (!info || !info->decode || COLS % info->block || (t >= DTYPE_I8 && t <= DTYPE_F64)) continue;
        size_t bytes = dtype_row_bytes((dtype)t, COLS);
        uint8_t *blocks = malloc(bytes * ROWS);
        check_weights((dtype)t, blocks, ROWS * COLS, 0.1f, &seed);
        for (int64_t r = 0; r < ROWS; r++) info->decode(blocks + (size_t)r * bytes, w + r * COLS, COLS);
        bool add = t % 2;
        int64_t T = t == DTYPE_Q5_0 ? TOKENS : FEW;
        const work *each[3] = { &one, &three, &exact };
        for (int i = 0; i < 3; i++) {
            for (int64_t k = 0; k < T * COLS; k++) y[i][k] = 0.5f;
            dev_back p = { .w = { .data = blocks, .type = (dtype)t, .rows = ROWS, .cols = COLS, .row_bytes = bytes, .scale = 1.5f }, .dy = dy, .dy_stride = ROWS,
                           .T = T, .dx = y[i], .dx_stride = COLS, .factor = t % 3 ? 1 : 2, .add = add };
            each[i]->d->op->mul_back(each[i]->d, &p, 1);
        }
        assert_memory_equal(y[0], y[1], (size_t)T * COLS * sizeof **y);
        for (int64_t k = 0; k < T * COLS; k += 977) {
            double sum = add ? 0.5 : 0, size = 0;
            for (int64_t r = 0; r < ROWS; r++) {
                double term = (double)dy[k / COLS * ROWS + r] * (double)w[r * COLS + k % COLS] * (t % 3 ? 1.5 : 3);
                sum += term;
                size += fabs(term);
            }
            near(info->name, k, (double)y[0][k], sum, 2e-6 * size + 1e-6);
            near(info->name, k, (double)y[2][k], sum, 1e-6 * size + 1e-6);
        }
        free(blocks);
    }
    for (int i = 0; i < 3; i++) free(y[i]);
    free(w);
    free(dy);
    work_free(&one);
    work_free(&three);
    work_free(&exact);
}

static void low_rank(void **state)
{
    enum { IN = 37, OUT = 300, RANK = 5, TOKENS = 70 };
    (void)state;
    for (int exact = 0; exact < 2; exact++) {
        work w = work_new(2, exact);
        float *x = floats(TOKENS * IN, 1), *dy = floats(TOKENS * OUT, 1), *a = floats(RANK * IN, 1), *b = floats(OUT * RANK, 1);
        float *da = floats(RANK * IN, 0), *db = floats(OUT * RANK, 0), *dx = floats(TOKENS * IN, 0);
        dev_lora_back p = { .x = x, .dy = dy, .x_stride = IN, .dy_stride = OUT, .T = TOKENS, .in = IN, .out = OUT, .rank = RANK, .a = a, .b = b, .scale = 0.75f, .da = da,
                            .db = db, .dx = dx, .dx_stride = IN };
        w.d->op->lora_back(w.d, &p);
        w.d->op->lora_back(w.d, &p);       /* adds */
        double h[TOKENS][RANK], dh[TOKENS][RANK];
        for (int t = 0; t < TOKENS; t++)
            for (int r = 0; r < RANK; r++) {
                h[t][r] = dh[t][r] = 0;
                for (int i = 0; i < IN; i++) h[t][r] += (double)a[r * IN + i] * (double)x[t * IN + i];
                for (int o = 0; o < OUT; o++) dh[t][r] += 0.75 * (double)dy[t * OUT + o] * (double)b[o * RANK + r];
            }
        for (int r = 0; r < RANK; r++) {
            for (int i = 0; i < IN; i++) {
                double sum = 0;
                for (int t = 0; t < TOKENS; t++) sum += 2 * dh[t][r] * (double)x[t * IN + i];
                near("da", r * IN + i, (double)da[r * IN + i], sum, 2e-3);
            }
            for (int o = 0; o < OUT; o++) {
                double sum = 0;
                for (int t = 0; t < TOKENS; t++) sum += 1.5 * (double)dy[t * OUT + o] * h[t][r];
                near("db", o * RANK + r, (double)db[o * RANK + r], sum, 1e-3);
            }
        }
        for (int i = 0; i < TOKENS * IN; i++) {
            double sum = 0;
            for (int r = 0; r < RANK; r++) sum += 2 * dh[i / IN][r] * (double)a[r * IN + i % IN];
            near("dx", i, (double)dx[i], sum, 1e-3);
        }
        float *all[] = { x, dy, a, b, da, db, dx };
        for (size_t i = 0; i < COUNT_OF(all); i++) free(all[i]);
        work_free(&w);
    }
}

/* ---- attention ---- */

typedef struct attn_case { int32_t nq, heads, d, keys, window; int32_t docs; int32_t every; } attn_case;

/* sum of dout * out, in f64, of one query row and head. */
static double attn_sum(const dev_attn_back *a, int64_t t, int32_t h, const double *q, const double *k, const double *v)
{
    double top = -INFINITY, sum = 0, total = 0;
    int32_t head = h / (a->nq / a->heads);
    for (int pass = 0; pass < 2; pass++)
        for (int32_t j = a->rows[t].first; j <= a->rows[t].last; j++) {
            double s = 0, dot = 0;
            for (int32_t c = 0; c < a->d; c++) {
                s += q[(t * a->nq + h) * a->d + c] * k[(head * a->kv_rows + j) * a->d + c];
                dot += (double)a->dout[(t * a->nq + h) * a->d + c] * v[(head * a->kv_rows + j) * a->d + c];
            }
            if (pass == 0) top = MAX(top, s);
            else {
                sum += exp(s - top);
                total += exp(s - top) * dot;
            }
        }
    return total / sum;
}

/* What a number of one query, or of one key or value, has a part in: the rest of the sum does not change with it. */
static double attn_part(const dev_attn_back *a, int64_t at, bool query, const double *q, const double *k, const double *v)
{
    double sum = 0;
    int64_t row = at / a->d;
    if (query) return attn_sum(a, row / a->nq, (int32_t)(row % a->nq), q, k, v);
    int32_t heads = a->nq / a->heads, head = (int32_t)(row / a->kv_rows);
    for (int64_t t = 0; t < a->T; t++)
        for (int32_t h = head * heads; h < (head + 1) * heads; h++)
            if (a->rows[t].first <= row % a->kv_rows && row % a->kv_rows <= a->rows[t].last) sum += attn_sum(a, t, h, q, k, v);
    return sum;
}

static double *doubles(const float *x, int64_t n)
{
    double *y = malloc((size_t)n * sizeof *y);
    for (int64_t i = 0; i < n; i++) y[i] = (double)x[i];
    return y;
}

/* Numbers of x, each moved a little both ways. */
static void attn_differences(const char *what, const dev_attn_back *a, double *x, const double *q, const double *k, const double *v, int64_t n, int64_t step,
                             const float *got, int64_t kv_heads)
{
    for (int64_t i = 0; i < n; i += step) {
        int64_t at = i;
        if (kv_heads) {                  /* [head][row][d] against [row][head][d] */
            int64_t c = i % a->d, row = i / a->d % a->kv_rows, head = i / a->d / a->kv_rows;
            if (row >= a->keys) continue;
            at = (row * kv_heads + head) * a->d + c;
        }
        double old = x[i], h = 1e-5, to, from;
        x[i] = old + h;
        to = attn_part(a, i, !kv_heads, q, k, v);
        x[i] = old - h;
        from = attn_part(a, i, !kv_heads, q, k, v);
        x[i] = old;
        near(what, at, (double)got[at], (to - from) / (2 * h), 2e-4);
    }
}

static void attention_case(const attn_case *c, int threads, bool exact)
{
    work w = work_new(threads, exact);
    int32_t kv_rows = c->keys + 7, T = 0;
    dev_key_range *rows = malloc((size_t)c->keys * sizeof *rows);
    for (int32_t t = 0; t < c->keys; t++) {
        int32_t doc = t * c->docs / c->keys, start = (doc * c->keys + c->docs - 1) / c->docs;
        if (t % c->every) continue;
        rows[T++] = (dev_key_range){ MAX(start, t - c->window + 1), t };
    }
    int64_t nq = (int64_t)T * c->nq * c->d, nk = (int64_t)c->heads * kv_rows * c->d, ndk = (int64_t)c->keys * c->heads * c->d;
    float *q = floats(nq, 0.6f), *k = floats(nk, 0.6f), *v = floats(nk, 1), *dout = floats(nq, 1), *out = floats(nq, 0), *dq = floats(nq, 1), *dk = floats(ndk, 0),
          *dv = floats(ndk, 0);
    dev_attn_back a = { .k = k, .v = v, .kv_rows = kv_rows, .keys = c->keys, .heads = c->heads, .d = c->d, .nq = c->nq, .rows = rows, .T = T, .q = q, .out = out,
                        .dout = dout, .dq = dq, .dk = dk, .dv = dv };
    double *Q = doubles(q, nq), *K = doubles(k, nk), *V = doubles(v, nk);
    for (int64_t t = 0; t < T; t++)
        for (int32_t h = 0; h < c->nq; h++) {
            /* out . dout is all that the gradient reads of out: put it into one place */
            double sum = attn_sum(&a, t, h, Q, K, V);
            out[(t * c->nq + h) * c->d] = (float)(sum / (double)dout[(t * c->nq + h) * c->d]);
        }
    w.d->op->attention_back(w.d, &a);
    attn_differences("dq", &a, Q, Q, K, V, nq, 41, dq, 0);
    attn_differences("dk", &a, K, Q, K, V, nk, 131, dk, c->heads);
    attn_differences("dv", &a, V, Q, K, V, nk, 137, dv, c->heads);
    float *all[] = { q, k, v, dout, out, dq, dk, dv };
    for (size_t i = 0; i < COUNT_OF(all); i++) free(all[i]);
    free(rows);
    free(Q);
    free(K);
    free(V);
    work_free(&w);
}

static void attention(void **state)
{
    static const attn_case cases[] = {
        { .nq = 2, .heads = 1, .d = 6, .keys = 40, .window = 100, .docs = 1, .every = 1 },
        { .nq = 6, .heads = 2, .d = 10, .keys = 70, .window = 9, .docs = 2, .every = 1 },
        { .nq = 8, .heads = 1, .d = 16, .keys = 130, .window = 70, .docs = 3, .every = 3 },
        { .nq = 4, .heads = 4, .d = 8, .keys = 66, .window = 1000, .docs = 2, .every = 2 },
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (int exact = 0; exact < 2; exact++) attention_case(&cases[i], 1 + (int)i % 3, exact);
}

/* ---- routing, the loss ---- */

static double routed(const double *logits, const int32_t *ids, const float *scale, const float *dw, int k)
{
    double sum = 0, total = 0;
    for (int i = 0; i < k; i++) sum += exp(logits[ids[i]]);
    for (int i = 0; i < k; i++) total += exp(logits[ids[i]]) / sum * (double)scale[ids[i]] * (double)dw[i];
    return total;
}

static void routing(void **state)
{
    enum { E = 9, K = 3 };
    (void)state;
    work w = work_new(1, false);
    float *logits = floats(E, 1), *scale = floats(E, 1), *dw = floats(K, 1), *got = floats(E, 1);
    const int32_t ids[K] = { 1, 4, 7 };
    double *z = doubles(logits, E);
    w.d->op->route_back(w.d, logits, ids, scale, dw, 1, E, K, got);
    for (int i = 0; i < E; i++) {
        double old = z[i], h = 1e-5;
        z[i] = old + h;
        double to = routed(z, ids, scale, dw, K);
        z[i] = old - h;
        double from = routed(z, ids, scale, dw, K);
        z[i] = old;
        near("dlogits", i, (double)got[i], (to - from) / (2 * h), 1e-6);
    }
    free(logits);
    free(scale);
    free(dw);
    free(got);
    free(z);
    work_free(&w);
}

static double capped_loss(const double *raw, int n, double cap, int label)
{
    double sum = 0, top = -INFINITY;
    for (int i = 0; i < n; i++) top = MAX(top, cap * tanh(raw[i] / cap));
    for (int i = 0; i < n; i++) sum += exp(cap * tanh(raw[i] / cap) - top);
    return log(sum) + top - cap * tanh(raw[label] / cap);
}

static void the_loss(void **state)
{
    enum { V = 37, T = 3 };
    (void)state;
    work w = work_new(2, false);
    float *raw = floats(T * V, 12), *z = malloc(T * V * sizeof *z);
    const int32_t labels[T] = { 3, 36, 0 };
    const float factors[T] = { 0.25f, -2, 0.25f };
    dev_loss got[T];
    double *r = doubles(raw, T * V);
    for (int i = 0; i < T * V; i++) z[i] = 30 * tanhf(raw[i] / 30);
    for (int i = 0; i < V; i++) z[2 * V + i] = i ? -1 : 9;          /* the label of the last row is the likeliest */
    for (int i = 0; i < V; i++) r[2 * V + i] = 30 * atanh((double)z[2 * V + i] / 30);
    w.d->op->loss(w.d, z, labels, T, V, 30, NULL, got);          /* leaves the logits */
    w.d->op->loss(w.d, z, labels, T, V, 30, factors, got);
    assert_true(got[2].right && !got[0].right);
    for (int t = 0; t < T; t++) {
        near("loss", t, got[t].loss, capped_loss(r + t * V, V, 30, labels[t]), 1e-5);
        double entropy = 0;
        for (int i = 0; i < V; i++) {
            double l = capped_loss(r + t * V, V, 30, i);
            entropy += exp(-l) * l;
        }
        near("entropy", t, got[t].entropy, entropy, 1e-5);
        for (int i = 0; i < V; i++) {
            double *x = &r[t * V + i], old = *x, h = 1e-5;
            *x = old + h;
            double to = capped_loss(r + t * V, V, 30, labels[t]);
            *x = old - h;
            double from = capped_loss(r + t * V, V, 30, labels[t]);
            *x = old;
            near("dz", t * V + i, (double)z[t * V + i], (double)factors[t] * (to - from) / (2 * h), 1e-6);
        }
    }
    free(raw);
    free(z);
    free(r);
    work_free(&w);
}

/* The gradient of a rotation after a norm, against the forward operation in differences. */
static void norm_and_rope(void **state)
{
    enum { N = 12, PAIRS = 4, COUNT = 2, T = 3 };
    (void)state;
    work w = work_new(1, true);
    float *x = floats(T * COUNT * N, 1), *weight = floats(N, 1), *dy = floats(T * COUNT * N, 1), *dx = floats(T * COUNT * N, 0), *y = malloc(T * COUNT * N * sizeof *y);
    float cs[T * PAIRS * 2];
    for (int i = 0; i < T * PAIRS; i++) {
        cs[2 * i] = cosf((float)i);
        cs[2 * i + 1] = sinf((float)i);
    }
    w.d->op->norm_rope_back(w.d, x, T, COUNT, N, weight, 1e-6f, cs, PAIRS, dy, true, dx);
    for (int i = 0; i < T * COUNT * N; i++) {
        double sum[2] = { 0 };
        for (int side = 0; side < 2; side++) {
            memcpy(y, x, T * COUNT * N * sizeof *y);
            y[i] += side ? 1e-2f : -1e-2f;
            w.d->op->norm_rope(w.d, y, T, COUNT, N, weight, 1e-6f, cs, PAIRS);
            for (int k = 0; k < T * COUNT * N; k++) sum[side] += (double)y[k] * (double)dy[k];
        }
        near("dx", i, (double)dx[i], (sum[1] - sum[0]) / 2e-2, 2e-3);
    }
    free(x);
    free(weight);
    free(dy);
    free(dx);
    free(y);
    work_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transposed_products), cmocka_unit_test(low_rank), cmocka_unit_test(attention), cmocka_unit_test(routing), cmocka_unit_test(the_loss),
        cmocka_unit_test(norm_and_rope),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
