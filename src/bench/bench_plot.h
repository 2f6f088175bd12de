/* A report as a picture: one bar a test, what the machine would allow behind it. */
#ifndef FC_BENCH_BENCH_PLOT_H
#define FC_BENCH_BENCH_PLOT_H

#include "base/buf.h"
#include "bench/bench_model.h"

/* Appends an SVG document.  machine: a line about it, any text. */
status bench_plot(buf *out, const bench_report *r, const char *machine, err *e);

#endif
