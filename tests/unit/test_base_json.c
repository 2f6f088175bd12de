#include "base/buf.h"
#include "base/json.h"
#include "support/test.h"

static json_t *parse(const char *text)
{
    err e;
    json_t *j = NULL;
    assert_ok(json_parse(&j, str_from(text), "test", true, &e), &e);
    return j;
}

static void errors_name_the_position(void **state)
{
    (void)state;
    err e;
    json_t *j = NULL;
    assert_fails(json_parse(&j, STR("{\n  \"a\": 1,\n  \"b\": }\n"), "config.json", true, &e), E_FORMAT, &e, "line 3, column 8");
    assert_string_equal(e.what, "config.json is not valid JSON");
    static const char *const bad[] = { "", "{", "[1,]", "{\"a\":1,}", "nul", "\"\x01\"", "[1] x", "\"\\ud800\"", "\"\xC3\"", "01", "1e999", "'a'", "{1:2}" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_fails(json_parse(&j, str_from(bad[i]), "t", true, &e), E_FORMAT, &e, "line 1");
    assert_fails(json_parse(&j, (str){ 0 }, "t", true, &e), E_FORMAT, &e, "line 1");
    assert_null(j);
}

static void duplicates_only_when_not_strict(void **state)
{
    (void)state;
    err e;
    json_t *j = NULL;
    str text = STR("{\"a\": 1, \"a\": 2}");
    assert_fails(json_parse(&j, text, "t", true, &e), E_FORMAT, &e, "duplicate");
    assert_ok(json_parse(&j, text, "t", false, &e), &e);
    assert_int_equal(json_integer_value(json_object_get(j, "a")), 2);
    json_decref(j);
}

static void depth_is_limited(void **state)
{
    (void)state;
    err e;
    json_t *j = NULL;
    static char text[2 * JSON_DEPTH_MAX + 4];
    memset(text, '[', JSON_DEPTH_MAX);
    memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    assert_ok(json_parse(&j, str_from(text), "t", true, &e), &e);
    json_decref(j);
    memset(text, '[', JSON_DEPTH_MAX + 1);
    memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
    assert_fails(json_parse(&j, str_from(text), "t", true, &e), E_FORMAT, &e, "column 257: nested deeper than 256");
    /* brackets in strings are no depth, quotes may be escaped */
    static char quoted[1100] = "[\"\\\"";
    memset(quoted + 4, '[', 1000);
    strcpy(quoted + 1004, "\"]");
    assert_ok(json_parse(&j, str_from(quoted), "t", true, &e), &e);
    json_decref(j);
    /* a hostile megabyte of brackets is refused before anything is built */
    size_t before = mem_now();
    char *deep = malloc(1 << 20);
    memset(deep, '{', 1 << 20);
    assert_fails(json_parse(&j, (str){ deep, 1 << 20 }, "t", true, &e), E_FORMAT, &e, "nested deeper");
    free(deep);
    assert_int_equal(mem_now(), before);
}

/* As large as a tokenizer.json: half a million pairs of strings; the memory stays under ten times the text. */
static void a_large_file(void **state)
{
    (void)state;
    err e;
    buf b;
    buf_init(&b, 64 << 20);
    assert_ok(buf_add_str(&b, "{\"merges\": [", &e), &e);
    for (int i = 0; i < 500000; i++) assert_ok(buf_addf(&b, &e, "%s[\"left%06d\", \"right%06d\"]\n", i ? "," : "", i, i), &e);
    assert_ok(buf_add_str(&b, "]}", &e), &e);
    size_t before = mem_now();
    json_t *j = NULL;
    assert_ok(json_parse(&j, (str){ b.data, b.len }, "tokenizer.json", true, &e), &e);
    assert_in_range(mem_now() - before, b.len, 10 * b.len);
    const json_t *last = json_array_get(json_object_get(j, "merges"), 499999);
    assert_string_equal(json_string_value(json_array_get(last, 1)), "right499999");
    json_decref(j);
    assert_int_equal(mem_now(), before);
    buf_done(&b);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    err e;
    str text = STR("{\"a\": [1, 2.5, \"x\", null, {\"b\": true}], \"c\": \"\\u00e9\"}");
    size_t before = mem_now();
    for (int64_t n = 0;; n++) {
        json_t *j = NULL;
        mem_fail_at(n);
        status st = json_parse(&j, text, "t", true, &e);
        bool hit = mem_fail_hit();
        mem_fail_at(-1);
        json_decref(j);
        assert_int_equal(mem_now(), before);
        if (!hit) {
            assert_int_equal(st, OK);
            assert_true(n > 10);
            break;
        }
        assert_int_not_equal(st, OK);
    }
}

static void getters(void **state)
{
    (void)state;
    err e;
    json_t *j = parse("{\"n\": 5, \"r\": 2.5, \"w\": 1e3, \"s\": \"text\", \"t\": true, \"z\": null, \"nul\": \"a\\u0000b\", \"o\": {}}");
    int64_t n = 0;
    double d = 0;
    bool b = false;
    const char *s = NULL;
    assert_ok(json_need_i64(j, "n", "c", 0, 10, &n, &e), &e);
    assert_int_equal(n, 5);
    assert_ok(json_i64_or(j, "w", "c", 0, 2000, 1, &n, &e), &e);
    assert_int_equal(n, 1000);
    assert_fails(json_need_i64(j, "n", "c", 6, 10, &n, &e), E_FORMAT, &e, "\"n\" is 5");
    assert_fails(json_need_i64(j, "none", "c: d", 6, 10, &n, &e), E_FORMAT, &e, "c: d: \"none\" is missing");
    assert_fails(json_need_i64(j, "z", "c", 6, 10, &n, &e), E_FORMAT, &e, "missing");
    assert_fails(json_i64_or(j, "r", "c", 6, 10, 1, &n, &e), E_FORMAT, &e, "must be an integer");
    assert_fails(json_i64_or(j, "s", "c", 6, 10, 1, &n, &e), E_FORMAT, &e, "it is a string");
    assert_int_equal(n, 1000);
    assert_ok(json_i64_or(j, "z", "c", 0, 10, 9, &n, &e), &e);
    assert_int_equal(n, 9);
    assert_ok(json_f64_or(j, "n", "c", 0, &d, &e), &e);
    assert_true(d == 5);
    assert_ok(json_f64_or(j, "none", "c", 1.25, &d, &e), &e);
    assert_true(d == 1.25);
    assert_fails(json_f64_or(j, "t", "c", 0, &d, &e), E_FORMAT, &e, "must be a number");
    assert_ok(json_bool_or(j, "t", "c", false, &b, &e), &e);
    assert_true(b);
    assert_ok(json_bool_or(j, "z", "c", false, &b, &e), &e);
    assert_false(b);
    assert_fails(json_bool_or(j, "n", "c", false, &b, &e), E_FORMAT, &e, "must be true or false");
    assert_ok(json_str_or_null(j, "s", "c", &s, &e), &e);
    assert_string_equal(s, "text");
    assert_fails(json_str_or_null(j, "nul", "c", &s, &e), E_FORMAT, &e, "NUL");
    assert_fails(json_str_or_null(j, "o", "c", &s, &e), E_FORMAT, &e, "it is an object");
    assert_ok(json_str_or_null(j, "z", "c", &s, &e), &e);
    assert_null(s);
    assert_ok(json_i64_or(NULL, "n", "c", 0, 10, 3, &n, &e), &e);   /* no object at all: absent */
    assert_int_equal(n, 3);
    json_decref(j);
}

static void quoting_goes_round(void **state)
{
    (void)state;
    err e;
    char all[128 + 8];
    for (int i = 0; i < 128; i++) all[i] = (char)i;
    memcpy(all + 128, "\xC3\xA9\xF0\x9F\x98\x80\xE2\x82", 8);   /* é, an emoji, a cut euro */
    buf b;
    buf_init(&b, 10000);
    assert_ok(json_quote(&b, (str){ all, sizeof all }, &e), &e);
    json_t *j = parse(buf_text(&b));
    assert_memory_equal(json_string_value(j), all, 134);
    assert_string_equal(json_string_value(j) + 134, "\xEF\xBF\xBD\xEF\xBF\xBD");
    json_decref(j);
    buf_clear(&b);
    assert_ok(json_quote(&b, STR(""), &e), &e);
    assert_ok(json_quote(&b, STR("a/\"\\\n\x01\x7f"), &e), &e);
    assert_string_equal(buf_text(&b), "\"\"\"a/\\\"\\\\\\n\\u0001\\u007f\"");
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_name_the_position),
        cmocka_unit_test(duplicates_only_when_not_strict),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(a_large_file),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(getters),
        cmocka_unit_test(quoting_goes_round),
    };
    json_use_mem();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
