/* Adapters in files: what PEFT saves (adapter_config.json and adapter_model.safetensors), and GGUF files made for llama.cpp.
 *
 * A file is held against the model that it is for.  Every key must belong to a linear of the model and have its shape, so nothing
 * in an adapter is left out without a word; what cannot be applied is refused by name.  A file is hostile until that is done.
 * Weights are kept as f32.  lora_save.h writes. */
#ifndef FC_LORA_LORA_H
#define FC_LORA_LORA_H

#include "model/gemma.h"

enum { LORA_RANK_MAX = 512 };

/* In which order the columns of a fused experts' B stand in a PEFT file: there is no way to see it. */
typedef enum lora_order {
    LORA_ORDER_FILE,       /* as the file says ("lora_B_layout"), else as PEFT has it */
    LORA_ORDER_RANK,       /* column rank * experts + expert: PEFT */
    LORA_ORDER_EXPERT      /* column expert * r + rank: Unsloth until September 2026 */
} lora_order;

typedef struct lora_part {
    const char *path;      /* a folder with adapter_config.json, or a GGUF file */
    double scale;          /* factor on top of the file's own */
    lora_order order;
} lora_part;

/* Several files become one adapter: their terms add up.  *out owned: gemma_adapter_free.  E_FORMAT, E_UNSUPPORTED with the file's and
 * the key's name; remarks go to the log. */
status lora_load(gemma_adapter **out, const gemma *m, const lora_part *parts, size_t count, err *e);
/* Bytes that lora_load would take, by the same code. */
status lora_measure(uint64_t *bytes, const gemma *m, const lora_part *parts, size_t count, err *e);

#endif
