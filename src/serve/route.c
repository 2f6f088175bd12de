#include "serve/route.h"

#include <stdio.h>

#include "base/bits.h"
#include "base/log.h"

enum { SMALL = 1 << 10, MEDIUM = 16 << 20, LARGE = 64 << 20 };

typedef struct route {
    const char *method, *path;       /* a path that ends in '/' stands for all below it */
    server_fn fn;
    size_t body_max;
    bool open;                       /* needs no key */
} route;

static const route routes[] = {
    { "GET", "/health", status_health, SMALL, true },
    { "GET", "/metrics", status_metrics, SMALL, false },
    { "GET", "/v1/models", openai_models, SMALL, false },
    { "GET", "/models", openai_models, SMALL, false },
    { "GET", "/v1/models/", openai_model, SMALL, false },
    { "POST", "/v1/chat/completions", openai_chat, LARGE, false },
    { "POST", "/chat/completions", openai_chat, LARGE, false },
    { "POST", "/v1/completions", openai_completions, LARGE, false },
    { "POST", "/v1/messages", anthropic_messages, LARGE, false },
    { "POST", "/v1/messages/count_tokens", anthropic_count_tokens, LARGE, false },
    { "POST", "/tokenize", tokens_tokenize, MEDIUM, false },
    { "POST", "/detokenize", tokens_detokenize, MEDIUM, false },
};

static bool is_path(const route *t, str path)
{
    size_t n = strlen(t->path);
    if (n > 1 && t->path[n - 1] == '/') return path.n > n && str_starts(path, t->path);
    return str_is(path, t->path);
}

static bool is_method(const route *t, const head *h)
{
    return str_is(h->method, t->method) || (str_is(h->method, "HEAD") && strcmp(t->method, "GET") == 0);
}

/* The one for path and method; *other: the path is known for another method. */
static const route *find(const head *h, const char **other)
{
    *other = NULL;
    for (size_t i = 0; i < COUNT_OF(routes); i++) {
        if (!is_path(&routes[i], h->path)) continue;
        if (is_method(&routes[i], h)) return &routes[i];
        *other = routes[i].method;
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
    http_header(c, "Access-Control-Allow-Methods", "GET, POST, OPTIONS");
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

static bool check(const server *s, const head *h, const route *t, const char *other, refusal *r)
{
    bool local = gate_is_loopback(s->o.http.host);
    if (!gate_host(s->gate, h))
        return field_refuse(r, 403, NULL, NULL, "the Host of the request is not this machine: a page whose name points here may not use this server");
    if (!gate_origin(s->gate, h)) return field_refuse(r, 403, NULL, NULL, "pages of this origin may not use this server; --origin allows one");
    bool open = t && (t->open || (local && t->fn == status_metrics));
    if (!open && gate_key(s->gate, h) < 0)
        return field_refuse(r, 401, "invalid_api_key", NULL, "the API key is missing or wrong: send it as \"Authorization: Bearer KEY\" or \"x-api-key: KEY\"");
    if (!t && other) return field_refuse(r, 405, NULL, NULL, "this path takes %s only", other);
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
    const char *other;
    const route *t = find(h, &other);
    refusal r = { 0 };
    bool asks_first = str_is(h->method, "OPTIONS") && head_find(h, "Origin") && head_find(h, "Access-Control-Request-Method");
    if (gate_host(s->gate, h) && gate_origin(s->gate, h)) {
        cross_origin(c);
        if (asks_first) { preflight(c); return false; }
    }
    if (check(s, h, t, other, &r)) { *body_max = t->body_max; return true; }
    if (r.status == 405) http_header(c, "Allow", other);
    log_print(LOG_DEBUG, "%s: %.*s %.*s: %d", http_peer(c), (int)MIN(h->method.n, 16), h->method.p, (int)MIN(h->path.n, 200), h->path.p, r.status);
    s->metrics.refused++;
    refuse(c, &r);
    return false;
}

void route_answer(void *user, http_call *c)
{
    const char *other;
    find(http_head(c), &other)->fn(user, c);
}

void route_refuse(void *user, http_call *c, int code, const char *why)
{
    server *s = user;
    refusal r = { 0 };
    field_refuse(&r, code, NULL, NULL, "%s", why);
    s->metrics.refused++;
    refuse(c, &r);
}
