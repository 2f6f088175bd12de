/* The model: files opened, weights placed, and one forward pass over T rows of any number of sequences.
 *
 * gemma is read-only after opening and may be shared by threads.  gemma_ctx holds what changes: the
 * cache, the step buffers, the device; one thread at a time uses it. */
#ifndef FC_MODEL_GEMMA_H
#define FC_MODEL_GEMMA_H

#include "base/arena.h"
#include "base/mem.h"
#include "fmt/gguf.h"
#include "fmt/safetensors.h"
#include "model/gemma_config.h"
#include "model/weights.h"

typedef struct gemma {
    gemma_config config;
    weights weights;
    gguf_file *gguf;           /* one of the two */
    st_file *safetensors;
    char *path;
} gemma;

/* path: a GGUF file or a Hugging Face folder. */
status gemma_open(gemma **out, const char *path, err *e);
void   gemma_close(gemma *m);   /* NULL is fine */
/* tokenizer.json of a folder; *out owned: json_decref.  NULL when there is none, as in a GGUF, which has its own. */
status gemma_tokenizer_json(const gemma *m, json_t **out, err *e);
/* Another JSON file of a folder, in the same way. */
status gemma_folder_json(const gemma *m, const char *name, json_t **out, err *e);

typedef struct gemma_ctx gemma_ctx;

typedef struct gemma_ctx_opts {
    int32_t ctx;               /* longest sequence, tokens; 0: min(model's context, 8192) */
    int32_t seq_max;           /* sequences alive at once; 0: 1 */
    int32_t row_max;           /* most rows of one step (the chunk); 0: 512 */
    int32_t logit_rows_max;    /* most rows whose logits are wanted in one step; 0: seq_max + 16, capped at row_max */
    int32_t hidden_rows_max;   /* most rows whose last state is wanted in one step, besides; 0: none */
    dtype   kv_type;           /* F32, F16, BF16, Q8_0; DTYPE_COUNT (from gemma_ctx_defaults): F32 when exact, else F16 */
    int32_t rank_max;          /* highest rank of an adapter; 0: 64 */
    int     threads;           /* 0: one per core */
    uint32_t isa;              /* mask, 0: all that the machine has */
    bool    exact;             /* f32 activations and reference kernels */
    bool    invariant;         /* a row's bits do not depend on how many rows share its step (kern_mul.many) */
    bool    no_cache;          /* one step is the whole of every sequence; keeps layer inputs (training) */
    bool    half_inputs;       /* with no_cache: layer inputs are kept as bf16 */
    bool    leave;             /* with no_cache: rows of which nothing is wanted leave as they do with a cache */
    int32_t pages;             /* pages of 64 tokens for the full layers of all sequences; 0: seq_max whole contexts.  At least
                                * one context and one page more for every sequence */
    int32_t states;            /* window states for gemma_state_save: in each sliding layer window + 15 rows each */
    bool    keep_k;            /* K = V layers store K too, instead of rebuilding it (for comparison) */
} gemma_ctx_opts;

void gemma_ctx_defaults(gemma_ctx_opts *o);   /* kv_type chosen by exact, the rest 0 */
/* Makes every choice that was left open (threads stay 0) and checks the rest: E_ARG, E_UNSUPPORTED. */
status gemma_ctx_choose(const gemma *m, gemma_ctx_opts *o, err *e);

/* Lays out cache and step buffers.  With measure != NULL nothing is allocated: the bytes by purpose are
 * written there by the same code (the plan). */
typedef struct gemma_bytes { uint64_t weights_mapped, weights_owned, kv, activations, other; } gemma_bytes;
status gemma_ctx_new(gemma_ctx **out, const gemma *m, const gemma_ctx_opts *o, gemma_bytes *measure, err *e);
/* Bytes of one page and of one window state under these options, measured in the same way. */
status gemma_ctx_units(const gemma *m, const gemma_ctx_opts *o, uint64_t *page, uint64_t *state, err *e);
void   gemma_ctx_free(gemma_ctx *x);
const gemma_ctx_opts *gemma_ctx_opts_used(const gemma_ctx *x);

