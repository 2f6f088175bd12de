/* Adapters into files: a folder as PEFT saves it, and GGUF as llama.cpp loads it.  What the readers (lora.h) make of the files are the
 * same terms, bit for bit where no factor had to be folded into B. */
#ifndef FC_LORA_LORA_SAVE_H
#define FC_LORA_LORA_SAVE_H

#include "model/gemma.h"

/* The class of the reference whose modules the keys name. */
typedef enum lora_class {
    LORA_CLASS_BASE,           /* as the model's folder says ("architectures"); of a GGUF file: multimodal */
    LORA_CLASS_TEXT,           /* Gemma4ForCausalLM: model.layers... */
    LORA_CLASS_MULTIMODAL      /* Gemma4ForConditionalGeneration, Gemma4UnifiedForConditionalGeneration: model.language_model.layers... */
} lora_class;

/* LORA_CLASS_BASE becomes one of the other two. */
status lora_class_choose(lora_class *c, const gemma *m, err *e);

/* adapter_model.safetensors (F32) and adapter_config.json, as PEFT 0.19 and later have them.  A new folder appears as a whole; in one
 * that is there the two files are replaced, and the configuration is missing meanwhile.  a is not measuring. */
status lora_save_peft(const char *dir, const gemma *m, const gemma_adapter *a, lora_class c, err *e);
/* E_UNSUPPORTED: it has terms that llama.cpp cannot load, or loads and leaves out. */
status lora_save_gguf(const char *path, const gemma *m, const gemma_adapter *a, err *e);

/* Every tensor of PEFT's form, A before B: its key and its numbers [rows, cols]; data is NULL with `shapes`.  Also for other numbers in
 * the same places, such as gradients. */
typedef status (*lora_tensor_fn)(void *user, const char *key, int64_t rows, int64_t cols, const float *data, err *e);
status lora_save_each(const gemma *m, const gemma_adapter *a, lora_class c, bool shapes, lora_tensor_fn fn, void *user, err *e);

#endif
