#include "serve/vectors.h"

#include <math.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "os/clock.h"

enum { ANSWER_BYTES_MAX = 1 << 30 };

typedef struct place { vectors *all; turn *turn; size_t index; bool running; } place;

struct vectors {
    server *s;
    http_call *call;                 /* NULL: the client has left */
    const vectors_dialect *d;
    vectors_ask ask;
    char model[SERVER_NAME_MAX];
    float *values;                   /* [count, H] */
    place *places;                   /* [place_count] of those that are computed now */
    int place_count, busy;
    size_t count, next;
    int64_t tokens;
    double started;
    bool broken;
    refusal why;
};

static bool no_memory(refusal *r) { return field_refuse(r, 503, NULL, NULL, "out of memory"); }

/* ---- the request -------------------------------------------------------------------------------------------- */

static bool is_ids(const json_t *v) { return json_is_array(v) && json_is_integer(json_array_get(v, 0)); }

static bool check_one(const json_t *v, const char *field, size_t at, refusal *r)
{
    if (json_is_string(v))
        return json_string_length(v) > 0 || field_refuse(r, 400, NULL, field, "entry %zu of \"%s\" is an empty text", at, field);
    if (!is_ids(v)) return field_refuse(r, 400, NULL, field, "\"%s\" must be a string, a list of token ids, or a list of either", field);
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *id = json_array_get(v, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX)
            return field_refuse(r, 400, NULL, field, "entry %zu of \"%s\" has something in it that is no token id", at, field);
    }
    return true;
}

bool vectors_read(vectors_ask *a, const json_t *input, const char *field, refusal *r)
{
    if (!input) return field_refuse(r, 400, NULL, field, "\"%s\" is missing", field);
    a->inputs = json_is_array(input) && !is_ids(input) ? json_incref((json_t *)input) : json_pack("[O]", input);
    if (!a->inputs) return no_memory(r);
    size_t n = json_array_size(a->inputs);
    if (n > VECTORS_MAX) return field_refuse(r, 400, NULL, field, "\"%s\" has %zu entries; at most %d are taken", field, n, (int)VECTORS_MAX);
    for (size_t i = 0; i < n; i++)
        if (!check_one(json_array_get(a->inputs, i), field, i, r)) return false;
    return true;
}

bool vectors_read_width(vectors_ask *a, const server *s, const json_t *body, refusal *r)
{
    return field_int(body, "dimensions", 1, s->info.hidden, &a->width, r);
}

/* ---- ends --------------------------------------------------------------------------------------------------- */

static void free_all(vectors *v)
{
    mem_free(v->values);
    mem_free(v->places);
    json_decref(v->ask.inputs);
    mem_free(v);
}

static void fail(vectors *v, const refusal *why)
{
    if (!v->broken) v->why = *why;
    v->broken = true;
    for (int i = 0; i < v->place_count; i++)
        if (v->places[i].turn) turn_cancel(v->places[i].turn);
}

static void finish(vectors *v)
{
    buf out;
    buf_init(&out, ANSWER_BYTES_MAX);
    if (v->call) http_watch(v->call, NULL, NULL, NULL);
    if (v->call && !v->broken && !v->d->print(v, &out)) {
        v->broken = true;
        no_memory(&v->why);
    }
    if (v->call && v->broken) v->d->refuse(v->call, &v->why);
    else if (v->call) http_reply(v->call, 200, "application/json", buf_text(&out), out.len);
    buf_done(&out);
    free_all(v);
}

/* ---- one text ------------------------------------------------------------------------------------------------- */

