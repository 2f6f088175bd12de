/* The CPU device's attention over long caches, against f64; and its bits: a row alone on one thread, in a prompt, among
 * other sequences and split over threads must all give the same.  --bench times one layer at lengths. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "dev/dev.h"
#include "num/half.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "support/kern_check.h"

enum { CTX = 9216, SEQS = 3 };

typedef struct layer {            /* what a case looks like */
    dtype type;
    int32_t nq, heads, d, pairs;  /* pairs > 0: K = V, keys are rebuilt */
    int32_t window;               /* 0: full */
} layer;

typedef struct store {            /* SEQS sequences of one layer, in pages that lie in no order */
    dev_kv kv;
    size_t bytes;
    int32_t table[SEQS][CTX / DEV_BLOCK];
    dev_span spans[SEQS];
    float *norm, *rope;
} store;

typedef struct device { dev *d; void *memory; } device;

static uint64_t seed = 11;

static void *need(size_t n)
{
    void *p = aligned_alloc(64, align_up(n, 64));
    if (!p) abort();
    return p;
}

static device device_new(int threads, uint32_t isa, bool exact)
{
    device x = { 0 };
    err e = { 0 };
    dev_work w = { .products_max = 1, .cols_max = 512, .rows_max = 512, .rank_max = 1, .nq_max = 16, .d_max = 512, .ctx = CTX };
    if (dev_cpu_new(&x.d, &(dev_cpu_opts){ .threads = threads, .isa = isa, .exact = exact }, &e) != OK) {
        fprintf(stderr, "%s: %s\n", e.what, e.why);
        exit(1);
    }
    x.memory = need(x.d->op->work_bytes(x.d, &w));
    x.d->op->work_set(x.d, &w, x.memory);
    return x;
}

static void device_free(device *x)
{
    dev_free(x->d);
    free(x->memory);
}

/* Random keys and values of `length` tokens in every sequence, written through the device. */
static void store_fill(store *s, const layer *l, const device *x, int32_t length)
{
    int64_t pages = SEQS * (CTX / DEV_BLOCK), width = (int64_t)l->heads * l->d;
    memset(s, 0, sizeof *s);
    s->kv = (dev_kv){ .type = l->type, .heads = l->heads, .d = l->d, .row_bytes = dtype_row_bytes(l->type, l->d), .pairs = l->pairs };
    s->kv.head_bytes = DEV_BLOCK * s->kv.row_bytes;
    s->kv.block_bytes = (size_t)l->heads * s->kv.head_bytes;
    s->bytes = (size_t)pages * s->kv.block_bytes;
    s->kv.v = need(s->bytes);
    memset(s->kv.v, 0xff, s->bytes);                      /* NaN, where nothing has been written */
    if (l->pairs) {
        s->norm = need((size_t)l->d * 4);
        s->rope = need((size_t)CTX * (size_t)l->pairs * 8);
        for (int32_t c = 0; c < l->d; c++) s->norm[c] = 1 + 0.3f * check_uniform(&seed);
        for (int32_t p = 0; p < CTX; p++)
            for (int32_t i = 0; i < l->pairs; i++) {
                double angle = p * pow(1e-4, (double)i / l->pairs);
                s->rope[((int64_t)p * l->pairs + i) * 2] = (float)cos(angle);
                s->rope[((int64_t)p * l->pairs + i) * 2 + 1] = (float)sin(angle);
            }
        s->kv.k_norm = s->norm;
        s->kv.key_rope = s->rope;
    } else {
        s->kv.k = need(s->bytes);
        memset(s->kv.k, 0xff, s->bytes);
    }
    for (int32_t q = 0; q < SEQS; q++) {
        for (int32_t b = 0; b < CTX / DEV_BLOCK; b++) s->table[q][b] = (int32_t)(((int64_t)(q * (CTX / DEV_BLOCK) + b) * 101 + 7) % pages);
        s->spans[q].table = s->table[q];
    }
    float *k = need((size_t)width * 4), *v = need((size_t)width * 4);
    for (int32_t q = 0; q < SEQS; q++)
        for (int32_t p = 0; p < length; p++) {
            dev_attn_row r = { .span = q, .pos = p };
            for (int64_t c = 0; c < width; c++) {
                k[c] = check_gauss(&seed);
                v[c] = check_gauss(&seed);
            }
            x->d->op->kv_write(x->d, &s->kv, s->spans, &r, 1, k, v);
        }
    free(k);
    free(v);
}

