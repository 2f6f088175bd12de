/* A vocabulary's plain pieces by the kinds of their characters: "the" and "any" are both three small letters.
 *
 * A pattern seldom tells one small letter from another, so what it lets through is found among 6,000 nodes of kinds where all
 * pieces have 600,000 (text/pattern_walk). */
#ifndef FC_TEXT_SHAPES_H
#define FC_TEXT_SHAPES_H

#include "text/trie_tree.h"

/* Kinds: ASCII stands for itself, but its letters and digits for their like.  From SHAPES_SPACE on a kind for each of the
 * SHAPES_SPACES white spaces beyond ASCII, which patterns name (\s, and the full stop for two of them). */
enum { SHAPES_SMALL = 'a', SHAPES_CAPITAL = 'A', SHAPES_DIGIT = '0', SHAPES_SPACE = 0x80, SHAPES_SPACES = 19, SHAPES_OTHER = 0xFF };

typedef struct shapes {
    trie_tree tree;               /* its bytes are kinds; count of a node may be cut off, its ids end where the next node's begin */
    uint32_t *mask_of;            /* [tree.count] of a node with many ids of its own: which of masks holds them, + 1; 0: none */
    bool *is_word;                /* [tree.count] letters and digits alone lead here */
    uint64_t *masks;
    uint64_t *short_words;        /* [TRIE_LENGTH_MAX + 1] masks: pieces of letters and digits, at most that many of them */
} shapes;

extern const uint32_t shapes_spaces[SHAPES_SPACES];      /* rising */

/* Of the pieces that have bit `class`: whole characters, at most TRIE_LENGTH_MAX of them.  words: 64-bit words of a mask.  *x: shapes_done, also after an error. */
status shapes_init(shapes *x, const trie_tree_piece *p, size_t n, int class, size_t words, err *e);
void   shapes_done(shapes *x);

#endif
