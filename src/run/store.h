/* The prefix cache on disk: one file for each checkpoint of a prefix, and one thread that reads and writes them.
 *
 *   header | token ids | rows of the full layers, page by page | rows of the windows | checksum
 *
 * The engine's thread chooses what is written and what is wanted back, and never waits for the disk: it looks into an index in memory,
 * hands a job over, and asks later whether it is done.  Meanwhile it keeps the job's pages and state as they are.  One job at a time.
 *
 * Files are hostile: header and whole are checked with the folder's secret (base/sip.h), tokens are compared one by one, and what
 * does not fit is removed.  Names, scopes and hashes of tokens are keyed with it, too.  It knows no requests and no tree. */
#ifndef FC_RUN_STORE_H
#define FC_RUN_STORE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "facet.h"
#include "model/gemma.h"
#include "os/own_dir.h"
#include "os/task.h"

typedef struct store_header {
    uint8_t magic[8];           /* "FACETPC" and the format's version */
    uint64_t model;             /* gemma_ctx_identity and the program */
    uint64_t scope, name;       /* keyed; the name is that of the file, too */
    uint64_t anchor;            /* of the tokens before store_anchor(length) */
    gemma_state state;          /* length: tokens */
    int32_t kind;               /* prefix_kind */
    uint64_t bytes;             /* of the file */
    uint64_t check;             /* of what is before it */
} store_header;

/* A file that is there. */
typedef struct store_entry {
    uint64_t name, scope, anchor, bytes;
    int64_t used;               /* larger: later */
    int32_t length;             /* 0: of another model: it counts, and is never found */
} store_entry;

/* What the thread works at.  The engine fills it, then it is the thread's until `done`. */
typedef struct store_job {
    bool save;
    uint64_t scope;             /* not keyed */
    int32_t *ids;               /* [ctx]; a load gets those of the file */
    int32_t *pages;             /* [pages of a context] */
    int32_t wanted, count;      /* a load: tokens that were asked for and are in ids; pages */
    int32_t place;              /* the model's window state */
    gemma_state state;
    int32_t kind;
    uint64_t name;              /* of the file */
    status st;
} store_job;

typedef struct store {
    gemma_ctx *x;
    own_dir dir;                /* path NULL: there is no store */
    uint64_t model, bytes_max;
    uint8_t *path;              /* [PATH_MAX] of the thread */
    store_entry *entries;       /* [STORE_ENTRIES]; guarded by lock, as are all that follow but `abort` */
    int32_t count;
    uint64_t bytes;
    int64_t clock;
    store_job job;
    bool busy, done, stopping, complained;
    uint64_t written, read, failed;     /* files */
    pthread_mutex_t lock;
    pthread_cond_t wake, idle;
    atomic_bool abort;          /* the job is not wanted any more */
    void (*ready)(void *user);  /* the job is done; called by the thread */
    void *user;
    task thread;
    bool running;
} store;

enum { STORE_ENTRIES = 16384 };

/* Tokens that all which a checkpoint serves have in common: whole pages. */
int32_t store_anchor(int32_t length);

status store_layout(store *s, const gemma_ctx_opts *o, arena *a, err *e);
/* Opens the folder and reads the headers of its files. */
status store_start(store *s, gemma_ctx *x, const char *dir, uint64_t bytes_max, void (*ready)(void *), void *user, err *e);
/* Ends the thread, with what it works at. */
void   store_stop(store *s);
static inline bool store_is_on(const store *s) { return s->running; }

/* The longest file that may help with the first n of ids, when its length (at most ctx) is over `more`; *length, *name: of it. */
bool   store_find(store *s, uint64_t scope, const int32_t *ids, int32_t n, int32_t more, int32_t *length, uint64_t *name);
/* The file for exactly these tokens is there; *name is what it is called, there or not. */
bool   store_has(store *s, uint64_t scope, const int32_t *ids, int32_t n, uint64_t *name);
/* Bytes that a file for such a state takes. */
uint64_t store_file_bytes(const store *s, const gemma_state *state);

bool   store_is_busy(store *s);         /* a job is worked at, or done and not taken yet */
void   store_begin(store *s);           /* s->job is filled, the store is not busy */
/* The job is done: true once; then it is not busy. */
bool   store_take(store *s);
/* Asks the thread to leave the job; what it has not finished fails. */
void   store_abort(store *s);
/* Waits until the job is done, at most so many seconds: false when it is not. */
bool   store_wait(store *s, double seconds);

/* The counters of the disk. */
void   store_count(store *s, facet_stats *out);

/* ---- files, apart from the folder (for tests, too) ---- */

/* A header that is meant for a file of so many bytes, and for a model of this shape; E_FORMAT: it is none.  of_model: of this one. */
status store_check_header(const store *s, const store_header *h, uint64_t bytes, bool *of_model, err *e);
uint64_t store_hash(const store *s, uint64_t seed, const int32_t *ids, int32_t n);      /* keyed */
/* Writes what the job says / reads it back, at fd. */
status store_write_file(store *s, int fd, err *e);
status store_read_file(store *s, int fd, err *e);

#endif
