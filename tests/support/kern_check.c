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
#include "num/blocks.h"
#include "num/half.h"
#include "os/cpu.h"

long check_count, check_failures;

int check_families(check_family out[8])
{
    static const struct { const char *name; uint32_t mask, bit; } all[] = {
        {"ref", CPU_REF, CPU_REF},
        {"avx2", CPU_REF | CPU_AVX2, CPU_AVX2},
        {"avx512", CPU_REF | CPU_AVX2 | CPU_AVX512, CPU_AVX512},
        {"amx", CPU_REF | CPU_AVX2 | CPU_AVX512 | CPU_AMX, CPU_AMX},
        {"neon", CPU_REF | CPU_NEON, CPU_NEON},
    };
    int n = 0;
    for (size_t i = 0; i < COUNT_OF(all); i++)
        if (all[i].bit == CPU_REF || cpu_isa_found() & all[i].bit) {
            out[n].name = all[i].name;
            kern_init(&out[n++].k, all[i].mask);
        }
#ifdef FC_KERN_amx
    if (cpu_isa_found() & CPU_AVX512) {
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

uint64_t check_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

float check_uniform(uint64_t *state) { return (float)((double)(int64_t)check_random(state) * 0x1p-63); }

float check_gauss(uint64_t *state)
{
    float s = 0;
    for (int i = 0; i < 6; i++) s += check_uniform(state);
    return s * 0.7071f;
}

/* Where the f16 scales of a block are; -1 ends. */
static const int *scale_places(dtype t)
{
    static const int first[] = {0, -1}, two[] = {0, 2, -1}, q2[] = {80, 82, -1}, q3[] = {108, -1}, q6[] = {208, -1};
    static const int tq1[] = {52, -1}, tq2[] = {64, -1}, none[] = {-1};
    switch (t) {
    case DTYPE_Q4_1: case DTYPE_Q5_1: case DTYPE_Q4_K: case DTYPE_Q5_K: return two;
    case DTYPE_Q2_K: return q2;
    case DTYPE_Q3_K: return q3;
    case DTYPE_Q6_K: return q6;
    case DTYPE_TQ1_0: return tq1;
    case DTYPE_TQ2_0: return tq2;
    case DTYPE_IQ1_M: case DTYPE_MXFP4: case DTYPE_NVFP4: return none;
    default: return first;
    }
}

void check_weights(dtype t, void *out, int64_t n, float scale, uint64_t *state)
{
    const dtype_info *d = dtype_of(t);
    uint8_t *p = out;
    if (d->block == 1) {
        for (int64_t i = 0; i < n; i++) {
            float v = check_gauss(state) * scale;
            d->encode(&v, p + i * d->bytes, 1, NULL);
        }
        return;
    }
    for (int64_t b = 0; b < n / d->block; b++, p += d->bytes) {
        for (int i = 0; i < d->bytes; i++) p[i] = (uint8_t)check_random(state);
        for (const int *s = scale_places(t); *s >= 0; s++) store_u16(p + *s, half_f32_to_f16(check_gauss(state) * scale));
        if (t == DTYPE_MXFP4) p[0] = (uint8_t)MIN(MAX(128 + (int)lrintf(log2f(scale)) + (int)(check_random(state) % 5), 0), 250);
        if (t == DTYPE_IQ1_M) {
            uint16_t h = half_f32_to_f16(check_gauss(state) * scale);
            for (int k = 0; k < 4; k++) p[49 + 2 * k] = (uint8_t)((p[49 + 2 * k] & 15) | (h >> (4 * k) & 15) << 4);
        }
    }
}

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
