/* Status and error: how every facet function that can fail reports it.
 *
 * A function returns a status and fills an err with three texts: what went wrong, why, and what to
 * do.  The format given to err_set and FAIL carries them separated by newlines:
 *
 *     FAIL(e, E_IO, "could not open model file \"%s\"\n%s\nRun \"facet list\" to see what is there.", path, strerror(errno));
 *
 * Style: lower case and no full stop in what and why; a full sentence in the hint; names quoted;
 * the offending value shown; "could not" when it may work later, "cannot" when it never will. */
#ifndef FC_BASE_ERR_H
#define FC_BASE_ERR_H

#include "facet.h"

typedef facet_status status;
typedef facet_error  err;

#define OK            FACET_OK
#define E_NOMEM       FACET_E_NOMEM
#define E_IO          FACET_E_IO
#define E_FORMAT      FACET_E_FORMAT
#define E_ARG         FACET_E_ARG
#define E_UNSUPPORTED FACET_E_UNSUPPORTED
#define E_CANCELLED   FACET_E_CANCELLED
#define E_BUSY        FACET_E_BUSY
#define E_DEVICE      FACET_E_DEVICE
#define E_INTERNAL    FACET_E_INTERNAL
#define E_CONTEXT     FACET_E_CONTEXT

/* Fills *e (which may be NULL) and returns code.  Control characters in values become '?'. */
status err_set(err *e, status code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "context: " before what: the outer caller's view of an inner failure. */
void err_wrap(err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Both need a local `status st` and a label `out:`. */
#define TRY(call)          do { st = (call); if (st != OK) goto out; } while (0)
#define FAIL(e, code, ...) do { st = err_set((e), (code), __VA_ARGS__); goto out; } while (0)

#endif
