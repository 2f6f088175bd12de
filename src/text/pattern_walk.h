/* Which plain tokens a pattern lets through from a state. */
#ifndef FC_TEXT_PATTERN_WALK_H
#define FC_TEXT_PATTERN_WALK_H

#include "text/regex.h"
#include "text/trie.h"

/* Sets their bits: tokens after which the pattern can still come to a match.  json: none with a character that JSON escapes,
 * otherwise none with NUL.  Longer pieces than TRIE_LENGTH_MAX are left out: they are no plain ones. */
void pattern_walk(const trie *x, const tok *t, const regex *r, uint32_t state, bool json, uint64_t *bits);

#endif
