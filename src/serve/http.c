#include "serve/http_int.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/log.h"
#include "base/mem.h"

enum { LINGER_SECONDS = 2, LINGER_BYTES = 1 << 20, BODY_RATE = 1024, RETRY_MS = 100 };

struct http {
    struct event_base *base;
    struct evconnlistener *listener;
    struct event *retry;                 /* listens again after the system ran out of descriptors */
    http_opts o;
    http_handlers on;
    address_range *proxies;              /* [o.proxy_count] */
    conn *first;
    int connections, calls;
    bool stopping;
    char address[96];
};

/* ---- one connection -------------------------------------------------------------------------------- */

/* A connection without a clock could stay for ever: its time is over at once. */
static void set_timer(conn *c, int seconds)
{
    if (event_add(c->timer, &(struct timeval){ .tv_sec = seconds }) != 0) event_active(c->timer, EV_TIMEOUT, 0);
}

static void drop_call(conn *c)
{
    http_call *x = c->call;
    if (!x) return;
    c->call = NULL;
    c->door->calls--;
    if (c->proxy) c->counted = false;
    buf_done(&x->raw);
    buf_done(&x->body);
    buf_done(&x->extra);
    mem_free(x);
}

void http_conn_free(conn *c)
{
    if (c->call && c->call->gone) c->call->gone(c->call->user);
    drop_call(c);
    *c->prev = c->next;
    if (c->next) c->next->prev = c->prev;
    c->door->connections--;
    if (c->timer) event_free(c->timer);
    if (c->bev) bufferevent_free(c->bev);
    mem_free(c);
}

void http_conn_flush(conn *c)
{
    if (c->call) c->call->gone = c->call->drain = NULL;
    c->state = CONN_FLUSH;
    event_del(c->timer);
    /* an empty output buffer has no write event to wait for */
    if (evbuffer_get_length(bufferevent_get_output(c->bev)) == 0) bufferevent_trigger(c->bev, EV_WRITE, BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS);
}

/* Closing at once would reset the connection while the client still sends, and the answer could be lost (RFC 9112, 9.6). */
static void linger(conn *c)
{
    c->state = CONN_LINGER;
    c->seen = 0;
    shutdown(bufferevent_getfd(c->bev), SHUT_WR);
    set_timer(c, LINGER_SECONDS);
}

static void refuse(conn *c, int code, const char *why)
{
    c->door->on.refuse(c->door->on.user, c->call, code, why);
}

static status new_call(conn *c, const char *raw, size_t n)
{
    http_call *x = mem_alloc(sizeof *x, MEM_IO);
    if (!x) return E_NOMEM;
    x->conn = c;
    buf_init(&x->raw, HEAD_BYTES_MAX);
    buf_init(&x->extra, 16 << 10);
    c->call = x;
    c->door->calls++;
    return buf_add(&x->raw, raw, n, NULL);
}

/* ---- who is counted ---------------------------------------------------------------------------------- */

static bool is_proxy(const http *h, const address *a)
{
    for (size_t i = 0; i < h->o.proxy_count; i++)
        if (address_is_in(a, &h->proxies[i])) return true;
    return false;
}

static bool has_too_many(const http *h, const conn *who)
{
    int n = 0;
    for (const conn *c = h->first; c; c = c->next) n += c != who && c->counted && address_same(&c->client, &who->client);
    return n >= h->o.per_address;
}

/* Each proxy adds whom it heard to the end of the list, so the last address that is no proxy of ours is the client; what stands before it
 * may be the client's own invention. */
static bool forwarded_for(const conn *c, const head *h, address *out)
{
    for (size_t i = h->count; i-- > 0;) {
        str rest = h->fields[i].value;
        if (!head_same(h->fields[i].name, "X-Forwarded-For")) continue;
        while (rest.n) {
            size_t at = rest.n;
            while (at > 0 && rest.p[at - 1] != ',') at--;
            str one = str_skip(rest, at);
            while (one.n && (one.p[0] == ' ' || one.p[0] == '\t')) one = str_skip(one, 1);
            while (one.n && (one.p[one.n - 1] == ' ' || one.p[one.n - 1] == '\t')) one.n--;
            if (!address_parse(one, out)) return false;
            if (!is_proxy(c->door, out)) return true;
            rest.n = at ? at - 1 : 0;
        }
    }
    return false;
}

