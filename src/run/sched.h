/* Who runs in the next step: rows of decode first, then chunks of prompts, within a budget of rows.
 *
 * There is no prompt phase and no answer phase: a request has tokens that the cache lacks, one when it is answering and
 * many when its prompt is new.  Answers never wait for more than one step.  Prompts share what is left, the shortest
 * remainder first, so that a short question is not stuck behind a long document; every prompt gets a share, so that the
 * long one moves too.  While somebody is answering, prompts get less of the budget, so that answers keep their pace. */
#ifndef FC_RUN_SCHED_H
#define FC_RUN_SCHED_H

#include <stdint.h>

/* pending[i]: tokens of request i that are not in the cache yet (0: nothing to do).  take[i]: how many of them run in
 * this step; their sum is at most budget, and at least 1 when anything is pending.  n at most budget.  beside: most rows of
 * prompts in a step that has rows of answers. */
void sched_step(const int32_t *pending, int32_t n, int32_t budget, int32_t beside, int32_t *take);

/* What `beside` should be, when a row takes so many seconds (0: not known yet): a step of answers lasts about a fifth of a
 * second at most, or as long as the smallest chunk worth reading takes. */
int32_t sched_beside(double row_seconds, int32_t budget);

#endif
