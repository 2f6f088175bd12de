/* The public JSON-Schema test suite through our compiler and automaton, in JSON and in Gemma's call syntax, held to a ratchet.
 *
 * An instance is accepted when the automaton takes it in its compact spelling with the keys of its objects in some order: which
 * order is ours to prescribe, so one that is taken is enough to be accepted, for invalid instances too.
 *
 * tests/data/jsonschema/ratchet.txt has a line for each group: its file, its place there, then one letter for each instance in
 * JSON and one in call syntax.  P: as the suite says.  R: rejects what is valid.  A: accepts what is invalid, which must never
 * be.  U: unsupported, because the schema is refused or has a keyword that is named as not enforced (so strict refuses it).
 * After a change for the better: build/release/tests/unit/test_schema_suite --write. */
#include "support/test.h"

#include "base/bits.h"
#include "support/packed.h"
#include "text/automaton.h"

enum { ORDERS_MAX = 5000 };
#define SUITE "tests/data/jsonschema/suite.jsonl"
#define RATCHET "tests/data/jsonschema/ratchet.txt"

static size_t orders(const json_t *v)
{
    size_t n = 1, i;
    const char *key;
    json_t *item;
    json_array_foreach(v, i, item) n = MIN(n * orders(item), ORDERS_MAX);
    i = 0;
    json_object_foreach((json_t *)v, key, item) n = MIN(n * ++i * orders(item), ORDERS_MAX);
    return n;
}

/* v with its keys in order number *k of all; what is left of the number is for its values.  quoted: keys of calls too. */
static void spell(buf *out, schema_syntax syntax, const json_t *v, bool quoted, size_t *k)
{
    const char *key, *keys[64];
    json_t *item;
    size_t n = 0, i;
    if (json_is_array(v)) {
        json_array_foreach(v, i, item) {
            buf_add_str(out, i ? "," : "[", NULL);
            spell(out, syntax, item, quoted, k);
        }
        buf_add_str(out, i ? "]" : "[]", NULL);
    } else if (json_is_object(v)) {
        assert_in_range(json_object_size(v), 0, COUNT_OF(keys));
        json_object_foreach((json_t *)v, key, item) keys[n++] = key;
        buf_add_str(out, "{", NULL);
        for (size_t left = n; left; left--) {
            size_t at = *k % left;
            *k /= left;
            key = keys[at];
            memmove(keys + at, keys + at + 1, (left - at - 1) * sizeof *keys);
            if (left < n) buf_add_str(out, ",", NULL);
            if (quoted) buf_addf(out, NULL, "%c%s%c:", SCHEMA_QUOTE, key, SCHEMA_QUOTE);
            else assert_int_equal(schema_print_key(out, syntax, str_from(key), NULL), OK);
            spell(out, syntax, json_object_get(v, key), quoted, k);
        }
        buf_add_str(out, "}", NULL);
    } else assert_int_equal(schema_print(out, syntax, v, NULL), OK);
}

static bool accepts(automaton *a, int32_t node, const json_t *v)
{
    buf b;
    bool found = false;
    schema_syntax syntax = a->s->syntax;
    buf_init(&b, 1 << 20);
    for (size_t i = 0, n = orders(v); i < n && !found; i++)
        for (int quoted = 0; quoted < (syntax == SCHEMA_CALL ? 2 : 1) && !found; quoted++) {
            size_t k = i;
            buf_clear(&b);
            spell(&b, syntax, v, quoted, &k);
            found = automaton_accepts(a, node, (str){ buf_text(&b), b.len }, NULL);
        }
    buf_done(&b);
    return found;
}

/* One letter for each test of a group. */
static void judge(buf *out, const json_t *group, schema_syntax syntax)
{
    err e = { 0 };
    schema *s = NULL;
    automaton a = { 0 };
    int32_t node;
    size_t i;
    json_t *test;
    assert_ok(schema_new(&s, syntax, &e), &e);
    status st = schema_add(s, json_object_get(group, "schema"), false, &node, &e);
    bool empty = st == E_ARG && strstr(e.why, "no value fits");
    if (st == OK) assert_ok(automaton_init(&a, s, &e), &e);
    json_array_foreach(json_object_get(group, "tests"), i, test) {
        bool valid = json_is_true(json_array_get(test, 1));
        char letter = 'U';
        if (*schema_unenforced(s) == 0 && (st == OK || empty)) {
            bool ok = !empty && accepts(&a, node, json_array_get(test, 0));
            letter = ok == valid ? 'P' : ok ? 'A' : 'R';
        }
        buf_add(out, &letter, 1, NULL);
    }
    if (st == OK) automaton_done(&a);
    schema_free(s);
}

/* The ratchet as it would be today. */
static void judge_all(buf *out)
{
    buf suite;
    str rest, line;
    buf_init(out, 1 << 20);
    packed_read(&suite, SUITE);
    rest = (str){ suite.data, suite.len };
    while (packed_line(&rest, &line)) {
        err e = { 0 };
        json_t *group = NULL;
        assert_ok(json_parse(&group, line, SUITE, false, &e), &e);
        buf_addf(out, NULL, "%s %d ", json_string_value(json_object_get(group, "file")), (int)json_integer_value(json_object_get(group, "n")));
        judge(out, group, SCHEMA_JSON);
        buf_add_str(out, " ", NULL);
        judge(out, group, SCHEMA_CALL);
        buf_add_str(out, "\n", NULL);
        json_decref(group);
    }
    buf_done(&suite);
}

static void count(const char *text, int n[256])
{
    str rest = str_from(text), line, word;
    while (packed_line(&rest, &line))
        for (int k = 0; k < 4; k++) {
            word = line;
            if (!str_split(&line, ' ', &word)) word = line;
            for (size_t i = 0; k >= 2 && i < word.n; i++) n[(unsigned char)word.p[i]]++;
        }
}

static void suite_as_before(void **x)
{
    (void)x;
    buf now, before;
    str a, b, x1, y;
    int n[256] = { 0 }, changed = 0;
    judge_all(&now);
    packed_read(&before, RATCHET);
    a = (str){ now.data, now.len };
    b = (str){ before.data, before.len };
    while (packed_line(&a, &x1)) {
        bool more = packed_line(&b, &y);
        if (more && str_eq(x1, y)) continue;
        print_error("now \"%.*s\", before \"%.*s\"\n", (int)x1.n, x1.p, more ? (int)y.n : 0, more ? y.p : "");
        changed++;
    }
    assert_false(packed_line(&b, &y));
    count(buf_text(&now), n);
    print_message("pass %d, rejects valid %d, accepts invalid %d, unsupported %d\n", n['P'], n['R'], n['A'], n['U']);
    assert_int_equal(n['A'], 0);
    assert_int_equal(changed, 0);
    assert_true(n['P'] > 1000);
    buf_done(&now);
    buf_done(&before);
}

static int write_ratchet(void)
{
    buf now;
    FILE *f = fopen(RATCHET, "w");
    judge_all(&now);
    bool ok = f && fwrite(now.data, 1, now.len, f) == now.len;
    buf_done(&now);
    return (f && fclose(f) != 0) || !ok;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(suite_as_before) };
    if (argc > 1 && strcmp(argv[1], "--write") == 0) return write_ratchet();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