/* One row of a step.  Rows of one sequence stand in order of position, which continues the sequence.  With
 * no_cache neighbouring rows of equal seq and doc are one sequence, which starts at position 0. */
typedef struct gemma_row {
    int32_t seq;               /* from gemma_seq_new; any number >= 0 with no_cache */
    int32_t pos;               /* 0, 1, 2, ... */
    int32_t token;             /* id; ignored when embed is given */
    const float *embed;        /* [H] soft token, already in the residual's scale, or NULL.  PLE then uses id 0 */
    int32_t block;             /* > 0: rows of one sequence with the same number form an image block */
    int32_t doc;               /* packing: rows see only keys of the same document (no_cache only) */
    int32_t adapter;           /* 0: none; an id given to gemma_adapter_attach */
    bool    want_logits;
    bool    want_hidden;       /* the last layer's output after the final norm */
} gemma_row;

/* Low-rank terms: y += scale * B (A x) in one linear. */
typedef enum gemma_linear {
    GEMMA_Q, GEMMA_K, GEMMA_V, GEMMA_O, GEMMA_GATE, GEMMA_UP, GEMMA_DOWN, GEMMA_ROUTER,
    GEMMA_EXPERT_GATE, GEMMA_EXPERT_UP, GEMMA_EXPERT_DOWN,   /* the only ones with expert >= 0 */
    GEMMA_PLE_GATE, GEMMA_PLE_PROJ,
    GEMMA_PLE_MODEL_PROJ, GEMMA_HEAD,                        /* layer -1 */
    GEMMA_LINEAR_COUNT
} gemma_linear;
/* The matrix of a linear (of experts: all of them); NULL when the model has none there. */
const weight *gemma_adapter_weight(const gemma *m, int32_t layer, gemma_linear which);

/* The terms of one adapter, apart from any context, in one block of memory.  Whoever fills it does so twice: first with bytes == 0,
 * when nothing is stored, then with gemma_adapter_bytes of that. */
typedef struct gemma_adapter gemma_adapter;
status gemma_adapter_new(gemma_adapter **out, const gemma *m, size_t bytes, err *e);
void   gemma_adapter_free(gemma_adapter *a);     /* NULL is fine */
size_t gemma_adapter_bytes(const gemma_adapter *a);
int32_t gemma_adapter_rank(const gemma_adapter *a);     /* the highest of its terms */
int32_t gemma_adapter_count(const gemma_adapter *a);    /* terms */
/* Of all its places and numbers: the same for the same terms, in any process. */
uint64_t gemma_adapter_hash(const gemma_adapter *a);
/* Room for a matrix that lives as long as the adapter, zeroed; NULL while measuring. */
status gemma_adapter_matrix(gemma_adapter *a, int64_t rows, int64_t cols, float **out, err *e);
/* A term of such matrices: down [r, inputs], up [outputs, r]; expert -1 where there is none.  Terms of one place add up.  E_ARG when the
 * model has no such linear. */
status gemma_adapter_add(gemma_adapter *a, int32_t layer, gemma_linear which, int32_t expert, const float *down, const float *up,
                         int32_t r, float scale, err *e);

/* Its terms, in the order in which they were added, until fn fails. */
typedef struct gemma_term {
    int32_t layer;
    gemma_linear which;
    int32_t expert, rank;
    int64_t in, out;
    const float *a, *b;        /* [rank, in], [out, rank] */
    float scale;
} gemma_term;
typedef status (*gemma_term_fn)(void *user, const gemma_term *t, err *e);
status gemma_adapter_visit(const gemma_adapter *a, gemma_term_fn fn, void *user, err *e);

/* Rows with this id, > 0, get the adapter's terms from the next step on, besides those of earlier adapters with that id.  The
 * adapter is the context's then.  E_ARG: its rank is above opts.rank_max. */
