/* The state of a run in one file: a head of JSON, and parts, named blocks of bytes.  It replaces the one before only when it is complete
 * and on disk; a checksum over everything is verified before anything of it is used. */
#ifndef FC_TUNE_CHECKPOINT_H
#define FC_TUNE_CHECKPOINT_H

#include "base/json.h"

typedef struct checkpoint_part { const char *name; void *data; size_t bytes; } checkpoint_part;

/* parts of no bytes are left out. */
status checkpoint_write(const char *path, const json_t *head, const checkpoint_part *parts, size_t count, err *e);

typedef struct checkpoint checkpoint;
/* *out owned: checkpoint_close.  E_FORMAT, with the path: it is none, it is damaged or cut short, or another version's. */
status checkpoint_open(checkpoint **out, const char *path, err *e);
void   checkpoint_close(checkpoint *c);        /* NULL is fine */
const json_t *checkpoint_head(const checkpoint *c);
/* Fills the parts' data.  E_FORMAT: one is missing or has another size; nothing is filled then. */
status checkpoint_read(const checkpoint *c, const checkpoint_part *parts, size_t count, err *e);

#endif
