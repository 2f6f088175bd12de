/* The prefix cache on disk: what comes back has the bits of what is computed, and what is damaged or another's never comes back. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/sip.h"
#include "os/own_dir.h"
#include "support/engine.h"
#include "support/tiny.h"

enum { LONG = 150, ANSWER = 6 };

static char dir[512];

static void fresh_dir(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/store-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(dir));
    chmod(dir, 0700);
}

/* Calls fn for each file of the cache; how many there are. */
static int each_file(void (*fn)(const char *path, void *user), void *user)
{
    char path[1024];
    int n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (const struct dirent *x; (x = readdir(d));) {
        if (!strstr(x->d_name, ".prefix")) continue;
        snprintf(path, sizeof path, "%s/%s", dir, x->d_name);
        if (fn) fn(path, user);
        n++;
    }
    closedir(d);
    return n;
}

static void remove_file(const char *path, void *user) { (void)user; remove(path); }

static void remove_dir(void)
{
    char path[1024];
    static const char *const names[] = { "lock", "secret" };
    each_file(remove_file, NULL);
    for (int i = 0; i < 2; i++) { snprintf(path, sizeof path, "%s/%s", dir, names[i]); remove(path); }
    assert_int_equal(rmdir(dir), 0);
}

static facet_engine_opts small(void) { return (facet_engine_opts){ .threads = 1, .invariant = true, .ctx = 256, .chunk = 48, .cache = 2 << 20, .cache_dir = dir }; }

static void ask_as(heard *h, facet_engine *g, const facet_sampling *s, const int32_t *ids, size_t n, uint64_t scope)
{
    *h = (heard){ 0 };
    engine_submit_as(h, g, s, ids, n, scope);
    facet_request_wait(h->r, NULL, NULL);
    facet_request_free(h->r);
}

/* One engine's life: the first n ids are asked, in scope 7. */
static facet_stats live(const facet_model *m, const facet_engine_opts *o, heard *h, const int32_t *ids, int32_t n, uint64_t scope)
{
    facet_stats stats;
    facet_engine *g = engine_start(m, o);
    facet_sampling s = engine_sampling(m, (uint64_t)n, ANSWER);
    s.top_logprobs = HEARD_TOP;
    ask_as(h, g, &s, ids, (size_t)n, scope);
    facet_engine_read_stats(g, &stats);
    facet_engine_stop(g);
    return stats;
}

static facet_model *open_tiny(void)
{
    char path[600];
    err e = { 0 };
    facet_model *m = NULL;
    const char *base = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/store-tiny.gguf", base ? base : "/tmp");
    assert_ok(tiny_write_gguf(path, TINY_26B, DTYPE_Q8_0, 1, &e), &e);
    assert_ok(facet_model_open(&m, &(facet_model_opts){ .path = path }, &e), &e);
    remove(path);
    return m;
}

static const char *const goldens[] = { "tests/golden/e2b", "tests/golden/e4b", "tests/golden/12b", "tests/golden/26b", "tests/golden/31b" };

/* After a restart the next turn, the same prompt again, and prompts that end around the border go on from the file: same bits. */
static void a_restart_changes_nothing(void **state)
{
    static const int32_t turns[] = { LONG + 40, LONG, LONG - 15, LONG - 40, LONG + 1, 129, 128 };
    static heard with, without;
    (void)state;
    for (int k = 0; k <= 2 * (int)COUNT_OF(goldens); k++) {
        bool q8 = k == 2 * (int)COUNT_OF(goldens);              /* it needs heads of 32 numbers, which the goldens have not */
        facet_model *m = q8 ? open_tiny() : engine_open_model(goldens[k / 2]);
        facet_engine_opts o = small(), bare;
        static const facet_kv kinds[] = { FACET_KV_F16, FACET_KV_F32, FACET_KV_BF16 };
        int32_t ids[256];
        o.exact = k % 2;
        o.kv = q8 ? FACET_KV_Q8_0 : kinds[k % 3];
        bare = o;
        bare.cache_dir = NULL;
        bare.cache = -1;
        bare.chunk = 31;
        engine_prompt(ids, 256, k);
        for (size_t t = 0; t < COUNT_OF(turns); t++) {
            fresh_dir();
            live(m, &o, &with, ids, LONG, 7);
            assert_true(each_file(NULL, NULL) >= 1);
            facet_stats stats = live(m, &o, &with, ids, turns[t], 7);
            live(m, &bare, &without, ids, turns[t], 7);
            engine_same(&with, &without);
            bool reaches = turns[t] > LONG - 16;
            if (reaches) assert_true(with.result.cached_tokens >= MIN(LONG, turns[t] - 1) - 16);
            assert_int_equal(stats.disk_tokens, with.result.cached_tokens);
            assert_int_equal(without.result.cached_tokens, 0);
            remove_dir();
        }
        facet_model_close(m);
    }
}

