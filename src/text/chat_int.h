/* Writing a prompt, for the files that render its parts. */
#ifndef FC_TEXT_CHAT_INT_H
#define FC_TEXT_CHAT_INT_H

#include "text/chat.h"
#include "text/chat_value.h"

/* The template's own text is structure; whatever comes from the conversation is data. */
status chat_write_text(chat_prompt *p, const char *text, err *e);
status chat_write_data(chat_prompt *p, str text, err *e);
status chat_write_value(chat_prompt *p, const json_t *v, err *e);     /* {{ v }} */
status chat_write_upper(chat_prompt *p, const json_t *v, err *e);     /* {{ v | upper }} */
/* The template's format_argument: a value in Gemma's syntax; quote_keys: <|"|> around the keys of objects. */
status chat_write_argument(chat_prompt *p, const json_t *v, bool quote_keys, int depth, err *e);
/* "key:value,..." of an object with bare keys. */
status chat_write_fields(chat_prompt *p, const json_t *object, err *e);

status chat_tools_declaration(chat_prompt *p, const json_t *tool, err *e);
/* name must be a string: E_ARG otherwise, as the template cannot print it. */
status chat_tools_call(chat_prompt *p, const json_t *call, err *e);
status chat_tools_response(chat_prompt *p, const json_t *name, const json_t *response, err *e);

#endif
