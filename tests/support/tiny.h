/* Tiny random models of the five architectures, as GGUF files: same arguments, same bytes, on any machine.
 *
 * Weights follow the advice of architecture section 10 (spread norms and layer scalars, attention and routing far from
 * uniform, logits that reach the softcap), so they are fit for comparing numbers.  The vocabulary is a toy one with
 * the real special tokens, byte fallback and a few merges. */
#ifndef FC_TESTS_TINY_H
#define FC_TESTS_TINY_H

#include "base/err.h"
#include "num/dtype.h"

typedef enum tiny_kind { TINY_E2B, TINY_E4B, TINY_12B, TINY_26B, TINY_31B, TINY_KINDS } tiny_kind;

enum { TINY_VOCAB = 512 };

typedef struct tiny_shape {
    const char *name;
    int layers, hidden, ff, nq, nkv, nkv_full, d, d_full;
    int period;              /* every period-th layer is full */
    int window, shared, ple, experts, used, expert_ff;
    bool wide;               /* layers that share K and V have twice the ff */
    bool k_eq_v;             /* full layers have no V tensor */
    bool split_experts;      /* gate and up of the experts in two tensors */
    bool dead_kv;            /* shared layers carry K and V nevertheless */
    bool untied;             /* output.weight is there */
    bool old_names;          /* ffn_gate_inp.per_expert_scale, as early files have it */
} tiny_shape;

/* The shape that tiny_write_gguf uses; change what a test needs and give it to tiny_write_shape. */
tiny_shape tiny_shape_of(tiny_kind kind);
const char *tiny_name(tiny_kind kind);   /* "E2B" */

/* type: of the matrices; rows that are no multiple of its block become Q8_0 or F16.  E_ARG when it has no encoder. */
status tiny_write_gguf(const char *path, tiny_kind kind, dtype type, uint64_t seed, err *e);
status tiny_write_shape(const char *path, const tiny_shape *s, dtype type, uint64_t seed, err *e);

#endif
