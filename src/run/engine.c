#include "run/engine.h"

#include <signal.h>
#include <string.h>

#include "base/bits.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "plan/plan.h"
#include "run/run_int.h"
#include "run/sched.h"

enum { QUEUE_DEFAULT = 64 };

/* A sequence in the cache, and who uses it.  A finished request leaves its tokens there for the next one. */
typedef struct slot {
    facet_request *r;          /* NULL: idle */
    int32_t seq;               /* -1: none */
    int32_t *kept;             /* [ctx] the ids of an idle sequence's tokens */
    int32_t kept_count;
    uint64_t used_at;          /* of the engine's clock of requests: the idle slot with the lowest is taken first */
} slot;

/* What one engine needs beside the model's context. */
typedef struct buffers {
    slot *slots;               /* [parallel] */
    gemma_row *rows;           /* [row_max] */
    float *logits;             /* [parallel, V] */
    float *raw;                /* [V] a row of logits before penalties, for log-probabilities */
    sample_candidate *scratch; /* [V] */
    int32_t *pending, *take;   /* [parallel] */
} buffers;

struct facet_engine {
    const facet_model *model;
    gemma_ctx *ctx;
    gemma_ctx_opts opts;
    arena memory;
    buffers b;
    uint64_t clock;

    pthread_t thread;
    bool running;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    facet_request *first, **last;       /* queue; guarded by lock */
    int32_t waiting, waiting_max;       /* guarded by lock */
    bool stopping;                      /* guarded by lock */
};

const facet_model *engine_model(const facet_engine *g) { return g->model; }
const gemma_ctx_opts *engine_opts(const facet_engine *g) { return &g->opts; }
void engine_interrupt(facet_engine *g) { gemma_ctx_interrupt(g->ctx); }
bool engine_is_self(const facet_engine *g) { return pthread_equal(pthread_self(), g->thread); }

/* ---- requests come and go ------------------------------------------------------------------------ */

/* The last event, then the request is its owner's again. */
static void finish(facet_request *r, facet_finish how)
{
    double now = clock_seconds();
    r->result.finish = how;
    if (r->started == 0) r->started = now;
    if (r->first == 0) r->first = now;
    r->result.wait_seconds = r->started - r->submitted;
    r->result.prompt_seconds = r->first - r->started;
    r->result.answer_seconds = now - r->first;
    output_emit(r, &(facet_event){ .kind = FACET_DONE, .result = &r->result });
    pthread_mutex_lock(&r->lock);
    bool orphan = r->orphan;
    r->state = REQUEST_DONE;
    pthread_cond_broadcast(&r->finished);
    pthread_mutex_unlock(&r->lock);
    if (orphan) request_destroy(r);
}

/* The request leaves its slot; what it computed stays in the cache for a prompt that begins alike. */
static void leave(facet_engine *g, slot *s, facet_finish how)
{
    facet_request *r = s->r;
    s->kept_count = gemma_seq_length(g->ctx, s->seq);
    memcpy(s->kept, r->ids.data, (size_t)s->kept_count * sizeof *s->kept);
    s->used_at = ++g->clock;
    s->r = NULL;
    finish(r, how);
}

static void drop(facet_engine *g, slot *s)
{
    if (s->seq >= 0) gemma_seq_free(g->ctx, s->seq);
    s->seq = -1;
    s->kept_count = 0;
}

static void fail(facet_engine *g, slot *s, const err *why)
{
    facet_request *r = s->r;
    r->result.error = *why;
    s->r = NULL;
    drop(g, s);
    finish(r, FACET_FINISH_ERROR);
}

/* How many tokens of an idle sequence the prompt shares; one token at least must be left to compute. */
static int32_t shared(const slot *s, const facet_request *r)
{
    int32_t n = 0, most = MIN(s->kept_count, r->prompt_count - 1);
    while (n < most && s->kept[n] == r->ids.data[n]) n++;
    return n;
}

/* The idle slot whose tokens help most; of equals the one unused for longest.  NULL: all are busy. */
static slot *choose(facet_engine *g, const facet_request *r)
{
    slot *best = NULL;
    int32_t best_shared = 0;
    for (int32_t i = 0; i < g->opts.seq_max; i++) {
        slot *s = &g->b.slots[i];
        if (s->r) continue;
        int32_t n = shared(s, r);
        if (!best || n > best_shared || (n == best_shared && s->used_at < best->used_at)) { best = s; best_shared = n; }
    }
    return best;
}

/* Shortens a slot's sequence to `keep` tokens; where its windows have moved on, to the end of its last prompt.  What is left. */
static int32_t go_back(facet_engine *g, const slot *s, int32_t keep)
{
    const int32_t mark = gemma_seq_marked(g->ctx, s->seq), to[] = { keep, MIN(mark, keep) };
    for (size_t i = 0; i < COUNT_OF(to); i++)
        if (to[i] && gemma_seq_take_back(g->ctx, s->seq, s->kept_count - to[i], NULL) == OK) return to[i];
    return 0;
}

