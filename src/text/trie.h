/* A vocabulary as trees of bytes: which tokens may follow is found by walking them with an automaton.
 *
 * Most pieces are plain: inside a string every one of them may come.  So there is a constant set of the plain ones and a
 * small tree of the others (2,287 nodes in place of 600,354 for JSON).  Read-only once made, but for its store of masks. */
#ifndef FC_TEXT_TRIE_H
#define FC_TEXT_TRIE_H

#include "text/pattern_store.h"
#include "text/shapes.h"
#include "text/tok.h"

/* What a piece may be part of without meaning anything else. */
typedef enum trie_class {
    TRIE_JSON,          /* inside a JSON string: no quote, backslash or control character, whole characters */
    TRIE_CALL,          /* inside a string of Gemma's calls: whole characters but NUL */
    TRIE_BARE,          /* inside a bare key of those: letters, digits and _ - . $ / */
    TRIE_CLASS_COUNT
} trie_class;

typedef struct trie {
    int32_t vocab;                /* tokens; masks have vocab bits */
    size_t words;                 /* 64-bit words of a mask */
    trie_tree all;
    trie_tree rest[TRIE_CLASS_COUNT];                /* the pieces that are not plain */
    uint64_t *plain[TRIE_CLASS_COUNT];               /* masks of the plain ones */
    /* rest[TRIE_JSON] by what a JSON string makes of a piece: */
    trie_tree closing;            /* it ends the string after plain characters; the tree is of what begins with its quote */
    uint8_t *closing_before;      /* [ids of closing] how many those are */
    trie_tree quoting;            /* it has a quote behind something that is not plain */
    trie_tree odd;                /* it has no quote */
    trie_tree escaped;            /* pieces that end a JSON string when they come behind a backslash */
    trie_tree colon;              /* of rest[TRIE_BARE], bare characters and a colon behind them; the tree is of what begins with it */
    uint8_t *colon_before;        /* [ids of colon] how many those are */
    shapes shapes;                /* of the pieces that are plain in calls */
    uint64_t *text;               /* every piece, also those that are no whole characters */
    uint64_t *short_json, *short_call;               /* [TRIE_LENGTH_MAX + 1] masks: plain pieces of at most that many code points */
    pattern_store *patterns;
    int32_t longest;              /* code points of the longest plain piece, at most TRIE_LENGTH_MAX */
} trie;

/* Special tokens are in none of them, nor are byte tokens for which the vocabulary has an ordinary piece.
 * *out owned: trie_free.  t is not needed afterwards. */
status trie_new(trie **out, const tok *t, err *e);
void   trie_free(trie *x);
/* Bytes of a bare key in Gemma's call syntax that need no quotes. */
bool   trie_is_bare(unsigned char c);

#endif
