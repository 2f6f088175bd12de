/* Events to the terminal: the answer on standard output as it comes, thoughts dimmed, progress and figures on standard
 * error; or all of it collected, for --json and for a chat's history. */
#ifndef FC_CMD_SHOW_H
#define FC_CMD_SHOW_H

#include "base/buf.h"
#include "base/json.h"

typedef struct show {
    /* given by the caller */
    facet_request *request;
    bool quiet;                /* no progress, no figures */
    bool silent;               /* collect only */
    /* collected */
    buf thought, answer;
    json_t *calls, *logprobs;  /* arrays */
    facet_result result;
    /* private */
    bool terminal, color, thinking, progress;
    char last;                 /* last byte written to standard output */
    int write_errno;           /* of the first failed write; the request is cancelled then */
    bool no_memory;
} show;

status show_init(show *s, facet_request *r, bool quiet, bool silent, err *e);
void   show_done(show *s);
void   show_event(void *user, const facet_event *ev);     /* a facet_event_fn; user: show */
/* After the last event: ends the line; fails when something could not be written or kept. */
status show_finish(show *s, err *e);
/* "12 tokens of prompt, 0.1 s (120.0/s); ..." on standard error. */
void   show_figures(const show *s);
const char *show_finish_name(facet_finish f);             /* "stop", "length", "tool_calls", ... */

#endif
