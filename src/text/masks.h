/* Which tokens lead on from a state of an automaton: masks over the vocabulary, kept as long as they may come again. */
#ifndef FC_TEXT_MASKS_H
#define FC_TEXT_MASKS_H

#include "text/automaton.h"
#include "text/trie.h"

typedef struct masks masks;

/* Both borrowed as long as it lives; all memory is taken here.  *out owned: masks_free. */
status masks_new(masks **out, const tok *t, const trie *x, err *e);
void   masks_free(masks *m);
/* Sets the bits of tokens after which the automaton can go on; the special token for the quote is one in calls. */
void   masks_add(masks *m, automaton *a, const automaton_state *s, uint64_t *bits);
/* Frames have new numbers: what was kept for the old ones goes. */
void   masks_forget(masks *m);

#endif
