/* What the readers of both formats share. */
#ifndef FC_LORA_LORA_INT_H
#define FC_LORA_LORA_INT_H

#include "fmt/gguf.h"
#include "fmt/safetensors.h"
#include "lora/lora.h"
#include "lora/lora_config.h"
#include "model/weight_names.h"

/* The linear of a place; GEMMA_LINEAR_COUNT when it is none (norms, embeddings), and for fused experts. */
gemma_linear lora_linear(weight_place p);
/* The other way; of experts: gate, up and down each in a tensor of its own. */
weight_place lora_place(gemma_linear which);
/* K and V of layers that read those of an earlier one: whatever an adapter has for them has no effect. */
bool lora_is_dead(const gemma *m, int32_t layer, weight_place p);
/* E_FORMAT: the key names nothing in the model. */
status lora_nothing(str key, err *e);
/* E_FORMAT: what a, the tensor of that name, should be like. */
status lora_shape(str key, const char *expected, err *e);
/* The rank is within what this program can run. */
status lora_check_rank(str key, int64_t r, err *e);
/* n numbers of a file's type; NaN and infinities are refused.  elements of src are skipped by the caller. */
status lora_decode(str key, dtype type, const void *src, float *dst, int64_t n, err *e);

/* An opened file.  fill is called twice: measuring, then with room.  lora_peft.c, lora_gguf.c. */
typedef struct lora_peft lora_peft;
status lora_peft_open(lora_peft **out, const gemma *m, const char *dir, lora_order order, err *e);
/* From what the files hold, which outlives *out (fuzzing, tests). */
status lora_peft_open_memory(lora_peft **out, const gemma *m, const json_t *config, str bytes, lora_order order, err *e);
void   lora_peft_close(lora_peft *p);
status lora_peft_fill(const lora_peft *p, gemma_adapter *to, double scale, err *e);

/* g is read, and stays the caller's. */
status lora_gguf_check(const gemma *m, const gguf_file *g, err *e);
status lora_gguf_fill(const gemma *m, const gguf_file *g, gemma_adapter *to, double scale, err *e);

/* ---- writing ----------------------------------------------------------------------------------------- */

/* The terms of one linear, of all its experts, as one pair of matrices: terms that add up stand beside each other in the rank, and those
 * of gate and up that share their A stand in the same place.  Experts without a term have zeros. */
typedef struct lora_group {
    int32_t layer;
    gemma_linear which;
    bool both;                   /* gate and up of experts in one; which is GEMMA_EXPERT_GATE then */
    int64_t E;                   /* 1 where there are no experts */
    int64_t r, in, out;          /* of one expert */
    float scale;                 /* of all; where terms had others it is within B */
    const struct lora_piece *pieces;
    size_t count;
} lora_group;

typedef struct lora_groups { lora_group *at; size_t count; struct lora_piece *pieces; size_t piece_count; } lora_groups;

/* In order of layer and linear.  both: gate and up of experts go into one group, asked for each layer. */
status lora_groups_new(lora_groups *g, const gemma *m, const gemma_adapter *a, bool (*both)(const gemma *m, int32_t layer), err *e);
void   lora_groups_done(lora_groups *g);
/* a: [E, r, in].  b: output o, rank k, expert e at o * by_output + k * by_rank + e * by_expert.  factors: [E], of B, or NULL. */
typedef struct lora_strides { int64_t by_output, by_rank, by_expert; } lora_strides;
void   lora_group_fill(const lora_group *g, float *a, float *b, lora_strides s, const float *factors);

#endif
