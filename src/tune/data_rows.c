/* The rows of a file: lines, or the items of one list. */
#include "base/bits.h"
#include "tune/data_int.h"

struct data_rows {
    data_stream *stream;
    const char *name;
    str chunk;                     /* what is left of the stream's last bytes */
    bool ended;                    /* the stream did */
    int64_t line;                  /* of the next byte */
    bool started, list, closed;    /* closed: the list's bracket was met */
    buf text;
};

status data_rows_new(data_rows **out, data_stream *s, const char *name, err *e)
{
    data_rows *r = mem_alloc(sizeof *r, MEM_IO);
    if (!r) return err_set(e, E_NOMEM, "could not read \"%s\"\nout of memory", name);
    *r = (data_rows){ .stream = s, .name = name, .line = 1 };
    buf_init(&r->text, DATA_ROW_MAX);
    *out = r;
    return OK;
}

void data_rows_free(data_rows *r)
{
    if (!r) return;
    buf_done(&r->text);
    mem_free(r);
}

/* The next byte without taking it, -1 at the end. */
static status peek(data_rows *r, int *c, err *e)
{
    status st = OK;
    if (!r->chunk.n && !r->ended) {
        TRY(data_stream_next(r->stream, &r->chunk, e));
        r->ended = r->chunk.n == 0;
    }
    *c = r->chunk.n ? (unsigned char)r->chunk.p[0] : -1;
out:
    return st;
}

static void skip(data_rows *r)
{
    r->line += r->chunk.p[0] == '\n';
    r->chunk = str_skip(r->chunk, 1);
}

static bool is_space(int c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static status skip_space(data_rows *r, bool commas, int *c, err *e)
{
    status st = OK;
    for (;;) {
        TRY(peek(r, c, e));
        if (!is_space(*c) && !(commas && *c == ',')) break;
        skip(r);
    }
out:
    return st;
}

/* A byte-order mark is passed over; the other Unicode encodings are named. */
static status start(data_rows *r, err *e)
{
    status st = OK;
    int c = 0;
    TRY(peek(r, &c, e));
    if (r->chunk.n >= 2 && (memcmp(r->chunk.p, "\xFF\xFE", 2) == 0 || memcmp(r->chunk.p, "\xFE\xFF", 2) == 0))
        FAIL(e, E_FORMAT, "cannot use \"%s\"\nit is UTF-16\nSave it as UTF-8.", r->name);
    if (r->chunk.n >= 3 && memcmp(r->chunk.p, "\xEF\xBB\xBF", 3) == 0) r->chunk = str_skip(r->chunk, 3);
    TRY(skip_space(r, false, &c, e));
    if (c == '[') {
        r->list = true;
        skip(r);
    }
    r->started = true;
out:
    return st;
}

static status keep(data_rows *r, size_t n, bool *too_long, err *e)
{
    if (*too_long || r->text.len + n > DATA_ROW_MAX) {
        *too_long = true;
        return OK;
    }
    return buf_add(&r->text, r->chunk.p, n, e);
}

/* The rest of a line; its newline is taken. */
static status read_line(data_rows *r, bool *too_long, err *e)
{
    status st = OK;
    int c = 0;
    for (;;) {
        TRY(peek(r, &c, e));
        if (c < 0) break;
        const char *end = memchr(r->chunk.p, '\n', r->chunk.n);
        size_t n = end ? (size_t)(end - r->chunk.p) : r->chunk.n;
        TRY(keep(r, n, too_long, e));
        r->chunk = str_skip(r->chunk, n);
        if (end) {
            skip(r);
            break;
        }
    }
out:
    return st;
}

/* Up to the comma or bracket that ends an item, which is not taken. */
static status read_item(data_rows *r, bool *too_long, err *e)
{
    status st = OK;
    bool in_string = false, escaped = false, done = false;
    int64_t depth = 0, from = r->line;
    while (!done) {
        int c = 0;
        size_t n = 0;
        int64_t lines = 0;
        TRY(peek(r, &c, e));
        if (c < 0) FAIL(e, E_FORMAT, "cannot use \"%s\"\nthe list in it is not closed: the item of line %lld has no end", r->name, (long long)from);
        for (; n < r->chunk.n && !done; n++) {
            char x = r->chunk.p[n];
            lines += x == '\n';
            if (escaped) escaped = false;
            else if (in_string) { in_string = x != '"'; escaped = x == '\\'; }
            else if (x == '"') in_string = true;
            else if (x == '[' || x == '{') depth++;
            else if (depth && (x == ']' || x == '}')) depth--;
            else if (!depth && (x == ',' || x == ']')) { done = true; break; }
        }
        TRY(keep(r, n, too_long, e));
        r->line += lines;
        r->chunk = str_skip(r->chunk, n);
    }
out:
    return st;
}

static status next_line(data_rows *r, data_row *row, bool *have, bool *too_long, err *e)
{
    status st = OK;
    int c = 0;
    TRY(skip_space(r, false, &c, e));
    if (c < 0) goto out;
    row->line = r->line;
    *have = true;
    TRY(read_line(r, too_long, e));
out:
    return st;
}

static status next_item(data_rows *r, data_row *row, bool *have, bool *too_long, err *e)
{
    status st = OK;
    int c = 0;
    TRY(skip_space(r, !r->closed, &c, e));
    if (c == ']' && !r->closed) {
        r->closed = true;
        skip(r);
        TRY(skip_space(r, false, &c, e));
    }
    if (c < 0 && r->closed) goto out;
    if (c < 0) FAIL(e, E_FORMAT, "cannot use \"%s\"\nthe list in it is not closed: the file is cut short", r->name);
    if (r->closed) FAIL(e, E_FORMAT, "cannot use \"%s\"\nline %lld: something follows the list in it", r->name, (long long)r->line);
    row->line = r->line;
    *have = true;
    TRY(read_item(r, too_long, e));
out:
    return st;
}

status data_rows_next(data_rows *r, data_row *row, bool *have, err *e)
{
    status st = OK;
    bool too_long = false;
    *have = false;
    *row = (data_row){ 0 };
    buf_clear(&r->text);
    if (!r->started) TRY(start(r, e));
    TRY(r->list ? next_item(r, row, have, &too_long, e) : next_line(r, row, have, &too_long, e));
    row->text = (str){ buf_text(&r->text), r->text.len };
    if (too_long) row->bad = "it is longer than 16 MiB";
out:
    return st;
}
