/* Ids to text, a whole character at a time (section 4.5). */
#include "base/utf8.h"
#include "text/tok_int.h"

static const char UNKNOWN_CHAR[] = "\xEF\xBF\xBD";

/* One byte more: what is complete goes out, what can no longer become a character goes out as U+FFFD. */
static status add_byte(tok_decoder *d, char c, buf *out, err *e)
{
    status st = OK;
    uint32_t cp;
    d->held[d->held_n++] = c;
    while (d->held_n) {
        size_t n = (size_t)d->held_n;
        int len = utf8_decode(d->held, n, &cp);
        if (len) TRY(buf_add(out, d->held, (size_t)len, e));
        else if (utf8_incomplete_tail(d->held, n) == n) break;
        else {
            /* The longest wrong prefix is one replacement: all but the byte that broke it, as Python decodes. */
            len = n > 1 ? (int)n - 1 : 1;
            TRY(buf_add(out, UNKNOWN_CHAR, 3, e));
        }
        d->held_n -= len;
        memmove(d->held, d->held + len, (size_t)d->held_n);
    }
out:
    return st;
}

status tok_decode_bytes(tok_decoder *d, str bytes, buf *out, err *e)
{
    status st = OK;
    for (size_t i = 0; i < bytes.n; i++) TRY(add_byte(d, bytes.p[i], out, e));
out:
    return st;
}

status tok_decode(const tok *t, tok_decoder *d, int32_t id, buf *out, err *e)
{
    if (tok_is_control(t, id) && !d->special) return OK;
    return tok_decode_bytes(d, tok_bytes(t, id), out, e);
}

status tok_decode_end(tok_decoder *d, buf *out, err *e)
{
    status st = d->held_n ? buf_add(out, UNKNOWN_CHAR, 3, e) : OK;
    d->held_n = 0;
    return st;
}
