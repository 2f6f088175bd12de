/* Pieces as a tree of bytes. */
#ifndef FC_TEXT_TRIE_TREE_H
#define FC_TEXT_TRIE_TREE_H

#include "base/err.h"
#include "base/str.h"

enum { TRIE_LENGTH_MAX = 64, TRIE_DEPTH_MAX = 128 /* longer pieces are left out */ };

/* Nodes in depth-first order: node i's first child is i + 1, what follows its subtree is nodes[i].skip. */
typedef struct trie_node { uint32_t skip, first; uint16_t count; uint8_t byte, depth; /* root's children: 0 */ } trie_node;
typedef struct trie_tree {
    trie_node *nodes; uint32_t count;   /* and one more, whose first is the number of ids */
    int32_t *ids;                 /* [first .. first + count) of a node; of a subtree [nodes[i].first .. nodes[nodes[i].skip].first) */
    uint32_t roots[256];          /* node of each first byte; count: none */
} trie_tree;

/* plain: bits of the classes in which it is plain; length: code points. */
typedef struct trie_tree_piece { str s; int32_t id; uint8_t plain; int32_t length; } trie_tree_piece;

/* Pieces of which bit `skip` is not set (-1: all); they come in order.  *t: trie_tree_done, also after an error. */
status trie_tree_build(trie_tree *t, const trie_tree_piece *p, size_t n, int skip, err *e);
void   trie_tree_done(trie_tree *t);
/* Order of bytes, then of ids, for qsort. */
int    trie_tree_order(const void *a, const void *b);

#endif
