/* Rotary angles (architecture section 2.6). */
#ifndef FC_MODEL_ROPE_H
#define FC_MODEL_ROPE_H

#include "base/arena.h"
#include "model/gemma_config.h"

typedef struct rope_kind {
    int32_t d, pairs;          /* head size; rotated pairs (i, i + d/2), i < pairs */
    float *freq;               /* [pairs] angle per position */
} rope_kind;

/* Frequencies of all sliding or all full layers; d == 0 when there is none of the kind.  E_UNSUPPORTED when layers
 * of one kind have different head sizes. */
status rope_layout(rope_kind *r, const gemma_config *c, bool full, arena *a, err *e);
/* cs: [pairs][2] cos, sin at one position. */
void rope_at(const rope_kind *r, int32_t pos, float *cs);

#endif