/* The head of a proxy's request says who asks. */
static bool welcome_forwarded(conn *c, const head *h)
{
    address who;
    if (!c->proxy || !forwarded_for(c, h, &who)) return true;
    c->client = address_client(&who);
    c->counted = !address_is_loopback(&who);
    address_print(&who, c->peer, sizeof c->peer);
    return !c->counted || !has_too_many(c->door, c);
}

/* ---- reading ----------------------------------------------------------------------------------------- */

/* The head is complete in x->raw: parse, ask whether it is welcome, go on to the body. */
static void take_head(conn *c)
{
    const char *why = "";
    http_call *x = c->call;
    size_t body_max = 0;
    int code = head_parse(&x->head, buf_text(&x->raw), x->raw.len, &why);
    x->bodyless = str_is(x->head.method, "HEAD");
    if (code != 0) { refuse(c, code, why); return; }
    x->keep = x->head.keep_alive && !c->door->stopping;
    if (!welcome_forwarded(c, &x->head)) { refuse(c, 503, "too many requests of this client are being answered"); return; }
    if (!c->door->on.admit(c->door->on.user, x, &body_max)) return;
    if (x->head.length > body_max) { refuse(c, 413, "the body is larger than this route takes"); return; }
    buf_init(&x->body, body_max);
    c->state = CONN_BODY;
    c->seen = 0;
    set_timer(c, c->door->o.body_seconds);
    if (x->head.expect_continue && (x->head.length || x->head.chunked))
        evbuffer_add_printf(bufferevent_get_output(c->bev), "HTTP/1.1 100 Continue\r\n\r\n");
}

static void read_head(conn *c, struct evbuffer *in)
{
    size_t n = evbuffer_get_length(in), most = MIN(n, (size_t)HEAD_BYTES_MAX);
    const char *p = (const char *)evbuffer_pullup(in, (ev_ssize_t)most);
    if (most && !p) { http_conn_free(c); return; }            /* out of memory */
    if (c->state == CONN_IDLE) {
        while (most && (*p == '\r' || *p == '\n')) {          /* empty lines before a request (RFC 9112, 2.2) */
            evbuffer_drain(in, 1);
            p++, most--;
        }
        if (most == 0) return;
        c->state = CONN_HEAD;
        set_timer(c, c->door->o.head_seconds);
    }
    size_t end = head_find_end(p, most);
    if (end == 0 && most < HEAD_BYTES_MAX) return;
    if (new_call(c, p, end) != OK) { http_conn_free(c); return; }
    evbuffer_drain(in, end);
    if (end == 0) refuse(c, 431, "the head of the request is larger than 16 KB");
    else take_head(c);
}

static void read_body(conn *c, struct evbuffer *in)
{
    http_call *x = c->call;
    bool over = !x->head.chunked && x->body.len == x->head.length;
    while (!over && evbuffer_get_length(in)) {
        struct evbuffer_iovec piece;
        size_t used = 0;
        evbuffer_peek(in, -1, NULL, &piece, 1);
        if (x->head.chunked) {
            int code = head_chunks_take(&x->chunks, piece.iov_base, piece.iov_len, &x->body, &used, &over);
            if (code) {
                refuse(c, code, code == 413 ? "the body is larger than this route takes" : "the body's chunks are malformed");
                return;
            }
        } else {
            used = (size_t)MIN((uint64_t)piece.iov_len, x->head.length - x->body.len);
            if (buf_add(&x->body, piece.iov_base, used, NULL) != OK) { refuse(c, 503, "out of memory"); return; }
            over = x->body.len == x->head.length;
        }
        evbuffer_drain(in, used);
    }
    if (!over) return;
    event_del(c->timer);
    c->state = CONN_ANSWER;
    c->door->on.answer(c->door->on.user, x);
}

static void on_read(struct bufferevent *bev, void *user)
{
    conn *c = user;
    struct evbuffer *in = bufferevent_get_input(bev);
    if (c->state == CONN_LINGER) {
        c->seen += evbuffer_get_length(in);
        evbuffer_drain(in, evbuffer_get_length(in));
        if (c->seen > LINGER_BYTES) http_conn_free(c);
        return;
    }
    if (c->state == CONN_IDLE || c->state == CONN_HEAD) {
        http *door = c->door;
        int before = door->connections;
        read_head(c, in);
        if (door->connections != before) return;              /* gone */
    }
    if (c->state == CONN_BODY) read_body(c, in);
}

