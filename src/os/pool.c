/* One 64-bit ticket holds the number of the run (upper bits) and how many of its items are not handed
 * out yet (lower bits).  A thread takes an item by lowering it with compare-and-swap.  Two things follow:
 * a worker that wakes late can only ever take an item of the present run, and while somebody holds an
 * item the run cannot end, so fn, ctx and n may be read without a lock.  Workers that are asleep or
 * not scheduled are never waited for, which matters when the machine is shared.
 *
 * Idle workers spin for a moment (a token is hundreds of runs with microseconds between them) and then
 * sleep in the kernel.  Whoever would wait for a thread on its own processor sleeps at once: spinning there keeps the
 * other from running.
 *
 * Threads are not pinned.  When something else is busy on a core, a worker there loses it for milliseconds, at times
 * with an item in hand, and everybody would wait.  Its processor time then stands still, the caller notices, moves it to
 * its own processor and sleeps.  When its items are done, the worker goes to the other processors again and waits there
 * for its share with empty hands, while the caller works on. */
#include "os/pool.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/task.h"

enum { THREADS_MAX = 256, ITEM_BITS = 40, NOWHERE = -1 };
#define ITEM_MASK (((uint64_t)1 << ITEM_BITS) - 1)
#define SPIN_SECONDS 100e-6
#define STALL_SECONDS 25e-6       /* without progress: a worker that holds an item and does not run */

typedef struct pool_worker {
    struct pool *pool;
    task task;
    int index;
    _Alignas(64) atomic_int cpu;              /* where it took its first item of this run; NOWHERE: it holds none */
    atomic_bool fetched;                      /* the caller has bound it to its own processor */
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
    atomic_int caller_cpu;                    /* where the caller was when it last started a run */
    cpu_set_t allowed;                        /* the caller's, when the pool was made */
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
    atomic_int *cpu = &p->worker[index].cpu;
    int64_t mine = 0, n = 0;
    uint64_t t = atomic_load(&p->ticket);
    while (t & ITEM_MASK) {
        if (!atomic_compare_exchange_weak(&p->ticket, &t, t - 1)) continue;
        if (mine == 0) atomic_store_explicit(cpu, sched_getcpu(), memory_order_relaxed);
        n = p->n;
        p->fn(p->ctx, n - (int64_t)(t & ITEM_MASK), index);
        mine++;
        t = atomic_load(&p->ticket);
    }
    atomic_store_explicit(cpu, NOWHERE, memory_order_relaxed);
    if (mine == 0 || atomic_fetch_add(&p->done, mine) + mine < n) return;
    atomic_fetch_add(&p->finish_word, 1);
    if (atomic_load(&p->caller_sleeps)) futex_wake(&p->finish_word, 1);
}

typedef bool (*pool_cond)(const pool *);

static bool items_left(const pool *p) { return (atomic_load(&p->ticket) & ITEM_MASK) || atomic_load(&p->quit); }
static bool run_over(const pool *p) { return atomic_load(&p->done) == p->n; }

/* A worker waits for the caller, the caller for workers that hold items: does one of them want this processor? */
static bool caller_is_here(const pool *p) { return atomic_load_explicit(&p->caller_cpu, memory_order_relaxed) == sched_getcpu(); }
static bool worker_is_here(const pool *p)
{
    int here = sched_getcpu();
    for (int i = 1; i <= p->started; i++)
        if (atomic_load_explicit(&p->worker[i].cpu, memory_order_relaxed) == here) return true;
    return false;
}

/* True when cond came true while spinning. */
static bool spin_until(const pool *p, pool_cond cond, pool_cond hopeless, double seconds)
{
    if (cond(p)) return true;
    if (!p->spin) return false;
    for (double end = clock_seconds() + seconds; clock_seconds() < end && !hopeless(p);)
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

static void bind_self(const cpu_set_t *cpus) { pthread_setaffinity_np(pthread_self(), sizeof *cpus, cpus); }

/* Off the caller's processor, until the next item. */
static void leave(const pool *p)
{
    cpu_set_t rest = p->allowed;
    CPU_CLR(sched_getcpu(), &rest);
    bind_self(CPU_COUNT(&rest) ? &rest : &p->allowed);
}

static void worker_main(void *arg)
{
    pool_worker *w = arg;
    pool *p = w->pool;
    bool bound = false;
    while (!atomic_load(&p->quit)) {
        if (spin_until(p, items_left, caller_is_here, SPIN_SECONDS)) {
            if (bound) bind_self(&p->allowed);
            bound = false;
            work(p, w->index);
        } else {
            sleep_until_start(p);
        }
        if (!atomic_exchange(&w->fetched, false)) continue;
        bound = true;
        leave(p);
    }
}

static double worker_seconds(const pool_worker *w)
{
    clockid_t clock;
    struct timespec t;
    if (pthread_getcpuclockid(w->task.thread, &clock) != 0 || clock_gettime(clock, &t) != 0) return -1;
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Takes workers that hold an item and do not run to this processor, which is about to be free. */
static void fetch_stalled(pool *p)
{
    double before[THREADS_MAX];
    cpu_set_t here;
    for (int i = 1; i <= p->started; i++)
        before[i] = atomic_load_explicit(&p->worker[i].cpu, memory_order_relaxed) == NOWHERE ? -1 : worker_seconds(&p->worker[i]);
    if (spin_until(p, run_over, worker_is_here, STALL_SECONDS)) return;
    CPU_ZERO(&here);
    CPU_SET(sched_getcpu(), &here);
    for (int i = 1; i <= p->started; i++) {
        pool_worker *w = &p->worker[i];
        if (before[i] < 0 || atomic_load_explicit(&w->cpu, memory_order_relaxed) == NOWHERE) continue;
        if (worker_seconds(w) - before[i] > STALL_SECONDS / 4) continue;
        atomic_store(&w->fetched, true);
        pthread_setaffinity_np(w->task.thread, sizeof here, &here);
    }
}

static void wait_for_rest(pool *p)
{
    if (spin_until(p, run_over, worker_is_here, STALL_SECONDS)) return;
    if (p->spin) fetch_stalled(p);
    while (!spin_until(p, run_over, worker_is_here, SPIN_SECONDS)) {
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
    atomic_store_explicit(&p->caller_cpu, sched_getcpu(), memory_order_relaxed);
    atomic_store(&p->done, 0);
    atomic_store(&p->ticket, ++p->run << ITEM_BITS | (uint64_t)n);
    atomic_fetch_add(&p->start_word, 1);
    int asleep = atomic_load(&p->sleepers);
    if (asleep > 0) futex_wake(&p->start_word, (int)MIN((int64_t)asleep, n - 1));
    work(p, 0);
    wait_for_rest(p);
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
    atomic_store(&p->caller_cpu, NOWHERE);
    p->spin = threads <= cores && sched_getaffinity(0, sizeof p->allowed, &p->allowed) == 0;
    for (int i = 1; i < threads; i++) {
        p->worker[i].pool = p;
        p->worker[i].index = i;
        atomic_store(&p->worker[i].cpu, NOWHERE);
        int failed = task_start(&p->worker[i].task, worker_main, &p->worker[i]);
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
    for (int i = 1; i <= p->started; i++) task_wait(&p->worker[i].task);
    mem_free(p);
}

int pool_threads(const pool *p) { return p ? p->threads : 1; }
