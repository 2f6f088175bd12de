#include "serve/route.h"

#include <stdio.h>

#include "base/bits.h"
#include "base/log.h"

enum { SMALL = 1 << 10, MEDIUM = 16 << 20, LARGE = 64 << 20 };

typedef enum route_access {
    OPEN,                            /* needs no key */
    KEYED,
    CHANGING                         /* the server itself: not for other machines where there are no keys */
} route_access;

typedef struct route {
    const char *method, *path;       /* a path that ends in '/' stands for all below it, "{id}" for one part of it */
    server_fn fn;
    size_t body_max;
    route_access access;
} route;

static const route routes[] = {
    { "GET", "/health", status_health, SMALL, OPEN },
    { "GET", "/metrics", status_metrics, SMALL, KEYED },
    { "GET", "/status", status_all, SMALL, KEYED },
    { "GET", "/", page_root, SMALL, OPEN },
    { "GET", "/page/", page_get, SMALL, OPEN },
    { "GET", "/openapi.json", openapi_get, SMALL, OPEN },
    { "GET", "/v1/models", openai_models, SMALL, KEYED },
    { "GET", "/models", openai_models, SMALL, KEYED },
    { "GET", "/v1/models/", openai_model, SMALL, KEYED },
    { "GET", "/models/", openai_model, SMALL, KEYED },
    { "GET", "/adapters", adapters_list, SMALL, KEYED },
    { "POST", "/adapters", adapters_load, SMALL, CHANGING },
    { "DELETE", "/adapters/{name}", adapters_unload, SMALL, CHANGING },
    { "POST", "/v1/chat/completions", openai_chat, LARGE, KEYED },
    { "POST", "/chat/completions", openai_chat, LARGE, KEYED },
    { "POST", "/v1/chat/completions/input_tokens", openai_chat_input_tokens, LARGE, KEYED },
    { "POST", "/chat/completions/input_tokens", openai_chat_input_tokens, LARGE, KEYED },
    { "POST", "/v1/responses", responses_create, LARGE, KEYED },
    { "POST", "/responses", responses_create, LARGE, KEYED },
    { "POST", "/v1/responses/input_tokens", responses_input_tokens, LARGE, KEYED },
    { "POST", "/responses/input_tokens", responses_input_tokens, LARGE, KEYED },
    { "GET", "/v1/responses/{id}", responses_get, SMALL, KEYED },
    { "DELETE", "/v1/responses/{id}", responses_delete, SMALL, KEYED },
    { "GET", "/v1/responses/{id}/input_items", responses_get, SMALL, KEYED },
    { "POST", "/v1/responses/{id}/cancel", responses_cancel, SMALL, KEYED },
    { "POST", "/v1/completions", openai_completions, LARGE, KEYED },
    { "POST", "/v1/embeddings", openai_embeddings, MEDIUM, KEYED },
    { "POST", "/v1/messages", anthropic_messages, LARGE, KEYED },
    { "POST", "/v1/messages/count_tokens", anthropic_count_tokens, LARGE, KEYED },
    { "GET", "/api/version", ollama_version, SMALL, KEYED },
    { "GET", "/api/tags", ollama_tags, SMALL, KEYED },
    { "GET", "/api/ps", ollama_ps, SMALL, KEYED },
    { "POST", "/api/show", ollama_show, MEDIUM, KEYED },
    { "POST", "/api/chat", ollama_chat, LARGE, KEYED },
    { "POST", "/api/generate", ollama_generate, LARGE, KEYED },
    { "POST", "/api/embed", ollama_embed, MEDIUM, KEYED },
    { "POST", "/api/embeddings", ollama_embeddings, MEDIUM, KEYED },
    { "POST", "/api/pull", ollama_unsupported, MEDIUM, KEYED },
    { "POST", "/api/push", ollama_unsupported, MEDIUM, KEYED },
    { "POST", "/api/create", ollama_unsupported, MEDIUM, KEYED },
    { "POST", "/api/copy", ollama_unsupported, MEDIUM, KEYED },
    { "DELETE", "/api/delete", ollama_unsupported, MEDIUM, KEYED },
    { "POST", "/tokenize", tokens_tokenize, MEDIUM, KEYED },
    { "POST", "/detokenize", tokens_detokenize, MEDIUM, KEYED },
};

/* Part by part; "{id}" is any one that is not empty. */
static bool is_like(str path, str form)
{
    str part, want;
    bool more = true;
    while (more && str_split(&form, '/', &want)) more = str_split(&path, '/', &part) && (want.n && want.p[0] == '{' ? part.n > 0 : str_eq(part, want));
    return more && !str_split(&path, '/', &part);
}

static bool is_path(const route *t, str path)
{
    size_t n = strlen(t->path);
    if (strchr(t->path, '{')) return is_like(path, str_from(t->path));
    if (n > 1 && t->path[n - 1] == '/') return path.n > n && str_starts(path, t->path);
    return str_is(path, t->path);
}

static bool is_method(const route *t, const head *h)
{
    return str_is(h->method, t->method) || (str_is(h->method, "HEAD") && strcmp(t->method, "GET") == 0);
}

bool route_at(size_t i, const char **method, const char **path)
{
    if (i >= COUNT_OF(routes)) return false;
    *method = routes[i].method;
    *path = routes[i].path;
    return true;
}