status gemma_adapter_attach(gemma_ctx *x, int32_t id, gemma_adapter *a, err *e);
/* Frees the adapters of an id. */
void   gemma_adapter_clear(gemma_ctx *x, int32_t id);

/* Runs T rows through the network.  logits: [rows with want_logits, V] in row order, softcapped, or NULL when
 * none is wanted.  On failure the cache is as before.  Rows that nothing depends on leave early. */
status gemma_step(gemma_ctx *x, const gemma_row *rows, int32_t T, float *logits, err *e);
/* The same; hidden: [rows with want_hidden, H] in row order, or NULL when none is wanted. */
status gemma_step_hidden(gemma_ctx *x, const gemma_row *rows, int32_t T, float *logits, float *hidden, err *e);

/* Sequences. */
status  gemma_seq_new(gemma_ctx *x, int32_t *seq, err *e);          /* E_BUSY when seq_max are alive */
void    gemma_seq_free(gemma_ctx *x, int32_t seq);
int32_t gemma_seq_length(const gemma_ctx *x, int32_t seq);
/* Forgets the last n tokens; n <= 16 always works, more only while no window has wrapped: else E_ARG. */
status  gemma_seq_take_back(gemma_ctx *x, int32_t seq, int32_t n, err *e);
/* A new sequence with the same content; full-attention pages are shared, rings copied. */
status  gemma_seq_fork(gemma_ctx *x, int32_t from, int32_t *to, err *e);
/* Whole state of a sequence as bytes (checksummed), and back into a new sequence. */
size_t  gemma_seq_bytes(const gemma_ctx *x, int32_t seq);
status  gemma_seq_save(const gemma_ctx *x, int32_t seq, void *out, size_t n, err *e);
status  gemma_seq_load(gemma_ctx *x, const void *p, size_t n, int32_t *seq, err *e);

/* Prefixes that outlive their sequence.  What full layers hold of tokens 64 i to 64 i + 63 is page i of the sequence: who
 * remembers it holds it, and drops it later.  What sliding layers hold is copied into a state, a number below opts.states.
 * A page that has users is never changed. */
enum { GEMMA_PAGE = 64 };
int32_t gemma_pages_free(const gemma_ctx *x);
/* Free pages that a step with n more rows of a sequence takes.  Without them gemma_step fails, E_BUSY. */
int32_t gemma_pages_wanted(const gemma_ctx *x, int32_t seq, int32_t n);
int32_t gemma_seq_page(const gemma_ctx *x, int32_t seq, int32_t i);
void    gemma_page_hold(gemma_ctx *x, int32_t page);
void    gemma_page_drop(gemma_ctx *x, int32_t page);
/* Page i of a sequence gives way to one that holds the same tokens behind the same tokens: it has the same bits. */
void    gemma_seq_share(gemma_ctx *x, int32_t seq, int32_t i, int32_t page);
int32_t gemma_page_users(const gemma_ctx *x, int32_t page);
/* The windows behind the first length tokens of a sequence.  Right after a step every length that it added will do.  Returns
 * the shortest prefix that the state serves, a few tokens less than length; 0 when the rings have lost it. */
int32_t gemma_state_save(gemma_ctx *x, int32_t state, int32_t seq, int32_t length);
/* A new sequence that begins with length tokens: pages[] as the remembered one had them, and a state of the same tokens,
 * saved at length or a few tokens later.  Its next rows have the bits they would have had anyway. */
status  gemma_seq_resume(gemma_ctx *x, const int32_t *pages, int32_t state, int32_t length, int32_t *seq, err *e);

/* Prefixes that outlive the process: rows of pages and states as bytes (gemma_move.c).  fn reads n bytes (out) or fills them.  Another
 * thread than the context's may move them as long as nobody changes or drops the page or the state meanwhile. */