/* Another key, another model, another type of cache, another instruction set: nothing is found, and the owner still finds it. */
static void whose_it_is(void **state)
{
    static heard h;
    int32_t ids[256];
    (void)state;
    facet_model *m = engine_open_model(goldens[0]), *other = engine_open_model(goldens[1]);
    facet_engine_opts o = small(), bf16 = o, exact = o;
    bf16.kv = FACET_KV_BF16;
    exact.exact = true;
    exact.kv = FACET_KV_F16;
    engine_prompt(ids, 256, 3);
    fresh_dir();
    live(m, &o, &h, ids, LONG, 7);
    int files = each_file(NULL, NULL);
    live(m, &o, &h, ids, LONG, 8);
    assert_int_equal(h.result.cached_tokens, 0);
    assert_true(each_file(NULL, NULL) > files);
    live(m, &bf16, &h, ids, LONG, 7);
    assert_int_equal(h.result.cached_tokens, 0);
    live(m, &exact, &h, ids, LONG, 7);
    assert_int_equal(h.result.cached_tokens, 0);
    live(other, &o, &h, ids, LONG, 7);
    assert_int_equal(h.result.cached_tokens, 0);
    live(m, &o, &h, ids, LONG, 7);
    assert_int_equal(h.result.cached_tokens, LONG - 1);
    remove_dir();
    facet_model_close(other);
    facet_model_close(m);
}

typedef struct damage { size_t at; bool cut; } damage;

static void damage_file(const char *path, void *user)
{
    const damage *d = user;
    struct stat s;
    uint8_t byte = 0;
    assert_int_equal(stat(path, &s), 0);
    assert_int_equal(s.st_mode & 0777, 0600);
    size_t at = d->at % (size_t)s.st_size;
    if (d->cut) { assert_int_equal(truncate(path, (off_t)at), 0); return; }
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    close(fd);
}

/* Every field of the header, tokens, rows, the checksum: one bit is wrong, or the file ends there. */
static void damaged_files_are_removed(void **state)
{
    static heard with, without;
    int32_t ids[256];
    (void)state;
    facet_model *m = engine_open_model(goldens[0]);
    facet_engine_opts o = small(), bare = o;
    bare.cache_dir = NULL;
    bare.cache = -1;
    engine_prompt(ids, 256, 5);
    live(m, &bare, &without, ids, LONG, 7);
    for (size_t i = 0; i < 48; i++) {
        damage d = { i < 18 ? i * 4 : i < 30 ? 72 + (i - 18) * 50 : i < 46 ? 700 + (i - 30) * 1501 : SIZE_MAX / 2, i % 8 == 7 };
        fresh_dir();
        live(m, &o, &with, ids, LONG, 7);
        int files = each_file(NULL, NULL);
        each_file(damage_file, &d);
        facet_stats stats = live(m, &o, &with, ids, LONG, 7);
        if (stats.disk_tokens) fail_msg("a flipped bit at %zu was not noticed", d.at);
        engine_same(&with, &without);
        assert_true(files > 0);
        remove_dir();
    }
    facet_model_close(m);
}

/* The limit holds, what is used longest ago goes first; names that are not ours stay. */
static void the_limit_holds(void **state)
{
    static heard h;
    int32_t ids[256];
    char path[1024];
    (void)state;
    facet_model *m = engine_open_model(goldens[0]);
    facet_engine_opts o = small();
    fresh_dir();
    snprintf(path, sizeof path, "%s/my notes.txt", dir);
    fclose(fopen(path, "w"));
    engine_prompt(ids, 256, 1);
    facet_stats s = live(m, &o, &h, ids, LONG, 7);
    s = live(m, &o, &h, ids, LONG, 7);
    assert_true(s.disk_bytes > 0 && s.disk_files > 0);
    o.cache_disk = s.disk_bytes;
    for (int salt = 2; salt < 5; salt++) {
        engine_prompt(ids, 256, salt);
        live(m, &o, &h, ids, LONG, 7);
    }
    s = live(m, &o, &h, ids, LONG, 7);
    assert_int_equal(h.result.cached_tokens, LONG - 1);
    assert_true(s.disk_bytes <= s.disk_bytes_max && s.disk_bytes_max == o.cache_disk);
    engine_prompt(ids, 256, 1);
    live(m, &o, &h, ids, LONG, 7);
    assert_int_equal(h.result.cached_tokens, 0);
    assert_int_equal(access(path, F_OK), 0);
    remove(path);
    remove_dir();
    facet_model_close(m);
}

