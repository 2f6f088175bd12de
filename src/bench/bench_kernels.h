/* Kernels alone, on one thread: products of every type and number of tokens, vector functions, attention.  Times are the
 * thread's own processor time, so that other work disturbs less; shares are of one thread's limits. */
#ifndef FC_BENCH_BENCH_KERNELS_H
#define FC_BENCH_BENCH_KERNELS_H

#include "bench/bench_machine.h"
#include "num/dtype.h"

typedef struct bench_kernel {
    const char *family, *what;   /* "avx512", "q4_0 6144x1536" */
    int32_t tokens;              /* of a product, else 0 */
    bench_stats seconds;         /* of one call */
    double gb_s;                 /* weights read from memory; 0 where they stay in the cache */
    double gops;                 /* operations, or elements for functions of one vector */
    bool elements;
    double share;                /* of the limit below, 0 where there is none to compare with */
    const char *limit;           /* "memory", "int8", "f32" */
} bench_kernel;

typedef struct bench_kernels_opts {
    uint32_t isa;                /* the highest family of the mask alone; 0: every one but the reference */
    dtype type;                  /* DTYPE_COUNT: all */
    double seconds;              /* for each; 0: 0.3 */
    void (*row)(void *user, const bench_kernel *k);
    void *user;
} bench_kernels_opts;

/* E_ARG when this machine has no such family, or it has no such kernel. */
status bench_kernels_run(const bench_kernels_opts *o, err *e);

#endif
