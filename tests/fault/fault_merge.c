/* Merging while allocations fail, each in turn: an error, neither file nor folder, nothing left over. */
#include <unistd.h>

#include "base/json.h"
#include "os/dir.h"
#include "os/file.h"
#include "quant/merge.h"
#include "support/folder.h"
#include "support/test.h"

static char dir[] = "/tmp/facet-fault-XXXXXX";

/* Allocations of opening the model, with which merging begins: fault_open has them fail. */
static int64_t allocations_of_opening(void)
{
    mem_stats before, after;
    gemma *m = NULL;
    err e = { 0 };
    mem_stats_read(&before);
    assert_ok(gemma_open(&m, "tests/golden/26b-odd/model", &e), &e);
    mem_stats_read(&after);
    gemma_close(m);
    return (int64_t)(after.calls - before.calls);
}

/* After the file is whole only the comparison can fail: then it may be there. */
static void fail_each(const char *name, dtype type, int64_t step)
{
    int64_t failed = 0;
    char out[128];
    const lora_part part = { .path = "tests/golden/lora/26b-odd/adapter", .scale = 1 };
    const merge_opts o = { .type = type, .threads = 1, .force = true };
    snprintf(out, sizeof out, "%s/%s", dir, name);
    for (int64_t n = allocations_of_opening();; n += step) {
        err e = { 0 };
        merge_report r;
        size_t before = mem_now();
        mem_fail_at(n);
        status st = merge_model("tests/golden/26b-odd/model", &part, 1, out, &o, &r, &e);
        bool hit = mem_fail_hit();
        mem_fail_at(-1);
        assert_int_equal(mem_now(), before);
        assert_int_equal(folder_count(dir), file_exists(out));
        if (st == OK) assert_true(file_exists(out));
        else assert_true(st == E_NOMEM && hit && e.what[0] != 0);
        failed += st != OK;
        if (file_is_dir(out)) dir_remove(out);
        else remove(out);
        if (!hit) break;
    }
    print_message("%s: %lld allocations failed\n", name, (long long)failed);
    assert_true(failed > 60);
}

static void every_allocation_fails_once(void **state)
{
    (void)state;
    fail_each("merged.gguf", DTYPE_BF16, 1);
    fail_each("merged", DTYPE_COUNT, 17);       /* thousands of pieces of JSON, each the same way out */
}

static int begin(void **state)
{
    (void)state;
    json_use_mem();
    return mkdtemp(dir) ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    dir_remove(dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_allocation_fails_once) };
    return cmocka_run_group_tests(tests, begin, end);
}
