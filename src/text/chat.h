/* Gemma 4's chat format, natively (architecture.md section 8, file-formats section 7): conversations to prompts. */
#ifndef FC_TEXT_CHAT_H
#define FC_TEXT_CHAT_H

#include "base/buf.h"
#include "base/json.h"
#include "text/tok.h"

/* The two newest official templates differ in the empty thought of the large models. */
typedef enum chat_variant { CHAT_EDGE /* E2B, E4B */, CHAT_LARGE /* 12B, 26B-A4B, 31B */ } chat_variant;

/* Chooses the variant from a file's own template text (empty: none).  *known is false when the text is not one of
 * those met in the wild; then the variant comes from large_model. */
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
} chat_prompt;
void chat_prompt_done(chat_prompt *p);

/* messages: array of OpenAI-style messages; tools: array or NULL.  E_ARG (with the template's own reason) where the official
 * template raises an error. */
status chat_render(chat_prompt *out, const json_t *messages, const json_t *tools, const chat_opts *o, err *e);
/* {"messages", "tools", "enable_thinking", "preserve_thinking", "add_generation_prompt"} -> the above. */
status chat_render_conversation(chat_prompt *out, const json_t *conversation, chat_variant variant, err *e);
/* Ids of a prompt: structure with special tokens, content without. */
status chat_encode(const tok *t, const chat_prompt *p, tok_ids *out, err *e);

#endif