/* A folder that another engine uses, that others can read, that is none, for an engine that remembers nothing. */
static void refused(void **state)
{
    facet_error e;
    facet_engine *g = NULL;
    char file[600];
    (void)state;
    facet_model *m = engine_open_model(goldens[0]);
    facet_engine_opts o = small();
    fresh_dir();
    facet_engine *first = engine_start(m, &o);
    assert_fails(facet_engine_start(&g, m, &o, &e), E_BUSY, &e, "another process works in it");
    facet_engine_stop(first);
    chmod(dir, 0750);
    assert_fails(facet_engine_start(&g, m, &o, &e), E_ARG, &e, "others may look into it");
    chmod(dir, 0700);
    snprintf(file, sizeof file, "%s/lock", dir);
    o.cache_dir = file;
    assert_fails(facet_engine_start(&g, m, &o, &e), E_ARG, &e, "it is none");
    o = small();
    o.cache = -1;
    assert_fails(facet_engine_start(&g, m, &o, &e), E_ARG, &e, "nothing is remembered");
    remove_dir();
    facet_model_close(m);
}

/* The disk takes no more: a warning, and answers as ever. */
static void full_disk(void **state)
{
    static heard h;
    int32_t ids[256];
    struct rlimit old, now;
    (void)state;
    facet_model *m = engine_open_model(goldens[0]);
    facet_engine_opts o = small();
    engine_prompt(ids, 256, 9);
    fresh_dir();
    facet_engine *g = engine_start(m, &o);
    facet_sampling s = engine_sampling(m, 1, ANSWER);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    now = old;
    now.rlim_cur = 1000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &now), 0);
    ask_as(&h, g, &s, ids, LONG, 7);
    facet_engine_stop(g);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(h.count, ANSWER);
    assert_int_equal(each_file(NULL, NULL), 0);          /* no temporary either */
    remove_dir();
    facet_model_close(m);
}

/* Any allocation of starting with a folder fails: an error, and nothing is lost. */
static void short_of_memory(void **state)
{
    static heard h;
    int32_t ids[256];
    (void)state;
    facet_model *m = engine_open_model(goldens[0]);
    facet_engine_opts o = small();
    engine_prompt(ids, 256, 9);
    fresh_dir();
    live(m, &o, &h, ids, LONG, 7);
    size_t before = mem_now();
    for (int n = 0;; n++) {
        facet_error e = { 0 };
        facet_engine *g = NULL;
        mem_fail_at(n);
        facet_status st = facet_engine_start(&g, m, &o, &e);
        bool hit = mem_fail_hit();
        mem_fail_at(-1);
        if (st != FACET_OK) assert_int_equal(st, FACET_E_NOMEM);
        facet_engine_stop(g);
        if (mem_now() != before) fail_msg("allocation %d: %zu bytes are lost", n, mem_now() - before);
        if (!hit) break;
    }
    live(m, &o, &h, ids, LONG, 7);
    assert_int_equal(h.result.cached_tokens, LONG - 1);
    remove_dir();
    facet_model_close(m);
}

/* What nobody uses for a while is on disk while the engine still runs, and nothing is left to write at its end. */
static void written_while_idle(void **state)
{
    static heard first, again;
    facet_stats stats = { 0 };
    int32_t ids[256];
    (void)state;
    facet_model *m = engine_open_model(goldens[0]);
    facet_engine_opts o = small();
    engine_prompt(ids, 256, 11);
    fresh_dir();
    facet_engine *g = engine_start(m, &o);
    facet_sampling s = engine_sampling(m, LONG, ANSWER);
    s.top_logprobs = HEARD_TOP;
    ask_as(&first, g, &s, ids, LONG, 7);
    assert_int_equal(each_file(NULL, NULL), 0);              /* somebody may go on with it at once */
    for (int i = 0; i < 1200 && (stats.disk_written < 2 || each_file(NULL, NULL) < 2); i++) {
        usleep(50000);
        facet_engine_read_stats(g, &stats);
    }
    int files = each_file(NULL, NULL);
    assert_true(files >= 2);                                 /* behind the prompt, behind the answer */
    assert_int_equal(stats.disk_written, files);
    ask_as(&again, g, &s, ids, LONG, 7);
    engine_same(&again, &first);
    facet_engine_stop(g);
    assert_int_equal(each_file(NULL, NULL), files);
    stats = live(m, &o, &again, ids, LONG, 7);
    assert_int_equal(stats.disk_tokens, LONG - 1);
    engine_same(&again, &first);
    remove_dir();
    facet_model_close(m);
}

