#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/dir.h"
#include "os/file.h"
#include "support/folder.h"
#include "support/test.h"

static char dir[512];

static const char *at(const char *name) { return folder_at(dir, name); }

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void assert_content(const char *path, const char *want)
{
    err e;
    buf b;
    buf_init(&b, 1 << 20);
    assert_ok(file_read_all(&b, path, &e), &e);
    assert_string_equal(buf_text(&b), want);
    buf_done(&b);
}

static void mapping(void **state)
{
    (void)state;
    err e;
    file_map m;
    put(at("a"), "hello");
    assert_ok(file_map_open(&m, at("a"), &e), &e);
    assert_int_equal(m.size, 5);
    assert_memory_equal(m.data, "hello", 5);
    file_map_want(&m, 2, SIZE_MAX);
    file_map_want(&m, 5, 1);
    file_map_close(&m);
    assert_null(m.data);
    put(at("empty"), "");
    assert_ok(file_map_open(&m, at("empty"), &e), &e);
    assert_null(m.data);
    assert_int_equal(m.size, 0);
    file_map_close(&m);
}

static void mapping_refuses_with_a_reason(void **state)
{
    (void)state;
    err e;
    file_map m;
    assert_fails(file_map_open(&m, at("none"), &e), E_IO, &e, "No such file");
    assert_int_equal(e.os_errno, ENOENT);
    assert_non_null(strstr(e.what, "/none\""));
    assert_fails(file_map_open(&m, dir, &e), E_ARG, &e, "folder");
    assert_int_equal(mkfifo(at("fifo"), 0600), 0);
    assert_fails(file_map_open(&m, at("fifo"), &e), E_ARG, &e, "not a regular file");   /* and does not wait */
    unlink(at("fifo"));
    if (geteuid() != 0) {   /* root may read everything */
        put(at("secret"), "x");
        chmod(at("secret"), 0);
        assert_fails(file_map_open(&m, at("secret"), &e), E_IO, &e, "permission");
    }
}

static void questions(void **state)
{
    (void)state;
    put(at("a"), "hello");
    assert_true(file_exists(at("a")) && file_exists(dir) && !file_exists(at("none")));
    assert_true(file_is_dir(dir) && !file_is_dir(at("a")) && !file_is_dir(at("none")));
    assert_int_equal(file_size(at("a")), 5);
    assert_int_equal(file_size(at("none")), -1);
    assert_int_equal(file_size(dir), -1);
}

static void reading_stops_at_the_limit(void **state)
{
    (void)state;
    err e;
    buf b;
    put(at("a"), "0123456789");
    buf_init(&b, 10);
    assert_ok(file_read_all(&b, at("a"), &e), &e);
    buf_done(&b);
    buf_init(&b, 9);
    assert_fails(file_read_all(&b, at("a"), &e), E_ARG, &e, "limit of 9");
    assert_fails(file_read_all(&b, "/dev/zero", &e), E_ARG, &e, "limit of 9");
    assert_fails(file_read_all(&b, dir, &e), E_IO, &e, "directory");
    assert_fails(file_read_all(&b, at("none"), &e), E_IO, &e, "No such file");
    buf_done(&b);
}

static void nothing_is_seen_before_commit(void **state)
{
    (void)state;
    err e;
    file_out f;
    put(at("out"), "old");
    int before = folder_count(dir);
    assert_ok(file_out_begin(&f, at("out"), &e), &e);
    assert_ok(file_out_write(&f, "new text", 8, &e), &e);
    assert_ok(file_out_write_at(&f, 0, "N", 1, &e), &e);
    assert_int_equal(f.written, 8);
    assert_content(at("out"), "old");
    file_out_abort(&f);
    assert_content(at("out"), "old");
    assert_int_equal(folder_count(dir), before);
    file_out_abort(&f);   /* twice is fine */

    assert_ok(file_out_begin(&f, at("out"), &e), &e);
    assert_ok(file_out_write(&f, "new text", 8, &e), &e);
    assert_ok(file_out_commit(&f, &e), &e);
    assert_content(at("out"), "new text");
    assert_int_equal(folder_count(dir), before);
}

