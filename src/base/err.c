#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Copies one line of src into dst; returns the start of the next line, or NULL after the last. */
static const char *take_line(char *dst, size_t cap, const char *src)
{
    size_t n = 0;
    dst[0] = '\0';
    if (!src) return NULL;
    for (; *src && *src != '\n'; src++)
        if (n + 1 < cap) dst[n++] = (unsigned char)*src < 0x20 || *src == 0x7f ? '?' : *src;
    dst[n] = '\0';
    return *src ? src + 1 : NULL;
}

status err_set(err *e, status code, const char *fmt, ...)
{
    if (!e) return code;
    int saved = errno;
    char text[1600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    e->code = code;
    e->os_errno = code == E_IO ? saved : 0;
    const char *rest = take_line(e->what, sizeof e->what, text);
    rest = take_line(e->why, sizeof e->why, rest);
    take_line(e->hint, sizeof e->hint, rest);
    errno = saved;
    return code;
}

void err_wrap(err *e, const char *fmt, ...)
{
    if (!e) return;
    char what[sizeof e->what], head[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(head, sizeof head, fmt, ap);
    va_end(ap);
    memcpy(what, e->what, sizeof what);
    int n = snprintf(e->what, sizeof e->what, "%s: ", head);
    size_t used = n > 0 && (size_t)n < sizeof e->what ? (size_t)n : 0;
    take_line(e->what + used, sizeof e->what - used, what);
}
