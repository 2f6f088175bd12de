#include "serve/head.h"

#include <strings.h>

#include "base/bits.h"

size_t head_find_end(const char *p, size_t n)
{
    size_t at = str_find((str){ p, n }, STR("\r\n\r\n"));
    return at < n ? at + 4 : 0;
}

bool head_same(str a, const char *b)
{
    return a.n == strlen(b) && strncasecmp(a.p, b, a.n) == 0;
}

const str *head_find(const head *h, const char *name)
{
    for (size_t i = 0; i < h->count; i++)
        if (head_same(h->fields[i].name, name)) return &h->fields[i].value;
    return NULL;
}

static str trim(str s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t')) s = str_skip(s, 1);
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) s.n--;
    return s;
}

bool head_has_word(const head *h, const char *name, const char *word)
{
    for (size_t i = 0; i < h->count; i++) {
        str rest = h->fields[i].value, part;
        if (!head_same(h->fields[i].name, name)) continue;
        while (str_split(&rest, ',', &part))
            if (head_same(trim(part), word)) return true;
    }
    return false;
}

static int digit_of(char c) { return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1; }

bool head_last_part(const head *h, char *out, size_t cap)
{
    str part = { h->path.p + h->path.n, 0 };
    size_t n = 0;
    while (part.p > h->path.p && part.p[-1] != '/') part = (str){ part.p - 1, part.n + 1 };
    for (size_t i = 0; i < part.n; i++) {
        int c = (unsigned char)part.p[i], high = c == '%' && i + 2 < part.n ? digit_of(part.p[i + 1]) : -1, low = high >= 0 ? digit_of(part.p[i + 2]) : -1;
        if (low >= 0) {
            c = high * 16 + low;
            i += 2;
        }
        if (c == 0 || n + 1 >= cap) return false;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return true;
}

/* RFC 9110's token. */
static bool is_token(str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool letter = (c | 32) >= 'a' && (c | 32) <= 'z', digit = c >= '0' && c <= '9';
        if (!letter && !digit && (c == 0 || !strchr("!#$%&'*+-.^_`|~", c))) return false;
    }
    return s.n > 0;
}

static bool is_printable(str s, unsigned char least)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c < least && c != '\t') || c == 127) return false;
    }
    return true;
}

static bool next_line(str *rest, str *line)
{
    size_t at = str_find(*rest, STR("\r\n"));
    if (at >= rest->n) return false;
    *line = (str){ rest->p, at };
    *rest = str_skip(*rest, at + 2);
    return true;
}

/* "GET /path?query HTTP/1.1" */
static int request_line(head *out, str line, const char **why)
{
    str target, version = line;
    *why = "the first line is not METHOD /path HTTP/1.1";
    if (!str_split(&version, ' ', &out->method) || !str_split(&version, ' ', &target)) return 400;
    if (!is_token(out->method) || !is_printable(target, 33)) return 400;
    if (!str_is(version, "HTTP/1.1") && !str_is(version, "HTTP/1.0")) {
        *why = "only HTTP/1.0 and HTTP/1.1 are spoken here";
        return version.n == 8 && str_starts(version, "HTTP/") ? 505 : 400;
    }
    out->minor = version.p[7] - '0';
    if (str_starts(target, "http://")) {           /* as sent to a proxy */
        target = str_skip(target, 7);
        size_t slash = str_find(target, STR("/"));
        target = str_skip(target, slash);
        if (target.n == 0) target = STR("/");
    }
    if (str_is(target, "*")) target = STR("/*");
    if (!str_starts(target, "/")) return 400;
    size_t mark = str_find(target, STR("?"));
    out->path = (str){ target.p, mark };
    out->query = mark < target.n ? str_skip(target, mark + 1) : (str){ "", 0 };
    return 0;
}

static int add_field(head *out, str line, const char **why)
{
    str name, value = line;
    if (out->count == HEAD_FIELDS_MAX) { *why = "more than 100 header fields"; return 431; }
    *why = "a header field is malformed";
    if (str_find(line, STR(":")) >= line.n || !str_split(&value, ':', &name) || !is_token(name) || !is_printable(value, 32)) return 400;
    out->fields[out->count++] = (head_field){ name, trim(value) };
    return 0;
}

