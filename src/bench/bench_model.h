/* A model at work: prefill and decode at every depth and batch, by gemma_step as the engine calls it.
 *
 * A sample is one whole prefill or decode.  Depth is filled by a real prefill with random tokens and restored before each
 * sample; sequences of a batch have contents of their own.  Samples during which something else used the processor
 * are repeated. */
#ifndef FC_BENCH_BENCH_MODEL_H
#define FC_BENCH_BENCH_MODEL_H

#include "bench/bench_machine.h"
#include "bench/bench_work.h"

enum { BENCH_LIST_MAX = 16 };

typedef struct bench_list { int32_t count, at[BENCH_LIST_MAX]; } bench_list;

typedef struct bench_model_opts {
    const char *path;
    bench_list prefill, decode;  /* tokens of each sequence; an empty list leaves that test out */
    bench_list depth, batch;     /* at least one each */
    int threads;                 /* 0: one per core */
    uint32_t isa;
    bool exact, invariant;
    dtype kv;                    /* DTYPE_COUNT: the model's default */
    int32_t chunk, ctx;          /* 0: choose */
    int rounds;                  /* samples of a test; 0: 5 */
    double seconds;              /* no further sample of a test after that; 0: 20 */
    bool skip_machine;           /* no limits, no shares */
    void (*progress)(void *user, const char *what, double share);   /* or NULL */
    void *user;
} bench_model_opts;

typedef struct bench_result {
    bool decode;
    int32_t tokens, depth, batch;
    bench_stats tok_s;           /* all sequences together */
    int disturbed;               /* samples thrown away */
    bool noisy;                  /* no sample was undisturbed: these were not */
    double seconds;              /* of a sample, median */
    bench_work work;             /* of a sample */
    int32_t steps;
    double experts;              /* a layer and step on average, 0 without experts */
    /* against the machine's limits, 0 where they were not measured */
    double bandwidth_share, peak_share;
    double roofline_tok_s;       /* the lower of both limits */
} bench_result;

typedef struct bench_report {
    char name[128], size[96];    /* the model's, for people */
    int threads;
    uint32_t isa;                /* used */
    dtype kv;
    int32_t chunk;
    bench_result *results;
    int count;
    bench_machine machine;       /* mean of before and after; count 0 when it was skipped */
    uint64_t file_bytes;
    uint64_t private_bytes;      /* most memory besides the mapped file */
    uint64_t peak_rss_bytes;     /* most memory in all, the file's pages included */
    double open_seconds;         /* files, tokenizer, context */
    double first_token_seconds;  /* from the start of opening to the first logits */
} bench_report;

/* *out: bench_report_done.  E_ARG when the context cannot hold a depth and its tokens. */
status bench_model_run(bench_report *out, const bench_model_opts *o, err *e);
void   bench_report_done(bench_report *r);

/* Shares and roofline of a result whose work and times are known. */
void   bench_result_shares(bench_result *r, const bench_limits *l);

#endif
