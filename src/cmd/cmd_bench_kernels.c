/* facet bench kernels: products and vector functions, alone. */
#include <stdio.h>

#include "bench/bench_kernels.h"
#include "cmd/cmd_bench.h"

static void print_row(void *user, const bench_kernel *k)
{
    bool *begun = user;
    char memory[24] = "", share[32] = "";
    if (!*begun) printf("%-7s %-38s %7s %10s %8s %8s %10s  %s\n", "family", "kernel", "tokens", "us", "spread", "GB/s", "Gop/s", "share");
    *begun = true;
    if (k->gb_s > 0) snprintf(memory, sizeof memory, "%.1f", k->gb_s);
    if (k->limit) snprintf(share, sizeof share, "%.0f %% of %s", 100 * k->share, k->limit);
    printf("%-7s %-38s %7.0d %10.2f %6.1f %% %8s %10.2f  %s\n", k->family, k->what, k->tokens, k->seconds.median * 1e6, 100 * k->seconds.spread, memory, k->gops,
           k->elements ? "(elements)" : share);
    fflush(stdout);
}

status cmd_bench_kernels(args *a, err *e)
{
    bool begun = false;
    const char *type = args_text(a, "type");
    bench_kernels_opts o = { .type = DTYPE_COUNT, .seconds = args_real(a, "seconds"), .row = print_row, .user = &begun };
    status st = cmd_bench_isa(a, &o.isa, e);
    if (st != OK) return st;
    if (type && !dtype_by_name(type, &o.type)) return args_mistake(a, e, "unknown type \"%s\"\nknown are q4_0, q8_0, q4_k, bf16 and the others that \"facet inspect\" shows", type);
    return bench_kernels_run(&o, e);
}
