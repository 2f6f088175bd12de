/* facet.h - run Gemma 4 from C.
 *
 * A model is read-only and may be shared.  An engine owns a thread, a KV cache and a batch.
 * A request is one conversation turn; it belongs to the caller until it is submitted, then to
 * the engine until its last event.  Zero in an option struct always means "choose for me".
 *
 * Every function that can fail returns a facet_status and, when `e` is not NULL, fills *e.
 * Outputs are written only on success.  The library never exits, aborts or prints. */
#ifndef FACET_H
#define FACET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FACET_API __attribute__((visibility("default")))

/* ---- errors ------------------------------------------------------------------------------ */

typedef enum facet_status {
    FACET_OK = 0,
    FACET_E_NOMEM,       /* out of memory, or the memory budget is spent */
    FACET_E_IO,          /* a file or stream could not be read or written */
    FACET_E_FORMAT,      /* a file or message is malformed */
    FACET_E_ARG,         /* the caller asked for something impossible */
    FACET_E_UNSUPPORTED, /* well formed, but not implemented here */
    FACET_E_CANCELLED,   /* stopped on request */
    FACET_E_BUSY,        /* try again later */
    FACET_E_DEVICE,      /* the compute device failed */
    FACET_E_INTERNAL,    /* a bug in facet */
    FACET_E_CONTEXT      /* prompt and answer do not fit into the context */
} facet_status;

/* what: "could not open model file \"x.gguf\""; why: "no such file"; hint: "Run \"facet list\" ...".
 * what is never empty after a failure; why and hint may be. */
typedef struct facet_error {
    facet_status code;
    int os_errno;        /* errno of the failing call, 0 when there is none */
    char what[512];
    char why[512];
    char hint[512];
} facet_error;

/* Text and lists that a function hands over ("owned") are freed with this.  NULL is fine. */
FACET_API void facet_free(void *p);

/* ---- version, machine, log ------------------------------------------------------------------ */

#define FACET_VERSION "0.1.0"

/* "0.1.0": of the library that is linked. */
FACET_API const char *facet_version(void);

typedef struct facet_machine {
    const char *compiler;            /* "gcc 12.2.0" */
    const char *build;               /* "x86_64 release" */
    char cpu[128];                   /* "AMD EPYC 9R14" */
    char isa_built[64];              /* instruction sets compiled in: "ref avx2 avx512" */
    char isa_found[64];              /* those that this machine has */
    char isa_used[64];               /* both, and allowed by FACET_ISA */
    int cores;                       /* usable ones */
    uint64_t memory_total, memory_available;   /* bytes */
} facet_machine;

/* Looks at the machine again with each call; texts that are borrowed live as long as the program. */
FACET_API void facet_machine_read(facet_machine *out);

typedef enum facet_log_level { FACET_LOG_ERROR, FACET_LOG_WARN, FACET_LOG_INFO, FACET_LOG_DEBUG } facet_log_level;
typedef void (*facet_log_fn)(void *user, facet_log_level level, const char *text);
/* Where remarks go; NULL (the default): nowhere.  Before any other call; fn may be called from any thread. */
FACET_API void facet_log_sink(facet_log_fn fn, void *user);

/* ---- model ---------------------------------------------------------------------------------- */

typedef struct facet_model   facet_model;
typedef struct facet_engine  facet_engine;
typedef struct facet_request facet_request;

typedef struct facet_model_opts {
    const char *path;                /* GGUF file (any part, when there are several) or Hugging Face folder */
} facet_model_opts;

/* *out owned: facet_model_close.  The file is mapped, not read: do not change it while it is open. */
FACET_API facet_status facet_model_open(facet_model **out, const facet_model_opts *o, facet_error *e);
FACET_API void facet_model_close(facet_model *m);       /* after its engines have stopped; NULL is fine */

