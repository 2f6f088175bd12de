#include "os/task.h"

#include <signal.h>

static void *run(void *user)
{
    task *t = user;
    t->fn(t->user);
    return NULL;
}

int task_start(task *t, void (*fn)(void *user), void *user)
{
    sigset_t all, old;
    t->fn = fn;
    t->user = user;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int failed = pthread_create(&t->thread, NULL, run, t);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return failed;
}

void task_wait(task *t) { pthread_join(t->thread, NULL); }
