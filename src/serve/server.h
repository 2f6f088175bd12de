/* What a running server is, for the files that answer requests. */
#ifndef FC_SERVE_SERVER_H
#define FC_SERVE_SERVER_H

#include "serve/gate.h"
#include "serve/field.h"
#include "serve/metrics.h"
#include "serve/pace.h"
#include "serve/responses_store.h"
#include "serve/serve.h"
#include "serve/thoughts.h"
#include "serve/turn.h"

enum { SERVER_ADAPTER_MAX = 128,             /* of a facet_adapter_info's name */
       SERVER_NAME_MAX = 256 + SERVER_ADAPTER_MAX };
typedef struct adapters adapters;

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
    thoughts *thoughts;
    adapters *adapters;
    responses_store *responses;
    metrics metrics;
    pace pace;
    facet_plan plan;                 /* memory, as the engine takes it */
    struct job *jobs;                /* all that run or wait, newest first */
    bool stopping;
} server;

/* The name that a request gives is ours, that of an adapter ("x:NAME" or "NAME"), or any unless names are strict; NULL is fine.
 * adapter: which one it asks for, "": none. */
bool server_check_model(server *s, const char *name, char adapter[SERVER_ADAPTER_MAX], refusal *r);
/* What clients call the model with this adapter, "x:NAME"; "": the model itself. */
void server_model_name(const server *s, const char *adapter, char out[SERVER_NAME_MAX]);

/* ---- answers in JSON ---------------------------------------------------------------------------------- */

/* Takes v; NULL: out of memory. */
void server_reply_json(http_call *c, int code, json_t *v);
/* "chatcmpl-" and 24 random letters. */
void server_id(char *out, size_t cap, const char *prefix);
/* A refusal in each dialect's form. */
void server_refuse_openai(http_call *c, const refusal *r);
void server_refuse_anthropic(http_call *c, const refusal *r);
void server_refuse_ollama(http_call *c, const refusal *r);
/* Of a refusal because others wait: when those are through. */
void server_say_when(const server *s, refusal *r);
json_t *server_error_openai(const refusal *r);
json_t *server_error_anthropic(const refusal *r);
json_t *server_error_ollama(const refusal *r);

/* ---- what the routes call ----------------------------------------------------------------------------- */

typedef void (*server_fn)(server *s, http_call *c);
void openai_models(server *s, http_call *c);
void openai_model(server *s, http_call *c);
void adapters_list(server *s, http_call *c);
void adapters_load(server *s, http_call *c);
void adapters_unload(server *s, http_call *c);
void openai_chat(server *s, http_call *c);
void openai_chat_input_tokens(server *s, http_call *c);
void openai_completions(server *s, http_call *c);
void openai_embeddings(server *s, http_call *c);
void responses_create(server *s, http_call *c);
void responses_input_tokens(server *s, http_call *c);
void responses_get(server *s, http_call *c);
void responses_delete(server *s, http_call *c);
void responses_cancel(server *s, http_call *c);
void anthropic_messages(server *s, http_call *c);
void anthropic_count_tokens(server *s, http_call *c);
void ollama_version(server *s, http_call *c);
void ollama_tags(server *s, http_call *c);
void ollama_ps(server *s, http_call *c);
void ollama_show(server *s, http_call *c);
void ollama_chat(server *s, http_call *c);
void ollama_generate(server *s, http_call *c);
void ollama_embed(server *s, http_call *c);
void ollama_embeddings(server *s, http_call *c);
void ollama_unsupported(server *s, http_call *c);
void tokens_tokenize(server *s, http_call *c);
void tokens_detokenize(server *s, http_call *c);
void page_root(server *s, http_call *c);
void page_get(server *s, http_call *c);
void openapi_get(server *s, http_call *c);
void status_health(server *s, http_call *c);
void status_all(server *s, http_call *c);
void status_metrics(server *s, http_call *c);

#endif
