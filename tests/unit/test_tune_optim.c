/* The optimizer: torch's AdamW step by step (tests/golden/optim.json), its 8-bit states beside the full ones, experts without tokens, rates. */
#include <math.h>

#include "base/json.h"
#include "support/test.h"
#include "tune/optim.h"

enum { PAIRS = 3, RANK = 2, IN = 3, OUT = 4, ONE = RANK * (IN + OUT) };

/* Parameters without a model: experts of one layer, or one dense linear. */
typedef struct fake { tune_params s; tune_param p[PAIRS]; float values[PAIRS * ONE], grads[PAIRS * ONE]; } fake;

static void fake_init(fake *f, int64_t count, tune_group group)
{
    memset(f, 0, sizeof *f);
    for (int64_t i = 0; i < count; i++)
        f->p[i] = (tune_param){ .expert = group == TUNE_EXPERTS ? (int32_t)i : -1, .group = group, .rank = RANK, .in = IN, .out = OUT, .first = i * ONE };
    f->s = (tune_params){ .p = f->p, .count = count, .numbers = count * ONE, .values = f->values, .grads = f->grads };
}

static void numbers(const json_t *list, float *out)
{
    assert_int_equal(json_array_size(list), ONE);
    for (size_t i = 0; i < ONE; i++) out[i] = (float)json_number_value(json_array_get(list, i));
}

static double number(const json_t *o, const char *key) { return json_number_value(json_object_get(o, key)); }

static void all_rates(double rates[TUNE_GROUP_COUNT], double rate)
{
    for (int g = 0; g < TUNE_GROUP_COUNT; g++) rates[g] = rate;
}

static void as_torch(void **state)
{
    (void)state;
    json_error_t je;
    json_t *j = json_load_file("tests/golden/optim.json", 0, &je), *c;
    const char *name;
    int seen = 0;
    assert_non_null(j);
    json_object_foreach(json_object_get(j, "cases"), name, c) {
        fake f;
        err e = { 0 };
        optim *x = NULL;
        float want[ONE];
        double most = 0, rates[TUNE_GROUP_COUNT];
        optim_opts o = { .beta1 = number(c, "beta1"), .beta2 = number(c, "beta2"), .eps = number(c, "eps"), .decay = number(c, "decay"), .clip = number(c, "clip") };
        fake_init(&f, 1, TUNE_DENSE);
        all_rates(rates, number(c, "rate"));
        numbers(json_object_get(c, "start"), f.values);
        assert_ok(optim_new(&x, &f.s, &o, NULL, &e), &e);
        for (size_t k = 0; k < 10; k++) {
            optim_norms n;
            numbers(json_array_get(json_object_get(c, "grads"), k), f.grads);
            numbers(json_array_get(json_object_get(c, "values"), k), want);
            optim_norms_read(&f.s, &n);
            optim_step(x, rates, &n);
            for (int i = 0; i < ONE; i++) most = fmax(most, fabs((double)f.values[i] - want[i]));
        }
        print_message("%s: off by %.2e\n", name, most);
        assert_true(most <= 1e-6);
        optim_free(x);
        seen++;
    }
    assert_int_equal(seen, 3);
    json_decref(j);
}

/* A quadratic bowl is gone down about as far with states of 8 bits. */
static double descend(optim_kind kind)
{
    fake f;
    err e = { 0 };
    optim *x = NULL;
    optim_opts o;
    double sum = 0, rates[TUNE_GROUP_COUNT];
    optim_defaults(&o);
    o.kind = kind;
    o.clip = 0;
    all_rates(rates, 0.02);
    fake_init(&f, PAIRS, TUNE_ATTENTION);
    assert_ok(optim_new(&x, &f.s, &o, NULL, &e), &e);
    for (int k = 0; k < 300; k++) {
        optim_norms n;
        for (int i = 0; i < PAIRS * ONE; i++) f.grads[i] = (float)pow(10, i % 5 - 2) * (f.values[i] - (float)(i % 7 - 3) / 3);
        optim_norms_read(&f.s, &n);
        optim_step(x, rates, &n);
    }
    for (int i = 0; i < PAIRS * ONE; i++) sum += pow(f.values[i] - (double)(i % 7 - 3) / 3, 2);
    optim_free(x);
    return sqrt(sum / (PAIRS * ONE));
}

static void eight_bits(void **state)
{
    (void)state;
    double full = descend(OPTIM_ADAMW), small = descend(OPTIM_ADAMW_8BIT);
    print_message("from 0.67 down to %.2e, with 8 bits %.2e\n", full, small);
    assert_true(full < 0.01 && small < 0.03);
}

