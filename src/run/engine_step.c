/* One step: rows of every request that runs, one forward pass, and a token for each whose last row was among them. */
#include <string.h>

#include "base/bits.h"
#include "os/clock.h"
#include "run/embed.h"
#include "run/engine_int.h"
#include "run/sched.h"

enum { ANSWER_WORK = 4 };       /* a row of an answer costs as much as so many of a prompt */

/* Rows of all requests; returns how many.  *pages: that they need. */
static int32_t plan_rows(facet_engine *g, int32_t *pages)
{
    buffers *b = &g->b;
    int32_t T = 0, n = g->opts.seq_max, room = g->opts.hidden_rows_max;
    for (int32_t i = 0; i < n; i++) {
        const facet_request *r = b->slots[i].r;
        b->pending[i] = r ? (int32_t)r->ids.len - r->done : 0;
        if (r && r->embedding) b->pending[i] = embed_rows(r, b->pending[i], &room);
    }
    sched_step(b->pending, n, g->opts.row_max, sched_beside(g->row_seconds, g->opts.row_max), b->take);
    *pages = 0;
    for (int32_t i = 0; i < n; i++) {
        const facet_request *r = b->slots[i].r;
        if (b->take[i]) *pages += gemma_pages_wanted(g->ctx, b->slots[i].seq, b->take[i]);
        for (int32_t k = 0; k < b->take[i]; k++) {
            int32_t pos = r->done + k;
            b->rows[T++] = (gemma_row){ .seq = b->slots[i].seq, .pos = pos, .token = r->ids.data[pos], .adapter = r->adapter,
                                        .want_logits = !r->embedding && (size_t)pos + 1 == r->ids.len, .want_hidden = embed_wants(r, pos) };
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

static status draw(facet_engine *g, const facet_request *r, float *logits, int32_t *id, err *e)
{
    status st = sample_pick(r->sampler, (uint64_t)r->result.answer_tokens, logits, g->b.scratch, id, e);
#ifdef FC_TEST_SCRIPT
    if (st == OK) st = script_token(r, id, e);        /* never in a program that is installed */
#endif
    return st;
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
    thought_mask(r, logits);
    if (!thought_close(r, &id)) TRY(draw(g, r, logits, &id, e));
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

/* A raw prompt shows no borders and may be too short for regular checkpoints.  One in its middle helps whoever begins alike, one near
 * its end whoever changes the end; they are the first to be forgotten. */
static void keep_inner(facet_engine *g, slot *s, int32_t before, int32_t space)
{
    enum { WORTH = 4 * GEMMA_PAGE, NEAR = 2 * GEMMA_PAGE };
    facet_request *r = s->r;
    int32_t n = r->prompt_count, places[] = { n / 2, n - NEAR };
    if (!r->raw || n < WORTH || n >= space) return;
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        int32_t at = places[i] / GEMMA_PAGE * GEMMA_PAGE;
        if (at > before && at <= r->done) prefix_keep(&g->prefix, request_branch(r), r->ids.data, at, s->seq, PREFIX_REGULAR);
    }
}

/* Checkpoints between before and the present length: where they were asked for, and at regular distances in a prompt. */
static void keep(facet_engine *g, slot *s, int32_t before)
{
    facet_request *r = s->r;
    if (r->embedding) return;            /* nobody goes on from there */
    int32_t space = 4 * r->model->gemma->config.window;
    for (int32_t at = (before / space + 1) * space; at <= MIN(r->done, r->prompt_count); at += space)
        prefix_keep(&g->prefix, request_branch(r), r->ids.data, at, s->seq, PREFIX_REGULAR);
    keep_inner(g, s, before, space);
    for (int32_t i = 0; i < r->cut_count; i++)
        if (r->cuts[i] > before && r->cuts[i] <= r->done) prefix_keep(&g->prefix, request_branch(r), r->ids.data, r->cuts[i], s->seq,
                                                                             r->cuts[i] == r->prompt_count ? PREFIX_PROMPT : PREFIX_BORDER);
}

/* A request whose rows were in the step: progress, or a token when its last row has been computed. */
static void settle(facet_engine *g, slot *s, float **logits, const float **hidden)
{
    err e = { 0 };
    facet_request *r = s->r;
    facet_finish how = FACET_FINISH_STOP;
    bool over = false;
    if (r->done <= r->prompt_count && r->result.answer_tokens == 0)
        output_emit(r, &(facet_event){ .kind = FACET_PROGRESS, .prompt_done = r->done, .prompt_total = r->prompt_count });
    if (r->embedding) embed_add(r, hidden);
    if ((size_t)r->done < r->ids.len) return;
    if (r->embedding) {
        embed_end(r);
        engine_admit_leave(g, s, FACET_FINISH_STOP);
        return;
    }
    float *row = *logits;
    *logits += r->model->gemma->config.vocab;
    if (next_token(g, r, row, &over, &how, &e) != OK) engine_admit_fail(g, s, &e);
    else if (over) engine_admit_leave(g, s, how);
}

static bool any_cancelled(const facet_engine *g)
{
    for (int32_t i = 0; i < g->opts.seq_max; i++)
        if (g->b.slots[i].r && atomic_load(&g->b.slots[i].r->cancelled)) return true;
    return false;
}

/* What the step has cost whom, and how fast prompts are read. */
static void account_for(facet_engine *g, int32_t T, double seconds)
{
    bool prompts = false;
    pthread_mutex_lock(&g->lock);
    for (int32_t i = 0; i < g->opts.seq_max; i++) {
        int32_t rows = g->b.take[i];
        if (!rows) continue;
        g->b.accounts[g->b.slots[i].r->account].work += rows == 1 ? ANSWER_WORK : (uint64_t)rows;
        prompts |= rows > 1;
    }
    double now = seconds / T;
    if (prompts) g->row_seconds = g->row_seconds > 0 ? 0.8 * g->row_seconds + 0.2 * now : now;
    g->stats.steps++;
    g->stats.rows += (uint64_t)T;
    if (prompts) g->stats.prompt_rate = 1 / g->row_seconds;
    pthread_mutex_unlock(&g->lock);
}

void engine_step_run(facet_engine *g)
{
    err e = { 0 };
    float *logits = g->b.logits;
    const float *hidden = g->b.hidden;
    int32_t T, pages;
    do {
        T = plan_rows(g, &pages);
        if (T == 0) return;
    } while (!engine_admit_room(g, pages));
    double begin = clock_seconds();
    mark(g, true);
    /* who cancelled before the mark did not interrupt: look once more */
    status st = any_cancelled(g) ? E_CANCELLED : gemma_step_hidden(g->ctx, g->b.rows, T, logits, g->b.hidden, &e);
    mark(g, false);
    if (st == E_CANCELLED) return;      /* the cache is as before: the others' rows are planned again */
    account_for(g, T, clock_seconds() - begin);
    for (int32_t i = 0; i < g->opts.seq_max; i++) {
        slot *s = &g->b.slots[i];
        if (!g->b.take[i]) continue;
        if (st != OK) { engine_admit_fail(g, s, &e); continue; }
        int32_t before = s->r->done;
        s->r->done += g->b.take[i];
        keep(g, s, before);
        settle(g, s, &logits, &hidden);
    }
}
