#include "os/cpu.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>
#if defined __x86_64__
#include <cpuid.h>
#endif

#include "base/bits.h"
#include "base/str.h"

/* Lowest first; each level brings those it stands on. */
static const struct { const char *name; uint32_t bit, with; } levels[] = {
    { "ref",    CPU_REF,    CPU_REF },
    { "avx2",   CPU_AVX2,   CPU_REF | CPU_AVX2 },
    { "avxvnni", CPU_AVXVNNI, CPU_REF | CPU_AVX2 | CPU_AVXVNNI },
    { "avx512", CPU_AVX512, CPU_REF | CPU_AVX2 | CPU_AVX512 },
    { "bf16",   CPU_BF16,   CPU_REF | CPU_AVX2 | CPU_AVX512 | CPU_BF16 },
    { "amx",    CPU_AMX,    CPU_REF | CPU_AVX2 | CPU_AVX512 | CPU_AMX },
    { "neon",   CPU_NEON,   CPU_REF | CPU_NEON },
    { "i8mm",   CPU_I8MM,   CPU_REF | CPU_NEON | CPU_I8MM },
};

#if defined __x86_64__

static uint64_t xgetbv0(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

/* Linux gives tile registers only to a process that asks (arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA). */
static bool amx_granted(void) { return syscall(SYS_arch_prctl, 0x1023, 18) == 0; }

static bool all_set(uint32_t reg, uint32_t bits) { return (reg & bits) == bits; }

static uint32_t isa_of_machine(void)
{
    uint32_t a, b, c, d, c1, b7, c7, d7, a71 = 0, mask = CPU_REF;
    if (!__get_cpuid(1, &a, &b, &c1, &d)) return mask;
    if (!all_set(c1, bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C)) return mask;
    if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d7)) return mask;
    if (a >= 1) __get_cpuid_count(7, 1, &a71, &b, &c, &d);
    uint64_t saved = xgetbv0();   /* register files that the kernel saves on a switch */
    if ((saved & 0x6) != 0x6 || !(b7 & bit_AVX2)) return mask;
    mask |= CPU_AVX2;
    if (a71 & (1u << 4)) mask |= CPU_AVXVNNI;
    /* Exactly what the flags of src/kern/avx512 in the Makefile let the compiler use. */
    if ((saved & 0xE6) != 0xE6 || !all_set(b7, bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL) ||
        !all_set(c7, bit_AVX512VNNI | bit_AVX512VBMI))
        return mask;
    mask |= CPU_AVX512;
    if (!(a71 & (1u << 5))) return mask;
    mask |= CPU_BF16;
    uint32_t tiles = 1u << 22 | 1u << 24 | 1u << 25;   /* AMX-BF16, AMX-TILE, AMX-INT8 */
    if ((saved & 0x60000) == 0x60000 && all_set(d7, tiles) && amx_granted()) mask |= CPU_AMX;
    return mask;
}

bool cpu_halves_vectors(void)
{
    uint32_t a, b, c, d;
    if (!__get_cpuid(0, &a, &b, &c, &d) || b != signature_AMD_ebx || c != signature_AMD_ecx || d != signature_AMD_edx) return false;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return false;
    return (a >> 8 & 15) + (a >> 20 & 255) == 25;      /* base and extended family */
}

#elif defined __aarch64__

bool cpu_halves_vectors(void) { return false; }

static uint32_t isa_of_machine(void)
{
    enum { FPHP = 1 << 9, ASIMDHP = 1 << 10, ASIMDDP = 1 << 20, I8MM = 1 << 13 };   /* the last in AT_HWCAP2 */
    unsigned long need = FPHP | ASIMDHP | ASIMDDP;
    if ((getauxval(AT_HWCAP) & need) != need) return CPU_REF;
    return CPU_REF | CPU_NEON | (getauxval(AT_HWCAP2) & I8MM ? CPU_I8MM : 0u);
}

#else

bool cpu_halves_vectors(void) { return false; }

static uint32_t isa_of_machine(void) { return CPU_REF; }

#endif

uint32_t cpu_isa_machine(void) { return isa_of_machine(); }

