/* facet.h - run Gemma 4 from C.
 *
 * A model is read-only and may be shared.  An engine owns a thread, a KV cache and a batch.
 * A request is one conversation turn; it belongs to the caller until it is submitted, then to
 * the engine until its last event.  Zero in an option struct always means "choose for me".
 *
 * Every function that can fail returns a facet_status and, when `e` is not NULL, fills *e.
 * Outputs are written only on success.  The library never exits, aborts or prints. */
#ifndef FACET_H
#define FACET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FACET_API __attribute__((visibility("default")))

/* ---- errors ------------------------------------------------------------------------------ */

typedef enum facet_status {
    FACET_OK = 0,
    FACET_E_NOMEM,       /* out of memory, or the memory budget is spent */
    FACET_E_IO,          /* a file or stream could not be read or written */
    FACET_E_FORMAT,      /* a file or message is malformed */
    FACET_E_ARG,         /* the caller asked for something impossible */
    FACET_E_UNSUPPORTED, /* well formed, but not implemented here */
    FACET_E_CANCELLED,   /* stopped on request */
    FACET_E_BUSY,        /* try again later */
    FACET_E_DEVICE,      /* the compute device failed */
    FACET_E_INTERNAL     /* a bug in facet */
} facet_status;

/* what: "could not open model file \"x.gguf\""; why: "no such file"; hint: "Run \"facet list\" ...".
 * what is never empty after a failure; why and hint may be. */
typedef struct facet_error {
    facet_status code;
    int os_errno;        /* errno of the failing call, 0 when there is none */
    char what[512];
    char why[512];
    char hint[512];
} facet_error;

#ifdef __cplusplus
}
#endif
#endif