/* The sequence with as much of the prompt as can be kept. */
static status prepare(facet_engine *g, slot *s, facet_request *r, err *e)
{
    int32_t keep = s->seq >= 0 ? go_back(g, s, shared(s, r)) : 0;
    if (keep == 0) {
        drop(g, s);
        status st = gemma_seq_new(g->ctx, &s->seq, e);
        if (st != OK) { s->seq = -1; return st; }
    }
    r->done = r->result.cached_tokens = keep;
    return OK;
}

static void start(facet_engine *g, slot *s, facet_request *r)
{
    err e = { 0 };
    s->r = r;
    r->started = clock_seconds();
    pthread_mutex_lock(&r->lock);
    r->state = REQUEST_RUNNING;
    pthread_mutex_unlock(&r->lock);
    if (prepare(g, s, r, &e) != OK) fail(g, s, &e);
    else output_emit(r, &(facet_event){ .kind = FACET_PROGRESS, .prompt_done = r->done, .prompt_total = r->prompt_count });
}

static facet_request *pop(facet_engine *g)
{
    facet_request *r = g->first;
    if (!r) return NULL;
    g->first = r->next;
    if (!g->first) g->last = &g->first;
    g->waiting--;
    return r;
}

/* Takes cancelled requests out of the queue, wherever they stand. */
static facet_request *pop_cancelled(facet_engine *g)
{
    for (facet_request **p = &g->first; *p; p = &(*p)->next) {
        facet_request *r = *p;
        if (!atomic_load(&r->cancelled)) continue;
        *p = r->next;
        if (!*p) g->last = p;
        g->waiting--;
        return r;
    }
    return NULL;
}

static void admit(facet_engine *g)
{
    for (;;) {
        pthread_mutex_lock(&g->lock);
        facet_request *gone = pop_cancelled(g);
        slot *s = !gone && g->first ? choose(g, g->first) : NULL;
        facet_request *r = s ? pop(g) : NULL;
        pthread_mutex_unlock(&g->lock);
        if (gone) finish(gone, FACET_FINISH_CANCELLED);
        else if (r) start(g, s, r);
        else return;
    }
}

static void reap(facet_engine *g)
{
    for (int32_t i = 0; i < g->opts.seq_max; i++) {
        slot *s = &g->b.slots[i];
        if (s->r && atomic_load(&s->r->cancelled)) leave(g, s, FACET_FINISH_CANCELLED);
    }
}

/* ---- one step ------------------------------------------------------------------------------------ */

/* Rows of all requests; returns how many. */
static int32_t plan_rows(facet_engine *g)
{
    buffers *b = &g->b;
    int32_t T = 0, n = g->opts.seq_max;
    for (int32_t i = 0; i < n; i++) b->pending[i] = b->slots[i].r ? (int32_t)b->slots[i].r->ids.len - b->slots[i].r->done : 0;
    sched_step(b->pending, n, g->opts.row_max, b->take);
    for (int32_t i = 0; i < n; i++) {
        const facet_request *r = b->slots[i].r;
        for (int32_t k = 0; k < b->take[i]; k++) {
            int32_t pos = r->done + k;
            b->rows[T++] = (gemma_row){ .seq = b->slots[i].seq, .pos = pos, .token = r->ids.data[pos],
                                        .want_logits = (size_t)pos + 1 == r->ids.len };
        }
    }
    return T;
}

/* Cancelling looks at `stepping` to know whether the step must be interrupted for it. */
static void mark(facet_engine *g, bool on)
{
    for (int32_t i = 0; i < g->opts.seq_max; i++)
        if (g->b.take[i]) atomic_store(&g->b.slots[i].r->stepping, on);
}

static bool is_end(const facet_request *r, int32_t id)
{
    const gemma_config *c = &r->model->gemma->config;
    for (int32_t i = 0; i < c->eos_count; i++)
        if (c->eos[i] == id) return true;
    return false;
}

static void emit_token(facet_engine *g, facet_request *r, int32_t id)
{
    facet_logprob top[SAMPLE_LOGPROBS_MAX], chosen = { .id = id };
    int32_t n = sample_logprobs(g->b.raw, r->model->gemma->config.vocab, &chosen, top, r->sampling.top_logprobs);
    output_emit(r, &(facet_event){ .kind = FACET_TOKEN, .token = chosen, .top = top, .top_count = n });
}

