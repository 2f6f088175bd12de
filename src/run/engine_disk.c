/* Prefixes to the disk and back.
 *
 * A checkpoint is written when nobody has used it for a while, and when the engine ends; one is read back for a request that would
 * otherwise compute what it holds.  The disk's thread moves the bytes straight between a file and the cache: meanwhile its pages have
 * one user more and its window state is busy, so nobody changes them, and steps go on. */
#include <string.h>

#include "base/bits.h"
#include "os/clock.h"
#include "run/engine_int.h"

enum { WORTH = 32 };                /* tokens that are worth a file, or reading one */
enum { IDLE_SECONDS = 10, RETRY_SECONDS = 60, FLUSH_SECONDS = 10 };

static int32_t pages_of(int32_t tokens) { return (tokens + GEMMA_PAGE - 1) / GEMMA_PAGE; }

static void drop_pages(facet_engine *g)
{
    for (int32_t i = 0; i < g->store.job.count; i++) gemma_page_drop(g->ctx, g->store.job.pages[i]);
}

/* What the disk has done becomes part of the tree. */
static void settle(facet_engine *g)
{
    store_job *j = &g->store.job;
    if (!store_is_on(&g->store) || !store_take(&g->store)) return;
    if (j->save) {
        prefix_checkpoint *k = &g->prefix.checkpoints[j->place];
        k->busy = false;
        k->stored = j->st == OK;
        if (j->st != OK && j->st != E_CANCELLED) g->retry = clock_seconds() + RETRY_SECONDS;
    } else {
        g->loading = false;
        if (j->st == OK) {
            gemma_state_set(g->ctx, j->place, &j->state);
            prefix_insert(&g->prefix, j->scope, j->ids, j->state.length, j->pages, j->place, (prefix_kind)j->kind);
        } else {
            prefix_free_place(&g->prefix, j->place);
        }
    }
    drop_pages(g);
}

/* ---- writing -------------------------------------------------------------------------------------- */

/* The next one that was not used since `before`.  False: there is none. */
static bool begin_save(facet_engine *g, double before, bool newest)
{
    store_job *j = &g->store.job;
    for (int32_t i; (i = prefix_find_unstored(&g->prefix, before, newest)) >= 0;) {
        prefix_checkpoint *k = &g->prefix.checkpoints[i];
        gemma_state state = gemma_state_read(g->ctx, i);
        *j = (store_job){ .save = true, .ids = j->ids, .pages = j->pages, .count = pages_of(k->length), .place = i, .state = state, .kind = (int32_t)k->kind };
        j->scope = prefix_read(&g->prefix, i, j->ids, j->pages);
        k->stored = store_has(&g->store, j->scope, j->ids, k->length, &j->name) || k->length < WORTH || store_file_bytes(&g->store, &state) > g->store.bytes_max;
        if (k->stored) continue;
        for (int32_t p = 0; p < j->count; p++) gemma_page_hold(g->ctx, j->pages[p]);
        k->busy = true;
        store_begin(&g->store);
        return true;
    }
    return false;
}

void engine_disk_turn(facet_engine *g)
{
    settle(g);
    double now = clock_seconds();
    if (store_is_on(&g->store) && !g->wanted && now >= g->retry && !store_is_busy(&g->store)) begin_save(g, now - IDLE_SECONDS, false);
}

void engine_disk_flush(facet_engine *g)
{
    double until = clock_seconds() + FLUSH_SECONDS;
    bool fine = store_is_on(&g->store);
    while (fine) {
        double left = until - clock_seconds();
        if (left <= 0 || !store_wait(&g->store, left)) break;
        bool first = !store_is_busy(&g->store);
        settle(g);
        fine = (first || g->store.job.st == OK) && begin_save(g, clock_seconds(), true);
    }
    engine_disk_yield(g);
}

/* ---- reading -------------------------------------------------------------------------------------- */

static bool begin_load(facet_engine *g, facet_request *r, int32_t n, int32_t length, uint64_t name)
{
    store_job *j = &g->store.job;
    *j = (store_job){ .ids = j->ids, .pages = j->pages, .scope = request_branch(r), .wanted = MIN(n, g->opts.ctx), .name = name };
    while (gemma_pages_free(g->ctx) < pages_of(length) && prefix_shrink(&g->prefix)) { }
    if (gemma_pages_free(g->ctx) < pages_of(length)) return false;
    j->place = prefix_take_place(&g->prefix, request_branch(r), r->ids.data, n, length);
    if (j->place < 0) return false;
    while (j->count < pages_of(length)) j->pages[j->count++] = gemma_page_take(g->ctx);
    memcpy(j->ids, r->ids.data, (size_t)j->wanted * sizeof *j->ids);
    store_begin(&g->store);
    return true;
}

bool engine_disk_wait(facet_engine *g, facet_request *r, const prefix_hit *h)
{
    int32_t length, n = (int32_t)r->ids.len - 1;
    uint64_t name;
    if (!store_is_on(&g->store) || r->begun || r->embedding) return false;
    if (r->load) return g->loading && r->load == g->loads;
    if (!store_find(&g->store, request_branch(r), r->ids.data, n, h->length + WORTH, &length, &name)) return false;
    if (store_is_busy(&g->store)) {
        if (g->store.job.save) store_abort(&g->store);
        return g->wanted = true;
    }
    r->load = ++g->loads;
    r->in_memory = h->length;
    return g->loading = begin_load(g, r, n, length, name);
}

bool engine_disk_yield(facet_engine *g)
{
    if (!store_is_on(&g->store) || !store_is_busy(&g->store)) return false;
    store_abort(&g->store);
    while (!store_wait(&g->store, 1)) { }
    settle(g);
    return true;
}
