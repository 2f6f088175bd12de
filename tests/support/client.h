/* A small HTTP client for tests of the server: blocking, on 127.0.0.1, with the bytes in plain sight. */
#ifndef FC_TESTS_CLIENT_H
#define FC_TESTS_CLIENT_H

#include "base/buf.h"
#include "base/json.h"

typedef struct client_reply {
    int code;                    /* 0: no answer */
    buf head, body;              /* body: with the chunks put together */
    bool whole;                  /* it ended where its framing says */
} client_reply;

int  client_connect(int port);                       /* a socket, or -1 */
bool client_join(int fd, int port);                  /* with a socket that is there already */
bool client_send(int fd, const char *p, size_t n);   /* false when the other side has closed */
bool client_say(int fd, const char *text);
/* One answer; waits at most 5 minutes for each piece. */
void client_read(int fd, client_reply *out);
/* True when the other side closes within ms milliseconds; what it still says is thrown away. */
bool client_is_closed(int fd, int ms);
void client_done(client_reply *r);

/* A request of its own connection.  headers: lines that end with CRLF, or "".  body may be NULL. */
void client_ask(int port, const char *method, const char *path, const char *headers, const char *body, client_reply *out);
/* The body as JSON; NULL when it is none.  Owned. */
json_t *client_json(const client_reply *r);
/* The data of a stream's events as a list of { "event", "data" }; data that is no JSON stays a text.  NULL when a line is no
 * event's.  Owned. */
json_t *client_events(const client_reply *r);
/* A line of the head, its value; NULL when absent. Borrowed until the next call. */
const char *client_header(const client_reply *r, const char *name);
/* POST of JSON, the answer as JSON; *code (may be NULL) is its status.  Owned. */
json_t *client_post(int port, const char *path, const char *body, int *code);

#endif
