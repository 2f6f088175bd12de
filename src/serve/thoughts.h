/* Thoughts that led to calls, by the ids of the calls.  Most clients do not send a thought back with its calls, and Gemma 4
 * wants it in the prompt until the turn is over.  Bounded in number, bytes and age: the oldest go first. */
#ifndef FC_SERVE_THOUGHTS_H
#define FC_SERVE_THOUGHTS_H

#include "base/json.h"

enum { THOUGHTS_MAX = 1000, THOUGHTS_BYTES_MAX = 16 << 20, THOUGHTS_SECONDS = 30 * 60 };

typedef struct thoughts thoughts;

/* *out owned: thoughts_free. */
status thoughts_new(thoughts **out, err *e);
void   thoughts_free(thoughts *t);
/* calls: a list of objects with an "id"; they share the text.  scope: whose they are.  now: in seconds, never going back.
 * Nothing is kept when memory is short. */
void   thoughts_add(thoughts *t, uint64_t scope, const json_t *calls, str text, double now);
/* The assistant's messages of a conversation that have calls but no thought get the one that led to them, as "reasoning".
 * False: out of memory. */
bool   thoughts_fill(thoughts *t, uint64_t scope, json_t *messages, double now);
/* How many calls, and the bytes of their thoughts. */
size_t thoughts_count(const thoughts *t, size_t *bytes);

#endif
