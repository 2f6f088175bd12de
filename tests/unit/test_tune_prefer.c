/* Losses of a pair: values, slopes against differences, and what must hold at the start of every run. */
#include <math.h>

#include "support/test.h"
#include "tune/prefer.h"

static const prefer_opts all[] = {
    { PREFER_SIGMOID, 0.1, 0 }, { PREFER_SIGMOID, 2, 0.5 }, { PREFER_HINGE, 0.1, 0 }, { PREFER_IPO, 0.3, 0 }, { PREFER_IPO, 0.1, 0.25 }, { PREFER_ORPO, 0.1, 0 }, { PREFER_ORPO, 1, 0 },
};

static void the_start(void **state)
{
    (void)state;
    const prefer_answer c = { -30, -30, 12 }, r = { -41, -41, 9 };
    prefer_loss l = prefer_pair(&all[0], &c, &r);
    assert_true(l.loss == log(2));
    assert_true(l.chosen == -0.05 && l.rejected == 0.05);
    assert_true(l.reward_chosen == 0 && l.reward_rejected == 0);
    assert_true(prefer_pair(&all[2], &c, &r).loss == 1);
    assert_true(fabs(prefer_pair(&all[3], &c, &r).loss - 1 / (0.6 * 0.6)) < 1e-12);
}

/* By hand: delta = (-20 + 25) - (-40 + 38) = 7; of means 5 / 10 + 2 / 8 = 0.75. */
static void values(void **state)
{
    (void)state;
    const prefer_answer c = { -20, -25, 10 }, r = { -40, -38, 8 };
    assert_true(fabs(prefer_pair(&all[0], &c, &r).loss - log(1 + exp(-0.7))) < 1e-12);
    assert_true(fabs(prefer_pair(&all[1], &c, &r).loss - (log(1 + exp(-14)) + 0.5 * 2)) < 1e-12);
    assert_true(fabs(prefer_pair(&all[2], &c, &r).loss - 0.3) < 1e-12);
    assert_true(fabs(prefer_pair(&all[3], &c, &r).loss - pow(0.75 - 1 / 0.6, 2)) < 1e-12);
    double odds = log(exp(-2) / (1 - exp(-2))) - log(exp(-5) / (1 - exp(-5)));
    assert_true(fabs(prefer_pair(&all[5], &c, &r).loss - (2 + 0.1 * log(1 + exp(-odds)))) < 1e-12);
    assert_true(prefer_pair(&all[0], &c, &r).reward_chosen == 0.5 && fabs(prefer_pair(&all[0], &c, &r).reward_rejected + 0.2) < 1e-12);
}

static void slopes(void **state)
{
    (void)state;
    const double h = 1e-5;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (int k = 0; k < 20; k++) {
            prefer_answer c = { -3 - 2.7 * k, -20, 3 + k }, r = { -60 + 2.9 * k, -25, 15 - k % 7 }, more;
            prefer_loss l = prefer_pair(&all[i], &c, &r), up, down;
            more = c;
            more.logp = c.logp + h;
            up = prefer_pair(&all[i], &more, &r);
            more.logp = c.logp - h;
            down = prefer_pair(&all[i], &more, &r);
            assert_true(fabs((up.loss - down.loss) / (2 * h) - l.chosen) < 1e-6 + 1e-6 * fabs(l.chosen));
            more = r;
            more.logp = r.logp + h;
            up = prefer_pair(&all[i], &c, &more);
            more.logp = r.logp - h;
            down = prefer_pair(&all[i], &c, &more);
            assert_true(fabs((up.loss - down.loss) / (2 * h) - l.rejected) < 1e-6 + 1e-6 * fabs(l.rejected));
        }
}

/* Without the part that imitates, the other way round pulls the other way. */
static void swapped(void **state)
{
    (void)state;
    const prefer_answer c = { -20, -25, 10 }, r = { -40, -38, 10 };
    prefer_loss a = prefer_pair(&all[0], &c, &r), b = prefer_pair(&all[0], &r, &c);
    assert_true(fabs(a.loss - (b.loss - 0.7)) < 1e-12);
    assert_true(a.chosen < 0 && b.chosen < 0 && fabs(a.chosen + b.chosen + 0.1) < 1e-12);
}

/* Answers that are all but certain, or impossible, give numbers. */
static void extremes(void **state)
{
    (void)state;
    const double logps[] = { 0, -1e-9, -1e4 };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (int k = 0; k < 9; k++) {
            const prefer_answer c = { logps[k % 3], -5, 4 }, r = { logps[k / 3], -5, 4 };
            prefer_loss l = prefer_pair(&all[i], &c, &r);
            assert_true(isfinite(l.loss) && isfinite(l.chosen) && isfinite(l.rejected));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_start), cmocka_unit_test(values), cmocka_unit_test(slopes), cmocka_unit_test(swapped), cmocka_unit_test(extremes) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
