/* os/cpu, os/clock, os/tty. */
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/cpu.h"
#include "os/tty.h"
#include "support/test.h"

static void levels_bring_those_below(void **state)
{
    (void)state;
    err e;
    static const struct { const char *text; uint32_t mask; } cases[] = {
        { "ref", CPU_REF }, { "avx2", CPU_REF | CPU_AVX2 }, { "avxvnni", CPU_REF | CPU_AVX2 | CPU_AVXVNNI }, { "AVX512", CPU_REF | CPU_AVX2 | CPU_AVX512 },
        { "bf16", CPU_REF | CPU_AVX2 | CPU_AVX512 | CPU_BF16 }, { "neon", CPU_REF | CPU_NEON }, { "ref,neon,avx2", CPU_REF | CPU_NEON | CPU_AVX2 },
        { "amx", CPU_REF | CPU_AVX2 | CPU_AVX512 | CPU_AMX }, { "i8mm", CPU_REF | CPU_NEON | CPU_I8MM },
    };
    uint32_t m;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_ok(cpu_isa_parse(cases[i].text, &m, &e), &e);
        assert_int_equal(m, cases[i].mask);
    }
    assert_fails(cpu_isa_parse("avx3", &m, &e), E_ARG, &e, "\"avx3\"");
    assert_fails(cpu_isa_parse("", &m, &e), E_ARG, &e, "unknown instruction set");
    assert_fails(cpu_isa_parse("avx2,", &m, &e), E_ARG, &e, "unknown instruction set");
}

static void names(void **state)
{
    (void)state;
    char text[64];
    cpu_isa_names(CPU_REF | CPU_AVX2 | CPU_BF16, text, sizeof text);
    assert_string_equal(text, "ref avx2 bf16");
    cpu_isa_names(0, text, sizeof text);
    assert_string_equal(text, "");
    cpu_isa_names(63, text, 9);   /* cut, never overrun */
    assert_string_equal(text, "ref avx2");
}

/* The kernel's own list of flags is the second opinion. */
static bool kernel_says(const char *flag)
{
    char line[8192], word[64];
    bool found = false;
    snprintf(word, sizeof word, " %s ", flag);
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && !found && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = ' ';
        found = (strncmp(line, "flags", 5) == 0 || strncmp(line, "Features", 8) == 0) && strstr(line, word);
    }
    if (f) fclose(f);
    return found;
}

static void found_agrees_with_the_kernel(void **state)
{
    (void)state;
    uint32_t m = cpu_isa_machine();
    assert_true(m & CPU_REF);
#if defined __x86_64__
    bool avx2 = kernel_says("avx2") && kernel_says("fma") && kernel_says("f16c");
    bool avx512 = avx2 && kernel_says("avx512f") && kernel_says("avx512bw") && kernel_says("avx512dq") && kernel_says("avx512vl") &&
                  kernel_says("avx512_vnni") && kernel_says("avx512vbmi");
    assert_int_equal(!!(m & CPU_AVX2), avx2);
    assert_int_equal(!!(m & CPU_AVXVNNI), avx2 && kernel_says("avx_vnni"));
    assert_int_equal(!!(m & CPU_AVX512), avx512);
    assert_int_equal(!!(m & CPU_BF16), avx512 && kernel_says("avx512_bf16"));
    assert_false(m & (CPU_NEON | CPU_I8MM));
#elif defined __aarch64__
    /* an emulator shows the host's /proc/cpuinfo */
    if (kernel_says("asimd")) assert_int_equal(!!(m & CPU_NEON), kernel_says("asimddp") && kernel_says("asimdhp"));
    if (m & CPU_NEON && kernel_says("asimd")) assert_int_equal(!!(m & CPU_I8MM), kernel_says("i8mm"));
    assert_false(m & (CPU_AVX2 | CPU_AVX512 | CPU_BF16 | CPU_AMX));
#endif
}

static void the_environment_lowers(void **state)
{
    (void)state;
    err e;
    uint32_t m;
    unsetenv("FACET_ISA");
    assert_int_equal(cpu_isa_found(), cpu_isa_machine());
    assert_ok(cpu_isa_env(&m, &e), &e);
    assert_int_equal(m, UINT32_MAX);
    setenv("FACET_ISA", "ref", 1);
    assert_int_equal(cpu_isa_found(), CPU_REF);
    setenv("FACET_ISA", "amx,bf16,avxvnni,i8mm", 1);   /* never more than there is */
    assert_int_equal(cpu_isa_found(), cpu_isa_machine());
    setenv("FACET_ISA", "fast", 1);
    assert_fails(cpu_isa_env(&m, &e), E_ARG, &e, "FACET_ISA: unknown instruction set \"fast\"");
    assert_int_equal(cpu_isa_found(), cpu_isa_machine());
    unsetenv("FACET_ISA");
}

