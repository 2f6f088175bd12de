#include <pthread.h>

#include "base/arena.h"
#include "support/test.h"

static void blocks_are_aligned_and_zero(void **state)
{
    (void)state;
    size_t sizes[] = { 0, 1, 63, 64, 65, 4096, (4 << 20) - 64, 4 << 20, 9 << 20 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *p = mem_alloc(sizes[i], MEM_OTHER);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        for (size_t k = 0; k < sizes[i]; k++) assert_int_equal(p[k], 0);
        memset(p, 0xAA, sizes[i]);
        mem_free(p);
    }
}

static void impossible_sizes_give_null(void **state)
{
    (void)state;
    assert_null(mem_alloc(SIZE_MAX, MEM_OTHER));
    assert_null(mem_alloc(SIZE_MAX - 64, MEM_OTHER));
    assert_null(mem_array(SIZE_MAX / 2, 3, MEM_OTHER));
    assert_null(mem_small_alloc(SIZE_MAX, MEM_OTHER));
    assert_null(mem_alloc((size_t)1 << 60, MEM_OTHER));
}

static void counters_follow(void **state)
{
    (void)state;
    mem_stats a, b;
    mem_stats_reset_peaks();
    mem_stats_read(&a);
    void *p = mem_alloc(1000, MEM_KV), *q = mem_small_alloc(24, MEM_TEXT);
    mem_stats_read(&b);
    assert_int_equal(b.current - a.current, 1024);
    assert_int_equal(b.tag_current[MEM_KV] - a.tag_current[MEM_KV], 1000);
    assert_int_equal(b.tag_current[MEM_TEXT] - a.tag_current[MEM_TEXT], 24);
    assert_int_equal(b.calls - a.calls, 2);
    p = mem_resize(p, 50, MEM_KV);
    mem_free(p);
    mem_small_free(q);
    mem_stats_read(&b);
    assert_int_equal(b.current, a.current);
    assert_int_equal(b.tag_peak[MEM_KV] - a.tag_peak[MEM_KV], 1050);   /* both blocks live while copying */
    mem_stats_reset_peaks();
    mem_stats_read(&b);
    assert_int_equal(b.peak, b.current);
}

static void resize_keeps_and_clears(void **state)
{
    (void)state;
    unsigned char *p = mem_resize(NULL, 10, MEM_OTHER);
    memset(p, 7, 10);
    p = mem_resize(p, 1000, MEM_OTHER);
    for (int i = 0; i < 1000; i++) assert_int_equal(p[i], i < 10 ? 7 : 0);
    p = mem_resize(p, 4, MEM_OTHER);
    assert_int_equal(p[3], 7);
    mem_free(p);
    mem_free(NULL);
    char *s = mem_strdup("hello", 4, MEM_TEXT);
    assert_string_equal(s, "hell");
    mem_free(s);
}

static void the_nth_allocation_fails_once(void **state)
{
    (void)state;
    mem_fail_at(1);
    void *a = mem_alloc(1, MEM_OTHER), *b = mem_alloc(1, MEM_OTHER), *c = mem_small_alloc(1, MEM_OTHER);
    assert_non_null(a);
    assert_null(b);
    assert_non_null(c);
    assert_true(mem_fail_hit());
    mem_fail_at(-1);
    assert_false(mem_fail_hit());
    mem_fail_at(0);
    assert_null(mem_resize(a, 100, MEM_OTHER));   /* a is still ours */
    mem_fail_at(-1);
    mem_free(a);
    mem_small_free(c);
}

static void *churn(void *arg)
{
    for (int i = 0; i < 2000; i++) mem_free(mem_alloc((size_t)i, MEM_IO));
    return arg;
}

static void counters_are_right_across_threads(void **state)
{
    (void)state;
    size_t before = mem_now();
    pthread_t t[4];
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&t[i], NULL, churn, NULL), 0);
    for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
    assert_int_equal(mem_now(), before);
}

/* ---- arenas: measuring and taking are the same code ---- */

static status layout(arena *a, float **x, char **y, err *e)
{
    status st = OK;
    TRY(arena_array(a, x, 100, e));
    TRY(arena_array(a, y, 1, e));
    TRY(arena_array(a, x, 3, e));
out:
    return st;
}

static void measured_size_is_what_it_takes(void **state)
{
    (void)state;
    err e;
    float *x;
    char *y;
    arena m = { 0 }, a;
    assert_ok(layout(&m, &x, &y, &e), &e);
    assert_null(x);
    assert_int_equal(m.used, 448 + 64 + 64);
    assert_ok(arena_init(&a, m.used, MEM_ACTIVATIONS, &e), &e);
    assert_ok(layout(&a, &x, &y, &e), &e);
    assert_int_equal(a.used, m.used);
    assert_int_equal((uintptr_t)x % 64, 0);
    size_t mark = arena_mark(&a);
    assert_fails(arena_array(&a, &y, 1, &e), E_NOMEM, &e, "full");
    assert_int_equal(arena_mark(&a), mark);
    arena_reset(&a, 0);
    assert_ok(layout(&a, &x, &y, &e), &e);
    assert_int_equal(a.peak, m.used);
    arena_done(&a);
}

static void arena_arithmetic_is_checked(void **state)
{
    (void)state;
    err e;
    char *p;
    arena m = { 0 };
    assert_fails(arena_take(&m, &p, SIZE_MAX / 2, 3, &e), E_NOMEM, &e, "overflow");
    assert_fails(arena_take(&m, &p, SIZE_MAX - 10, 1, &e), E_NOMEM, &e, "overflow");
    assert_ok(arena_take(&m, &p, SIZE_MAX / 2, 1, &e), &e);
    assert_fails(arena_take(&m, &p, SIZE_MAX / 2 + 2, 1, &e), E_NOMEM, &e, "overflow");
    arena a;
    mem_fail_at(0);
    assert_fails(arena_init(&a, 100, MEM_KV, &e), E_NOMEM, &e, "kv");
    mem_fail_at(-1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_aligned_and_zero),
        cmocka_unit_test(impossible_sizes_give_null),
        cmocka_unit_test(counters_follow),
        cmocka_unit_test(resize_keeps_and_clears),
        cmocka_unit_test(the_nth_allocation_fails_once),
        cmocka_unit_test(counters_are_right_across_threads),
        cmocka_unit_test(measured_size_is_what_it_takes),
        cmocka_unit_test(arena_arithmetic_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
