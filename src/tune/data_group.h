/* Micro-batches: the documents of a step packed into rows as a step takes them, each under a number and from a position 0 of its own. */
#ifndef FC_TUNE_DATA_GROUP_H
#define FC_TUNE_DATA_GROUP_H

#include "tune/data.h"
#include "tune/step.h"

/* Documents in as few groups of at most rows_max rows as best fit finds: group g has docs[first[g]] ... docs[first[g + 1] - 1].  A
 * document takes one row less than it has tokens: nothing is predicted behind its last one.  Chosen and rejected answers stay
 * together, the chosen one first. */
typedef struct data_groups { int64_t *docs; int64_t *first; int64_t count; int64_t rows, targets; } data_groups;
/* The documents of examples, or of the rows held out.  *out: data_groups_done.  E_ARG when one is longer than rows_max. */
status data_group(data_groups *out, const data_set *d, const int64_t *examples, int64_t n, int32_t rows_max, err *e);
status data_group_held_out(data_groups *out, const data_set *d, int32_t rows_max, err *e);
/* How many rows documents doc, doc + 1, ... take. */
int64_t data_rows_of(const data_set *d, int64_t doc, int64_t count);
/* The rows of group g [rows_max], as tune_step_add takes them; returns how many. */
int32_t data_fill(tune_row *rows, const data_set *d, const data_groups *groups, int64_t g);
void   data_groups_done(data_groups *g);

#endif
