/* What a running server is, for the files that answer requests. */
#ifndef FC_SERVE_SERVER_H
#define FC_SERVE_SERVER_H

#include "serve/gate.h"
#include "serve/field.h"
#include "serve/metrics.h"
#include "serve/serve.h"
#include "serve/turn.h"

typedef struct server {
    const facet_model *model;
    facet_model_info info;
    facet_engine *engine;
    facet_engine_opts used;          /* what the engine chose */
    serve_opts o;
    char name[256];                  /* what clients call the model */
    char remarked[256];              /* the last other name that a remark was made of */
    int64_t started;                 /* seconds since 1970 */
    struct event_base *base;
    http *door;
    gate *gate;
    turns *turns;
    metrics metrics;
    bool stopping;
} server;

/* The name that a request gives is ours, or any unless names are strict; NULL is fine. */
bool server_check_model(server *s, const char *name, refusal *r);

/* ---- answers in JSON ---------------------------------------------------------------------------------- */

/* Takes v; NULL: out of memory. */
void server_reply_json(http_call *c, int code, json_t *v);
/* "chatcmpl-" and 24 random letters. */
void server_id(char *out, size_t cap, const char *prefix);
/* A refusal in each dialect's form. */
void server_refuse_openai(http_call *c, const refusal *r);
void server_refuse_anthropic(http_call *c, const refusal *r);
void server_refuse_ollama(http_call *c, const refusal *r);
json_t *server_error_openai(const refusal *r);
json_t *server_error_anthropic(const refusal *r);
json_t *server_error_ollama(const refusal *r);

/* ---- what the routes call ----------------------------------------------------------------------------- */

typedef void (*server_fn)(server *s, http_call *c);
void openai_models(server *s, http_call *c);
void openai_model(server *s, http_call *c);
void openai_chat(server *s, http_call *c);
void openai_completions(server *s, http_call *c);
void anthropic_messages(server *s, http_call *c);
void anthropic_count_tokens(server *s, http_call *c);
void tokens_tokenize(server *s, http_call *c);
void tokens_detokenize(server *s, http_call *c);
void status_health(server *s, http_call *c);
void status_metrics(server *s, http_call *c);

#endif
