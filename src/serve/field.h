/* Reading the JSON of requests: every number has a range, every mistake is a refusal that names its field. */
#ifndef FC_SERVE_FIELD_H
#define FC_SERVE_FIELD_H

#include "base/json.h"

/* Why a request is not answered, as the client is told.  Functions that can refuse return false and fill it in. */
typedef struct refusal {
    int status;                  /* HTTP */
    int retry_seconds;           /* of 429 and 503: when to come back; 0: soon */
    const char *code;            /* "context_length_exceeded", or NULL */
    char field[64];              /* "messages[3].content", or "" */
    char text[640];
} refusal;

/* Returns false, so that a reader can return it.  field may be NULL. */
bool field_refuse(refusal *r, int http, const char *code, const char *field, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* From an error of the library. */
bool field_refuse_err(refusal *r, const err *e);

enum { FIELD_DEPTH_MAX = 64, FIELD_NODES_MAX = 1000000 };
/* A request's body: an object, at most so deep and so many values, texts without NUL; the last of equal keys wins.
 * *out owned: json_decref. */
bool field_parse(json_t **out, str body, refusal *r);

/* How many values a JSON text has, counted before anything is made of them: two bytes of text become a hundred of memory. */
size_t field_count(str text);

/* Each takes an absent or null field as not given: *out stays as it is. */
bool field_int(const json_t *o, const char *key, int64_t min, int64_t max, int64_t *out, refusal *r);
bool field_real(const json_t *o, const char *key, double min, double max, float *out, refusal *r);
bool field_bool(const json_t *o, const char *key, bool *out, refusal *r);
bool field_text(const json_t *o, const char *key, const char **out, refusal *r);     /* borrowed */
bool field_list(const json_t *o, const char *key, size_t max, const json_t **out, refusal *r);
bool field_object(const json_t *o, const char *key, const json_t **out, refusal *r);
/* The value, NULL when absent or null. */
const json_t *field_find(const json_t *o, const char *key);
/* "an object", "a string", ... */
const char *field_kind(const json_t *v);
/* Sets o[key] = v, which it takes; false when out of memory (v may be NULL then). */
bool field_put(json_t *o, const char *key, json_t *v);
/* A copy of an object or list that shares its values; NULL when out of memory, of which json_copy says nothing. */
json_t *field_copy(const json_t *v);
/* Compact JSON of v appended to b; false when out of memory or v is NULL. */
bool field_print(struct buf *b, const json_t *v);

#endif
