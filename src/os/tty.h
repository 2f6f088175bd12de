/* Terminal: width, colours, one progress line on standard error; does nothing when that is no terminal.
 * Used by cmd/ only: the library reports progress through callbacks. */
#ifndef FC_OS_TTY_H
#define FC_OS_TTY_H

#include <stdbool.h>

bool tty_is(int fd);
bool tty_colors(int fd);     /* a terminal, and NO_COLOR is not set */
int  tty_width(void);        /* columns, 80 when unknown */
/* "reading the prompt  43 %  ..." (a fraction below 0: no percentage, it is not known) rewritten in place, at most 10 times a second; done clears the line. */
void tty_progress(const char *what, double fraction, const char *detail);
void tty_progress_done(void);

#endif
