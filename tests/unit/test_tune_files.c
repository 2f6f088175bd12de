/* Training data: files and their packings, bad rows, limits, the split, the order of an epoch and micro-batches. */
#include <unistd.h>

#include "support/test.h"

#include "base/json.h"
#include "support/vocab.h"
#include "tune/data_group.h"

static tok *small;

static data_opts opts_of(chat_variant v) { return (data_opts){ .variant = v, .max_length = 4096, .seed = 1 }; }

static data_set *load(const char *text, data_opts o)
{
    data_set *d = NULL;
    err e = { 0 };
    assert_ok(data_load_memory(&d, "rows", str_from(text), small, &o, &e), &e);
    return d;
}

/* ---- files, order, packing ----------------------------------------------------------------------------------- */

/* n rows whose answers have the lengths 1, 2, 3 ... */
static char *many_rows(int n)
{
    buf b;
    buf_init(&b, 1 << 24);
    for (int i = 0; i < n; i++) {
        buf_addf(&b, NULL, "{\"prompt\": \"%d\", \"completion\": \"", i);
        for (int k = 0; k <= i % 40; k++) buf_add(&b, "x", 1, NULL);
        buf_add_str(&b, "\"}\n", NULL);
    }
    return buf_take(&b);
}

static void bad_rows_are_listed(void **state)
{
    (void)state;
    const char *rows = "\n{\"text\": \"one\"}\n{\"text\": \n\n  {\"text\": 7}\r\n{\"prompt\": \"p\", \"completion\": \"c\"}\n{\"text\": \"two\"}";
    data_opts o = opts_of(CHAT_EDGE);
    data_set *d = NULL;
    err e = { 0 };
    o.bad_max = 3;
    d = load(rows, o);
    assert_int_equal(d->report.rows, 2);
    assert_int_equal(d->bad_count, 3);
    assert_int_equal(d->bad[0].line, 3);
    assert_int_equal(d->bad[1].line, 5);
    assert_int_equal(d->bad[2].line, 6);
    assert_non_null(strstr(d->bad[0].reason, "not valid JSON"));
    assert_non_null(strstr(d->bad[2].reason, "it is a row of prompt and completion; the file began with text"));
    assert_int_equal(d->docs[1].line, 7);
    assert_int_equal(d->docs[1].example, 1);
    data_free(d);
    o.bad_max = 2;
    assert_fails(data_load_memory(&d, "rows", str_from(rows), small, &o, &e), E_FORMAT, &e, "Only 2 bad rows may be skipped");
    assert_non_null(strstr(e.why, "line 3: it is not valid JSON"));
    assert_fails(data_load_memory(&d, "rows", STR(" \n"), small, &o, &e), E_FORMAT, &e, "it has no rows");
}

static void lists_are_rows_too(void **state)
{
    (void)state;
    data_opts o = opts_of(CHAT_EDGE);
    data_set *d = load("\xEF\xBB\xBF [\n {\"text\": \"a ] } \\\" ,\"},\n\n {\"text\":\n\"b\"}\n]\n", o);
    err e = { 0 };
    assert_int_equal(d->doc_count, 2);
    assert_int_equal(d->docs[0].line, 2);
    assert_int_equal(d->docs[1].line, 4);
    data_free(d);
    assert_fails(data_load_memory(&d, "rows", STR("[{\"text\": \"a\"},"), small, &o, &e), E_FORMAT, &e, "not closed");
    assert_fails(data_load_memory(&d, "rows", STR("[{\"text\": \"a\"}, {\"te"), small, &o, &e), E_FORMAT, &e, "has no end");
    assert_fails(data_load_memory(&d, "rows", STR("[{\"text\": \"a\"}] x"), small, &o, &e), E_FORMAT, &e, "follows the list");
    assert_fails(data_load_memory(&d, "rows", STR("\xFF\xFE[\0"), small, &o, &e), E_FORMAT, &e, "UTF-16");
}