static void cores_follow_the_affinity(void **state)
{
    (void)state;
    cpu_set_t old, one;
    assert_int_equal(sched_getaffinity(0, sizeof old, &old), 0);
    assert_in_range(cpu_cores(), 1, CPU_COUNT(&old));
    int first = 0;
    while (!CPU_ISSET(first, &old)) first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(cpu_cores(), 1);
    sched_setaffinity(0, sizeof old, &old);
}

/* ---- /proc and /sys as other machines have them ---- */

static void put(const char *root, const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *p = full + 1; *p; p++)
        if (*p == '/') {
            *p = 0;
            mkdir(full, 0755);
            *p = '/';
        }
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int remove_entry(const char *path, const struct stat *s, int kind, struct FTW *walk)
{
    (void)s, (void)kind, (void)walk;
    return remove(path);
}

static const char *fake_root(void)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/facet-cpu-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(path));
    return path;
}

/* What the affinity mask allows when no hyper-threads are known: no limit may give more. */
static int allowed(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    return CPU_COUNT(&set);
}

typedef struct group_case {
    const char *cgroup;              /* /proc/self/cgroup */
    struct { const char *path, *text; } files[4];
    int cores;                       /* 0: no limit */
} group_case;

static void cores_follow_control_groups(void **state)
{
    static const group_case cases[] = {
        { "0::/\n", { { "/cpu.max", "max 100000\n" } }, 0 },
        { "0::/\n", { { "/cpu.max", "100000 100000\n" } }, 1 },
        { "0::/\n", { { "/cpu.max", "140000 100000\n" } }, 1 },
        { "0::/\n", { { "/cpu.max", "150000 100000\n" } }, 2 },
        { "0::/\n", { { "/cpu.max", "5000 100000\n" } }, 1 },                                  /* a twentieth is still one thread */
        { "0::/\n", { { "/cpu.max", "9223372036854775807 1\n" } }, 0 },
        { "0::/a/b\n", { { "/a/b/cpu.max", "max 100000\n" }, { "/a/cpu.max", "90000 100000\n" } }, 1 },      /* a parent's limit counts */
        { "0::/a/b\n", { { "/a/b/cpu.max", "max 100000\n" }, { "/a/cpu.max", "900000000 100000\n" } }, 0 },
        { "0::/docker/1234\n", { { "/cpu.max", "100000 100000\n" } }, 1 },                      /* the container sees its group as the mount */
        { "3:cpu,cpuacct:/x\n1:name=systemd:/y\n", { { "/cpu/x/cpu.cfs_quota_us", "50000\n" }, { "/cpu/x/cpu.cfs_period_us", "50000\n" } }, 1 },
        { "3:cpu,cpuacct:/x\n", { { "/cpu/x/cpu.cfs_quota_us", "-1\n" }, { "/cpu/x/cpu.cfs_period_us", "100000\n" } }, 0 },
        { "3:cpu,cpuacct:/x\n", { { "/cpu/cpu.cfs_quota_us", "100000\n" }, { "/cpu/cpu.cfs_period_us", "100000\n" } }, 1 },
        { "3:cpuset:/x\n", { { "/cpu/x/cpu.cfs_quota_us", "100000\n" }, { "/cpu/x/cpu.cfs_period_us", "100000\n" } }, 0 },
        { "0::/\n", { { "/cpu.max", "0 100000\n" } }, 0 },                                      /* nonsense is no limit */
        { "0::/\n", { { "/cpu.max", "-5 0\n" } }, 0 },
        { "0::/\n", { { "/cpu.max", "lots\n" } }, 0 },
        { "0::\n:::::\n\n0::/a", { { "/a/cpu.max", "" } }, 0 },
        { "3:cpu:/x\n", { { "/cpu/x/cpu.cfs_quota_us", "100000\n" }, { "/cpu/x/cpu.cfs_period_us", "0\n" } }, 0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *root = fake_root();
        put(root, "/proc/self/cgroup", cases[i].cgroup);
        for (int k = 0; k < 4 && cases[i].files[k].path; k++) {
            char path[200];
            snprintf(path, sizeof path, "/sys/fs/cgroup%s", cases[i].files[k].path);
            put(root, path, cases[i].files[k].text);
        }
        int want = cases[i].cores && cases[i].cores < allowed() ? cases[i].cores : allowed(), got = cpu_cores_at(root);
        if (got != want) fail_msg("case %d: %d cores, not %d", (int)i, got, want);
        nftw(root, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    }
    assert_int_equal(cpu_cores_at("/nowhere"), allowed());
}

/* All processors of the mask as hyper-threads of one core: one thread.  A list that makes no sense is not believed. */
static void hyper_threads_share_a_core(void **state)
{
    static const struct { const char *file, *text; bool one; } cases[] = {
        { "core_cpus_list", "0-1023\n", true }, { "thread_siblings_list", "0,512\n", true },
        { "core_cpus_list", "-3\n", false }, { "core_cpus_list", "99999999\n", false }, { "core_cpus_list", "all\n", false },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *root = fake_root();
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
            char path[200];
            cpu_set_t set;
            CPU_ZERO(&set);
            assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
            if (!CPU_ISSET(cpu, &set)) continue;
            snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/%s", cpu, cases[i].file);
            put(root, path, cases[i].text);
        }
        assert_int_equal(cpu_cores_at(root), cases[i].one ? 1 : allowed());
        nftw(root, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    }
}

static void memory_is_plausible(void **state)
{
    (void)state;
    uint64_t total = cpu_memory_total(), left = cpu_memory_available();
    assert_true(total >= (uint64_t)64 << 20);
    assert_true(total <= (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE));
    assert_true(left > 0 && left <= total);
    char model[128];
    cpu_model(model, sizeof model);
    assert_true(strlen(model) > 0);
}

static void the_clock_goes_forward(void **state)
{
    (void)state;
    double last = clock_seconds();
    for (int i = 0; i < 1000; i++) {
        double now = clock_seconds();
        assert_true(now >= last);
        last = now;
    }
}

/* Standard error is a pipe here: nothing may be written to it. */
static void progress_is_for_terminals(void **state)
{
    (void)state;
    int ends[2], saved = dup(2);
    char byte;
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    dup2(ends[1], 2);
    bool term = tty_is(2), colors = tty_colors(2);
    tty_progress("loading", 0.5, "x");
    tty_progress_done();
    dup2(saved, 2);
    assert_false(term);
    assert_false(colors);
    assert_int_equal(read(ends[0], &byte, 1), -1);
    close(ends[0]);
    close(ends[1]);
    close(saved);
    assert_true(tty_width() > 0);
}

static void progress_on_a_terminal(void **state)
{
    (void)state;
    int master = posix_openpt(O_RDWR | O_NOCTTY), saved = dup(2);
    assert_true(master >= 0);
    assert_int_equal(grantpt(master) | unlockpt(master), 0);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    assert_true(slave >= 0);
    dup2(slave, 2);
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    bool colors = tty_colors(2);
    setenv("NO_COLOR", "1", 1);
    bool none = tty_colors(2);
    unsetenv("NO_COLOR");
    tty_progress("loading", 0.43, "2 GB");
    tty_progress("loading", 0.44, "2 GB");   /* too soon: not shown */
    tty_progress_done();
    tty_progress("loading", -1, "x.gguf");   /* how far is not known: no figure */
    tty_progress_done();
    dup2(saved, 2);
    static const char want[] = "\r\033[Kloading  43 %  2 GB\r\033[K" "\r\033[Kloading  x.gguf\r\033[K";
    char got[200] = "";
    size_t n = 0;
    struct pollfd ready = { .fd = master, .events = POLLIN };
    while (n < sizeof want - 1 && poll(&ready, 1, 5000) == 1) {   /* a terminal hands over in pieces */
        ssize_t more = read(master, got + n, sizeof got - 1 - n);
        assert_true(more > 0);
        n += (size_t)more;
    }
    assert_true(colors);
    assert_false(none);
    assert_string_equal(got, want);
    close(slave);
    close(master);
    close(saved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_bring_those_below),
        cmocka_unit_test(names),
        cmocka_unit_test(found_agrees_with_the_kernel),
        cmocka_unit_test(the_environment_lowers),
        cmocka_unit_test(cores_follow_the_affinity),
        cmocka_unit_test(cores_follow_control_groups),
        cmocka_unit_test(hyper_threads_share_a_core),
        cmocka_unit_test(memory_is_plausible),
        cmocka_unit_test(the_clock_goes_forward),
        cmocka_unit_test(progress_is_for_terminals),
        cmocka_unit_test(progress_on_a_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
