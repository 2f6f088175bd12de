/* What a client asks for, whatever dialect it came in: a conversation or raw texts, and how to draw tokens.
 *
 * Dialects turn their messages and tools into those of OpenAI's chat completions; ask_conversation checks them and makes
 * of them what facet_request_conversation takes. */
#ifndef FC_SERVE_ASK_H
#define FC_SERVE_ASK_H

#include "serve/field.h"

enum { ASK_MESSAGES_MAX = 8192, ASK_PARTS_MAX = 256, ASK_TOOLS_MAX = 256, ASK_STOP_MAX = 16, ASK_N_MAX = 16, ASK_BIAS_MAX = 4096,
       ASK_PROMPTS_MAX = 16, ASK_LOGPROBS_MAX = 20 };

typedef struct ask {
    json_t *conversation;            /* owned; NULL for raw texts */
    json_t *prompts;                 /* owned; a list of texts and lists of ids */
    facet_sampling s;                /* its stop texts are borrowed from the body */
    facet_bias *bias;
    const char *stop[ASK_STOP_MAX];
    bool stream, usage;              /* usage: in a chunk of its own at the end of a stream */
    bool think;
    bool hide_thought;               /* think, but do not send the thought */
    bool one_call;                   /* stop after the first call */
    bool echo;                       /* raw texts: the answer begins with the prompt */
    int64_t n;                       /* answers to each prompt */
} ask;

/* The model's defaults.  ask_done afterwards, whatever happens. */
void ask_init(ask *a, const facet_model *m, bool think);
void ask_done(ask *a);

/* temperature, top_p, top_k, min_p, penalties, seed: the names of OpenAI's dialects and of other servers for it. */
bool ask_sampling(ask *a, const json_t *body, refusal *r);
bool ask_stop(ask *a, const json_t *body, const char *key, refusal *r);
bool ask_bias(ask *a, const json_t *body, int32_t vocab, refusal *r);
/* The first of these keys that is given is the limit; values beyond the context mean "until it is full". */
bool ask_limit(ask *a, const json_t *body, const char *const keys[], refusal *r);
/* reasoning_effort, reasoning, thinking, enable_thinking, chat_template_kwargs. */
bool ask_thinking(ask *a, const json_t *body, refusal *r);
/* "none", "minimal": off; "low" ... "max": on; anything else is refused. */
bool ask_effort(ask *a, const char *effort, const char *field, refusal *r);

/* messages: OpenAI's.  tools: OpenAI's or NULL; those that are no functions are left out.  Sets a->conversation. */
bool ask_conversation(ask *a, const json_t *messages, const json_t *tools, refusal *r);
/* tool_choice of OpenAI's dialects: "none" clears *tools. */
bool ask_tool_choice(const json_t *body, const json_t **tools, refusal *r);
/* response_format or text.format: everything but text is refused. */
bool ask_format(const json_t *format, const char *field, refusal *r);
/* The prompt of a completion: a text, ids, or a list of either. */
bool ask_prompts(ask *a, const json_t *prompt, refusal *r);

#endif
