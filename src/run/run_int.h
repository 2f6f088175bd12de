/* What the files of run/ share: the model with its tokenizer, and a request's states. */
#ifndef FC_RUN_RUN_INT_H
#define FC_RUN_RUN_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/json.h"
#include "model/gemma.h"
#include "run/sample.h"
#include "run/stop.h"
#include "text/chat.h"
#include "text/grammar.h"
#include "text/parse.h"
#include "text/tok.h"

struct facet_model {
    gemma *gemma;
    tok *tok;                   /* NULL: the file has none, or one that cannot be used (tok_why) */
    err tok_why;
    size_t text_bytes;          /* that it takes */
    chat_variant variant;
    struct run_trie *trie;      /* made when a request first needs it */
    bool chat;                  /* the vocabulary has the turn tokens */
};

/* The vocabulary for constrained answers: any thread may ask for it, the first one makes it (request_format.c). */
struct run_trie { pthread_mutex_t lock; trie *trie; };

/* OK, or why the model's text cannot be read. */
status run_need_tok(const facet_model *m, err *e);

typedef enum request_state { REQUEST_NEW, REQUEST_QUEUED, REQUEST_RUNNING, REQUEST_DONE } request_state;

struct facet_request {
    facet_engine *engine;
    const facet_model *model;
    facet_event_fn fn;
    void *user;

    /* The caller's until it is submitted, then the engine thread's. */
    json_t *messages, *tools;   /* a conversation, or */
    bool raw;                   /* ids that were given directly */
    bool think, preserve_thinking;
    tok_ids ids;                /* the prompt, then what was produced */
    int32_t prompt_count;
    bool in_thought;            /* the prompt ends inside an open thought */
    facet_sampling sampling;    /* its pointers are not valid any more */
    sample_state *sampler;
    schema *format;             /* of a JSON answer, or NULL */
    int32_t format_node;
    bool constrained;           /* facet_request_tools was called */
    facet_tool_choice choice;
    char *named;                /* the function to call */
    bool one_call;
    buf unenforced;
    stop_match stop;
    facet_result result;

    /* The engine thread's. */
    int32_t done;               /* ids[0..done) are in the cache */
    parser *parser;             /* of a conversation */
    grammar *grammar;           /* of a constrained answer, or NULL */
    uint64_t *mask;             /* its next mask */
    const char **tool_names;    /* what the parser borrows as long as it lives */
    tok_decoder decoder;        /* of a raw text */
    buf text, piece;            /* for events */
    double submitted, started, first;

    atomic_bool cancelled;
    atomic_bool stepping;       /* the engine computes for it right now */
    pthread_mutex_t lock;
    pthread_cond_t finished;
    request_state state;        /* guarded by lock */
    bool orphan;                /* guarded by lock: freed by its owner inside a callback */
    facet_request *next;        /* in the engine's queue; guarded by the engine's lock */
};

/* Frees without asking (request.c). */
void request_destroy(facet_request *r);
/* The names of the declared functions, for the parser.  *names owned (mem_free), the texts borrowed from r->tools. */
status request_tool_names(const facet_request *r, const char ***names, size_t *count, err *e);

/* Makes the grammar of a request that needs one, when its prompt is there (request_format.c). */
status request_constrain(facet_request *r, err *e);

/* Turns produced tokens into events (output.c).  A failure is the request's. */
status output_begin(facet_request *r, err *e);
status output_token(facet_request *r, int32_t id, err *e);
/* cut: by a limit, else by the model or a stop text.  *calls: the model waits for results of calls. */
status output_end(facet_request *r, bool cut, bool *calls, err *e);
void   output_emit(facet_request *r, const facet_event *ev);

#endif
