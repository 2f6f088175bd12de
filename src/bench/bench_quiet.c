#include "bench/bench_quiet.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "os/clock.h"

double bench_quiet_busy(const char *text, double ticks)
{
    unsigned long long user, nice, system, idle, iowait, irq, softirq, steal = 0;
    int n = sscanf(text, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &iowait, &irq, &softirq, &steal);
    return n < 7 ? -1 : (double)(user + nice + system + irq + softirq + steal) / ticks;
}

static double machine_busy(void)
{
    char line[512];
    FILE *f = fopen("/proc/stat", "re");
    double busy = f && fgets(line, sizeof line, f) ? bench_quiet_busy(line, (double)sysconf(_SC_CLK_TCK)) : -1;
    if (f) fclose(f);
    return busy;
}

static double own_busy(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void bench_quiet_begin(bench_quiet *q) { *q = (bench_quiet){ .busy = machine_busy(), .own = own_busy(), .wall = clock_seconds() }; }

double bench_quiet_end(const bench_quiet *q, double *others)
{
    double seconds = clock_seconds() - q->wall, busy = machine_busy(), own = own_busy();
    *others = q->busy < 0 || busy < 0 ? 0 : MAX(busy - q->busy - (own - q->own), 0.0);
    return seconds;
}

bool bench_quiet_disturbed(double seconds, double others) { return others > 0.1 * seconds + 0.02; }
