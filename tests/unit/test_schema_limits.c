/* What a schema may cost: the largest that clients may send compile, those made to take long end at the limit, with an error that
 * says so, however they are built; memory stays small.  Steps are counted, so nothing here depends on the clock: on a processor of
 * 2023 one takes 4 to 9 ns (docs/constrained.md). */
#include "base/json.h"
#include "support/test.h"
#include "support/vocab.h"
#include "text/grammar.h"

enum { MEMORY_MAX = 24 << 20 };

/* The text with a number where %d stands. */
static void item(buf *b, const char *text, int number)
{
    for (str rest = str_from(text); rest.n;) {
        size_t at = str_find(rest, STR("%d"));
        buf_add(b, rest.p, at, NULL);
        rest = str_skip(rest, at);
        if (!rest.n) return;
        buf_addf(b, NULL, "%d", number);
        rest = str_skip(rest, 2);
    }
}

/* n times a text, each with its number, separated by commas, between two others. */
static void list(buf *b, const char *before, int n, const char *text, const char *after)
{
    buf_add_str(b, before, NULL);
    for (int i = 0; i < n; i++) {
        if (i) buf_add_str(b, ",", NULL);
        item(b, text, i);
    }
    assert_int_equal(buf_add_str(b, after, NULL), OK);
}

/* Compiles what b holds in both syntaxes, which must end like that, and empties it. */
static void compiles(buf *b, bool fits)
{
    assert_in_range(b->len, 1, SCHEMA_BYTES_MAX);
    for (int k = 0; k < 2; k++) {
        err e = { 0 };
        schema *s = NULL;
        json_t *j = NULL;
        int32_t node;
        size_t before = mem_now();
        mem_stats peak;
        assert_ok(json_parse(&j, (str){ b->data, b->len }, "a schema", false, &e), &e);
        assert_ok(schema_new(&s, k ? SCHEMA_CALL : SCHEMA_JSON, &e), &e);
        size_t parsed = mem_now();
        mem_stats_reset_peaks();
        if (fits) assert_ok(schema_add(s, j, false, &node, &e), &e);
        else assert_fails(schema_add(s, j, false, &node, &e), E_UNSUPPORTED, &e, "take too long to compile");
        mem_stats_read(&peak);
        assert_in_range(peak.peak - parsed, 0, MEMORY_MAX);
        assert_in_range(s->work, 0, SCHEMA_WORK_MAX + SCHEMA_WORK_MAX / 10);
        schema_free(s);
        json_decref(j);
        assert_int_equal(mem_now(), before);
    }
    buf_clear(b);
}

/* What OpenAI's limits for strict schemas allow: 5,000 properties, which may be null, 1,000 values; and usual things in number. */
static void large(void **state)
{
    (void)state;
    buf b;
    buf_init(&b, 1 << 22);
    list(&b, "{\"type\":\"object\",\"properties\":{", 4800, "\"f%d\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}", "}}");
    compiles(&b, true);
    list(&b, "{\"type\":\"object\",\"properties\":{", 5000, "\"property%d\":{\"type\":[\"integer\",\"null\"]}", "},\"additionalProperties\":false}");
    compiles(&b, true);
    list(&b, "{\"enum\":[", 1000, "\"a value of the usual length, one of the thousand that there may be: number %d\"", "]}");
    compiles(&b, true);
    list(&b, "{\"enum\":[", 40000, "%d", "]}");
    compiles(&b, true);
    list(&b, "{\"oneOf\":[", 60, "{\"type\":\"object\",\"properties\":{\"kind\":{\"const\":\"kind %d\"},\"a\":{\"type\":\"string\"},\"b\":{\"type\":\"number\"}},\"required\":[\"kind\",\"a\"]}", "]}");
    compiles(&b, true);
    list(&b, "{\"type\":\"object\",\"properties\":{", 1000, "\"when%d\":{\"type\":\"string\",\"format\":\"date-time\"}", "}}");      /* one pattern */
    compiles(&b, true);
    buf_done(&b);
}

/* Combinations of schemas that must all hold. */
static void combinations(void **state)
{
    (void)state;
    buf b;
    buf_init(&b, 1 << 22);
    list(&b, "{\"properties\":{", 12000, "\"p%d\":{}", "},\"anyOf\":[");
    list(&b, "", 300, "{\"minItems\":%d}", "]}");
    compiles(&b, false);
    list(&b, "{\"required\":[", 12000, "\"p%d\"", "],\"anyOf\":[");
    list(&b, "", 100, "{\"minItems\":%d}", "]}");
    compiles(&b, false);
    list(&b, "{\"allOf\":[", 12, "{\"anyOf\":[{\"properties\":{\"a\":{\"minimum\":%d}}},{\"maxLength\":9}]}", "]}");
    compiles(&b, false);
    list(&b, "{\"allOf\":[", 100, "{\"additionalProperties\":{\"maxLength\":%d}}", ",{\"properties\":{");
    list(&b, "", 6000, "\"p%d\":{\"minLength\":1}", "}}]}");
    compiles(&b, false);
    list(&b, "{\"prefixItems\":[", 6000, "{\"title\":\"a\"}", "],\"anyOf\":[");
    list(&b, "", 200, "{\"minItems\":%d}", "]}");
    compiles(&b, false);
    buf_done(&b);
}

