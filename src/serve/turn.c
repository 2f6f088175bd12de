#include "serve/turn.h"

#include <event2/event.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"

struct turns {
    pthread_mutex_t lock;
    turn *first, **last;             /* turns with events that nobody was told of; guarded by lock */
    int fd;
    struct event *wake;
};

struct turn {
    turns *all;
    facet_request *request;
    turn_fn fn;
    void *user;
    turn *next_ready;                /* guarded by all->lock, as the four below */
    bool ready, lost;                /* lost: an event could not be copied */
    turn_event *first, **last;
    facet_result result;
    turn_event done;                 /* needs no allocation: the last event always comes */
};

/* ---- the engine's thread --------------------------------------------------------------------------- */

static turn_event *copy_of(const facet_event *ev)
{
    const char *text = ev->kind == FACET_CALL ? ev->arguments : ev->text;
    size_t n = ev->kind == FACET_CALL ? strlen(ev->arguments) : ev->text ? ev->n : 0;
    size_t name = ev->kind == FACET_CALL ? strlen(ev->name) + 1 : 0, top = (size_t)ev->top_count * sizeof *ev->top;
    turn_event *c = mem_alloc(sizeof *c + top + n + 1 + name, MEM_IO);
    if (!c) return NULL;
    char *at = (char *)(c + 1);
    *c = (turn_event){ .kind = ev->kind, .n = n, .index = ev->index, .done = ev->prompt_done, .total = ev->prompt_total,
                       .tokens = ev->answer_tokens, .token = ev->token, .top_count = ev->top_count };
    if (top) memcpy(at, ev->top, top);
    c->top = (const facet_logprob *)(const void *)at;
    c->text = at += top;
    if (n) memcpy(at, text, n);
    at += n + 1;
    if (name) memcpy(at, ev->name, name);
    c->name = at;
    return c;
}

static void on_event(void *user, const facet_event *ev)
{
    turn *t = user;
    turns *all = t->all;
    bool last = ev->kind == FACET_DONE, wake = false;
    turn_event *c = last ? &t->done : copy_of(ev);
    if (last) {
        t->result = *ev->result;
        t->done.kind = FACET_DONE;
    }
    pthread_mutex_lock(&all->lock);
    if (c) {
        *t->last = c;
        t->last = &c->next;
    } else {
        t->lost = true;
    }
    if (!t->ready && c) {
        wake = all->first == NULL;
        t->ready = true;
        *all->last = t;
        all->last = &t->next_ready;
    }
    pthread_mutex_unlock(&all->lock);
    if (!c) facet_request_cancel(t->request);
    if (wake) eventfd_write(all->fd, 1);
}

/* ---- the loop's thread ------------------------------------------------------------------------------- */

void turns_flush(turns *all)
{
    for (;;) {
        pthread_mutex_lock(&all->lock);
        turn *t = all->first;
        if (t) {
            all->first = t->next_ready;
            if (!all->first) all->last = &all->first;
            t->next_ready = NULL;
            t->ready = false;
        }
        pthread_mutex_unlock(&all->lock);
        if (!t) return;
        t->fn(t->user, t);
    }
}

static void on_wake(evutil_socket_t fd, short what, void *user)
{
    eventfd_t n;
    (void)what;
    eventfd_read(fd, &n);
    turns_flush(user);
}

status turns_new(turns **out, struct event_base *base, err *e)
{
    status st = OK;
    turns *all = mem_alloc(sizeof *all, MEM_OTHER);
    if (!all) return err_set(e, E_NOMEM, "could not set up the server\nout of memory");
    pthread_mutex_init(&all->lock, NULL);
    all->last = &all->first;
    all->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (all->fd < 0) FAIL(e, E_IO, "could not set up the server\nno descriptor is left");
    all->wake = event_new(base, all->fd, EV_READ | EV_PERSIST, on_wake, all);
    if (!all->wake || event_add(all->wake, NULL) != 0) FAIL(e, E_NOMEM, "could not set up the server\nout of memory");
    *out = all;
    all = NULL;
out:
    turns_free(all);
    return st;
}

void turns_free(turns *all)
{
    if (!all) return;
    if (all->wake) event_free(all->wake);
    if (all->fd >= 0) close(all->fd);
    pthread_mutex_destroy(&all->lock);
    mem_free(all);
}

status turn_start(turn **out, turns *all, facet_request *r, turn_fn fn, void *user, err *e)
{
    status st = OK;
    turn *t = mem_alloc(sizeof *t, MEM_IO);
    if (!t) {
        facet_request_free(r);
        return err_set(e, E_NOMEM, "could not take the request\nout of memory");
    }
    *t = (turn){ .all = all, .request = r, .fn = fn, .user = user };
    t->last = &t->first;
    TRY(facet_request_submit(r, on_event, t, e));
    *out = t;
    t = NULL;
out:
    turn_free(t);
    return st;
}

turn_event *turn_next(turn *t)
{
    pthread_mutex_lock(&t->all->lock);
    turn_event *ev = t->first;
    if (ev) {
        t->first = ev->next;
        if (!t->first) t->last = &t->first;
        ev->next = NULL;
    }
    bool lost = t->lost;
    pthread_mutex_unlock(&t->all->lock);
    if (ev && ev->kind == FACET_DONE && lost) {
        t->result.finish = FACET_FINISH_ERROR;
        err_set(&t->result.error, E_NOMEM, "the answer was cut short\nout of memory");
    }
    return ev;
}

void turn_event_free(turn_event *ev)
{
    if (ev && ev->kind != FACET_DONE) mem_free(ev);
}

const facet_result *turn_result(const turn *t) { return &t->result; }

const char *turn_unenforced(const turn *t) { return facet_request_unenforced(t->request); }

void turn_cancel(turn *t) { facet_request_cancel(t->request); }

/* Its events may have been taken before its turn to be told of them came. */
static void leave_ready(turn *t)
{
    turns *all = t->all;
    pthread_mutex_lock(&all->lock);
    for (turn **p = &all->first; t->ready && *p; p = &(*p)->next_ready) {
        if (*p != t) continue;
        *p = t->next_ready;
        if (!*p) all->last = p;
        t->ready = false;
        break;
    }
    pthread_mutex_unlock(&all->lock);
}

void turn_free(turn *t)
{
    if (!t) return;
    leave_ready(t);
    facet_request_free(t->request);     /* waits until the engine has left the last event */
    for (turn_event *ev = t->first, *next; ev; ev = next) {
        next = ev->next;
        turn_event_free(ev);
    }
    mem_free(t);
}