/* Who waits for the disk holds up nobody, and nobody's bits change. */
static void read_beside_others(void **state)
{
    static heard alone_long, alone_short, with_long, with_short, other;
    int32_t ids[256], long_ids[256];
    int order = 0;
    (void)state;
    facet_model *m = engine_open_model(goldens[0]);
    facet_engine_opts o = small(), bare = o;
    o.parallel = bare.parallel = 2;
    bare.cache_dir = NULL;
    bare.cache = -1;
    engine_prompt(ids, 256, 12);
    engine_prompt(long_ids, 256, 13);
    fresh_dir();
    live(m, &o, &other, ids, LONG, 7);
    for (int round = 0; round < 2; round++) {
        facet_engine *g = engine_start(m, round ? &o : &bare);
        facet_sampling s = engine_sampling(m, 5, 200), t = engine_sampling(m, 6, ANSWER);
        heard *a = round ? &with_long : &alone_long, *b = round ? &with_short : &alone_short;
        *a = *b = (heard){ .order = &order };
        engine_submit_as(a, g, &s, long_ids, 20, 7);
        for (facet_stats now = { 0 }; now.running == 0; usleep(100)) facet_engine_read_stats(g, &now);      /* it is computed now */
        engine_submit_as(b, g, &t, ids, LONG, 7);
        facet_request_wait(b->r, NULL, NULL);
        facet_request_wait(a->r, NULL, NULL);
        facet_request_free(b->r);
        facet_request_free(a->r);
        facet_engine_stop(g);
    }
    engine_same(&with_long, &alone_long);
    engine_same(&with_short, &alone_short);
    assert_int_equal(with_short.result.cached_tokens, LONG - 1);
    assert_true(with_short.place < with_long.place);         /* it went first, so the other one was running all the time */
    remove_dir();
    facet_model_close(m);
}

/* No folder is used with a secret that can be guessed: where the system gives no random numbers, there is none. */
static void no_secret_without_randomness(void **state)
{
    (void)state;
    fresh_dir();
    pid_t child = fork();
    if (child == 0) {
        struct sock_filter code[] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrandom, 0, 1),
                                      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
        struct sock_fprog all = { sizeof code / sizeof *code, code };
        own_dir d;
        err e = { 0 };
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &all) != 0) _exit(2);
        _exit(own_dir_open(&d, dir, &e) == E_IO && strstr(e.why, "no random numbers") ? 0 : 1);
    }
    int how = 0;
    char path[600];
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_int_equal(how, 0);
    snprintf(path, sizeof path, "%s/secret", dir);
    assert_int_equal(access(path, F_OK), -1);
    remove_dir();
}

/* The values of the authors' own program (appendix A of their paper, and its first test vector). */
static void keyed_hash(void **state)
{
    uint8_t bytes[16];
    sip_key key;
    sip s;
    (void)state;
    for (int i = 0; i < 16; i++) bytes[i] = (uint8_t)i;
    memcpy(&key, bytes, sizeof key);
    assert_true(sip_hash(&key, bytes, 0) == 0x726fdb47dd0e0e31u);
    assert_true(sip_hash(&key, bytes, 15) == 0xa129ca6149be45e5u);
    for (size_t cut = 0; cut <= 15; cut++) {
        sip_begin(&s, &key);
        sip_add(&s, bytes, cut);
        sip_add(&s, bytes + cut, 15 - cut);
        assert_true(sip_end(s) == 0xa129ca6149be45e5u);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_secret_without_randomness), cmocka_unit_test(written_while_idle), cmocka_unit_test(read_beside_others), cmocka_unit_test(a_restart_changes_nothing), cmocka_unit_test(whose_it_is), cmocka_unit_test(damaged_files_are_removed),
        cmocka_unit_test(the_limit_holds), cmocka_unit_test(refused), cmocka_unit_test(full_disk), cmocka_unit_test(short_of_memory),
        cmocka_unit_test(keyed_hash) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