static void bytes_of_both(void **state)
{
    (void)state;
    fake f;
    err e = { 0 };
    for (int k = 0; k < OPTIM_KINDS; k++) {
        optim_opts o;
        optim *x = NULL;
        uint64_t want = 0;
        optim_defaults(&o);
        o.kind = (optim_kind)k;
        fake_init(&f, PAIRS, TUNE_DENSE);
        assert_ok(optim_new(NULL, &f.s, &o, &want, &e), &e);
        size_t before = mem_now();
        assert_ok(optim_new(&x, &f.s, &o, NULL, &e), &e);
        assert_true(mem_now() - before >= want && mem_now() - before < want + sizeof *x + 1024);
        optim_free(x);
        assert_int_equal(mem_now(), before);
    }
    optim_opts bad = { .beta1 = 1 };
    optim *x = NULL;
    assert_fails(optim_new(&x, &f.s, &bad, NULL, &e), E_ARG, &e, "betas");
}

/* An expert that no token chose keeps its numbers and its states; a dense linear goes on. */
static void without_a_gradient(void **state)
{
    (void)state;
    for (int k = 0; k < OPTIM_KINDS; k++)
        for (int g = 0; g < 2; g++) {
            fake f;
            err e = { 0 };
            optim *x = NULL;
            optim_opts o;
            optim_norms n;
            float before[PAIRS * ONE];
            double rates[TUNE_GROUP_COUNT];
            all_rates(rates, 0.1);
            optim_defaults(&o);
            o.kind = (optim_kind)k;
            o.decay = 0.1;
            fake_init(&f, PAIRS, g ? TUNE_EXPERTS : TUNE_DENSE);
            assert_ok(optim_new(&x, &f.s, &o, NULL, &e), &e);
            for (int i = 0; i < PAIRS * ONE; i++) f.grads[i] = (float)(i % 5 - 2);
            optim_norms_read(&f.s, &n);
            optim_step(x, rates, &n);
            memcpy(before, f.values, sizeof before);
            memset(f.grads + ONE, 0, ONE * sizeof *f.grads);          /* the second one */
            optim_norms_read(&f.s, &n);
            optim_step(x, rates, &n);
            assert_int_equal(n.idle, g);
            assert_int_equal(memcmp(before + ONE, f.values + ONE, ONE * sizeof *before) == 0, g);
            assert_int_not_equal(memcmp(before, f.values, ONE * sizeof *before), 0);
            assert_int_equal(x->steps[1], 2 - g);
            assert_int_equal(x->touched[1], 1);
            assert_int_equal(x->touched[0], 2);
            optim_free(x);
        }
}

static void norms_and_bad_numbers(void **state)
{
    (void)state;
    fake f;
    optim_norms n;
    int64_t at = -1;
    fake_init(&f, PAIRS, TUNE_DENSE);
    f.p[1].group = TUNE_ROUTER;
    f.grads[0] = 3;
    f.grads[ONE + 5] = -4;
    optim_norms_read(&f.s, &n);
    assert_true(n.all == 5 && n.group[TUNE_DENSE] == 3 && n.group[TUNE_ROUTER] == 4 && n.group[TUNE_EXPERTS] == 0);
    assert_int_equal(optim_find_bad(&f.s, &at), -1);
    f.grads[2 * ONE + 3] = NAN;
    assert_int_equal(optim_find_bad(&f.s, &at), 2);
    assert_int_equal(at, 3);
}

static void rates(void **state)
{
    (void)state;
    assert_true(optim_factor(OPTIM_CONSTANT, 0, 0, 10) == 1 && optim_factor(OPTIM_CONSTANT, 9, 0, 10) == 1);
    assert_true(optim_factor(OPTIM_LINEAR, 0, 0, 10) == 1 && fabs(optim_factor(OPTIM_LINEAR, 5, 0, 10) - 0.5) < 1e-12);
    assert_true(optim_factor(OPTIM_COSINE, 0, 0, 10) == 1 && fabs(optim_factor(OPTIM_COSINE, 5, 0, 10) - 0.55) < 1e-12 && fabs(optim_factor(OPTIM_COSINE, 10, 0, 10) - 0.1) < 1e-12);
    for (int s = 0; s < OPTIM_SCHEDULES; s++) {
        for (int k = 1; k < 4; k++) assert_true(optim_factor((optim_schedule)s, k, 4, 20) > optim_factor((optim_schedule)s, k - 1, 4, 20));
        assert_true(optim_factor((optim_schedule)s, 4, 4, 20) == 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_torch), cmocka_unit_test(eight_bits), cmocka_unit_test(bytes_of_both), cmocka_unit_test(without_a_gradient),
        cmocka_unit_test(norms_and_bad_numbers), cmocka_unit_test(rates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
