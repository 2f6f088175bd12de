/* Ctrl-C while a request runs stops the answer; a second one ends the program. */
#ifndef FC_CMD_INTERRUPT_H
#define FC_CMD_INTERRUPT_H

#include "facet.h"

/* From now on SIGINT and SIGTERM cancel r. */
void interrupt_watch(facet_request *r);
/* Back to the usual; call before freeing r.  True when one came. */
bool interrupt_done(void);

#endif
