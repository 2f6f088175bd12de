/* facet bench kernels: products and vector functions, alone. */
#include "cmd/cmd_bench.h"

status cmd_bench_kernels(args *a, err *e) { return args_mistake(a, e, "not yet"); }