status cpu_isa_parse(const char *text, uint32_t *mask, err *e)
{
    str rest = str_from(text), part;
    uint32_t m = 0;
    while (str_split(&rest, ',', &part)) {
        size_t i = 0;
        while (i < COUNT_OF(levels) && !(strlen(levels[i].name) == part.n && strncasecmp(levels[i].name, part.p, part.n) == 0)) i++;
        if (i == COUNT_OF(levels))
            return err_set(e, E_ARG, "unknown instruction set \"%.*s\"\nknown are ref, avx2, avxvnni, avx512, bf16, amx, neon and i8mm",
                           (int)MIN(part.n, (size_t)60), part.p ? part.p : "");
        m |= levels[i].with;
    }
    *mask = m ? m : CPU_REF;
    return OK;
}

status cpu_isa_env(uint32_t *mask, err *e)
{
    const char *text = getenv("FACET_ISA");
    *mask = UINT32_MAX;
    if (!text || !text[0]) return OK;
    status st = cpu_isa_parse(text, mask, e);
    if (st != OK) err_wrap(e, "FACET_ISA");
    return st;
}

uint32_t cpu_isa_found(void)
{
    uint32_t allowed;
    cpu_isa_env(&allowed, NULL);
    return isa_of_machine() & allowed;
}

void cpu_isa_names(uint32_t mask, char *out, size_t cap)
{
    size_t used = 0;
    if (cap) out[0] = 0;
    for (size_t i = 0; i < COUNT_OF(levels); i++) {
        if (!(mask & levels[i].bit)) continue;
        int n = snprintf(out + used, cap - used, "%s%s", used ? " " : "", levels[i].name);
        if (n < 0 || (size_t)n >= cap - used) return;
        used += (size_t)n;
    }
}

/* ---- control groups: what a container may use ------------------------------------------------- */

/* The first line of a small file of the kernel; false when it is not there. */
static bool read_line(const char *path, char *out, size_t cap)
{
    FILE *f = fopen(path, "re");
    bool ok = f && fgets(out, (int)cap, f);
    if (f) fclose(f);
    return ok;
}

/* The number after `name ` in a file of "name value" lines; -1 when absent. */
static int64_t read_field(const char *path, const char *name)
{
    char line[256];
    int64_t v = -1;
    size_t n = strlen(name);
    FILE *f = fopen(path, "re");
    while (f && v < 0 && fgets(line, sizeof line, f))
        if (strncmp(line, name, n) == 0 && (line[n] == ' ' || line[n] == ':')) v = strtoll(line + n + 1, NULL, 10);
    if (f) fclose(f);
    return v;
}

/* This process's folder below the mount of a v1 controller, or of v2 (controller ""); "" when unknown.  root: see
 * cpu_cores_at. */
static void group_path(const char *root, const char *controller, char *out, size_t cap)
{
    char line[1024];
    out[0] = 0;
    snprintf(line, sizeof line, "%s/proc/self/cgroup", root);
    FILE *f = fopen(line, "re");
    while (f && fgets(line, sizeof line, f)) {
        char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
        if (!path) continue;
        *names++ = 0;
        *path++ = 0;
        path[strcspn(path, "\n")] = 0;
        str rest = str_from(names), part;
        while (str_split(&rest, ',', &part))
            if (str_is(part, controller)) snprintf(out, cap, "%s", path);
    }
    if (f) fclose(f);
}

typedef void (*group_fn)(const char *dir, void *user);

/* Calls fn for the folder of this process and each one above it up to the mount: every limit counts. */
static void each_group(const char *root, const char *mount, const char *controller, group_fn fn, void *user)
{
    char path[1024], dir[1400];
    group_path(root, controller, path, sizeof path);
    for (;;) {
        snprintf(dir, sizeof dir, "%s/sys/fs/cgroup%s%s", root, mount, path);
        fn(dir, user);
        char *slash = strrchr(path, '/');
        if (!slash) return;
        *slash = 0;
    }
}

typedef struct memory_room { uint64_t limit, left; } memory_room;

static void lower_memory(memory_room *m, const char *dir, const char *limit_name, const char *used_name, const char *cache_name)
{
    char path[1500], line[64];
    snprintf(path, sizeof path, "%s/%s", dir, limit_name);
    if (!read_line(path, line, sizeof line) || line[0] < '0' || line[0] > '9') return;   /* "max" */
    uint64_t limit = strtoull(line, NULL, 10), used = 0;
    snprintf(path, sizeof path, "%s/%s", dir, used_name);
    if (read_line(path, line, sizeof line)) used = strtoull(line, NULL, 10);
    snprintf(path, sizeof path, "%s/memory.stat", dir);
    int64_t cache = read_field(path, cache_name);   /* the kernel gives it back under pressure */
    if (cache > 0) used -= MIN(used, (uint64_t)cache);
    m->limit = MIN(m->limit, limit);
    m->left = MIN(m->left, limit > used ? limit - used : 0);
}

