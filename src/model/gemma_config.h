/* What a Gemma 4 model is made of: every size, read from GGUF metadata or from a Hugging Face config.json
 * (architecture.md sections 1 to 3; file-formats section 2.2, 6.2).  A configuration that facet does not implement is
 * refused by name. */
#ifndef FC_MODEL_GEMMA_CONFIG_H
#define FC_MODEL_GEMMA_CONFIG_H

#include "base/err.h"
#include "base/json.h"
#include "fmt/gguf.h"

enum { GEMMA_LAYERS_MAX = 512, GEMMA_HEAD_MAX = 1024, GEMMA_EOS_MAX = 16, GEMMA_SUPPRESS_MAX = 64 };

typedef struct gemma_layer_config {
    bool full;            /* full attention; else sliding window */
    bool k_eq_v;          /* no V projection: V is the K projection's output before its norm */
    int32_t nq, nkv, d;   /* query heads, key/value heads, head size */
    int32_t ff;           /* F: width of the dense MLP */
    int32_t kv_source;    /* the layer whose K and V this one reads: itself, or an earlier one of its kind */
} gemma_layer_config;

typedef struct gemma_config {
    char name[128];                /* general.name or the folder's name, for people */
    int32_t layer_count;           /* L */
    int32_t hidden;                /* H */
    int32_t vocab;                 /* V */
    int32_t context;               /* longest context the model was made for */
    int32_t window;                /* W: a sliding layer sees W tokens, itself included */
    int32_t ple;                   /* P: width of per-layer embeddings, 0 when absent */
    int32_t expert_count;          /* E, 0: no experts */
    int32_t expert_used;           /* k */
    int32_t expert_ff;             /* Fe */
    int32_t kv_layers;             /* layers 0..kv_layers-1 have K and V of their own */
    float   eps;                   /* of every norm */
    float   softcap;               /* 0: none */
    double  theta_sliding, theta_full;
    int32_t rope_pairs_full;       /* rotated pairs of a full head when rope_factors is NULL; the rest pass through */
    float  *rope_factors;          /* [d_full / 2] divisors of the angle from the file (>= 1e29: not rotated), or NULL */
    bool    untied;                /* the head is a tensor of its own (Hugging Face says so; a GGUF shows it) */
    bool    vision_blocks;         /* image blocks attend both ways in sliding layers (12B, 26B, 31B) */
    gemma_layer_config *layers;    /* [L] */
    /* generation defaults, from the file or the published ones */
    int32_t eos[GEMMA_EOS_MAX], eos_count;
    int32_t suppress[GEMMA_SUPPRESS_MAX], suppress_count;
    float   temperature, top_p;    /* 1.0, 0.95 */
    int32_t top_k;                 /* 64 */
} gemma_config;

/* Fills *c (owned: gemma_config_done).  An mmproj file, an adapter or any other architecture is refused by name. */
status gemma_config_from_gguf(gemma_config *c, const gguf_file *g, err *e);
/* config: config.json; generation: generation_config.json or NULL. */
status gemma_config_from_hf(gemma_config *c, const json_t *config, const json_t *generation, const char *name, err *e);
void   gemma_config_done(gemma_config *c);

/* Parameters of the text model by its shapes, as they are published (architecture section 11e): dead K/V tensors and
 * rotation tables do not count. */
typedef struct gemma_parameters {
    int64_t total;
    int64_t embed, ple_embed, experts;   /* parts of total: token table (and untied head), per-layer table, all experts */
    int64_t active;                      /* that one token is multiplied with: without the per-layer table and idle experts */
    int64_t active_inner;                /* active without embed: what small models are advertised with */
} gemma_parameters;
void   gemma_config_parameters(const gemma_config *c, gemma_parameters *out);
/* "E2B", "26B-A4B", ...; or a description made from the sizes ("4 layers, hidden 256, 16 experts"). Borrowed from c. */
const char *gemma_config_size_name(const gemma_config *c, char *out, size_t cap);

#endif
