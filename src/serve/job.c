#include "serve/job.h"

#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "os/clock.h"

enum { PING_SECONDS = 15, QUEUE_SECONDS = 120, ANSWER_BYTES_MAX = 1 << 30 };

/* ---- ends --------------------------------------------------------------------------------------------- */

static void free_job(job *j)
{
    for (int i = 0; i < j->count; i++) {
        job_answer *a = &j->answers[i];
        turn_free(a->turn);
        buf_done(&a->thought);
        buf_done(&a->text);
        json_decref(a->calls);
        json_decref(a->logprobs);
    }
    if (j->prev) *j->prev = j->next;
    if (j->next) j->next->prev = j->prev;
    if (j->ping) event_free(j->ping);
    if (j->patience) event_free(j->patience);
    mem_free(j->answers);
    ask_done(&j->ask);
    json_decref(j->extra);
    mem_free(j);
}

static void cancel(job *j)
{
    for (int i = 0; i < j->count; i++)
        if (j->answers[i].turn && !j->answers[i].done) turn_cancel(j->answers[i].turn);
}

/* The first reason counts; what still runs is for nothing. */
static void fail(job *j, const refusal *why)
{
    if (!j->broken) j->why = *why;
    j->broken = true;
    cancel(j);
}

static void no_memory(job *j)
{
    refusal r;
    field_refuse(&r, 503, NULL, NULL, "out of memory");
    fail(j, &r);
}

/* All answers are complete: the rest is said and the job is over. */
static void finish(job *j)
{
    http_call *c = j->call;
    if (c) http_watch(c, NULL, NULL, NULL);
    if (c && j->broken && j->begun) {
        j->d->broken(j, &j->why);
        http_end(c);
    } else if (c && j->broken) {
        j->d->refuse(c, &j->why);
    } else if (c && j->begun) {
        j->d->end(j);
        if (j->broken) http_break(c);
        else http_end(c);
    } else if (c) {
        server_reply_json(c, 200, j->d->whole(j));
    }
    free_job(j);
}

/* ---- events -------------------------------------------------------------------------------------------- */

static void begin(job *j)
{
    if (j->begun || !j->ask.stream || !j->call) return;
    j->begun = true;
    http_header(j->call, "Cache-Control", "no-cache");
    http_header(j->call, "X-Accel-Buffering", "no");
    http_stream(j->call, 200, j->d->stream_type);
    if (j->d->begin) j->d->begin(j);
}

static void on_ping(evutil_socket_t fd, short what, void *user)
{
    job *j = user;
    (void)fd;
    (void)what;
    if (!j->call) return;
    begin(j);
    if (!http_full(j->call)) j->d->ping(j);
}

/* Waited too long: clients that were told nothing for so long have often left already, and ask again. */
static void on_patience(evutil_socket_t fd, short what, void *user)
{
    job *j = user;
    refusal r;
    (void)fd;
    (void)what;
    for (int i = 0; i < j->count; i++)
        if (j->answers[i].prompt_tokens) return;             /* something of it is computed, or was */
    field_refuse(&r, 503, NULL, NULL, "the request has waited %.0f seconds for others to end", job_seconds(j));
    server_say_when(j->s, &r);
    fail(j, &r);
}

static void take_text(job *j, job_answer *a, const turn_event *ev)
{
    bool thought = ev->kind == FACET_THOUGHT;
    str text = { ev->text, ev->n };
    if (buf_add(thought ? &a->thought : &a->text, ev->text, ev->n, NULL) != OK) { no_memory(j); return; }
    if (!j->begun || (thought && j->ask.hide_thought)) return;
    if (thought) j->d->thought(j, a, text);
    else j->d->text(j, a, text);
}

static void take_call(job *j, job_answer *a, const turn_event *ev)
{
    char id[48];
    server_id(id, sizeof id, j->d->call_prefix);
    json_t *call = json_pack("{s:s, s:s, s:s%}", "id", id, "name", ev->name, "arguments", ev->text, ev->n);
    if (!a->calls) a->calls = json_array();
    if (json_array_append_new(a->calls, call) != 0) { no_memory(j); return; }
    if (j->begun) j->d->call(j, a, call);
}