typedef struct facet_model_info {
    const char *name;                /* as the file says; borrowed from the model */
    char size_name[64];              /* "E2B", "26B-A4B", or a description made from the sizes */
    int32_t vocab;                   /* V: tokens in the vocabulary, width of a row of logits */
    int32_t context;                 /* longest context the model was made for, tokens */
    int32_t layer_count, hidden, expert_count, expert_used;
    int32_t bos;                     /* id that begins every text, -1: none */
    bool    text;                    /* has a tokenizer */
    bool    chat;                    /* its vocabulary has Gemma 4's turn tokens */
    uint64_t file_bytes;
    uint64_t parameters;             /* as they are published: without what other towers have */
    const char *format;              /* "gguf", "safetensors" */
    const char *weight_type;         /* that most of the layers' weights have: "q4_0", "bf16" */
} facet_model_info;

/* Cannot fail.  name lives as long as the model. */
FACET_API void facet_model_read_info(const facet_model *m, facet_model_info *out);

/* ---- tokens and prompts --------------------------------------------------------------------- */

/* *ids owned, *count of them.  special: spellings of special tokens in the text become those tokens; otherwise they
 * stay text.  The token that begins a text (bos) is never added. */
FACET_API facet_status facet_tokenize(const facet_model *m, const char *text, size_t n, bool special,
                                      int32_t **ids, size_t *count, facet_error *e);
/* *text owned, NUL-terminated, valid UTF-8.  special: control tokens are spelled out, otherwise left out. */
FACET_API facet_status facet_detokenize(const facet_model *m, const int32_t *ids, size_t count, bool special,
                                        char **text, size_t *n, facet_error *e);
/* A conversation as JSON { "messages": [...], "tools": [...], "enable_thinking": b, "preserve_thinking": b,
 * "add_generation_prompt": b } -> the ids of its prompt, with the last as those of a request: there is always a turn to
 * answer in.  *ids owned. */
FACET_API facet_status facet_render(const facet_model *m, const char *json, size_t n,
                                    int32_t **ids, size_t *count, facet_error *e);

/* ---- engine --------------------------------------------------------------------------------- */

typedef enum facet_kv { FACET_KV_DEFAULT /* f16; f32 when exact */, FACET_KV_F32, FACET_KV_F16, FACET_KV_BF16, FACET_KV_Q8_0 } facet_kv;

typedef enum facet_lora_order {
    FACET_LORA_ORDER_FILE,           /* as the file says, else as PEFT has it */
    FACET_LORA_ORDER_RANK,           /* PEFT */
    FACET_LORA_ORDER_EXPERT          /* Unsloth until September 2026 */
} facet_lora_order;

/* A file of low-rank terms: a folder as PEFT saves it, or a GGUF file made for llama.cpp.  What cannot be applied to the model is
 * refused by name. */
typedef struct facet_adapter {
    const char *name;                /* what requests call it; several of one name are one adapter: they add up */
    const char *path;
    double scale;                    /* factor on top of the file's own; 0: 1 */
    facet_lora_order order;          /* of the columns of B of fused experts in a PEFT folder */
} facet_adapter;

/* Zero: choose for me. */
typedef struct facet_engine_opts {
    int32_t ctx;                     /* most tokens of one request, prompt and answer; 0: min(model's, 8192) */
    int32_t parallel;                /* requests computed at once; 0: 1.  More of them wait in a queue */
    int32_t queue;                   /* most requests that wait; 0: 64 */
    int32_t chunk;                   /* most tokens of one step, all requests together; 0: 512 */
    facet_kv kv;                     /* number type of the cache */
    int64_t cache;                   /* bytes for remembered prompts and answers, which the next request that begins alike finds,
                                      * and for what requests need besides one of ctx tokens; 0: by parallel and free memory;
                                      * < 0: nothing is remembered, and every request has room for ctx tokens */
    const char *cache_dir;           /* NULL, or a folder where what is remembered outlives the engine: it is made (mode 0700) when it is not
                                      * there, and belongs to one engine at a time (E_BUSY).  Borrowed until facet_engine_start is back */
    int64_t cache_disk;              /* most bytes in it; 0: 8 GiB */
    bool    embed;                   /* requests for embeddings are taken */
    bool    constrained;             /* answers will be held to schemas or functions: the vocabulary is prepared for that at
                                      * start, not by the first of them, and the plan counts what all requests at once take for it.
                                      * Means nothing to a model without text */
    int     threads;                 /* 0: one per core */
    const char *isa;                 /* highest instruction set: "ref", "avx2", ...; NULL: $FACET_ISA, then all there are.
                                      * One that build or machine lacks is refused: E_UNSUPPORTED */
    bool    exact;                   /* reference arithmetic in f32 */
    bool    invariant;               /* a token's bits do not depend on how many others share its step.  They never do but on processors
                                      * with AMX, where 32 and more go a faster way of their own (docs/kernels.md) */
    const facet_adapter *adapters;   /* loaded at the start, [adapter_count]; borrowed until the call returns */
    size_t  adapter_count;
} facet_engine_opts;

