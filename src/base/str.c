#include "base/str.h"

#include <errno.h>
#include <stdlib.h>

size_t str_find(str a, str needle)
{
    if (needle.n == 0) return 0;
    const char *p = a.n >= needle.n ? memmem(a.p, a.n, needle.p, needle.n) : NULL;
    return p ? (size_t)(p - a.p) : a.n;
}

bool str_split(str *rest, char sep, str *part)
{
    if (!rest->p) return false;
    const char *p = rest->n ? memchr(rest->p, sep, rest->n) : NULL;
    if (!p) {
        *part = *rest;
        *rest = (str){ 0 };
        return true;
    }
    *part = (str){ rest->p, (size_t)(p - rest->p) };
    *rest = str_skip(*rest, part->n + 1);
    return true;
}

/* A short terminated copy for the strto* family; false when the text is empty or too long. */
static bool number_text(str s, char out[64])
{
    if (s.n == 0 || s.n >= 64 || !memchr("+-.0123456789", s.p[0], 13)) return false;   /* no spaces, no "inf" */
    memcpy(out, s.p, s.n);
    out[s.n] = 0;
    return strlen(out) == s.n;
}

status str_to_i64(str s, const char *what, int64_t min, int64_t max, int64_t *out, err *e)
{
    char text[64], *end = text;
    bool ok = number_text(s, text);
    errno = 0;
    long long v = ok ? strtoll(text, &end, 10) : 0;
    if (!ok || *end)
        return err_set(e, E_ARG, "%s is not a whole number: \"%.*s\"", what, (int)(s.n < 60 ? s.n : 60), s.p ? s.p : "");
    if (errno || v < min || v > max)
        return err_set(e, E_ARG, "%s is out of range: %s\nit must be from %lld to %lld", what, text, (long long)min, (long long)max);
    *out = v;
    return OK;
}

status str_to_f64(str s, const char *what, double min, double max, double *out, err *e)
{
    char text[64], *end = text;
    bool ok = number_text(s, text);
    double v = ok ? strtod(text, &end) : 0;
    if (!ok || *end || v != v)
        return err_set(e, E_ARG, "%s is not a number: \"%.*s\"", what, (int)(s.n < 60 ? s.n : 60), s.p ? s.p : "");
    if (v < min || v > max) return err_set(e, E_ARG, "%s is out of range: %g\nit must be from %g to %g", what, v, min, max);
    *out = v;
    return OK;
}

status str_to_bytes(str s, const char *what, uint64_t *out, err *e)
{
    static const struct { const char *unit; int shift; } units[] = {
        { "", 0 }, { "B", 0 }, { "K", 10 }, { "KB", 10 }, { "KiB", 10 }, { "M", 20 }, { "MB", 20 }, { "MiB", 20 },
        { "G", 30 }, { "GB", 30 }, { "GiB", 30 }, { "T", 40 }, { "TB", 40 }, { "TiB", 40 },
    };
    size_t n = 0;
    while (n < s.n && s.p[n] && strchr("0123456789.", s.p[n])) n++;
    double v = 0;
    for (size_t i = 0; n > 0 && i < sizeof units / sizeof *units; i++)
        if (strlen(units[i].unit) == s.n - n && strncasecmp(units[i].unit, s.p + n, s.n - n) == 0) {
            double unit = (double)(1ull << units[i].shift);
            status st = str_to_f64((str){ s.p, n }, what, 0, 0x1p63 / unit, &v, e);
            if (st == OK) *out = (uint64_t)(v * unit);
            return st;
        }
    return err_set(e, E_ARG, "%s is not a size: \"%.*s\"\nsizes look like 512M or 20G", what, (int)(s.n < 60 ? s.n : 60), s.p ? s.p : "");
}
