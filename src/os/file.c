#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/rng.h"
#include "base/str.h"

/* E_IO with the reason the system gives and, where there is something to do about it, a hint. */
static status io_error(err *e, int number, const char *what, const char *path)
{
    const char *hint = number == ENOENT ? "Check the name." :
                       number == EACCES || number == EPERM ? "Check the permissions of the file and its folder." :
                       number == ENOSPC || number == EDQUOT ? "Free some space or write to another disk." : "";
    errno = number;
    return err_set(e, E_IO, "could not %s \"%s\"\n%s\n%s", what, path, strerror(number), hint);
}

status file_map_open(file_map *out, const char *path, err *e)
{
    status st = OK;
    void *p = NULL;
    struct stat s;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);   /* a FIFO would block otherwise */
    if (fd < 0) return io_error(e, errno, "open file", path);
    if (fstat(fd, &s) < 0) { st = io_error(e, errno, "open file", path); goto out; }
    if (S_ISDIR(s.st_mode)) FAIL(e, E_ARG, "cannot open \"%s\" as a file\nit is a folder", path);
    if (!S_ISREG(s.st_mode)) FAIL(e, E_ARG, "cannot map \"%s\"\nit is not a regular file\nSave its content to a file first.", path);
    if (s.st_size > 0) {
        p = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) { st = io_error(e, errno, "map file", path); goto out; }
    }
    *out = (file_map){ .data = p, .size = (size_t)s.st_size, .changed = (int64_t)s.st_mtim.tv_sec * 1000000000 + s.st_mtim.tv_nsec,
                        .device = (uint64_t)s.st_dev, .inode = (uint64_t)s.st_ino };
out:
    close(fd);
    return st;
}

void file_map_close(file_map *m)
{
    if (m->data) munmap((void *)(uintptr_t)m->data, m->size);
    *m = (file_map){ 0 };
}

void file_map_want(const file_map *m, size_t offset, size_t n)
{
    if (!m->data || offset >= m->size) return;
    size_t page = (size_t)sysconf(_SC_PAGESIZE), start = offset / page * page;
    madvise((void *)(uintptr_t)(m->data + start), MIN(n, m->size - offset) + offset - start, MADV_WILLNEED);
}

void file_map_steady(const void *p, size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = (uintptr_t)p & ~(page - 1);
    madvise((void *)begin, (uintptr_t)p + n - begin, MADV_HUGEPAGE);
}

/* Whole pages only: what else lies in the first and the last one may still be wanted. */
void file_map_drop(const void *p, size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = align_up((uintptr_t)p, page), end = ((uintptr_t)p + n) & ~(page - 1);
    if (begin < end) madvise((void *)begin, end - begin, MADV_DONTNEED);
}

bool file_map_is(const file_map *m, const char *path)
{
    struct stat s;
    return m->data && stat(path, &s) == 0 && (uint64_t)s.st_dev == m->device && (uint64_t)s.st_ino == m->inode;
}

bool file_exists(const char *path) { return access(path, F_OK) == 0; }

bool file_is_dir(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

bool file_is_regular(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISREG(s.st_mode);
}

int64_t file_size(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISREG(s.st_mode) ? (int64_t)s.st_size : -1;
}

static status read_all(buf *b, int fd, const char *path, err *e)
{
    char chunk[65536];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return io_error(e, errno, "read", path);
        if (n == 0) return OK;
        if ((size_t)n > b->max - b->len)
            return err_set(e, E_ARG, "cannot read \"%s\"\nit is larger than the limit of %zu bytes", path, b->max);
        status st = buf_add(b, chunk, (size_t)n, e);
        if (st != OK) return st;
    }
}

status file_read_all(buf *b, const char *path, err *e)
{
    if (strcmp(path, "-") == 0) return read_all(b, STDIN_FILENO, "standard input", e);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return io_error(e, errno, "open", path);
    status st = read_all(b, fd, path, e);
    close(fd);
    return st;
}

