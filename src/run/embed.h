/* Embeddings: the sum of a text's last states, of length 1 in the end.  States are added in the order of their positions in f64, so
 * chunks and neighbours change nothing.  The token that begins every text is left out: its state says nothing of the text. */
#ifndef FC_RUN_EMBED_H
#define FC_RUN_EMBED_H

#include "run/run_int.h"

/* The prompt of a request for an embedding, before it is queued. */
status  embed_check(facet_request *r, err *e);
/* How many of the next n rows may run when last states of *room rows can still be had; takes them from *room. */
int32_t embed_rows(const facet_request *r, int32_t n, int32_t *room);
/* The row's last state is needed. */
bool    embed_wants(const facet_request *r, int32_t pos);
/* After a step that went on to r->done: takes its last states from *rows. */
void    embed_add(facet_request *r, const float **rows);
/* Writes the embedding. */
void    embed_end(facet_request *r);

#endif