static void store_free(store *s)
{
    free(s->kv.k);
    free(s->kv.v);
    free(s->norm);
    free(s->rope);
}

static void stored_row(const store *s, const uint8_t *base, int32_t seq, int32_t head, int32_t pos, float *out)
{
    const uint8_t *at = base + (size_t)s->table[seq][pos / DEV_BLOCK] * s->kv.block_bytes + (size_t)head * s->kv.head_bytes +
                        (size_t)(pos % DEV_BLOCK) * s->kv.row_bytes;
    dtype_of(s->kv.type)->decode(at, out, s->kv.d);
}

static void key_of(const store *s, int32_t seq, int32_t head, int32_t pos, double *key)
{
    const dev_kv *kv = &s->kv;
    float row[512];
    stored_row(s, kv->k ? kv->k : kv->v, seq, head, pos, row);
    for (int32_t c = 0; c < kv->d; c++) key[c] = (double)row[c] * (kv->k ? 1.0 : (double)kv->k_norm[c]);
    for (int32_t i = 0; !kv->k && i < kv->pairs; i++) {
        const float *cs = kv->key_rope + ((int64_t)pos * kv->pairs + i) * 2;
        double a = key[i], b = key[i + kv->d / 2];
        key[i] = a * (double)cs[0] - b * (double)cs[1];
        key[i + kv->d / 2] = b * (double)cs[0] + a * (double)cs[1];
    }
}

/* One query head against f64.  A score may be off by 2^-19 of the sum of its terms' magnitudes, which moves each weight by
 * that share, twice (the weight and their sum); sums of weights and values cost another 2^-18. */
static void check_row(const char *what, const store *s, const dev_attn_row *r, int32_t head, const float *q, const float *out)
{
    int32_t n = r->last - r->first + 1, d = s->kv.d;
    double *score = malloc(sizeof *score * (size_t)n), key[512], want[512] = { 0 }, size[512] = { 0 };
    double top = -1e300, slack = 0, sum = 0;
    float v[512];
    for (int32_t i = 0; i < n; i++) {
        double magnitude = 0;
        key_of(s, r->span, head, r->first + i, key);
        score[i] = 0;
        for (int32_t c = 0; c < d; c++) {
            score[i] += (double)q[c] * key[c];
            magnitude += fabs((double)q[c] * key[c]);
        }
        top = MAX(top, score[i]);
        slack = MAX(slack, magnitude);
    }
    for (int32_t i = 0; i < n; i++) {
        double p = exp(score[i] - top);
        stored_row(s, s->kv.v, r->span, head, r->first + i, v);
        sum += p;
        for (int32_t c = 0; c < d; c++) {
            want[c] += p * (double)v[c];
            size[c] += p * fabs((double)v[c]);
        }
    }
    for (int32_t c = 0; c < d; c++) {
        check_count++;
        if (!(fabs((double)out[c] - want[c] / sum) <= (2 * slack * 0x1p-19 + 0x1p-18) * size[c] / sum))
            check_fail("%s: position %d, head %d, element %d is %g, not %g", what, r->pos, head, c, (double)out[c], want[c] / sum);
    }
    free(score);
}

