#include "run/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/hash.h"
#include "base/log.h"
#include "os/file.h"

enum { BACK = 16, NAME = 16 };      /* tokens that a checkpoint may be taken back; hexadecimal digits of a name */
#define SUFFIX ".prefix"

int32_t store_anchor(int32_t length) { return MAX(length - BACK, 0) / GEMMA_PAGE * GEMMA_PAGE; }

uint64_t store_hash(const store *s, uint64_t seed, const int32_t *ids, int32_t n)
{
    sip h;
    sip_begin(&h, &s->dir.secret);
    sip_add(&h, &seed, sizeof seed);
    sip_add(&h, ids, (size_t)n * sizeof *ids);
    return sip_end(h);
}

status store_layout(store *s, const gemma_ctx_opts *o, arena *a, err *e)
{
    status st = OK;
    TRY(arena_array(a, &s->entries, STORE_ENTRIES, e));
    TRY(arena_array(a, &s->path, PATH_MAX, e));
    TRY(arena_array(a, &s->job.ids, o->ctx, e));
    TRY(arena_array(a, &s->job.pages, (o->ctx + GEMMA_PAGE - 1) / GEMMA_PAGE, e));
out:
    return st;
}

/* ---- the index ------------------------------------------------------------------------------------ */

static const char *path_of(store *s, uint64_t name)
{
    snprintf((char *)s->path, PATH_MAX, "%s/%016llx" SUFFIX, s->dir.path, (unsigned long long)name);
    return (const char *)s->path;
}

static int32_t entry_of(const store *s, uint64_t name)
{
    for (int32_t i = 0; i < s->count; i++)
        if (s->entries[i].name == name) return i;
    return -1;
}

/* File and entry; with the lock held. */
static void forget(store *s, int32_t i)
{
    unlink(path_of(s, s->entries[i].name));
    s->bytes -= s->entries[i].bytes;
    s->entries[i] = s->entries[--s->count];
}

static bool add(store *s, const store_entry *n)
{
    if (s->count == STORE_ENTRIES) return false;
    s->entries[s->count++] = *n;
    s->bytes += n->bytes;
    return true;
}

/* Room for a file, by forgetting what was used longest ago. */
static bool make_room(store *s, uint64_t bytes)
{
    if (bytes > s->bytes_max) return false;
    while (s->count && (s->bytes > s->bytes_max - bytes || s->count == STORE_ENTRIES)) {
        int32_t oldest = 0;
        for (int32_t i = 1; i < s->count; i++)
            if (s->entries[i].used < s->entries[oldest].used) oldest = i;
        forget(s, oldest);
    }
    return true;
}

/* "0123456789abcdef.prefix"; *rest: what follows, a temporary file's ending or nothing. */
static bool parse_name(const char *text, uint64_t *name, const char **rest)
{
    char *end, digits[NAME + 1] = "";
    if (strlen(text) < NAME + sizeof SUFFIX - 1 || strspn(text, "0123456789abcdef") != NAME || strncmp(text + NAME, SUFFIX, sizeof SUFFIX - 1) != 0) return false;
    memcpy(digits, text, NAME);
    *name = strtoull(digits, &end, 16);
    *rest = text + NAME + sizeof SUFFIX - 1;
    return true;
}

static status read_header(store *s, const char *path, store_entry *out, err *e)
{
    status st = OK;
    store_header h = { 0 };
    struct stat a;
    bool of_model = false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) FAIL(e, E_IO, "could not read the cache\n%s", strerror(errno));
    if (fstat(fd, &a) != 0 || !S_ISREG(a.st_mode)) FAIL(e, E_FORMAT, "cannot use a file of the cache\nit is none");
    if (read(fd, &h, sizeof h) != (ssize_t)sizeof h) FAIL(e, E_FORMAT, "cannot use a file of the cache\nit is cut short");
    TRY(store_check_header(s, &h, (uint64_t)a.st_size, &of_model, e));
    *out = (store_entry){ .name = h.name, .scope = h.scope, .anchor = h.anchor, .bytes = h.bytes, .length = of_model ? h.state.length : 0,
                          .used = (int64_t)a.st_mtim.tv_sec * 1000000000 + a.st_mtim.tv_nsec };
out:
    if (fd >= 0) close(fd);
    return st;
}

