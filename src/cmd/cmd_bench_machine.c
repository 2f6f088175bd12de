/* facet bench machine: the limits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cmd/cmd_bench.h"
#include "os/cpu.h"
#include "os/tty.h"

static double giga(bench_limit l) { return l.rate * 1e-9; }

status cmd_bench_print(json_t *o, err *e)
{
    if (!o) return err_set(e, E_NOMEM, "could not print the results\nout of memory");
    json_dumpf(o, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(o);
    return OK;
}

static json_t *limit_json(bench_limit l, double unit)
{
    return json_pack("{s:f, s:f, s:s}", "rate", l.rate * unit, "spread", l.spread, "how", l.how ? l.how : "");
}

json_t *cmd_bench_machine_json(const bench_machine *m, uint32_t isa)
{
    char cpu[128], names[128];
    const bench_limits none = { 0 }, *l = m->count ? bench_machine_full(m) : &none;
    cpu_model(cpu, sizeof cpu);
    cpu_isa_names(isa, names, sizeof names);
    json_t *o = json_pack("{s:f, s:f, s:f, s:f, s:s, s:s, s:i, s:b, s:f}", "bandwidth_gb_s", giga(l->read), "int8_gops", giga(l->int8), "bf16_gflops", giga(l->bf16),
                          "f32_gflops", giga(l->f32), "cpu", cpu, "isa", names, "cores", cpu_cores(), "disturbed", (int)m->noisy, "others_cores", m->others);
    json_t *all = json_array();
    for (int i = 0; o && all && i < m->count; i++) {
        l = &m->by[i];
        json_array_append_new(all, json_pack("{s:i, s:o, s:o, s:o, s:o}", "threads", l->threads, "bandwidth", limit_json(l->read, 1e-9), "int8", limit_json(l->int8, 1e-9),
                                             "bf16", limit_json(l->bf16, 1e-9), "f32", limit_json(l->f32, 1e-9)));
    }
    if (o && all) json_object_set_new(o, "by_threads", all);
    else json_decref(all);
    return o;
}

void cmd_bench_describe(char *out, size_t cap, const bench_machine *m, int threads, uint32_t isa)
{
    char cpu[128], names[128];
    cpu_model(cpu, sizeof cpu);
    cpu_isa_names(isa, names, sizeof names);
    int n = snprintf(out, cap, "%s, %d thread%s, %s", cpu, threads, threads == 1 ? "" : "s", names);
    if (!m->count || n < 0 || (size_t)n >= cap) return;
    const bench_limits *l = bench_machine_full(m);
    snprintf(out + n, cap - (size_t)n, "; %.1f GB/s, %.0f Gop/s int8, %.0f bf16, %.0f f32", giga(l->read), giga(l->int8), giga(l->bf16), giga(l->f32));
}

void cmd_bench_warn(const bench_machine *m)
{
    if (m->noisy)
        fprintf(stderr, "facet: something else used %.1f cores all the while: the limits are lower than on a quiet machine\n", m->others);
}

/* A disk that cannot be measured where nobody asked for it is a remark, not a failure. */
static status measure_disk(args *a, bench_limit *out, char *where, size_t cap, err *e)
{
    const char *dir = args_text(a, "dir"), *tmp = getenv("TMPDIR");
    char *path = NULL;
    err why = { 0 };
    if (args_given(a, "model") && dir) return args_mistake(a, e, "--dir and -m both name a disk\ngive one of them");
    if (args_given(a, "model")) {
        status st = setup_path(a, &path, e);
        if (st != OK) return st;
    }
    snprintf(where, cap, "%s", path ? path : dir ? dir : tmp && tmp[0] ? tmp : "/var/tmp");
    mem_free(path);
    status st = bench_disk_measure(out, where, args_real(a, "seconds"), &why);
    if (st == OK) return OK;
    if (dir || args_given(a, "model")) {
        if (e) *e = why;
        return st;
    }
    *out = (bench_limit){ 0 };
    if (!args_flag(a, "quiet")) fprintf(stderr, "facet: %s: %s\n", why.what, why.why);
    return OK;
}

static void line(const char *what, int threads, bench_limit l, const char *unit)
{
    printf("%-10s %7d %12.1f %-8s %6.1f %%  %s\n", what, threads, giga(l), unit, 100 * l.spread, l.how ? l.how : "");
}

static void print_text(const bench_machine *m, uint32_t isa, bench_limit disk, const char *where)
{
    char cpu[128], names[128];
    cpu_model(cpu, sizeof cpu);
    cpu_isa_names(isa, names, sizeof names);
    printf("%s, %d cores, %s\n\n%-10s %7s %12s %-8s %8s  %s\n", cpu, cpu_cores(), names, "limit", "threads", "median", "", "spread", "best of");
    for (int i = 0; i < m->count; i++) line("memory", m->by[i].threads, m->by[i].read, "GB/s");
    for (int i = 0; i < m->count; i++) line("int8", m->by[i].threads, m->by[i].int8, "Gop/s");
    for (int i = 0; i < m->count; i++) line("bf16", m->by[i].threads, m->by[i].bf16, "GFLOP/s");
    for (int i = 0; i < m->count; i++) line("f32", m->by[i].threads, m->by[i].f32, "GFLOP/s");
    if (disk.rate > 0) line("disk", 4, disk, "GB/s");
    printf("\nMemory: %zu MB were read. Disk: %s.\n%d windows of 0.2 s, %d of them disturbed and left out or repeated.\n", m->read_bytes >> 20,
           disk.rate > 0 ? where : "not measured", m->windows, m->disturbed);
}

status cmd_bench_machine(args *a, err *e)
{
    status st = OK;
    char where[4096];
    bench_machine m;
    bench_limit disk;
    bench_machine_opts o = { .threads = (int)args_int(a, "threads"), .seconds = args_real(a, "seconds"), .all_counts = true };
    TRY(cmd_bench_isa(a, &o.isa, e));
    uint32_t isa = cpu_isa_found() & (o.isa ? o.isa : UINT32_MAX);
    TRY(measure_disk(a, &disk, where, sizeof where, e));
    TRY(bench_machine_measure(&m, &o, e));
    if (!args_flag(a, "quiet")) cmd_bench_warn(&m);
    if (!args_flag(a, "json")) {
        print_text(&m, isa, disk, where);
        return OK;
    }
    json_t *j = cmd_bench_machine_json(&m, isa);
    if (j) json_object_set_new(j, "disk_gb_s", json_real(giga(disk)));
    if (j) json_object_set_new(j, "disk", json_string(where));
    if (j) json_object_set_new(j, "read_bytes", json_integer((json_int_t)m.read_bytes));
    TRY(cmd_bench_print(j, e));
out:
    return st;
}
