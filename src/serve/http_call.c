/* Answers: status line, fields, framing. */
#include <stdio.h>
#include <time.h>

#include "base/bits.h"
#include "serve/http_int.h"

static const char *reason(int code)
{
    static const struct { int code; const char *text; } all[] = {
        { 200, "OK" }, { 204, "No Content" }, { 304, "Not Modified" }, { 400, "Bad Request" }, { 401, "Unauthorized" }, { 403, "Forbidden" }, { 404, "Not Found" },
        { 405, "Method Not Allowed" }, { 408, "Request Timeout" }, { 409, "Conflict" }, { 413, "Content Too Large" }, { 415, "Unsupported Media Type" },
        { 429, "Too Many Requests" }, { 431, "Request Header Fields Too Large" }, { 500, "Internal Server Error" },
        { 501, "Not Implemented" }, { 503, "Service Unavailable" }, { 505, "HTTP Version Not Supported" }, { 529, "Overloaded" } };
    for (size_t i = 0; i < COUNT_OF(all); i++)
        if (all[i].code == code) return all[i].text;
    return "Error";
}

const head *http_head(const http_call *c) { return &c->head; }
str http_body(const http_call *c) { return (str){ buf_text(&c->body), c->body.len }; }
const char *http_peer(const http_call *c) { return c->conn->peer; }

void http_header(http_call *c, const char *name, const char *value)
{
    buf_addf(&c->extra, NULL, "%s: %s\r\n", name, value);
}

static struct evbuffer *output(const http_call *c) { return bufferevent_get_output(c->conn->bev); }

/* A client must not take an answer with a hole in it for whole: nothing follows the hole, and the connection ends.  For whoever is
 * working on the answer it is as if the client had left. */
static void lose(http_call *c)
{
    c->lost = true;
    c->keep = false;
    bufferevent_trigger_event(c->conn->bev, BEV_EVENT_ERROR, BEV_TRIG_DEFER_CALLBACKS);
}

static void say(http_call *c, const char *p, size_t n)
{
    if (!c->lost && n && evbuffer_add(output(c), p, n) != 0) lose(c);
}

static void begin(http_call *c, int code, const char *type, const char *framing)
{
    char date[64];
    time_t now = time(NULL);
    struct tm t;
    gmtime_r(&now, &t);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &t);
    int n = evbuffer_add_printf(output(c), "HTTP/1.1 %d %s\r\nDate: %s\r\n%s%s%s%s%sX-Content-Type-Options: nosniff\r\nConnection: %s\r\n\r\n",
                                code, reason(code), date, type ? "Content-Type: " : "", type ? type : "", type ? "\r\n" : "", framing,
                                buf_text(&c->extra), c->keep ? "keep-alive" : "close");
    if (n < 0) lose(c);
}

void http_reply(http_call *c, int code, const char *type, const char *body, size_t n)
{
    char framing[64] = "";
    bool rest = c->conn->state != CONN_ANSWER && (c->head.length || c->head.chunked);
    if (rest) c->keep = false;                               /* what is left of the request is not read */
    if (code != 204 && code != 304) snprintf(framing, sizeof framing, "Content-Length: %zu\r\n", n);
    begin(c, code, type, framing);
    if (!c->bodyless && code != 204 && code != 304) say(c, body, n);
    http_conn_flush(c->conn);
}

void http_stream(http_call *c, int code, const char *type)
{
    c->streaming = true;
    c->chunked = c->head.minor == 1;
    if (!c->chunked) c->keep = false;
    begin(c, code, type, c->chunked ? "Transfer-Encoding: chunked\r\n" : "");
}

void http_write(http_call *c, const char *p, size_t n)
{
    char size[24];
    if (n == 0 || c->bodyless) return;
    if (c->chunked) say(c, size, (size_t)snprintf(size, sizeof size, "%zx\r\n", n));
    say(c, p, n);
    if (c->chunked) say(c, "\r\n", 2);
}

void http_end(http_call *c)
{
    if (c->chunked && !c->bodyless) say(c, "0\r\n\r\n", 5);
    http_conn_flush(c->conn);
}

void http_break(http_call *c)
{
    c->keep = false;
    http_conn_flush(c->conn);
}

bool http_full(const http_call *c) { return evbuffer_get_length(output(c)) >= HTTP_FULL; }

void http_watch(http_call *c, void (*gone)(void *user), void (*drain)(void *user), void *user)
{
    c->gone = gone;
    c->drain = drain;
    c->user = user;
}
