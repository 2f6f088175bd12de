/* Events of requests from the engine's thread to the event loop's.
 *
 * The engine calls back on its own thread and waits meanwhile, so there an event is only copied into a list and the loop woken
 * through a descriptor.  Everything else here is called on the loop's thread. */
#ifndef FC_SERVE_TURN_H
#define FC_SERVE_TURN_H

#include "base/err.h"

struct event_base;
typedef struct turns turns;
typedef struct turn turn;

/* A copy of what the engine said. */
typedef struct turn_event {
    struct turn_event *next;
    facet_event_kind kind;
    const char *text; size_t n;      /* THOUGHT, ANSWER; CALL: the arguments */
    const char *name;                /* CALL */
    int32_t index;                   /* CALL */
    int32_t done, total;             /* PROGRESS */
    int32_t tokens;                  /* of the answer so far */
    facet_logprob token;             /* TOKEN */
    const facet_logprob *top; int32_t top_count;
} turn_event;

/* Called on the loop's thread when events wait in t. */
typedef void (*turn_fn)(void *user, turn *t);

/* *out owned: turns_free, when no turn is left. */
status turns_new(turns **out, struct event_base *base, err *e);
void   turns_free(turns *all);
/* Hands out what waits, without the loop: after the engine has stopped. */
void   turns_flush(turns *all);

/* Takes r, also on failure, and submits it.  *out: until turn_free. */
status turn_start(turn **out, turns *all, facet_request *r, turn_fn fn, void *user, err *e);
/* The next event, or NULL: none now.  Owned: turn_event_free.  FACET_DONE comes last, its result in turn_result. */
turn_event *turn_next(turn *t);
void   turn_event_free(turn_event *ev);
const facet_result *turn_result(const turn *t);
/* Keywords of its schemas that are not enforced: facet_request_unenforced. */
const char *turn_unenforced(const turn *t);
void   turn_cancel(turn *t);
/* Only after FACET_DONE was taken. */
void   turn_free(turn *t);

#endif
