/* Thread pool with persistent workers.  Passed as an argument, never global.
 *
 * Work is cut into n items by the caller, never by the number of threads, so results do not depend on
 * it.  Items are handed out in order; the calling thread works too.  A run costs about a microsecond
 * while workers are awake; they sleep after a tenth of a millisecond without work. */
#ifndef FC_OS_POOL_H
#define FC_OS_POOL_H

#include "base/err.h"

typedef struct pool pool;
/* worker: 0..threads-1, for per-thread scratch. */
typedef void (*pool_fn)(void *ctx, int64_t item, int worker);

/* threads: 1..256, counting the caller; 0 means one per usable core. */
status pool_new(pool **out, int threads, err *e);
void   pool_free(pool *p);
int    pool_threads(const pool *p);
/* Runs fn for item 0..n-1 and returns when all are done.  One caller at a time; not from inside fn.
 * p == NULL: on the calling thread alone. */
void   pool_run(pool *p, int64_t n, pool_fn fn, void *ctx);

#endif
