#include "run/engine.h"

#include <string.h>
#include <time.h>

#include "base/bits.h"
#include "os/cpu.h"
#include "plan/plan.h"
#include "run/engine_int.h"

enum { QUEUE_DEFAULT = 64 };
#define CACHE_DISK ((uint64_t)8 << 30)

const facet_model *engine_model(const facet_engine *g) { return g->model; }
const gemma_ctx_opts *engine_opts(const facet_engine *g) { return &g->opts; }
void engine_interrupt(facet_engine *g) { gemma_ctx_interrupt(g->ctx); }
bool engine_is_self(const facet_engine *g) { return pthread_equal(pthread_self(), g->thread.thread); }

/* ---- the loop ------------------------------------------------------------------------------------ */

/* Until somebody calls; but the disk is looked after once in a while, and soon when a request waits for it. */
static void doze(facet_engine *g, bool soon)
{
    struct timespec until;
    if (!store_is_on(&g->store)) {
        pthread_cond_wait(&g->wake, &g->lock);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    if (soon) until.tv_nsec += 20000000;
    else until.tv_sec++;
    if (until.tv_nsec >= 1000000000) { until.tv_nsec -= 1000000000; until.tv_sec++; }
    pthread_cond_timedwait(&g->wake, &g->lock, &until);
}

/* Sleeps until there is something to do; false when the engine stops and nothing is left. */
static bool wait_for_work(facet_engine *g)
{
    bool active = false;
    for (int32_t i = 0; i < g->opts.seq_max; i++) active |= g->b.slots[i].r != NULL;
    pthread_mutex_lock(&g->lock);
    bool disk = g->loading || g->wanted;
    if (!active && !g->stopping && !g->change.pending && (!g->first || disk)) doze(g, disk);
    bool stopping = g->stopping;
    for (facet_request *r = g->first; stopping && r; r = r->next) atomic_store(&r->cancelled, true);
    bool more = active || g->first || g->change.pending || !stopping;
    pthread_mutex_unlock(&g->lock);
    for (int32_t i = 0; stopping && i < g->opts.seq_max; i++)
        if (g->b.slots[i].r) atomic_store(&g->b.slots[i].r->cancelled, true);
    return more;
}

static void count_use(facet_engine *g)
{
    pthread_mutex_lock(&g->lock);
    facet_stats *s = &g->stats;
    s->running = 0;
    for (int32_t i = 0; i < g->opts.seq_max; i++) s->running += g->b.slots[i].r != NULL;
    s->evicted = g->prefix.evicted;
    s->checkpoints = g->prefix.kept;
    store_count(&g->store, s);
    s->tokens = s->tokens_max - (int64_t)gemma_pages_free(g->ctx) * GEMMA_PAGE;
    pthread_mutex_unlock(&g->lock);
}

static void run(void *user)
{
    facet_engine *g = user;
    while (wait_for_work(g)) {
        engine_adapter_change(g);
        engine_disk_turn(g);
        engine_admit_run(g);
        engine_step_run(g);
        count_use(g);
    }
    engine_disk_flush(g);
}

/* The disk has done what it was asked for. */
static void on_disk(void *user)
{
    facet_engine *g = user;
    pthread_mutex_lock(&g->lock);
    pthread_cond_signal(&g->wake);
    pthread_mutex_unlock(&g->lock);
}

status engine_push(facet_engine *g, facet_request *r, err *e)
{
    status st = OK;
    pthread_mutex_lock(&g->lock);
    if (g->stopping) st = err_set(e, E_BUSY, "could not take the request\nthe engine stops");
    else if (g->waiting >= g->waiting_max) st = err_set(e, E_BUSY, "could not take the request\n%d others wait already\nTry again later.", g->waiting);
    if (st == OK) st = engine_adapter_enter(g, r, e);
    if (st == OK) {
        r->next = NULL;
        engine_admit_enter(g, r);
        r->state = REQUEST_QUEUED;      /* no other thread knows the request yet */
        *g->last = r;
        g->last = &r->next;
        g->waiting++;
        pthread_cond_signal(&g->wake);
    }
    pthread_mutex_unlock(&g->lock);
    return st;
}

/* ---- start and stop ------------------------------------------------------------------------------ */

static status layout(buffers *b, prefix *p, store *disk, arena *a, const gemma_ctx_opts *o, int32_t waiting, const gemma_config *c, err *e)
{
    status st = OK;
    int32_t vocab = c->vocab;
    TRY(prefix_layout(p, o, a, e));
    if (disk) TRY(store_layout(disk, o, a, e));
    TRY(arena_array(a, &b->slots, o->seq_max, e));
    TRY(arena_array(a, &b->accounts, waiting + 2 * o->seq_max, e));
    TRY(arena_array(a, &b->rows, o->row_max, e));
    TRY(arena_array(a, &b->logits, (size_t)o->seq_max * (size_t)vocab, e));
    if (o->hidden_rows_max) TRY(arena_array(a, &b->hidden, (size_t)o->hidden_rows_max * (size_t)c->hidden, e));
    TRY(arena_array(a, &b->raw, vocab, e));
    TRY(arena_array(a, &b->scratch, vocab, e));
    TRY(arena_array(a, &b->pending, o->seq_max, e));
    TRY(arena_array(a, &b->take, o->seq_max, e));
    for (int32_t i = 0; b->slots && i < o->seq_max; i++) b->slots[i].seq = -1;
out:
    return st;
}

facet_status facet_plan_engine(const facet_model *m, const facet_engine_opts *o, facet_plan *out, facet_error *e)
{
    status st = OK;
    gemma_ctx_opts opts;
    plan p;
    arena measure = { 0 };
    buffers b = { 0 };
    prefix tree = { 0 };
    store disk = { 0 };
    lora_part *parts = NULL;
    uint64_t constrained = 0, adapters = 0;
    TRY(engine_translate(m, o, &opts, e));
    TRY(layout(&b, &tree, o && o->cache_dir ? &disk : NULL, &measure, &opts, o && o->queue > 0 ? o->queue : QUEUE_DEFAULT, &m->gemma->config, e));
    if (o && o->constrained && m->tok) TRY(request_measure(m, opts.seq_max, &constrained, e));
    if (o && o->adapter_count) {
        TRY(engine_adapter_parts(o->adapters, o->adapter_count, &parts, e));
        TRY(lora_measure(&adapters, m->gemma, parts, o->adapter_count, e));
    }
    TRY(plan_model(&p, m->gemma, &opts, measure.used, m->text_bytes + constrained, e));
    p.total += adapters;
    *out = (facet_plan){ .weights_mapped = p.weights_mapped, .weights_owned = p.weights_owned, .kv = p.kv, .activations = p.activations,
                         .logits = p.logits, .text = p.text, .adapters = adapters, .other = p.other, .total = p.total,
                         .ctx = p.used.ctx, .parallel = p.used.seq_max, .chunk = p.used.row_max,
                         .tokens = (int64_t)opts.pages * GEMMA_PAGE, .checkpoints = opts.states };
    plan_fit fit = plan_judge(&p, cpu_memory_available());
    out->fit = fit == PLAN_FITS ? FACET_FITS : fit == PLAN_PAGES ? FACET_FITS_PAGING : FACET_TOO_BIG;
out:
    mem_free(parts);
    return st;
}

static status start_threads(facet_engine *g, const facet_engine_opts *o, err *e)
{
    status st = OK;
    TRY(gemma_ctx_new(&g->ctx, g->model->gemma, &g->opts, NULL, e));
    TRY(engine_adapter_start(g, o, e));
    prefix_start(&g->prefix, g->ctx, &g->opts);
    g->stats.checkpoints_max = g->opts.states;
    g->stats.tokens_max = (int64_t)g->opts.pages * GEMMA_PAGE;
    if (o && o->cache_dir) TRY(store_start(&g->store, g->ctx, o->cache_dir, o->cache_disk ? (uint64_t)o->cache_disk : CACHE_DISK, on_disk, g, e));
    int no = task_start(&g->thread, run, g);
    if (no != 0) FAIL(e, E_NOMEM, "could not start the engine's thread\n%s", strerror(no));
    g->running = true;
out:
    return st;
}

facet_status facet_engine_start(facet_engine **out, const facet_model *m, const facet_engine_opts *o, facet_error *e)
{
    status st = OK;
    arena measure = { 0 };
    store *disk = NULL;
    facet_engine *g = mem_alloc(sizeof *g, MEM_OTHER);
    if (!g) FAIL(e, E_NOMEM, "could not start the engine\nout of memory");
    pthread_mutex_init(&g->lock, NULL);
    pthread_condattr_t a;
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(&g->wake, &a);
    pthread_condattr_destroy(&a);
    pthread_cond_init(&g->changed, NULL);
    g->last = &g->first;
    g->model = m;
    if (o && o->queue < 0) FAIL(e, E_ARG, "the queue cannot hold %d requests", o->queue);
    g->waiting_max = o && o->queue ? o->queue : QUEUE_DEFAULT;
    g->cache = o ? o->cache : 0;
    TRY(engine_translate(m, o, &g->opts, e));
    if (o && o->cache_dir) disk = &g->store;
    if (disk && !g->opts.states) FAIL(e, E_ARG, "cannot keep prompts in \"%s\"\nnothing is remembered in memory\nGive the cache more memory.", o->cache_dir);
    TRY(layout(&g->b, &g->prefix, disk, &measure, &g->opts, g->waiting_max, &m->gemma->config, e));
    TRY(arena_init(&g->memory, measure.used, MEM_ACTIVATIONS, e));
    TRY(layout(&g->b, &g->prefix, disk, &g->memory, &g->opts, g->waiting_max, &m->gemma->config, e));
    g->constrained = o && o->constrained && m->tok;
    if (g->constrained) TRY(request_need_trie(m, e));
    TRY(start_threads(g, o, e));
    *out = g;
    g = NULL;
out:
    facet_engine_stop(g);
    return st;
}

void facet_engine_stop(facet_engine *g)
{
    if (!g) return;
    if (g->running) {
        pthread_mutex_lock(&g->lock);
        g->stopping = true;
        pthread_cond_signal(&g->wake);
        pthread_mutex_unlock(&g->lock);
        gemma_ctx_interrupt(g->ctx);
        task_wait(&g->thread);
    }
    store_stop(&g->store);
    gemma_ctx_free(g->ctx);
    arena_done(&g->memory);
    pthread_mutex_destroy(&g->lock);
    pthread_cond_destroy(&g->wake);
    pthread_cond_destroy(&g->changed);
    engine_adapter_done(g);
    mem_free(g);
}

void facet_engine_read_opts(const facet_engine *g, facet_engine_opts *out)
{
    const gemma_ctx_opts *o = gemma_ctx_opts_used(g->ctx);
    *out = (facet_engine_opts){ .ctx = o->ctx, .parallel = o->seq_max, .queue = g->waiting_max, .chunk = o->row_max,
                                .threads = o->threads, .exact = o->exact, .invariant = o->invariant, .cache = g->cache, .cache_dir = g->store.dir.path,
                                .cache_disk = (int64_t)g->store.bytes_max, .constrained = g->constrained, .embed = o->hidden_rows_max > 0,
                                .kv = o->kv_type == DTYPE_F32 ? FACET_KV_F32 : o->kv_type == DTYPE_F16 ? FACET_KV_F16
                                    : o->kv_type == DTYPE_BF16 ? FACET_KV_BF16 : FACET_KV_Q8_0 };
}

void facet_engine_read_stats(facet_engine *g, facet_stats *out)
{
    pthread_mutex_lock(&g->lock);
    *out = g->stats;
    out->waiting = g->waiting;
    pthread_mutex_unlock(&g->lock);
}
