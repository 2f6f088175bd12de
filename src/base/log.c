#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

static log_fn sink;
static void *sink_user;

void log_set_sink(log_fn fn, void *user)
{
    sink = fn;
    sink_user = user;
}

void log_print(log_level level, const char *fmt, ...)
{
    if (!sink) return;
    char text[1024], plain[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    sink(sink_user, level, utf8_plain(plain, sizeof plain, text, strlen(text)));      /* names in it come from files */
}
