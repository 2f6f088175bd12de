/* Stop texts in a stream: what could still become one is held back, across tokens. */
#ifndef FC_RUN_STOP_H
#define FC_RUN_STOP_H

#include "base/buf.h"
#include "base/err.h"

enum { STOP_TEXTS_MAX = 64, STOP_BYTES_MAX = 4096 };

typedef struct stop_match {
    char **texts;      /* owned copies */
    size_t *lengths;
    size_t count;
    buf held;          /* the end of the text so far that begins a stop text */
    int32_t hit;       /* which stop text was met, -1: none yet */
} stop_match;

/* Copies the texts.  E_ARG: one is empty, too long or no UTF-8, or there are too many. */
status stop_init(stop_match *s, const char *const *texts, size_t count, err *e);
void   stop_done(stop_match *s);                       /* fine on {0} */
/* Appends to out what can be shown; after a hit nothing more.  With count == 0 everything passes. */
status stop_add(stop_match *s, const char *text, size_t n, buf *out, err *e);
/* The text is over or something else comes: what was held is text after all. */
status stop_flush(stop_match *s, buf *out, err *e);

#endif
