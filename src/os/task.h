/* A thread of ours: all of them begin here. */
#ifndef FC_OS_TASK_H
#define FC_OS_TASK_H

#include <pthread.h>

typedef struct task { pthread_t thread; void (*fn)(void *user); void *user; } task;

/* Calls fn on a new thread, which takes no signals: they are the program's.  t stays where it is until task_wait.  0, or an errno. */
int    task_start(task *t, void (*fn)(void *user), void *user);
/* Until fn has returned; what it wrote can be read then.  Once for each start. */
void   task_wait(task *t);

#endif
