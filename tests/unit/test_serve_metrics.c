/* When to come back, from what waits and what requests took so far. */
#include "serve/metrics.h"

#include "support/test.h"

static void when_to_come_back(void **state)
{
    (void)state;
    metrics m = { .submitted = 5, .running = 1 };
    assert_int_equal(metrics_queue_seconds(&m, 1), 1);               /* nothing is known yet */
    for (int i = 0; i < 3; i++) metrics_add(&m, &(facet_result){ .answer_tokens = 4, .wait_seconds = 1000, .prompt_seconds = 2, .answer_seconds = 6 });
    assert_int_equal(metrics_queue_seconds(&m, 1), 40);              /* four wait, the fifth is he who asks: 5 times 8 seconds */
    assert_int_equal(metrics_queue_seconds(&m, 4), 10);
    assert_int_equal(metrics_queue_seconds(&m, 3), 14);              /* upwards */
    m.running = 5;
    assert_int_equal(metrics_queue_seconds(&m, 1), 8);
    m.submitted = 1000;
    assert_int_equal(metrics_queue_seconds(&m, 1), 600);
    m.submitted = 5;
    metrics_add(&m, &(facet_result){ .answer_seconds = 1e6 });       /* one that was cancelled before its first token says nothing */
    assert_int_equal(metrics_queue_seconds(&m, 1), 8);
    for (int i = 0; i < 60; i++) metrics_add(&m, &(facet_result){ .answer_tokens = 1, .answer_seconds = 0.01 });
    assert_int_equal(metrics_queue_seconds(&m, 1), 1);               /* the newest count */
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(when_to_come_back) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
