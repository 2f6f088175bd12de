/* What an answer of /v1/responses is made of, whole and streamed: for the files of this dialect. */
#ifndef FC_SERVE_RESPONSES_H
#define FC_SERVE_RESPONSES_H

#include "serve/job.h"

/* job.extra of this dialect: { "fields": what of the request is said again in the answer, "input": its own items, "items": those
 * and the earlier turns', "output": items of the answer so far, "store": b }. */

/* Of job.step: number of the next event; what is being said; where in the thought or text it began. */
enum { RESPONSES_EVENT, RESPONSES_OPEN, RESPONSES_BEGIN };
enum { RESPONSES_NOTHING, RESPONSES_THOUGHT, RESPONSES_TEXT };

extern const dialect responses_dialect;

/* The response as it is now; state: "in_progress", ... .  Owned; NULL: out of memory. */
json_t *responses_object(const job *j, const char *state);
/* The whole response at its end, kept when that was asked for.  *state: what it came to.  Owned; NULL: out of memory. */
json_t *responses_finish(job *j, const char **state);
/* A new item at the end of the output, empty and in progress; borrowed.  NULL: out of memory.  call: of a function_call. */
json_t *responses_open_item(job *j, int kind, const json_t *call);
/* Gives the last item its content; false: out of memory. */
bool    responses_close_item(job *j, int kind, str text, json_t *logprobs);

#endif
