/* JSON answers and refusals, in each dialect's form. */
#include "serve/server.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/rng.h"
#include "serve/adapters.h"

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
    char seconds[16];
    snprintf(seconds, sizeof seconds, "%d", r->retry_seconds ? r->retry_seconds : 1);
    if (r->status == 429 || r->status == 503) http_header(c, "Retry-After", seconds);
    if (r->status == 401) http_header(c, "WWW-Authenticate", "Bearer");
    server_reply_json(c, r->status, body);
}

void server_refuse_openai(http_call *c, const refusal *r) { refuse(c, r, server_error_openai(r)); }
void server_refuse_anthropic(http_call *c, const refusal *r) { refuse(c, r, server_error_anthropic(r)); }
void server_refuse_ollama(http_call *c, const refusal *r) { refuse(c, r, server_error_ollama(r)); }

void server_say_when(const server *s, refusal *r)
{
    if (r->status == 429 || r->status == 503) r->retry_seconds = metrics_queue_seconds(&s->metrics, s->used.parallel);
}

/* ---- the model's name ------------------------------------------------------------------------------------ */

void server_model_name(const server *s, const char *adapter, char out[SERVER_NAME_MAX])
{
    snprintf(out, SERVER_NAME_MAX, "%s%s%s", s->name, adapter[0] ? ":" : "", adapter);
}

/* "style" and, as Ollama's clients have it, "style:latest".  adapter stays empty when it is none; false: out of memory. */
static bool find_adapter(const server *s, str name, char adapter[SERVER_ADAPTER_MAX], refusal *r)
{
    bool found = false;
    if (str_ends(name, ":latest")) name.n -= strlen(":latest");
    if (!adapters_is_name(s, name)) return true;
    if (!adapters_find(s, name, &found)) return field_refuse(r, 503, NULL, NULL, "out of memory");
    if (found) snprintf(adapter, SERVER_ADAPTER_MAX, "%.*s", (int)name.n, name.p);
    return true;
}

/* An adapter is named after a colon; "latest" is what Ollama's clients put there. */
bool server_check_model(server *s, const char *name, char adapter[SERVER_ADAPTER_MAX], refusal *r)
{
    size_t n = strlen(s->name);
    adapter[0] = '\0';
    if (!name || !name[0] || strcmp(name, s->name) == 0) return true;
    if (strncmp(name, s->name, n) == 0 && name[n] == ':') {
        if (strcmp(name + n, ":latest") == 0) return true;
        if (!find_adapter(s, str_from(name + n + 1), adapter, r)) return false;
        if (adapter[0]) return true;
        return field_refuse(r, 404, "model_not_found", "model", "there is no adapter \"%s\" here; GET /v1/models lists what there is", name + n + 1);
    }
    if (!find_adapter(s, str_from(name), adapter, r)) return false;
    if (adapter[0]) return true;
    if (s->o.strict_model) return field_refuse(r, 404, "model_not_found", "model", "there is no model \"%s\" here; this server has \"%s\"", name, s->name);
    if (strcmp(s->remarked, name) != 0) log_print(LOG_WARN, "asked for the model \"%s\"; answering with \"%s\"", name, s->name);
    snprintf(s->remarked, sizeof s->remarked, "%s", name);
    return true;
}
