#include "bench/bench_serve.h"

#include <errno.h>
#include <math.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/rng.h"
#include "bench/bench_stats.h"
#include "os/clock.h"
#include "os/pool.h"

enum { TURNS = 2, BODY_MAX = 64 << 20, SECONDS_MAX = 600 };

/* One request, as its client saw it. */
typedef struct asked {
    bool done, left;
    double first, token;             /* seconds to the first token; per token after it */
    int64_t prompt, cached, answer;
} asked;

typedef struct client {
    const bench_serve_opts *o;
    asked *asked;                    /* [conversations * TURNS] */
    uint64_t key, draws;             /* of its random numbers */
    double until;                    /* clock_seconds */
    err why;
} client;

static double draw(client *c) { return rng_uniform(c->key, c->draws++); }

/* ---- the request ----------------------------------------------------------------------------------------- */

/* Words that tokenizers know, in an order that no other prompt has. */
static status add_words(client *c, buf *b, int n, err *e)
{
    static const char *const words[] = { "river", "seven", "often", "blue", "house", "walks", "under", "light", "again", "paper", "north", "small",
                                         "winter", "reads", "about", "stone", "every", "music", "early", "green" };
    status st = OK;
    for (int i = 0; i < n; i++) TRY(buf_addf(b, e, "%s%s", i ? " " : "", words[(size_t)(draw(c) * COUNT_OF(words))]));
out:
    return st;
}

/* The token that ends a turn is never drawn (ids of Gemma 4), so that an answer has its full length. */
static status add_body(const client *c, buf *b, const json_t *messages, err *e)
{
    json_t *o = json_pack("{s:s, s:b, s:{s:b}, s:i, s:f, s:b, s:{s:i, s:i, s:i}, s:O}", "model", "m", "stream", 1, "stream_options", "include_usage", 1,
                          "max_tokens", c->o->answer, "temperature", 1.0, "ignore_eos", 1, "logit_bias", "1", -100, "106", -100, "50", -100,
                          "messages", messages);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    status st = text ? buf_add_str(b, text, e) : err_set(e, E_NOMEM, "could not ask the server\nout of memory");
    json_free_t free_text = NULL;
    json_get_alloc_funcs(NULL, &free_text);
    free_text(text);
    json_decref(o);
    return st;
}

static status open_connection(const bench_serve_opts *o, int *out, err *e)
{
    status st = OK;
    struct addrinfo *list = NULL, hints = { .ai_socktype = SOCK_STREAM };
    int fd = -1, no = getaddrinfo(o->host, o->port, &hints, &list);
    if (no) FAIL(e, E_ARG, "cannot find the server \"%s\"\n%s", o->host, gai_strerror(no));
    fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, list->ai_addr, list->ai_addrlen) != 0)
        FAIL(e, E_IO, "could not reach the server at %s:%s\n%s\nStart one with \"facet serve\", and give its address with --url.", o->host, o->port, strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ .tv_sec = SECONDS_MAX }, sizeof(struct timeval));
    *out = fd;
    fd = -1;
out:
    if (fd >= 0) close(fd);
    if (list) freeaddrinfo(list);
    return st;
}

static status send_request(const client *c, int fd, const json_t *messages, err *e)
{
    status st = OK;
    buf body, all;
    buf_init(&body, BODY_MAX);
    buf_init(&all, BODY_MAX);
    TRY(add_body(c, &body, messages, e));
    TRY(buf_addf(&all, e, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
                          "Content-Length: %zu\r\n", body.len));
    if (c->o->key) TRY(buf_addf(&all, e, "Authorization: Bearer %s\r\n", c->o->key));
    TRY(buf_addf(&all, e, "\r\n%s", buf_text(&body)));
    for (size_t sent = 0; sent < all.len;) {
        ssize_t n = send(fd, all.data + sent, all.len - sent, MSG_NOSIGNAL);
        if (n <= 0) FAIL(e, E_IO, "could not ask the server\n%s", strerror(errno));
        sent += (size_t)n;
    }
out:
    buf_done(&body);
    buf_done(&all);
    return st;
}

/* ---- its answer -------------------------------------------------------------------------------------------- */

typedef struct reading { FILE *f; size_t left; bool chunked, over; } reading;

