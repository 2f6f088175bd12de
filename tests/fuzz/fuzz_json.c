/* base/json and base/utf8 on any bytes: what parses must print and parse again to the same value; quoting any
 * bytes gives valid JSON that reads back as valid UTF-8. */
#include <stdlib.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void need(bool ok)
{
    if (!ok) abort();
}

static void getters(const json_t *j)
{
    const char *s;
    int64_t i;
    double d;
    bool b;
    err e;
    json_need_i64(j, "a", "fuzz", -5, 5, &i, &e);
    json_i64_or(j, "a", "fuzz", INT64_MIN, INT64_MAX, 0, &i, &e);
    json_f64_or(j, "a", "fuzz", 0, &d, &e);
    json_bool_or(j, "a", "fuzz", false, &b, &e);
    json_str_or_null(j, "a", "fuzz", &s, &e);
}

static void quote(const char *p, size_t n)
{
    err e;
    buf b;
    json_t *j = NULL;
    buf_init(&b, 8 * n + 100);
    need(json_quote(&b, (str){ p, n }, &e) == OK);
    need(json_parse(&j, (str){ b.data, b.len }, "quoted", true, &e) == OK);
    need(json_is_string(j) && utf8_valid(json_string_value(j), json_string_length(j)));
    if (utf8_valid(p, n)) need(json_string_length(j) == n && memcmp(json_string_value(j), p, n) == 0);
    json_decref(j);
    buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const char *text = (const char *)data;
    err e;
    json_t *j = NULL, *again = NULL;
    if (json_parse(&j, (str){ text, n }, "fuzz", n & 1, &e) == OK) {
        getters(j);
        char *printed = json_dumps(j, JSON_ENCODE_ANY | JSON_COMPACT);
        need(printed != NULL);
        need(json_parse(&again, str_from(printed), "fuzz", true, &e) == OK && json_equal(j, again));
        json_decref(again);
        free(printed);
    } else {
        need(e.what[0] != 0);
    }
    json_decref(j);
    quote(text, n);
    need(utf8_incomplete_tail(text, n) <= 3 && utf8_width(text, n) >= 0);
    return 0;
}
