/* Growing byte buffer with a hard maximum set at birth (after curl's dynbuf).  Always NUL-terminated. */
#ifndef FC_BASE_BUF_H
#define FC_BASE_BUF_H

#include "base/err.h"
#include "base/mem.h"

typedef struct buf {
    char *data;   /* NULL until the first byte; then data[len] == 0 */
    size_t len, cap, max;
} buf;

static inline void buf_init(buf *b, size_t max) { *b = (buf){ .max = max }; }
void   buf_done(buf *b);                                   /* frees; the buffer may be used again */
status buf_add(buf *b, const void *p, size_t n, err *e);   /* E_NOMEM past max or out of memory; content is kept */
status buf_add_str(buf *b, const char *s, err *e);
status buf_addf(buf *b, err *e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static inline void buf_clear(buf *b) { b->len = 0; if (b->data) b->data[0] = 0; }
/* The content, never NULL. Borrowed until the next call. */
static inline const char *buf_text(const buf *b) { return b->data ? b->data : ""; }
/* Hands the block over (owned by the caller: mem_free); NULL when nothing was ever added. */
char  *buf_take(buf *b);

#endif