static void on_write(struct bufferevent *bev, void *user)
{
    conn *c = user;
    if (c->state == CONN_ANSWER && c->call->drain) c->call->drain(c->call->user);
    if (c->state != CONN_FLUSH || evbuffer_get_length(bufferevent_get_output(bev))) return;
    bool keep = c->call && c->call->keep && !c->door->stopping;
    drop_call(c);
    if (!keep) { linger(c); return; }
    c->state = CONN_IDLE;
    set_timer(c, c->door->o.idle_seconds);
    if (evbuffer_get_length(bufferevent_get_input(bev))) on_read(bev, c);     /* the next request is there already */
}

/* End of file, a reset, or a client that does not read: in each case nobody listens. */
static void on_event(struct bufferevent *bev, short what, void *user)
{
    conn *c = user;
    (void)bev;
    if ((what & BEV_EVENT_EOF) && c->state == CONN_FLUSH) return;      /* it has said all and still reads */
    if (what == BEV_EVENT_ERROR && c->state == CONN_FLUSH && c->call && c->call->lost) return;    /* what is before the hole is sent */
    http_conn_free(c);
}

static void on_timer(evutil_socket_t fd, short what, void *user)
{
    conn *c = user;
    int wait = c->door->o.body_seconds;
    (void)fd;
    (void)what;
    if (c->state == CONN_BODY && c->call->body.len >= c->seen + (size_t)wait * BODY_RATE) {
        c->seen = c->call->body.len;
        set_timer(c, wait);
    } else if (c->state == CONN_HEAD && new_call(c, "", 0) == OK) {
        refuse(c, 408, "the head of the request did not come in time");
    } else if (c->state == CONN_BODY) {
        refuse(c, 408, "the body of the request came too slowly");
    } else {
        http_conn_free(c);
    }
}

