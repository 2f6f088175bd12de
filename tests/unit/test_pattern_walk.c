/* Which plain tokens of Gemma 4's vocabulary a pattern lets through, by kinds of characters: the same that it lets through when each
 * token goes through it by itself, one character after the other. */
#include "base/mem.h"
#include "base/utf8.h"
#include "support/test.h"
#include "support/vocab.h"
#include "text/pattern_walk.h"

typedef struct vocabulary { tok *t; trie *x; uint64_t *bits; } vocabulary;

static int setup(void **state)
{
    static vocabulary v;
    v.t = vocab_real();
    assert_int_equal(trie_new(&v.x, v.t, NULL), OK);
    v.bits = mem_array(v.x->words, sizeof *v.bits, MEM_OTHER);
    assert_non_null(v.bits);
    *state = &v;
    return 0;
}

static int teardown(void **state)
{
    vocabulary *v = *state;
    mem_free(v->bits);
    trie_free(v->x);
    tok_free(v->t);
    return 0;
}

static bool has(const uint64_t *bits, int32_t id) { return bits[id / 64] >> (id % 64) & 1; }

static uint32_t follow(const regex *r, uint32_t state, str s)
{
    uint32_t cp;
    for (size_t i = 0; i < s.n && state != REGEX_DEAD; i += (size_t)utf8_decode(s.p + i, s.n - i, &cp)) {
        assert_true(utf8_decode(s.p + i, s.n - i, &cp) > 0);
        state = regex_step(r, state, cp);
    }
    return state;
}

/* After the text, which the pattern must let through, the same tokens; returns how many. */
static size_t same_tokens(const vocabulary *v, const char *pattern, const char *text, bool json)
{
    regex *r = NULL;
    int64_t work = 100000000;
    size_t count = 0;
    assert_int_equal(regex_new(&r, str_from(pattern), &work, NULL), OK);
    uint32_t state = follow(r, REGEX_START, str_from(text));
    assert_int_not_equal(state, REGEX_DEAD);
    memset(v->bits, 0, v->x->words * sizeof *v->bits);
    pattern_walk(v->x, v->t, r, state, json, v->bits);
    for (int32_t id = 0; id < v->x->vocab; id++) {
        bool want = has(v->x->plain[json ? TRIE_JSON : TRIE_CALL], id) && follow(r, state, tok_bytes(v->t, id)) != REGEX_DEAD;
        if (want != has(v->bits, id)) {
            str s = tok_bytes(v->t, id);
            fail_msg("%s after \"%s\": token %d \"%.*s\" %s", pattern, text, (int)id, (int)s.n, s.p, want ? "is missing" : "may not come");
        }
        count += want;
    }
    regex_free(r);
    return count;
}

/* Letters and digits that a pattern does not tell apart, with and without a limit. */
static void kinds(void **state)
{
    const vocabulary *v = *state;
    assert_true(same_tokens(v, "^[A-Za-z0-9._-]{1,32}@[A-Za-z0-9]{2,9}$", "", true) > 10000);
    same_tokens(v, "^[A-Za-z0-9._-]{1,32}@[A-Za-z0-9]{2,9}$", "someone.with.quite.a.long.na", true);
    same_tokens(v, "^[A-Za-z0-9._-]{1,32}@[A-Za-z0-9]{2,9}$", "a@", false);
    same_tokens(v, "^[a-z0-9]+(-[a-z0-9]+)*$", "how-", true);
    same_tokens(v, "^[A-Z]{3}-[0-9]{4,6}$", "AB", true);
    same_tokens(v, "^([A-Za-z0-9]|-[A-Za-z0-9]){0,30}$", "a-", false);
}

/* Letters that it does tell apart: at the beginning, inside, few and many of them. */
static void mixed(void **state)
{
    const vocabulary *v = *state;
    same_tokens(v, "^(foo|bar)[a-z]*$", "", true);
    same_tokens(v, "^(foo|bar)[a-z]*$", "fo", true);
    same_tokens(v, "^ [a-m]+$", "", true);
    same_tokens(v, "^[^x]*$", "", true);
    same_tokens(v, "^[0-9A-F]{2}(:[0-9A-F]{2}){5}$", "0", false);
    same_tokens(v, "^[A-Z][a-df-z]* [A-Z]", "No", true);
    same_tokens(v, "^(%[0-9a-f]{2}|[a-zA-Z/])*$", "/a", true);
}

/* Beyond ASCII: all alike, told apart, white space, more classes than a kind may have. */
static void beyond_ascii(void **state)
{
    const vocabulary *v = *state;
    char many[1024];
    size_t n = 0;
    same_tokens(v, "^[^\\s]+$", "", true);
    assert_true(same_tokens(v, "^.{1,100}$", "", false) > 200000);
    same_tokens(v, "^\\s*[a-z]+$", " ", false);
    same_tokens(v, "^[a-z\xC3\xA0-\xC3\xBF]+$", "a", true);
    same_tokens(v, "^[\xE4\xB8\x80-\xE9\xBF\xBF]+$", "", true);
    n += (size_t)snprintf(many + n, sizeof many - n, "^([");
    for (int i = 0; i < 80; i++) n += (size_t)snprintf(many + n, sizeof many - n, "\\u%04x", 0xC0 + 3 * i);
    snprintf(many + n, sizeof many - n, "]|[a-z])*$");
    same_tokens(v, many, "", true);
}

/* What cannot go wrong any more needs no look; nor does what goes wrong later than any token is long. */
static void safe(void **state)
{
    const vocabulary *v = *state;
    size_t all = same_tokens(v, "ing", "", true);
    assert_int_equal(same_tokens(v, "ing", "the meaning", true), all);
    assert_true(same_tokens(v, "ing", "", false) > all);      /* quotes and control characters too */
    assert_int_equal(same_tokens(v, "^[^]{0,200}$", "", true), all);
    assert_true(same_tokens(v, "^[^]{0,5}$", "", true) < all);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(kinds), cmocka_unit_test(mixed), cmocka_unit_test(beyond_ascii), cmocka_unit_test(safe) };
    return cmocka_run_group_tests(tests, setup, teardown);
}
