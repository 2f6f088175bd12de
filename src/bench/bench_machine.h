/* The limits of a machine: what memory, arithmetic and disk give to loops that do nothing else (kern/peak.h).
 *
 * Every number is a median of many short rounds.  Rounds lie in windows of a fifth of a second; windows in which
 * something else used the processor are thrown away and repeated, as long as that leads to anything. */
#ifndef FC_BENCH_BENCH_MACHINE_H
#define FC_BENCH_BENCH_MACHINE_H

#include "base/err.h"
#include "bench/bench_stats.h"

enum { BENCH_COUNTS_MAX = 10, BENCH_SAMPLES_MAX = 4096 };

typedef struct bench_limit {
    double rate;                 /* median: bytes or operations a second; 0: not measured */
    double spread;
    const char *how;             /* the loop that was best */
} bench_limit;

typedef struct bench_limits { int threads; bench_limit read, int8, bf16, f32; } bench_limits;

typedef struct bench_machine {
    int count;
    bench_limits by[BENCH_COUNTS_MAX];   /* 1, 2, 4, ... threads; the last one has all that were asked for */
    size_t read_bytes;                   /* of the memory that was read */
    int windows, disturbed;              /* windows thrown away or used in spite of others */
    bool noisy;                          /* some number rests on disturbed windows: nothing better was to be had */
    double others;                       /* cores that something else used, on average */
} bench_machine;

typedef struct bench_machine_opts {
    int threads;                 /* 0: one per core */
    uint32_t isa;                /* mask, 0: all */
    double seconds;              /* of each measurement; 0: 0.6 */
    bool all_counts;             /* else only the full number of threads */
} bench_machine_opts;

status bench_machine_measure(bench_machine *out, const bench_machine_opts *o, err *e);
/* The limits at the full number of threads. */
static inline const bench_limits *bench_machine_full(const bench_machine *m) { return &m->by[m->count - 1]; }

/* Reads `path` (or, where it is a folder, a temporary file of 256 MB in it) past the page cache, 1 MB at a time by four
 * threads.  E_IO where that is not possible. */
status bench_disk_measure(bench_limit *out, const char *path, double seconds, err *e);

#endif
