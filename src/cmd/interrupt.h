/* Ctrl-C while a request runs stops the answer, or another long work; a second one ends the program. */
#ifndef FC_CMD_INTERRUPT_H
#define FC_CMD_INTERRUPT_H

#include "facet.h"

/* From now on SIGINT and SIGTERM cancel r.  NULL: they are only remembered. */
void interrupt_watch(facet_request *r);
/* From now on they call fn, which must be fit for a signal handler. */
void interrupt_call(void (*fn)(void *user), void *user);
bool interrupt_seen(void);
/* Back to the usual; call before freeing r.  True when one came. */
bool interrupt_done(void);

#endif
