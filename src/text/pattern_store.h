/* Masks of patterns' states, kept for all requests of a model: a mask of a wide state takes a walk through much of the
 * vocabulary, and the same schemas come again.  Any thread may call; what is oldest makes room.  All memory is taken at the start:
 * masks are made between two tokens. */
#ifndef FC_TEXT_PATTERN_STORE_H
#define FC_TEXT_PATTERN_STORE_H

#include "base/str.h"

enum {
    PATTERN_STORE_MASKS = 256,      /* of 32 KB with Gemma's vocabulary */
    PATTERN_STORE_KEY_MAX = 1152    /* bytes: the longest pattern and the limits beside it */
};

typedef struct pattern_store pattern_store;

/* words: 64-bit words of a mask.  NULL: out of memory. */
pattern_store *pattern_store_new(size_t words);
void pattern_store_free(pattern_store *p);
/* Adds the mask of a state to bits.  key: names the pattern and what else its masks depend on.  False: not kept. */
bool pattern_store_find(pattern_store *p, str key, uint32_t state, uint64_t *bits);
/* Keeps a copy, unless the key is too long. */
void pattern_store_keep(pattern_store *p, str key, uint32_t state, const uint64_t *mask);

#endif
