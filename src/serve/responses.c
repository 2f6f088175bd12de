/* POST /v1/responses and what belongs to it: reading a response again, deleting it, counting its tokens. */
#include "serve/responses.h"

#include <math.h>
#include <string.h>

#include "base/bits.h"
#include "serve/responses_read.h"

/* ---- the request -------------------------------------------------------------------------------------------- */

/* A request as it is read; everything but the ask is owned here. */
typedef struct reading { ask a; json_t *input, *items, *messages, *at, *tools; size_t before; } reading;

static void reading_done(reading *q)
{
    json_t *all[] = { q->input, q->items, q->messages, q->at, q->tools };
    for (size_t i = 0; i < COUNT_OF(all); i++) json_decref(all[i]);
    ask_done(&q->a);
}

/* What is not done here, and would be missed. */
static bool refuse_others(const json_t *body, refusal *r)
{
    static const char *const keys[] = { "conversation", "prompt" };
    bool background = false;
    if (!field_bool(body, "background", &background, r)) return false;
    if (background) return field_refuse(r, 400, "unsupported_value", "background", "\"background\" is not supported: an answer is given to the one who waits for it");
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        if (field_find(body, keys[i])) return field_refuse(r, 400, "unsupported_value", keys[i], "\"%s\" is not supported: send the items, or \"previous_response_id\"", keys[i]);
    return true;
}

/* Earlier turns, then what is new. */
static bool read_items(const server *s, uint64_t scope, const json_t *body, reading *q, refusal *r)
{
    const char *previous = NULL;
    const stored_response *found = NULL;
    if (!field_text(body, "previous_response_id", &previous, r) || !responses_read_input(body, s->responses, scope, &q->input, r)) return false;
    if (previous && !(found = responses_store_find(s->responses, scope, previous)))
        return field_refuse(r, 404, "previous_response_not_found", "previous_response_id", "there is no response \"%.100s\" here, or not any more", previous);
    q->items = found ? field_copy(found->items) : json_array();
    q->before = json_array_size(q->items);
    return json_array_extend(q->items, q->input) == 0 || field_refuse(r, 503, NULL, NULL, "out of memory");
}

/* The conversation: what the tokens of the prompt depend on. */
static bool read_conversation(server *s, uint64_t scope, const json_t *body, reading *q, refusal *r)
{
    const json_t *text = NULL;
    const char *model = NULL;
    bool parallel = true;
    ask *a = &q->a;
    if (!field_text(body, "model", &model, r) || !server_check_model(s, model, a->adapter, r) || !refuse_others(body, r) || !ask_thinking(a, body, r)) return false;
    if (!read_items(s, scope, body, q, r) || !responses_read_messages(body, q->items, q->before, &q->messages, &q->at, r) || !responses_read_tools(body, &q->tools, r))
        return false;
    if (!field_bool(body, "parallel_tool_calls", &parallel, r) || !field_object(body, "text", &text, r)) return false;
    a->one_call = !parallel;
    a->source = "input";
    a->at = q->at;
    bool ok = ask_conversation(a, q->messages, q->tools, r);
    a->at = NULL;
    return ok && ask_tool_choice(a, field_find(body, "tool_choice"), r) && ask_format(a, field_find(text, "format"), "text.format", r);
}

static bool read_logprobs(ask *a, const json_t *body, refusal *r)
{
    const json_t *include = NULL, *one;
    size_t i;
    int64_t top = 0;
    if (!field_list(body, "include", 64, &include, r) || !field_int(body, "top_logprobs", 0, ASK_LOGPROBS_MAX, &top, r)) return false;
    json_array_foreach(include, i, one) {
        const char *name = json_string_value(one);
        if (name && strcmp(name, "message.output_text.logprobs") == 0) a->s.logprobs = true;
    }
    a->s.logprobs = a->s.logprobs || top > 0;
    a->s.top_logprobs = (int32_t)top;
    return true;
}

static bool read_request(server *s, uint64_t scope, const json_t *body, reading *q, refusal *r)
{
    static const char *const limits[] = { "max_output_tokens", NULL };
    return ask_sampling(&q->a, body, r) && ask_limit(&q->a, body, limits, r) && field_bool(body, "stream", &q->a.stream, r) && read_logprobs(&q->a, body, r) &&
           read_conversation(s, scope, body, q, r);
}

