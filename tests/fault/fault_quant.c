/* Quantizing while every allocation fails once, and from files cut short: an error, no file, nothing left over. */
#include "base/bits.h"
#include "base/json.h"
#include "os/file.h"
#include "quant/quant.h"
#include "support/test.h"
#include "support/tiny.h"

#include <unistd.h>

static char in[] = "/tmp/facet-fault-XXXXXX";
static char out[64];

static const tiny_shape small_moe = { .name = "moe", .layers = 2, .hidden = 32, .ff = 3, .nq = 2, .nkv = 2, .nkv_full = 1, .d = 2, .d_full = 4, .period = 2,
                                      .window = 3, .experts = 3, .used = 2, .expert_ff = 32, .k_eq_v = true };

static const quant_opts options = { .type = DTYPE_Q4_0, .embedding = DTYPE_COUNT, .ple = DTYPE_COUNT, .threads = 2, .force = true };

static void fail_each(const char *from)
{
    int64_t failed = 0;
    for (int64_t n = 0;; n++) {
        err e = { 0 };
        quant_report r;
        size_t before = mem_now();
        mem_fail_at(n);
        status st = quant_file(from, out, &options, &r, &e);
        bool hit = mem_fail_hit();
        mem_fail_at(-1);
        assert_int_equal(mem_now(), before);
        assert_int_equal(file_exists(out), st == OK);
        if (st == OK) {
            unlink(out);
        } else {
            assert_int_equal(st, E_NOMEM);
            assert_true(hit && e.what[0] != 0);
            failed++;
        }
        if (!hit) break;
    }
    assert_true(failed > 40);
}

static void every_allocation_fails_once(void **state)
{
    (void)state;
    err e;
    assert_ok(tiny_write_shape(in, &small_moe, DTYPE_F16, 1, &e), &e);
    fail_each(in);
    fail_each("tests/golden/26b-odd/model");
}

static void cut_files(void **state)
{
    (void)state;
    err e = { 0 };
    quant_report r;
    assert_ok(tiny_write_shape(in, &small_moe, DTYPE_F16, 1, &e), &e);
    int64_t whole = file_size(in);
    size_t before = mem_now();
    for (int k = 31; k >= 0; k--) {
        assert_int_equal(truncate(in, (off_t)(whole * k / 32)), 0);
        assert_int_equal(quant_file(in, out, &options, &r, &e), E_FORMAT);
        assert_non_null(strstr(e.what, in));
        assert_false(file_exists(out));
        assert_int_equal(mem_now(), before);
    }
}

static int begin(void **state)
{
    (void)state;
    json_use_mem();
    int fd = mkstemp(in);
    snprintf(out, sizeof out, "%s.out", in);
    return fd < 0 ? -1 : close(fd);
}

static int end(void **state)
{
    (void)state;
    return unlink(in);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_allocation_fails_once), cmocka_unit_test(cut_files) };
    return cmocka_run_group_tests(tests, begin, end);
}