/* o may be NULL.  *out owned: facet_engine_stop.  m must stay open until then. */
FACET_API facet_status facet_engine_start(facet_engine **out, const facet_model *m, const facet_engine_opts *o, facet_error *e);
/* Cancels what is running or waiting (their last events still come), then ends the thread.  Requests must be freed
 * by their owners, before or after.  Not from an event callback. */
FACET_API void facet_engine_stop(facet_engine *g);
/* What was chosen; cache as it was given, cache_dir the engine's own; adapters left out. */
FACET_API void facet_engine_read_opts(const facet_engine *g, facet_engine_opts *out);

/* Counters since the start, and what is in use now.  Any thread. */
typedef struct facet_stats {
    uint64_t prompt_tokens, cached_tokens;   /* of requests that began; of these, those that were in the cache */
    uint64_t steps, rows;            /* forward passes, and tokens in them */
    uint64_t preempted;              /* requests set back to make room; they went on later */
    uint64_t evicted;                /* checkpoints forgotten to make room */
    int32_t running, waiting;        /* requests */
    int32_t checkpoints, checkpoints_max;    /* places behind which a prompt can go on */
    uint64_t disk_tokens;            /* of cached_tokens, those that came back from cache_dir */
    uint64_t disk_written, disk_read, disk_failed;   /* files */
    int32_t disk_files;              /* in it now */
    int64_t disk_bytes, disk_bytes_max;
    int64_t tokens, tokens_max;      /* room in the cache: used by requests and by what is remembered */
    double prompt_rate;              /* tokens per second in the newest steps with prompts; 0: none yet */
} facet_stats;
FACET_API void facet_engine_read_stats(facet_engine *g, facet_stats *out);

/* Loads an adapter into a running engine: files of one name, which add up.  Requests go on meanwhile; those submitted afterwards can
 * ask for it.  E_ARG: there is one of that name; E_FORMAT, E_UNSUPPORTED: the file does not fit.  Any thread, but not from an event
 * callback. */
FACET_API facet_status facet_adapter_load(facet_engine *g, const facet_adapter *parts, size_t count, facet_error *e);
/* E_BUSY while requests use it, E_ARG when there is none. */
FACET_API facet_status facet_adapter_unload(facet_engine *g, const char *name, facet_error *e);

typedef struct facet_adapter_info {
    char name[128];
    int32_t rank;                    /* the highest of its terms */
    int32_t terms;                   /* matrices of the model that it changes, every expert's by itself */
    int32_t users;                   /* requests that use it now */
    uint64_t bytes;
} facet_adapter_info;
/* In the order in which they were loaded.  *out owned: facet_free. */
FACET_API facet_status facet_adapter_list(facet_engine *g, facet_adapter_info **out, size_t *count, facet_error *e);

typedef enum facet_fit {
    FACET_FITS,                      /* everything, the whole file included */
    FACET_FITS_PAGING,               /* all but the file: parts of it are read from the disk again and again */
    FACET_TOO_BIG                    /* not even cache and buffers fit */
} facet_fit;

