/* One 64-bit ticket holds the number of the run (upper bits) and how many of its items are not handed
 * out yet (lower bits).  A thread takes an item by lowering it with compare-and-swap.  Two things follow:
 * a worker that wakes late can only ever take an item of the present run, and while somebody holds an
 * item the run cannot end, so fn, ctx and n may be read without a lock.  Workers that are asleep or
 * not scheduled are never waited for, which matters when the machine is shared.
 *
 * Idle workers spin for a moment (a token is hundreds of runs with microseconds between them) and then
 * sleep in the kernel. */
#include "os/pool.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/cpu.h"

enum { THREADS_MAX = 256, ITEM_BITS = 40 };
#define ITEM_MASK (((uint64_t)1 << ITEM_BITS) - 1)
#define SPIN_SECONDS 100e-6

typedef struct pool_worker {
    struct pool *pool;
    pthread_t thread;
    int index;
} pool_worker;

struct pool {
    /* Each line below has its own writer: no false sharing. */
    _Alignas(64) atomic_uint_fast64_t ticket;
    _Alignas(64) atomic_int_fast64_t done;    /* items finished in this run */
    atomic_uint finish_word;                  /* futex: the caller sleeps on it */
    atomic_bool caller_sleeps;
    _Alignas(64) atomic_uint start_word;      /* futex: workers sleep on it */
    atomic_int sleepers;
    atomic_bool quit;
    /* Written by the caller before the ticket, read by who holds an item. */
    _Alignas(64) pool_fn fn;
    void *ctx;
    int64_t n;
    uint64_t run;
    int threads, started;
    bool spin;                                /* not when there are more threads than cores */
    pool_worker worker[THREADS_MAX];
};

static void futex_wait(atomic_uint *word, unsigned seen)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake(atomic_uint *word, int n)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

static inline void relax(void)
{
#if defined __x86_64__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("yield");
#endif
}

/* Takes and runs items until none is left.  The items are reported together at the end. */
static void work(pool *p, int index)
{
    int64_t mine = 0, n = 0;
    uint64_t t = atomic_load(&p->ticket);
    while (t & ITEM_MASK) {
        if (!atomic_compare_exchange_weak(&p->ticket, &t, t - 1)) continue;
        n = p->n;
        p->fn(p->ctx, n - (int64_t)(t & ITEM_MASK), index);
        mine++;
        t = atomic_load(&p->ticket);
    }
    if (mine == 0 || atomic_fetch_add(&p->done, mine) + mine < n) return;
    atomic_fetch_add(&p->finish_word, 1);
    if (atomic_load(&p->caller_sleeps)) futex_wake(&p->finish_word, 1);
}

static bool items_left(const pool *p) { return (atomic_load(&p->ticket) & ITEM_MASK) || atomic_load(&p->quit); }
static bool run_over(const pool *p) { return atomic_load(&p->done) == p->n; }

/* True when cond came true while spinning. */
static bool spin_until(const pool *p, bool (*cond)(const pool *))
{
    if (cond(p)) return true;
    if (!p->spin) return false;
    for (double end = clock_seconds() + SPIN_SECONDS; clock_seconds() < end;)
        for (int i = 0; i < 32; i++) {
            if (cond(p)) return true;
            relax();
        }
    return false;
}

static void sleep_until_start(pool *p)
{
    unsigned seen = atomic_load(&p->start_word);
    atomic_fetch_add(&p->sleepers, 1);   /* before looking again: pool_run publishes, then counts sleepers */
    if (!items_left(p)) futex_wait(&p->start_word, seen);
    atomic_fetch_sub(&p->sleepers, 1);
}

static void *worker_main(void *arg)
{
    pool_worker *w = arg;
    pool *p = w->pool;
    while (!atomic_load(&p->quit)) {
        if (spin_until(p, items_left)) work(p, w->index);
        else sleep_until_start(p);
    }
    return NULL;
}

static void wait_for_rest(pool *p)
{
    while (!spin_until(p, run_over)) {
        unsigned seen = atomic_load(&p->finish_word);
        atomic_store(&p->caller_sleeps, true);
        if (!run_over(p)) futex_wait(&p->finish_word, seen);
        atomic_store(&p->caller_sleeps, false);
    }
}

void pool_run(pool *p, int64_t n, pool_fn fn, void *ctx)
{
    if (n <= 0) return;
    if (!p || p->threads == 1 || n == 1) {
        for (int64_t i = 0; i < n; i++) fn(ctx, i, 0);
        return;
    }
    p->fn = fn;
    p->ctx = ctx;
    p->n = n;
    atomic_store(&p->done, 0);
    atomic_store(&p->ticket, ++p->run << ITEM_BITS | (uint64_t)n);
    atomic_fetch_add(&p->start_word, 1);
    int asleep = atomic_load(&p->sleepers);
    if (asleep > 0) futex_wake(&p->start_word, (int)MIN((int64_t)asleep, n - 1));
    work(p, 0);
    wait_for_rest(p);
}

/* Workers take no signals: those belong to the program's own threads. */
static int start_worker(pool_worker *w)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int failed = pthread_create(&w->thread, NULL, worker_main, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return failed;
}

status pool_new(pool **out, int threads, err *e)
{
    status st = OK;
    pool *p = NULL;
    int cores = cpu_cores();
    if (threads == 0) threads = MIN(cores, (int)THREADS_MAX);
    if (threads < 1 || threads > THREADS_MAX)
        FAIL(e, E_ARG, "cannot use %d threads\nit must be from 1 to %d", threads, (int)THREADS_MAX);
    p = mem_alloc(sizeof *p, MEM_OTHER);
    if (!p) FAIL(e, E_NOMEM, "could not start %d threads\nout of memory", threads);
    p->threads = threads;
    p->spin = threads <= cores;
    for (int i = 1; i < threads; i++) {
        p->worker[i] = (pool_worker){ .pool = p, .index = i };
        int failed = start_worker(&p->worker[i]);
        if (failed) FAIL(e, E_NOMEM, "could not start %d threads\n%s\nAsk for fewer threads.", threads, strerror(failed));
        p->started = i;
    }
    *out = p;
    p = NULL;
out:
    pool_free(p);
    return st;
}

void pool_free(pool *p)
{
    if (!p) return;
    atomic_store(&p->quit, true);
    atomic_fetch_add(&p->start_word, 1);
    futex_wake(&p->start_word, INT_MAX);
    for (int i = 1; i <= p->started; i++) pthread_join(p->worker[i].thread, NULL);
    mem_free(p);
}

int pool_threads(const pool *p) { return p ? p->threads : 1; }
