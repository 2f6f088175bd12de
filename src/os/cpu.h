/* What this machine has: instruction sets, cores, caches, memory. */
#ifndef FC_OS_CPU_H
#define FC_OS_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Bits of a mask of kernel families, each including what it needs of the ones before. */
typedef enum cpu_isa {
    CPU_REF    = 1,
    CPU_AVX2   = 2,        /* AVX2 + FMA + F16C */
    CPU_AVX512 = 4,        /* F, BW, DQ, VL, VNNI, VBMI: Ice Lake, Zen 4 and newer */
    CPU_BF16   = 8,        /* AVX-512 BF16 */
    CPU_AMX    = 16,       /* tiles, int8, bf16; granted by the kernel */
    CPU_NEON   = 32,       /* ARMv8.2 dotprod + fp16 */
    CPU_AVXVNNI = 64,      /* AVX-VNNI beside AVX2: client processors without AVX-512 */
    CPU_I8MM   = 128       /* int8 matrix products beside NEON: Neoverse V1, Apple M2 and newer */
} cpu_isa;

/* What this machine can run, lowered by the environment's FACET_ISA (a text for cpu_isa_parse; a mistake in
 * it is ignored here and reported by cpu_isa_env, which the program calls at its start). */
uint32_t cpu_isa_found(void);
uint32_t cpu_isa_machine(void);         /* without FACET_ISA */
status cpu_isa_env(uint32_t *mask, err *e);   /* all bits when FACET_ISA is not set */
/* "ref", "avx2", "avx512", ... or a comma list of them -> mask of that level and all below it. */
status cpu_isa_parse(const char *text, uint32_t *mask, err *e);
void   cpu_isa_names(uint32_t mask, char *out, size_t cap);   /* "ref avx2 avx512 bf16" */
/* Instructions of 512 bits take two turns: Zen 4 (AMD's family 25). */
bool   cpu_halves_vectors(void);
/* Threads worth starting: physical cores that the calling thread may use (affinity mask, cpuset), at most the limit of its
 * control groups (cpu.max of v2, cfs quota of v1; the tightest on the way up), rounded to nearest, at least 1. */
int    cpu_cores(void);
int    cpu_cores_at(const char *root);  /* with /proc and /sys below root instead of "", for tests */
uint64_t cpu_memory_total(void);        /* bytes; the smaller of the machine and the cgroup limit */
uint64_t cpu_memory_available(void);
void   cpu_model(char *out, size_t cap);   /* "AMD EPYC", for reports */

#endif
