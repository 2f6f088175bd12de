/* Masks of constrained answers alone, on one thread: how long a schema takes to compile, and the mask and the step of every
 * token of answers that fit it.  Every answer begins with nothing kept, as a request does. */
#ifndef FC_BENCH_BENCH_MASKS_H
#define FC_BENCH_BENCH_MASKS_H

#include "bench/bench_stats.h"
#include "text/trie.h"

typedef struct bench_masks {
    const char *what;            /* "nested arrays", "all" */
    double compile_s;            /* schema to the grammar of a request; of "all": the longest */
    bench_stats mask, accept;    /* seconds for one token */
    double mask_p99, accept_p99;
} bench_masks;

typedef struct bench_masks_opts {
    const tok *tok;
    int answers;                 /* drawn at random for each schema, besides the written ones */
    void (*row)(void *user, const bench_masks *m);
    void *user;
} bench_masks_opts;

/* Each schema, then all together.  E_UNSUPPORTED: the vocabulary has no tokens for tool calls. */
status bench_masks_run(const bench_masks_opts *o, err *e);

#endif
