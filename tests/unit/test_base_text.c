/* base/buf, base/str, base/utf8. */
#include "base/bits.h"
#include "base/buf.h"
#include "base/str.h"
#include "base/utf8.h"
#include "support/test.h"

static void buf_grows_to_its_limit_and_no_further(void **state)
{
    (void)state;
    err e;
    buf b;
    buf_init(&b, 1000);
    assert_string_equal(buf_text(&b), "");
    for (int i = 0; i < 1000; i++) assert_ok(buf_add(&b, "x", 1, &e), &e);
    assert_int_equal(b.data[1000], 0);
    assert_fails(buf_add(&b, "y", 1, &e), E_NOMEM, &e, "1000");
    assert_fails(buf_addf(&b, &e, "%d", 5), E_NOMEM, &e, "1000");
    assert_int_equal(b.len, 1000);
    assert_int_equal(b.data[999], 'x');
    buf_clear(&b);
    assert_ok(buf_addf(&b, &e, "%s-%d", "a", 5), &e);
    assert_string_equal(buf_text(&b), "a-5");
    char *p = buf_take(&b);
    assert_string_equal(p, "a-5");
    assert_null(b.data);
    assert_int_equal(b.max, 1000);
    mem_free(p);
    assert_null(buf_take(&b));
}

static void buf_keeps_its_content_when_memory_ends(void **state)
{
    (void)state;
    err e;
    buf b;
    buf_init(&b, SIZE_MAX);
    assert_ok(buf_add_str(&b, "kept", &e), &e);
    char big[500] = "";
    mem_fail_at(0);
    assert_fails(buf_add(&b, big, sizeof big, &e), E_NOMEM, &e, "memory");
    mem_fail_at(-1);
    assert_string_equal(buf_text(&b), "kept");
    assert_fails(buf_add(&b, big, SIZE_MAX, &e), E_NOMEM, &e, "limit");
    buf_done(&b);
    assert_fails(buf_add(&b, big, SIZE_MAX, &e), E_NOMEM, &e, "limit");   /* empty again: len + n + 1 would wrap */
    uint64_t calls = 0;
    for (int i = 0; i < 100000; i++) {
        mem_stats s;
        assert_ok(buf_add(&b, "x", 1, &e), &e);
        mem_stats_read(&s);
        if (i == 0) calls = s.calls;
        else if (i == 99999) assert_true(s.calls - calls < 20);   /* grows by doubling */
    }
    buf_done(&b);
}

static void str_views(void **state)
{
    (void)state;
    assert_true(str_is(STR("abc"), "abc"));
    assert_false(str_is(STR("abc"), "abcd"));
    assert_true(str_starts(STR("abc"), "ab") && str_ends(STR("abc"), "bc"));
    assert_false(str_starts(STR("a"), "ab"));
    assert_int_equal(str_find(STR("hello"), STR("ll")), 2);
    assert_int_equal(str_find(STR("hello"), STR("lx")), 5);
    assert_int_equal(str_find(STR("hello"), STR("")), 0);
    assert_int_equal(str_find((str){ 0 }, STR("a")), 0);
    str rest = STR("a,,b"), part;
    assert_true(str_split(&rest, ',', &part) && str_is(part, "a"));
    assert_true(str_split(&rest, ',', &part) && str_is(part, ""));
    assert_true(str_split(&rest, ',', &part) && str_is(part, "b"));
    assert_false(str_split(&rest, ',', &part));
    rest = STR("a,");
    assert_true(str_split(&rest, ',', &part) && str_split(&rest, ',', &part));
    assert_int_equal(part.n, 0);
    assert_false(str_split(&rest, ',', &part));
}