static void run(const device *x, const layer *l, const store *s, const dev_attn_row *rows, int64_t T, const float *q, float *out)
{
    dev_attn a = { .kv = &s->kv, .spans = s->spans, .rows = rows, .T = T, .nq = l->nq, .q = q, .out = out };
    x->d->op->attention(x->d, &a);
}

/* Rows of a prompt at several places, then single rows of three sequences, long and short. */
static int64_t make_rows(const layer *l, int32_t length, dev_attn_row *rows)
{
    int64_t T = 0;
    for (int32_t from = 0; from < length; from += length / 2 - 20)
        for (int32_t p = from; p < MIN(from + 19, length); p++) rows[T++] = (dev_attn_row){ .span = 1, .pos = p };
    static const int32_t parts[] = { 1, 3, 64, 7 };
    for (int i = 0; i < 6; i++) rows[T++] = (dev_attn_row){ .span = i % SEQS, .pos = length - 1 - length * (i % 4) / parts[i % 4] % length };
    for (int64_t t = 0; t < T; t++) {
        rows[t].first = l->window ? MAX(0, rows[t].pos - l->window + 1) : 0;
        rows[t].last = rows[t].pos;
    }
    return T;
}

static void check_layer(const layer *l, uint32_t isa, bool exact, int32_t length)
{
    enum { MOST = 80 };
    static const int threads[] = { 1, 2, 3, 5 };
    device alone = device_new(1, isa, exact);
    store s;
    dev_attn_row rows[MOST];
    char what[96], names[32];
    int64_t T = make_rows(l, length, rows), width = (int64_t)l->nq * l->d;
    float *q = need((size_t)(T * width) * 4), *want = need((size_t)(T * width) * 4), *got = need((size_t)(T * width) * 4);
    cpu_isa_names(isa, names, sizeof names);
    snprintf(what, sizeof what, "%s%s %s, %d of %d heads of %d, %s, %s", exact ? "exact " : "", names, dtype_of(l->type)->name, l->nq, l->heads, l->d,
             l->pairs ? "K = V" : "K and V", l->window ? "window" : "full");
    store_fill(&s, l, &alone, length);
    for (int64_t i = 0; i < T * width; i++) q[i] = 0.3f * check_gauss(&seed);
    for (int64_t t = 0; t < T; t++) run(&alone, l, &s, rows + t, 1, q + t * width, want + t * width);
    for (int64_t t = 0; t < T; t += 1 + t % 5)
        for (int32_t h = 0; h < l->nq; h += MAX(l->nq - 1, 1))
            check_row(what, &s, rows + t, h / (l->nq / l->heads), q + t * width + (int64_t)h * l->d, want + t * width + (int64_t)h * l->d);
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        device x = device_new(threads[i], isa, exact);
        static const int64_t steps[] = { 1, 5, 1000 };
        for (size_t k = 0; k < COUNT_OF(steps); k++) {
            memset(got, 0xff, (size_t)(T * width) * 4);
            for (int64_t t = 0; t < T; t += steps[k]) run(&x, l, &s, rows + t, MIN(steps[k], T - t), q + t * width, got + t * width);
            check_count++;
            if (memcmp(got, want, (size_t)(T * width) * 4)) check_fail("%s: %d threads, %d rows at once: other bits than alone", what, threads[i], (int)steps[k]);
        }
        device_free(&x);
    }
    /* What no row of a call sees may hold anything: NaN must not leak out of it. */
    if (l->window && l->type == DTYPE_F32) {
        dev_attn_row r = { .span = 0, .pos = length - 1, .first = MAX(0, length - l->window), .last = length - 1 };
        run(&alone, l, &s, &r, 1, q, want);
        for (int32_t p = 0; p < r.first; p++)
            for (int32_t h = 0; h < l->heads; h++) {
                size_t at = (size_t)s.table[0][p / DEV_BLOCK] * s.kv.block_bytes + (size_t)h * s.kv.head_bytes + (size_t)(p % DEV_BLOCK) * s.kv.row_bytes;
                memset(s.kv.v + at, 0xff, s.kv.row_bytes);
                memset(s.kv.k + at, 0xff, s.kv.row_bytes);
            }
        run(&alone, l, &s, &r, 1, q, got);
        check_count++;
        if (memcmp(got, want, (size_t)width * 4)) check_fail("%s: keys outside of the window were used", what);
    }
    store_free(&s);
    device_free(&alone);
    free(q);
    free(want);
    free(got);
}

