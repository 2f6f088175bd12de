/* Ollama's requests in the form that ask_conversation takes.  No server here: the fuzzer reads them too. */
#ifndef FC_SERVE_OLLAMA_READ_H
#define FC_SERVE_OLLAMA_READ_H

#include "serve/ask.h"

/* options, logprobs, think, format.  *num_ctx: most tokens of prompt and answer together; stays as it is when not given. */
bool ollama_read_options(ask *a, const json_t *body, int64_t *num_ctx, refusal *r);
/* messages of a chat.  *out owned: a list, empty when there are none (the client only wants the model loaded). */
bool ollama_read_messages(const json_t *body, json_t **out, refusal *r);
/* Of generate: the fields that no model of ours can follow are refused. *prompt is borrowed, NULL when empty. */
bool ollama_read_prompt(const json_t *body, const json_t **prompt, bool *raw, refusal *r);
/* system and prompt as turns that follow those of `before` (a list or NULL).  *out owned. */
bool ollama_read_turns(const json_t *body, const json_t *prompt, const json_t *before, json_t **out, refusal *r);

#endif