/* The answer is over with this token; otherwise *how is left alone. */
static status finish_answer(facet_request *r, bool cut, facet_finish *how, err *e)
{
    bool calls = false;
    status st = output_end(r, cut, &calls, e);
    if (st != OK) return st;
    r->result.stop_index = r->stop.hit;
    *how = r->stop.hit >= 0 ? FACET_FINISH_STOP_TEXT : cut ? FACET_FINISH_LENGTH : calls ? FACET_FINISH_CALLS : FACET_FINISH_STOP;
    return OK;
}

/* Draws the next token and gives it out.  *over: it was the last, and *how the answer ended. */
static status next_token(facet_engine *g, facet_request *r, float *logits, bool *over, facet_finish *how, err *e)
{
    status st = OK;
    int32_t id = -1;
    size_t row = (size_t)r->model->gemma->config.vocab * sizeof *logits;
    if (r->sampling.logprobs) memcpy(g->b.raw, logits, row);
    if (r->grammar) {
        grammar_mask(r->grammar, r->mask);
        sample_mask(logits, r->model->gemma->config.vocab, r->mask, r->model->trie->trie->words);
    }
    TRY(sample_pick(r->sampler, (uint64_t)r->result.answer_tokens, logits, g->b.scratch, &id, e));
    if (r->grammar) TRY(grammar_accept(r->grammar, id, e));
    if (r->first == 0) r->first = clock_seconds();
    r->result.answer_tokens++;
    sample_seen(r->sampler, id, true);
    if (r->sampling.logprobs) emit_token(g, r, id);
    if (is_end(r, id)) {
        *over = true;
        TRY(finish_answer(r, false, how, e));
        goto out;
    }
    TRY(tok_ids_add(&r->ids, id, e));
    TRY(output_token(r, id, e));
    bool cut = r->result.answer_tokens == r->sampling.max_tokens || r->ids.len >= (size_t)g->opts.ctx;
    *over = cut || r->stop.hit >= 0;
    if (*over) TRY(finish_answer(r, cut, how, e));
out:
    return st;
}

/* A request whose rows were in the step: progress, or a token when its last row has been computed. */
static void settle(facet_engine *g, slot *s, float **logits)
{
    err e = { 0 };
    facet_request *r = s->r;
    facet_finish how = FACET_FINISH_STOP;
    bool over = false;
    if (r->done <= r->prompt_count)
        output_emit(r, &(facet_event){ .kind = FACET_PROGRESS, .prompt_done = r->done, .prompt_total = r->prompt_count });
    if ((size_t)r->done < r->ids.len) return;
    if (g->opts.marks && r->done == r->prompt_count) gemma_seq_mark(g->ctx, s->seq, NULL);
    float *row = *logits;
    *logits += r->model->gemma->config.vocab;
    if (next_token(g, r, row, &over, &how, &e) != OK) fail(g, s, &e);
    else if (over) leave(g, s, how);
}

static bool any_cancelled(const facet_engine *g)
{
    for (int32_t i = 0; i < g->opts.seq_max; i++)
        if (g->b.slots[i].r && atomic_load(&g->b.slots[i].r->cancelled)) return true;
    return false;
}

static void step(facet_engine *g)
{
    err e = { 0 };
    float *logits = g->b.logits;
    int32_t T = plan_rows(g);
    if (T == 0) return;
    mark(g, true);
    /* who cancelled before the mark did not interrupt: look once more */
    status st = any_cancelled(g) ? E_CANCELLED : gemma_step(g->ctx, g->b.rows, T, logits, &e);
    mark(g, false);
    if (st == E_CANCELLED) return;      /* the cache is as before: the others' rows are planned again */
    for (int32_t i = 0; i < g->opts.seq_max; i++) {
        slot *s = &g->b.slots[i];
        if (!g->b.take[i]) continue;
        if (st != OK) { fail(g, s, &e); continue; }
        s->r->done += g->b.take[i];
        settle(g, s, &logits);
    }
}

/* Sleeps until there is something to do; false when the engine stops and nothing is left. */
static bool wait_for_work(facet_engine *g)
{
    bool active = false;
    for (int32_t i = 0; i < g->opts.seq_max; i++) active |= g->b.slots[i].r != NULL;
    pthread_mutex_lock(&g->lock);
    while (!active && !g->first && !g->stopping) pthread_cond_wait(&g->wake, &g->lock);
    bool stopping = g->stopping;
    for (facet_request *r = g->first; stopping && r; r = r->next) atomic_store(&r->cancelled, true);
    bool more = active || g->first;
    pthread_mutex_unlock(&g->lock);
    for (int32_t i = 0; stopping && i < g->opts.seq_max; i++)
        if (g->b.slots[i].r) atomic_store(&g->b.slots[i].r->cancelled, true);
    return more;
}

