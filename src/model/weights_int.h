/* Placing tensors is the same for every kind of file; finding them is not. */
#ifndef FC_MODEL_WEIGHTS_INT_H
#define FC_MODEL_WEIGHTS_INT_H

#include "base/arena.h"
#include "model/weight_names.h"
#include "model/weights.h"

/* A tensor as a file has it, in ggml order. */
typedef struct weight_found {
    char name[WEIGHT_NAME_CAP];
    bool there;
    dtype type;
    int64_t ne[4];           /* ne[0] is contiguous; unused ones are 1 */
    const uint8_t *data;
} weight_found;

typedef struct weight_source {
    /* f->there says whether the file has it; f->name is set in any case.  suffix: NULL, or what stands in place of the
     * name's last part ("scale").  Fails on a type that facet cannot decode. */
    status (*find)(const struct weight_source *s, weight_place p, int32_t layer, const char *suffix, weight_found *f, err *e);
    const void *file;
    const char *prefix;      /* of names, Hugging Face only */
    bool untied;             /* the head must be a tensor of its own */
    bool ignore_head;        /* the head is the embedding, whatever the file has */
} weight_source;

/* Fills *w from the source; everything is checked against c. */
status weights_place(weights *w, const gemma_config *c, const weight_source *s, err *e);

#endif
