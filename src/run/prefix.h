/* The prefix cache: what finished and running requests leave for those that begin alike.
 *
 * Two things are remembered (gemma.h): pages of 64 tokens for the full layers, and states of the sliding windows at some lengths,
 * the checkpoints.  A request can start behind a prefix only where both are there, so the tree of pages holds nothing that does
 * not lead to a checkpoint: when the last one behind a page goes, so does the page.
 *
 *   root - [64 tokens] - [64 tokens] - [23 tokens]*        * a checkpoint at length 151, and one at 128
 *                    \*- [64 tokens] - [64 tokens]*        another conversation with the same beginning
 *
 * The tree compares tokens, never hashes.  A scope (an API key, a salt) has branches of its own at the root.  Everything lies in
 * memory that was taken at the start.  What is forgotten: see prefix_shrink.
 *
 * The engine's thread only.  It knows no requests. */
#ifndef FC_RUN_PREFIX_H
#define FC_RUN_PREFIX_H

#include "model/gemma.h"

/* Why a checkpoint is kept, by how likely it is that somebody goes on from there. */
typedef enum prefix_kind {
    PREFIX_REGULAR,             /* at regular distances */
    PREFIX_BORDER,              /* between turns */
    PREFIX_END,                 /* of an answer; also what lies at the end of a path or where several part */
    PREFIX_PROMPT               /* of a prompt: earlier ends on its path are only borders from now on */
} prefix_kind;

typedef struct prefix_node {
    int32_t page;               /* the model's */
    int32_t parent, child, next;   /* 0: none; children of a node are a list */
    int32_t at, count;          /* tokens before it and in it; only the last of a path has fewer than 64 */
    int32_t checkpoints;        /* that lie in it */
    int32_t same;               /* tokens that it shares with what was looked for in search number `seen` */
    uint64_t seen;
    uint64_t scope;             /* of children of the root */
} prefix_node;

typedef struct prefix_checkpoint {
    int32_t node;               /* 0: the place is free */
    int32_t length;             /* of the prefix; it ends in the node, at its last token at the latest */
    int32_t least;              /* length of the shortest prefix that it serves */
    uint64_t used;              /* of the cache's clock */
    prefix_kind kind;
    double when;                /* of its last use, in seconds */
    bool busy;                  /* somebody reads or fills its window state: it stays */
    bool stored;                /* on disk, or never to be */
} prefix_checkpoint;

typedef struct prefix {
    gemma_ctx *model;
    prefix_node *nodes;         /* [pages + 1]; 0 is the root */
    int32_t *tokens;            /* [pages + 1][64] */
    prefix_checkpoint *checkpoints;   /* [count]; number i is the model's window state i */
    int32_t *path;              /* [pages of a context] the pages of the last hit */
    int32_t count, free_node;   /* free nodes are a list by `next` */
    uint64_t clock, searches, chance;
    uint64_t evicted;
    int32_t held, kept;         /* nodes, checkpoints in use */
} prefix;

typedef struct prefix_hit {
    int32_t length;             /* a request can start behind so many of its tokens; 0: nothing helps */
    int32_t checkpoint;         /* with this window state and */
    const int32_t *pages;       /* these pages, valid until the next search */
    int32_t same;               /* so many tokens are in the tree, though there may be no checkpoint: others went on from here, too */
} prefix_hit;

/* pages, states: of the context, as in o.  a may be measuring. */
status prefix_layout(prefix *p, const gemma_ctx_opts *o, arena *a, err *e);
void   prefix_start(prefix *p, gemma_ctx *model, const gemma_ctx_opts *o);

/* The longest usable beginning of ids[0..n). */
prefix_hit prefix_find(prefix *p, uint64_t scope, const int32_t *ids, int32_t n);
/* It was used: it counts as new. */
void prefix_touch(prefix *p, const prefix_hit *h);

/* A checkpoint behind the first n tokens of a sequence, which are ids.  The least useful one makes room for it, or it
 * is not kept because it is that itself, or because the sequence's windows have moved on. */
void prefix_keep(prefix *p, uint64_t scope, const int32_t *ids, int32_t n, int32_t seq, prefix_kind kind);

/* A place for a window state that comes from elsewhere, of a prefix that begins like ids[0..n) and has `length` tokens: busy from now on.
 * -1: none is worth giving up for it.  Then prefix_insert, or prefix_free_place. */
int32_t prefix_take_place(prefix *p, uint64_t scope, const int32_t *ids, int32_t n, int32_t length);
void   prefix_free_place(prefix *p, int32_t place);
/* The place's state is there and so are the pages (held by the caller, who goes on holding them): a checkpoint behind ids[0..n).  False:
 * one is there already, or there is no room; the place is free again. */
bool   prefix_insert(prefix *p, uint64_t scope, const int32_t *ids, int32_t n, const int32_t *pages, int32_t place, prefix_kind kind);
/* The next one that is worth storing and was not used since `before`: the one that was used longest ago, or newest.  -1: none. */
int32_t prefix_find_unstored(const prefix *p, double before, bool newest);
/* Tokens [length] and pages of a checkpoint; returns its scope. */
uint64_t prefix_read(const prefix *p, int32_t i, int32_t *ids, int32_t *pages);

/* Forgets one checkpoint, and what leads only to it, so that a page becomes free; false: no page can.
 *
 * Which one is drawn by lot, in proportion to age * length, where age counts the requests since it was last used.  Least recently used
 * first would be the worst choice where users take turns: that one is the next to be asked for, and once there are a few more
 * conversations than the cache holds, nothing would ever be found.  So the deep ends of old conversations go first, and everybody keeps
 * a beginning; those that are too short for that stay or go by luck. */
bool prefix_shrink(prefix *p);
/* Pages that prefix_shrink can free, one after the other. */
int32_t prefix_pages(const prefix *p);

#endif
