/* The response object and the items of its output. */
#include <string.h>

#include "serve/responses.h"

static json_t *output_of(const job *j) { return json_object_get(j->extra, "output"); }

json_t *responses_open_item(job *j, int kind, const json_t *call)
{
    char id[48];
    json_t *item;
    server_id(id, sizeof id, call ? "fc_" : kind == RESPONSES_THOUGHT ? "rs_" : "msg_");
    if (call) item = json_pack("{s:s, s:s, s:O, s:O, s:s, s:s}", "id", id, "type", "function_call", "call_id", json_object_get(call, "id"), "name",
                               json_object_get(call, "name"), "arguments", "", "status", "in_progress");
    else if (kind == RESPONSES_THOUGHT) item = json_pack("{s:s, s:s, s:[], s:[], s:s}", "id", id, "type", "reasoning", "summary", "content", "status", "in_progress");
    else item = json_pack("{s:s, s:s, s:s, s:s, s:[]}", "id", id, "type", "message", "role", "assistant", "status", "in_progress", "content");
    return json_array_append_new(output_of(j), item) == 0 ? item : NULL;
}

bool responses_close_item(job *j, int kind, str text, json_t *logprobs)
{
    json_t *item = json_array_get(output_of(j), json_array_size(output_of(j)) - 1), *content;
    if (kind == RESPONSES_NOTHING) return field_put(item, "arguments", json_stringn(text.p, text.n)) && field_put(item, "status", json_string("completed"));
    if (kind == RESPONSES_THOUGHT) content = json_pack("[{s:s, s:s%}]", "type", "reasoning_text", "text", text.p, text.n);
    else content = json_pack("[{s:s, s:s%, s:[], s:o}]", "type", "output_text", "text", text.p, text.n, "annotations", "logprobs",
                             logprobs ? json_incref(logprobs) : json_array());
    return field_put(item, "content", content) && field_put(item, "status", json_string("completed"));
}

/* ---- the response ------------------------------------------------------------------------------------------- */

static json_t *usage(const job *j)
{
    job_usage u = job_count(j);
    return json_pack("{s:I, s:{s:I, s:i}, s:I, s:{s:I}, s:I}", "input_tokens", (json_int_t)u.prompt, "input_tokens_details", "cached_tokens", (json_int_t)u.cached,
                     "cache_write_tokens", 0, "output_tokens", (json_int_t)u.answer, "output_tokens_details", "reasoning_tokens", (json_int_t)u.thought,
                     "total_tokens", (json_int_t)(u.prompt + u.answer));
}

json_t *responses_object(const job *j, const char *state)
{
    bool failed = strcmp(state, "failed") == 0, cut = strcmp(state, "incomplete") == 0, over = strcmp(state, "in_progress") != 0;
    json_t *o = json_pack("{s:s, s:s, s:I, s:s, s:s, s:O, s:o, s:o}", "id", j->id, "object", "response", "created_at", (json_int_t)j->created, "status", state,
                          "model", j->model, "output", output_of(j),
                          "error", failed ? json_pack("{s:s, s:s}", "code", "server_error", "message", j->why.text) : json_null(),
                          "incomplete_details", cut ? json_pack("{s:s}", "reason", "max_output_tokens") : json_null());
    if (json_object_update(o, json_object_get(j->extra, "fields")) == 0 && field_put(o, "usage", over ? usage(j) : json_null())) return o;
    json_decref(o);
    return NULL;
}

static void keep(const job *j, json_t *response)
{
    json_t *items = field_copy(json_object_get(j->extra, "items"));
    stored_response r = { .response = response, .input = json_object_get(j->extra, "input"), .items = items };
    if (json_array_extend(items, output_of(j)) == 0) responses_store_put(j->s->responses, j->scope, &r);
    json_decref(items);
}

json_t *responses_finish(job *j, const char **state)
{
    json_t *last = json_array_get(output_of(j), json_array_size(output_of(j)) - 1);
    bool cut = j->answers[0].result.finish == FACET_FINISH_LENGTH;
    if (cut && last && !field_put(last, "status", json_string("incomplete"))) return NULL;
    *state = cut ? "incomplete" : "completed";
    json_t *o = responses_object(j, *state);
    if (o && json_is_true(json_object_get(j->extra, "store"))) keep(j, o);
    return o;
}
