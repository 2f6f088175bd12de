/* What every unit test includes: cmocka with the headers it wants, and a few shorthands. */
#ifndef FC_TESTS_TEST_H
#define FC_TESTS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"

/* The call must succeed; otherwise its error is printed. */
#define assert_ok(call, e) \
    do { \
        status st_ = (call); \
        if (st_ != OK) fail_msg("%s: status %d, %s: %s", #call, (int)st_, (e)->what, (e)->why); \
    } while (0)

/* The call must fail with this code, and its message must have this text in it. */
#define assert_fails(call, want, e, text) \
    do { \
        memset((e), 0, sizeof *(e)); \
        assert_int_equal((call), (want)); \
        if (!strstr((e)->what, (text)) && !strstr((e)->why, (text)) && !strstr((e)->hint, (text))) \
            fail_msg("\"%s\" is not in: %s / %s / %s", (text), (e)->what, (e)->why, (e)->hint); \
    } while (0)

/* Bytes that base/mem has given out and not got back. */
static inline size_t mem_now(void)
{
    mem_stats s;
    mem_stats_read(&s);
    return s.current;
}

#endif
