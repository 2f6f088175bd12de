#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"

void buf_done(buf *b)
{
    mem_free(b->data);
    *b = (buf){ .max = b->max };
}

static status reserve(buf *b, size_t n, err *e)
{
    size_t max = MIN(b->max, SIZE_MAX / 4);   /* nothing below can wrap */
    if (n > max || b->len > max - n)
        return err_set(e, E_NOMEM, "could not grow a buffer\nits limit of %zu bytes is reached", max);
    size_t need = b->len + n + 1;
    if (need <= b->cap) return OK;
    size_t cap = MAX(MAX(need, (size_t)64), MIN(b->cap * 2, max + 1));
    char *p = mem_resize(b->data, cap, MEM_TEXT);
    if (!p) return err_set(e, E_NOMEM, "could not grow a buffer to %zu bytes\nout of memory", cap);
    b->data = p;
    b->cap = cap;
    return OK;
}

status buf_add(buf *b, const void *p, size_t n, err *e)
{
    status st = reserve(b, n, e);
    if (st != OK) return st;
    if (n) memcpy(b->data + b->len, p, n);
    b->len += n;
    b->data[b->len] = 0;
    return OK;
}

status buf_add_str(buf *b, const char *s, err *e) { return buf_add(b, s, strlen(s), e); }

status buf_addf(buf *b, err *e, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) return err_set(e, E_INTERNAL, "could not format text");
    status st = reserve(b, (size_t)n, e);
    if (st != OK) return st;
    va_start(ap, fmt);
    vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
    return OK;
}

char *buf_take(buf *b)
{
    char *p = b->data;
    *b = (buf){ .max = b->max };
    return p;
}
