/* Who gets a place.
 *
 * Waiting requests are taken by scope: the scope that has got the least work goes first, and within it the request that came
 * first.  One is passed over while another request of its scope computes the beginning that both share: it will find it in the
 * cache.  It gets its place when the cache can hold what it and the running ones are likely to need; should that turn out to be too
 * little, the youngest request of the scope with the most work is set back: its tokens go on being remembered as long as
 * there is room, and whatever is lost is computed again, to the same bits. */
#include <string.h>

#include "base/bits.h"
#include "os/clock.h"
#include "run/engine_int.h"

enum { ANSWER_GUESS = 256 };       /* tokens of an answer that room is kept for */
enum { WORTH_WAITING = 32 };       /* tokens of a beginning that somebody else computes right now */

static int32_t pages_of(int64_t tokens) { return (int32_t)((tokens + GEMMA_PAGE - 1) / GEMMA_PAGE); }

/* ---- accounts ------------------------------------------------------------------------------------ */

void engine_admit_enter(facet_engine *g, facet_request *r)
{
    int32_t n = g->waiting_max + 2 * g->opts.seq_max, spare = -1;
    uint64_t least = UINT64_MAX;
    for (int32_t i = 0; i < n; i++) {
        account *a = &g->b.accounts[i];
        if (!a->users) spare = i;
        else if (a->scope == r->scope) { a->users++; r->account = i; return; }
        else least = MIN(least, a->work);
    }
    /* who was away has no claim to the time before */
    g->b.accounts[spare] = (account){ .scope = r->scope, .work = least == UINT64_MAX ? 0 : least, .users = 1 };
    r->account = spare;
}

/* ---- ends ---------------------------------------------------------------------------------------- */

/* The last event, then the request is its owner's again. */
static void finish(facet_engine *g, facet_request *r, facet_finish how)
{
    double now = clock_seconds();
    r->result.finish = how;
    if (r->started == 0) r->started = now;
    if (r->first == 0) r->first = now;
    r->result.wait_seconds = r->started - r->submitted;
    r->result.prompt_seconds = r->first - r->started;
    r->result.answer_seconds = now - r->first;
    pthread_mutex_lock(&g->lock);
    g->b.accounts[r->account].users--;
    engine_adapter_leave(g, r);
    pthread_mutex_unlock(&g->lock);
    output_emit(r, &(facet_event){ .kind = FACET_DONE, .result = &r->result });
    pthread_mutex_lock(&r->lock);
    bool orphan = r->orphan;
    r->state = REQUEST_DONE;
    pthread_cond_broadcast(&r->finished);
    pthread_mutex_unlock(&r->lock);
    if (orphan) request_destroy(r);
}

static facet_request *empty_slot(facet_engine *g, slot *s)
{
    facet_request *r = s->r;
    if (s->seq >= 0) gemma_seq_free(g->ctx, s->seq);
    *s = (slot){ .seq = -1 };
    g->full = false;
    return r;
}

/* All that it has computed; from an embedding nobody goes on. */
static void remember(facet_engine *g, const slot *s)
{
    const facet_request *r = s->r;
    if (!r->embedding) prefix_keep(&g->prefix, request_branch(r), r->ids.data, gemma_seq_length(g->ctx, s->seq), s->seq, PREFIX_END);
}

void engine_admit_leave(facet_engine *g, slot *s, facet_finish how)
{
    remember(g, s);
    finish(g, empty_slot(g, s), how);
}

void engine_admit_fail(facet_engine *g, slot *s, const err *why)
{
    facet_request *r = empty_slot(g, s);
    r->result.error = *why;
    finish(g, r, FACET_FINISH_ERROR);
}

/* ---- room ---------------------------------------------------------------------------------------- */

