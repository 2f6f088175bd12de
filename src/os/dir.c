#include "os/dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "os/file.h"

static status folder_error(err *e, const char *what, const char *path)
{
    return err_set(e, E_IO, "could not %s the folder \"%s\"\n%s", what, path, strerror(errno));
}

status dir_make(const char *path, err *e)
{
    if (mkdir(path, 0777) == 0 || (errno == EEXIST && file_is_dir(path))) return OK;
    return folder_error(e, "make", path);
}

void dir_remove(const char *path)
{
    DIR *d = opendir(path);
    if (!d) return;
    for (const struct dirent *x; (x = readdir(d));) {
        struct stat s;
        if (strcmp(x->d_name, ".") == 0 || strcmp(x->d_name, "..") == 0) continue;
        char *name = file_join(path, x->d_name);
        if (name && lstat(name, &s) == 0 && S_ISDIR(s.st_mode)) dir_remove(name);
        else if (name) unlink(name);
        mem_free(name);
    }
    closedir(d);
    rmdir(path);
}

/* What the names in it are is on disk, too. */
static void sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    (void)!fsync(fd);
    close(fd);
}

status dir_out_begin(dir_out *d, const char *path, err *e)
{
    status st = OK;
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    *d = (dir_out){ 0 };
    if (!n) FAIL(e, E_ARG, "cannot make a folder without a name");
    d->path = mem_strdup(path, n, MEM_IO);
    d->tmp = mem_alloc(n + sizeof ".tmp-0123abcd", MEM_IO);
    if (!d->path || !d->tmp) FAIL(e, E_NOMEM, "could not make the folder \"%s\"\nout of memory", path);
    if (file_exists(d->path) && !file_is_dir(d->path)) FAIL(e, E_ARG, "cannot make the folder \"%s\"\nthere is a file of that name", path);
    for (int tries = 0; tries < 100; tries++) {
        snprintf(d->tmp, n + sizeof ".tmp-0123abcd", "%s.tmp-%08x", d->path, (unsigned)rng_fresh_seed());
        if (mkdir(d->tmp, 0777) == 0) goto out;
        if (errno != EEXIST) break;
    }
    st = folder_error(e, "make", path);
    mem_free(d->tmp);       /* there is nothing to remove */
    d->tmp = NULL;
out:
    if (st != OK) dir_out_abort(d);
    return st;
}

static status move_file(const dir_out *d, const char *name, err *e)
{
    status st = OK;
    char *from = file_join(d->tmp, name), *to = file_join(d->path, name);
    if (!from || !to) FAIL(e, E_NOMEM, "could not write \"%s\"\nout of memory", d->path);
    if (rename(from, to) != 0) FAIL(e, E_IO, "could not write \"%s\"\n%s", to, strerror(errno));
out:
    mem_free(from);
    mem_free(to);
    return st;
}

static status move_all(const dir_out *d, const char *const *names, err *e)
{
    status st = OK;
    size_t n = 0;
    while (names[n]) n++;
    char *last = n ? file_join(d->path, names[n - 1]) : NULL;
    if (!last) FAIL(e, E_NOMEM, "could not write \"%s\"\nout of memory", d->path);
    if (unlink(last) != 0 && errno != ENOENT) FAIL(e, E_IO, "could not replace \"%s\"\n%s", last, strerror(errno));
    sync_folder(d->path);
    for (size_t i = 0; i < n; i++) TRY(move_file(d, names[i], e));
    sync_folder(d->path);
out:
    mem_free(last);
    return st;
}

status dir_out_commit(dir_out *d, const char *const *names, err *e)
{
    status st = OK;
    sync_folder(d->tmp);
    if (file_is_dir(d->path)) TRY(move_all(d, names, e));
    else if (rename(d->tmp, d->path) != 0) st = folder_error(e, "make", d->path);
out:
    dir_out_abort(d);
    return st;
}

void dir_out_abort(dir_out *d)
{
    if (d->tmp) dir_remove(d->tmp);
    mem_free(d->tmp);
    mem_free(d->path);
    *d = (dir_out){ 0 };
}
