/* facet serve: one model over HTTP, in the dialects of OpenAI, Anthropic and Ollama.
 *
 * Two threads: the caller's runs the event loop with all connections; the engine's computes.  Uses facet.h as any embedder
 * does. */
#ifndef FC_SERVE_SERVE_H
#define FC_SERVE_SERVE_H

#include "serve/http.h"

typedef struct serve_opts {
    http_opts http;
    facet_engine_opts engine;        /* parallel 0: what memory allows, at most 8 */
    const char *adapter_dir;         /* from where requests may load adapters; NULL: none may.  engine.adapters: those that are there at the start */
    const char *path;                /* of the model: gives it its name */
    const char *alias;               /* the name that clients see; NULL: from the path */
    const char *const *keys; size_t key_count;         /* API keys; none: everyone may ask */
    const char *key_file;            /* more of them, one per line; read again on SIGHUP; NULL: none */
    const char *const *origins; size_t origin_count;   /* of web pages elsewhere that may ask */
    bool insecure;                   /* listen to other machines without a key */
    bool think;                      /* let the model think unless a request says otherwise */
    int32_t think_budget;            /* most tokens of a thought unless a request says otherwise; 0: no limit */
    bool strict_model;               /* 404 for a model name that is not ours, instead of a remark */
    int  queue_seconds;              /* a request that has waited so long is told to come back; 0: 120 */
    int  stop_seconds;               /* after SIGTERM answers get this long to end; 0: 10 */
    /* Called once, when it listens: "127.0.0.1:8080". */
    status (*ready)(void *user, const char *address, err *e);
    void *user;
} serve_opts;

/* Answers until SIGTERM or SIGINT.  m must stay open. */
status serve_run(const facet_model *m, const serve_opts *o, err *e);

#endif
