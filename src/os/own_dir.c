#include "os/own_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "os/file.h"

static status check(const char *path, err *e)
{
    status st = OK;
    struct stat s;
    if (mkdir(path, 0700) != 0 && errno != EEXIST) FAIL(e, E_IO, "could not make the folder \"%s\"\n%s", path, strerror(errno));
    if (stat(path, &s) != 0) FAIL(e, E_IO, "could not use the folder \"%s\"\n%s", path, strerror(errno));
    if (!S_ISDIR(s.st_mode)) FAIL(e, E_ARG, "cannot use \"%s\" as a folder\nit is none", path);
    if (s.st_uid != geteuid()) FAIL(e, E_ARG, "cannot trust the folder \"%s\"\nit is another user's\nUse one of your own.", path);
    if (s.st_mode & (S_IRWXG | S_IRWXO))
        FAIL(e, E_ARG, "cannot trust the folder \"%s\"\nothers may look into it (mode %03o)\nRun: chmod 700 %s", path, (unsigned)s.st_mode & 0777, path);
out:
    return st;
}

static status take_lock(own_dir *d, err *e)
{
    status st = OK;
    char *path = file_join(d->path, "lock");
    if (!path) FAIL(e, E_NOMEM, "could not use the folder \"%s\"\nout of memory", d->path);
    d->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (d->lock < 0) FAIL(e, E_IO, "could not lock the folder \"%s\"\n%s", d->path, strerror(errno));
    if (flock(d->lock, LOCK_EX | LOCK_NB) == 0) goto out;
    if (errno == EWOULDBLOCK) FAIL(e, E_BUSY, "could not use the folder \"%s\"\nanother process works in it\nGive each one a folder of its own.", d->path);
    FAIL(e, E_IO, "could not lock the folder \"%s\"\n%s", d->path, strerror(errno));
out:
    mem_free(path);
    return st;
}

/* The secret is whatever the file holds when it has the right size; else a new one, and nothing that was made with an old one fits. */
static status read_secret(own_dir *d, err *e)
{
    status st = OK;
    buf b;
    file_out f = { .fd = -1 };
    char *path = file_join(d->path, "secret");
    buf_init(&b, 4096);
    if (!path) FAIL(e, E_NOMEM, "could not use the folder \"%s\"\nout of memory", d->path);
    if (file_size(path) == (int64_t)sizeof d->secret) {
        TRY(file_read_all(&b, path, e));
        if (b.len != sizeof d->secret) FAIL(e, E_IO, "could not read \"%s\"\nit changes", path);
        memcpy(&d->secret, b.data, sizeof d->secret);
        goto out;
    }
    if (!rng_secret(&d->secret, sizeof d->secret))
        FAIL(e, E_IO, "could not make a secret for \"%s\"\nthe system gives no random numbers: %s", d->path, strerror(errno));
    TRY(file_out_begin(&f, path, e));
    TRY(file_out_private(&f, e));
    TRY(file_out_write(&f, &d->secret, sizeof d->secret, e));
    TRY(file_out_commit(&f, e));
out:
    file_out_abort(&f);
    buf_done(&b);
    mem_free(path);
    return st;
}

status own_dir_open(own_dir *out, const char *path, err *e)
{
    status st = OK;
    own_dir d = { .lock = -1 };
    TRY(check(path, e));
    d.path = mem_strdup(path, strlen(path), MEM_IO);
    if (!d.path) FAIL(e, E_NOMEM, "could not use the folder \"%s\"\nout of memory", path);
    TRY(take_lock(&d, e));
    TRY(read_secret(&d, e));
    *out = d;
    d = (own_dir){ .lock = -1 };
out:
    own_dir_close(&d);
    return st;
}

void own_dir_close(own_dir *d)
{
    if (d->lock >= 0) close(d->lock);
    mem_free(d->path);
    explicit_bzero(&d->secret, sizeof d->secret);
    *d = (own_dir){ .lock = -1 };
}
