/* facet.h: version, machine, log, memory.  The rest of it stands beside what it needs: models in run_model.c, requests in
 * request.c, engines in engine.c, logits in logits.c. */
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "kern/kern.h"
#include "os/cpu.h"

#if defined __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

#if defined __x86_64__
#define ARCH "x86_64"
#elif defined __aarch64__
#define ARCH "aarch64"
#else
#define ARCH "other"
#endif

#if defined __SANITIZE_ADDRESS__
#define FLAVOUR "asan"
#elif defined __SANITIZE_THREAD__
#define FLAVOUR "tsan"
#elif defined __OPTIMIZE__
#define FLAVOUR "release"
#else
#define FLAVOUR "debug"
#endif

const char *facet_version(void) { return FACET_VERSION; }

void facet_free(void *p) { mem_free(p); }

void facet_machine_read(facet_machine *out)
{
    *out = (facet_machine){ .compiler = COMPILER, .build = ARCH " " FLAVOUR, .cores = cpu_cores(),
                            .memory_total = cpu_memory_total(), .memory_available = cpu_memory_available() };
    cpu_model(out->cpu, sizeof out->cpu);
    cpu_isa_names(kern_built(), out->isa_built, sizeof out->isa_built);
    cpu_isa_names(cpu_isa_machine(), out->isa_found, sizeof out->isa_found);
    cpu_isa_names(kern_built() & cpu_isa_found(), out->isa_used, sizeof out->isa_used);
}

/* The public levels are the internal ones, in the same order. */
static facet_log_fn sink;
static void *sink_user;

static void forward(void *user, log_level level, const char *text)
{
    (void)user;
    sink(sink_user, (facet_log_level)level, text);
}

void facet_log_sink(facet_log_fn fn, void *user)
{
    sink = fn;
    sink_user = user;
    log_set_sink(fn ? forward : NULL, NULL);
}