/* Without the digits that a float brings along: 0.95. */
static double plain(float x) { return round((double)x * 1e6) / 1e6; }

/* What the answer says again of the request. */
static json_t *fields_of(const reading *q, const json_t *body)
{
    static const char *const same[] = { "instructions", "max_output_tokens", "previous_response_id", "user", "prompt_cache_key", "safety_identifier" };
    const json_t *reasoning = field_find(body, "reasoning"), *text = field_find(body, "text"), *choice = field_find(body, "tool_choice"),
                 *tools = field_find(body, "tools"), *metadata = field_find(body, "metadata"), *truncation = field_find(body, "truncation");
    json_t *o = json_pack("{s:b, s:f, s:f, s:i, s:b}", "parallel_tool_calls", (int)!q->a.one_call, "temperature", plain(q->a.s.temperature), "top_p",
                          plain(q->a.s.top_p), "top_logprobs", (int)q->a.s.top_logprobs, "background", 0);
    bool ok = o != NULL;
    for (size_t i = 0; i < COUNT_OF(same); i++) {
        const json_t *v = field_find(body, same[i]);
        ok = ok && field_put(o, same[i], v ? json_incref((json_t *)v) : json_null());
    }
    const json_t *format = field_find(text, "format");
    ok = ok && field_put(o, "text", format ? json_incref((json_t *)text) : json_pack("{s:{s:s}}", "format", "type", "text")) &&
         field_put(o, "reasoning", json_pack("{s:O?, s:O?}", "effort", field_find(reasoning, "effort"), "summary", field_find(reasoning, "summary"))) &&
         field_put(o, "tool_choice", choice ? json_incref((json_t *)choice) : json_string("auto")) &&
         field_put(o, "tools", tools ? json_incref((json_t *)tools) : json_array()) &&
         field_put(o, "metadata", json_is_object(metadata) ? json_incref((json_t *)metadata) : json_object()) &&
         field_put(o, "truncation", json_is_string(truncation) ? json_incref((json_t *)truncation) : json_string("disabled"));
    if (ok) return o;
    json_decref(o);
    return NULL;
}

static json_t *extra_of(const reading *q, const json_t *body, bool store)
{
    json_t *fields = fields_of(q, body);
    if (!field_put(fields, "store", json_boolean(store))) {
        json_decref(fields);
        return NULL;
    }
    return json_pack("{s:o, s:O, s:O, s:[], s:b}", "fields", fields, "input", q->input, "items", q->items, "output", "store", (int)store);
}

void responses_create(server *s, http_call *c)
{
    refusal r = { 0 };
    json_t *body = NULL, *extra = NULL;
    bool store = true;
    reading q = { 0 };
    ask_init(&q.a, s->model, s->o.think, s->o.think_budget);
    bool ok = field_parse(&body, http_body(c), &r) && field_bool(body, "store", &store, &r) && read_request(s, gate_scope(s->gate, http_head(c)), body, &q, &r);
    if (ok && !(extra = extra_of(&q, body, store))) ok = field_refuse(&r, 503, NULL, NULL, "out of memory");
    if (ok) {
        job_start(s, c, &responses_dialect, &q.a, "resp_", extra);
    } else {
        s->metrics.refused++;
        server_refuse_openai(c, &r);
    }
    reading_done(&q);
    json_decref(body);
}

void responses_input_tokens(server *s, http_call *c)
{
    refusal r = { 0 };
    json_t *body = NULL;
    size_t n = 0;
    reading q = { 0 };
    ask_init(&q.a, s->model, s->o.think, s->o.think_budget);
    if (field_parse(&body, http_body(c), &r) && read_conversation(s, gate_scope(s->gate, http_head(c)), body, &q, &r) && job_recall(s, c, &q.a, &r) &&
        job_count_prompt(s, &q.a, 0, &n, &r))
        server_reply_json(c, 200, json_pack("{s:s, s:I}", "object", "response.input_tokens", "input_tokens", (json_int_t)n));
    else server_refuse_openai(c, &r);
    reading_done(&q);
    json_decref(body);
}

/* ---- what is kept ---------------------------------------------------------------------------------------------- */

/* The id and what follows it in "/v1/responses/ID/rest". */
static bool split_path(http_call *c, char id[128], str *rest)
{
    str path = str_skip(http_head(c)->path, strlen("/v1/responses/"));
    size_t n = str_find(path, STR("/"));
    *rest = str_skip(path, n);
    if (n >= 128) return false;
    memcpy(id, path.p, n);
    id[n] = '\0';
    return true;
}

