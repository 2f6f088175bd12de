/* JSON values as the official templates see them: Python objects under Jinja's rules.  NULL is Jinja's "undefined".
 *
 * An integer too large for JSON readers in C travels as a string: a NUL character, then its digits (chat_value_read). */
#ifndef FC_TEXT_CHAT_VALUE_H
#define FC_TEXT_CHAT_VALUE_H

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"

enum { CHAT_DEPTH_MAX = JSON_DEPTH_MAX };

/* json_parse that keeps integers of any size.  Text with an escaped NUL character is refused. */
status chat_value_read(json_t **out, str text, const char *what, err *e);

bool chat_value_is_text(const json_t *v);      /* a string, and not one of the large integers */
str  chat_value_text(const json_t *v);         /* of a string; borrowed; empty for anything else */
bool chat_value_true(const json_t *v);         /* Python's truth */
bool chat_value_is(const json_t *v, const char *text);
/* v[key] and v | upper == text, where v[key] of undefined is an error ("what" names v). */
status chat_value_item(const json_t *v, const char *key, const char *what, const json_t **out, err *e);
/* str(v): what {{ v }} prints. */
status chat_value_print(buf *out, const json_t *v, err *e);
status chat_value_upper(buf *out, const json_t *v, err *e);
/* list(v) for a loop: items of a list, keys of an object, characters of a string, nothing for undefined; anything else is
 * an error.  *out owned: json_decref. */
status chat_value_list(const json_t *v, const char *what, json_t **out, err *e);

/* v | dictsort: keys without regard to case, equal ones in their order in the object. */
typedef struct chat_entry { const char *key; const json_t *value; size_t lower, order; } chat_entry;
typedef struct chat_sorted { chat_entry *entries; size_t count; buf lower; } chat_sorted;
status chat_value_sort(chat_sorted *out, const json_t *object, err *e);
void   chat_value_sort_done(chat_sorted *s);

#endif
