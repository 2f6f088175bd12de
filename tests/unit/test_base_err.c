#include <errno.h>

#include "support/test.h"

static void three_lines(void **state)
{
    (void)state;
    err e;
    assert_int_equal(err_set(&e, E_FORMAT, "could not read \"%s\"\nline %d is bad\nTry another file.\nnever seen", "x", 7), E_FORMAT);
    assert_int_equal(e.code, E_FORMAT);
    assert_string_equal(e.what, "could not read \"x\"");
    assert_string_equal(e.why, "line 7 is bad");
    assert_string_equal(e.hint, "Try another file.");
    assert_int_equal(err_set(&e, E_ARG, "only what"), E_ARG);
    assert_string_equal(e.why, "");
    assert_string_equal(e.hint, "");
}

static void no_err_is_fine(void **state)
{
    (void)state;
    assert_int_equal(err_set(NULL, E_NOMEM, "%d", 1), E_NOMEM);
    err_wrap(NULL, "x");
}

static void errno_is_kept_for_io_only(void **state)
{
    (void)state;
    err e;
    errno = ENOSPC;
    err_set(&e, E_IO, "x");
    assert_int_equal(e.os_errno, ENOSPC);
    assert_int_equal(errno, ENOSPC);
    err_set(&e, E_ARG, "x");
    assert_int_equal(e.os_errno, 0);
}

static void control_characters_cannot_reach_the_terminal(void **state)
{
    (void)state;
    err e;
    err_set(&e, E_ARG, "name \"%s\"", "a\033[2J\x7f\r\t");
    assert_string_equal(e.what, "name \"a?[2J???\"");
}

static void long_values_are_cut(void **state)
{
    (void)state;
    err e;
    char big[5000];
    memset(big, 'x', sizeof big);
    big[sizeof big - 1] = 0;
    err_set(&e, E_ARG, "%s\nwhy", big);
    assert_int_equal(strlen(e.what), sizeof e.what - 1);
}

static void wrap_puts_context_first(void **state)
{
    (void)state;
    err e;
    err_set(&e, E_FORMAT, "inner\nwhy\nhint");
    err_wrap(&e, "file %d", 3);
    assert_string_equal(e.what, "file 3: inner");
    assert_string_equal(e.why, "why");
    char big[600];
    memset(big, 'y', sizeof big);
    big[sizeof big - 1] = 0;
    err_wrap(&e, "%s", big);
    assert_true(strlen(e.what) < sizeof e.what);
    assert_memory_equal(e.what, "yyyy", 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_lines),
        cmocka_unit_test(no_err_is_fine),
        cmocka_unit_test(errno_is_kept_for_io_only),
        cmocka_unit_test(control_characters_cannot_reach_the_terminal),
        cmocka_unit_test(long_values_are_cut),
        cmocka_unit_test(wrap_puts_context_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
