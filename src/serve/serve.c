#include "serve/serve.h"

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/bits.h"
#include "base/log.h"
#include "serve/adapters.h"
#include "serve/route.h"

enum { PARALLEL_DEFAULT = 8, STOP_SECONDS = 10, TICK_MS = 20 };

typedef struct running {
    server s;
    struct event *term, *interrupt, *hangup, *tick;
    double left;                     /* seconds that answers have to end */
} running;

/* ---- setting up --------------------------------------------------------------------------------------------- */

/* "models/gemma-4-E2B-it-Q4_0.gguf" -> "gemma-4-E2B-it-Q4_0" */
static void take_name(server *s)
{
    const char *path = s->o.path ? s->o.path : s->info.name, *slash = strrchr(path, '/');
    if (slash && slash[1]) path = slash + 1;
    snprintf(s->name, sizeof s->name, "%s", s->o.alias ? s->o.alias : path);
    size_t n = strlen(s->name);
    if (!s->o.alias && n > 5 && strcmp(s->name + n - 5, ".gguf") == 0) s->name[n - 5] = '\0';
}

/* As many requests at once as fit, at most 8. */
static status choose_parallel(const facet_model *m, facet_engine_opts *o, err *e)
{
    facet_plan p;
    if (o->parallel) return OK;
    for (o->parallel = PARALLEL_DEFAULT; o->parallel > 1; o->parallel /= 2) {
        status st = facet_plan_engine(m, o, &p, e);
        if (st != OK) return st;
        if (p.fit == FACET_FITS) break;
    }
    return OK;
}

static status read_keys(const serve_opts *o, gate **out, err *e)
{
    status st = OK;
    gate *a = NULL;
    TRY(gate_new(&a, o->http.host, e));
    for (size_t i = 0; i < o->key_count; i++) TRY(gate_add_key(a, o->keys[i], e));
    if (o->key_file) TRY(gate_read_keys(a, o->key_file, e));
    for (size_t i = 0; i < o->origin_count; i++) TRY(gate_add_origin(a, o->origins[i], e));
    if (!gate_keys(a) && !gate_is_loopback(o->http.host) && !o->insecure)
        FAIL(e, E_ARG, "cannot listen on \"%s\" without a key\nother machines could use this server\n"
             "Give a key with --api-key-file, or say --insecure.", o->http.host);
    *out = a;
    a = NULL;
out:
    gate_free(a);
    return st;
}

static status check_adapters(const server *s, err *e)
{
    for (size_t i = 0; i < s->o.engine.adapter_count; i++)
        if (!adapters_is_name(s, str_from(s->o.engine.adapters[i].name)))
            return err_set(e, E_ARG, "cannot call an adapter \"%s\"\nletters, digits, dots, dashes and underscores make a name, and it is neither \"latest\" nor the model's",
                           s->o.engine.adapters[i].name);
    return OK;
}

/* ---- signals -------------------------------------------------------------------------------------------------- */

static void on_tick(evutil_socket_t fd, short what, void *user)
{
    running *r = user;
    (void)fd;
    (void)what;
    r->left -= TICK_MS / 1000.0;
    if (http_calls(r->s.door) == 0 || r->left <= 0) event_base_loopbreak(r->s.base);
}

/* The first: no new connections, answers may end.  The second: at once. */
static void on_stop(evutil_socket_t number, short what, void *user)
{
    running *r = user;
    (void)number;
    (void)what;
    if (r->s.stopping) { event_base_loopbreak(r->s.base); return; }
    log_print(LOG_INFO, "stopping: %d requests are being answered", http_calls(r->s.door));
    r->s.stopping = true;
    r->left = r->s.o.stop_seconds ? r->s.o.stop_seconds : STOP_SECONDS;
    http_stop(r->s.door);
    event_add(r->tick, &(struct timeval){ .tv_usec = TICK_MS * 1000 });
}

static void on_hangup(evutil_socket_t number, short what, void *user)
{
    running *r = user;
    err e = { 0 };
    gate *fresh = NULL;
    (void)number;
    (void)what;
    if (read_keys(&r->s.o, &fresh, &e) != OK) {
        log_print(LOG_ERROR, "the keys stay as they were: %s: %s", e.what, e.why);
        return;
    }
    gate_free(r->s.gate);
    r->s.gate = fresh;
    log_print(LOG_INFO, "%zu keys were read", gate_keys(fresh));
}

static status add_events(running *r, err *e)
{
    struct event_base *b = r->s.base;
    r->term = evsignal_new(b, SIGTERM, on_stop, r);
    r->interrupt = evsignal_new(b, SIGINT, on_stop, r);
    r->hangup = evsignal_new(b, SIGHUP, on_hangup, r);
    r->tick = event_new(b, -1, EV_PERSIST, on_tick, r);
    bool ok = r->term && r->interrupt && r->hangup && r->tick && event_add(r->term, NULL) == 0 && event_add(r->interrupt, NULL) == 0 &&
              event_add(r->hangup, NULL) == 0;
    return ok ? OK : err_set(e, E_NOMEM, "could not set up the server\nout of memory");
}

static void free_events(running *r)
{
    struct event *all[] = { r->term, r->interrupt, r->hangup, r->tick };
    for (size_t i = 0; i < COUNT_OF(all); i++)
        if (all[i]) event_free(all[i]);
}

/* What libevent would print on standard error. */
static void on_event_log(int severity, const char *text)
{
    log_print(severity >= EVENT_LOG_ERR ? LOG_ERROR : severity == EVENT_LOG_WARN ? LOG_WARN : LOG_DEBUG, "%s", text);
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

/* Connections first: their jobs cancel what runs; then the engine, whose last events end the jobs. */
static void take_down(running *r)
{
    http_free(r->s.door);
    adapters_free(r->s.adapters);
    facet_engine_stop(r->s.engine);
    if (r->s.turns) turns_flush(r->s.turns);
    free_events(r);
    turns_free(r->s.turns);
    thoughts_free(r->s.thoughts);
    responses_store_free(r->s.responses);
    gate_free(r->s.gate);
    if (r->s.base) event_base_free(r->s.base);
}

status serve_run(const facet_model *m, const serve_opts *o, err *e)
{
    status st = OK;
    running r = { .s = { .model = m, .o = *o, .started = (int64_t)time(NULL) } };
    server *s = &r.s;
    http_handlers on = { route_admit, route_answer, route_refuse, s };
    facet_model_read_info(m, &s->info);
    take_name(s);
    TRY(read_keys(o, &s->gate, e));
    event_set_log_callback(on_event_log);
    s->base = event_base_new();
    if (!s->base) FAIL(e, E_NOMEM, "could not set up the server\nno event loop");
    TRY(turns_new(&s->turns, s->base, e));
    TRY(thoughts_new(&s->thoughts, e));
    TRY(responses_store_new(&s->responses, e));
    s->o.engine.embed = true;
    TRY(choose_parallel(m, &s->o.engine, e));
    TRY(http_new(&s->door, s->base, &o->http, &on, e));     /* a port in use is said before anything large is set up */
    TRY(check_adapters(s, e));
    TRY(adapters_new(&s->adapters, s, o->adapter_dir, e));
    TRY(facet_engine_start(&s->engine, m, &s->o.engine, e));
    facet_engine_read_opts(s->engine, &s->used);
    TRY(facet_plan_engine(m, &s->used, &s->plan, e));
    TRY(add_events(&r, e));
    if (o->ready) TRY(o->ready(o->user, http_address(s->door), e));
    if (event_base_dispatch(s->base) < 0) FAIL(e, E_IO, "the event loop failed");
out:
    take_down(&r);
    return st;
}
