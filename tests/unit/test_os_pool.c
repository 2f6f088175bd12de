#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "os/pool.h"
#include "support/test.h"

enum { MANY = 5000 };

typedef struct job {
    atomic_int ran[MANY];       /* how often each item ran */
    atomic_int busy[16];        /* per worker: inside fn now */
    atomic_bool clash;
    int threads;
    int64_t plain[MANY];        /* not atomic: ThreadSanitizer sees a missing hand-over */
} job;

static void run_item(void *ctx, int64_t item, int worker)
{
    job *j = ctx;
    if (worker < 0 || worker >= j->threads || atomic_fetch_add(&j->busy[worker], 1) != 0) atomic_store(&j->clash, true);
    atomic_fetch_add(&j->ran[item], 1);
    j->plain[item] = item * 3 + 1;
    atomic_fetch_sub(&j->busy[worker], 1);
}

static void every_item_runs_once(void **state)
{
    (void)state;
    err e;
    static job j;
    for (int threads = 1; threads <= 9; threads++) {
        pool *p = NULL;
        assert_ok(pool_new(&p, threads, &e), &e);
        assert_int_equal(pool_threads(p), threads);
        for (int64_t n = 0; n <= MANY; n = n < 20 ? n + 1 : n * 3) {
            memset(&j, 0, sizeof j);
            j.threads = threads;
            pool_run(p, n, run_item, &j);
            for (int64_t i = 0; i < MANY; i++)
                if (atomic_load(&j.ran[i]) != (i < n) || j.plain[i] != (i < n ? i * 3 + 1 : 0)) fail_msg("item %d of %d", (int)i, (int)n);
            assert_false(atomic_load(&j.clash));
        }
        pool_free(p);
    }
}

static void add_one(void *ctx, int64_t item, int worker)
{
    (void)worker;
    ((int64_t *)ctx)[item]++;
}

/* Thousands of short runs back to back, with different sizes and pauses that let workers fall asleep: an item
 * of an old run that ran late, or one that ran twice, would show in the sums. */
static void runs_do_not_mix(void **state)
{
    (void)state;
    err e;
    pool *p = NULL;
    static int64_t sums[64];
    int64_t want[64] = { 0 };
    memset(sums, 0, sizeof sums);
    assert_ok(pool_new(&p, 4, &e), &e);
    for (int run = 0; run < 20000; run++) {
        int n = run * 7 % 64 + 1;
        pool_run(p, n, add_one, sums);
        for (int i = 0; i < n; i++) want[i]++;
        if (run % 4000 == 0) nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
    }
    assert_memory_equal(sums, want, sizeof want);
    pool_free(p);
}

typedef struct order { atomic_int next; atomic_bool wrong; } order;

static void note_order(void *ctx, int64_t item, int worker)
{
    (void)worker;
    order *o = ctx;
    if (atomic_fetch_add(&o->next, 1) != (int)item) atomic_store(&o->wrong, true);
}

static void one_thread_goes_in_order(void **state)
{
    (void)state;
    err e;
    pool *p = NULL;
    order o = { 0 };
    assert_ok(pool_new(&p, 1, &e), &e);
    pool_run(p, 100, note_order, &o);
    pool_run(NULL, 0, note_order, &o);
    assert_int_equal(atomic_load(&o.next), 100);
    assert_false(atomic_load(&o.wrong));
    pool_free(p);
    o = (order){ 0 };
    pool_run(NULL, 10, note_order, &o);
    assert_false(atomic_load(&o.wrong));
    assert_int_equal(pool_threads(NULL), 1);
    pool_free(NULL);
}

static void *own_pool(void *arg)
{
    err e;
    pool *p = NULL;
    static _Thread_local int64_t sums[32];
    if (pool_new(&p, 3, &e) != OK) return arg;
    for (int i = 0; i < 2000; i++) pool_run(p, 32, add_one, sums);
    pool_free(p);
    for (int i = 0; i < 32; i++)
        if (sums[i] != 2000) return arg;
    return NULL;
}

static void pools_are_independent(void **state)
{
    (void)state;
    pthread_t t[3];
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&t[i], NULL, own_pool, t), 0);
    for (int i = 0; i < 3; i++) {
        void *bad;
        pthread_join(t[i], &bad);
        assert_null(bad);
    }
}

