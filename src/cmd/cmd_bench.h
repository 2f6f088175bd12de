/* The parts of facet bench. */
#ifndef FC_CMD_CMD_BENCH_H
#define FC_CMD_CMD_BENCH_H

#include "base/json.h"
#include "bench/bench_model.h"
#include "cmd/setup.h"

status cmd_bench_model(args *a, err *e);
status cmd_bench_machine(args *a, err *e);
status cmd_bench_kernels(args *a, err *e);
status cmd_bench_masks(args *a, err *e);
status cmd_bench_serve(args *a, const bench_list *clients, err *e);

/* The lists and numbers of the command line; path and user are left empty. */
status cmd_bench_options(args *a, bench_model_opts *o, err *e);
/* --isa as a mask; 0 when it is not given. */
status cmd_bench_isa(args *a, uint32_t *mask, err *e);

/* {"bandwidth_gb_s", "int8_gops", "bf16_gflops", "f32_gflops"} and what goes with them; NULL: out of memory. */
json_t *cmd_bench_machine_json(const bench_machine *m, uint32_t isa);
/* Prints an object and gives it back; NULL is E_NOMEM. */
status  cmd_bench_print(json_t *o, err *e);
/* "AMD EPYC, 2 threads, ref avx2 avx512, 31 GB/s, 880 Gop/s int8" */
void    cmd_bench_describe(char *out, size_t cap, const bench_machine *m, int threads, uint32_t isa);
/* One sentence on standard error where the numbers rest on disturbed samples. */
void    cmd_bench_warn(const bench_machine *m);

#endif
