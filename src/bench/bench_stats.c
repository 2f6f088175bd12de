#include "bench/bench_stats.h"

#include <stdlib.h>

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_stats_quantile(const double *x, size_t n, double p)
{
    double at = p * (double)(n - 1);
    size_t i = (size_t)at;
    return i + 1 < n ? x[i] + (at - (double)i) * (x[i + 1] - x[i]) : x[n - 1];
}

bench_stats bench_stats_of(double *x, size_t n)
{
    if (n == 0) return (bench_stats){ 0 };
    qsort(x, n, sizeof *x, by_size);
    bench_stats s = { .count = n, .min = x[0], .q1 = bench_stats_quantile(x, n, 0.25), .median = bench_stats_quantile(x, n, 0.5), .q3 = bench_stats_quantile(x, n, 0.75), .max = x[n - 1] };
    s.spread = s.median > 0 ? (s.q3 - s.q1) / s.median : 0;
    return s;
}
