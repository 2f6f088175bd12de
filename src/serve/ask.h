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
    const char *source;              /* the list that the messages were made of, for refusals; NULL: "messages" */
    const json_t *at;                /* for each message its number in that list, -1: it comes from elsewhere; NULL: they are the list */
    facet_sampling s;                /* its stop texts are borrowed from the body */
    facet_bias *bias;
    const char *stop[ASK_STOP_MAX];
    bool stream, usage;              /* usage: in a chunk of its own at the end of a stream */
    bool think;
    int32_t think_budget;            /* most tokens of the thought; -1: no limit */
    bool preserve_thinking;          /* thoughts of earlier turns that led to calls stay in the prompt */
    bool hide_thought;               /* think, but do not send the thought */
    json_t *schema;                  /* owned; what the answer must be, or NULL: any object when `json`, any text otherwise */
    bool json, strict;
    const char *format_field;        /* where it was asked for: "response_format" */
    facet_tool_choice choice;
    const char *named;               /* the function that must be called, or NULL; borrowed from the body */
    bool one_call;                   /* no second call after the first */
    bool old_calls;                  /* functions were declared in the way before tools, and calls are given out so */
    bool echo;                       /* raw texts: the answer begins with the prompt */
    int64_t n;                       /* answers to each prompt */
    uint64_t salt;                   /* of cache_salt; 0: none */
    char adapter[128];               /* that answers; "": the model itself */
} ask;

/* The model's defaults; think and its budget (0: no limit, as in serve_opts): unless the request says otherwise.  ask_done afterwards, whatever happens. */
void ask_init(ask *a, const facet_model *m, bool think, int32_t think_budget);
void ask_done(ask *a);

/* cache_salt, temperature, top_p, top_k, min_p, penalties, seed: the names of OpenAI's dialects and of other servers for it. */
bool ask_sampling(ask *a, const json_t *body, refusal *r);
bool ask_stop(ask *a, const json_t *body, const char *key, refusal *r);
bool ask_bias(ask *a, const json_t *body, int32_t vocab, refusal *r);
/* The first of these keys that is given is the limit; values beyond the context mean "until it is full". */
bool ask_limit(ask *a, const json_t *body, const char *const keys[], refusal *r);
/* reasoning_effort, reasoning, thinking_budget and its other names, thinking, enable_thinking, chat_template_kwargs. */
bool ask_thinking(ask *a, const json_t *body, refusal *r);
/* thinking: { "type", "budget_tokens", "display" } of Anthropic's clients. */
bool ask_thinking_object(ask *a, const json_t *body, refusal *r);
/* "none", "minimal": off; "low" ... "max": on, with the budget that goes with it; anything else is refused. */
bool ask_effort(ask *a, const char *effort, const char *field, refusal *r);
/* The budget alone: whether to think is said elsewhere. */
bool ask_effort_budget(ask *a, const char *effort, const char *field, refusal *r);
/* o[key] tokens for the thought; 0: no thought. */
bool ask_budget(ask *a, const json_t *o, const char *key, refusal *r);

/* messages: OpenAI's.  tools: OpenAI's or NULL; those that are no functions are left out.  Sets a->conversation. */
bool ask_conversation(ask *a, const json_t *messages, const json_t *tools, refusal *r);
/* tool_choice of OpenAI's dialects: a word, a function, allowed_tools (the others are not declared then).  After ask_conversation. */
bool ask_tool_choice(ask *a, const json_t *choice, refusal *r);
/* functions: OpenAI's way before tools, those in the form of tools; *out stays as it is without, owned otherwise. */
bool ask_functions(ask *a, const json_t *body, json_t **out, refusal *r);
/* function_call: the choice that went with them.  After ask_conversation. */
bool ask_function_choice(ask *a, const json_t *body, refusal *r);
/* What other dialects' words for it come to; refuses what cannot be called.  After ask_conversation. */
bool ask_choose(ask *a, facet_tool_choice choice, const char *named, refusal *r);
/* response_format, text.format, output_config.format: text, json_object, json_schema, with the schema beside the type or in an
 * object "json_schema".  field: its name, for refusals, now and later; must live as long as the ask. */
bool ask_format(ask *a, const json_t *format, const char *field, refusal *r);
/* The prompt of a completion: a text, ids, or a list of either. */
bool ask_prompts(ask *a, const json_t *prompt, refusal *r);

#endif
