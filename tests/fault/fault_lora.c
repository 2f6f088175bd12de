/* Loading an adapter while every allocation fails once, and from files cut at many places: an error, nothing left over. */
#include "lora/lora.h"
#include "os/file.h"
#include "support/model.h"

static const char *const cases[] = { "26b", "e2b" };

static void every_allocation_fails_once(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        golden g;
        char path[96];
        int64_t failed = 0;
        golden_open(&g, cases[i]);
        snprintf(path, sizeof path, "tests/golden/lora/%s/adapter", cases[i]);
        lora_part part = { .path = path, .scale = 1 };
        for (int64_t n = 0;; n++) {
            err e = { 0 };
            gemma_adapter *a = NULL;
            size_t before = mem_now();
            mem_fail_at(n);
            status st = lora_load(&a, g.m, &part, 1, &e);
            bool hit = mem_fail_hit();
            mem_fail_at(-1);
            if (st == OK) gemma_adapter_free(a);
            else {
                assert_int_equal(st, E_NOMEM);
                assert_null(a);
                assert_true(hit && e.what[0] != 0);
                failed++;
            }
            assert_int_equal(mem_now(), before);
            if (!hit) break;
        }
        assert_true(failed > 10);
        golden_close(&g);
    }
}

static void copy_file(const char *from, const char *to, size_t most)
{
    err e = { 0 };
    buf b;
    file_out out;
    buf_init(&b, 1 << 20);
    assert_ok(file_read_all(&b, from, &e), &e);
    assert_ok(file_out_begin(&out, to, &e), &e);
    assert_ok(file_out_write(&out, b.data, most < b.len ? most : b.len, &e), &e);
    assert_ok(file_out_commit(&out, &e), &e);
    buf_done(&b);
}

/* Either file shorter than it was: refused, with its name. */
static void cut_files(void **state)
{
    (void)state;
    static const char *const names[] = { "adapter_config.json", "adapter_model.safetensors" };
    golden g;
    err e = { 0 };
    char dir[] = "/tmp/facet-lora-XXXXXX", from[2][128], to[2][128];
    assert_non_null(mkdtemp(dir));
    golden_open(&g, "e2b");
    for (int i = 0; i < 2; i++) {
        snprintf(from[i], sizeof from[i], "tests/golden/lora/e2b/adapter/%s", names[i]);
        snprintf(to[i], sizeof to[i], "%s/%s", dir, names[i]);
    }
    lora_part part = { .path = dir, .scale = 1 };
    for (int i = 0; i < 2; i++) {
        size_t whole = (size_t)file_size(from[i]), before = mem_now();
        copy_file(from[1 - i], to[1 - i], SIZE_MAX);
        for (int k = 0; k < 16; k++) {
            gemma_adapter *a = NULL;
            copy_file(from[i], to[i], whole * (size_t)k / 16);
            status st = lora_load(&a, g.m, &part, 1, &e);
            assert_int_equal(st, E_FORMAT);
            assert_null(a);
            assert_non_null(strstr(e.what, dir));
            assert_int_equal(mem_now(), before);
        }
        unlink(to[i]);
        gemma_adapter *a = NULL;
        assert_true(lora_load(&a, g.m, &part, 1, &e) != OK && strstr(e.what, dir));
    }
    unlink(to[0]);
    unlink(to[1]);
    rmdir(dir);
    golden_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_allocation_fails_once), cmocka_unit_test(cut_files) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