static void rows_and_depth_have_limits(void **state)
{
    (void)state;
    data_opts o = opts_of(CHAT_EDGE);
    buf b;
    data_set *d = NULL;
    err e = { 0 };
    o.bad_max = 5;
    buf_init(&b, 64 << 20);
    buf_add_str(&b, "{\"text\": \"", NULL);
    char *spaces = mem_alloc(DATA_ROW_MAX, MEM_OTHER);
    memset(spaces, ' ', DATA_ROW_MAX);
    buf_add(&b, spaces, DATA_ROW_MAX, NULL);
    mem_free(spaces);
    buf_add_str(&b, "\"}\n{\"text\": ", NULL);
    for (int i = 0; i < 10000; i++) buf_add(&b, "[", 1, NULL);
    buf_add_str(&b, "\n{\"text\": \"x\"}\n", NULL);
    assert_ok(data_load_memory(&d, "rows", (str){ b.data, b.len }, small, &o, &e), &e);
    assert_int_equal(d->bad_count, 2);
    assert_string_equal(d->bad[0].reason, "it is longer than 16 MiB");
    assert_non_null(strstr(d->bad[1].reason, "nested deeper"));
    assert_int_equal(d->report.rows, 1);
    data_free(d);
    buf_done(&b);
}

static void rows_are_held_out_whole(void **state)
{
    (void)state;
    char *rows = many_rows(200);
    data_opts o = opts_of(CHAT_EDGE);
    o.held_out = 0.05;
    data_set *d = load(rows, o), *again = load(rows, o);
    int64_t held = 0;
    for (int64_t i = 0; i < d->example_count; i++) held += d->examples[i].held_out;
    assert_int_equal(held, 10);
    assert_int_equal(d->report.held_out_docs, 10);
    assert_true(d->fingerprint == again->fingerprint);
    data_free(again);
    o.seed = 2;
    again = load(rows, o);
    assert_true(d->fingerprint != again->fingerprint);
    data_free(again);
    data_free(d);
    mem_free(rows);
    rows = many_rows(49);
    d = load(rows, o);
    assert_int_equal(d->report.held_out_rows, 0);
    data_free(d);
    mem_free(rows);
}

/* Every epoch has each trained example once, in an order of its own; a place saved goes on with the same examples. */
static void order_can_be_resumed(void **state)
{
    (void)state;
    char *rows = many_rows(100);
    data_opts o = opts_of(CHAT_EDGE);
    o.held_out = 0.1;
    data_set *d = load(rows, o);
    data_order *a = NULL, *b = NULL;
    err e = { 0 };
    int64_t list[3][90], n, at[3] = { 0 };
    const int64_t *x;
    assert_ok(data_order_new(&a, d, &e), &e);
    assert_ok(data_order_new(&b, d, &e), &e);
    assert_int_equal(data_order_examples(a), 90);
    while (at[2] < 90) {
        data_place here = data_order_place(a);
        assert_ok(data_order_seek(b, here, &e), &e);
        data_order_next(a, 8, &x, &n);
        const int64_t epoch = data_order_place(a).epoch;
        for (int64_t i = 0; i < n; i++) list[epoch][at[epoch]++] = x[i];
        assert_int_equal(n, at[epoch] == 90 ? 2 : 8);
        const int64_t *y;
        int64_t m;
        data_order_next(b, 8, &y, &m);
        assert_int_equal(m, n);
        assert_memory_equal(x, y, (size_t)n * sizeof *x);
    }
    for (int k = 0; k < 3; k++) {
        uint8_t seen[100] = { 0 };
        for (int i = 0; i < 90; i++) {
            assert_false(seen[list[k][i]] || d->examples[list[k][i]].held_out);
            seen[list[k][i]] = 1;
        }
        assert_int_equal(at[k], 90);
    }
    assert_true(memcmp(list[0], list[1], sizeof list[0]) != 0);
    assert_fails(data_order_seek(a, (data_place){ 0, 91 }, &e), E_ARG, &e, "91");
    data_order_free(a);
    data_order_free(b);
    data_free(d);
    mem_free(rows);
}

