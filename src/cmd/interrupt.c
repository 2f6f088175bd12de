#include "cmd/interrupt.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

static _Atomic(facet_request *) watched;
static volatile sig_atomic_t seen;

static void on_signal(int number)
{
    facet_request *r = atomic_load(&watched);
    seen = number;
    if (r) facet_request_cancel(r);
}

void interrupt_watch(facet_request *r)
{
    /* after the first one the system's own handler is back: a second Ctrl-C always ends the program */
    struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART | (int)SA_RESETHAND };
    seen = 0;
    atomic_store(&watched, r);
    sigemptyset(&act.sa_mask);
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
}

bool interrupt_done(void)
{
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    atomic_store(&watched, NULL);
    return seen != 0;
}
