/* 64-bit hash and a bytes -> int32 table (open addressing, borrowed keys). */
#ifndef FC_BASE_HASH_H
#define FC_BASE_HASH_H

#include "base/err.h"
#include "base/str.h"

uint64_t hash_bytes(const void *p, size_t n, uint64_t seed);

typedef struct hash_slot { str key; uint64_t hash; int32_t value; } hash_slot;
typedef struct hash_table { hash_slot *slots; size_t cap, count; } hash_table;   /* {0} is an empty table */

/* Room for n keys; the table is empty afterwards. */
status hash_init(hash_table *t, size_t n, err *e);
void   hash_done(hash_table *t);
/* Keys are borrowed and must outlive the table.  *out_old (may be NULL) gets the value already there
 * or -1; an existing key keeps its value.  Grows as needed. */
status hash_put(hash_table *t, str key, int32_t value, int32_t *out_old, err *e);
/* -1 when absent; values must be >= 0. */
int32_t hash_find(const hash_table *t, str key);

#endif