/* {"token", "logprob", "bytes"} as OpenAI has it; NULL when out of memory. */
static json_t *logprob_of(const server *s, facet_logprob p)
{
    char *text = NULL;
    size_t n = 0;
    json_t *bytes = json_array();
    bool ok = bytes && facet_detokenize(s->model, &p.id, 1, true, &text, &n, NULL) == FACET_OK;
    for (size_t i = 0; ok && i < n; i++) ok = json_array_append_new(bytes, json_integer((unsigned char)text[i])) == 0;
    json_t *o = ok ? json_pack("{s:s%, s:f, s:O}", "token", text, n, "logprob", p.logprob > -9999 ? (double)p.logprob : -9999.0, "bytes", bytes) : NULL;
    json_decref(bytes);
    facet_free(text);
    return o;
}

static void take_token(job *j, job_answer *a, const turn_event *ev)
{
    json_t *o = logprob_of(j->s, ev->token), *top = json_array();
    bool ok = field_put(o, "top_logprobs", top);
    for (int32_t i = 0; ok && i < ev->top_count; i++) ok = json_array_append_new(top, logprob_of(j->s, ev->top[i])) == 0;
    if (ok && !a->logprobs) a->logprobs = json_array();
    if (!ok || json_array_append(a->logprobs, o) != 0) no_memory(j);
    json_decref(o);
}

static void take_done(job *j, job_answer *a)
{
    refusal why;
    a->result = *turn_result(a->turn);
    a->done = true;
    j->left--;
    j->s->metrics.submitted--;
    if (a->prompt_tokens) j->s->metrics.running--;
    a->prompt_tokens = a->result.prompt_tokens;
    a->cached_tokens = a->result.cached_tokens;
    metrics_add(&j->s->metrics, &a->result);
    thoughts_add(j->s->thoughts, j->scope, a->calls, (str){ buf_text(&a->thought), a->thought.len }, clock_seconds());
    if (a->result.warning[0]) log_print(LOG_INFO, "the output was malformed: %s", a->result.warning);
    if (a->result.finish == FACET_FINISH_ERROR) {
        field_refuse_err(&why, &a->result.error);
        if (why.status == 400) why.status = 500;         /* the request was taken: what fails now is ours */
        log_print(LOG_ERROR, "a request failed: %s", why.text);
        fail(j, &why);
    } else if (a->result.finish == FACET_FINISH_CANCELLED) {
        field_refuse(&why, 503, NULL, NULL, "the server stops");
        fail(j, &why);
    } else if (j->begun && j->call && !j->broken) {
        j->d->answered(j, a);
    }
}

static void take_progress(job *j, job_answer *a, const turn_event *ev)
{
    if (a->prompt_tokens == 0) {
        j->s->metrics.running++;
        a->prompt_tokens = ev->total;
        a->cached_tokens = a->prompt_done = ev->done;
    }
    if (ev->done > a->prompt_done) {             /* what is computed again counts once */
        pace_add(&j->s->pace, clock_seconds(), ev->done - a->prompt_done, 0);
        a->prompt_done = ev->done;
    }
    begin(j);
}

static void take(job *j, job_answer *a, const turn_event *ev)
{
    int32_t tokens = ev->kind == FACET_DONE ? turn_result(a->turn)->answer_tokens : ev->tokens;
    if (tokens > a->tokens) {
        pace_add(&j->s->pace, clock_seconds(), 0, tokens - a->tokens);
        a->tokens = tokens;
    }
    switch (ev->kind) {
    case FACET_PROGRESS: take_progress(j, a, ev); break;
    case FACET_DONE: take_done(j, a); break;
    default:
        if (!j->call || j->broken) break;      /* nobody listens any more */
        if (ev->kind == FACET_TOKEN) take_token(j, a, ev);
        else if (ev->kind == FACET_CALL) take_call(j, a, ev);
        else take_text(j, a, ev);
    }
}

