/* Did something else use the processor meanwhile?  Busy time of the whole machine (/proc/stat, stolen time included)
 * minus what this process used itself. */
#ifndef FC_BENCH_BENCH_QUIET_H
#define FC_BENCH_BENCH_QUIET_H

#include <stdbool.h>

typedef struct bench_quiet {
    double wall, busy, own;      /* seconds */
} bench_quiet;

void bench_quiet_begin(bench_quiet *q);
/* Seconds since then; *others: processor seconds of everybody else meanwhile, 0 where the system does not say. */
double bench_quiet_end(const bench_quiet *q, double *others);
/* A tenth of one core, and two ticks of the system's clock, which is too coarse for less. */
bool bench_quiet_disturbed(double seconds, double others);
/* The busy seconds in the text of /proc/stat; negative when it is none.  ticks: of a second. */
double bench_quiet_busy(const char *text, double ticks);

#endif