static void write_file(const char *path, const void *p, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    fclose(f);
}

static void weights_repeat_rows(void **state)
{
    (void)state;
    char a[] = "/tmp/facet-data-a-XXXXXX", b[] = "/tmp/facet-data-b-XXXXXX";
    assert_true(mkstemp(a) >= 0 && mkstemp(b) >= 0);
    char *rows = many_rows(10);
    write_file(a, rows, strlen(rows));
    write_file(b, rows, strlen(rows));
    data_source sources[] = { { a, 2.3 }, { b, 0.5 } };
    data_opts o = opts_of(CHAT_EDGE);
    data_set *d = NULL;
    data_order *order = NULL;
    err e = { 0 };
    const int64_t *x;
    int64_t n, rare[2] = { 0 };
    assert_ok(data_load(&d, sources, 2, small, &o, &e), &e);
    assert_int_equal(d->files[1].rows, 10);
    assert_ok(data_order_new(&order, d, &e), &e);
    assert_int_equal(data_order_examples(order), 23 + 5);
    for (int epoch = 0; epoch < 2; epoch++) {
        int times[20] = { 0 };
        data_order_next(order, 100, &x, &n);
        assert_int_equal(n, 28);
        for (int64_t i = 0; i < n; i++) times[x[i]]++;
        for (int i = 0; i < 10; i++) {
            assert_in_range(times[i], 2, 3);
            assert_in_range(times[10 + i], 0, 1);
            rare[epoch] |= (int64_t)times[10 + i] << i;
        }
    }
    assert_true(rare[0] != rare[1]);       /* drawn anew */
    data_order_free(order);
    data_free(d);
    sources[0].weight = 0;
    assert_fails(data_load(&d, sources, 2, small, &o, &e), E_ARG, &e, "weight 0");
    sources[0] = (data_source){ "/nonexistent/rows.jsonl", 1 };
    assert_fails(data_load(&d, sources, 2, small, &o, &e), E_IO, &e, "/nonexistent/rows.jsonl");
    mem_free(rows);
    unlink(a);
    unlink(b);
}

/* Each document starts at position 0 under a number of its own, and every trained token is the label of the row before it. */
static void check_rows(const data_set *d, const data_groups *g, int64_t group, int64_t want)
{
    tune_row rows[100];
    int32_t n = data_fill(rows, d, g, group), at = 0;
    assert_int_equal(n, want);
    for (int64_t i = g->first[group]; i < g->first[group + 1]; i++) {
        const int32_t *ids = data_ids(d, g->docs[i]), count = d->docs[g->docs[i]].n;
        const uint8_t *target = data_target(d, g->docs[i]);
        assert_false(target[0]);
        for (int32_t k = 0; k + 1 < count; k++, at++) {
            assert_int_equal(rows[at].id, ids[k]);
            assert_int_equal(rows[at].pos, k);
            assert_int_equal(rows[at].doc, i - g->first[group]);
            assert_int_equal(rows[at].label, target[k + 1] ? ids[k + 1] : -1);
        }
    }
    assert_int_equal(at, n);
}

static void groups_hold_all_documents(void **state)
{
    (void)state;
    char *rows = many_rows(77);
    data_opts o = opts_of(CHAT_EDGE);
    data_set *d = load(rows, o);
    data_groups g = { 0 };
    err e = { 0 };
    int64_t all[77];
    uint8_t seen[77] = { 0 };
    for (int i = 0; i < 77; i++) all[i] = i;
    assert_ok(data_group(&g, d, all, 77, 100, &e), &e);
    assert_int_equal(g.first[0], 0);
    assert_int_equal(g.first[g.count], 77);
    for (int64_t k = 0; k < g.count; k++) {
        int64_t tokens = 0;
        assert_true(g.first[k] < g.first[k + 1]);
        for (int64_t i = g.first[k]; i < g.first[k + 1]; i++) {
            tokens += d->docs[g.docs[i]].n - 1;
            assert_false(seen[g.docs[i]]++);
        }
        assert_true(tokens <= 100);
        check_rows(d, &g, k, tokens);
    }
    assert_int_equal(g.rows, d->tokens - d->doc_count);
    assert_int_equal(g.targets, d->report.targets);
    assert_true(g.count <= (g.rows + 99) / 100 + 1);      /* one-token steps: best fit leaves next to nothing over */
    data_groups_done(&g);
    assert_fails(data_group(&g, d, all, 77, 30, &e), E_ARG, &e, "a micro-batch has 30");
    data_free(d);
    mem_free(rows);
}