static const stored_response *need(server *s, http_call *c, char id[128], str *rest)
{
    refusal r;
    const stored_response *found = split_path(c, id, rest) ? responses_store_find(s->responses, gate_scope(s->gate, http_head(c)), id) : NULL;
    if (found) return found;
    field_refuse(&r, 404, NULL, "response_id", "there is no response \"%.*s\" here, or not any more", (int)MIN(http_head(c)->path.n - 14, 100), http_head(c)->path.p + 14);
    server_refuse_openai(c, &r);
    return NULL;
}

static void nothing_there(http_call *c, str rest)
{
    refusal r;
    field_refuse(&r, 404, NULL, NULL, "a response has nothing at %.*s", (int)MIN(rest.n, 100), rest.p);
    server_refuse_openai(c, &r);
}

/* The value of a key in "a=b&c=d"; empty when absent. */
static str query_find(str query, const char *key)
{
    str part;
    size_t n = strlen(key);
    while (query.n && str_split(&query, '&', &part))
        if (part.n > n && str_starts(part, key) && part.p[n] == '=') return str_skip(part, n + 1);
    return (str){ "", 0 };
}

/* limit, order, after: a page of a list of items. */
static bool page(const json_t *items, str query, json_t **out, refusal *r)
{
    str order = query_find(query, "order"), after = query_find(query, "after"), limit = query_find(query, "limit");
    int64_t most = 20;
    size_t n = json_array_size(items), i = 0;
    bool forward = str_is(order, "asc");
    if (order.n && !forward && !str_is(order, "desc")) return field_refuse(r, 400, NULL, "order", "\"order\" must be \"asc\" or \"desc\"");
    if (limit.n && str_to_i64(limit, "limit", 1, 100, &most, NULL) != OK) return field_refuse(r, 400, NULL, "limit", "\"limit\" must be from 1 to 100");
    json_t *data = json_array();
    bool begun = after.n == 0;
    for (; i < n && (int64_t)json_array_size(data) < most; i++) {
        json_t *item = json_array_get(items, forward ? i : n - 1 - i), *id = json_object_get(item, "id");
        if (begun) json_array_append(data, item);
        else begun = str_is(after, json_string_value(id) ? json_string_value(id) : "");
    }
    json_t *first = json_object_get(json_array_get(data, 0), "id"), *last = json_object_get(json_array_get(data, json_array_size(data) - 1), "id");
    *out = json_pack("{s:s, s:o, s:O?, s:O?, s:b}", "object", "list", "data", data, "first_id", first, "last_id", last, "has_more", (int)(i < n));
    return true;
}

void responses_get(server *s, http_call *c)
{
    char id[128];
    str rest;
    refusal r = { 0 };
    json_t *list = NULL;
    const stored_response *found = need(s, c, id, &rest);
    if (!found) return;
    if (rest.n == 0 && str_is(query_find(http_head(c)->query, "stream"), "true")) {
        field_refuse(&r, 400, "unsupported_value", "stream", "\"stream\" is not supported here: the answer was given already");
        server_refuse_openai(c, &r);
    } else if (rest.n == 0) server_reply_json(c, 200, json_incref(found->response));
    else if (!str_is(rest, "/input_items")) nothing_there(c, rest);
    else if (page(found->input, http_head(c)->query, &list, &r)) server_reply_json(c, 200, list);
    else server_refuse_openai(c, &r);
}

void responses_delete(server *s, http_call *c)
{
    char id[128];
    str rest;
    if (!need(s, c, id, &rest)) return;
    if (rest.n) { nothing_there(c, rest); return; }
    responses_store_delete(s->responses, gate_scope(s->gate, http_head(c)), id);
    server_reply_json(c, 200, json_pack("{s:s, s:s, s:b}", "id", id, "object", "response", "deleted", 1));
}

void responses_cancel(server *s, http_call *c)
{
    char id[128];
    str rest;
    refusal r;
    if (!need(s, c, id, &rest)) return;
    if (!str_is(rest, "/cancel")) { nothing_there(c, rest); return; }
    field_refuse(&r, 400, NULL, "response_id", "only a background response can be cancelled; others end when their client leaves");
    server_refuse_openai(c, &r);
}