/* Bytes that an engine with these options takes, by purpose; measured by the code that takes them. */
typedef struct facet_plan {
    uint64_t weights_mapped;         /* of the file: given back by the system when it needs the memory */
    uint64_t weights_owned;          /* small tensors kept as f32 */
    uint64_t kv;                     /* the attention cache */
    uint64_t activations;            /* buffers of a step */
    uint64_t logits;                 /* and of drawing tokens */
    uint64_t text;                   /* the tokenizer, and what constrained answers need */
    uint64_t adapters;               /* of the options */
    uint64_t other;
    uint64_t total;
    facet_fit fit;                   /* into the memory that is free now */
    int32_t ctx, parallel, chunk;    /* as chosen */
    int64_t tokens;                  /* that the full-attention layers hold, of all requests and prefixes together */
    int32_t checkpoints;             /* places to go on from */
} facet_plan;
/* o as for facet_engine_start, NULL too; takes nothing itself but, when constrained, the prepared vocabulary, which stays with
 * the model.  Fails as facet_engine_start would for impossible options. */
FACET_API facet_status facet_plan_engine(const facet_model *m, const facet_engine_opts *o, facet_plan *out, facet_error *e);

/* ---- sampling ------------------------------------------------------------------------------- */

typedef struct facet_bias { int32_t id; float add; } facet_bias;   /* -INFINITY forbids a token */

/* Steps in this order: penalties and bias, temperature, top_k, top_p, min_p, draw. */
typedef struct facet_sampling {
    float    temperature;            /* 0: always the likeliest token, the lower id of equals */
    int32_t  top_k;                  /* 0: off */
    float    top_p;                  /* 1: off */
    float    min_p;                  /* 0: off; share of the likeliest token's probability */
    float    repeat_penalty;         /* 1: off; divides positive scores of tokens in prompt and answer, multiplies negative ones */
    float    presence_penalty;       /* 0: off; subtracted once from tokens of the answer */
    float    frequency_penalty;      /* 0: off; subtracted per occurrence in the answer */
    const facet_bias *bias;          /* added to scores; borrowed until the request is made */
    size_t   bias_count;
    uint64_t seed;                   /* same seed, same text: whatever the threads and the other requests */
    int32_t  max_tokens;             /* of thought and answer together; 0: until the context is full */
    const char *const *stop;         /* texts that end the answer, UTF-8; borrowed until the request is made */
    size_t   stop_count;
    bool     ignore_end;             /* the tokens that end a turn are never drawn */
    bool     logprobs;               /* FACET_TOKEN events, with the model's own probabilities (before penalties, T = 1) */
    int32_t  top_logprobs;           /* and those of this many likeliest tokens, at most 20 */
} facet_sampling;

/* The file's own defaults (Gemma 4: temperature 1, top_k 64, top_p 0.95) and a fresh seed. */
FACET_API void facet_sampling_defaults(const facet_model *m, facet_sampling *out);

/* ---- requests ------------------------------------------------------------------------------- */

typedef enum facet_role { FACET_SYSTEM, FACET_USER, FACET_ASSISTANT } facet_role;

typedef enum facet_finish {
    FACET_FINISH_STOP,               /* the model ended its turn */
    FACET_FINISH_STOP_TEXT,          /* one of sampling.stop appeared */
    FACET_FINISH_LENGTH,             /* max_tokens, or the context is full */
    FACET_FINISH_CALLS,              /* the model waits for the results of its calls */
    FACET_FINISH_CANCELLED,
    FACET_FINISH_ERROR               /* result.error says why */
} facet_finish;

typedef struct facet_result {
    facet_finish finish;
    facet_error error;               /* of FACET_FINISH_ERROR */
    int32_t prompt_tokens;
    int32_t cached_tokens;           /* of the prompt: still in the cache from an earlier request */
    int32_t answer_tokens;           /* produced, thoughts and the token that ended the turn included */
    int32_t thought_tokens;          /* of these, the thought: what opens and closes it left out */
    int32_t stop_index;              /* which stop text, or -1 */
    double  wait_seconds;            /* in the queue */
    double  prompt_seconds;          /* from there to the first token */
    double  answer_seconds;          /* from the first token to the last */
    char    warning[256];            /* what was malformed in the output, or "" */
} facet_result;

