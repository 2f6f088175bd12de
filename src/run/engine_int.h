/* What the files of the engine share.  engine.c: start, stop, the loop.  engine_adapter.c: adapters by name.  engine_admit.c: who gets a place, who gives it back.
 * engine_step.c: the rows of a step and what comes of them. */
#ifndef FC_RUN_ENGINE_INT_H
#define FC_RUN_ENGINE_INT_H

#include "lora/lora.h"
#include "os/task.h"
#include "run/engine.h"
#include "run/prefix.h"
#include "run/run_int.h"
#include "run/store.h"

/* A place among those that are computed at once. */
typedef struct slot {
    facet_request *r;          /* NULL: idle */
    int32_t seq;
} slot;

/* What a scope has got of the engine's work, while it has requests. */
typedef struct account {
    uint64_t scope;
    uint64_t work;             /* rows of prompts count 1, rows of answers ANSWER_WORK */
    int32_t users;             /* requests that wait or run; 0: free */
} account;

/* What one engine needs beside the model's context. */
typedef struct buffers {
    slot *slots;               /* [parallel] */
    account *accounts;         /* [queue + 2 parallel]; guarded by the engine's lock */
    gemma_row *rows;           /* [row_max] */
    float *logits;             /* [parallel, V] */
    float *hidden;             /* [hidden_rows_max, H] last states for embeddings */
    float *raw;                /* [V] a row of logits before penalties, for log-probabilities */
    sample_candidate *scratch; /* [V] */
    int32_t *pending, *take;   /* [parallel] */
} buffers;

/* An adapter that requests can ask for. */
typedef struct engine_adapter {
    facet_adapter_info info;   /* users: requests that wait or run */
    int32_t id;                /* never given twice */
    uint64_t hash;             /* of its terms: the cache is kept apart by it */
    struct engine_adapter *next;
} engine_adapter;

/* What another thread wants done to the context between two steps. */
typedef struct engine_change {
    bool pending, done;
    int32_t id;
    gemma_adapter *attach;     /* NULL: the id's adapter goes */
    status st;
    err why;
} engine_change;

struct facet_engine {
    const facet_model *model;
    gemma_ctx *ctx;
    gemma_ctx_opts opts;
    int64_t cache;                      /* as it was asked for */
    arena memory;
    buffers b;
    prefix prefix;
    uint64_t started;                   /* requests so far */
    bool full;                          /* somebody had to make room: nobody new until somebody has ended */
    store store;                        /* prefixes on disk; off without a folder */
    uint64_t loads;                     /* jobs that read so far; the newest one belongs to the request whose `load` says so */
    bool loading, wanted;               /* one reads; somebody waits for the disk until another job is over */
    double retry;                       /* nothing is written before this time */
    double row_seconds;                 /* of the newest steps with prompts */

    task thread;
    bool running, constrained;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    facet_request *first, **last;       /* queue; guarded by lock */
    int32_t waiting, waiting_max;       /* guarded by lock */
    bool stopping;                      /* guarded by lock */
    facet_stats stats;                  /* guarded by lock */
    engine_adapter *adapters;           /* guarded by lock */
    int32_t adapter_last;               /* the newest id; guarded by lock */
    engine_change change;               /* guarded by lock */
    pthread_cond_t changed;             /* change was made, or its place is free */
};

/* ---- engine_admit.c ---- */

/* Opens the account of a new request's scope.  With the lock held. */
void engine_admit_enter(facet_engine *g, facet_request *r);
/* Takes out what was cancelled, and gives idle places to requests that wait. */
void engine_admit_run(facet_engine *g);
/* The request is over and its place idle; what it computed stays in the cache. */
void engine_admit_leave(facet_engine *g, slot *s, facet_finish how);
void engine_admit_fail(facet_engine *g, slot *s, const err *why);
/* Free pages for the rows that are planned, by forgetting prefixes, else by setting a request back: then false, and rows must be
 * planned again. */
bool engine_admit_room(facet_engine *g, int32_t wanted);

/* ---- engine_disk.c: what is remembered goes to the disk and comes back; nobody waits for it but the request that it is for ---- */

/* Takes what the disk has done, and gives it something to write. */
void engine_disk_turn(facet_engine *g);
/* The disk has, or may have, more of a request's beginning than h: it stays in the queue for now. */
bool engine_disk_wait(facet_engine *g, facet_request *r, const prefix_hit *h);
/* Pages are short: what the disk holds is given up.  False: it held none. */
bool engine_disk_yield(facet_engine *g);
/* The engine ends: writes what it can within FLUSH_SECONDS. */
void engine_disk_flush(facet_engine *g);

/* ---- engine_adapter.c ---- */

/* The options' adapters as they are given to lora/: *out owned (mem_free), the texts borrowed. */
status engine_adapter_parts(const facet_adapter *list, size_t n, lora_part **out, err *e);
/* Those of the options, before the thread runs. */
status engine_adapter_start(facet_engine *g, const facet_engine_opts *o, err *e);
void   engine_adapter_done(facet_engine *g);
/* The engine's thread, between two steps: what others want changed. */
void   engine_adapter_change(facet_engine *g);
/* The request's adapter by its name, and one more user.  With the lock held. */
status engine_adapter_enter(facet_engine *g, facet_request *r, err *e);
void   engine_adapter_leave(facet_engine *g, const facet_request *r);

/* ---- engine_step.c ---- */

void engine_step_run(facet_engine *g);

#endif
