/* What the two readers of configurations share. */
#ifndef FC_MODEL_GEMMA_CONFIG_INT_H
#define FC_MODEL_GEMMA_CONFIG_INT_H

#include "model/gemma_config.h"

/* Bounds for numbers from files; products of them fit 63 bits. */
enum {
    GEMMA_HEADS_MAX = 1024, GEMMA_EXPERTS_MAX = 1024, GEMMA_WIDTH_MAX = 1 << 20, GEMMA_PLE_MAX = 1 << 16, GEMMA_VOCAB_MAX = 1 << 24
};

/* Sets what both kinds of file imply, before they are read. */
void   gemma_config_begin(gemma_config *c);
status gemma_config_new_layers(gemma_config *c, int64_t count, err *e);
/* Adds an id to eos (each once, invalid ones and more than fit are dropped). */
void   gemma_config_add_eos(gemma_config *c, int64_t id);
void   gemma_config_add_suppress(gemma_config *c, int64_t id);
/* Finds the K/V source of shared layers and checks all sizes against each other. */
status gemma_config_finish(gemma_config *c, err *e);

#endif