/* An idle pool sleeps: processor time is counted, not the clock. */
static void idle_workers_sleep(void **state)
{
    (void)state;
    err e;
    pool *p = NULL;
    int64_t sums[8] = { 0 };
    struct timespec a, b;
    assert_ok(pool_new(&p, 2, &e), &e);
    pool_run(p, 8, add_one, sums);
    nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    nanosleep(&(struct timespec){ .tv_nsec = 200000000 }, NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    double used = (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
    assert_true(used < 0.05);
    pool_free(p);
}

static pthread_t main_thread;
static atomic_int signals_elsewhere;

static void on_signal(int number)
{
    (void)number;
    if (!pthread_equal(pthread_self(), main_thread)) atomic_fetch_add(&signals_elsewhere, 1);
}

static void signals_stay_with_the_caller(void **state)
{
    (void)state;
    err e;
    pool *p = NULL;
    int64_t sums[64] = { 0 };
    main_thread = pthread_self();
    struct sigaction action = { .sa_handler = on_signal }, old;
    sigaction(SIGUSR1, &action, &old);
    assert_ok(pool_new(&p, 4, &e), &e);
    for (int i = 0; i < 200; i++) {
        kill(getpid(), SIGUSR1);
        pool_run(p, 64, add_one, sums);
    }
    pool_free(p);
    sigaction(SIGUSR1, &old, NULL);
    assert_int_equal(atomic_load(&signals_elsewhere), 0);
    for (int i = 0; i < 64; i++) assert_int_equal(sums[i], 200);
}

/* ---- processors: some are taken away, some are busy with something else ---- */

static cpu_set_t own_mask(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    return set;
}

static cpu_set_t one_of(const cpu_set_t *set, bool last)
{
    cpu_set_t one;
    int found = -1;
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, set) && (found < 0 || last)) found = i;
    CPU_ZERO(&one);
    CPU_SET(found, &one);
    return one;
}

static void *spin_forever(void *stop)
{
    while (!atomic_load((atomic_bool *)stop)) {}
    return NULL;
}

typedef struct mask_job { cpu_set_t want; atomic_int free_items, items; int64_t sums[64]; } mask_job;

/* Long enough that a worker is at times interrupted in the middle. */
static void note_mask(void *ctx, int64_t item, int worker)
{
    mask_job *j = ctx;
    if (worker) {
        cpu_set_t now = own_mask();
        atomic_fetch_add(&j->items, 1);
        if (CPU_EQUAL(&now, &j->want)) atomic_fetch_add(&j->free_items, 1);
    }
    volatile int64_t *sum = &j->sums[item];
    for (int i = 0; i < 1000; i++) *sum += i & 1;
}

/* A worker whose processor something else keeps busy may be moved; afterwards it may use every processor again. */
static void a_busy_processor(void **state)
{
    (void)state;
    err e;
    pool *p = NULL;
    static mask_job j;
    atomic_bool stop = false;
    pthread_t spinner;
    cpu_set_t all = own_mask(), one = one_of(&all, true);
    j.want = all;
    assert_ok(pool_new(&p, 2, &e), &e);
    assert_int_equal(pthread_create(&spinner, NULL, spin_forever, &stop), 0);
    assert_int_equal(pthread_setaffinity_np(spinner, sizeof one, &one), 0);
    for (int run = 0; run < 3000; run++) pool_run(p, 64, note_mask, &j);
    atomic_store(&stop, true);
    pthread_join(spinner, NULL);
    for (int i = 0; i < 64; i++) assert_int_equal(j.sums[i], 3000 * 500);
    atomic_store(&j.items, 0);
    atomic_store(&j.free_items, 0);
    for (int run = 0; run < 200000 && atomic_load(&j.free_items) < 100; run++) pool_run(p, 64, note_mask, &j);
    if (atomic_load(&j.items) > 1000 && atomic_load(&j.free_items) == 0) fail_msg("the worker stays bound to a processor");
    cpu_set_t now = own_mask();
    assert_true(CPU_EQUAL(&now, &all));      /* the caller's own is never touched */
    pool_free(p);
}

/* More threads than the one processor that is left, from the start and later. */
static void one_processor(void **state)
{
    (void)state;
    err e;
    cpu_set_t all = own_mask(), one = one_of(&all, false);
    for (int late = 0; late < 2; late++) {
        pool *p = NULL;
        int64_t sums[32] = { 0 };
        if (!late) assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
        assert_ok(pool_new(&p, late ? 2 : 4, &e), &e);
        if (late) assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
        for (int run = 0; run < 2000; run++) pool_run(p, 32, add_one, sums);
        pool_free(p);
        assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
        for (int i = 0; i < 32; i++) assert_int_equal(sums[i], 2000);
    }
}

static void impossible_counts(void **state)
{
    (void)state;
    err e;
    pool *p = NULL;
    assert_fails(pool_new(&p, -1, &e), E_ARG, &e, "-1 threads");
    assert_fails(pool_new(&p, 257, &e), E_ARG, &e, "from 1 to 256");
    mem_fail_at(0);
    assert_fails(pool_new(&p, 2, &e), E_NOMEM, &e, "memory");
    mem_fail_at(-1);
    assert_null(p);
    assert_ok(pool_new(&p, 0, &e), &e);
    assert_true(pool_threads(p) >= 1);
    pool_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_item_runs_once),
        cmocka_unit_test(runs_do_not_mix),
        cmocka_unit_test(one_thread_goes_in_order),
        cmocka_unit_test(pools_are_independent),
        cmocka_unit_test(idle_workers_sleep),
        cmocka_unit_test(signals_stay_with_the_caller),
        cmocka_unit_test(a_busy_processor),
        cmocka_unit_test(one_processor),
        cmocka_unit_test(impossible_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
