/* Saved runs: whole or refused by name; and SHA-256 and .npy, which go with them. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/sha256.h"
#include "fmt/npy.h"
#include "os/dir.h"
#include "os/file.h"
#include "support/test.h"
#include "tune/checkpoint.h"

static char dir[256], path[300];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "%s/facet-check-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(dir)) return -1;
    snprintf(path, sizeof path, "%s/checkpoint", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    dir_remove(dir);
    return 0;
}

enum { NUMBERS = 1000 };

static status write_numbers(int seed, err *e)
{
    static float a[NUMBERS];
    static int64_t b[3];
    for (int i = 0; i < NUMBERS; i++) a[i] = (float)(seed * 1000 + i);
    for (int i = 0; i < 3; i++) b[i] = seed;
    json_t *head = json_pack("{s:i}", "seed", seed);
    const checkpoint_part parts[] = { { "a", a, sizeof a }, { "none", NULL, 0 }, { "b", b, sizeof b } };
    status st = checkpoint_write(path, head, parts, 3, e);
    json_decref(head);
    return st;
}

/* The saved seed; -1 and *e when it is refused. */
static int read_numbers(err *e)
{
    static float a[NUMBERS];
    static int64_t b[3];
    checkpoint *c = NULL;
    const checkpoint_part parts[] = { { "b", b, sizeof b }, { "a", a, sizeof a } };
    if (checkpoint_open(&c, path, e) != OK) return -1;
    int seed = (int)json_integer_value(json_object_get(checkpoint_head(c), "seed"));
    assert_ok(checkpoint_read(c, parts, 2, e), e);
    for (int i = 0; i < NUMBERS; i++) assert_true(a[i] == (float)(seed * 1000 + i));
    for (int i = 0; i < 3; i++) assert_int_equal(b[i], seed);
    checkpoint_close(c);
    return seed;
}

static void there_and_back(void **state)
{
    (void)state;
    err e = { 0 };
    checkpoint *c = NULL;
    float few[3];
    assert_ok(write_numbers(1, &e), &e);
    assert_int_equal(read_numbers(&e), 1);
    assert_ok(write_numbers(2, &e), &e);
    assert_int_equal(read_numbers(&e), 2);
    assert_ok(checkpoint_open(&c, path, &e), &e);
    const checkpoint_part small = { "a", few, sizeof few }, absent = { "z", few, sizeof few };
    assert_fails(checkpoint_read(c, &small, 1, &e), E_FORMAT, &e, "\"a\"");
    assert_fails(checkpoint_read(c, &absent, 1, &e), E_FORMAT, &e, "\"z\"");
    checkpoint_close(c);
    assert_fails(checkpoint_open(&c, "/nowhere/checkpoint", &e), E_IO, &e, "nowhere");
}

static void put_bytes(const char *p, size_t n)
{
    err e;
    file_out f;
    assert_ok(file_out_begin(&f, path, &e), &e);
    assert_ok(file_out_write(&f, p, n, &e), &e);
    assert_ok(file_out_commit(&f, &e), &e);
}

/* Cut anywhere, one bit turned anywhere, something else altogether. */
static void damage_is_named(void **state)
{
    (void)state;
    err e = { 0 };
    buf b;
    buf_init(&b, 1 << 20);
    assert_ok(write_numbers(3, &e), &e);
    assert_ok(file_read_all(&b, path, &e), &e);
    size_t before = mem_now();
    for (size_t n = 0; n < b.len; n += 1 + b.len / 40) {
        put_bytes(b.data, n);
        assert_int_equal(read_numbers(&e), -1);
        assert_non_null(strstr(e.what, path));
    }
    for (size_t at = 0; at < b.len; at += 1 + b.len / 60) {
        b.data[at] ^= 4;
        put_bytes(b.data, b.len);
        assert_int_equal(read_numbers(&e), -1);
        b.data[at] ^= 4;
    }
    b.data[13]++;         /* the version */
    put_bytes(b.data, b.len);
    assert_int_equal(read_numbers(&e), -1);
    assert_non_null(strstr(e.why, "another version"));
    put_bytes("GGUF and so on, long enough to be one", 37);
    assert_int_equal(read_numbers(&e), -1);
    assert_non_null(strstr(e.why, "no saved run"));
    assert_int_equal(mem_now(), before);
    buf_done(&b);
}

/* Killed at any moment of a save, the one before or the new one is whole. */
static void killed_in_a_save(void **state)
{
    (void)state;
    err e = { 0 };
    int last = 4, changed = 0;
    assert_ok(write_numbers(last, &e), &e);
    for (int i = 0; i < 40; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            for (int k = 5 + i;; k++) (void)write_numbers(k, NULL);
        usleep((useconds_t)(i * 150));
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        int now = read_numbers(&e);
        assert_true(now >= 4);
        changed += now != last;
        last = now;
    }
    assert_true(changed > 0);
}

static void every_allocation_fails_once(void **state)
{
    (void)state;
    json_use_mem();
    for (int64_t n = 0;; n++) {
        err e = { 0 };
        checkpoint *c = NULL;
        size_t before = mem_now();
        mem_fail_at(n);
        status st = write_numbers(6, &e);
        if (st == OK) st = checkpoint_open(&c, path, &e);
        bool hit = mem_fail_hit();
        mem_fail_at(-1);
        checkpoint_close(c);
        assert_true(st == OK || (hit && st == E_NOMEM && e.what[0]));
        assert_int_equal(mem_now(), before);
        if (!hit) break;
    }
}

static void hashes(void **state)
{
    (void)state;
    static const struct { const char *text; int times; const char *want; } known[] = {
        { "", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
        { "abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
        { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
        { "aaaaaaaaaa", 100000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0" },
    };
    for (size_t i = 0; i < 4; i++) {
        sha256 s;
        uint8_t hash[SHA256_BYTES];
        char text[SHA256_TEXT];
        sha256_begin(&s);
        for (int k = 0; k < known[i].times; k++) sha256_add(&s, known[i].text, strlen(known[i].text));
        sha256_end(&s, hash);
        sha256_text(hash, text);
        assert_string_equal(text, known[i].want);
    }
}

static void heads_of_arrays(void **state)
{
    (void)state;
    char head[NPY_HEAD + 1] = "";
    npy_head(head, 3, 4);
    assert_memory_equal(head, "\x93NUMPY\x01\x00", 8);
    assert_int_equal(head[8], NPY_HEAD - 10);
    assert_non_null(strstr(head + 10, "'shape': (3, 4), }"));
    npy_head(head, -1, 0);
    assert_non_null(strstr(head + 10, "'shape': (), }"));
    assert_int_equal(head[NPY_HEAD - 1], '\n');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(there_and_back, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(damage_is_named, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(killed_in_a_save, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(every_allocation_fails_once, make_dir, remove_dir),
        cmocka_unit_test(hashes),
        cmocka_unit_test(heads_of_arrays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