/* The next line of the body, without its end; false at the end. */
static bool next_line(reading *r, buf *line)
{
    char size[64];
    buf_clear(line);
    while (!r->over) {
        if (r->chunked && r->left == 0) {
            if (!fgets(size, sizeof size, r->f)) return false;
            if (size[0] == '\r') continue;                         /* the end of the chunk before */
            r->left = strtoul(size, NULL, 16);
            if (r->left == 0) { r->over = true; break; }
        }
        int ch = getc(r->f);
        if (ch == EOF) return false;
        if (r->chunked) r->left--;
        if (ch == '\n') return true;
        if (ch != '\r' && buf_add(line, &(char){ (char)ch }, 1, NULL) != OK) return false;
    }
    return false;
}

static status read_head(reading *r, err *e)
{
    char line[1024];
    int code = 0;
    if (!fgets(line, sizeof line, r->f) || sscanf(line, "HTTP/1.%*c %d", &code) != 1) return err_set(e, E_IO, "the server gave no answer");
    while (fgets(line, sizeof line, r->f) && line[0] != '\r')
        if (strncasecmp(line, "transfer-encoding:", 18) == 0) r->chunked = true;
    return code == 200 ? OK : err_set(e, E_IO, "the server answered with status %d", code);
}

/* Tokens of one event; *text grows by what it says. */
static bool take_event(const json_t *event, asked *a, buf *text)
{
    const json_t *delta = json_object_get(json_array_get(json_object_get(event, "choices"), 0), "delta"), *usage = json_object_get(event, "usage");
    const char *said = json_string_value(json_object_get(delta, "content"));
    if (json_is_object(usage)) {
        a->prompt = json_integer_value(json_object_get(usage, "prompt_tokens"));
        a->answer = json_integer_value(json_object_get(usage, "completion_tokens"));
        a->cached = json_integer_value(json_object_get(json_object_get(usage, "prompt_tokens_details"), "cached_tokens"));
    }
    if (said) buf_add_str(text, said, NULL);
    return said && said[0];
}

/* Reads until the end, or leaves after `leave_after` events with text. */
static status read_answer(reading *r, double sent, int leave_after, asked *a, buf *text, err *e)
{
    status st = OK;
    buf line;
    double first = 0, last = 0;
    int events = 0;
    bool end = false;
    buf_init(&line, BODY_MAX);
    TRY(read_head(r, e));
    while (!end && events < leave_after && next_line(r, &line)) {
        json_t *event = NULL;
        if (strncmp(buf_text(&line), "data: ", 6) != 0) continue;
        end = strcmp(line.data, "data: [DONE]") == 0;
        if (end || json_parse(&event, (str){ line.data + 6, line.len - 6 }, "an event", false, NULL) != OK) continue;
        if (take_event(event, a, text)) {
            last = clock_seconds();
            if (events++ == 0) first = last;
        }
        json_decref(event);
    }
    a->left = events == leave_after;
    if (!a->left && (!end || events == 0)) FAIL(e, E_IO, "the server's answer has no end");
    a->done = !a->left;
    a->first = first - sent;
    a->token = a->answer > 1 ? (last - first) / (double)(a->answer - 1) : 0;
out:
    buf_done(&line);
    return st;
}

/* ---- clients ------------------------------------------------------------------------------------------------- */

static status ask(client *c, const json_t *messages, asked *a, buf *text, err *e)
{
    status st = OK;
    int fd = -1;
    reading r = { 0 };
    int leave_after = draw(c) < c->o->leave ? 1 + (int)(draw(c) * c->o->answer / 2) : INT32_MAX;
    double sent = clock_seconds();
    TRY(open_connection(c->o, &fd, e));
    TRY(send_request(c, fd, messages, e));
    r.f = fdopen(fd, "r");
    if (!r.f) FAIL(e, E_NOMEM, "could not ask the server\nout of memory");
    st = read_answer(&r, sent, leave_after, a, text, e);
out:
    if (r.f) fclose(r.f);
    else if (fd >= 0) close(fd);
    return st;
}

static status say(json_t *messages, const char *role, const buf *text, err *e)
{
    json_t *m = json_pack("{s:s, s:s}", "role", role, "content", buf_text(text));
    return json_array_append_new(messages, m) == 0 ? OK : err_set(e, E_NOMEM, "could not ask the server\nout of memory");
}

