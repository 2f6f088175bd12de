/* A connection and its call: what http.c (reading) and http_call.c (answering) share. */
#ifndef FC_SERVE_HTTP_INT_H
#define FC_SERVE_HTTP_INT_H

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

#include "serve/address.h"
#include "serve/http.h"

enum { HTTP_READ_AHEAD = 64 << 10,       /* bytes that a client may send before they are wanted */
       HTTP_FULL = 256 << 10 };          /* bytes that wait for a client before its answer pauses */

typedef enum conn_state {
    CONN_IDLE,           /* between requests */
    CONN_HEAD,
    CONN_BODY,
    CONN_ANSWER,         /* somebody works on the answer */
    CONN_FLUSH,          /* the answer is complete, not all of it sent */
    CONN_LINGER          /* said all; reads until the client has seen it */
} conn_state;

typedef struct conn {
    http *door;
    struct conn *next, **prev;
    struct bufferevent *bev;
    struct event *timer;
    conn_state state;
    char peer[64];
    address client;              /* address_client of who is counted: of a trusted proxy's connection who it speaks for, as long as there is a call */
    bool proxy, counted;
    size_t seen;                 /* bytes of the body when the timer was set; bytes thrown away in CONN_LINGER */
    http_call *call;             /* from head to flush */
} conn;

struct http_call {
    conn *conn;
    buf raw;                     /* the head's bytes */
    head head;
    buf body, extra;             /* extra: header lines of the answer */
    head_chunks chunks;
    bool keep, streaming, chunked, bodyless;
    bool lost;                   /* a part of the answer found no memory: the connection ends with what was sent before it */
    void (*gone)(void *user);
    void (*drain)(void *user);
    void *user;
};

/* The answer is complete: flush, then go on or close. */
void http_conn_flush(conn *c);
void http_conn_free(conn *c);

#endif