static void modes_and_links_are_kept(void **state)
{
    (void)state;
    err e;
    file_out f;
    struct stat s;
    put(at("target"), "old");
    chmod(at("target"), 0640);
    assert_int_equal(symlink("target", at("link")), 0);
    assert_ok(file_out_begin(&f, at("link"), &e), &e);
    assert_ok(file_out_write(&f, "new", 3, &e), &e);
    assert_ok(file_out_commit(&f, &e), &e);
    assert_content(at("target"), "new");
    assert_int_equal(lstat(at("link"), &s), 0);
    assert_true(S_ISLNK(s.st_mode));
    assert_int_equal(stat(at("target"), &s), 0);
    assert_int_equal(s.st_mode & 0777, 0640);
    mode_t old = umask(077);
    assert_ok(file_out_begin(&f, at("fresh"), &e), &e);
    assert_ok(file_out_commit(&f, &e), &e);
    umask(old);
    assert_int_equal(stat(at("fresh"), &s), 0);
    assert_int_equal(s.st_mode & 0777, 0600);
}

static void a_full_disk_leaves_nothing(void **state)
{
    (void)state;
    err e;
    file_out f;
    assert_ok(file_out_begin(&f, "/dev/full", &e), &e);
    assert_fails(file_out_write(&f, "x", 1, &e), E_IO, &e, "No space left");
    assert_int_equal(e.os_errno, ENOSPC);
    assert_non_null(strstr(e.hint, "Free some space"));
    file_out_abort(&f);
    assert_true(file_exists("/dev/full"));
    assert_ok(file_out_begin(&f, "/dev/null", &e), &e);   /* written in place, not replaced */
    assert_ok(file_out_write(&f, "x", 1, &e), &e);
    assert_ok(file_out_commit(&f, &e), &e);
    struct stat s;
    assert_int_equal(stat("/dev/null", &s), 0);
    assert_true(S_ISCHR(s.st_mode));
}

static void writing_refuses_with_a_reason(void **state)
{
    (void)state;
    err e;
    file_out f;
    assert_fails(file_out_begin(&f, at("no/such/folder"), &e), E_IO, &e, "No such file");
    assert_fails(file_out_begin(&f, dir, &e), E_ARG, &e, "folder");
    assert_fails(file_out_begin(&f, "", &e), E_ARG, &e, "without a name");
    size_t before = mem_now();
    for (int n = 0; n < 2; n++) {
        mem_fail_at(n);
        assert_fails(file_out_begin(&f, at("x"), &e), E_NOMEM, &e, "memory");
        mem_fail_at(-1);
    }
    assert_int_equal(mem_now(), before);
}

static status collect(void *user, const char *name, bool is_dir, err *e)
{
    char *out = user;
    if (strcmp(name, "stop") == 0) return err_set(e, E_CANCELLED, "stopped");
    strcat(out, name);
    strcat(out, is_dir ? "/ " : " ");
    return OK;
}

static void listing_is_sorted(void **state)
{
    (void)state;
    err e;
    char got[256] = "", sub[600];
    snprintf(sub, sizeof sub, "%s", at("list"));
    assert_int_equal(mkdir(sub, 0700), 0);
    put(at("list/b"), "");
    put(at("list/B"), "");
    put(at("list/a10"), "");
    put(at("list/.hidden"), "");
    assert_int_equal(mkdir(at("list/d"), 0700), 0);
    assert_int_equal(symlink("d", at("list/e")), 0);
    assert_int_equal(symlink("gone", at("list/f")), 0);
    assert_ok(file_list(sub, collect, got, &e), &e);
    assert_string_equal(got, ".hidden B a10 b d/ e/ f ");
    put(at("list/stop"), "");
    got[0] = 0;
    assert_fails(file_list(sub, collect, got, &e), E_CANCELLED, &e, "stopped");
    assert_fails(file_list(at("none"), collect, got, &e), E_IO, &e, "No such file");
    size_t before = mem_now();
    for (int n = 0; n < 6; n++) {
        mem_fail_at(n);
        assert_fails(file_list(sub, collect, got, &e), E_NOMEM, &e, "memory");
        mem_fail_at(-1);
    }
    assert_int_equal(mem_now(), before);
}