static void think(client *c)
{
    double s = c->o->think_seconds * (0.5 + draw(c));
    if (s > 0) nanosleep(&(struct timespec){ .tv_sec = (time_t)s, .tv_nsec = (long)((s - (double)(time_t)s) * 1e9) }, NULL);
}

static status converse(client *c, asked turns[TURNS], err *e)
{
    status st = OK;
    buf text;
    json_t *messages = json_array();
    buf_init(&text, BODY_MAX);
    for (int t = 0; t < c->o->turns && clock_seconds() < c->until; t++) {
        buf_clear(&text);
        TRY(add_words(c, &text, t == 0 ? c->o->words : 8, e));
        TRY(say(messages, "user", &text, e));
        buf_clear(&text);
        TRY(ask(c, messages, &turns[t], &text, e));
        if (turns[t].left) break;
        TRY(say(messages, "assistant", &text, e));
        think(c);
    }
out:
    json_decref(messages);
    buf_done(&text);
    return st;
}

static void run_client(void *user, int64_t i, int worker)
{
    client *c = (client *)user + i;
    (void)worker;
    for (int k = 0; k < c->o->conversations && clock_seconds() < c->until; k++) {
        err e = { 0 };
        if (converse(c, c->asked + k * TURNS, &e) != OK && !c->why.what[0]) c->why = e;
    }
}

/* ---- the sum -------------------------------------------------------------------------------------------------- */

static bench_serve_times times(double *x, size_t n)
{
    bench_stats s = bench_stats_of(x, n);
    return (bench_serve_times){ s.median, n ? bench_stats_quantile(x, n, 0.99) : 0 };
}

static status add_up(const bench_serve_opts *o, const client *clients, size_t each, bench_serve_result *out, err *e)
{
    status st = OK;
    size_t n[3] = { 0 }, good = 0, all = each * (size_t)o->clients;
    double *x[3] = { 0 };            /* cold, warm, token */
    for (int k = 0; k < 3; k++)
        if (!(x[k] = mem_array(all, sizeof **x, MEM_OTHER))) FAIL(e, E_NOMEM, "could not add up\nout of memory");
    for (size_t i = 0; i < all; i++) {
        const asked *a = &clients[i / each].asked[i % each];
        out->done += a->done;
        out->left += a->left;
        out->answer_tokens += a->answer;
        out->prompt_tokens += a->prompt;
        out->cached_tokens += a->cached;
        if (!a->done) continue;
        x[i % TURNS][n[i % TURNS]++] = a->first;
        x[2][n[2]++] = a->token;
        good += a->first <= o->first_limit && a->token <= o->token_limit;
    }
    for (int i = 0; i < o->clients; i++)
        if (clients[i].why.what[0]) { out->failed++; if (!out->why.what[0]) out->why = clients[i].why; }
    out->cold = times(x[0], n[0]);
    out->warm = times(x[1], n[1]);
    out->token = times(x[2], n[2]);
    out->tokens_per_second = (double)out->answer_tokens / out->seconds;
    out->good_per_second = (double)good / out->seconds;
    if (!out->done && !out->left) { if (e) *e = out->why; st = out->why.code; }
out:
    for (int k = 0; k < 3; k++) mem_free(x[k]);
    return st;
}

status bench_serve_run(const bench_serve_opts *o, bench_serve_result *out, err *e)
{
    status st = OK;
    size_t each = (size_t)o->conversations * TURNS;
    pool *p = NULL;
    asked *asks = mem_array(each * (size_t)o->clients, sizeof *asks, MEM_OTHER);
    client *clients = mem_array((size_t)o->clients, sizeof *clients, MEM_OTHER);
    *out = (bench_serve_result){ 0 };
    if (!asks || !clients) FAIL(e, E_NOMEM, "could not start the clients\nout of memory");
    TRY(pool_new(&p, o->clients, e));
    double begun = clock_seconds();
    for (int i = 0; i < o->clients; i++)
        clients[i] = (client){ .o = o, .asked = asks + (size_t)i * each, .key = o->seed * 4096 + (uint64_t)o->clients * 64 + (uint64_t)i,
                               .until = o->seconds > 0 ? begun + o->seconds : INFINITY };
    pool_run(p, o->clients, run_client, clients);
    out->seconds = clock_seconds() - begun;
    TRY(add_up(o, clients, each, out, e));
out:
    pool_free(p);
    mem_free(asks);
    mem_free(clients);
    return st;
}
