/* What is in a model file, for people: sizes by part, types, parameters.  Any GGUF or safetensors folder can be looked at,
 * also those that facet does not run. */
#ifndef FC_PLAN_INSPECT_H
#define FC_PLAN_INSPECT_H

#include "fmt/gguf.h"
#include "fmt/safetensors.h"
#include "model/gemma_config.h"
#include "model/weight_names.h"

enum { INSPECT_TYPES = 64, INSPECT_MEDIA = WEIGHT_PARTS, INSPECT_PARTS };   /* parts: those of weight_names.h, and the towers */

/* One tensor, whatever the file's kind. dims in ggml order, the first is contiguous. */
typedef struct inspect_tensor {
    str name;
    const char *type;        /* "q4_K", "bf16" */
    int n_dims;
    int64_t dims[8];
    int64_t elements;
    uint64_t bytes;
    int part;                /* weight_part or INSPECT_MEDIA */
} inspect_tensor;

typedef struct inspect_sum { const char *name; uint64_t tensors, bytes; int64_t elements; } inspect_sum;

typedef struct inspect_report {
    const char *format;      /* "GGUF", "safetensors" */
    char architecture[64];
    uint64_t file_bytes;
    inspect_sum all, parts[INSPECT_PARTS];
    inspect_sum types[INSPECT_PARTS][INSPECT_TYPES];   /* of each part, largest first, ended by a name NULL */
    inspect_sum all_types[INSPECT_TYPES];
    bool known;              /* config is filled: facet runs this architecture */
    err why;                 /* otherwise: why not */
    gemma_config config;
    gemma_parameters parameters;
} inspect_report;

/* Exactly one of g and s; config (and generation, or NULL) go with s.  Large: keep it off the stack. */
status inspect_read(inspect_report *out, const gguf_file *g, const st_file *s, const json_t *config, const json_t *generation, const char *name, err *e);
void   inspect_done(inspect_report *r);

/* All tensors in the file's order. */
uint64_t inspect_tensor_count(const gguf_file *g, const st_file *s);
void   inspect_tensor_at(const gguf_file *g, const st_file *s, uint64_t i, inspect_tensor *out);

const char *inspect_part_name(int part);
/* "ssssF" and so on: s a sliding layer, F a full one; at most cap - 1 letters. */
void   inspect_layer_pattern(const gemma_config *c, char *out, size_t cap);

#endif
