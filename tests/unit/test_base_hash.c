/* base/hash, base/rng, base/log. */
#include <math.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/rng.h"
#include "support/test.h"

enum { N = 20000 };

/* A program has the hash's own constants in it; no content may make the hash forget its seed and what came before. */
static void no_content_is_special(void **state)
{
    (void)state;
    static const uint64_t constants[] = { 0x9E3779B97F4A7C15u, 0xC2B2AE3D27D4EB4Fu, 0x165667B19E3779F9u, 0, UINT64_MAX };
    for (size_t k = 0; k < sizeof constants / sizeof *constants; k++)
        for (size_t at = 0; at <= 48; at++) {
            unsigned char text[64];
            for (size_t i = 0; i < sizeof text; i++) text[i] = (unsigned char)(i * 37);
            memcpy(text + at, &constants[k], 8);
            uint64_t base = hash_bytes(text, sizeof text, 1);
            assert_true(base != hash_bytes(text, sizeof text, 2));
            if (at == 0) continue;
            text[0] ^= 1;
            assert_true(base != hash_bytes(text, sizeof text, 1));
        }
}

static void table_holds_what_was_put(void **state)
{
    (void)state;
    err e;
    hash_table t = { 0 };
    static char keys[N][8];
    assert_int_equal(hash_find(&t, STR("x")), -1);
    for (int i = 0; i < N; i++) {
        int n = snprintf(keys[i], sizeof keys[i], "k%d", i), old = 0;
        assert_ok(hash_put(&t, (str){ keys[i], (size_t)n }, i, &old, &e), &e);
        assert_int_equal(old, -1);
    }
    assert_int_equal(t.count, N);
    for (int i = 0; i < N; i++) assert_int_equal(hash_find(&t, str_from(keys[i])), i);
    assert_int_equal(hash_find(&t, STR("k20000")), -1);
    assert_int_equal(hash_find(&t, (str){ 0 }), -1);
    int32_t old;
    assert_ok(hash_put(&t, STR("k5"), 99, &old, &e), &e);
    assert_int_equal(old, 5);
    assert_int_equal(hash_find(&t, STR("k5")), 5);   /* the first one stays */
    assert_ok(hash_put(&t, (str){ 0 }, 7, &old, &e), &e);
    assert_int_equal(hash_find(&t, STR("")), 7);
    hash_done(&t);
}

static void keys_may_have_any_byte(void **state)
{
    (void)state;
    err e;
    hash_table t;
    assert_ok(hash_init(&t, 2, &e), &e);
    assert_ok(hash_put(&t, (str){ "a\0b", 3 }, 1, NULL, &e), &e);
    assert_ok(hash_put(&t, (str){ "a\0c", 3 }, 2, NULL, &e), &e);
    assert_ok(hash_put(&t, (str){ "a", 1 }, 3, NULL, &e), &e);
    assert_int_equal(hash_find(&t, (str){ "a\0b", 3 }), 1);
    assert_int_equal(hash_find(&t, (str){ "a\0c", 3 }), 2);
    assert_int_equal(hash_find(&t, (str){ "a\0", 2 }), -1);
    hash_done(&t);
}

static void failed_growth_keeps_the_table(void **state)
{
    (void)state;
    err e;
    hash_table t = { 0 };
    char keys[8][2] = { "a", "b", "c", "d", "e", "f", "g", "h" };
    assert_ok(hash_init(&t, 8, &e), &e);
    for (int i = 0; i < 8; i++) assert_ok(hash_put(&t, str_from(keys[i]), i, NULL, &e), &e);
    mem_fail_at(0);
    assert_fails(hash_put(&t, STR("z"), 9, NULL, &e), E_NOMEM, &e, "memory");
    mem_fail_at(-1);
    for (int i = 0; i < 8; i++) assert_int_equal(hash_find(&t, str_from(keys[i])), i);
    hash_done(&t);
    assert_fails(hash_init(&t, SIZE_MAX / 2, &e), E_NOMEM, &e, "too many");
}

/* Every input bit must change about half of the output bits, and length and seed must matter. */
static void hash_spreads(void **state)
{
    (void)state;
    unsigned char text[40] = { 0 };
    for (size_t n = 1; n <= sizeof text; n++) {
        uint64_t base = hash_bytes(text, n, 1);
        assert_true(base != hash_bytes(text, n - 1, 1));
        assert_true(base != hash_bytes(text, n, 2));
        int changed = 0;
        for (size_t bit = 0; bit < n * 8; bit++) {
            text[bit / 8] ^= (unsigned char)(1u << bit % 8);
            changed += __builtin_popcountll(base ^ hash_bytes(text, n, 1));
            text[bit / 8] ^= (unsigned char)(1u << bit % 8);
        }
        double mean = (double)changed / (double)(n * 8);
        if (mean < 26 || mean > 38) fail_msg("length %zu: %g bits change", n, mean);
    }
}

/* Known answers of Philox4x32-10 from the Random123 distribution (kat_vectors), where the counter fits 64 bits. */
static void philox_known_answer(void **state)
{
    (void)state;
    uint32_t x[4];
    static const uint32_t want[4] = { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 };
    rng_philox(0, 0, x);
    assert_memory_equal(x, want, sizeof want);
}

static void uniform_is_uniform_and_repeatable(void **state)
{
    (void)state;
    double sum = 0, square = 0;
    int bins[16] = { 0 };
    for (uint64_t i = 0; i < N; i++) {
        double u = rng_uniform(7, i);
        assert_true(u >= 0 && u < 1);
        assert_true(u == rng_uniform(7, i));
        sum += u;
        square += u * u;
        bins[(int)(u * 16)]++;
    }
    assert_true(fabs(sum / N - 0.5) < 0.01);
    assert_true(fabs(square / N - 1.0 / 3) < 0.01);
    for (int i = 0; i < 16; i++) assert_in_range(bins[i], N / 16 - 200, N / 16 + 200);   /* > 5 sigma */
    assert_true(rng_uniform(7, 0) != rng_uniform(8, 0));
    assert_true(rng_fresh_seed() != rng_fresh_seed());
    unsigned char secret[600], seen[600] = { 0 };            /* more than the system gives at once for certain */
    for (int i = 0; i < 16; i++) {
        assert_true(rng_secret(secret, sizeof secret));
        for (size_t k = 0; k < sizeof secret; k++) seen[k] |= secret[k];
    }
    for (size_t k = 0; k < sizeof seen; k++) assert_int_not_equal(seen[k], 0);
}

static void collect(void *user, log_level level, const char *text)
{
    char *out = user;
    snprintf(out, 64, "%d:%s", (int)level, text);
}

static void log_is_silent_until_asked(void **state)
{
    (void)state;
    char got[64] = "";
    log_print(LOG_ERROR, "nobody hears %d", 1);
    log_set_sink(collect, got);
    log_print(LOG_WARN, "n = %d", 5);
    assert_string_equal(got, "1:n = 5");
    log_set_sink(NULL, NULL);
    log_print(LOG_WARN, "n = %d", 6);
    assert_string_equal(got, "1:n = 5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_content_is_special), cmocka_unit_test(table_holds_what_was_put),
        cmocka_unit_test(keys_may_have_any_byte),
        cmocka_unit_test(failed_growth_keeps_the_table),
        cmocka_unit_test(hash_spreads),
        cmocka_unit_test(philox_known_answer),
        cmocka_unit_test(uniform_is_uniform_and_repeatable),
        cmocka_unit_test(log_is_silent_until_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