typedef status (*gemma_move_fn)(void *user, void *p, size_t n, err *e);
size_t  gemma_page_row_bytes(const gemma_ctx *x);       /* of one token in full layers, and in sliding ones */
size_t  gemma_state_row_bytes(const gemma_ctx *x);
status  gemma_page_move(const gemma_ctx *x, int32_t page, int32_t tokens, bool out, gemma_move_fn fn, void *user, err *e);
status  gemma_state_move(const gemma_ctx *x, int32_t state, int32_t rows, bool out, gemma_move_fn fn, void *user, err *e);
/* A state keeps the windows' rows [first, length). */
typedef struct gemma_state { int32_t length, first, last_block; } gemma_state;
gemma_state gemma_state_read(const gemma_ctx *x, int32_t state);
void    gemma_state_set(gemma_ctx *x, int32_t state, const gemma_state *s);
/* The shortest prefix that such a state serves; 0: there can be no such state here.  Any thread. */
int32_t gemma_state_least(const gemma_ctx *x, const gemma_state *s);
int32_t gemma_page_take(gemma_ctx *x);                  /* a free one, held once; -1: none */
/* A hash of what the bits of pages and states depend on: sizes, types, rotations, the kernels in use, and of the weights the small ones
 * whole, 16 pieces of each large one, the file's size and the time it was last written to. */
uint64_t gemma_ctx_identity(const gemma_ctx *x);

/* Named intermediate tensors, for finding the first difference (--dump-layers).  fn is called during gemma_step:
 * layer -1 outside the layers; data [T, width] f32. */
typedef void (*gemma_tap_fn)(void *user, int32_t layer, const char *name, const float *data, int64_t T, int64_t width);
void gemma_ctx_tap(gemma_ctx *x, gemma_tap_fn fn, void *user);

/* After a step with no_cache, until the next one: rows of a layer's input; of layer L: of the last layer's output.  With leave, behind layer
 * kv_layers - 1: the wanted rows only. */
int32_t gemma_ctx_layer_rows(const gemma_ctx *x, int32_t layer);
/* The input itself, [rows, H], to memory of the device; E_ARG when there is none. */
status gemma_ctx_layer_input(gemma_ctx *x, int32_t layer, float *out, err *e);
/* K and V that later layers read too: f32, [heads][row_max][d]; E_ARG for other layers. */
status gemma_ctx_shared_kv(const gemma_ctx *x, int32_t layer, const float **k, const float **v, err *e);

/* Buffers of its steps, which nothing reads between two of them; rows are row_max, F the widest feed-forward. */
typedef struct gemma_spare {
    float *x, *h, *out;              /* [rows, H] */
    float *q, *att;                  /* [rows, widest nq d] */
    float *k, *v;                    /* [rows, widest nkv d] */
    float *gate, *up;                /* [of the rows that any layer has there, F]; gate also [rows, L P] */
    float *ple;                      /* [rows, L P] or NULL */
    float *dense, *router;           /* experts: [rows, H], [rows, E]; else NULL, like those below */
    float *slot_gate, *slot_up;      /* [rows k, Fe] */
    float *slot_out;                 /* [rows k, H] */
} gemma_spare;
gemma_spare gemma_ctx_spare(const gemma_ctx *x);
/* Where a step without a cache puts the keys and values that a layer makes: [heads][row_max][d].  Of layers that nobody reads later all in
 * one place; the others' are those of gemma_ctx_shared_kv. */
void gemma_ctx_kv_room(const gemma_ctx *x, int32_t layer, float **k, float **v);

/* The device that its steps run on: between steps it may be used for other work, of the same sizes (dev/dev.h). */
dev *gemma_ctx_device(gemma_ctx *x);

/* Experts of a layer whose weights the steps of this context have read: one that several rows of a step chose counts once. */
uint64_t gemma_ctx_experts_read(const gemma_ctx *x, int32_t layer);

/* Asks a running step, or the next one, to stop: it returns E_CANCELLED within a layer. Any thread. */
void gemma_ctx_interrupt(gemma_ctx *x);

#endif