/* Pages of a request when it has grown as far as is likely. */
static int32_t pages_expected(const facet_engine *g, const facet_request *r)
{
    int64_t left = r->sampling.max_tokens ? r->sampling.max_tokens - r->result.answer_tokens : ANSWER_GUESS;
    return pages_of(MIN((int64_t)r->ids.len + MIN(left, (int64_t)ANSWER_GUESS), (int64_t)g->opts.ctx)) + 1;     /* one to copy */
}

static int32_t running(const facet_engine *g)
{
    int32_t n = 0;
    for (int32_t i = 0; i < g->opts.seq_max; i++) n += g->b.slots[i].r != NULL;
    return n;
}

static bool has_room(const facet_engine *g, const facet_request *r, const prefix_hit *h)
{
    int64_t room = gemma_pages_free(g->ctx) + prefix_pages(&g->prefix), need = pages_expected(g, r);
    if (running(g) == 0) return true;
    if (g->full) return false;
    for (int32_t i = 0; i < pages_of(h->length); i++) need -= gemma_page_users(g->ctx, h->pages[i]) > 1;    /* somebody runs on them */
    for (int32_t i = 0; i < g->opts.seq_max; i++) {
        const slot *s = &g->b.slots[i];
        if (s->r) room -= MAX(pages_expected(g, s->r) - pages_of(gemma_seq_length(g->ctx, s->seq)), 0);
    }
    return need <= room;
}

/* The youngest request of the scope that has had the most; never the only one. */
static slot *choose_victim(facet_engine *g)
{
    slot *worst = NULL;
    uint64_t most = 0;
    if (running(g) < 2) return NULL;
    pthread_mutex_lock(&g->lock);
    for (int32_t i = 0; i < g->opts.seq_max; i++) {
        slot *s = &g->b.slots[i];
        if (!s->r) continue;
        uint64_t work = g->b.accounts[s->r->account].work;
        if (worst && (work < most || (work == most && s->r->order < worst->r->order))) continue;
        worst = s;
        most = work;
    }
    pthread_mutex_unlock(&g->lock);
    return worst;
}

/* Back to the head of the queue. */
static void set_back(facet_engine *g, slot *s)
{
    remember(g, s);
    facet_request *r = empty_slot(g, s);
    g->full = true;
    pthread_mutex_lock(&g->lock);
    r->next = g->first;
    if (!g->first) g->last = &r->next;
    g->first = r;
    g->waiting++;
    g->stats.preempted++;
    pthread_mutex_unlock(&g->lock);
}

bool engine_admit_room(facet_engine *g, int32_t wanted)
{
    while (gemma_pages_free(g->ctx) < wanted && prefix_shrink(&g->prefix)) { }
    if (gemma_pages_free(g->ctx) >= wanted) return true;
    if (engine_disk_yield(g)) return engine_admit_room(g, wanted);
    slot *s = choose_victim(g);
    if (!s) return true;        /* one request always has room: the step says what is wrong */
    set_back(g, s);
    return false;
}

/* ---- admission ----------------------------------------------------------------------------------- */

static void start(facet_engine *g, slot *s, facet_request *r, const prefix_hit *h)
{
    err e = { 0 };
    bool first = !r->begun;
    s->r = r;
    r->begun = true;
    prefix_touch(&g->prefix, h);
    status st = h->length ? gemma_seq_resume(g->ctx, h->pages, h->checkpoint, h->length, &s->seq, &e) : gemma_seq_new(g->ctx, &s->seq, &e);
    r->done = st == OK ? h->length : 0;
    if (first) {
        r->order = ++g->started;
        r->started = clock_seconds();
        r->result.cached_tokens = r->done;
        pthread_mutex_lock(&r->lock);
        r->state = REQUEST_RUNNING;
        pthread_mutex_unlock(&r->lock);
    }
    if (h->same >= h->length + WORTH_WAITING) request_add_cut(r, MIN(h->same, r->prompt_count));     /* a third one may go on from there */
    if (st != OK) { s->seq = -1; engine_admit_fail(g, s, &e); }
    else if (first) output_emit(r, &(facet_event){ .kind = FACET_PROGRESS, .prompt_done = r->done, .prompt_total = r->prompt_count });
}

