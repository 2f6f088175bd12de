/* f16 and bf16 conversions against values computed with ldexp and exact comparisons. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "num/half.h"

static double f16_value(uint16_t h)
{
    int e = h >> 10 & 31, m = h & 1023;
    double v = e == 31 ? (m ? NAN : INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
    return h & 0x8000 ? -v : v;
}

static void f16_decodes_and_comes_back(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        double want = f16_value((uint16_t)h);
        float got = half_f16_to_f32((uint16_t)h);
        if (isnan(want)) {
            assert_true(isnan(got));
            assert_true(isnan(half_f16_to_f32(half_f32_to_f16(got))));
            continue;
        }
        assert_true((double)got == want && !signbit(got) == !signbit(want));
        assert_int_equal(half_f32_to_f16(got), h);
    }
}

/* Half way between two neighbours goes to the even one; a hair more or less goes to the nearer. */
static void f16_rounds_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7bff; h++) {
        double a = f16_value((uint16_t)h), b = f16_value((uint16_t)(h + 1)), mid = (a + b) / 2;
        uint32_t even = h & 1 ? h + 1 : h;
        assert_int_equal(half_f32_to_f16((float)mid), even);
        assert_int_equal(half_f32_to_f16(nextafterf((float)mid, 0)), h);
        assert_int_equal(half_f32_to_f16(nextafterf((float)mid, INFINITY)), h + 1);
        assert_int_equal(half_f32_to_f16(-(float)mid), even | 0x8000);
    }
    assert_int_equal(half_f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(half_f32_to_f16(65520), 0x7c00);
    assert_int_equal(half_f32_to_f16(3e38f), 0x7c00);
}

static void bf16_rounds_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7f80; h++) {
        uint32_t u = h << 16;
        float f;
        memcpy(&f, &u, 4);
        assert_true(half_bf16_to_f32((uint16_t)h) == f);
        assert_int_equal(half_f32_to_bf16(f), h);
        u += 0x8000;
        memcpy(&f, &u, 4);
        assert_int_equal(half_f32_to_bf16(f), h & 1 ? h + 1 : h);
        u--;
        memcpy(&f, &u, 4);
        assert_int_equal(half_f32_to_bf16(f), h);
    }
    assert_int_equal(half_f32_to_bf16(3.4028234e38f), 0x7f80);
    assert_int_equal(half_f32_to_bf16(-INFINITY), 0xff80);
    assert_true(isnan(half_bf16_to_f32(half_f32_to_bf16(NAN))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f16_decodes_and_comes_back), cmocka_unit_test(f16_rounds_to_nearest_even),
        cmocka_unit_test(bf16_rounds_to_nearest_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