typedef enum facet_event_kind {
    FACET_PROGRESS,                  /* prompt_done of prompt_total tokens are in the cache */
    FACET_TOKEN,                     /* a token was produced; only with sampling.logprobs */
    FACET_THOUGHT,                   /* more text of the thought */
    FACET_ANSWER,                    /* more text of the answer */
    FACET_CALL,                      /* a whole tool call */
    FACET_DONE                       /* the last event; the request is the caller's again */
} facet_event_kind;

typedef struct facet_logprob { int32_t id; float logprob; } facet_logprob;

/* Everything in it is borrowed until the callback returns. */
typedef struct facet_event {
    facet_event_kind kind;
    const char *text; size_t n;      /* THOUGHT, ANSWER: whole characters, UTF-8, also NUL-terminated */
    const char *name;                /* CALL: the function */
    const char *arguments;           /* CALL: a JSON object */
    int32_t index;                   /* CALL: 0, 1, ... */
    facet_logprob token;             /* TOKEN */
    const facet_logprob *top;        /* TOKEN: likeliest first */
    int32_t top_count;
    int32_t prompt_done, prompt_total;
    int32_t answer_tokens;           /* produced so far, those that are not text yet included */
    const facet_result *result;      /* DONE */
} facet_event;

/* Called on the engine's thread, events of one request in order; everything waits while it runs, so be brief. */
typedef void (*facet_event_fn)(void *user, const facet_event *ev);

/* A request is one conversation (messages) or one raw text (text, tokens), not both.
 * s may be NULL: facet_sampling_defaults.  *out owned: facet_request_free. */
FACET_API facet_status facet_request_new(facet_request **out, facet_engine *g, const facet_sampling *s, facet_error *e);
/* Adds a turn. */
FACET_API facet_status facet_request_message(facet_request *r, facet_role who, const char *text, size_t n, facet_error *e);
/* The whole conversation at once, as facet_render takes it: with tools, calls and results. */
FACET_API facet_status facet_request_conversation(facet_request *r, const char *json, size_t n, facet_error *e);
/* Who asks (a key, a tenant): prompts are found in the cache only by requests of the same scope, and scopes get equal shares of
 * the engine.  0 without this call. */
FACET_API void facet_request_scope(facet_request *r, uint64_t scope);
/* Answer with this adapter of the engine; NULL (the default): with the model as it is.  E_ARG from facet_request_submit when there is
 * none of that name.  The cache keeps what different adapters compute apart. */
FACET_API facet_status facet_request_adapter(facet_request *r, const char *name, facet_error *e);
/* Let the model think before it answers (off unless the conversation says so). */
FACET_API void facet_request_think(facet_request *r, bool on);
/* A thought of at most so many tokens: one that gets there is closed and the answer begins; what closes it is part of answer_tokens,
 * and no second thought is opened.  0: closed as soon as it opens.  < 0 (the default): no limit.  Does not switch thinking on; means
 * nothing to raw text. */
FACET_API void facet_request_think_budget(facet_request *r, int32_t tokens);
/* Raw text to go on with, without turns; bos stands before it.  special as in facet_tokenize. */
FACET_API facet_status facet_request_text(facet_request *r, const char *text, size_t n, bool special, facet_error *e);
/* Raw ids to go on with, exactly these. */
FACET_API facet_status facet_request_tokens(facet_request *r, const int32_t *ids, size_t count, facet_error *e);

/* The answer is JSON that this schema describes (what is enforced: docs/constrained.md); a thought before it stays free.
 * schema NULL: any JSON object.  strict: a keyword that is not enforced is refused by name, E_UNSUPPORTED; otherwise
 * facet_request_unenforced names it.  E_ARG: no valid schema, or no value fits it; E_UNSUPPORTED: too large. */