/* ---- accepting --------------------------------------------------------------------------------------- */

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int length, void *user)
{
    static const char busy[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    http *h = user;
    char peer[64] = "?";
    int one = 1;
    (void)l;
    address who = address_from(sa);
    getnameinfo(sa, (socklen_t)length, peer, sizeof peer, NULL, 0, NI_NUMERICHOST);
    conn like = { .client = address_client(&who), .proxy = is_proxy(h, &who) };
    like.counted = !like.proxy && !address_is_loopback(&who);
    bool full = h->connections >= h->o.connections || (like.counted && has_too_many(h, &like));
    conn *c = full ? NULL : mem_alloc(sizeof *c, MEM_IO);
    if (!c) {
        if (send(fd, busy, sizeof busy - 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) log_print(LOG_INFO, "%s: refused, too many connections", peer);
        evutil_closesocket(fd);
        return;
    }
    *c = like;
    memcpy(c->peer, peer, sizeof peer);
    c->door = h;
    c->next = h->first;
    c->prev = &h->first;
    if (c->next) c->next->prev = &c->next;
    h->first = c;
    h->connections++;
    c->timer = evtimer_new(h->base, on_timer, c);
    c->bev = bufferevent_socket_new(h->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (!c->bev) evutil_closesocket(fd);
    if (!c->timer || !c->bev) { http_conn_free(c); return; }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);       /* a token is sent when it is there */
    bufferevent_setcb(c->bev, on_read, on_write, on_event, c);
    bufferevent_setwatermark(c->bev, EV_READ, 0, HTTP_READ_AHEAD);
    bufferevent_setwatermark(c->bev, EV_WRITE, 0, 0);
    bufferevent_set_timeouts(c->bev, NULL, &(struct timeval){ .tv_sec = h->o.stall_seconds });
    if (bufferevent_enable(c->bev, EV_READ | EV_WRITE) != 0) { http_conn_free(c); return; }
    set_timer(c, h->o.idle_seconds);
}

/* No descriptor left: without a pause the loop would spin until one is free. */
static void on_accept_error(struct evconnlistener *l, void *user)
{
    http *h = user;
    log_print(LOG_WARN, "could not accept a connection: %s", evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
    evconnlistener_disable(l);
    event_add(h->retry, &(struct timeval){ .tv_usec = RETRY_MS * 1000 });
}

static void on_retry(evutil_socket_t fd, short what, void *user)
{
    http *h = user;
    (void)fd;
    (void)what;
    if (h->listener) evconnlistener_enable(h->listener);
}

/* ---- the door ------------------------------------------------------------------------------------------ */

static status listen_at(http *h, const struct addrinfo *a, err *e)
{
    enum { FLAGS = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE };
    struct sockaddr_storage own;
    socklen_t length = sizeof own;
    char host[64], port[16];
    h->listener = evconnlistener_new_bind(h->base, on_accept, h, FLAGS, 511, a->ai_addr, (int)a->ai_addrlen);
    if (!h->listener)
        return err_set(e, E_IO, "could not listen on %s port %d\n%s\nAnother program may use it: choose another with --port, or 0 for a free one.",
                       h->o.host, h->o.port, strerror(errno));
    evconnlistener_set_error_cb(h->listener, on_accept_error);
    getsockname(evconnlistener_get_fd(h->listener), (struct sockaddr *)&own, &length);
    getnameinfo((struct sockaddr *)&own, length, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(h->address, sizeof h->address, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
    return OK;
}

static status read_proxies(http *h, err *e)
{
    h->proxies = mem_array(h->o.proxy_count, sizeof *h->proxies, MEM_IO);
    if (!h->proxies) return err_set(e, E_NOMEM, "could not open the server\nout of memory");
    for (size_t i = 0; i < h->o.proxy_count; i++)
        if (!address_parse_range(str_from(h->o.proxies[i]), &h->proxies[i]))
            return err_set(e, E_ARG, "cannot trust the proxy \"%s\"\nit is no address and no range of addresses\nExamples: 127.0.0.1, 10.0.0.0/8, fd00::/8.", h->o.proxies[i]);
    return OK;
}

status http_new(http **out, struct event_base *base, const http_opts *o, const http_handlers *on, err *e)
{
    status st = OK;
    struct addrinfo *list = NULL, hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
    char port[16];
    http *h = mem_alloc(sizeof *h, MEM_IO);
    if (!h) FAIL(e, E_NOMEM, "could not open the server\nout of memory");
    h->base = base;
    h->o = *o;
    h->on = *on;
    if (!h->o.connections) h->o.connections = 4096;
    if (!h->o.per_address) h->o.per_address = 32;
    if (!h->o.head_seconds) h->o.head_seconds = 10;
    if (!h->o.body_seconds) h->o.body_seconds = 10;
    if (!h->o.idle_seconds) h->o.idle_seconds = 60;
    if (!h->o.stall_seconds) h->o.stall_seconds = 60;
    TRY(read_proxies(h, e));
    h->retry = evtimer_new(base, on_retry, h);
    if (!h->retry) FAIL(e, E_NOMEM, "could not open the server\nout of memory");
    snprintf(port, sizeof port, "%d", o->port);
    int no = getaddrinfo(o->host, port, &hints, &list);
    if (no) FAIL(e, E_ARG, "cannot listen on \"%s\"\n%s\nGive an address of this machine, such as 127.0.0.1.", o->host, gai_strerror(no));
    TRY(listen_at(h, list, e));
    *out = h;
    h = NULL;
out:
    if (list) freeaddrinfo(list);
    http_free(h);
    return st;
}

void http_stop(http *h)
{
    h->stopping = true;
    if (h->listener) evconnlistener_free(h->listener);
    h->listener = NULL;
    for (conn *c = h->first, *next; c; c = next) {
        next = c->next;
        if (c->state == CONN_IDLE || c->state == CONN_HEAD) http_conn_free(c);
    }
}

void http_free(http *h)
{
    if (!h) return;
    while (h->first) http_conn_free(h->first);
    if (h->listener) evconnlistener_free(h->listener);
    if (h->retry) event_free(h->retry);
    mem_free(h->proxies);
    mem_free(h);
}

const char *http_address(const http *h) { return h->address; }
int http_connections(const http *h) { return h->connections; }
int http_calls(const http *h) { return h->calls; }
