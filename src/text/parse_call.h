/* The text of one tool call: call:NAME{key:value,...} in Gemma's syntax, and what models write in its place. */
#ifndef FC_TEXT_PARSE_CALL_H
#define FC_TEXT_PARSE_CALL_H

#include "base/buf.h"
#include "base/str.h"

/* Stands for the token <|"|> in the text: a byte that UTF-8 never has. */
#define PARSE_QUOTE '\xFF'
enum { PARSE_DEPTH_MAX = 64, PARSE_NAME_MAX = 256 };

/* text: UTF-8 without NUL, plus PARSE_QUOTE.  *ok false: it is no call; nothing is said about the outputs then.
 * *name is borrowed from text; json (cleared first) gets the arguments as compact JSON. O(n). */
status parse_call_read(str text, str *name, buf *json, bool *ok, err *e);
/* Appends the text with each PARSE_QUOTE spelled out. */
status parse_call_spell(buf *out, str text, err *e);

#endif
