/* The attention cache.
 *
 * Both kinds of layer store blocks of 64 tokens, [block][head][64][d].
 *   full:    blocks come from a pool, a sequence's page table says which; a page number stands for that block in
 *            every full layer.  Pages are counted, so sequences and whoever remembers prefixes share them; a shared
 *            last page is copied before it is written.
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
    int32_t pages;               /* blocks of full layers in the pool; 0: seq_max whole contexts */
    int32_t states;              /* window states (kv_state.c) */
} kv_opts;

typedef struct kv_seq {
    bool alive;
    int32_t length;              /* tokens that count */
    int32_t high;                /* one past the highest position ever written */
    int32_t oldest;              /* first position in the rings when the sequence was loaded */
    int32_t pages;               /* entries of table in use */
    int32_t last_block;          /* image block of the newest token, 0: none */
    int32_t *table;              /* [pages_per_seq] */
} kv_seq;

/* What sliding layers need to go on behind a prefix. */
typedef struct kv_state {
    int32_t length;              /* of the prefix; 0: empty */
    int32_t first;               /* rows of [first, length) are kept */
    int32_t last_block;
} kv_state;

typedef struct kv {
    kv_opts o;
    const gemma_config *config;
    int32_t pages_per_seq, ring_blocks;
    dev_kv *layers;              /* [L]; layers without K and V of their own are copies of their source's entry */
    kv_seq *seqs;                /* [seq_max] */
    kv_state *states;            /* [o.states] */
    uint8_t *state_rows;         /* [o.states][kv_state_bytes] */
    int32_t *refs;               /* [o.pages] users of a page */
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
/* How many free pages kv_reserve will take. */
int32_t kv_pages_wanted(const kv *c, int32_t seq, int32_t n);
/* Pages for n more tokens, the last one private to this sequence. Does not allocate; within ctx it succeeds when there are
 * kv_pages_wanted free pages. */
void   kv_reserve(kv *c, dev *d, int32_t seq, int32_t n);
/* The step succeeded: n more tokens count. / It failed: pages beyond the length go back. */
void   kv_commit(kv *c, int32_t seq, int32_t n, int32_t last_block);
void   kv_drop(kv *c, int32_t seq);
status kv_take_back(kv *c, int32_t seq, int32_t n, err *e);
status kv_fork(kv *c, dev *d, int32_t from, int32_t *to, err *e);

/* Where a sequence's tokens lie, for full and for sliding layers. */
dev_span kv_span(const kv *c, int32_t seq, bool full);

/* First position whose K and V are still in the rings. */
int32_t kv_ring_first(const kv *c, const kv_seq *s);

/* ---- prefixes that outlive their sequence (kv_state.c) ---- */

/* One more, or one less, user of a page. */
void   kv_page_hold(kv *c, int32_t page);
void   kv_page_drop(kv *c, int32_t page);

/* Page i of a sequence, whole, gives way to another one with the same bits. */
void   kv_page_share(kv *c, int32_t seq, int32_t i, int32_t page);

int32_t kv_page_take(kv *c);                                      /* a free one, which there must be; the caller is its only user */
int32_t kv_state_len(const kv *c);                                /* most rows of a layer in a state */
int32_t kv_state_least(const kv *c, int32_t length, int32_t first);   /* shortest prefix that rows [first, length) serve */
size_t kv_state_bytes(const kv *c);                               /* rows of one state */
/* The windows behind the first length tokens, as long as the rings still have them: always after a step for the positions
 * that it added.  Returns the shortest prefix that it serves: KV_TAKE_BACK less, or what the rings have; 0: not even length. */
int32_t kv_state_save(kv *c, dev *d, int32_t seq, int32_t length, int32_t state);
/* A new sequence of length tokens: pages[] for its full layers, all of them shared, and a state saved of the same tokens:
 * length lies between the shortest prefix that it serves and its own. */
status kv_resume(kv *c, dev *d, const int32_t *pages, int32_t state, int32_t length, int32_t *seq, err *e);

/* Of everything that gives the cache's bytes their meaning: layers, windows, types. */
uint64_t kv_fingerprint(const kv *c);
/* The state of a sequence as bytes: header, rows of every layer with K and V, checksum. */
size_t kv_save_bytes(const kv *c, int32_t seq);
void   kv_save(const kv *c, dev *d, int32_t seq, uint8_t *out);
status kv_load(kv *c, dev *d, const uint8_t *p, size_t n, int32_t *seq, err *e);

#endif
