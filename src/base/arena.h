/* Bump allocator with marks for one lifetime (model, engine, request, step).
 *
 * A layout function takes an arena and carves its buffers from it.  With base == NULL the arena only
 * measures: pointers come back NULL and `used` says how many bytes the real one needs.  So the plan
 * and the allocation are one piece of code. */
#ifndef FC_BASE_ARENA_H
#define FC_BASE_ARENA_H

#include "base/err.h"
#include "base/mem.h"

typedef struct arena {
    char *base;   /* NULL: measuring */
    size_t size;  /* ignored while measuring */
    size_t used, peak;
} arena;

/* *out: n * size bytes, 64-byte aligned, borrowed from the arena; NULL while measuring.
 * E_NOMEM when full or when the arithmetic overflows. */
status arena_take(arena *a, void *out, size_t n, size_t size, err *e);
#define arena_array(a, p, n, e) arena_take((a), (p), (size_t)(n), sizeof **(p), (e))

static inline size_t arena_mark(const arena *a) { return a->used; }
static inline void arena_reset(arena *a, size_t mark) { a->used = mark; }

/* Allocates a measured size under one tag. */
status arena_init(arena *a, size_t size, mem_tag tag, err *e);
void arena_done(arena *a);

#endif
