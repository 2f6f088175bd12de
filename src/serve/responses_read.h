#ifndef FC_SERVE_RESPONSES_READ_H
#define FC_SERVE_RESPONSES_READ_H

#include "serve/ask.h"
#include "serve/responses_store.h"

/* "input" of a request as a list of whole items: a text is one message; each has an id, a type and a status, the content of
 * messages is parts.  References become what they refer to.  *out owned. */
bool responses_read_input(const json_t *body, const responses_store *store, uint64_t scope, json_t **out, refusal *r);
/* Items as OpenAI's messages, "instructions" before them: a thought, a text and calls that follow each other are one message.
 * The first `before` items are earlier turns'.  *at (owned): for each message the number in "input" of what it was made of,
 * -1 for others.  *out owned. */
bool responses_read_messages(const json_t *body, const json_t *items, size_t before, json_t **out, json_t **at, refusal *r);
/* "tools" in the form of chat completions; those that are no functions are left out.  *out owned. */
bool responses_read_tools(const json_t *body, json_t **out, refusal *r);

#endif