/* Files with other names are not ours, and stay. */
static status index_file(void *user, const char *text, bool is_dir, err *e)
{
    store *s = user;
    err why = { 0 };
    store_entry n = { 0 };
    uint64_t name;
    const char *rest;
    (void)e;
    if (is_dir || !parse_name(text, &name, &rest)) return OK;
    snprintf((char *)s->path, PATH_MAX, "%s/%s", s->dir.path, text);
    bool left = strncmp(rest, ".tmp-", 5) == 0;                 /* a process ended while it wrote */
    if (*rest && !left) return OK;
    if (left || read_header(s, (const char *)s->path, &n, &why) != OK || n.name != name || !add(s, &n)) {
        if (!left) log_print(LOG_WARN, "\"%s\" is removed: %s: %s", s->path, why.what[0] ? why.what : "cannot use a file of the cache", why.why[0] ? why.why : "its name is another");
        unlink((const char *)s->path);
        return OK;
    }
    s->clock = MAX(s->clock, n.used);
    return OK;
}

bool store_find(store *s, uint64_t scope, const int32_t *ids, int32_t n, int32_t more, int32_t *length, uint64_t *name)
{
    uint64_t keyed = sip_hash(&s->dir.secret, &scope, sizeof scope), anchor = 0;
    int32_t most = more, at = -1, ctx = gemma_ctx_opts_used(s->x)->ctx;
    pthread_mutex_lock(&s->lock);
    for (int32_t i = 0; i < s->count; i++) {
        const store_entry *k = &s->entries[i];
        int32_t serves = MIN(k->length, n);
        if (serves <= most || k->length > ctx || k->scope != keyed || k->length - BACK > n) continue;
        if (at != store_anchor(k->length)) anchor = store_hash(s, 0, ids, at = store_anchor(k->length));
        if (k->anchor != anchor) continue;
        most = serves;
        *length = k->length;
        *name = k->name;
    }
    pthread_mutex_unlock(&s->lock);
    return most > more;
}

bool store_has(store *s, uint64_t scope, const int32_t *ids, int32_t n, uint64_t *name)
{
    *name = store_hash(s, scope ^ s->model, ids, n);
    pthread_mutex_lock(&s->lock);
    bool there = entry_of(s, *name) >= 0;
    pthread_mutex_unlock(&s->lock);
    return there;
}

/* ---- the thread ----------------------------------------------------------------------------------- */

static status save(store *s, err *e)
{
    status st = OK;
    store_job *j = &s->job;
    file_out f = { .fd = -1 };
    store_entry n = { .name = j->name, .scope = sip_hash(&s->dir.secret, &j->scope, sizeof j->scope), .bytes = store_file_bytes(s, &j->state), .length = j->state.length,
                      .anchor = store_hash(s, 0, j->ids, store_anchor(j->state.length)) };
    pthread_mutex_lock(&s->lock);
    bool room = make_room(s, n.bytes);
    pthread_mutex_unlock(&s->lock);
    if (!room) FAIL(e, E_CANCELLED, "could not write the cache\nthe file would be larger than its limit");
    TRY(file_out_begin(&f, path_of(s, j->name), e));
    TRY(file_out_private(&f, e));
    TRY(store_write_file(s, f.fd, e));
    TRY(file_out_commit(&f, e));
    pthread_mutex_lock(&s->lock);
    n.used = ++s->clock;
    add(s, &n);
    s->written++;
    pthread_mutex_unlock(&s->lock);
out:
    file_out_abort(&f);
    return st;
}

static status load(store *s, err *e)
{
    status st = OK;
    const char *path = path_of(s, s->job.name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) FAIL(e, E_FORMAT, "could not read a file of the cache\n%s", strerror(errno));
    TRY(store_read_file(s, fd, e));
    futimens(fd, NULL);
out:
    if (fd >= 0) close(fd);
    pthread_mutex_lock(&s->lock);
    int32_t i = entry_of(s, s->job.name);
    if (st == OK && i >= 0) s->entries[i].used = ++s->clock;
    if (st == OK) s->read++;
    if (st == E_FORMAT && i >= 0) forget(s, i);
    pthread_mutex_unlock(&s->lock);
    return st;
}

/* Said once, until something works again. */
static void complain(store *s, const err *why)
{
    pthread_mutex_lock(&s->lock);
    bool said = s->complained;
    s->complained = true;
    s->failed++;
    pthread_mutex_unlock(&s->lock);
    if (!said) log_print(LOG_WARN, "%s, in \"%s\": %s; going on without", why->what, s->dir.path, why->why);
}

