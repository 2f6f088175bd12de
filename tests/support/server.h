/* A server in a thread of the test, with the bundled miniature. */
#ifndef FC_TESTS_SERVER_H
#define FC_TESTS_SERVER_H

#include "serve/serve.h"

typedef struct test_server test_server;
/* Waits until it listens.  o: what differs from the defaults; its port is a free one.  NULL: it could not start, *e says why. */
test_server *test_server_start(serve_opts o, err *e);
int    test_server_port(const test_server *s);
/* SIGTERM, then waits; what serve_run returned. */
status test_server_stop(test_server *s);

/* The same as fixtures of a group of cases: 0, or -1 once stderr says why.  port may be NULL. */
int test_server_setup(test_server **s, int *port, serve_opts o);
int test_server_teardown(test_server *s);

#endif