/* The one for path and method; NULL: others are the methods of the path, "GET, DELETE", or nothing. */
static const route *find(const head *h, char others[32])
{
    size_t n = 0;
    others[0] = '\0';
    for (int like = 0; like < 2 && n == 0; like++)       /* a path of its own comes before those that are like it */
        for (size_t i = 0; i < COUNT_OF(routes); i++) {
            if (str_is(h->path, routes[i].path) == like || !is_path(&routes[i], h->path)) continue;
            if (is_method(&routes[i], h)) return &routes[i];
            n += (size_t)snprintf(others + n, n < 32 ? 32 - n : 0, "%s%s", n ? ", " : "", routes[i].method);
        }
    return NULL;
}

/* Each dialect has its own form of errors; the path says which it is. */
static void refuse(http_call *c, const refusal *r)
{
    str path = http_head(c)->path;
    if (str_starts(path, "/v1/messages")) server_refuse_anthropic(c, r);
    else if (str_starts(path, "/api/")) server_refuse_ollama(c, r);
    else server_refuse_openai(c, r);
}

/* ---- CORS ------------------------------------------------------------------------------------------------- */

static void cross_origin(http_call *c)
{
    const str *origin = head_find(http_head(c), "Origin");
    char text[512];
    if (!origin || origin->n >= sizeof text) return;
    snprintf(text, sizeof text, "%.*s", (int)origin->n, origin->p);
    http_header(c, "Access-Control-Allow-Origin", text);
    http_header(c, "Vary", "Origin");
}

static void preflight(http_call *c)
{
    const str *wanted = head_find(http_head(c), "Access-Control-Request-Headers");
    char text[2048];
    http_header(c, "Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS");
    http_header(c, "Access-Control-Max-Age", "600");
    if (wanted && wanted->n < sizeof text) {     /* x-stainless-*, anthropic-*: none of them does harm to an origin that is welcome */
        snprintf(text, sizeof text, "%.*s", (int)wanted->n, wanted->p);
        http_header(c, "Access-Control-Allow-Headers", text);
    }
    http_reply(c, 204, NULL, NULL, 0);
}

/* ---- coming in ----------------------------------------------------------------------------------------------- */

/* A page elsewhere can post "text/plain" without asking first; JSON it cannot. */
static bool is_json(const head *h)
{
    const str *type = head_find(h, "Content-Type");
    return type && head_same((str){ type->p, MIN(str_find(*type, STR(";")), type->n) }, "application/json");
}

/* A proxy on this machine brings other machines' requests to a loopback address. */
static bool is_forwarded(const head *h)
{
    static const char *const names[] = { "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via" };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (head_find(h, names[i])) return true;
    return false;
}

static bool check(const server *s, const head *h, const route *t, const char *others, refusal *r)
{
    bool local = gate_is_loopback(s->o.http.host) && !is_forwarded(h);
    if (!gate_host(s->gate, h))
        return field_refuse(r, 403, NULL, NULL, "the Host of the request is not this machine: a page whose name points here may not use this server");
    if (!gate_origin(s->gate, h)) return field_refuse(r, 403, NULL, NULL, "pages of this origin may not use this server; --origin allows one");
    bool open = t && (t->access == OPEN || (local && t->fn == status_metrics));
    if (!open && gate_key(s->gate, h) < 0)
        return field_refuse(r, 401, "invalid_api_key", NULL, "the API key is missing or wrong: send it as \"Authorization: Bearer KEY\" or \"x-api-key: KEY\"");
    if (t && t->access == CHANGING && !local && gate_keys(s->gate) == 0)
        return field_refuse(r, 403, NULL, NULL, "other machines may change nothing here: the server has no keys");
    if (!t && others[0]) return field_refuse(r, 405, NULL, NULL, "this path takes %s only", others);
    if (!t) return field_refuse(r, 404, NULL, NULL, "there is nothing at %.*s", (int)MIN(h->path.n, 200), h->path.p);
    if (head_find(h, "Origin") && strcmp(t->method, "POST") == 0 && !is_json(h))
        return field_refuse(r, 415, NULL, NULL, "requests of web pages must have the Content-Type application/json");
    if (head_find(h, "Content-Encoding")) return field_refuse(r, 415, NULL, NULL, "compressed requests are not taken");
    return true;
}

bool route_admit(void *user, http_call *c, size_t *body_max)
{
    server *s = user;
    const head *h = http_head(c);
    char others[32];
    const route *t = find(h, others);
    refusal r = { 0 };
    bool asks_first = str_is(h->method, "OPTIONS") && head_find(h, "Origin") && head_find(h, "Access-Control-Request-Method");
    if (gate_host(s->gate, h) && gate_origin(s->gate, h)) {
        cross_origin(c);
        if (asks_first) { preflight(c); return false; }
    }
    if (check(s, h, t, others, &r)) { *body_max = t->body_max; return true; }
    if (r.status == 405) http_header(c, "Allow", others);
    log_print(LOG_DEBUG, "%s: %.*s %.*s: %d", http_peer(c), (int)MIN(h->method.n, 16), h->method.p, (int)MIN(h->path.n, 200), h->path.p, r.status);
    s->metrics.refused++;
    refuse(c, &r);
    return false;
}

void route_answer(void *user, http_call *c)
{
    char others[32];
    find(http_head(c), others)->fn(user, c);
}

void route_refuse(void *user, http_call *c, int code, const char *why)
{
    server *s = user;
    refusal r = { 0 };
    field_refuse(&r, code, NULL, NULL, "%s", why);
    s->metrics.refused++;
    refuse(c, &r);
}
