/* Which tokens may come, over Gemma 4's whole vocabulary, at 3,500 places of answers to 80 schemas: the same as when they were last
 * held against another program (tests/oracle/masks.py).  After a change that is meant: build/release/tests/gen/mk_masks golden >
 * tests/golden/masks.txt, and make oracle must agree. */
#include "support/mask_walks.h"
#include "support/packed.h"
#include "support/test.h"

static void masks_as_before(void **x)
{
    (void)x;
    buf now, before;
    int walks = 0;
    str a, b, line, old;
    mask_walks_golden(&now);
    packed_read(&before, "tests/golden/masks.txt");
    a = (str){ now.data, now.len };
    b = (str){ before.data, before.len };
    for (; packed_line(&a, &line); walks++) {
        assert_true(packed_line(&b, &old));
        if (!str_eq(line, old)) fail_msg("schema.walk, tokens allowed at each step, hash:\nnow    %.*s\nbefore %.*s", (int)line.n, line.p, (int)old.n, old.p);
    }
    assert_false(packed_line(&b, &old));
    assert_true(walks > 250);
    buf_done(&now);
    buf_done(&before);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(masks_as_before) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
