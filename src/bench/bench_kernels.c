#include "bench/bench_kernels.h"

#include <stdio.h>
#include <time.h>

#include "base/bits.h"
#include "base/mem.h"
#include "bench/bench_fill.h"
#include "kern/kern.h"
#include "os/cpu.h"

enum { SAMPLES = 512, FEWEST = 3, FEW = 16 /* tokens of a step that serves, not of a prompt */, COLD = 200000000 /* bytes of weights that no cache holds */ };

typedef struct bench_run {
    const bench_kernels_opts *o;
    const char *family;
    kern k;
    const bench_limits *limits;
    uint64_t seed;
    int rows;                    /* printed so far */
} bench_run;

static double thread_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef void (*call_fn)(void *ctx);

/* Seconds of one of the `calls` calls that fn makes. */
static bench_stats time_calls(const bench_run *r, double calls, call_fn fn, void *ctx)
{
    double s[SAMPLES], start = thread_seconds(), limit = r->o->seconds > 0 ? r->o->seconds : 0.3;
    size_t n = 0;
    fn(ctx);
    while (n < SAMPLES && (n < FEWEST || thread_seconds() - start < limit)) {
        double t = thread_seconds();
        fn(ctx);
        s[n++] = (thread_seconds() - t) / calls;
    }
    return bench_stats_of(s, n);
}

static void report(bench_run *r, bench_kernel k)
{
    k.family = r->family;
    r->rows++;
    r->o->row(r->o->user, &k);
}

/* ---- products ---- */

typedef struct product {
    const kern *k;
    dtype type;
    bool exact, many;
    kern_mul_fn mul;
    int64_t rows, cols, T;
    size_t row_bytes, bytes, copies, x_bytes;
    uint8_t *w, *x;
    float *y, *xf;
    void *scratch;
} product;

static void run_product(void *ctx)
{
    const product *p = ctx;
    for (size_t c = 0; c < p->copies; c++) {
        const uint8_t *w = p->w + c * p->bytes;
        if (p->exact) p->k->mul_exact(p->type, w, p->row_bytes, p->rows, p->cols, p->xf, p->cols, p->T, p->y, p->rows, p->scratch);
        else p->mul(w, p->row_bytes, p->rows, p->cols, p->x, p->x_bytes, p->T, p->y, p->rows, c + 1 < p->copies ? w + p->bytes : NULL, p->scratch);
    }
}

static void product_done(product *p)
{
    mem_free(p->w);
    mem_free(p->x);
    mem_free(p->y);
    mem_free(p->xf);
    mem_free(p->scratch);
}

static void pack_many(const product *p, int parts)
{
    for (int64_t t = 0; t < p->T; t += KERN_MANY_GROUP) {
        const float *x[KERN_MANY_GROUP] = {NULL};
        for (int64_t i = t; i < MIN(t + KERN_MANY_GROUP, p->T); i++) x[i - t] = p->xf + i * p->cols;
        p->k->pack_many(x, p->cols, parts, p->x + kern_many_slice(t, parts), p->x_bytes);
    }
}

/* Few tokens read weights from memory: as many copies in turn as no cache holds. */
static status product_init(product *p, bench_run *r, err *e)
{
    status st = OK;
    const kern *k = p->k;
    kern_act act = k->fast[p->type].act;
    p->row_bytes = dtype_row_bytes(p->type, p->cols);
    p->bytes = p->row_bytes * (size_t)p->rows;
    p->copies = p->T <= FEW && !p->exact ? COLD / p->bytes + 1 : 1;
    int parts = k->fast[p->type].many_parts;
    p->many = !p->exact && kern_takes_many(&k->fast[p->type], p->cols, p->T);
    p->mul = p->many ? k->fast[p->type].many : kern_mul_for(&k->fast[p->type], p->T);
    p->x_bytes = p->many ? kern_many_slice(p->T, parts) : k->act_bytes(act, p->cols);
    p->w = mem_alloc(p->bytes * p->copies, MEM_OTHER);
    p->x = mem_alloc(p->many ? kern_many_bytes(p->T, p->cols, parts) : p->x_bytes * (size_t)p->T, MEM_OTHER);
    p->y = mem_array((size_t)(p->rows * p->T), sizeof *p->y, MEM_OTHER);
    p->xf = mem_array((size_t)(p->cols * p->T), sizeof *p->xf, MEM_OTHER);
    p->scratch = mem_alloc(k->scratch_bytes(p->cols), MEM_OTHER);
    if (!p->w || !p->x || !p->y || !p->xf || !p->scratch) FAIL(e, E_NOMEM, "could not time a product\nout of memory");
    bench_fill_weights(p->type, p->w, p->rows * p->cols, 0.01f, &r->seed);
    for (size_t c = 1; c < p->copies; c++) memcpy(p->w + c * p->bytes, p->w, p->bytes);
    for (int64_t i = 0; i < p->cols * p->T; i++) p->xf[i] = bench_fill_gauss(&r->seed);
    if (p->many) pack_many(p, parts);
    else for (int64_t t = 0; t < p->T; t++) k->pack[act](p->xf + t * p->cols, p->cols, p->x + (size_t)t * p->x_bytes);
out:
    return st;
}

