/* serve/field: what a body may be, counted before anything is made of it. */
#include "base/buf.h"
#include "base/rng.h"
#include "serve/field.h"
#include "support/test.h"

/* { "x": [0, 0, ...] } with so many values in all. */
static void make(buf *b, int values, const char *one)
{
    buf_clear(b);
    buf_add_str(b, "{\"x\":[", NULL);
    for (int i = 0; i < values - 2; i++) buf_addf(b, NULL, "%s%s", i ? ", " : "", one);
    buf_add_str(b, "]}", NULL);
}

static void values_are_counted_first(void **state)
{
    (void)state;
    static const char *const ones[] = { "0", "[ ]", "{}", "\",[{\\\"\"" };
    buf b;
    buf_init(&b, 64 << 20);
    for (size_t i = 0; i < sizeof ones / sizeof *ones; i++) {
        refusal r = { 0 };
        json_t *v = NULL;
        make(&b, FIELD_NODES_MAX, ones[i]);
        if (!field_parse(&v, (str){ b.data, b.len }, &r)) fail_msg("%s: %s", ones[i], r.text);
        assert_int_equal(json_array_size(json_object_get(v, "x")), FIELD_NODES_MAX - 2);
        json_decref(v);
        make(&b, FIELD_NODES_MAX + 1, ones[i]);
        size_t before = mem_now();
        mem_stats_reset_peaks();
        assert_false(field_parse(&v, (str){ b.data, b.len }, &r));
        mem_stats s;
        mem_stats_read(&s);
        assert_non_null(strstr(r.text, "more than 1000000 values"));
        assert_true(s.peak <= before + 4096);
    }
    buf_done(&b);
}

static size_t count_of(const json_t *v)
{
    size_t n = 1, i;
    const char *key;
    json_t *one;
    json_array_foreach(v, i, one) n += count_of(one);
    json_object_foreach((json_t *)v, key, one) n += count_of(one);
    return n;
}

static json_t *random_value(uint64_t *n, int depth)
{
    static const char *const texts[] = { "", "a,b", "[", "\\\"", "{\"x\":[1,2]}" };
    int kind = (int)(rng_uniform(5, ++*n) * (depth < 5 ? 5 : 3)), some = (int)(rng_uniform(5, ++*n) * 4);
    if (kind == 0) return json_integer(some);
    if (kind == 1) return json_string(texts[some]);
    if (kind == 2) return json_null();
    json_t *v = kind == 3 ? json_array() : json_object();
    for (int i = 0; i < some; i++) {
        char key[32];
        snprintf(key, sizeof key, "k,[%d\\", i);
        if (kind == 3) json_array_append_new(v, random_value(n, depth + 1));
        else json_object_set_new(v, key, random_value(n, depth + 1));
    }
    return v;
}

/* Any text: as many as there are values. */
static void the_count_is_right(void **state)
{
    (void)state;
    uint64_t n = 0;
    for (int round = 0; round < 3000; round++) {
        json_t *v = random_value(&n, 0);
        char *text = json_dumps(v, JSON_ENCODE_ANY | (round % 2 ? JSON_COMPACT : JSON_INDENT(1)));
        assert_int_equal(field_count(str_from(text)), count_of(v));
        mem_small_free(text);
        json_decref(v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(values_are_counted_first), cmocka_unit_test(the_count_is_right) };
    json_use_mem();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
