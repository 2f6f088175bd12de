/* A vocabulary as trees of bytes: which tokens may follow is found by walking them with an automaton.
 *
 * Most pieces are plain: inside a string every one of them may come.  So there is a constant set of the plain ones and a
 * small tree of the others (2,287 nodes in place of 600,354 for JSON).  Read-only once made. */
#ifndef FC_TEXT_TRIE_H
#define FC_TEXT_TRIE_H

#include "text/tok.h"

/* Nodes in depth-first order: node i's first child is i + 1, what follows its subtree is nodes[i].skip. */
typedef struct trie_node { uint32_t skip, first; uint16_t count; uint8_t byte, depth; /* root's children: 0 */ } trie_node;
typedef struct trie_tree { trie_node *nodes; uint32_t count; int32_t *ids; /* [first .. first + count) of a node */ } trie_tree;

/* What a piece may be part of without meaning anything else. */
typedef enum trie_class {
    TRIE_JSON,          /* inside a JSON string: no quote, backslash or control character, whole characters */
    TRIE_CALL,          /* inside a string of Gemma's calls: whole characters but NUL */
    TRIE_BARE,          /* inside a bare key of those: letters, digits and _ - . $ / */
    TRIE_CLASS_COUNT
} trie_class;

enum { TRIE_LENGTH_MAX = 64, TRIE_DEPTH_MAX = 128 /* longer pieces are left out */ };

typedef struct trie {
    int32_t vocab;                /* tokens; masks have vocab bits */
    size_t words;                 /* 64-bit words of a mask */
    trie_tree all;
    trie_tree rest[TRIE_CLASS_COUNT];                /* the pieces that are not plain */
    uint64_t *plain[TRIE_CLASS_COUNT];               /* masks of the plain ones */
    uint64_t *text;               /* every piece, also those that are no whole characters */
    uint64_t *short_json, *short_call;               /* [TRIE_LENGTH_MAX + 1] masks: plain pieces of at most that many code points */
    int32_t longest;              /* code points of the longest plain piece, at most TRIE_LENGTH_MAX */
} trie;

/* Special tokens are in none of them, nor are byte tokens for which the vocabulary has an ordinary piece.
 * *out owned: trie_free.  t is not needed afterwards. */
status trie_new(trie **out, const tok *t, err *e);
void   trie_free(trie *x);
/* Bytes of a bare key in Gemma's call syntax that need no quotes. */
bool   trie_is_bare(unsigned char c);

#endif