static void whole_numbers(void **state)
{
    (void)state;
    err e;
    int64_t v = 42;
    assert_ok(str_to_i64(STR("-9223372036854775808"), "n", INT64_MIN, INT64_MAX, &v, &e), &e);
    assert_true(v == INT64_MIN);
    assert_ok(str_to_i64(STR("+7"), "n", 0, 10, &v, &e), &e);
    assert_int_equal(v, 7);
    static const char *const bad[] = { "", " 7", "7 ", "0x10", "7.5", "seven", "\n7", "--7", "1e3" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_fails(str_to_i64(str_from(bad[i]), "--top-k", INT64_MIN, INT64_MAX, &v, &e), E_ARG, &e, "--top-k is not a whole number");
    assert_fails(str_to_i64((str){ "7\0", 2 }, "n", 0, 10, &v, &e), E_ARG, &e, "not a whole number");
    assert_fails(str_to_i64(STR("11"), "n", 0, 10, &v, &e), E_ARG, &e, "from 0 to 10");
    assert_fails(str_to_i64(STR("99999999999999999999"), "n", 0, 10, &v, &e), E_ARG, &e, "n is out of range: 99999999999999999999");
    assert_fails(str_to_i64(STR("-9223372036854775809"), "n", INT64_MIN, INT64_MAX, &v, &e), E_ARG, &e, "out of range");
    assert_int_equal(v, 7);   /* untouched by failures */
}

static void real_numbers(void **state)
{
    (void)state;
    err e;
    double v = 0;
    assert_ok(str_to_f64(STR("0.5e1"), "t", 0, 10, &v, &e), &e);
    assert_true(v == 5);
    static const char *const bad[] = { "", "nan", "inf", "-inf", "1,5", " 1", "1x" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_fails(str_to_f64(str_from(bad[i]), "t", -1e300, 1e300, &v, &e), E_ARG, &e, "t is");
    assert_fails(str_to_f64(STR("1e999"), "t", 0, 1e300, &v, &e), E_ARG, &e, "out of range");
    assert_true(v == 5);
}

static void sizes(void **state)
{
    (void)state;
    err e;
    static const struct { const char *text; uint64_t bytes; } good[] = {
        { "0", 0 }, { "512", 512 }, { "64K", 65536 }, { "64kb", 65536 }, { "1.5G", 1610612736 }, { "300MB", 314572800 },
        { "2GiB", 2147483648 }, { "1T", 1099511627776 }, { "100B", 100 },
    };
    uint64_t v;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_ok(str_to_bytes(str_from(good[i].text), "size", &v, &e), &e);
        assert_true(v == good[i].bytes);
    }
    static const char *const bad[] = { "", "G", "1X", "-1", "1 G", "1..5G", "99999999999T", "1Gi B" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_fails(str_to_bytes(str_from(bad[i]), "size", &v, &e), E_ARG, &e, "size is");
    assert_fails(str_to_bytes((str){ 0 }, "size", &v, &e), E_ARG, &e, "size is not");
}

/* ---- UTF-8 ---- */

static void every_code_point_goes_round(void **state)
{
    (void)state;
    for (uint32_t cp = 0; cp <= 0x10FFFF; cp++) {
        char text[4];
        uint32_t back = 0;
        int n = utf8_encode(cp, text);
        bool surrogate = cp >= 0xD800 && cp <= 0xDFFF;
        if (utf8_decode(text, (size_t)n, &back) != n || back != (surrogate ? 0xFFFD : cp)) fail_msg("U+%04X", cp);
        for (int cut = 1; cut < n; cut++) {
            if (utf8_decode(text, (size_t)cut, &back) != 0) fail_msg("U+%04X cut at %d decodes", cp, cut);
            if (utf8_incomplete_tail(text, (size_t)cut) != (size_t)cut) fail_msg("U+%04X cut at %d", cp, cut);
        }
        if (utf8_incomplete_tail(text, (size_t)n) != 0) fail_msg("U+%04X is complete", cp);
    }
    char text[4];
    assert_int_equal(utf8_encode(0x110000, text), 3);
    assert_memory_equal(text, "\xEF\xBF\xBD", 3);
}

/* The definition (Unicode 14, table 3-7), row by row, against every sequence of two bytes and more. */
static bool table_3_7(const unsigned char *p, int n)
{
    static const unsigned char rows[][6] = {   /* first from, to; second from, to; length; */
        { 0xC2, 0xDF, 0x80, 0xBF, 2 }, { 0xE0, 0xE0, 0xA0, 0xBF, 3 }, { 0xE1, 0xEC, 0x80, 0xBF, 3 }, { 0xED, 0xED, 0x80, 0x9F, 3 },
        { 0xEE, 0xEF, 0x80, 0xBF, 3 }, { 0xF0, 0xF0, 0x90, 0xBF, 4 }, { 0xF1, 0xF3, 0x80, 0xBF, 4 }, { 0xF4, 0xF4, 0x80, 0x8F, 4 },
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        if (n != rows[r][4] || p[0] < rows[r][0] || p[0] > rows[r][1] || p[1] < rows[r][2] || p[1] > rows[r][3]) continue;
        bool rest = true;
        for (int i = 2; i < n; i++) rest = rest && p[i] >= 0x80 && p[i] <= 0xBF;
        if (rest) return true;
    }
    return false;
}

static void invalid_sequences_are_refused(void **state)
{
    (void)state;
    static const unsigned char ends[] = { 0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF };
    for (int a = 0x80; a < 256; a++)
        for (int b = 0; b < 256; b++)
            for (size_t c = 0; c < sizeof ends; c++)
                for (size_t d = 0; d < sizeof ends; d++) {
                    unsigned char p[4] = { (unsigned char)a, (unsigned char)b, ends[c], ends[d] };
                    uint32_t cp;
                    int want = table_3_7(p, 2) ? 2 : table_3_7(p, 3) ? 3 : table_3_7(p, 4) ? 4 : 0;
                    if (utf8_decode((const char *)p, 4, &cp) != want) fail_msg("%02x %02x %02x %02x", a, b, p[2], p[3]);
                }
    assert_true(utf8_valid("", 0));
    assert_true(utf8_valid("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", 10));
    assert_false(utf8_valid("a\xC3", 2));
    assert_int_equal(utf8_incomplete_tail("a\xED\xA0", 3), 0);   /* would be a surrogate */
    assert_int_equal(utf8_incomplete_tail("a\xF0\x9F\x98", 4), 3);
    assert_int_equal(utf8_incomplete_tail("\x98\x98\x98\x98", 4), 0);
    assert_int_equal(utf8_incomplete_tail("", 0), 0);
}

static void widths(void **state)
{
    (void)state;
    static const struct { const char *text; int columns; } cases[] = {
        { "", 0 }, { "hello", 5 }, { "h\xC3\xA9llo", 5 }, { "e\xCC\x81", 1 } /* combining acute */, { "\xE4\xBD\xA0\xE5\xA5\xBD", 4 } /* Chinese */,
        { "\xF0\x9F\x98\x80", 2 } /* emoji */, { "\xE2\x80\x8D", 0 } /* zero width joiner */, { "\xED\x95\x9C", 2 } /* Hangul */, { "\xEF\xBC\xA1", 2 } /* fullwidth A */,
        { "\xC2\xAD", 1 } /* soft hyphen */, { "\xE0\xA4\x95\xE0\xA5\x8D", 1 } /* Devanagari virama */, { "\xFF\xFE", 2 } /* two bad bytes */,
        { "a\nb", 2 }, { "\xEF\xBF\xBD", 1 }, { "\xF0\xA0\x80\x80", 2 } /* plane 2 */, { "\xC4\x80\xD0\x96", 2 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (utf8_width(cases[i].text, strlen(cases[i].text)) != cases[i].columns) fail_msg("case %zu", i);
}

static void plain_text_for_a_terminal(void **state)
{
    (void)state;
    static const struct { const char *in, *out; size_t cap; } cases[] = {
        { "caf\u00e9", "caf\u00e9", 32 }, { "a\x1b[31mb\n\tc\x7f", "a?[31mb??c?", 32 }, { "\xC2\x9B""31m", "?31m", 32 },
        { "\x9B\xFF\xE2\x82", "????", 32 }, { "", "", 1 }, { "abc", "", 1 }, { "abc", "ab", 3 }, { "a\u00e9", "a", 3 }, { "a\u00e9", "a\u00e9", 4 } };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char out[32];
        memset(out, 'z', sizeof out);
        assert_string_equal(utf8_plain(out, cases[i].cap, cases[i].in, strlen(cases[i].in)), cases[i].out);
    }
    char out[8];
    assert_string_equal(utf8_plain(out, sizeof out, "a\0b", 3), "a?b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buf_grows_to_its_limit_and_no_further),
        cmocka_unit_test(buf_keeps_its_content_when_memory_ends),
        cmocka_unit_test(str_views),
        cmocka_unit_test(whole_numbers),
        cmocka_unit_test(real_numbers),
        cmocka_unit_test(sizes),
        cmocka_unit_test(every_code_point_goes_round),
        cmocka_unit_test(invalid_sequences_are_refused),
        cmocka_unit_test(widths),
        cmocka_unit_test(plain_text_for_a_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
