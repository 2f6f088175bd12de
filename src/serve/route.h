/* Which function answers which path, and who may come in. */
#ifndef FC_SERVE_ROUTE_H
#define FC_SERVE_ROUTE_H

#include "serve/server.h"

/* http_handlers of a server; user is the server. */
bool route_admit(void *user, http_call *c, size_t *body_max);
void route_answer(void *user, http_call *c);
void route_refuse(void *user, http_call *c, int code, const char *why);
/* Route number i: "{id}" stands for one part of a path, a '/' at its end for all below it.  False: there are not so many. */
bool route_at(size_t i, const char **method, const char **path);

#endif
