/* Reading a file past the page cache. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/mem.h"
#include "bench/bench_machine.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/pool.h"

enum { BLOCK = 1 << 20, QUEUE = 4, ROUND_BLOCKS = 32, TEMP_BLOCKS = 256, ROUNDS_MAX = 1000 };

typedef struct disk_job {
    int fd;
    uint8_t *memory;             /* [QUEUE][BLOCK] */
    int64_t first, blocks;       /* of the round; of the file */
    _Atomic int error;
} disk_job;

static void read_block(void *ctx, int64_t item, int worker)
{
    disk_job *j = ctx;
    off_t at = (off_t)((j->first + item) % j->blocks) * BLOCK;
    ssize_t n = pread(j->fd, j->memory + (size_t)worker * BLOCK, BLOCK, at);
    if (n != BLOCK) atomic_store(&j->error, n < 0 ? errno : EIO);
}

/* Numbers that no disk can shorten. */
static status fill_file(int fd, uint8_t *block, const char *dir, err *e)
{
    uint64_t z = 88172645463325252u;
    for (int b = 0; b < TEMP_BLOCKS; b++) {
        for (size_t i = 0; i < BLOCK; i += 8) {
            z ^= z << 13;
            z ^= z >> 7;
            z ^= z << 17;
            store_u64(block + i, z);
        }
        if (pwrite(fd, block, BLOCK, (off_t)b * BLOCK) != BLOCK)
            return err_set(e, E_IO, "could not write a temporary file in \"%s\"\n%s", dir, strerror(errno ? errno : ENOSPC));
    }
    if (fsync(fd) != 0) return err_set(e, E_IO, "could not write a temporary file in \"%s\"\n%s", dir, strerror(errno));
    return OK;
}

/* The file has no name any more when this returns: it is gone with the program, whatever happens. */
static status open_temporary(int *fd, const char *dir, uint8_t *block, err *e)
{
    status st = OK;
    char *path = file_join(dir, "facet-bench-XXXXXX"), link[64];
    int made = -1;
    if (!path) FAIL(e, E_NOMEM, "could not measure the disk\nout of memory");
    made = mkostemp(path, O_CLOEXEC);
    if (made < 0) FAIL(e, E_IO, "could not make a temporary file in \"%s\"\n%s", dir, strerror(errno));
    unlink(path);
    TRY(fill_file(made, block, dir, e));
    snprintf(link, sizeof link, "/proc/self/fd/%d", made);
    *fd = open(link, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (*fd < 0) FAIL(e, E_IO, "could not read \"%s\" past the page cache\n%s", dir, strerror(errno));
out:
    if (made >= 0) close(made);
    mem_free(path);
    return st;
}

static status time_rounds(bench_limit *out, disk_job *j, pool *p, const char *path, double seconds, err *e)
{
    status st = OK;
    double *rates = mem_array(ROUNDS_MAX, sizeof *rates, MEM_OTHER);
    size_t n = 0;
    if (!rates) FAIL(e, E_NOMEM, "could not measure the disk\nout of memory");
    for (double end = clock_seconds() + seconds; n < ROUNDS_MAX && (n < 3 || clock_seconds() < end); n++) {
        double start = clock_seconds();
        pool_run(p, ROUND_BLOCKS, read_block, j);
        rates[n] = (double)ROUND_BLOCKS * BLOCK / MAX(clock_seconds() - start, 1e-9);
        j->first = (j->first + ROUND_BLOCKS) % j->blocks;
        int error = atomic_load(&j->error);
        if (error) FAIL(e, E_IO, "could not read \"%s\" past the page cache\n%s", path, strerror(error));
    }
    bench_stats s = bench_stats_of(rates, n);
    *out = (bench_limit){ .rate = s.median, .spread = s.spread, .how = "O_DIRECT, 1 MB at a time, 4 threads" };
out:
    mem_free(rates);
    return st;
}

status bench_disk_measure(bench_limit *out, const char *path, double seconds, err *e)
{
    status st = OK;
    pool *p = NULL;
    struct stat info;
    disk_job j = { .fd = -1 };
    uint8_t *memory = mem_alloc((size_t)(QUEUE + 1) * BLOCK, MEM_IO);
    if (!memory) FAIL(e, E_NOMEM, "could not measure the disk\nout of memory");
    j.memory = (uint8_t *)align_up((uintptr_t)memory, 4096);     /* O_DIRECT wants whole sectors of memory too */
    if (file_is_dir(path)) TRY(open_temporary(&j.fd, path, j.memory, e));
    else if ((j.fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC)) < 0) FAIL(e, E_IO, "could not read \"%s\" past the page cache\n%s", path, strerror(errno));
    if (fstat(j.fd, &info) != 0) FAIL(e, E_IO, "could not read \"%s\"\n%s", path, strerror(errno));
    j.blocks = info.st_size / BLOCK;
    if (j.blocks < ROUND_BLOCKS) FAIL(e, E_ARG, "cannot measure the disk with \"%s\"\nit is smaller than %d MB\nName a folder, for a temporary file in it.", path, ROUND_BLOCKS);
    TRY(pool_new(&p, QUEUE, e));
    TRY(time_rounds(out, &j, p, path, seconds > 0 ? seconds : 0.6, e));
out:
    if (j.fd >= 0) close(j.fd);
    pool_free(p);
    mem_free(memory);
    return st;
}
