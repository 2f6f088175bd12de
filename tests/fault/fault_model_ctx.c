/* Every allocation of making a context fails once; each time nothing is left behind and the next try works. */
#include "support/model.h"

static void every_allocation_fails_once(void **state)
{
    (void)state;
    golden g;
    err e = { 0 };
    golden_open(&g, "26b");
    gemma_ctx_opts o = model_opts(false);
    o.threads = 3;
    size_t before = mem_now();
    int failed = 0;
    for (int n = 0;; n++) {
        gemma_ctx *x = NULL;
        mem_fail_at(n);
        status st = gemma_ctx_new(&x, g.m, &o, NULL, &e);
        bool hit = mem_fail_hit();
        mem_fail_at(-1);
        if (!hit) {
            assert_int_equal(st, OK);
            gemma_ctx_free(x);
            break;
        }
        assert_int_equal(st, E_NOMEM);
        assert_null(x);
        assert_int_equal(mem_now(), before);
        failed++;
    }
    assert_true(failed >= 5);
    assert_int_equal(mem_now(), before);

    golden_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_allocation_fails_once) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
