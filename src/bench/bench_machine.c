#include "bench/bench_machine.h"

#include <unistd.h>

#include "base/bits.h"
#include "base/mem.h"
#include "bench/bench_quiet.h"
#include "kern/peak.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/pool.h"

#define WINDOW 0.2               /* seconds */
#define ROUND  0.004             /* a round of one item takes at least that */
enum { ITEMS = 4, TRIES = 4 };   /* items a thread in a round; windows tried for each wanted one */

/* One loop on some threads. */
typedef struct job {
    const peak_loop *loop;
    pool *pool;
    int64_t items;               /* of one round */
    int64_t rounds;              /* compute: of one item */
    uint8_t *memory;             /* reading: [bytes], walked through in a circle */
    size_t bytes, item_bytes, at;
    uint64_t sink[256];
} job;

static void work(void *ctx, int64_t item, int worker)
{
    job *j = ctx;
    if (j->loop->kind != PEAK_READ) {
        j->sink[worker] += j->loop->run(j->rounds);
        return;
    }
    size_t at = (j->at + (size_t)item * j->item_bytes) % j->bytes;
    j->sink[worker] += j->loop->read(j->memory + at, MIN(j->item_bytes, j->bytes - at));
}

/* Bytes or operations of one round, done; *seconds that it took. */
static double run_round(job *j, double *seconds)
{
    double start = clock_seconds();
    pool_run(j->pool, j->items, work, j);
    *seconds = clock_seconds() - start;
    if (j->loop->kind != PEAK_READ) return j->loop->ops * (double)j->rounds * (double)j->items;
    j->at = (j->at + (size_t)j->items * j->item_bytes) % j->bytes;
    return (double)j->items * (double)j->item_bytes;
}

/* Items long enough that handing them out costs nothing.  The buffer's size is a multiple of every item's. */
static void calibrate(job *j, int threads)
{
    double seconds;
    j->items = (int64_t)threads * ITEMS;
    if (j->loop->kind == PEAK_READ) {
        j->item_bytes = 1 << 20;
        while (run_round(j, &seconds), seconds < ROUND * ITEMS && j->item_bytes * 2 * (size_t)j->items <= j->bytes) j->item_bytes *= 2;
        return;
    }
    for (j->rounds = 1; run_round(j, &seconds), seconds < ROUND * ITEMS && j->rounds < (int64_t)1 << 40;) j->rounds *= 2;
}

typedef struct series {
    double quiet[BENCH_SAMPLES_MAX], loud[BENCH_SAMPLES_MAX];
    size_t quiets, louds;
    double window;               /* seconds of one */
} series;

/* Rates of a window's rounds go to one list or the other.  True when it was quiet. */
static bool run_window(job *j, series *s, bench_machine *m)
{
    double rates[512], others, seconds;
    size_t n = 0;
    bench_quiet q;
    bench_quiet_begin(&q);
    for (double end = clock_seconds() + s->window; n < COUNT_OF(rates) && (n == 0 || clock_seconds() < end); n++) {
        double done = run_round(j, &seconds);
        rates[n] = done / MAX(seconds, 1e-9);
    }
    seconds = bench_quiet_end(&q, &others);
    bool loud = bench_quiet_disturbed(seconds, others);
    double *list = loud ? s->loud : s->quiet;
    size_t *count = loud ? &s->louds : &s->quiets;
    for (size_t i = 0; i < n && *count < BENCH_SAMPLES_MAX; i++) list[(*count)++] = rates[i];
    m->windows++;
    m->disturbed += loud;
    m->others += others;
    return !loud;
}

static bench_limit measure(job *j, series *s, int threads, double seconds, bench_machine *m)
{
    int wanted = (int)MAX(seconds / WINDOW + 0.5, 1.0), quiet = 0;
    s->quiets = s->louds = 0;
    s->window = MIN(WINDOW, seconds);
    calibrate(j, threads);
    for (int i = 0; i < wanted * TRIES && quiet < wanted; i++) quiet += run_window(j, s, m);
    bool rest = s->quiets == 0;
    if (rest) m->noisy = true;
    bench_stats t = bench_stats_of(rest ? s->loud : s->quiet, rest ? s->louds : s->quiets);
    return (bench_limit){ .rate = t.median, .spread = t.spread, .how = j->loop->name };
}

/* Four times the last cache, but not an eighth of what is free: at least 64 MB, at most 1 GB, a power of two. */
static size_t buffer_bytes(void)
{
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    size_t want = MAX((size_t)MAX(cache, 0L) * 4, (size_t)256 << 20), room = (size_t)(cpu_memory_available() / 8), n = (size_t)64 << 20;
    while (n < want && n < (size_t)1 << 30 && n * 2 <= room) n *= 2;
    return n;
}

static bench_limit *place(bench_limits *l, peak_kind kind)
{
    bench_limit *const all[PEAK_KINDS] = { [PEAK_INT8] = &l->int8, [PEAK_BF16] = &l->bf16, [PEAK_F32] = &l->f32, [PEAK_READ] = &l->read };
    return all[kind];
}

/* The best loop of each kind.  Plain C is measured only where a family has nothing better. */
static status measure_threads(bench_machine *m, const bench_machine_opts *o, int threads, job *j, series *s, err *e)
{
    const peak_loop *loops[PEAK_LOOPS_MAX];
    bench_limits *l = &m->by[m->count];
    int n = peak_loops(loops, o->isa);
    bool better[PEAK_KINDS] = { false };
    status st = pool_new(&j->pool, threads, e);
    if (st != OK) return st;
    *l = (bench_limits){ .threads = threads };
    for (int i = n - 1; i >= 0; i--) {
        peak_kind kind = loops[i]->kind;
        if (loops[i]->plain && better[kind]) continue;
        better[kind] = true;
        j->loop = loops[i];
        bench_limit found = measure(j, s, threads, o->seconds > 0 ? o->seconds : 0.6, m);
        if (found.rate > place(l, kind)->rate) *place(l, kind) = found;
    }
    /* Where there is no product of bf16, or a slow one, it is widened to f32. */
    if (l->bf16.rate < l->f32.rate) l->bf16 = l->f32;
    m->count++;
    pool_free(j->pool);
    return OK;
}

status bench_machine_measure(bench_machine *out, const bench_machine_opts *o, err *e)
{
    status st = OK;
    int threads = o->threads ? o->threads : cpu_cores();
    bench_machine m = { 0 };
    series *s = mem_alloc(sizeof *s, MEM_OTHER);
    job *j = mem_alloc(sizeof *j, MEM_OTHER);
    if (!s || !j) FAIL(e, E_NOMEM, "could not measure the machine\nout of memory");
    j->bytes = m.read_bytes = buffer_bytes();
    j->memory = mem_alloc(j->bytes, MEM_OTHER);
    if (!j->memory) FAIL(e, E_NOMEM, "could not measure the machine\nno memory for %zu MB to read", j->bytes >> 20);
    for (size_t i = 0; i < j->bytes; i += PEAK_READ_STEP) j->memory[i] = 1;
    double start = clock_seconds();
    for (int n = 1; o->all_counts && n < threads && m.count < BENCH_COUNTS_MAX - 1; n *= 2) TRY(measure_threads(&m, o, n, j, s, e));
    TRY(measure_threads(&m, o, threads, j, s, e));
    m.others /= MAX(clock_seconds() - start, 1e-9);
    *out = m;
out:
    mem_free(j ? j->memory : NULL);
    mem_free(j);
    mem_free(s);
    return st;
}