/* ---- packings ---------------------------------------------------------------------------------------------- */

/* A build without the library names the package; false then. */
static bool can_read(status st, const err *e, const char *package)
{
    if (st != E_UNSUPPORTED) return true;
    assert_non_null(strstr(e->hint, package));
    return false;
}

static void packed_files_are_read(void **state)
{
    (void)state;
    static const struct { const char *path, *plain, *package; } cases[] = {
        { "messages.jsonl.gz", "messages.jsonl", "zlib1g-dev" }, { "alpaca.jsonl.zst", "alpaca.jsonl", "libzstd-dev" } };
    for (int i = 0; i < 2; i++) {
        char packed[96], plain[96];
        data_opts o = opts_of(CHAT_LARGE);
        data_set *a = NULL, *b = NULL;
        err e = { 0 };
        snprintf(packed, sizeof packed, "tests/fuzz/seeds/tune_data/%s", cases[i].path);
        snprintf(plain, sizeof plain, "tests/fuzz/seeds/tune_data/%s", cases[i].plain);
        assert_ok(data_load(&b, &(data_source){ plain, 1 }, 1, small, &o, &e), &e);
        status st = data_load(&a, &(data_source){ packed, 1 }, 1, small, &o, &e);
        if (can_read(st, &e, cases[i].package)) {
            assert_ok(st, &e);
            assert_true(a->fingerprint == b->fingerprint && a->doc_count > 0);
        }
        data_free(a);
        data_free(b);
    }
}

/* A Zstandard frame of blocks that each repeat one byte 131072 times: 4 bytes for 128 KiB. */
static void what_swells_beyond_reason_is_refused(void **state)
{
    (void)state;
    data_opts o = opts_of(CHAT_EDGE);
    data_set *d = NULL;
    err e = { 0 };
    buf b;
    buf_init(&b, 1 << 20);
    buf_add(&b, "\x28\xB5\x2F\xFD\x00\x38", 6, NULL);
    for (int i = 0; i < 1024; i++) buf_add(&b, "\x02\x00\x10x", 4, NULL);      /* not the last one, kind 1, size 131072 */
    buf_add(&b, "\x03\x00\x10x", 4, NULL);
    o.bad_max = 9;
    status st = data_load_memory(&d, "bomb", (str){ b.data, b.len }, small, &o, &e);
    if (can_read(st, &e, "libzstd-dev")) {
        assert_int_equal(st, E_FORMAT);
        assert_non_null(strstr(e.why, "400 times"));
    }
    buf_done(&b);
}

int main(void)
{
    json_use_mem();
    small = vocab_small();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_rows_are_listed),
        cmocka_unit_test(lists_are_rows_too),
        cmocka_unit_test(rows_and_depth_have_limits),
        cmocka_unit_test(rows_are_held_out_whole),
        cmocka_unit_test(order_can_be_resumed),
        cmocka_unit_test(weights_repeat_rows),
        cmocka_unit_test(groups_hold_all_documents),
        cmocka_unit_test(packed_files_are_read),
        cmocka_unit_test(what_swells_beyond_reason_is_refused),
    };
    int rc = cmocka_run_group_tests_name("tune files", tests, NULL, NULL);
    tok_free(small);
    return rc;
}
