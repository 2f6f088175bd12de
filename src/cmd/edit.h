/* Reading lines from a person: with editing and history when libedit is built in, plainly otherwise. */
#ifndef FC_CMD_EDIT_H
#define FC_CMD_EDIT_H

#include "base/buf.h"

typedef struct edit edit;

status edit_open(edit **out, const char *prompt, err *e);
void   edit_close(edit *x);                       /* NULL is fine */
/* Appends the next line, without its newline, to *line (cleared first).  *end: the input is over.  *broken: Ctrl-C. */
status edit_line(edit *x, buf *line, bool *end, bool *broken, err *e);

#endif
