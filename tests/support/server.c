#include "support/server.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MINIATURE "models/facet-mini.gguf"

struct test_server {
    serve_opts o;
    facet_model *model;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t ready;
    int port;                    /* -1: failed; guarded by lock */
    status st;
    err e;
};

static void set_port(test_server *s, int port)
{
    pthread_mutex_lock(&s->lock);
    s->port = port;
    pthread_cond_signal(&s->ready);
    pthread_mutex_unlock(&s->lock);
}

static status on_ready(void *user, const char *address, err *e)
{
    (void)e;
    set_port(user, atoi(strrchr(address, ':') + 1));
    return OK;
}

static void *serve(void *user)
{
    test_server *s = user;
    s->st = serve_run(s->model, &s->o, &s->e);
    if (s->st != OK) set_port(s, -1);
    return NULL;
}

test_server *test_server_start(serve_opts o, err *e)
{
    test_server *s = calloc(1, sizeof *s);
    s->o = o;
    s->o.path = MINIATURE;
    s->o.ready = on_ready;
    s->o.user = s;
    if (!s->o.http.host) s->o.http.host = "127.0.0.1";
    if (!s->o.engine.ctx) s->o.engine.ctx = 1024;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->ready, NULL);
    if (facet_model_open(&s->model, &(facet_model_opts){ .path = MINIATURE }, e) != FACET_OK) { free(s); return NULL; }
    pthread_create(&s->thread, NULL, serve, s);
    pthread_mutex_lock(&s->lock);
    while (s->port == 0) pthread_cond_wait(&s->ready, &s->lock);
    bool ok = s->port > 0;
    pthread_mutex_unlock(&s->lock);
    if (ok) return s;
    *e = s->e;
    test_server_stop(s);
    return NULL;
}

int test_server_port(const test_server *s) { return s->port; }

status test_server_stop(test_server *s)
{
    if (s->port > 0) kill(getpid(), SIGTERM);
    pthread_join(s->thread, NULL);
    status st = s->st;
    facet_model_close(s->model);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->ready);
    free(s);
    return st;
}

int test_server_setup(test_server **s, int *port, serve_opts o)
{
    err e = { 0 };
    *s = test_server_start(o, &e);
    if (!*s) { fprintf(stderr, "%s: %s\n", e.what, e.why); return -1; }
    if (port) *port = test_server_port(*s);
    return 0;
}

int test_server_teardown(test_server *s) { return test_server_stop(s) == OK ? 0 : -1; }