/* One full layer of E2B (8 query heads, one key head) and of 26B (16, 2, K = V), and a window of 512. */
static void bench(int threads)
{
    static const layer layers[] = { { DTYPE_F16, 8, 1, 512, 0, 0 }, { DTYPE_F16, 8, 1, 256, 0, 512 }, { DTYPE_Q8_0, 8, 1, 512, 0, 0 },
                                    { DTYPE_F16, 16, 2, 512, 64, 0 }, { DTYPE_Q8_0, 16, 2, 512, 64, 0 } };
    enum { ROWS = 64, DEEP = 8192 };
    device x = device_new(threads, 0, false);
    for (size_t i = 0; i < COUNT_OF(layers); i++) {
        const layer *l = &layers[i];
        store s;
        int64_t width = (int64_t)l->nq * l->d;
        dev_attn_row rows[ROWS];
        float *q = need((size_t)(ROWS * width) * 4), *out = need((size_t)(ROWS * width) * 4);
        store_fill(&s, l, &x, DEEP);
        for (int64_t k = 0; k < ROWS * width; k++) q[k] = 0.1f * check_gauss(&seed);
        for (int64_t T = 1; T <= ROWS; T *= ROWS) {
            double best = 1e9, keys = 0;
            for (int64_t t = 0; t < T; t++) {
                int32_t pos = (int32_t)(DEEP - T + t);
                rows[t] = (dev_attn_row){ .span = 0, .pos = pos, .first = l->window ? pos - l->window + 1 : 0, .last = pos };
                keys += pos - rows[t].first + 1;
            }
            for (int rep = 0; rep < 12; rep++) {
                double t0 = clock_seconds();
                run(&x, l, &s, rows, T, q, out);
                best = MIN(best, clock_seconds() - t0);
            }
            printf("%d threads  %-5s %2d/%d heads of %d %-7s %-6s %2d rows at %d  %9.1f us  %6.1f GFLOPS\n", threads, dtype_of(l->type)->name, l->nq, l->heads, l->d,
                   l->pairs ? "K = V" : "K and V", l->window ? "window" : "full", (int)T, DEEP, best * 1e6, 4 * keys * (double)width / best * 1e-9);
        }
        store_free(&s);
        free(q);
        free(out);
    }
    device_free(&x);
}

int main(int argc, char **argv)
{
    static const layer layers[] = {
        { DTYPE_F16, 8, 1, 64, 0, 0 },  { DTYPE_F32, 4, 2, 64, 0, 500 }, { DTYPE_Q8_0, 16, 2, 64, 0, 512 }, { DTYPE_BF16, 6, 3, 40, 0, 0 },
        { DTYPE_F16, 8, 1, 128, 16, 0 }, { DTYPE_Q8_0, 16, 2, 64, 8, 0 }, { DTYPE_F32, 3, 3, 24, 5, 0 },   { DTYPE_Q8_0, 8, 1, 96, 32, 0 },
    };
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        bench(1);
        bench(cpu_cores());
        return 0;
    }
    check_family families[8];
    int n = check_families(families);
    for (size_t i = 0; i < COUNT_OF(layers); i++)
        for (int f = 0; f < n; f++) check_layer(&layers[i], families[f].k.isa, false, f == 0 ? 300 : i == 0 && f == n - 1 ? CTX : 1100);
    for (size_t i = 3; i < 7; i++) check_layer(&layers[i], CPU_REF, true, 300);
    return check_end("check_attention");
}
