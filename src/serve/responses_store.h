/* Answers of /v1/responses that can be read again and gone on from: in memory, bounded, the oldest go first. */
#ifndef FC_SERVE_RESPONSES_STORE_H
#define FC_SERVE_RESPONSES_STORE_H

#include "base/json.h"

enum { RESPONSES_STORE_MAX = 1000, RESPONSES_STORE_BYTES_MAX = 64 << 20 };

typedef struct responses_store responses_store;

typedef struct stored_response {
    json_t *response;                /* as it was answered */
    json_t *input;                   /* the items of its own input */
    json_t *items;                   /* everything said so far: earlier turns, its input, its output */
    size_t bytes;                    /* of all of them, written as JSON */
} stored_response;

/* *out owned: responses_store_free. */
status responses_store_new(responses_store **out, err *e);
void   responses_store_free(responses_store *s);
/* Takes references of its own; r->bytes is counted here.  Not kept when it is larger than all there is room for, or when
 * memory is short. */
void   responses_store_put(responses_store *s, uint64_t scope, const stored_response *r);
/* NULL: not there, or another's.  Borrowed until the next put or delete. */
const stored_response *responses_store_find(const responses_store *s, uint64_t scope, const char *id);
/* An item of any response that is there.  Borrowed likewise. */
json_t *responses_store_item(const responses_store *s, uint64_t scope, const char *id);
bool   responses_store_delete(responses_store *s, uint64_t scope, const char *id);
size_t responses_store_count(const responses_store *s, size_t *bytes);

#endif
