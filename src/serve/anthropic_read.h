#ifndef FC_SERVE_ANTHROPIC_READ_H
#define FC_SERVE_ANTHROPIC_READ_H

#include "serve/ask.h"

/* "system" and "messages" as OpenAI's messages.  A system message in the middle stays where it is.  *out owned. */
bool anthropic_read_messages(const json_t *body, json_t **out, refusal *r);
/* "tools", unless "tool_choice" is none, as OpenAI's tools.  *out owned. */
bool anthropic_read_tools(const json_t *body, json_t **out, refusal *r);

#endif
