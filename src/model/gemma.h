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

typedef struct gemma_ctx gemma_ctx;

typedef struct gemma_ctx_opts {
    int32_t ctx;               /* longest sequence, tokens; 0: min(model's context, 8192) */
    int32_t seq_max;           /* sequences alive at once; 0: 1 */
    int32_t row_max;           /* most rows of one step (the chunk); 0: 512 */
    int32_t logit_rows_max;    /* most rows whose logits are wanted in one step; 0: seq_max + 16, capped at row_max */
    dtype   kv_type;           /* F32, F16, BF16, Q8_0; DTYPE_COUNT (from gemma_ctx_defaults): F32 when exact, else F16 */
    int32_t rank_max;          /* highest rank of an adapter; 0: 64 */
    int     threads;           /* 0: one per core */
    uint32_t isa;              /* mask, 0: all that the machine has */
    bool    exact;             /* f32 activations and reference kernels */
    bool    no_cache;          /* one step is the whole of every sequence; keeps layer inputs (training) */
    bool    marks;             /* room for gemma_seq_mark: in each sliding layer window + 15 rows a sequence */
    bool    keep_k;            /* K = V layers store K too, instead of rebuilding it (for comparison) */
} gemma_ctx_opts;

void gemma_ctx_defaults(gemma_ctx_opts *o);   /* kv_type chosen by exact, the rest 0 */
/* Makes every choice that was left open (threads stay 0) and checks the rest: E_ARG, E_UNSUPPORTED. */
status gemma_ctx_choose(const gemma *m, gemma_ctx_opts *o, err *e);

/* Lays out cache and step buffers.  With measure != NULL nothing is allocated: the bytes by purpose are
 * written there by the same code (the plan). */
typedef struct gemma_bytes { uint64_t weights_mapped, weights_owned, kv, activations, other; } gemma_bytes;
status gemma_ctx_new(gemma_ctx **out, const gemma *m, const gemma_ctx_opts *o, gemma_bytes *measure, err *e);
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
    int32_t adapter;           /* 0: none; an id given to gemma_adapter_set */
    bool    want_logits;
} gemma_row;

/* Low-rank terms: y += scale * B (A x) in one linear, for the rows whose adapter is id. */
typedef enum gemma_linear {
    GEMMA_Q, GEMMA_K, GEMMA_V, GEMMA_O, GEMMA_GATE, GEMMA_UP, GEMMA_DOWN, GEMMA_ROUTER,
    GEMMA_EXPERT_GATE, GEMMA_EXPERT_UP, GEMMA_EXPERT_DOWN,   /* the only ones with expert >= 0 */
    GEMMA_PLE_GATE, GEMMA_PLE_PROJ,
    GEMMA_PLE_MODEL_PROJ, GEMMA_HEAD,                        /* layer -1 */
    GEMMA_LINEAR_COUNT
} gemma_linear;
/* a: [r, inputs], b: [outputs, r], copied.  id > 0; expert -1 where there is none.  Replaces an earlier one of the
 * same place.  E_ARG when the model has no such linear. */
status gemma_adapter_set(gemma_ctx *x, int32_t id, int32_t layer, gemma_linear which, int32_t expert, const float *a, const float *b,
                         int32_t r, float scale, err *e);
void   gemma_adapter_clear(gemma_ctx *x, int32_t id);

/* Runs T rows through the network.  logits: [rows with want_logits, V] in row order, softcapped, or NULL when
 * none is wanted.  On failure the cache is as before.  Rows that nothing depends on leave early. */
status gemma_step(gemma_ctx *x, const gemma_row *rows, int32_t T, float *logits, err *e);

/* Sequences. */
status  gemma_seq_new(gemma_ctx *x, int32_t *seq, err *e);          /* E_BUSY when seq_max are alive */
void    gemma_seq_free(gemma_ctx *x, int32_t seq);
int32_t gemma_seq_length(const gemma_ctx *x, int32_t seq);
/* Forgets the last n tokens; n <= 16 always works, more only while no window has wrapped, or to the mark: else E_ARG. */
status  gemma_seq_take_back(gemma_ctx *x, int32_t seq, int32_t n, err *e);
/* The sequence can go back to its present length, and to the 16 before it, however long it becomes: instead of the last
 * mark, and until it is taken back further.  A fork or a restored sequence has none.  Needs gemma_ctx_opts.marks: E_ARG. */
status  gemma_seq_mark(gemma_ctx *x, int32_t seq, err *e);
int32_t gemma_seq_marked(const gemma_ctx *x, int32_t seq);          /* the length, 0: none */
/* A new sequence with the same content; full-attention pages are shared, rings copied. */
status  gemma_seq_fork(gemma_ctx *x, int32_t from, int32_t *to, err *e);
/* Whole state of a sequence as bytes (checksummed), and back into a new sequence. */
size_t  gemma_seq_bytes(const gemma_ctx *x, int32_t seq);
status  gemma_seq_save(const gemma_ctx *x, int32_t seq, void *out, size_t n, err *e);
status  gemma_seq_load(gemma_ctx *x, const void *p, size_t n, int32_t *seq, err *e);

/* Named intermediate tensors, for finding the first difference (--dump-layers).  fn is called during gemma_step:
 * layer -1 outside the layers; data [T, width] f32. */
typedef void (*gemma_tap_fn)(void *user, int32_t layer, const char *name, const float *data, int64_t T, int64_t width);
void gemma_ctx_tap(gemma_ctx *x, gemma_tap_fn fn, void *user);

/* After a step with no_cache, until the next one.  Input of a layer [T, H]; layer L: the last layer's output. NULL when
 * there is none. */
const float *gemma_ctx_layer_input(const gemma_ctx *x, int32_t layer);
/* K and V that later layers read too: f32, [heads][row_max][d]; E_ARG for other layers. */
status gemma_ctx_shared_kv(const gemma_ctx *x, int32_t layer, const float **k, const float **v, err *e);

/* Experts of a layer whose weights the steps of this context have read: one that several rows of a step chose counts once. */
uint64_t gemma_ctx_experts_read(const gemma_ctx *x, int32_t layer);

/* Asks a running step, or the next one, to stop: it returns E_CANCELLED within a layer. Any thread. */
void gemma_ctx_interrupt(gemma_ctx *x);

#endif