/* What tells where the body ends: refused unless there is exactly one way to read it. */
static int framing(head *out, const char **why)
{
    size_t lengths = 0, codings = 0, hosts = 0;
    for (size_t i = 0; i < out->count; i++) {
        const head_field *f = &out->fields[i];
        int64_t n = 0;
        hosts += head_same(f->name, "Host");
        if (head_same(f->name, "Transfer-Encoding")) {
            codings++;
            *why = "the only transfer coding here is \"chunked\"";
            if (!head_same(f->value, "chunked")) return 501;
        }
        if (!head_same(f->name, "Content-Length")) continue;
        *why = "Content-Length is not one number";
        if (f->value.n == 0 || f->value.p[0] < '0' || f->value.p[0] > '9' || lengths++ ||
            str_to_i64(f->value, "Content-Length", 0, INT64_MAX, &n, NULL) != OK) return 400;
        out->length = (uint64_t)n;
    }
    *why = "Content-Length and Transfer-Encoding exclude each other";
    if (codings > 1 || (codings && (lengths || out->minor == 0))) return 400;
    *why = "exactly one Host field is needed";
    if (hosts > 1 || (hosts == 0 && out->minor == 1)) return 400;
    out->chunked = codings == 1;
    return 0;
}

int head_parse(head *out, const char *p, size_t n, const char **why)
{
    str rest = { p, n }, line;
    *out = (head){ 0 };
    *why = "the request is empty";
    if (!next_line(&rest, &line)) return 400;
    int code = request_line(out, line, why);
    while (code == 0 && next_line(&rest, &line) && line.n) code = add_field(out, line, why);
    if (code == 0) code = framing(out, why);
    if (code != 0) return code;
    out->keep_alive = out->minor == 1 ? !head_has_word(out, "Connection", "close") : head_has_word(out, "Connection", "keep-alive");
    out->expect_continue = head_has_word(out, "Expect", "100-continue") && out->minor == 1;
    *why = "";
    return 0;
}

/* ---- chunks ------------------------------------------------------------------------------------- */

enum { SIZE, SIZE_REST, SIZE_LF, DATA, DATA_CR, DATA_LF, TRAILER, TRAILER_LF, OVER };
enum { LINE_MAX_BYTES = 4096 };     /* of extensions and trailers together: nobody uses them */

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* One byte of what surrounds the content; 0 or a code. */
static int frame_byte(head_chunks *c, char b, size_t room)
{
    switch (c->state) {
    case SIZE:
        if (hex(b) >= 0) {
            if (c->line++ >= 15) return 400;
            c->left = c->left * 16 + (uint64_t)hex(b);
            return c->left > room ? 413 : 0;
        }
        if (c->line == 0 || (b != ';' && b != '\r' && b != ' ' && b != '\t')) return 400;
        c->state = b == '\r' ? SIZE_LF : SIZE_REST;
        return 0;
    case SIZE_REST:
        if (b == '\r') c->state = SIZE_LF;
        return ++c->line > LINE_MAX_BYTES || b == '\n' ? 400 : 0;
    case SIZE_LF:
        c->state = c->left ? DATA : TRAILER;
        c->line = 0;
        return b == '\n' ? 0 : 400;
    case DATA_CR:
        c->state = DATA_LF;
        return b == '\r' ? 0 : 400;
    case DATA_LF:
        c->state = SIZE;
        c->line = 0;
        return b == '\n' ? 0 : 400;
    case TRAILER:               /* c->line: bytes of this line */
        if (b == '\r') c->state = TRAILER_LF;
        else if (++c->line > LINE_MAX_BYTES || b == '\n') return 400;
        return 0;
    default:                    /* TRAILER_LF */
        c->state = c->line ? TRAILER : OVER;
        c->line = 0;
        return b == '\n' ? 0 : 400;
    }
}

int head_chunks_take(head_chunks *c, const char *p, size_t n, buf *body, size_t *used, bool *over)
{
    size_t at = 0;
    int code = 0;
    while (at < n && code == 0 && c->state != OVER) {
        if (c->state != DATA) {
            code = frame_byte(c, p[at++], body->max - body->len);
            continue;
        }
        size_t take = (size_t)MIN((uint64_t)(n - at), c->left);
        if (buf_add(body, p + at, take, NULL) != OK) code = 413;
        at += take;
        c->left -= take;
        if (c->left == 0) c->state = DATA_CR;
    }
    *used = at;
    *over = c->state == OVER;
    return code;
}