/* The ids of input i, with the one that begins every text before those of a text.  *ids owned: facet_free, or mem_free. */
static status tokens_of(const vectors *v, size_t i, int32_t **ids, size_t *count, err *e)
{
    status st = OK;
    const json_t *one = json_array_get(v->ask.inputs, i);
    int32_t *own = NULL, *text = NULL;
    bool is_text = json_is_string(one), bos = is_text && v->s->info.bos >= 0;
    size_t n = json_array_size(one);
    if (is_text) TRY(facet_tokenize(v->s->model, json_string_value(one), json_string_length(one), false, &text, &n, e));
    own = mem_array(n + bos, sizeof *own, MEM_IO);
    if (!own) FAIL(e, E_NOMEM, "out of memory");
    if (bos) own[0] = v->s->info.bos;
    if (text) memcpy(own + bos, text, n * sizeof *own);
    for (size_t k = 0; !text && k < n; k++) own[k] = (int32_t)json_integer_value(json_array_get(one, k));
    *ids = own;
    *count = n + bos;
out:
    facet_free(text);
    return st;
}

static void on_events(void *user, turn *t);

/* *tokens: of the text, when they are too many (E_CONTEXT). */
static status submit(vectors *v, place *p, size_t *tokens, err *e)
{
    status st = OK;
    facet_request *q = NULL;
    int32_t *ids = NULL;
    size_t n = 0;
    TRY(tokens_of(v, v->next, &ids, &n, e));
    if (v->ask.truncate) n = MIN(n, (size_t)v->s->used.ctx);
    *tokens = n;
    TRY(facet_request_new(&q, v->s->engine, NULL, e));
    TRY(facet_request_tokens(q, ids, n, e));
    if (v->ask.adapter[0]) TRY(facet_request_adapter(q, v->ask.adapter, e));
    TRY(facet_request_embed(q, v->values + v->next * (size_t)v->s->info.hidden, e));
    *p = (place){ .all = v, .index = v->next };
    st = turn_start(&p->turn, v->s->turns, q, on_events, p, e);
    q = NULL;
    if (st != OK) goto out;
    v->next++;
    v->busy++;
    v->s->metrics.submitted++;
out:
    mem_free(ids);
    facet_request_free(q);
    return st;
}

/* Fills the places.  A full queue is waited for while others of ours are in it. */
static void more(vectors *v)
{
    for (int i = 0; i < v->place_count && v->next < v->count && !v->broken; i++) {
        err e = { 0 };
        refusal r;
        size_t tokens = 0;
        if (v->places[i].turn) continue;
        status st = submit(v, &v->places[i], &tokens, &e);
        if (st == OK) continue;
        v->places[i].turn = NULL;
        if (st == E_BUSY && v->busy) return;
        if (st == E_CONTEXT)
            field_refuse(&r, 400, "context_length_exceeded", "input", "prompt is too long: %zu tokens > %d maximum", tokens, v->s->used.ctx);
        else field_refuse_err(&r, &e);
        if (st == E_BUSY) server_say_when(v->s, &r);
        fail(v, &r);
    }
}

static void take_done(vectors *v, place *p)
{
    refusal r;
    facet_result how = *turn_result(p->turn);
    v->s->metrics.submitted--;
    if (p->running) v->s->metrics.running--;
    metrics_add(&v->s->metrics, &how);
    v->tokens += how.prompt_tokens;
    v->busy--;
    turn_free(p->turn);
    p->turn = NULL;
    if (how.finish == FACET_FINISH_ERROR) {
        field_refuse_err(&r, &how.error);
        if (r.status == 400) r.status = 500;             /* it was taken: what fails now is ours */
        fail(v, &r);
    } else if (how.finish == FACET_FINISH_CANCELLED) {
        field_refuse(&r, 503, NULL, NULL, "the server stops");
        fail(v, &r);
    }
}

static void on_events(void *user, turn *t)
{
    place *p = user;
    vectors *v = p->all;
    turn_event *ev;
    while (p->turn && (ev = turn_next(t))) {
        bool done = ev->kind == FACET_DONE;
        if (ev->kind == FACET_PROGRESS && !p->running) {
            p->running = true;
            v->s->metrics.running++;
        }
        turn_event_free(ev);
        if (done) take_done(v, p);
    }
    if (p->turn) return;
    more(v);
    if (v->busy == 0) finish(v);
}

