/* Who runs in the next step: rows of decode first, then chunks of prompts, within a budget of rows.
 *
 * There is no prompt phase and no answer phase: a request has tokens that the cache lacks, one when it is answering and
 * many when its prompt is new.  Answers never wait for more than one step.  Prompts share what is left, the shortest
 * remainder first, so that a short question is not stuck behind a long document; every prompt gets a share, so that the
 * long one moves too. */
#ifndef FC_RUN_SCHED_H
#define FC_RUN_SCHED_H

#include <stdint.h>

/* pending[i]: tokens of request i that are not in the cache yet (0: nothing to do).  take[i]: how many of them run in
 * this step; their sum is at most budget, and at least 1 when anything is pending.  n at most budget. */
void sched_step(const int32_t *pending, int32_t n, int32_t budget, int32_t *take);

#endif