static status time_product(bench_run *r, dtype type, bool exact, int64_t rows, int64_t cols, int64_t T, err *e)
{
    status st = OK;
    product p = { .k = &r->k, .type = type, .exact = exact, .rows = rows, .cols = cols, .T = T };
    char what[64];
    TRY(product_init(&p, r, e));
    bench_stats s = time_calls(r, (double)p.copies, run_product, &p);
    snprintf(what, sizeof what, "%s%s %lldx%lld", exact ? "exact " : "", dtype_of(type)->name, (long long)rows, (long long)cols);
    bench_kernel k = { .what = what, .tokens = (int32_t)T, .seconds = s, .gops = 2e-9 * (double)rows * (double)cols * (double)T / s.median };
    bool int8 = r->k.fast[type].act == KERN_ACT_Q8 && !exact && !p.many;
    double peak = p.many ? r->limits->bf16.rate : int8 ? r->limits->int8.rate : r->limits->f32.rate;
    if (p.copies > 1) {
        k.gb_s = (double)p.bytes / s.median * 1e-9;
        k.share = k.gb_s * 1e9 / r->limits->read.rate;
        k.limit = "memory";
    }
    if (k.gops * 1e9 / peak > k.share) {             /* the limit that is met first */
        k.share = k.gops * 1e9 / peak;
        k.limit = p.many ? "bf16" : int8 ? "int8" : "f32";
    }
    report(r, k);
out:
    product_done(&p);
    return st;
}

/* E2B's feed-forward, by tokens: one from memory, a few as in serving, a chunk of a prompt; and its way back. */
static status time_products(bench_run *r, const kern *ref, err *e)
{
    static const int64_t tokens[] = { 1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 512 };
    status st = OK;
    bool exact = r->k.isa == CPU_REF;
    for (int t = 0; t < DTYPE_COUNT; t++) {
        bool named = r->o->type == (dtype)t;
        if (!r->k.fast[t].mul || (r->o->type != DTYPE_COUNT && !named)) continue;
        if (!exact && !named && r->k.fast[t].mul == ref->fast[t].mul) continue;      /* no kernel of its own */
        for (size_t i = 0; i < COUNT_OF(tokens); i++) TRY(time_product(r, (dtype)t, exact, 6144, 1536, exact ? MIN(tokens[i], 64) : tokens[i], e));
        if (!exact) TRY(time_product(r, (dtype)t, false, 1536, 6144, 512, e));
    }
out:
    return st;
}

/* ---- vectors ---- */

enum { N = 12288, D = 256, KEYS = 64, QUERIES = 8, REPEAT = 64 };

typedef struct vectors {
    const kern *k;
    float x[N], u[N], y[N], q[QUERIES * D], s[QUERIES * KEYS], o[QUERIES * D];
    uint8_t packed[N * sizeof(float)], kv[KEYS * D * sizeof(float)];
    dtype type;
    size_t row;
} vectors;

static void run_norm(void *c) { vectors *v = c; v->k->rms_norm(v->x, v->u, 1e-6f, N, v->y); }
static void run_gelu(void *c) { vectors *v = c; v->k->gelu_mul(v->x, v->u, N, v->y); }
static void run_softcap(void *c) { vectors *v = c; v->k->softcap(30, N, v->y); }
static void run_softmax(void *c) { vectors *v = c; v->k->softmax(v->y, N); }
static void run_pack(void *c) { vectors *v = c; v->k->pack[KERN_ACT_Q8](v->x, N, v->packed); }
static void run_store(void *c) { vectors *v = c; v->k->kv_store(DTYPE_F16, v->x, N, v->packed); }
static void run_scores(void *c)
{
    vectors *v = c;
    for (int i = 0; i < REPEAT; i++) v->k->attn_scores(v->type, v->q, D, QUERIES, D, v->kv, v->row, NULL, KEYS, v->s, KEYS);
}
static void run_mix(void *c)
{
    vectors *v = c;
    for (int i = 0; i < REPEAT; i++) v->k->attn_mix(v->type, v->s, KEYS, QUERIES, D, v->kv, v->row, NULL, KEYS, v->o, D);
}

