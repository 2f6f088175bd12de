/* facet version: build and machine, for bug reports. */
#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"
#include "cmd/opt.h"

static status print_json(const facet_machine *m, err *e)
{
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:I}", "version", facet_version(), "build", m->build,
                          "compiler", m->compiler, "cpu", m->cpu, "isa_built", m->isa_built, "isa_found", m->isa_found,
                          "isa_used", m->isa_used, "cores", m->cores, "memory_total", (json_int_t)m->memory_total,
                          "memory_available", (json_int_t)m->memory_available);
    if (!o) return err_set(e, E_NOMEM, "could not print the version\nout of memory");
    json_dumpf(o, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(o);
    return OK;
}

static status version(args *a, err *e)
{
    facet_machine m;
    facet_machine_read(&m);
    if (args_flag(a, "json")) return print_json(&m, e);
    printf("facet %s\nbuild     %s, %s\nmachine   %s, %d cores, %.1f GiB of memory, %.1f GiB free\nsets      built %s; found %s; used %s\n",
           facet_version(), m.build, m.compiler, m.cpu, m.cores, (double)m.memory_total / (1 << 30),
           (double)m.memory_available / (1 << 30), m.isa_built, m.isa_found, m.isa_used);
    return OK;
}

static const opt options[] = {
    { "json", 0, OPT_FLAG, .group = "Output", .help = "For programs." },
    { 0 } };

const cmd cmd_version = {
    .name = "version", .summary = "show the version, the build and what this machine has", .options = { options }, .run = version,
    .examples = { { "facet version --json", "for a bug report or a script" } } };
