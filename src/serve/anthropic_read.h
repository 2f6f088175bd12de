#ifndef FC_SERVE_ANTHROPIC_READ_H
#define FC_SERVE_ANTHROPIC_READ_H

#include "serve/ask.h"

/* "system" and "messages" as OpenAI's messages.  A system message in the middle stays where it is.  *out owned. */
bool anthropic_read_messages(const json_t *body, json_t **out, refusal *r);
/* "tools" as OpenAI's tools.  *out owned. */
bool anthropic_read_tools(const json_t *body, json_t **out, refusal *r);
/* "tool_choice": auto, any, tool, none, disable_parallel_tool_use.  After ask_conversation. */
bool anthropic_read_choice(const json_t *body, ask *a, refusal *r);
/* "output_config.format", or "output_format", its name before. */
bool anthropic_read_format(const json_t *body, ask *a, refusal *r);

#endif