static void work(store *s)
{
    err why = { 0 };
    store_job *j = &s->job;
    j->st = j->save ? save(s, &why) : load(s, &why);
    if (j->st == E_FORMAT) log_print(LOG_WARN, "\"%s/%016llx" SUFFIX "\" is removed: %s: %s", s->dir.path, (unsigned long long)j->name, why.what, why.why);
    else if (j->st != OK && j->st != E_CANCELLED) complain(s, &why);
    else if (j->st == OK && j->save) s->complained = false;
}

static void run(void *user)
{
    store *s = user;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (!s->stopping && (!s->busy || s->done)) pthread_cond_wait(&s->wake, &s->lock);
        if (s->stopping) break;
        pthread_mutex_unlock(&s->lock);
        work(s);
        pthread_mutex_lock(&s->lock);
        s->done = true;
        pthread_cond_broadcast(&s->idle);
        pthread_mutex_unlock(&s->lock);
        s->ready(s->user);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
}

bool store_is_busy(store *s)
{
    pthread_mutex_lock(&s->lock);
    bool busy = s->busy;
    pthread_mutex_unlock(&s->lock);
    return busy;
}

void store_begin(store *s)
{
    pthread_mutex_lock(&s->lock);
    atomic_store(&s->abort, false);
    s->busy = true;
    s->done = false;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

bool store_take(store *s)
{
    pthread_mutex_lock(&s->lock);
    bool done = s->busy && s->done;
    if (done) s->busy = s->done = false;
    pthread_mutex_unlock(&s->lock);
    return done;
}

void store_abort(store *s) { atomic_store(&s->abort, true); }

bool store_wait(store *s, double seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + (int64_t)(seconds * 1e9);
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_mutex_lock(&s->lock);
    while (s->busy && !s->done && pthread_cond_timedwait(&s->idle, &s->lock, &until) == 0) { }
    bool done = !s->busy || s->done;
    pthread_mutex_unlock(&s->lock);
    return done;
}

void store_count(store *s, facet_stats *out)
{
    if (!s->running) return;
    pthread_mutex_lock(&s->lock);
    out->disk_written = s->written;
    out->disk_read = s->read;
    out->disk_failed = s->failed;
    out->disk_files = s->count;
    out->disk_bytes = (int64_t)s->bytes;
    out->disk_bytes_max = (int64_t)s->bytes_max;
    pthread_mutex_unlock(&s->lock);
}

/* ---- start and stop ------------------------------------------------------------------------------- */

/* Another build of the program may compute other bits. */
static uint64_t identity(const gemma_ctx *x)
{
    file_map own = { 0 };
    uint64_t h = gemma_ctx_identity(x);
    if (file_map_open(&own, "/proc/self/exe", NULL) == OK) h = hash_bytes(own.data, own.size, h);
    file_map_close(&own);
    return hash_bytes(FACET_VERSION, sizeof FACET_VERSION, h);
}

status store_start(store *s, gemma_ctx *x, const char *dir, uint64_t bytes_max, void (*ready)(void *), void *user, err *e)
{
    status st = OK;
    pthread_condattr_t a;
    s->x = x;
    s->bytes_max = bytes_max;
    s->ready = ready;
    s->user = user;
    s->dir.lock = -1;
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, NULL);
    pthread_cond_init(&s->idle, &a);
    pthread_condattr_destroy(&a);
    if (strlen(dir) > PATH_MAX - 64) FAIL(e, E_ARG, "cannot keep a cache in a folder with so long a name");
    TRY(own_dir_open(&s->dir, dir, e));
    s->model = identity(x);
    TRY(file_list(dir, index_file, s, e));
    make_room(s, 0);
    int no = task_start(&s->thread, run, s);
    if (no != 0) FAIL(e, E_NOMEM, "could not start the cache's thread\n%s", strerror(no));
    s->running = true;
out:
    if (st != OK) store_stop(s);
    return st;
}

void store_stop(store *s)
{
    if (!s->ready) return;
    if (s->running) {
        pthread_mutex_lock(&s->lock);
        s->stopping = true;
        store_abort(s);
        pthread_cond_signal(&s->wake);
        pthread_mutex_unlock(&s->lock);
        task_wait(&s->thread);
    }
    s->running = false;
    s->ready = NULL;
    own_dir_close(&s->dir);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->wake);
    pthread_cond_destroy(&s->idle);
}
