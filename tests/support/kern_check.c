#include "support/kern_check.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "bench/bench_fill.h"
#ifdef FC_KERN_avx512
#include "kern/avx512/avx512.h"
#endif
#include "num/blocks.h"
#include "num/half.h"
#include "os/cpu.h"

long check_count, check_failures;

int check_families(check_family out[8])
{
    static const struct { const char *name; uint32_t mask, bit; } all[] = {
        {"ref", CPU_REF, CPU_REF},
        {"avx2", CPU_REF | CPU_AVX2, CPU_AVX2},
        {"avxvnni", CPU_REF | CPU_AVX2 | CPU_AVXVNNI, CPU_AVXVNNI},
        {"avx512", CPU_REF | CPU_AVX2 | CPU_AVX512, CPU_AVX512},
        {"amx", CPU_REF | CPU_AVX2 | CPU_AVX512 | CPU_AMX, CPU_AMX},
        {"neon", CPU_REF | CPU_NEON, CPU_NEON},
        {"i8mm", CPU_REF | CPU_NEON | CPU_I8MM, CPU_I8MM},
    };
    int n = 0;
    for (size_t i = 0; i < COUNT_OF(all); i++)
        if (all[i].bit == CPU_REF || cpu_isa_found() & all[i].bit) {
            out[n].name = all[i].name;
            kern_init(&out[n++].k, all[i].mask);
        }
#ifdef FC_KERN_avx512
    if (cpu_isa_found() & CPU_AVX512) {
        out[n].name = "avx512, halves";
        kern_init(&out[n].k, CPU_REF | CPU_AVX2);
        half_avx512_fill(&out[n++].k);
    }
#endif
#ifdef FC_KERN_amx
    if (cpu_isa_found() & CPU_BF16) {
        out[n].name = "amx, tiles in C";
        kern_init(&out[n].k, CPU_REF | CPU_AVX2 | CPU_AVX512);
        check_fill_amx_in_c(&out[n++].k);
    }
#endif
    if (n < 2) check_fail("this machine has no family besides the reference: nothing to compare");
    return n;
}

static size_t page(void) { return (size_t)sysconf(_SC_PAGESIZE); }
/* Whole pages for n bytes, and the unreadable one. */
static size_t pages(size_t n) { return align_up(n, page()) + page(); }

void *check_guarded(size_t n)
{
    char *p = mmap(NULL, pages(n), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || mprotect(p + pages(n) - page(), page(), PROT_NONE)) {
        perror("guarded memory");
        exit(1);
    }
    return p + pages(n) - page() - n;
}

void check_free(void *p, size_t n) { munmap((char *)p - (pages(n) - page() - n), pages(n)); }

float *check_floats(int64_t n, float scale, uint64_t *state)
{
    float *p = check_guarded((size_t)n * 4);
    for (int64_t i = 0; i < n; i++) p[i] = check_gauss(state) * scale;
    return p;
}

void check_near(const char *family, const char *what, int64_t n, int64_t i, double got, double want, double bound)
{
    check_count++;
    if (!(fabs(got - want) <= bound))
        check_fail("%s %s(%lld)[%lld]: %.9g, should be %.9g (error %.2g, bound %.2g)", family, what, (long long)n, (long long)i, got, want, fabs(got - want), bound);
}

uint64_t check_random(uint64_t *state) { return bench_fill_random(state); }
float check_uniform(uint64_t *state) { return (float)((double)(int64_t)check_random(state) * 0x1p-63); }
float check_gauss(uint64_t *state) { return bench_fill_gauss(state); }
void check_weights(dtype t, void *out, int64_t n, float scale, uint64_t *state) { bench_fill_weights(t, out, n, scale, state); }

void check_zero_codes(dtype t, void *blocks, int64_t n)
{
    const dtype_info *d = dtype_of(t);
    uint8_t *p = blocks;
    for (int64_t b = 0; b < n / d->block; b++, p += d->bytes)
        switch (t) {
        case DTYPE_Q4_1: memset(p + 4, 0, 16); break;
        case DTYPE_Q5_1: memset(p + 4, 0, 20); break;
        case DTYPE_Q2_K: memset(p + 16, 0, 64); break;
        case DTYPE_Q4_K: memset(p + 16, 0, 128); break;
        case DTYPE_Q5_K: memset(p + 16, 0, 160); break;
        default: memset(p, 0, (size_t)d->bytes); break;
        }
}

double check_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void check_fail(const char *format, ...)
{
    if (check_failures++ > 20) return;
    va_list a;
    va_start(a, format);
    vfprintf(stderr, format, a);
    va_end(a);
    fputc('\n', stderr);
}

int check_end(const char *what)
{
    if (!check_count) check_fail("%s: compared nothing", what);
    printf("%s: %ld numbers compared, %ld failures\n", what, check_count, check_failures);
    return check_failures ? 1 : 0;
}
