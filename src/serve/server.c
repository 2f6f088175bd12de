/* JSON answers and refusals, in each dialect's form. */
#include "serve/server.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/rng.h"

void server_reply_json(http_call *c, int code, json_t *v)
{
    static const char sorry[] = "{\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\",\"param\":null,\"code\":null}}";
    buf b;
    buf_init(&b, (size_t)1 << 30);
    if (field_print(&b, v)) http_reply(c, code, "application/json", buf_text(&b), b.len);
    else http_reply(c, 503, "application/json", sorry, sizeof sorry - 1);
    buf_done(&b);
    json_decref(v);
}

void server_id(char *out, size_t cap, const char *prefix)
{
    static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    char text[25];
    uint64_t seed = rng_fresh_seed(), other = rng_fresh_seed();
    for (int i = 0; i < 12; i++, seed /= 36, other /= 36) {
        text[i] = letters[seed % 36];
        text[12 + i] = letters[other % 36];
    }
    text[24] = '\0';
    snprintf(out, cap, "%s%s", prefix, text);
}

/* ---- refusals ------------------------------------------------------------------------------------------ */

json_t *server_error_openai(const refusal *r)
{
    const char *type = r->status == 401 ? "authentication_error" : r->status == 403 ? "permission_error" : r->status == 429 ? "rate_limit_error"
                     : r->status >= 500 ? "server_error" : "invalid_request_error";
    return json_pack("{s:{s:s, s:s, s:s?, s:s?}}", "error", "message", r->text, "type", type, "param", r->field[0] ? r->field : NULL, "code", r->code);
}

json_t *server_error_anthropic(const refusal *r)
{
    char id[48];
    const char *type = r->status == 401 ? "authentication_error" : r->status == 403 ? "permission_error" : r->status == 404 ? "not_found_error"
                     : r->status == 413 ? "request_too_large" : r->status == 429 ? "rate_limit_error" : r->status == 503 ? "overloaded_error"
                     : r->status >= 500 ? "api_error" : "invalid_request_error";
    server_id(id, sizeof id, "req_");
    return json_pack("{s:s, s:{s:s, s:s}, s:s}", "type", "error", "error", "type", type, "message", r->text, "request_id", id);
}

json_t *server_error_ollama(const refusal *r) { return json_pack("{s:s}", "error", r->text); }

static void refuse(http_call *c, const refusal *r, json_t *body)
{
    if (r->status == 429 || r->status == 503) http_header(c, "Retry-After", "1");
    if (r->status == 401) http_header(c, "WWW-Authenticate", "Bearer");
    server_reply_json(c, r->status, body);
}

void server_refuse_openai(http_call *c, const refusal *r) { refuse(c, r, server_error_openai(r)); }
void server_refuse_anthropic(http_call *c, const refusal *r) { refuse(c, r, server_error_anthropic(r)); }
void server_refuse_ollama(http_call *c, const refusal *r) { refuse(c, r, server_error_ollama(r)); }

/* ---- the model's name ------------------------------------------------------------------------------------ */

/* An adapter is named after a colon; "latest" is what Ollama's clients put there. */
bool server_check_model(server *s, const char *name, refusal *r)
{
    size_t n = strlen(s->name);
    if (!name || !name[0] || strcmp(name, s->name) == 0) return true;
    if (strncmp(name, s->name, n) == 0 && name[n] == ':') {
        if (strcmp(name + n, ":latest") == 0) return true;
        return field_refuse(r, 404, "model_not_found", "model", "there is no adapter \"%s\": this server has none", name + n + 1);
    }
    if (s->o.strict_model) return field_refuse(r, 404, "model_not_found", "model", "there is no model \"%s\" here; this server has \"%s\"", name, s->name);
    if (strcmp(s->remarked, name) != 0) log_print(LOG_WARN, "asked for the model \"%s\"; answering with \"%s\"", name, s->name);
    snprintf(s->remarked, sizeof s->remarked, "%s", name);
    return true;
}
