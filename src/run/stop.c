#include "run/stop.h"

#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "base/utf8.h"

status stop_init(stop_match *s, const char *const *texts, size_t count, err *e)
{
    status st = OK;
    *s = (stop_match){ .hit = -1 };
    buf_init(&s->held, (size_t)1 << 30);
    if (count == 0) return OK;
    if (count > STOP_TEXTS_MAX) FAIL(e, E_ARG, "cannot watch for %zu stop texts\nat most %d", count, STOP_TEXTS_MAX);
    s->texts = mem_array(count, sizeof *s->texts, MEM_OTHER);
    s->lengths = mem_array(count, sizeof *s->lengths, MEM_OTHER);
    if (!s->texts || !s->lengths) FAIL(e, E_NOMEM, "could not set up stop texts\nout of memory");
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(texts[i]);
        if (n == 0) FAIL(e, E_ARG, "a stop text cannot be empty");
        if (n > STOP_BYTES_MAX) FAIL(e, E_ARG, "a stop text cannot have %zu bytes\nat most %d", n, STOP_BYTES_MAX);
        if (!utf8_valid(texts[i], n)) FAIL(e, E_ARG, "a stop text is not valid UTF-8");
        s->texts[i] = mem_strdup(texts[i], n, MEM_OTHER);
        if (!s->texts[i]) FAIL(e, E_NOMEM, "could not set up stop texts\nout of memory");
        s->lengths[i] = n;
        s->count++;
    }
out:
    if (st != OK) stop_done(s);
    return st;
}

void stop_done(stop_match *s)
{
    for (size_t i = 0; i < s->count; i++) mem_free(s->texts[i]);
    mem_free(s->texts);
    mem_free(s->lengths);
    buf_done(&s->held);
    *s = (stop_match){ .hit = -1 };
}

/* The stop text that begins at p, or -1; *partial: what is left there could become one. */
static int32_t match_at(const stop_match *s, const char *p, size_t left, bool *partial)
{
    for (size_t i = 0; i < s->count; i++) {
        if (memcmp(p, s->texts[i], MIN(left, s->lengths[i])) != 0) continue;
        if (left >= s->lengths[i]) return (int32_t)i;
        *partial = true;
    }
    return -1;
}

status stop_add(stop_match *s, const char *text, size_t n, buf *out, err *e)
{
    status st = OK;
    if (s->count == 0) return buf_add(out, text, n, e);
    if (s->hit >= 0) return OK;
    TRY(buf_add(&s->held, text, n, e));
    const char *p = s->held.data;
    size_t len = s->held.len, i = 0;
    bool partial = false;
    for (; i < len && !partial; i += !partial) {
        s->hit = match_at(s, p + i, len - i, &partial);
        if (s->hit >= 0) break;
    }
    TRY(buf_add(out, p, i, e));
    if (s->hit >= 0) {
        buf_clear(&s->held);
    } else {
        memmove(s->held.data, p + i, len - i + 1);
        s->held.len = len - i;
    }
out:
    return st;
}

status stop_flush(stop_match *s, buf *out, err *e)
{
    if (s->hit >= 0 || s->held.len == 0) return OK;
    status st = buf_add(out, s->held.data, s->held.len, e);
    buf_clear(&s->held);
    return st;
}