/* Lists of values, and what each of them must be besides. */
static void values(void **state)
{
    (void)state;
    buf b;
    buf_init(&b, 1 << 22);
    list(&b, "{\"allOf\":[{\"enum\":[", 20000, "%d", "]},{\"enum\":[");
    list(&b, "-1,", 20000, "%d", "]}]}");
    compiles(&b, false);
    list(&b, "{\"enum\":[", 4000, "[[\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx%d\"]]", "],\"items\":{\"items\":{\"anyOf\":[");
    list(&b, "", 48, "{\"maxLength\":1%d}", "]}}}");
    compiles(&b, false);
    list(&b, "{\"enum\":[", 7000, "\"xxxxxxxxxxxxxxxxxxxx%d\"", "],\"anyOf\":[");
    list(&b, "", 60, "{\"maxLength\":1%d}", "]}");
    compiles(&b, false);
    buf_done(&b);
}

/* Alternatives are compared only as long as that is cheap; then oneOf is named as not enforced. */
static void exclusion(void **state)
{
    (void)state;
    err e = { 0 };
    buf b;
    schema *s = NULL;
    json_t *j = NULL;
    int32_t node;
    buf_init(&b, 1 << 22);
    list(&b, "{\"oneOf\":[", 1400, "{\"const\":\"a value number %d\"}", "]}");
    assert_ok(json_parse(&j, (str){ b.data, b.len }, "a schema", false, &e), &e);
    assert_ok(schema_new(&s, SCHEMA_JSON, &e), &e);
    assert_ok(schema_add(s, j, false, &node, &e), &e);
    assert_string_equal(schema_unenforced(s), "oneOf");
    assert_in_range(s->work, 0, SCHEMA_WORK_MAX / 2);
    schema_free(s);
    json_decref(j);
    buf_clear(&b);
    list(&b, "{\"oneOf\":[{\"type\":\"object\",\"properties\":{", 1500, "\"p%d\":{\"const\":1}", "},\"required\":[");      /* one pair, 4.5 million comparisons */
    list(&b, "", 3000, "\"q%d\"", "]},{\"type\":\"object\",\"properties\":{");
    list(&b, "", 1500, "\"p%d\":{\"const\":2}", "}}]}");
    compiles(&b, true);
    buf_done(&b);
}

/* Patterns: each too large, many that are not, ones that were read in vain. */
static void patterns(void **state)
{
    (void)state;
    static const char *const many[] = { "\"p%d\":{\"pattern\":\"^(a|b)*a(a|b){9}x%d$\"}", "\"p%d\":{\"pattern\":\"[^a]{2900}b|%d\"}", "\"p%d\":{\"pattern\":\"^[a-z]{3000}|%d$\"}",
        "\"p%d\":{\"pattern\":\"((a{100}){100}){100}|%d\"}", "\"p%d\":{\"pattern\":\"(ab|ba|aab|bba|abab|baba|aabb){1,200}%d$\"}",
        "\"p%d\":{\"allOf\":[{\"pattern\":\"^[a-z]{0,1000}$\"},{\"pattern\":\"^([a-y]{3}){0,300}$\"},{\"pattern\":\"^([a-x]{7}){0,140}%d$\"}]}" };
    buf b;
    buf_init(&b, 1 << 22);
    for (size_t i = 0; i < sizeof many / sizeof *many; i++) {
        list(&b, "{\"type\":\"object\",\"properties\":{", 1600, many[i], "}}");
        compiles(&b, false);
    }
    buf_done(&b);
}

/* All functions of a request together have one limit; those beyond it take any arguments, and are named. */
static void functions(void **state)
{
    (void)state;
    err e = { 0 };
    tok *t = vocab_small();
    trie *x = NULL;
    grammar *g = NULL;
    json_t *tools = json_array();
    buf b;
    buf_init(&b, 1 << 22);
    assert_ok(trie_new(&x, t, &e), &e);
    for (int i = 0; i < 40; i++) {
        json_t *parameters = NULL;
        list(&b, "{\"type\":\"object\",\"properties\":{", 2000, "\"p%d\":{\"type\":[\"integer\",\"null\"]}", "}}");
        assert_ok(json_parse(&parameters, (str){ b.data, b.len }, "a schema", false, &e), &e);
        buf_clear(&b);
        buf_addf(&b, NULL, "f%d", i);
        json_array_append_new(tools, json_pack("{s:{s:s, s:o}}", "function", "name", buf_text(&b), "parameters", parameters));
        buf_clear(&b);
    }
    grammar_opts o = { .tok = t, .trie = x, .tools = tools };
    mem_stats peak;
    size_t before = mem_now();
    mem_stats_reset_peaks();
    assert_ok(grammar_new(&g, &o, &e), &e);
    mem_stats_read(&peak);
    assert_in_range(peak.peak - before, 0, MEMORY_MAX);
    assert_null(strstr(grammar_unenforced(g), "parameters of f0"));
    assert_non_null(strstr(grammar_unenforced(g), "parameters of f39"));
    grammar_free(g);
    json_object_set_new(json_object_get(json_array_get(tools, 39), "function"), "strict", json_true());
    assert_fails(grammar_new(&g, &o, &e), E_UNSUPPORTED, &e, "f39");
    json_decref(tools);
    trie_free(x);
    tok_free(t);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(large), cmocka_unit_test(combinations), cmocka_unit_test(values), cmocka_unit_test(exclusion),
                                        cmocka_unit_test(patterns), cmocka_unit_test(functions) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
