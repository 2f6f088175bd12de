/* run/sched: answers first, the budget is kept, nobody starves. */
#include "base/bits.h"
#include "base/rng.h"
#include "run/sched.h"
#include "support/test.h"

static void answers_go_first(void **state)
{
    (void)state;
    int32_t pending[] = { 1000, 1, 0, 1, 1 }, take[5];
    sched_step(pending, 5, 3, 3, take);
    assert_int_equal(take[0], 0);
    assert_int_equal(take[1] + take[3] + take[4], 3);
    sched_step(pending, 5, 64, 64, take);
    assert_int_equal(take[0], 61);
    assert_int_equal(take[2], 0);
}

static void one_prompt_takes_everything(void **state)
{
    (void)state;
    int32_t pending[] = { 1000 }, take[1];
    sched_step(pending, 1, 512, 512, take);
    assert_int_equal(take[0], 512);
    pending[0] = 7;
    sched_step(pending, 1, 512, 512, take);
    assert_int_equal(take[0], 7);
}

static void a_short_prompt_is_not_stuck_behind_a_long_one(void **state)
{
    (void)state;
    int32_t pending[] = { 200000, 30 }, take[2];
    sched_step(pending, 2, 512, 512, take);
    assert_int_equal(take[1], 30);
    assert_int_equal(take[0], 482);
}

static void long_prompts_move_too(void **state)
{
    (void)state;
    int32_t pending[] = { 90000, 100000, 110000 }, take[3];
    sched_step(pending, 3, 512, 512, take);
    for (int i = 0; i < 3; i++) assert_true(take[i] > 0);
    assert_int_equal(take[0] + take[1] + take[2], 512);
}

/* While somebody answers, a long prompt takes no more of the step than it may. */
static void answers_keep_their_pace(void **state)
{
    (void)state;
    int32_t pending[] = { 1000, 1, 800, 1 }, take[4];
    sched_step(pending, 4, 512, 64, take);
    assert_int_equal(take[1] + take[3], 2);
    assert_int_equal(take[0] + take[2], 64);
    assert_true(take[0] > 0 && take[2] > 0);
    pending[1] = pending[3] = 0;
    sched_step(pending, 4, 512, 64, take);
    assert_int_equal(take[0] + take[2], 512);
    /* 0.2 seconds: 80 rows of 2.5 ms; never less than is worth reading, never more than the budget */
    assert_int_equal(sched_beside(0.0025, 512), 80);
    assert_int_equal(sched_beside(1, 512), 32);
    assert_int_equal(sched_beside(1, 16), 16);
    assert_int_equal(sched_beside(1e-9, 512), 512);
    assert_in_range(sched_beside(0, 512), 32, 511);
}

/* Any mix: within the budget, never more than asked, and all of the budget while somebody wants it. */
static void the_budget_is_kept_and_used(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 5000; round++) {
        int32_t pending[16], take[16], n = 1 + (int32_t)(rng_uniform(round, 1) * 16);
        int32_t budget = n + (int32_t)(rng_uniform(round, 2) * 100);
        int64_t wanted = 0, taken = 0;
        for (int32_t i = 0; i < n; i++) {
            double kind = rng_uniform(round, 3 + 2 * (uint64_t)i), size = rng_uniform(round, 4 + 2 * (uint64_t)i);
            pending[i] = kind < 0.2 ? 0 : kind < 0.5 ? 1 : 1 + (int32_t)(size * 200);
            wanted += pending[i];
        }
        sched_step(pending, n, budget, budget, take);
        for (int32_t i = 0; i < n; i++) {
            assert_in_range(take[i], 0, pending[i]);
            if (pending[i] == 1) assert_int_equal(take[i], 1);
            taken += take[i];
        }
        assert_true(taken <= budget);
        assert_int_equal(taken > 0, wanted > 0);
        if (wanted <= budget) for (int32_t i = 0; i < n; i++) assert_true(pending[i] == 0 || take[i] > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_go_first),
        cmocka_unit_test(one_prompt_takes_everything),
        cmocka_unit_test(a_short_prompt_is_not_stuck_behind_a_long_one),
        cmocka_unit_test(long_prompts_move_too),
        cmocka_unit_test(answers_keep_their_pace),
        cmocka_unit_test(the_budget_is_kept_and_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
