/* Regular expressions of JSON Schema (ECMA-262, as far as they are regular) as automata over code points.
 *
 * Matching is by a table, so it takes the same time whatever the pattern.  Look-around, word borders, back references and
 * \p{...} are not regular or not here: E_UNSUPPORTED by name.  States that cannot reach a match are cut away, so every
 * state that is left can be completed. */
#ifndef FC_TEXT_REGEX_H
#define FC_TEXT_REGEX_H

#include "base/str.h"

enum { REGEX_DEAD = 0, REGEX_START = 1, REGEX_STATES_MAX = 4096, REGEX_PATTERN_MAX = 1024 };

typedef struct regex {
    uint32_t states, classes;      /* state 0 is dead, 1 the start; class c: code points bounds[c] .. bounds[c + 1] - 1 */
    uint32_t *bounds;              /* [classes + 1], the last is 0x110000 */
    uint16_t ascii[128];           /* class of a code point */
    uint16_t *next;                /* [states, classes] */
    uint16_t *left;                /* [states] fewest code points until a match; 0: matches here */
    uint16_t *safe;                /* [states] so many code points, whatever they are, do not lead to 0; UINT16_MAX: any number */
    bool *all;                     /* [states] whatever follows matches */
    str name;                      /* what it was made from, for those who keep results; borrowed, set by the maker */
} regex;

/* A match anywhere in the text, as in JSON Schema.  *out owned: regex_free.  E_ARG: no regular expression; E_UNSUPPORTED: not
 * regular, or too large.  *work: steps of about ten nanoseconds that may be taken; what was taken goes off it. */
status regex_new(regex **out, str pattern, int64_t *work, err *e);
/* Texts of min to max code points. */
status regex_new_length(regex **out, uint32_t min, uint32_t max, err *e);
/* Texts that match both.  E_UNSUPPORTED: too many states.  *work: as above. */
status regex_and(regex **out, const regex *a, const regex *b, int64_t *work, err *e);
void   regex_free(regex *r);
/* True when no text matches. */
bool   regex_empty(const regex *r);

static inline uint32_t regex_class(const regex *r, uint32_t cp)
{
    if (cp < 128) return r->ascii[cp];
    uint32_t lo = 0, hi = r->classes;
    while (hi - lo > 1) {
        uint32_t mid = (lo + hi) / 2;
        if (r->bounds[mid] <= cp) lo = mid; else hi = mid;
    }
    return lo;
}
static inline uint32_t regex_step(const regex *r, uint32_t state, uint32_t cp) { return r->next[state * r->classes + regex_class(r, cp)]; }
/* Some code point of lo..hi leads on. */
bool regex_step_any(const regex *r, uint32_t state, uint32_t lo, uint32_t hi);
/* The first code point on a shortest way to a match; state must have left > 0. */
uint32_t regex_shortest(const regex *r, uint32_t state);

#endif