static void time_attention(bench_run *r, vectors *v, dtype type)
{
    static const struct { const char *name; call_fn fn; } parts[] = { { "scores", run_scores }, { "mix", run_mix } };
    char what[64];
    v->type = type;
    v->row = dtype_row_bytes(type, D);
    for (int i = 0; i < KEYS; i++) v->k->kv_store(type, v->x + i * D % N, D, v->kv + (size_t)i * v->row);
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        for (int j = 0; j < QUERIES * KEYS; j++) v->s[j] = 1.0f / KEYS;      /* the mix adds into o: weights that keep it small */
        memset(v->o, 0, sizeof v->o);
        bench_stats s = time_calls(r, REPEAT, parts[i].fn, v);
        double gops = 2e-9 * QUERIES * KEYS * D / s.median;
        snprintf(what, sizeof what, "%s %s, %d queries, %d keys of %d", parts[i].name, dtype_of(type)->name, QUERIES, KEYS, D);
        report(r, (bench_kernel){ .what = what, .seconds = s, .gops = gops, .share = gops * 1e9 / r->limits->f32.rate, .limit = "f32" });
    }
}

static status time_vectors(bench_run *r, err *e)
{
    static const struct { const char *name; call_fn fn; } all[] = {
        { "rms_norm 12288", run_norm }, { "gelu_mul 12288", run_gelu }, { "softcap 12288", run_softcap },
        { "softmax 12288", run_softmax }, { "pack q8 12288", run_pack }, { "kv_store f16 12288", run_store } };
    static const dtype types[] = { DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_Q8_0 };
    vectors *v = mem_alloc(sizeof *v, MEM_OTHER);
    if (!v) return err_set(e, E_NOMEM, "could not time vector functions\nout of memory");
    v->k = &r->k;
    for (int i = 0; i < N; i++) v->x[i] = v->y[i] = bench_fill_gauss(&r->seed), v->u[i] = bench_fill_gauss(&r->seed);
    for (int i = 0; i < QUERIES * D; i++) v->q[i] = bench_fill_gauss(&r->seed);
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        bench_stats s = time_calls(r, 1, all[i].fn, v);
        report(r, (bench_kernel){ .what = all[i].name, .seconds = s, .gops = N / s.median * 1e-9, .elements = true });
    }
    for (size_t i = 0; i < COUNT_OF(types); i++) time_attention(r, v, types[i]);
    mem_free(v);
    return OK;
}

/* ---- families ---- */

static const struct { const char *name; uint32_t bit, mask; } families[] = {
    { "ref", CPU_REF, CPU_REF },
    { "avx2", CPU_AVX2, CPU_REF | CPU_AVX2 },
    { "avx512", CPU_AVX512, CPU_REF | CPU_AVX2 | CPU_AVX512 },
    { "amx", CPU_AMX, CPU_REF | CPU_AVX2 | CPU_AVX512 | CPU_AMX },
    { "neon", CPU_NEON, CPU_REF | CPU_NEON },
    { "i8mm", CPU_I8MM, CPU_REF | CPU_NEON | CPU_I8MM },
};

static status time_family(const bench_kernels_opts *o, size_t i, int *rows, err *e)
{
    status st = OK;
    kern ref;
    bench_machine m;
    bench_run r = { .o = o, .family = families[i].name, .seed = 1 };
    bench_machine_opts mo = { .threads = 1, .isa = families[i].mask, .seconds = o->seconds > 0 ? MIN(o->seconds, 0.4) : 0.4 };
    TRY(bench_machine_measure(&m, &mo, e));
    r.limits = bench_machine_full(&m);
    kern_init(&r.k, families[i].mask);
    kern_init(&ref, CPU_REF);
    TRY(time_products(&r, &ref, e));
    if (o->type == DTYPE_COUNT) TRY(time_vectors(&r, e));
    *rows += r.rows;
out:
    return st;
}

/* The highest family of a mask. */
static size_t highest(uint32_t mask)
{
    size_t best = 0;
    for (size_t i = 0; i < COUNT_OF(families); i++)
        if (mask & families[i].bit) best = i;
    return best;
}

status bench_kernels_run(const bench_kernels_opts *o, err *e)
{
    status st = OK;
    uint32_t found = cpu_isa_found() & kern_built();
    int rows = 0;
    size_t only = highest(o->isa);
    if (o->isa && !(found & families[only].bit)) FAIL(e, E_ARG, "cannot time %s kernels\nthis machine or this build has none", families[only].name);
    for (size_t i = o->isa ? only : 1; i < COUNT_OF(families); i++)
        if ((found & families[i].bit) && (!o->isa || i == only)) TRY(time_family(o, i, &rows, e));
    if (!rows) FAIL(e, E_ARG, "cannot time %s\nno kernel has such weights", o->type == DTYPE_COUNT ? "kernels" : dtype_of(o->type)->name);
out:
    return st;
}
