/* adapter_config.json: scales, and everything that would make an adapter mean something else than plain low-rank terms. */
#ifndef FC_LORA_LORA_CONFIG_H
#define FC_LORA_LORA_CONFIG_H

#include "base/json.h"
#include "lora/lora.h"
#include "text/regex.h"

enum { LORA_CONFIG_PATTERNS_MAX = 1024 };

typedef struct lora_config {
    double alpha;
    bool rslora;                       /* alpha / sqrt(r) instead of alpha / r */
    struct lora_pattern { regex *match; double alpha; } *patterns;   /* alpha_pattern, in order of the file */
    size_t pattern_count;
    int old;                           /* fused experts as PEFT before 0.19 has them: 1, 0, or -1 when the file does not say */
    lora_order order;                  /* LORA_ORDER_FILE when it does not say */
    bool unsloth;                      /* it names Unsloth */
} lora_config;

/* *c owned: lora_config_done.  E_UNSUPPORTED names the setting that is not supported. */
status lora_config_read(lora_config *c, const json_t *j, err *e);
void   lora_config_done(lora_config *c);
/* The factor of a module's terms of rank r; path: "model.layers.3.self_attn.q_proj", of fused experts the parameter's. */
double lora_config_scale(const lora_config *c, str path, int64_t r);

#endif