static void memory_v2(const char *dir, void *user) { lower_memory(user, dir, "memory.max", "memory.current", "inactive_file"); }
static void memory_v1(const char *dir, void *user)
{
    lower_memory(user, dir, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file");
}

static memory_room memory_of_machine(void)
{
    int64_t total = read_field("/proc/meminfo", "MemTotal"), left = read_field("/proc/meminfo", "MemAvailable");
    memory_room m = { total > 0 ? (uint64_t)total << 10 : 0, left > 0 ? (uint64_t)left << 10 : 0 };
    each_group("", "", "", memory_v2, &m);
    each_group("", "/memory", "memory", memory_v1, &m);
    return m;
}

uint64_t cpu_memory_total(void) { return memory_of_machine().limit; }
uint64_t cpu_memory_available(void) { return memory_of_machine().left; }

/* A limit of one and a half processors is used by two threads, one of one and a quarter by one: a thread that is
 * throttled most of the time makes the others wait. */
static void lower_cores(int *cores, int64_t quota, int64_t period)
{
    if (quota <= 0 || period <= 0) return;
    int64_t whole = quota / period, rest = quota % period;
    *cores = (int)MIN((int64_t)*cores, MAX(whole + (rest >= period - rest), 1));
}

static void cores_v2(const char *dir, void *user)
{
    char path[1500], line[64];
    long long quota, period;
    snprintf(path, sizeof path, "%s/cpu.max", dir);
    if (read_line(path, line, sizeof line) && sscanf(line, "%lld %lld", &quota, &period) == 2) lower_cores(user, quota, period);
}

static void cores_v1(const char *dir, void *user)
{
    char path[1500], quota[64], period[64];
    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", dir);
    if (!read_line(path, quota, sizeof quota)) return;
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", dir);
    if (read_line(path, period, sizeof period)) lower_cores(user, strtoll(quota, NULL, 10), strtoll(period, NULL, 10));
}

/* The first processor of the core that cpu belongs to; cpu itself when the kernel does not tell. */
static int core_of(const char *root, int cpu)
{
    static const char *const names[] = { "core_cpus_list", "thread_siblings_list" };   /* the second before Linux 5.3 */
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char path[1500], line[64];
        int first;
        snprintf(path, sizeof path, "%s/sys/devices/system/cpu/cpu%d/topology/%s", root, cpu, names[i]);
        if (read_line(path, line, sizeof line) && sscanf(line, "%d", &first) == 1 && first >= 0 && first < CPU_SETSIZE) return first;
    }
    return cpu;
}

/* Cores of which this thread may use at least one hyper-thread: two on one core share its arithmetic and its caches, and
 * only get into each other's way. */
static int allowed_cores(const char *root)
{
    cpu_set_t set, cores;
    CPU_ZERO(&set);
    CPU_ZERO(&cores);
    if (sched_getaffinity(0, sizeof set, &set) != 0) return (int)sysconf(_SC_NPROCESSORS_ONLN);   /* more than CPU_SETSIZE */
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &set)) CPU_SET(core_of(root, i), &cores);
    return CPU_COUNT(&cores);
}

int cpu_cores_at(const char *root)
{
    int cores = MAX(allowed_cores(root), 1);
    each_group(root, "", "", cores_v2, &cores);
    each_group(root, "/cpu", "cpu", cores_v1, &cores);
    return cores;
}

int cpu_cores(void) { return cpu_cores_at(""); }

void cpu_model(char *out, size_t cap)
{
    char line[256];
    snprintf(out, cap, "unknown");
    FILE *f = fopen("/proc/cpuinfo", "re");
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (!colon || (strncmp(line, "model name", 10) != 0 && strncmp(line, "Model", 5) != 0)) continue;
        colon[strcspn(colon, "\n")] = 0;
        snprintf(out, cap, "%s", colon + 1 + strspn(colon + 1, " "));
        break;
    }
    if (f) fclose(f);
}
