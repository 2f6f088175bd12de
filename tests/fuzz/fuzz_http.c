/* Any bytes as a request's head and, after it, as a chunked body: parts lie inside the input, and cutting the body elsewhere
 * changes nothing. */
#include <stdlib.h>

#include "serve/head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void need(bool ok)
{
    if (!ok) abort();
}

static bool inside(str s, const char *p, size_t n) { return s.n == 0 || (s.p >= p && s.p + s.n <= p + n); }

static void check_head(const char *p, size_t n)
{
    head h;
    const char *why = NULL;
    int code = head_parse(&h, p, n, &why);
    need(why && (code == 0 || (code >= 400 && why[0])));
    need(h.count <= HEAD_FIELDS_MAX);
    if (code) return;
    need(inside(h.method, p, n) && h.path.n && h.path.p[0] == '/' && !(h.chunked && h.length));
    for (size_t i = 0; i < h.count; i++) need(inside(h.fields[i].name, p, n) && inside(h.fields[i].value, p, n));
}

/* Pieces of `step` bytes. */
static int take(const char *p, size_t n, size_t step, buf *body, bool *over, size_t *end)
{
    head_chunks c = { 0 };
    int code = 0;
    *over = false;
    buf_init(body, 1000);
    for (*end = 0; *end < n && code == 0 && !*over;) {
        size_t used = 0, piece = n - *end < step ? n - *end : step;
        code = head_chunks_take(&c, p + *end, piece, body, &used, over);
        need(used <= piece && (used == piece || *over || code));
        *end += used;
    }
    return code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const char *p = (const char *)data;
    buf one, all;
    bool over_one, over_all;
    size_t end_one, end_all, end = head_find_end(p, n);
    need(end <= n);
    check_head(p, end ? end : n);
    p += end;
    n -= end;
    int code_one = take(p, n, 1, &one, &over_one, &end_one), code_all = take(p, n, n ? n : 1, &all, &over_all, &end_all);
    need(code_one == code_all && over_one == over_all && (code_one || end_one == end_all));
    need(code_one || str_eq((str){ buf_text(&one), one.len }, (str){ buf_text(&all), all.len }));
    buf_done(&one);
    buf_done(&all);
    return 0;
}
