/* Reading training data while every allocation fails once, and from files cut at many places. */
#include "support/test.h"

#include <unistd.h>

#include "base/json.h"
#include "os/file.h"
#include "support/must.h"
#include "support/vocab.h"
#include "tune/data_group.h"

static tok *vocabulary;

static void load_seed(buf *b, const char *name)
{
    char path[128];
    err e = { 0 };
    snprintf(path, sizeof path, "tests/fuzz/seeds/tune_data/%s", name);
    buf_init(b, 1 << 20);
    must(file_read_all(b, path, &e), &e);
}

/* All that a set is for. */
static status use(const char *name, str bytes, const data_opts *o, err *e)
{
    status st = OK;
    data_set *d = NULL;
    data_order *order = NULL;
    data_groups g = { 0 }, held = { 0 };
    data_shown shown = { 0 };
    const int64_t *examples;
    int64_t n;
    TRY(data_load_memory(&d, name, bytes, vocabulary, o, e));
    TRY(data_order_new(&order, d, e));
    data_order_next(order, 100, &examples, &n);
    TRY(data_group(&g, d, examples, n, 2 * o->max_length, e));        /* both of a pair */
    TRY(data_group_held_out(&held, d, 2 * o->max_length, e));
    TRY(data_show(&shown, d, 0, vocabulary, e));
out:
    data_shown_done(&shown);
    data_groups_done(&held);
    data_groups_done(&g);
    data_order_free(order);
    data_free(d);
    return st;
}

/* A row that memory ran out for is no bad row. */
static void fail_each(const char *name, data_opts o, int at_least)
{
    buf b;
    err e = { 0 };
    load_seed(&b, name);
    str bytes = { b.data, b.len };
    if (use(name, bytes, &o, &e) == E_UNSUPPORTED && strstr(e.hint, "zlib1g-dev")) goto out;     /* a build without it */
    assert_ok(use(name, bytes, &o, &e), &e);
    size_t before = mem_now();
    int n = 0;
    for (;; n++) {
        e = (err){ 0 };
        mem_fail_at(n);
        status st = use(name, bytes, &o, &e);
        bool hit = mem_fail_hit();
        mem_fail_at(-1);
        assert_int_equal(mem_now(), before);
        if (!hit) {
            assert_int_equal(st, OK);
            break;
        }
        if (st != E_NOMEM) fail_msg("%s, allocation %d: status %d, %s: %s", name, n, (int)st, e.what, e.why);
        assert_true(e.what[0]);
    }
    assert_true(n >= at_least);
out:
    buf_done(&b);
}

static void every_allocation_fails_once(void **state)
{
    (void)state;
    static const char *const names[] = { "messages.jsonl", "sharegpt.json", "alpaca.jsonl", "completion.jsonl", "text.jsonl", "messages.jsonl.gz" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        fail_each(names[i], (data_opts){ .variant = CHAT_EDGE, .max_length = 64, .bad_max = 9 }, 60);
        fail_each(names[i], (data_opts){ .variant = CHAT_LARGE, .think = DATA_THINK_OFF, .strings_are_chat = true, .max_length = 64, .bad_max = 9 }, 60);
    }
    fail_each("pairs.jsonl", (data_opts){ .variant = CHAT_LARGE, .pairs = true, .max_length = 64 }, 100);
}

/* A packed file that ends too early is refused whole, wherever it was cut; a damaged one is never more than an error. */
static void packed_files_are_cut_and_damaged(void **state)
{
    (void)state;
    static const char *const names[] = { "messages.jsonl.gz", "alpaca.jsonl.zst" };
    data_opts o = { .max_length = 256, .bad_max = 100 };
    for (int i = 0; i < 2; i++) {
        buf b;
        err e = { 0 };
        load_seed(&b, names[i]);
        bool can = use(names[i], (str){ b.data, b.len }, &o, &e) != E_UNSUPPORTED;
        for (size_t n = 4; can && n < b.len; n++) assert_fails(use(names[i], (str){ b.data, n }, &o, &e), E_FORMAT, &e, "it is cut short");
        for (size_t k = 4; can && k < b.len; k++) {
            e = (err){ 0 };
            b.data[k] ^= 0x55;
            status st = use(names[i], (str){ b.data, b.len }, &o, &e);
            assert_true(st == OK || ((st == E_FORMAT || st == E_NOMEM) && e.what[0]));
            b.data[k] ^= 0x55;
        }
        buf_done(&b);
    }
}

int main(void)
{
    json_use_mem();
    vocabulary = vocab_small();
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_allocation_fails_once), cmocka_unit_test(packed_files_are_cut_and_damaged) };
    int rc = cmocka_run_group_tests_name("tune data", tests, NULL, NULL);
    tok_free(vocabulary);
    return rc;
}