static void joining(void **state)
{
    (void)state;
    static const char *const cases[][3] = { { "a", "b", "a/b" }, { "a/", "b", "a/b" }, { "", "b", "b" }, { "/", "b", "/b" } };
    for (size_t i = 0; i < 4; i++) {
        char *p = file_join(cases[i][0], cases[i][1]);
        assert_string_equal(p, cases[i][2]);
        mem_free(p);
    }
}

/* ---- folders ----------------------------------------------------------------------------------------- */

static void put_file(const char *folder, const char *name, const char *text)
{
    err e;
    file_out f;
    char *path = file_join(folder, name);
    assert_ok(file_out_begin(&f, path, &e), &e);
    assert_ok(file_out_write(&f, text, strlen(text), &e), &e);
    assert_ok(file_out_commit(&f, &e), &e);
    mem_free(path);
}

static void assert_file(const char *folder, const char *name, const char *text)
{
    err e;
    buf b;
    char *path = file_join(folder, name);
    buf_init(&b, 1000);
    assert_ok(file_read_all(&b, path, &e), &e);
    assert_string_equal(buf_text(&b), text);
    buf_done(&b);
    mem_free(path);
}

static void folders_appear_as_a_whole(void **state)
{
    (void)state;
    static const char *const names[] = { "data", "head", NULL };
    err e;
    dir_out d;
    char *path = file_join(dir, "whole"), *sub = file_join(path, "sub");
    for (int i = 0; i < 2; i++) {
        assert_ok(dir_out_begin(&d, path, &e), &e);
        put_file(d.tmp, "data", i ? "new data" : "data");
        put_file(d.tmp, "head", i ? "new head" : "head");
        if (!i) assert_false(file_exists(path));
        else assert_file(path, "data", "data");
        char *tmp = mem_strdup(d.tmp, strlen(d.tmp), MEM_OTHER);
        assert_ok(dir_out_commit(&d, names, &e), &e);
        assert_false(file_exists(tmp));
        mem_free(tmp);
        assert_file(path, "data", i ? "new data" : "data");
        assert_file(path, "head", i ? "new head" : "head");
        if (!i) put_file(path, "other", "stays");
    }
    assert_file(path, "other", "stays");
    assert_ok(dir_out_begin(&d, path, &e), &e);      /* one of the files is missing: the head is away, the rest as it was */
    put_file(d.tmp, "head", "newest");
    assert_fails(dir_out_commit(&d, names, &e), E_IO, &e, "data");
    assert_file(path, "data", "new data");
    char *head = file_join(path, "head");
    assert_false(file_exists(head));
    mem_free(head);
    assert_ok(dir_make(sub, &e), &e);
    assert_ok(dir_make(sub, &e), &e);
    put_file(sub, "deep", "x");
    char *other = file_join(path, "other");
    assert_fails(dir_make(other, &e), E_IO, &e, "exists");
    assert_fails(dir_out_begin(&d, other, &e), E_ARG, &e, "file of that name");
    mem_free(other);
    dir_remove(path);
    assert_false(file_exists(path));
    dir_remove(path);
    mem_free(sub);
    mem_free(path);
}

static int set_up(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/facet-test-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    char command[600];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mapping),
        cmocka_unit_test(mapping_refuses_with_a_reason),
        cmocka_unit_test(questions),
        cmocka_unit_test(reading_stops_at_the_limit),
        cmocka_unit_test(nothing_is_seen_before_commit),
        cmocka_unit_test(modes_and_links_are_kept),
        cmocka_unit_test(a_full_disk_leaves_nothing),
        cmocka_unit_test(writing_refuses_with_a_reason),
        cmocka_unit_test(listing_is_sorted),
        cmocka_unit_test(joining),
        cmocka_unit_test(folders_appear_as_a_whole),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
