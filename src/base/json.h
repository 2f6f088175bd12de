/* Thin helpers on jansson: parsing with size and depth limits, typed getters whose errors name the path. */
#ifndef FC_BASE_JSON_H
#define FC_BASE_JSON_H

#include <jansson.h>

#include "base/err.h"
#include "base/str.h"

enum { JSON_DEPTH_MAX = 256, JSON_BYTES_MAX = 256 << 20 };

/* Makes jansson allocate through base/mem.  For programs and tests, at their start and before any json_t exists;
 * harmless when repeated.  The library itself must not call it: an embedder may use jansson too. */
void json_use_mem(void);
/* *out owned: json_decref.  The error says `what`, line, column and reason.  Duplicate keys are refused when
 * strict.  Object order is kept. */
status json_parse(json_t **out, str text, const char *what, bool strict, err *e);

/* Getters on an object.  `where` names the object for messages ("config.json: text_config").  A missing key
 * (or null) gives the default for the *_or form and E_FORMAT for the other. */
status json_need_i64(const json_t *o, const char *key, const char *where, int64_t min, int64_t max, int64_t *out, err *e);
status json_i64_or(const json_t *o, const char *key, const char *where, int64_t min, int64_t max, int64_t fallback, int64_t *out, err *e);
status json_f64_or(const json_t *o, const char *key, const char *where, double fallback, double *out, err *e);
status json_bool_or(const json_t *o, const char *key, const char *where, bool fallback, bool *out, err *e);
/* Borrowed text, NULL when absent or null. */
status json_str_or_null(const json_t *o, const char *key, const char *where, const char **out, err *e);
/* Appends j as text; flags: jansson's (JSON_INDENT(2), JSON_COMPACT). */
struct buf;
status json_print(struct buf *b, const json_t *j, size_t flags, err *e);
/* Appends s as a JSON string with quotes. Invalid UTF-8 becomes U+FFFD. */
status json_quote(struct buf *b, str s, err *e);

#endif