/* A new file beside `path` with a name nobody uses; O_EXCL settles races, the umask settles the mode. */
static status open_temporary(file_out *f, err *e)
{
    size_t cap = strlen(f->path) + sizeof ".tmp-0123abcd";
    f->tmp = mem_alloc(cap, MEM_IO);
    if (!f->tmp) return err_set(e, E_NOMEM, "could not write \"%s\"\nout of memory", f->path);
    for (int tries = 0; tries < 100; tries++) {
        snprintf(f->tmp, cap, "%s.tmp-%08x", f->path, (unsigned)rng_fresh_seed());
        f->fd = open(f->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (f->fd >= 0) return OK;
        if (errno != EEXIST) break;
    }
    int number = errno;
    mem_free(f->tmp);
    f->tmp = NULL;
    return io_error(e, number, "write", f->path);
}

/* A symbolic link stays one: what it points to is replaced. */
static char *resolved(const char *path)
{
    struct stat s;
    char *real = lstat(path, &s) == 0 && S_ISLNK(s.st_mode) ? realpath(path, NULL) : NULL;
    const char *p = real ? real : path;
    char *copy = mem_strdup(p, strlen(p), MEM_IO);
    free(real);
    return copy;
}

status file_out_begin(file_out *f, const char *path, err *e)
{
    status st = OK;
    struct stat s;
    *f = (file_out){ .fd = -1 };
    if (!path[0]) FAIL(e, E_ARG, "cannot write a file without a name");
    f->path = resolved(path);
    if (!f->path) FAIL(e, E_NOMEM, "could not write \"%s\"\nout of memory", path);
    bool there = stat(f->path, &s) == 0;
    if (there && S_ISDIR(s.st_mode)) FAIL(e, E_ARG, "cannot write \"%s\"\nit is a folder", path);
    if (there && !S_ISREG(s.st_mode)) {   /* /dev/stdout, a pipe: nothing to rename */
        f->fd = open(f->path, O_WRONLY | O_CLOEXEC);
        if (f->fd < 0) st = io_error(e, errno, "write", path);
        goto out;
    }
    TRY(open_temporary(f, e));
    if (there) (void)!fchmod(f->fd, s.st_mode & 0777);
out:
    if (st != OK) file_out_abort(f);
    return st;
}

status file_out_private(file_out *f, err *e) { return fchmod(f->fd, 0600) == 0 ? OK : io_error(e, errno, "write", f->path); }

status file_out_write(file_out *f, const void *p, size_t n, err *e)
{
    for (const char *from = p; n;) {
        ssize_t done = write(f->fd, from, n);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return io_error(e, errno, "write", f->path);
        from += done;
        n -= (size_t)done;
        f->written += (uint64_t)done;
    }
    return OK;
}

status file_out_write_at(file_out *f, uint64_t offset, const void *p, size_t n, err *e)
{
    for (const char *from = p; n;) {
        ssize_t done = pwrite(f->fd, from, n, (off_t)offset);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return io_error(e, errno, "write", f->path);
        from += done;
        offset += (uint64_t)done;
        n -= (size_t)done;
    }
    return OK;
}

status file_out_commit(file_out *f, err *e)
{
    status st = OK;
    /* Pipes and terminals cannot be synchronised: EINVAL and EROFS say so. */
    if (fsync(f->fd) < 0 && errno != EINVAL && errno != EROFS) { st = io_error(e, errno, "write", f->path); goto out; }
    int closed = close(f->fd);
    f->fd = -1;
    if (closed < 0) { st = io_error(e, errno, "write", f->path); goto out; }
    if (f->tmp && rename(f->tmp, f->path) < 0) { st = io_error(e, errno, "write", f->path); goto out; }
    mem_free(f->tmp);   /* renamed: nothing to remove any more */
    f->tmp = NULL;
out:
    file_out_abort(f);
    return st;
}

void file_out_abort(file_out *f)
{
    if (f->path && f->fd >= 0) close(f->fd);
    if (f->tmp) unlink(f->tmp);
    mem_free(f->tmp);
    mem_free(f->path);
    *f = (file_out){ .fd = -1 };
}

typedef struct dir_entry { char *name; bool is_dir; } dir_entry;
typedef struct dir_names { dir_entry *at; size_t count, cap; } dir_names;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const dir_entry *)a)->name, ((const dir_entry *)b)->name);
}

static status add_name(dir_names *l, const char *dir, const struct dirent *d, err *e)
{
    if (l->count == l->cap) {
        dir_entry *more = mem_resize(l->at, (l->cap + 64) * 2 * sizeof *more, MEM_IO);
        if (!more) goto full;
        l->at = more;
        l->cap = (l->cap + 64) * 2;
    }
    char *name = mem_strdup(d->d_name, strlen(d->d_name), MEM_IO);
    char *path = name ? file_join(dir, name) : NULL;
    if (!path) {
        mem_free(name);
        goto full;
    }
    l->at[l->count++] = (dir_entry){ name, d->d_type == DT_DIR || (d->d_type != DT_REG && file_is_dir(path)) };
    mem_free(path);
    return OK;
full:
    return err_set(e, E_NOMEM, "could not list folder \"%s\"\nout of memory", dir);
}

status file_list(const char *dir, file_list_fn fn, void *user, err *e)
{
    status st = OK;
    dir_names l = { 0 };
    DIR *d = opendir(dir);
    if (!d) return io_error(e, errno, "list folder", dir);
    for (const struct dirent *x; (x = readdir(d));)
        if (strcmp(x->d_name, ".") != 0 && strcmp(x->d_name, "..") != 0) TRY(add_name(&l, dir, x, e));
    if (l.count) qsort(l.at, l.count, sizeof *l.at, by_name);
    for (size_t i = 0; i < l.count; i++) TRY(fn(user, l.at[i].name, l.at[i].is_dir, e));
out:
    closedir(d);
    for (size_t i = 0; i < l.count; i++) mem_free(l.at[i].name);
    mem_free(l.at);
    return st;
}

char *file_join(const char *dir, const char *name)
{
    size_t nd = strlen(dir), nn = strlen(name);
    bool slash = nd > 0 && dir[nd - 1] != '/';
    char *p = mem_alloc(nd + slash + nn + 1, MEM_IO);
    if (!p) return NULL;
    memcpy(p, dir, nd);
    if (slash) p[nd] = '/';
    memcpy(p + nd + slash, name, nn + 1);
    return p;
}
