/* Adapters of a running server: the model names that they give, and loading and unloading them while others are answered.
 *
 * "x:NAME" and "NAME" ask for the adapter NAME of the model x.  Files are read, and the engine waited for, on a thread of its own; all else
 * runs on the event loop's.  What a request can name lies in the folder that the server was given, never elsewhere. */
#ifndef FC_SERVE_ADAPTERS_H
#define FC_SERVE_ADAPTERS_H

#include "serve/server.h"

/* dir: from where adapters may be loaded, NULL: nowhere.  *out owned: adapters_free. */
status adapters_new(adapters **out, server *s, const char *dir, err *e);
/* Waits for what is being loaded; before the engine stops.  NULL is fine. */
void   adapters_free(adapters *a);

/* A name that a model's name can end in: letters, digits, dots, dashes and underscores, neither the model's own nor "latest". */
bool   adapters_is_name(const server *s, str name);
/* *found: the engine has one of that name.  False: out of memory. */
bool   adapters_find(const server *s, str name, bool *found);
/* What the engine has, in the order of loading.  *list owned: facet_free; false: out of memory. */
bool   adapters_read(const server *s, facet_adapter_info **list, size_t *count);

#endif
