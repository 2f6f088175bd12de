/* The attention cache.
 *
 * Both kinds of layer store blocks of 64 tokens, [block][head][64][d].
 *   full:    blocks come from a pool, a sequence's page table says which; a page number stands for that block in
 *            every full layer.  Pages are counted, so forked sequences share them; a shared last page is
 *            copied before it is written.
 *   sliding: every sequence has a ring of blocks per layer, longer than the window by one step and 16 tokens:
 *            so rows of a step still see their window, a failed step destroys nothing, and tokens can be taken back.
 * K = V layers store the normalised value once (architecture section 2.5).
 * Without a cache (training) a layer's K and V are plain arrays over the rows of the step. */
#ifndef FC_MODEL_KV_H
#define FC_MODEL_KV_H

#include "base/arena.h"
#include "dev/dev.h"
#include "model/gemma_config.h"

enum { KV_TAKE_BACK = 16 };      /* tokens that can always be taken back */

typedef struct kv_opts {
    dtype type;
    int32_t ctx, seq_max, row_max;
    bool keep_k;                 /* store K of K = V layers too */
    bool no_cache;
    bool marks;                  /* room for kv_mark */
} kv_opts;

typedef struct kv_seq {
    bool alive;
    int32_t length;              /* tokens that count */
    int32_t high;                /* one past the highest position ever written */
    int32_t oldest;              /* first position in the rings when the sequence was loaded */
    int32_t pages;               /* entries of table in use */
    int32_t last_block;          /* image block of the newest token, 0: none */
    int32_t mark;                /* a length to go back to, 0: none */
    int32_t mark_first;          /* first position that the rings had when it was set */
    bool mark_saved;             /* its rows are in marks: the rings have lost them */
    int32_t *table;              /* [pages_per_seq] */
} kv_seq;

typedef struct kv {
    kv_opts o;
    const gemma_config *config;
    int32_t pages_per_seq, ring_blocks;
    dev_kv *layers;              /* [L]; layers without K and V of their own are copies of their source's entry */
    kv_seq *seqs;                /* [seq_max] */
    uint8_t *marks;              /* rows of the rings at the sequences' marks (kv_mark.c) */
    int32_t *refs;               /* [seq_max * pages_per_seq] users of a page */
    int32_t *free_pages;         /* stack */
    int32_t free_count;
} kv;

/* Lays the cache out in data (tag MEM_KV) and its tables in small.  Both may be measuring. */
status kv_layout(kv *c, const gemma_config *g, const kv_opts *o, arena *data, arena *small, err *e);
/* After both arenas are real: every page is free. */
void   kv_start(kv *c);

status kv_seq_new(kv *c, int32_t *seq, err *e);
void   kv_seq_free(kv *c, int32_t seq);
bool   kv_seq_alive(const kv *c, int32_t seq);
/* Pages for n more tokens, the last one private to this sequence. Does not allocate; always succeeds within ctx. */
void   kv_reserve(kv *c, dev *d, int32_t seq, int32_t n);
/* The step succeeded: n more tokens count. / It failed: pages beyond the length go back. */
void   kv_commit(kv *c, int32_t seq, int32_t n, int32_t last_block);
void   kv_drop(kv *c, int32_t seq);
/* Also to the mark, and to the KV_TAKE_BACK tokens before it; a mark beyond the new length is dropped. */
status kv_take_back(kv *c, dev *d, int32_t seq, int32_t n, err *e);
status kv_fork(kv *c, dev *d, int32_t from, int32_t *to, err *e);

/* Where a sequence's tokens lie, for full and for sliding layers. */
dev_span kv_span(const kv *c, int32_t seq, bool full);

/* First position whose K and V are still in the rings. */
int32_t kv_ring_first(const kv *c, const kv_seq *s);

/* ---- the place to go back to (kv_mark.c) ---- */

size_t kv_mark_bytes(const kv *c);                                /* for one sequence; 0 without kv_opts.marks */
void   kv_mark(kv *c, int32_t seq);                               /* the present length; with kv_opts.marks only */
/* Before positions up to high are written: copies away what that would destroy. */
void   kv_mark_keep(kv *c, dev *d, int32_t seq, int32_t high);
/* Puts the rings back as they were at the mark, when that serves a sequence of this length. */
bool   kv_mark_return(kv *c, dev *d, int32_t seq, int32_t length);
void   kv_mark_drop(kv *c, int32_t seq);

/* The state of a sequence as bytes: header, rows of every layer with K and V, checksum. */
size_t kv_save_bytes(const kv *c, int32_t seq);
void   kv_save(const kv *c, dev *d, int32_t seq, uint8_t *out);
status kv_load(kv *c, dev *d, const uint8_t *p, size_t n, int32_t *seq, err *e);

#endif
