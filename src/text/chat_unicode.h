/* What Python's str does to text, as far as the templates use it: upper, lower, strip, isprintable. */
#ifndef FC_TEXT_CHAT_UNICODE_H
#define FC_TEXT_CHAT_UNICODE_H

#include "base/buf.h"
#include "base/str.h"

/* Appends the text in upper or lower case.  (str.lower's other form of a final sigma is left out.) */
status chat_unicode_upper(buf *out, str s, err *e);
status chat_unicode_lower(buf *out, str s, err *e);
/* The text without white space at its ends (U+00A0, U+3000 and so on included). */
str    chat_unicode_trim(str s);
bool   chat_unicode_printable(uint32_t cp);

#endif