/* What waits for a client that reads slowly stays where it is: the engine is not held up, and little memory is used. */
static void drain(job *j, job_answer *a)
{
    turn_event *ev;
    while (!a->done && !(j->call && j->begun && http_full(j->call)) && (ev = turn_next(a->turn))) {
        take(j, a, ev);
        turn_event_free(ev);
    }
}

static void on_events(void *user, turn *t)
{
    job_answer *a = user;
    job *j = a->job;
    (void)t;
    drain(j, a);
    if (j->left == 0) finish(j);
}

static void on_drain(void *user)
{
    job *j = user;
    for (int i = 0; i < j->count && j->left; i++) drain(j, &j->answers[i]);
    if (j->left == 0) finish(j);
}

/* What was held back for the client is taken now, or its last event would never be. */
static void on_gone(void *user)
{
    job *j = user;
    j->call = NULL;
    cancel(j);
    on_drain(j);
}

/* ---- start --------------------------------------------------------------------------------------------- */

bool job_recall(server *s, const http_call *c, ask *a, refusal *r)
{
    return thoughts_fill(s->thoughts, gate_scope(s->gate, http_head(c)), json_object_get(a->conversation, "messages"), clock_seconds()) ||
           field_refuse(r, 503, NULL, NULL, "out of memory");
}

bool job_count_prompt(server *s, const ask *a, size_t i, size_t *count, refusal *r)
{
    err e = { 0 };
    int32_t *ids = NULL;
    buf b;
    status st = OK;
    buf_init(&b, (size_t)1 << 30);
    const json_t *prompt = json_array_get(a->prompts, i);
    json_t *open = a->conversation ? field_copy(a->conversation) : NULL;
    if (json_is_array(prompt)) *count = json_array_size(prompt);
    else if (prompt) st = facet_tokenize(s->model, json_string_value(prompt), json_string_length(prompt), true, &ids, count, &e);
    else if (!field_put(open, "add_generation_prompt", json_true()) || !field_print(&b, open)) st = err_set(&e, E_NOMEM, "out of memory");
    else st = facet_render(s->model, buf_text(&b), b.len, &ids, count, &e);
    json_decref(open);
    facet_free(ids);
    buf_done(&b);
    return st == OK || field_refuse_err(r, &e);
}

