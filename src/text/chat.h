/* Gemma 4's chat format, natively (architecture.md section 8, file-formats section 7): conversations to prompts. */
#ifndef FC_TEXT_CHAT_H
#define FC_TEXT_CHAT_H

#include "base/buf.h"
#include "base/json.h"
#include "text/tok.h"

/* The two newest official templates differ in the empty thought of the large models. */
typedef enum chat_variant { CHAT_EDGE /* E2B, E4B */, CHAT_LARGE /* 12B, 26B-A4B, 31B */ } chat_variant;

/* Chooses the variant from a file's own template text (empty: none).  *known (may be NULL) is false when the text is not
 * one of those met in the wild; then the variant comes from large_model. */
chat_variant chat_variant_of(str template_text, bool large_model, bool *known);

typedef struct chat_opts {
    chat_variant variant;
    bool think;                  /* enable_thinking */
    bool preserve_thinking;
    bool generation_prompt;      /* add_generation_prompt */
} chat_opts;

/* A prompt is a list of spans: structure (special tokens are recognised) and content (never). */
typedef struct chat_span { size_t begin, end; bool structure; } chat_span;
typedef struct chat_prompt {
    buf text;
    chat_span *spans; size_t span_count, span_cap;
    size_t last;                 /* where the text of the last message begins, behind what opens its turn */
} chat_prompt;                   /* {0} is empty */
void chat_prompt_done(chat_prompt *p);

/* messages: array of OpenAI-style messages; tools: array or NULL.  Appends to *out what the official template prints.
 * E_ARG (with the template's own reason) where it raises an error; a string as a call's arguments is one: see
 * chat_normalise.  What was appended before an error stays. */
status chat_render(chat_prompt *out, const json_t *messages, const json_t *tools, const chat_opts *o, err *e);
/* The JSON text of a conversation: {"messages", "tools", "enable_thinking", "preserve_thinking", "add_generation_prompt"}.
 * Integers keep all their digits.  *out owned: json_decref. */
status chat_read(json_t **out, str text, const char *what, err *e);
status chat_render_conversation(chat_prompt *out, const json_t *conversation, chat_variant variant, err *e);
/* For a prompt that the model is to answer: the official templates open no turn after an assistant message that has
 * both text and answered calls; this appends the generation prompt when the text ends in a closed turn. */
status chat_open_turn(chat_prompt *p, const chat_opts *o, err *e);

/* Messages as OpenAI's clients send them in the form that the template takes: string arguments become objects,
 * "developer" is "system", "function" is "tool", reasoning_text is reasoning.  *out owned: json_decref.  E_ARG for arguments
 * that are no JSON object. */
status chat_normalise(json_t **out, const json_t *messages, err *e);

/* Ids of a prompt: structure with special tokens, content without. */
status chat_encode(const tok *t, const chat_prompt *p, tok_ids *out, err *e);
/* The same of the part [begin, end) of its text, as if it stood alone. */
status chat_encode_part(const tok *t, const chat_prompt *p, size_t begin, size_t end, tok_ids *out, err *e);

#endif
