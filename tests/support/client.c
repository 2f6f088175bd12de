#include "support/client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WAIT_MS = 300000 };

bool client_join(int fd, int port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    return connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
}

int client_connect(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && client_join(fd, port)) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

bool client_send(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent <= 0) return false;
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

bool client_say(int fd, const char *text) { return client_send(fd, text, strlen(text)); }

/* One byte, or -1. */
static int next(int fd)
{
    unsigned char c;
    struct pollfd p = { .fd = fd, .events = POLLIN };
    return poll(&p, 1, WAIT_MS) > 0 && recv(fd, &c, 1, 0) == 1 ? c : -1;
}

static bool take(int fd, buf *out, size_t n)
{
    char piece[4096];
    while (n) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        ssize_t got = poll(&p, 1, WAIT_MS) > 0 ? recv(fd, piece, n < sizeof piece ? n : sizeof piece, 0) : 0;
        if (got <= 0 || buf_add(out, piece, (size_t)got, NULL) != OK) return false;
        n -= (size_t)got;
    }
    return true;
}

static bool line(int fd, buf *out)
{
    for (int c; (c = next(fd)) >= 0;) {
        char byte = (char)c;
        buf_add(out, &byte, 1, NULL);
        if (c == '\n') return true;
    }
    return false;
}

static bool chunks(int fd, buf *out)
{
    for (;;) {
        buf size, end;
        buf_init(&size, 100);
        buf_init(&end, 2);
        bool ok = line(fd, &size);
        size_t n = ok ? strtoul(buf_text(&size), NULL, 16) : 0;
        ok = ok && take(fd, out, n) && take(fd, &end, 2) && strcmp(buf_text(&end), "\r\n") == 0;
        buf_done(&size);
        buf_done(&end);
        if (!ok || n == 0) return ok;
    }
}

void client_read(int fd, client_reply *out)
{
    *out = (client_reply){ 0 };
    buf_init(&out->head, 1 << 20);
    buf_init(&out->body, 1 << 28);
    do {
        buf_clear(&out->head);
        while (line(fd, &out->head) && (out->head.len < 4 || strcmp(out->head.data + out->head.len - 4, "\r\n\r\n") != 0)) {}
        out->code = out->head.len > 12 ? atoi(out->head.data + 9) : 0;
    } while (out->code == 100);
    const char *length = client_header(out, "Content-Length");
    if (out->code == 204) out->whole = true;
    else if (length) out->whole = take(fd, &out->body, strtoul(length, NULL, 10));
    else if (client_header(out, "Transfer-Encoding")) out->whole = chunks(fd, &out->body);
    else if (out->code) for (int c; (c = next(fd)) >= 0;) buf_add(&out->body, &(char){ (char)c }, 1, NULL);
}

bool client_is_closed(int fd, int ms)
{
    char piece[4096];
    struct pollfd p = { .fd = fd, .events = POLLIN };
    while (poll(&p, 1, ms) > 0)
        if (recv(fd, piece, sizeof piece, 0) <= 0) return true;
    return false;
}

void client_done(client_reply *r)
{
    buf_done(&r->head);
    buf_done(&r->body);
}

void client_ask(int port, const char *method, const char *path, const char *headers, const char *body, client_reply *out)
{
    buf b;
    int fd = client_connect(port);
    buf_init(&b, 1 << 28);
    *out = (client_reply){ 0 };
    buf_addf(&b, NULL, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s", method, path, headers);
    if (body) buf_addf(&b, NULL, "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(body));
    buf_add_str(&b, "\r\n", NULL);
    if (body) buf_add_str(&b, body, NULL);
    if (fd >= 0) {
        client_send(fd, b.data, b.len);
        client_read(fd, out);
        close(fd);
    }
    buf_done(&b);
}

json_t *client_json(const client_reply *r)
{
    json_t *v = NULL;
    return json_parse(&v, (str){ buf_text(&r->body), r->body.len }, "the answer", true, NULL) == OK ? v : NULL;
}

json_t *client_events(const client_reply *r)
{
    json_t *list = json_array();
    str rest = { buf_text(&r->body), r->body.len }, text, name = { 0 };
    while (rest.n && str_split(&rest, '\n', &text)) {
        if (text.n == 0 || text.p[0] == ':') continue;
        if (str_starts(text, "event: ")) { name = str_skip(text, 7); continue; }
        if (!str_starts(text, "data: ")) { json_decref(list); return NULL; }
        json_t *data = NULL;
        text = str_skip(text, 6);
        if (json_parse(&data, text, "an event", true, NULL) != OK) data = json_stringn(text.p, text.n);
        json_array_append_new(list, json_pack("{s:s%, s:o}", "event", name.p ? name.p : "", name.n, "data", data));
        name = (str){ 0 };
    }
    return list;
}

const char *client_header(const client_reply *r, const char *name)
{
    static _Thread_local char value[512];
    str rest = { buf_text(&r->head), r->head.len }, text;
    size_t n = strlen(name);
    while (rest.n && str_split(&rest, '\n', &text)) {
        if (text.n < n + 2 || strncasecmp(text.p, name, n) != 0 || text.p[n] != ':') continue;
        text = str_skip(text, n + 2);
        snprintf(value, sizeof value, "%.*s", (int)(text.n ? text.n - 1 : 0), text.p);
        return value;
    }
    return NULL;
}

json_t *client_post(int port, const char *path, const char *body, int *code)
{
    client_reply r;
    client_ask(port, "POST", path, "", body, &r);
    json_t *v = client_json(&r);
    if (code) *code = r.code;
    client_done(&r);
    return v;
}