static void *run(void *user)
{
    facet_engine *g = user;
    while (wait_for_work(g)) {
        reap(g);
        admit(g);
        step(g);
    }
    return NULL;
}

status engine_push(facet_engine *g, facet_request *r, err *e)
{
    status st = OK;
    pthread_mutex_lock(&g->lock);
    if (g->stopping) st = err_set(e, E_BUSY, "could not take the request\nthe engine stops");
    else if (g->waiting >= g->waiting_max) st = err_set(e, E_BUSY, "could not take the request\n%d others wait already\nTry again later.", g->waiting);
    if (st == OK) {
        r->next = NULL;
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

static status layout(buffers *b, arena *a, const gemma_ctx_opts *o, int32_t vocab, err *e)
{
    status st = OK;
    TRY(arena_array(a, &b->slots, o->seq_max, e));
    TRY(arena_array(a, &b->rows, o->row_max, e));
    TRY(arena_array(a, &b->logits, (size_t)o->seq_max * (size_t)vocab, e));
    TRY(arena_array(a, &b->raw, vocab, e));
    TRY(arena_array(a, &b->scratch, vocab, e));
    TRY(arena_array(a, &b->pending, o->seq_max, e));
    TRY(arena_array(a, &b->take, o->seq_max, e));
    for (int32_t i = 0; i < o->seq_max; i++) {
        int32_t *kept = NULL;
        TRY(arena_array(a, &kept, o->ctx, e));
        if (b->slots) b->slots[i] = (slot){ .seq = -1, .kept = kept };
    }
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
    TRY(engine_translate(m, o, &opts, e));
    TRY(layout(&b, &measure, &opts, m->gemma->config.vocab, e));
    TRY(plan_model(&p, m->gemma, &opts, measure.used, m->text_bytes, e));
    *out = (facet_plan){ .weights_mapped = p.weights_mapped, .weights_owned = p.weights_owned, .kv = p.kv, .activations = p.activations,
                         .logits = p.logits, .text = p.text, .other = p.other, .total = p.total,
                         .ctx = p.used.ctx, .parallel = p.used.seq_max, .chunk = p.used.row_max };
    plan_fit fit = plan_judge(&p, cpu_memory_available());
    out->fit = fit == PLAN_FITS ? FACET_FITS : fit == PLAN_PAGES ? FACET_FITS_PAGING : FACET_TOO_BIG;
out:
    return st;
}

/* Signals are the program's: no thread of ours takes them. */
static status start_threads(facet_engine *g, err *e)
{
    status st = OK;
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    TRY(gemma_ctx_new(&g->ctx, g->model->gemma, &g->opts, NULL, e));
    int no = pthread_create(&g->thread, NULL, run, g);
    if (no != 0) FAIL(e, E_NOMEM, "could not start the engine's thread\n%s", strerror(no));
    g->running = true;
out:
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return st;
}

facet_status facet_engine_start(facet_engine **out, const facet_model *m, const facet_engine_opts *o, facet_error *e)
{
    status st = OK;
    arena measure = { 0 };
    facet_engine *g = mem_alloc(sizeof *g, MEM_OTHER);
    if (!g) FAIL(e, E_NOMEM, "could not start the engine\nout of memory");
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->wake, NULL);
    g->last = &g->first;
    g->model = m;
    if (o && o->queue < 0) FAIL(e, E_ARG, "the queue cannot hold %d requests", o->queue);
    g->waiting_max = o && o->queue ? o->queue : QUEUE_DEFAULT;
    TRY(engine_translate(m, o, &g->opts, e));
    TRY(layout(&g->b, &measure, &g->opts, m->gemma->config.vocab, e));
    TRY(arena_init(&g->memory, measure.used, MEM_ACTIVATIONS, e));
    TRY(layout(&g->b, &g->memory, &g->opts, m->gemma->config.vocab, e));
    TRY(start_threads(g, e));
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
        pthread_join(g->thread, NULL);
    }
    gemma_ctx_free(g->ctx);
    arena_done(&g->memory);
    pthread_mutex_destroy(&g->lock);
    pthread_cond_destroy(&g->wake);
    mem_free(g);
}

void facet_engine_read_opts(const facet_engine *g, facet_engine_opts *out)
{
    const gemma_ctx_opts *o = gemma_ctx_opts_used(g->ctx);
    *out = (facet_engine_opts){ .ctx = o->ctx, .parallel = o->seq_max, .queue = g->waiting_max, .chunk = o->row_max,
                                .threads = o->threads, .exact = o->exact, .turns = o->marks,
                                .kv = o->kv_type == DTYPE_F32 ? FACET_KV_F32 : o->kv_type == DTYPE_F16 ? FACET_KV_F16
                                    : o->kv_type == DTYPE_BF16 ? FACET_KV_BF16 : FACET_KV_Q8_0 };
}