static void on_gone(void *user)
{
    vectors *v = user;
    refusal r = { 0 };
    v->call = NULL;
    fail(v, &r);                                         /* the last events come, then all is freed */
}

static void on_drain(void *user) { (void)user; }

void vectors_start(server *s, http_call *c, const vectors_dialect *d, vectors_ask *a)
{
    refusal r;
    vectors *v = mem_alloc(sizeof *v, MEM_IO);
    size_t count = json_array_size(a->inputs);
    if (v) {
        *v = (vectors){ .s = s, .call = c, .d = d, .ask = *a, .count = count, .started = clock_seconds(), .place_count = s->used.parallel };
        a->inputs = NULL;
        server_model_name(s, v->ask.adapter, v->model);
        v->values = mem_array(count * (size_t)s->info.hidden, sizeof *v->values, MEM_IO);
        v->places = mem_array((size_t)v->place_count, sizeof *v->places, MEM_IO);
    }
    if (!v || !v->values || !v->places) {
        no_memory(&r);
        d->refuse(c, &r);
        if (v) free_all(v);
        return;
    }
    http_watch(c, on_gone, on_drain, v);
    more(v);
    if (v->broken) s->metrics.refused++;
    if (v->busy == 0) finish(v);
}

/* ---- for dialects ------------------------------------------------------------------------------------------------ */

size_t vectors_count(const vectors *v) { return v->count; }
int64_t vectors_tokens(const vectors *v) { return v->tokens; }
double vectors_seconds(const vectors *v) { return clock_seconds() - v->started; }
const server *vectors_server(const vectors *v) { return v->s; }
const char *vectors_adapter(const vectors *v) { return v->ask.adapter; }
const char *vectors_model(const vectors *v) { return v->model; }

/* The first width numbers, made to length 1 again. */
static double shorten(const vectors *v, const float *x, int32_t width)
{
    double square = 0;
    if (width == v->s->info.hidden) return 1;
    for (int32_t i = 0; i < width; i++) square += (double)x[i] * (double)x[i];
    return square > 0 ? 1 / sqrt(square) : 0;
}

static bool add_base64(buf *out, const unsigned char *p, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        size_t have = MIN(n - i, 3);
        uint32_t bits = (uint32_t)p[i] << 16 | (have > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (have > 2 ? p[i + 2] : 0);
        char four[4] = { digits[bits >> 18], digits[bits >> 12 & 63], have > 1 ? digits[bits >> 6 & 63] : '=', have > 2 ? digits[bits & 63] : '=' };
        if (buf_add(out, four, 4, NULL) != OK) return false;
    }
    return true;
}

bool vectors_print(const vectors *v, size_t i, buf *out)
{
    const float *x = v->values + i * (size_t)v->s->info.hidden;
    int32_t width = v->ask.width ? (int32_t)v->ask.width : v->s->info.hidden;
    double scale = shorten(v, x, width);
    buf bytes;
    buf_init(&bytes, ANSWER_BYTES_MAX);
    bool ok = buf_add_str(out, v->ask.base64 ? "\"" : "[", NULL) == OK;
    for (int32_t k = 0; ok && k < width; k++) {
        float f = (float)((double)x[k] * scale);
        uint32_t u;
        memcpy(&u, &f, sizeof u);
        unsigned char four[4] = { u & 255, u >> 8 & 255, u >> 16 & 255, u >> 24 };
        ok = (v->ask.base64 ? buf_add(&bytes, four, 4, NULL) : buf_addf(out, NULL, "%s%.9g", k ? "," : "", (double)f)) == OK;
    }
    ok = ok && (!v->ask.base64 || add_base64(out, (const unsigned char *)buf_text(&bytes), bytes.len)) && buf_add_str(out, v->ask.base64 ? "\"" : "]", NULL) == OK;
    buf_done(&bytes);
    return ok;
}
