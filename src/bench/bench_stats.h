/* Medians and quartiles: one slow sample changes neither. */
#ifndef FC_BENCH_BENCH_STATS_H
#define FC_BENCH_BENCH_STATS_H

#include <stddef.h>

typedef struct bench_stats {
    size_t count;
    double min, q1, median, q3, max;
    double spread;           /* (q3 - q1) / median; 0 when the median is 0 */
} bench_stats;

/* Quartiles between samples are interpolated (type 7: position p * (n - 1)).  Sorts x.  n == 0 gives zeros. */
bench_stats bench_stats_of(double *x, size_t n);
/* Of samples in order, n > 0; p from 0 to 1. */
double bench_stats_quantile(const double *x, size_t n, double p);

#endif
