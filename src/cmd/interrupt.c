#include "cmd/interrupt.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

static _Atomic(void *) watched;
static void (*to_call)(void *);       /* set before the handler is */
static volatile sig_atomic_t seen;

static void on_signal(int number)
{
    void *user = atomic_load(&watched);
    seen = number;
    if (user) to_call(user);
}

static void cancel(void *r) { facet_request_cancel(r); }

void interrupt_watch(facet_request *r) { interrupt_call(cancel, r); }

void interrupt_call(void (*fn)(void *user), void *user)
{
    /* after the first one the system's own handler is back: a second Ctrl-C always ends the program */
    struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART | (int)SA_RESETHAND };
    seen = 0;
    to_call = fn;
    atomic_store(&watched, user);
    sigemptyset(&act.sa_mask);
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
}

bool interrupt_seen(void) { return seen != 0; }

bool interrupt_done(void)
{
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    atomic_store(&watched, NULL);
    return seen != 0;
}
