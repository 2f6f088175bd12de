/* The HTTP door: connections, limits and framing over libevent's loop and buffers; what is said is others' business.
 *
 * Everything runs on the thread of the event loop.  A call is one request and its answer; it lives from its head to the
 * last byte of the answer, or until the client leaves (http_on_gone). */
#ifndef FC_SERVE_HTTP_H
#define FC_SERVE_HTTP_H

#include "serve/head.h"

struct event_base;
typedef struct http http;
typedef struct http_call http_call;

typedef struct http_opts {
    const char *host;            /* an address or a name that the system resolves */
    int port;                    /* 0: a free one */
    int connections;             /* most at once; 0: 4096 */
    int per_address;             /* from one client (address_client), those of this machine excepted; 0: 32 */
    const char *const *proxies;  /* addresses and ranges whose X-Forwarded-For is believed: their requests count as those of whom it names */
    size_t proxy_count;
    int head_seconds;            /* for the whole head; 0: 10 */
    int body_seconds;            /* within each of these a body must bring 1 KB per second; 0: 10 */
    int idle_seconds;            /* between two requests; 0: 60 */
    int stall_seconds;           /* for a client that does not read; 0: 60 */
} http_opts;

/* admit: the head is in; *body_max is set to what the body may have.  False: it has answered already, and the rest of the
 * request is not read.  answer: the body is in too; an answer must follow, now or later.  refuse: the door itself refuses
 * a malformed request with this status; answers. */
typedef struct http_handlers {
    bool (*admit)(void *user, http_call *c, size_t *body_max);
    void (*answer)(void *user, http_call *c);
    void (*refuse)(void *user, http_call *c, int code, const char *why);
    void *user;
} http_handlers;

/* Listens.  *out owned: http_free. */
status http_new(http **out, struct event_base *base, const http_opts *o, const http_handlers *h, err *e);
void   http_free(http *h);                       /* drops all connections: http_on_gone tells */
/* "127.0.0.1:8080", "[::1]:8080"; borrowed. */
const char *http_address(const http *h);
/* Takes no new connection, closes idle ones and each other one after its answer. */
void   http_stop(http *h);
int    http_connections(const http *h);
int    http_calls(const http *h);                /* being answered */

/* ---- a request ---------------------------------------------------------------------------------- */

const head *http_head(const http_call *c);       /* empty when the head was malformed */
str    http_body(const http_call *c);
const char *http_peer(const http_call *c);       /* the client's address without its port; whom a trusted proxy speaks for */

/* ---- its answer --------------------------------------------------------------------------------- */

/* Before http_reply or http_stream; value: no line ends. */
void   http_header(http_call *c, const char *name, const char *value);
/* The whole answer; the call is over. */
void   http_reply(http_call *c, int code, const char *type, const char *body, size_t n);
/* An answer in pieces. */
void   http_stream(http_call *c, int code, const char *type);
void   http_write(http_call *c, const char *p, size_t n);
void   http_end(http_call *c);
/* Ends a streamed answer visibly broken: the client must not take it for whole. */
void   http_break(http_call *c);

/* The client reads slowly: keep what you have until on_drain. */
bool   http_full(const http_call *c);
/* gone: the client left before the end of the answer; the call must not be used any more. */
void   http_watch(http_call *c, void (*gone)(void *user), void (*drain)(void *user), void *user);

#endif