/* Somebody of its scope computes more of its beginning than the cache has; there will be a checkpoint. */
static bool is_being_computed(facet_engine *g, const facet_request *r, const prefix_hit *h)
{
    for (int32_t i = 0; i < g->opts.seq_max; i++) {
        facet_request *q = g->b.slots[i].r;
        if (!q || q->embedding || r->embedding || request_branch(q) != request_branch(r) || q->done >= q->prompt_count) continue;
        int32_t n = 0, most = MIN(q->prompt_count, r->prompt_count);
        while (n < most && q->ids.data[n] == r->ids.data[n]) n++;
        if (n < h->length + WORTH_WAITING || q->done >= n) continue;
        request_add_cut(q, n);
        return true;
    }
    return false;
}

static slot *idle_slot(facet_engine *g)
{
    for (int32_t i = 0; i < g->opts.seq_max; i++)
        if (!g->b.slots[i].r) return &g->b.slots[i];
    return NULL;
}

static facet_request *unlink_at(facet_engine *g, facet_request **p)
{
    facet_request *r = *p;
    *p = r->next;
    if (!*p) g->last = p;
    g->waiting--;
    return r;
}

/* One token at least must be left to compute; the last states of all are needed for an embedding. */
static prefix_hit find(facet_engine *g, const facet_request *r)
{
    return prefix_find(&g->prefix, request_branch(r), r->ids.data, r->embedding ? 0 : (int32_t)r->ids.len - 1);
}

/* The next one to get a place, still in the queue; NULL: nobody can.  With the lock held. */
static facet_request **choose(facet_engine *g, prefix_hit *hit)
{
    facet_request **best = NULL;
    for (facet_request **p = &g->first; *p; p = &(*p)->next) {
        facet_request *r = *p;
        if (best && !r->begun && g->b.accounts[r->account].work >= g->b.accounts[(*best)->account].work) continue;
        prefix_hit h = find(g, r);
        if (is_being_computed(g, r, &h) || engine_disk_wait(g, r, &h)) continue;
        best = p;
        if (r->begun) break;                /* who was set back comes first */
    }
    if (!best) return NULL;
    *hit = find(g, *best);
    return has_room(g, *best, hit) ? best : NULL;
}

/* The first one that was cancelled, wherever it stands. */
static facet_request **find_cancelled(facet_engine *g)
{
    for (facet_request **p = &g->first; *p; p = &(*p)->next)
        if (atomic_load(&(*p)->cancelled)) return p;
    return NULL;
}

static void reap(facet_engine *g)
{
    for (int32_t i = 0; i < g->opts.seq_max; i++) {
        slot *s = &g->b.slots[i];
        if (s->r && atomic_load(&s->r->cancelled)) engine_admit_leave(g, s, FACET_FINISH_CANCELLED);
    }
}

void engine_admit_run(facet_engine *g)
{
    reap(g);
    g->wanted = false;
    for (;;) {
        prefix_hit hit = { 0 };
        pthread_mutex_lock(&g->lock);
        facet_request **gone = find_cancelled(g);
        slot *s = gone ? NULL : idle_slot(g);
        facet_request **next = s && g->first ? choose(g, &hit) : NULL;
        facet_request *r = gone || next ? unlink_at(g, gone ? gone : next) : NULL;
        if (next && !r->begun) {
            g->stats.prompt_tokens += (uint64_t)r->prompt_count;
            g->stats.cached_tokens += (uint64_t)hit.length;
            if (r->load) g->stats.disk_tokens += (uint64_t)MAX(hit.length - r->in_memory, 0);
        }
        pthread_mutex_unlock(&g->lock);
        if (gone) finish(g, r, FACET_FINISH_CANCELLED);
        else if (next) start(g, s, r, &hit);
        else return;
    }
}
