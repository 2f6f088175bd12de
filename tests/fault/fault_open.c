/* Opening a model while every allocation fails once, and from files cut at every boundary: an error, nothing left over. */
#include <unistd.h>

#include "base/bits.h"
#include "base/json.h"
#include "model/gemma.h"
#include "os/file.h"
#include "support/test.h"
#include "support/tiny.h"

static char path[] = "/tmp/facet-fault-XXXXXX";

static const tiny_shape small_moe = { .name = "moe", .layers = 2, .hidden = 6, .ff = 3, .nq = 2, .nkv = 2, .nkv_full = 1, .d = 2, .d_full = 4, .period = 2,
                                      .window = 3, .experts = 3, .used = 2, .expert_ff = 2, .k_eq_v = true };
static const tiny_shape small_ple = { .name = "ple", .layers = 4, .hidden = 6, .ff = 3, .nq = 2, .nkv = 1, .nkv_full = 1, .d = 2, .d_full = 4, .period = 2,
                                      .window = 3, .shared = 2, .ple = 2, .wide = true, .dead_kv = true };

/* Returns how many of the allocations of opening made it fail. */
static int64_t fail_each(const char *what)
{
    int64_t failed = 0, layers = -1;
    for (int64_t n = 0;; n++) {
        err e = { 0 };
        gemma *m = NULL;
        size_t before = mem_now();
        mem_fail_at(n);
        status st = gemma_open(&m, what, &e);
        bool hit = mem_fail_hit();
        mem_fail_at(-1);
        if (st == OK) {   /* a growing buffer may do with less than it asked for first */
            if (!hit && !failed) fail_msg("nothing was made to fail");
            if (layers < 0) layers = m->config.layer_count;
            assert_int_equal(m->config.layer_count, layers);   /* never a part of the model */
            gemma_close(m);
        } else {
            assert_int_equal(st, E_NOMEM);
            assert_null(m);
            assert_true(hit && e.what[0] != 0);
            failed++;
        }
        assert_int_equal(mem_now(), before);
        if (!hit) return failed;
    }
}

static void every_allocation_fails_once(void **state)
{
    (void)state;
    err e;
    static const char *const folders[] = { "tests/golden/26b-odd/model", "tests/golden/e2b-saved/model", "tests/golden/e4b/model" };   /* the last is sharded */
    const tiny_shape *const shapes[] = { &small_moe, &small_ple };
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        assert_ok(tiny_write_shape(path, shapes[i], DTYPE_F16, 1, &e), &e);
        assert_true(fail_each(path) > 8);
    }
    for (size_t i = 0; i < COUNT_OF(folders); i++) assert_true(fail_each(folders[i]) > 20);
}

/* The file cut to n bytes must be refused. */
static void refuse_cut(size_t n)
{
    err e = { 0 };
    gemma *m = NULL;
    assert_int_equal(truncate(path, (off_t)n), 0);
    assert_int_equal(gemma_open(&m, path, &e), E_FORMAT);
    assert_null(m);
    assert_non_null(strstr(e.what, path));
}

static void every_section_boundary(void **state)
{
    (void)state;
    err e;
    gguf_file *g;
    static size_t cuts[512];
    size_t count = 0, before = mem_now();
    assert_ok(tiny_write_shape(path, &small_moe, DTYPE_F16, 1, &e), &e);
    assert_ok(gguf_open(&g, path, &e), &e);
    const uint8_t *start = gguf_value_at(g, 0)->data - 4 - gguf_value_at(g, 0)->key.n - 8 - 24;
    for (uint64_t i = gguf_tensor_count(g); i-- > 0;) {   /* from the end: each cut leaves less */
        cuts[count++] = (size_t)(gguf_tensor_at(g, i)->data - start) + gguf_tensor_at(g, i)->bytes - 1;
        cuts[count++] = (size_t)(gguf_tensor_at(g, i)->data - start);
    }
    for (uint64_t i = gguf_tensor_count(g); i-- > 0;) cuts[count++] = (size_t)((const uint8_t *)gguf_tensor_at(g, i)->name.p - start);
    for (uint64_t i = gguf_value_count(g); i-- > 0;) {
        cuts[count++] = (size_t)(gguf_value_at(g, i)->data - start);
        cuts[count++] = (size_t)((const uint8_t *)gguf_value_at(g, i)->key.p - start);
    }
    gguf_close(g);
    for (size_t i = 0; i < count; i++) refuse_cut(cuts[i]);
    for (size_t n = 24; n-- > 0;) refuse_cut(n);
    assert_int_equal(mem_now(), before);
}

static int begin(void **state)
{
    (void)state;
    json_use_mem();
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int end(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_allocation_fails_once), cmocka_unit_test(every_section_boundary) };
    return cmocka_run_group_tests(tests, begin, end);
}
