/* The prefix cache on disk under trouble: memory is short while a file is written or read, a write is called off in the middle.  Answers
 * have the bits that they always have, no half a file is left, and what was written is found again. */
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "run/engine.h"
#include "run/run_int.h"
#include "run/store.h"
#include "support/engine.h"

enum { LONG = 150, ANSWER = 6, SCOPE = 7 };

static char dir[512];
static facet_model *model;
static int32_t ids[256];
static heard want;               /* of an engine that remembers nothing */

static int files(bool temporary)
{
    int n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (const struct dirent *x; (x = readdir(d));) n += temporary ? strstr(x->d_name, ".tmp-") != NULL : strlen(x->d_name) > 7 && strcmp(x->d_name + strlen(x->d_name) - 7, ".prefix") == 0;
    closedir(d);
    return n;
}

static void empty_dir(void)
{
    char path[1024];
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (const struct dirent *x; (x = readdir(d));) {
        snprintf(path, sizeof path, "%s/%s", dir, x->d_name);
        if (x->d_name[0] != '.') remove(path);
    }
    closedir(d);
}

static facet_engine_opts opts(void) { return (facet_engine_opts){ .threads = 1, .invariant = true, .ctx = 256, .chunk = 48, .cache = 2 << 20, .cache_dir = dir }; }

static void submit(heard *h, facet_engine *g)
{
    facet_sampling s = engine_sampling(model, LONG, ANSWER);
    *h = (heard){ 0 };
    engine_submit_as(h, g, &s, ids, LONG, SCOPE);
}

static void finish(heard *h)
{
    facet_request_wait(h->r, NULL, NULL);
    facet_request_free(h->r);
}

/* One engine's life; its files are written at its end. */
static void live(heard *h)
{
    facet_engine_opts o = opts();
    facet_engine *g = engine_start(model, &o);
    submit(h, g);
    finish(h);
    facet_engine_stop(g);
}

static void writing(void **state)
{
    static heard h;
    int failed = 0;
    bool hit = true;
    (void)state;
    for (int64_t i = 0; hit; i++) {
        facet_engine_opts o = opts();
        empty_dir();
        facet_engine *g = engine_start(model, &o);
        submit(&h, g);
        finish(&h);
        engine_same(&h, &want);
        mem_fail_at(i);
        facet_engine_stop(g);
        hit = mem_fail_hit();
        mem_fail_at(-1);
        assert_int_equal(files(true), 0);
        int written = files(false);
        live(&h);                            /* it finds what is there, and computes the rest */
        engine_same(&h, &want);
        if (!hit) assert_true(written > 0 && h.result.cached_tokens == LONG - 1);
        failed += hit && written == 0;
    }
    assert_true(failed > 0);
}

/* From submit on, so the request itself may fail; but not wrongly. */
static void reading(void **state)
{
    static heard h;
    facet_error e = { 0 };
    bool hit = true;
    int computed = 0;
    (void)state;
    for (int64_t i = 0; hit; i++) {
        facet_engine_opts o = opts();
        facet_sampling s = engine_sampling(model, LONG, ANSWER);
        empty_dir();
        live(&h);
        facet_engine *g = engine_start(model, &o);
        h = (heard){ 0 };
        assert_ok(facet_request_new(&h.r, g, &s, &e), &e);
        assert_ok(facet_request_tokens(h.r, ids, LONG, &e), &e);
        facet_request_scope(h.r, SCOPE);
        mem_fail_at(i);
        facet_status st = facet_request_submit(h.r, engine_listen, &h, &e);
        if (st == FACET_OK) st = facet_request_wait(h.r, &h.result, &e);
        hit = mem_fail_hit();
        mem_fail_at(-1);
        if (st != FACET_OK) assert_int_equal(st, FACET_E_NOMEM);
        else engine_same(&h, &want);
        computed += st == FACET_OK && h.result.cached_tokens == 0;
        facet_request_free(h.r);
        submit(&h, g);                       /* the file was not to blame */
        finish(&h);
        engine_same(&h, &want);
        assert_int_equal(h.result.cached_tokens, LONG - 1);
        facet_engine_stop(g);
    }
    assert_int_equal(computed, 0);           /* reading a file takes no memory: none is given up for want of it */
}

static void on_ready(void *user) { (void)user; }

/* A file is read back and written under another name, and the second is called off at once: nothing of it is left, and the next is whole. */
static void called_off(void **state)
{
    err e = { 0 };
    store s = { 0 };
    gemma_ctx *x = NULL;
    gemma_ctx_opts o;
    arena a = { 0 }, measure = { 0 };
    static heard h;
    int32_t length = 0;
    uint64_t name = 0;
    (void)state;
    empty_dir();
    live(&h);
    facet_engine_opts asked = opts();
    assert_ok(engine_translate(model, &asked, &o, &e), &e);
    assert_ok(gemma_ctx_new(&x, model->gemma, &o, NULL, &e), &e);
    assert_ok(store_layout(&s, &o, &measure, &e), &e);
    assert_ok(arena_init(&a, measure.used, MEM_OTHER, &e), &e);
    assert_ok(store_layout(&s, &o, &a, &e), &e);
    assert_ok(store_start(&s, x, dir, (uint64_t)1 << 30, on_ready, NULL, &e), &e);
    assert_true(store_find(&s, SCOPE, ids, LONG, 0, &length, &name));
    store_job *j = &s.job;
    *j = (store_job){ .ids = j->ids, .pages = j->pages, .scope = SCOPE, .wanted = LONG, .name = name, .count = (length + GEMMA_PAGE - 1) / GEMMA_PAGE };
    memcpy(j->ids, ids, LONG * sizeof *ids);
    for (int32_t i = 0; i < j->count; i++) j->pages[i] = gemma_page_take(x);
    store_begin(&s);
    assert_true(store_wait(&s, 60) && store_take(&s));
    assert_int_equal(j->st, OK);
    int before = files(false), off = 0;
    j->save = true;
    for (int i = 0; i < 2000 && off < 5; i++) {
        j->name = 0x1000u + (uint64_t)i;
        store_begin(&s);
        store_abort(&s);
        assert_true(store_wait(&s, 60) && store_take(&s));
        assert_true(j->st == OK || j->st == E_CANCELLED);
        before += j->st == OK;
        off += j->st == E_CANCELLED;
        assert_int_equal(files(false), before);
        assert_int_equal(files(true), 0);
    }
    assert_true(off > 0);
    j->name = 1;
    store_begin(&s);
    assert_true(store_wait(&s, 60) && store_take(&s));
    assert_int_equal(j->st, OK);
    assert_int_equal(files(false), before + 1);
    store_stop(&s);
    gemma_ctx_free(x);
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(writing), cmocka_unit_test(reading), cmocka_unit_test(called_off) };
    const char *base = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/fault-store-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(dir));
    model = engine_open_model("tests/golden/e2b");
    engine_prompt(ids, 256, 4);
    facet_engine_opts bare = opts();
    bare.cache_dir = NULL;
    bare.cache = -1;
    facet_engine *g = engine_start(model, &bare);
    submit(&want, g);
    finish(&want);
    facet_engine_stop(g);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    empty_dir();
    rmdir(dir);
    facet_model_close(model);
    return failed;
}