static status add_ids(facet_request *q, const json_t *list, err *e)
{
    status st = OK;
    size_t n = json_array_size(list);
    int32_t *ids = mem_array(n, sizeof *ids, MEM_IO);
    if (!ids) return err_set(e, E_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    st = facet_request_tokens(q, ids, n, e);
    mem_free(ids);
    return st;
}

/* A raw text may bring the token that begins every text; it is put there anyway. */
static status add_text(server *s, facet_request *q, const json_t *text, err *e)
{
    str t = { json_string_value(text), json_string_length(text) };
    if (s->info.bos >= 0 && str_starts(t, "<bos>")) t = str_skip(t, 5);
    return facet_request_text(q, t.p, t.n, true, e);
}

static status add_format(const ask *a, facet_request *q, err *e)
{
    status st = OK;
    buf text;
    buf_init(&text, (size_t)1 << 30);
    if (a->schema && !field_print(&text, a->schema)) FAIL(e, E_NOMEM, "out of memory");
    TRY(facet_request_format(q, a->schema ? buf_text(&text) : NULL, text.len, a->strict, e));
out:
    buf_done(&text);
    return st;
}

/* *field: what an error is about, when it is known. */
static status make_request(job *j, int index, const char *conversation, size_t n, facet_request **out, const char **field, err *e)
{
    status st = OK;
    facet_request *q = NULL;
    const ask *a = &j->ask;
    facet_sampling s = a->s;
    const json_t *prompt = json_array_get(a->prompts, (size_t)(index / (int)a->n));
    s.seed += (uint64_t)(index % (int)a->n);
    TRY(facet_request_new(&q, j->s->engine, &s, e));
    facet_request_scope(q, j->scope ^ j->ask.salt);
    if (a->adapter[0]) TRY(facet_request_adapter(q, a->adapter, e));
    if (json_is_array(prompt)) TRY(add_ids(q, prompt, e));
    else if (prompt) TRY(add_text(j->s, q, prompt, e));
    else TRY(facet_request_conversation(q, conversation, n, e));
    facet_request_think_budget(q, a->think_budget);
    if (json_object_get(a->conversation, "tools")) TRY(facet_request_tools(q, a->choice, a->named, !a->one_call, e));
    *field = a->format_field;
    if (a->json) TRY(add_format(a, q, e));
    *field = NULL;
    *out = q;
    q = NULL;
out:
    facet_request_free(q);
    return st;
}

/* A prompt that is too long gets the words that clients look for. */
static bool refuse_start(job *j, int index, const char *field, const err *e, refusal *r)
{
    size_t count = 0;
    refusal other;
    bool ours = e->code == E_ARG || e->code == E_UNSUPPORTED;
    if (ours && strncmp(e->what, "there is no adapter", 19) == 0) return field_refuse(r, 404, "model_not_found", "model", "%s any more", e->what);
    if (e->code == E_CONTEXT && job_count_prompt(j->s, &j->ask, (size_t)(index / (int)j->ask.n), &count, &other))
        return field_refuse(r, 400, "context_length_exceeded", j->ask.conversation ? "messages" : "prompt", "prompt is too long: %zu tokens > %d maximum",
                            count, j->s->used.ctx - 1);
    /* What submitting finds fault with is the conversation, which the template cannot print, or else the functions. */
    if (!field && ours && j->ask.conversation)
        field = strncmp(e->what, "cannot render", 13) != 0 && json_object_get(j->ask.conversation, "tools") ? "tools" : "messages";
    if (field && ours) return field_refuse(r, 400, NULL, field, "\"%s\": %s%s%s", field, e->what, e->why[0] ? ": " : "", e->why);
    field_refuse_err(r, e);
    if (e->code == E_BUSY) server_say_when(j->s, r);
    return false;
}

/* What a schema asks for and nobody sees to is said in a field of the answer's head. */
static void warn(job *j, const turn *t)
{
    char names[1200];
    size_t n = 0;
    for (const char *p = turn_unenforced(t); *p && n + 1 < sizeof names; p++) names[n++] = *p >= ' ' && *p < 127 ? *p : '?';
    names[n] = '\0';
    if (n == 0) return;
    http_header(j->call, "X-Facet-Not-Enforced", names);
    log_print(LOG_WARN, "a schema has keywords that are not enforced: %s", names);
}

static bool submit(job *j, refusal *r)
{
    buf text;
    err e = { 0 };
    status st = OK;
    const char *field = NULL;
    int i = 0;
    buf_init(&text, (size_t)1 << 30);
    if (j->ask.conversation && !field_print(&text, j->ask.conversation)) st = err_set(&e, E_NOMEM, "out of memory");
    for (; st == OK && i < j->count; i++) {
        job_answer *a = &j->answers[i];
        facet_request *q = NULL;
        *a = (job_answer){ .job = j, .index = i };
        buf_init(&a->thought, ANSWER_BYTES_MAX);
        buf_init(&a->text, ANSWER_BYTES_MAX);
        st = make_request(j, i, buf_text(&text), text.len, &q, &field, &e);
        if (st == OK) st = turn_start(&a->turn, j->s->turns, q, on_events, a, &e);
        if (st == OK) { j->left++; j->s->metrics.submitted++; }
        if (st == OK && i == 0) warn(j, a->turn);
    }
    if (st != OK) {
        refuse_start(j, i ? i - 1 : 0, field, &e, r);
        j->count = i ? i - 1 : 0;                /* the others run already */
    }
    buf_done(&text);
    return st == OK;
}

static bool prepare(job *j, refusal *r)
{
    size_t prompts = j->ask.conversation ? 1 : json_array_size(j->ask.prompts), count = prompts * (size_t)j->ask.n;
    if (count > ASK_N_MAX) return field_refuse(r, 400, NULL, "n", "%zu answers were asked for; at most %d are given", count, (int)ASK_N_MAX);
    j->answers = mem_array(count, sizeof *j->answers, MEM_IO);
    j->ping = event_new(j->s->base, -1, EV_PERSIST, on_ping, j);
    j->patience = evtimer_new(j->s->base, on_patience, j);
    if (!j->answers || !j->ping || !j->patience) return field_refuse(r, 503, NULL, NULL, "out of memory");
    j->count = (int)count;
    return true;
}

/* Where the status view finds it. */
static void enlist(job *j)
{
    j->next = j->s->jobs;
    j->prev = &j->s->jobs;
    if (j->next) j->next->prev = &j->next;
    j->s->jobs = j;
}

void job_start(server *s, http_call *c, const dialect *d, ask *a, const char *id_prefix, json_t *extra)
{
    refusal r = { 0 };
    job *j = mem_alloc(sizeof *j, MEM_IO);
    if (!j) {
        field_refuse(&r, 503, NULL, NULL, "out of memory");
        d->refuse(c, &r);
        ask_done(a);
        json_decref(extra);
        return;
    }
    *j = (job){ .s = s, .call = c, .d = d, .ask = *a, .extra = extra, .scope = gate_scope(s->gate, http_head(c)), .created = (int64_t)time(NULL), .started = clock_seconds() };
    j->ask.s.stop = j->ask.stop;             /* its own copy, not the one that goes out of scope */
    *a = (ask){ 0 };
    server_id(j->id, sizeof j->id, id_prefix);
    server_model_name(s, j->ask.adapter, j->model);
    enlist(j);
    if (!job_recall(s, c, &j->ask, &r) || !prepare(j, &r) || !submit(j, &r)) {
        s->metrics.refused++;
        d->refuse(c, &r);
        j->call = NULL;
        cancel(j);
        if (j->left == 0) free_job(j);
        return;
    }
    http_watch(c, on_gone, on_drain, j);
    if (j->ask.stream) event_add(j->ping, &(struct timeval){ .tv_sec = PING_SECONDS });
    event_add(j->patience, &(struct timeval){ .tv_sec = s->o.queue_seconds ? s->o.queue_seconds : QUEUE_SECONDS });
}

/* ---- for dialects ---------------------------------------------------------------------------------------- */

void job_send_raw(job *j, const char *text) { http_write(j->call, text, strlen(text)); }

void job_send(job *j, const char *event, json_t *data)
{
    bool lines = strcmp(j->d->stream_type, "application/x-ndjson") == 0;
    buf b;
    buf_init(&b, (size_t)1 << 30);
    bool ok = lines || ((!event || buf_addf(&b, NULL, "event: %s\n", event) == OK) && buf_add_str(&b, "data: ", NULL) == OK);
    ok = ok && field_print(&b, data) && buf_add_str(&b, lines ? "\n" : "\n\n", NULL) == OK;
    if (ok) http_write(j->call, b.data, b.len);
    else no_memory(j);
    buf_done(&b);
    json_decref(data);
}

bool job_has_calls(const job_answer *a) { return json_array_size(a->calls) > 0; }

const char *job_finish_name(const job_answer *a)
{
    return a->result.finish == FACET_FINISH_LENGTH ? "length" : job_has_calls(a) ? "tool_calls" : "stop";
}

job_usage job_count(const job *j)
{
    job_usage u = { 0 };
    for (int i = 0; i < j->count; i++) {
        const job_answer *a = &j->answers[i];
        if (i % (int)j->ask.n == 0) {            /* answers to one prompt share it */
            u.prompt += a->prompt_tokens;
            u.cached += a->cached_tokens;
        }
        u.answer += a->result.answer_tokens;
        u.thought += a->result.thought_tokens;
    }
    return u;
}

json_t *job_text(const buf *b) { return json_stringn(buf_text(b), b->len); }

double job_seconds(const job *j) { return clock_seconds() - j->started; }