FACET_API facet_status facet_request_format(facet_request *r, const char *schema, size_t n, bool strict, facet_error *e);
typedef enum facet_tool_choice {
    FACET_TOOLS_AUTO,                /* the model may call the declared functions */
    FACET_TOOLS_NONE,                /* or may not */
    FACET_TOOLS_REQUIRED             /* or must: `name`, or any of them when it is NULL */
} facet_tool_choice;
/* Calls are constrained to the functions that the conversation declares and to their schemas; without this call they are
 * not.  parallel: several calls in one answer.  name is copied.  The schemas are read by facet_request_submit: E_ARG there
 * for a name that cannot be used, for a schema that cannot or a keyword that is not enforced in a function with "strict":
 * true, and when a call is required of a function that is not declared.  Without strict a function whose schema cannot be
 * used takes any arguments, and facet_request_unenforced says "parameters of NAME". */
FACET_API facet_status facet_request_tools(facet_request *r, facet_tool_choice choice, const char *name, bool parallel, facet_error *e);
/* Names of the keywords of format and tools that are not enforced, "not, if"; "" when all are.  Of the tools: after
 * submit.  Borrowed until the request is freed. */
FACET_API const char *facet_request_unenforced(const facet_request *r);

/* The request, raw text or tokens, is for an embedding of its text and not for an answer: the mean of the last layer's states after
 * the final norm over the text's tokens (without bos), made to length 1.  Gemma 4 was not trained to give any.  out: [hidden]
 * floats (facet_model_info), the caller's, written before FACET_DONE when nothing has failed.  The whole text fits into the context
 * or is refused, E_CONTEXT.  Needs facet_engine_opts.embed: E_ARG. */
FACET_API facet_status facet_request_embed(facet_request *r, float *out, facet_error *e);

/* Renders the prompt and hands the request to the engine.  E_ARG: prompt empty or malformed; E_CONTEXT: longer than
 * the context; E_BUSY: the queue is full.  fn may be NULL.  After success the last event always comes. */
FACET_API facet_status facet_request_submit(facet_request *r, facet_event_fn fn, void *user, facet_error *e);
/* Any thread, any time before facet_request_free, also from a signal handler.  The last event comes within a layer. */
FACET_API void facet_request_cancel(facet_request *r);
/* Blocks until the last event has been handled; *out (may be NULL) is the result.  Fails as the request failed;
 * a cancelled request is FACET_E_CANCELLED.  Not from an event callback. */
FACET_API facet_status facet_request_wait(facet_request *r, facet_result *out, facet_error *e);
/* Cancels and waits first if it must; from an event callback of its own it takes effect after the last event. */
FACET_API void facet_request_free(facet_request *r);

/* ---- logits --------------------------------------------------------------------------------- */

/* One row of logits: softcapped, [V], of position pos; what follows ids[0..pos].  A failure ends the run. */
typedef facet_status (*facet_row_fn)(void *user, int32_t pos, const float *logits, int32_t vocab, facet_error *e);
/* A named intermediate tensor [T, width] of one step; layer -1: outside the layers. */
typedef void (*facet_tap_fn)(void *user, int32_t layer, const char *name, const float *data, int64_t T, int64_t width);

typedef struct facet_logits_opts {
    facet_engine_opts engine;        /* ctx, chunk, kv, threads, isa, exact, invariant; adapters: all of them at once, whatever their names */
    facet_row_fn row; void *row_user;
    facet_tap_fn tap; void *tap_user;   /* NULL: none */
    int32_t greedy;                  /* then go on with this many likeliest tokens */
    int32_t *greedy_out;             /* [greedy] */
} facet_logits_opts;

/* Runs ids through the model once, on the calling thread, and gives the logits of every position to o->row. */
FACET_API facet_status facet_logits(const facet_model *m, const int32_t *ids, size_t count, const facet_logits_opts *o, facet_error *e);

#ifdef __cplusplus
}
#endif
#endif
