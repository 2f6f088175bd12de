/* run/stop: stop texts met whole, in pieces, byte by byte; nothing that is text is lost. */
#include "base/bits.h"
#include "base/rng.h"
#include "run/stop.h"
#include "support/test.h"

/* Runs text through the matcher in pieces of `piece` bytes. */
static void feed(const char *const *stops, size_t count, const char *text, size_t piece, buf *out, int32_t *hit)
{
    err e;
    stop_match s;
    size_t n = strlen(text);
    buf_clear(out);
    assert_ok(stop_init(&s, stops, count, &e), &e);
    for (size_t i = 0; i < n; i += piece) assert_ok(stop_add(&s, text + i, MIN(piece, n - i), out, &e), &e);
    assert_ok(stop_flush(&s, out, &e), &e);
    *hit = s.hit;
    stop_done(&s);
}

static void check(const char *const *stops, size_t count, const char *text, const char *want, int32_t want_hit)
{
    buf out;
    buf_init(&out, 1 << 20);
    for (size_t piece = 1; piece <= strlen(text) + 1; piece++) {
        int32_t hit;
        feed(stops, count, text, piece, &out, &hit);
        assert_string_equal(buf_text(&out), want);
        assert_int_equal(hit, want_hit);
    }
    buf_done(&out);
}

static void texts_end_before_a_stop(void **state)
{
    (void)state;
    const char *const end[] = { "END" }, *const two[] = { "aab", "\n\n" }, *const nested[] = { "abcabd", "cab" };
    const char *const accents[] = { "é!" };
    check(end, 1, "one two END three", "one two ", 0);
    check(end, 1, "EN EEND", "EN E", 0);
    check(end, 1, "the EN", "the EN", -1);
    check(end, 1, "END", "", 0);
    check(end, 1, "", "", -1);
    check(two, 2, "aaab", "a", 0);
    check(two, 2, "x\n\naab", "x", 1);
    check(two, 2, "aaaaaaaa\n", "aaaaaaaa\n", -1);
    check(nested, 2, "xabcabd", "x", 0);      /* the one that begins first, even if the other ends first */
    check(nested, 2, "xabcabx", "xab", 1);
    check(accents, 1, "né à é!", "né à ", 0);
    check(NULL, 0, "END", "END", -1);
}

static void held_text_is_shown_as_soon_as_it_can(void **state)
{
    (void)state;
    err e;
    stop_match s;
    buf out;
    const char *const stops[] = { "abc" };
    buf_init(&out, 1 << 20);
    assert_ok(stop_init(&s, stops, 1, &e), &e);
    assert_ok(stop_add(&s, "xab", 3, &out, &e), &e);
    assert_string_equal(buf_text(&out), "x");
    assert_ok(stop_add(&s, "a", 1, &out, &e), &e);
    assert_string_equal(buf_text(&out), "xab");
    assert_ok(stop_add(&s, "z", 1, &out, &e), &e);
    assert_string_equal(buf_text(&out), "xabaz");
    stop_done(&s);
    buf_done(&out);
}

/* Random texts over a tiny alphabet: the answer is what strstr says, however the text is cut. */
static void random_texts_match_a_search(void **state)
{
    (void)state;
    buf out;
    buf_init(&out, 1 << 20);
    for (uint64_t round = 0; round < 3000; round++) {
        char text[40], a[6], b[6];
        char *const to[] = { text, a, b };
        const size_t len[] = { 39, 1 + (size_t)(rng_uniform(round, 1) * 5), 1 + (size_t)(rng_uniform(round, 2) * 5) };
        for (size_t k = 0; k < 3; k++) {
            for (size_t i = 0; i < len[k]; i++) to[k][i] = "ab"[rng_uniform(round, 10 + 50 * k + i) < 0.5];
            to[k][len[k]] = '\0';
        }
        const char *stops[] = { a, b }, *first = strstr(text, a), *second = strstr(text, b);
        size_t want = first && (!second || first <= second) ? (size_t)(first - text) : second ? (size_t)(second - text) : strlen(text);
        int32_t hit;
        feed(stops, 2, text, 1 + (size_t)(rng_uniform(round, 3) * 7), &out, &hit);
        assert_int_equal(out.len, want);
        assert_memory_equal(out.data, text, want);
        assert_int_equal(hit >= 0, first || second);
    }
    buf_done(&out);
}

static void bad_stop_texts_are_refused(void **state)
{
    (void)state;
    err e;
    stop_match s;
    static char huge[STOP_BYTES_MAX + 2];
    memset(huge, 'x', sizeof huge - 1);
    const char *const bad[] = { "", "\xff", huge };
    for (size_t i = 0; i < COUNT_OF(bad); i++) assert_int_equal(stop_init(&s, &bad[i], 1, &e), E_ARG);
    const char *many[STOP_TEXTS_MAX + 1];
    for (size_t i = 0; i < COUNT_OF(many); i++) many[i] = "x";
    assert_fails(stop_init(&s, many, COUNT_OF(many), &e), E_ARG, &e, "at most");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_end_before_a_stop),
        cmocka_unit_test(held_text_is_shown_as_soon_as_it_can),
        cmocka_unit_test(random_texts_match_a_search),
        cmocka_unit_test(bad_stop_texts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
