/* Embeddings of a request's texts: as many at a time as the engine computes at once, given out together.  Everything runs on the
 * event loop's thread. */
#ifndef FC_SERVE_VECTORS_H
#define FC_SERVE_VECTORS_H

#include "serve/server.h"

enum { VECTORS_MAX = 2048 };

typedef struct vectors vectors;

typedef struct vectors_dialect {
    /* The whole answer appended to out. */
    bool (*print)(const vectors *v, buf *out);
    void (*refuse)(http_call *c, const refusal *r);
} vectors_dialect;

typedef struct vectors_ask {
    json_t *inputs;                  /* owned; a list of texts and lists of ids, at most VECTORS_MAX */
    bool truncate;                   /* cut a text that is longer than the context, instead of refusing it */
    bool base64;
    int64_t width;                   /* numbers of each embedding; 0: all */
    char adapter[SERVER_ADAPTER_MAX];    /* that computes them; "": the model itself */
} vectors_ask;

/* A text, ids, or a list of either.  Sets a->inputs. */
bool vectors_read(vectors_ask *a, const json_t *input, const char *field, refusal *r);
bool vectors_read_width(vectors_ask *a, const server *s, const json_t *body, refusal *r);
/* Takes a->inputs and answers the call, at once when it must be refused. */
void vectors_start(server *s, http_call *c, const vectors_dialect *d, vectors_ask *a);

/* ---- for dialects ------------------------------------------------------------------------------------------ */

size_t vectors_count(const vectors *v);
/* Embedding i as a JSON list of numbers, or as a text of base64 (little-endian f32) when that was asked for. */
bool   vectors_print(const vectors *v, size_t i, buf *out);
int64_t vectors_tokens(const vectors *v);
double vectors_seconds(const vectors *v);
const server *vectors_server(const vectors *v);
const char *vectors_adapter(const vectors *v);
const char *vectors_model(const vectors *v);     /* as the answer names it */

#endif
