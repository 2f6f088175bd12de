/* What the files of run/ share: the model with its tokenizer, and a request's states. */
#ifndef FC_RUN_RUN_INT_H
#define FC_RUN_RUN_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/hash.h"
#include "base/json.h"
#include "model/gemma.h"
#include "run/sample.h"
#include "run/stop.h"
#include "text/chat.h"
#include "text/grammar.h"
#include "text/loop.h"
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
struct run_trie { pthread_mutex_t lock; trie *trie; size_t bytes; /* that it takes */ };

/* OK, or why the model's text cannot be read. */
status run_need_tok(const facet_model *m, err *e);

enum { REQUEST_CUTS = 8 };

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
    int32_t think_budget;       /* tokens, -1: none */
    int32_t newline;            /* the token that stands before the end of a thought, -1: none */
    loop loop;                  /* of the thought's tokens */
    bool looped;                /* the thought was closed for it */
    uint64_t scope;
    char *adapter_name;         /* NULL: none */
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
    float *embedding;           /* [H], the caller's: the request is for it and not for an answer; else NULL */
    stop_match stop;
    facet_result result;

    /* The engine thread's. */
    int32_t done;               /* ids[0..done) are in the cache */
    double *sum;                /* [H] of an embedding: the last states so far */
    int32_t summed;             /* ids[0..summed) are in it, or left out of it */
    int32_t cuts[REQUEST_CUTS], cut_count;   /* lengths behind which the cache keeps a checkpoint */
    int32_t adapter;            /* number of its adapter, 0: none; since it is in the engine */
    uint64_t adapter_hash;      /* of all its numbers: what is remembered may outlive the engine */
    uint64_t order;             /* of its first start */
    uint64_t load;              /* which job of the disk was for it; 0: nobody has looked there (engine_disk.c) */
    int32_t in_memory;          /* tokens that were found before it */
    bool begun;                 /* it has had a place; now it may wait for another one */
    int32_t account;            /* of its scope (engine_int.h); guarded by the engine's lock */
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

/* Whose prompts it finds in the cache: those of its scope that were computed with its adapter. */
static inline uint64_t request_branch(const facet_request *r)
{
    uint64_t key[2] = { r->scope, r->adapter_hash };
    return r->adapter ? hash_bytes(key, sizeof key, 0) : r->scope;
}
/* It was not submitted yet (request.c). */
bool request_is_new(facet_request *r);
/* Frees without asking (request.c). */
void request_destroy(facet_request *r);
/* The names of the declared functions, for the parser.  *names owned (mem_free), the texts borrowed from r->tools. */
status request_tool_names(const facet_request *r, const char ***names, size_t *count, err *e);

/* One more place for a checkpoint, while there is room for it. */
void request_add_cut(facet_request *r, int32_t length);

/* Makes the grammar of a request that needs one, when its prompt is there (request_format.c). */
status request_constrain(facet_request *r, err *e);
/* Makes the vocabulary's tree, which stays with the model. */
status request_need_trie(const facet_model *m, err *e);
/* Bytes that constrained answers take: the tree, and this many requests with a format and functions at once.  Measured by making
 * one, with a small schema: long ones add their own size. */
status request_measure(const facet_model *m, int32_t requests, uint64_t *bytes, err *e);

/* Turns produced tokens into events (output.c).  A failure is the request's. */
status output_begin(facet_request *r, err *e);
status output_token(facet_request *r, int32_t id, err *e);
/* cut: by a limit, else by the model or a stop text.  *calls: the model waits for results of calls. */
status output_end(facet_request *r, bool cut, bool *calls, err *e);
void   output_emit(facet_request *r, const facet_event *ev);

/* The limit of a thought (thought.c).  At submit: E_UNSUPPORTED when the vocabulary cannot end one. */
status thought_begin(facet_request *r, err *e);
/* One more token of a thought.  One that goes round in circles has reached its limit. */
void   thought_token(facet_request *r, int32_t id);
/* Forbids a second thought when there is a limit. */
void   thought_mask(const facet_request *r, float *logits);
/* The thought has reached its limit: *id is the next token, whatever was drawn. */
bool   thought_close(const facet_request *r, int32_t *id);

#ifdef FC_TEST_SCRIPT
/* *id: the drawn token; what the script says instead (tests/script/script.c). */
status script_token(const facet_request *r, int32_t *id, err *e);
#endif

#endif
