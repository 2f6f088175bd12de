/* Gradients of a set in tests: the names that files have for parameters, and comparing. */
#ifndef FC_TESTS_GRADIENTS_H
#define FC_TESTS_GRADIENTS_H

#include <math.h>
#include <stdio.h>

#include "tune/step.h"

/* PEFT's name of a parameter's linear without what the class adds; of an expert its tensor, in which it is one of many. */
static inline void gradients_name(const tune_param *p, char *out, size_t cap)
{
    static const char *const names[GEMMA_LINEAR_COUNT] = {
        [GEMMA_Q] = "self_attn.q_proj", [GEMMA_K] = "self_attn.k_proj", [GEMMA_V] = "self_attn.v_proj", [GEMMA_O] = "self_attn.o_proj",
        [GEMMA_GATE] = "mlp.gate_proj", [GEMMA_UP] = "mlp.up_proj", [GEMMA_DOWN] = "mlp.down_proj", [GEMMA_ROUTER] = "router.proj",
        [GEMMA_EXPERT_GATE] = "experts.gate_up_proj", [GEMMA_EXPERT_UP] = "experts.up_proj", [GEMMA_EXPERT_DOWN] = "experts.down_proj",
        [GEMMA_PLE_GATE] = "per_layer_input_gate", [GEMMA_PLE_PROJ] = "per_layer_projection", [GEMMA_PLE_MODEL_PROJ] = "per_layer_model_projection",
        [GEMMA_HEAD] = "lm_head",
    };
    if (p->layer < 0) snprintf(out, cap, "%s", names[p->which]);
    else snprintf(out, cap, "layers.%d.%s", p->layer, names[p->which]);
}

typedef struct gradients_sums { double wrong, right, mine, both; } gradients_sums;   /* squares of differences and of both; products */

static inline void gradients_add(gradients_sums *s, const float *mine, const float *right, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double a = (double)mine[i], b = (double)right[i];
        s->wrong += (a - b) * (a - b);
        s->right += b * b;
        s->mine += a * a;
        s->both += a * b;
    }
}

/* Relative L2 distance; both zero: 0. */
static inline double gradients_off(const gradients_sums *s) { return s->wrong == 0 ? 0 : sqrt(s->wrong / s->right); }
static inline double gradients_cosine(const gradients_sums *s) { return s->wrong == 0 ? 1 : s->both / sqrt(s->right * s->mine); }

#endif
