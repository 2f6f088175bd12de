/* Requests of OpenAI's Responses API in the form of chat completions. */
#include "serve/responses_read.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "serve/server.h"

static bool no_memory(refusal *r) { return field_refuse(r, 503, NULL, NULL, "out of memory"); }

static const char *text_of(const json_t *o, const char *key) { return json_string_value(json_object_get(o, key)); }
static bool is_type(const json_t *item, const char *type) { return text_of(item, "type") && strcmp(text_of(item, "type"), type) == 0; }

/* ---- input ------------------------------------------------------------------------------------------------ */

static bool is_assistant(const json_t *item) { return text_of(item, "role") && strcmp(text_of(item, "role"), "assistant") == 0; }

/* A copy with an id, a type and a status. */
static json_t *whole_item(const json_t *item)
{
    char id[48];
    const json_t *content = json_object_get(item, "content");
    bool message = !text_of(item, "type") || is_type(item, "message"), ok = true;
    json_t *copy = field_copy(item);
    server_id(id, sizeof id, message ? "msg_" : is_type(item, "reasoning") ? "rs_" : is_type(item, "function_call") ? "fc_" : is_type(item, "function_call_output") ? "fco_" : "item_");
    if (!text_of(item, "id")) ok = field_put(copy, "id", json_string(id));
    if (message) ok = ok && field_put(copy, "type", json_string("message"));
    if (!text_of(item, "status")) ok = ok && field_put(copy, "status", json_string("completed"));
    if (message && json_is_string(content))
        ok = ok && field_put(copy, "content", is_assistant(item) ? json_pack("[{s:s, s:O, s:[]}]", "type", "output_text", "text", content, "annotations")
                                                                 : json_pack("[{s:s, s:O}]", "type", "input_text", "text", content));
    if (ok) return copy;
    json_decref(copy);
    return NULL;
}

static bool add_input(json_t *out, const json_t *item, size_t i, const responses_store *store, uint64_t scope, refusal *r)
{
    char where[48];
    snprintf(where, sizeof where, "input[%zu]", i);
    if (!json_is_object(item)) return field_refuse(r, 400, NULL, where, "%s must be an object; it is %s", where, field_kind(item));
    if (!text_of(item, "type") && !text_of(item, "role")) return field_refuse(r, 400, NULL, where, "%s must have a \"type\" or a \"role\"", where);
    if (!is_type(item, "item_reference")) return json_array_append_new(out, whole_item(item)) == 0 || no_memory(r);
    const char *id = text_of(item, "id");
    json_t *meant = id ? responses_store_item(store, scope, id) : NULL;
    if (!meant) return field_refuse(r, 404, NULL, where, "%s: there is no item \"%s\" here, or not any more", where, id ? id : "");
    return json_array_append(out, meant) == 0 || no_memory(r);
}

bool responses_read_input(const json_t *body, const responses_store *store, uint64_t scope, json_t **out, refusal *r)
{
    const json_t *input = field_find(body, "input");
    size_t i;
    json_t *item, *all = json_array(), *message = NULL;
    bool ok = true;
    if (json_is_string(input)) {
        message = json_pack("{s:s, s:O}", "role", "user", "content", input);
        ok = message ? add_input(all, message, 0, store, scope, r) : no_memory(r);
        json_decref(message);
    } else if (input) {
        ok = json_is_array(input) ? field_list(body, "input", ASK_MESSAGES_MAX, &input, r)
                                  : field_refuse(r, 400, NULL, "input", "\"input\" must be a string or a list of items; it is %s", field_kind(input));
        if (ok) json_array_foreach(input, i, item)
            if (!(ok = add_input(all, item, i, store, scope, r))) break;
    }
    if (ok) *out = all;
    else json_decref(all);
    return ok;
}

/* ---- messages ---------------------------------------------------------------------------------------------- */

typedef struct said {
    json_t *messages, *at;
    json_t *assistant;               /* the message that may still grow; borrowed */
    int number;                      /* of the item in "input", -1: of an earlier turn */
    char where[48];
} said;

static bool add_message(said *s, json_t *message, refusal *r)
{
    s->assistant = NULL;
    return (json_array_append_new(s->messages, message) == 0 && json_array_append_new(s->at, json_integer(s->number)) == 0) || no_memory(r);
}

/* The assistant's message that the next piece belongs to. */
static bool need_assistant(said *s, bool fresh, refusal *r)
{
    if (s->assistant && !fresh) return true;
    json_t *m = json_pack("{s:s}", "role", "assistant");
    if (!add_message(s, m, r)) return false;
    s->assistant = m;
    return true;
}

/* A single text is said as a string: the template prints a space behind each of a system message's parts. */
static json_t *content_of(const json_t *item)
{
    json_t *content = json_object_get(item, "content"), *part = json_array_get(content, 0);
    const char *type = text_of(part, "type");
    bool plain = json_array_size(content) == 1 && type && (strcmp(type, "input_text") == 0 || strcmp(type, "output_text") == 0 || strcmp(type, "text") == 0);
    return plain && json_is_string(json_object_get(part, "text")) ? json_object_get(part, "text") : content;
}

static bool add_text(said *s, const json_t *item, refusal *r)
{
    const char *role = text_of(item, "role");
    json_t *content = content_of(item);
    if (!content) return field_refuse(r, 400, NULL, s->where, "%s: a message must have a \"content\"", s->where);
    if (!is_assistant(item)) return add_message(s, json_pack("{s:s, s:O}", "role", role ? role : "", "content", content), r);
    bool taken = json_object_get(s->assistant, "content") || json_object_get(s->assistant, "tool_calls");
    return need_assistant(s, taken, r) && (json_object_set(s->assistant, "content", content) == 0 || no_memory(r));
}

static bool add_call(said *s, const json_t *item, refusal *r)
{
    json_t *id = json_object_get(item, "call_id"), *name = json_object_get(item, "name"), *arguments = json_object_get(item, "arguments"), *calls;
    if (!json_is_string(id) || !json_is_string(name)) return field_refuse(r, 400, NULL, s->where, "%s: a function_call must have a \"call_id\" and a \"name\"", s->where);
    if (!need_assistant(s, false, r)) return false;
    calls = json_object_get(s->assistant, "tool_calls");
    if (!calls && !field_put(s->assistant, "tool_calls", calls = json_array())) return no_memory(r);
    return json_array_append_new(calls, json_pack("{s:O, s:s, s:{s:O, s:O*}}", "id", id, "type", "function", "function", "name", name, "arguments", arguments)) == 0 ||
           no_memory(r);
}

static bool add_output(said *s, const json_t *item, refusal *r)
{
    json_t *id = json_object_get(item, "call_id"), *output = json_object_get(item, "output");
    if (!json_is_string(id)) return field_refuse(r, 400, NULL, s->where, "%s: a function_call_output must have a \"call_id\"", s->where);
    if (!json_is_string(output) && !json_is_array(output))
        return field_refuse(r, 400, NULL, s->where, "%s: the \"output\" of a call must be a string or a list of parts; it is %s", s->where, field_kind(output));
    return add_message(s, json_pack("{s:s, s:O, s:O}", "role", "tool", "tool_call_id", id, "content", output), r);
}

/* The text of a thought's parts, or else of its summary's. */
static bool add_thought(said *s, const json_t *item, refusal *r)
{
    static const char *const keys[] = { "content", "summary" };
    buf text;
    size_t i;
    json_t *part;
    bool ok = true;
    buf_init(&text, (size_t)1 << 30);
    for (int k = 0; k < 2 && text.len == 0; k++)
        json_array_foreach(json_object_get(item, keys[k]), i, part) {
            const json_t *v = json_object_get(part, "text");
            ok = ok && buf_add(&text, json_string_value(v), json_string_length(v), NULL) == OK;
        }
    ok = ok ? text.len == 0 || (need_assistant(s, true, r) && (field_put(s->assistant, "reasoning", json_stringn(text.data, text.len)) || no_memory(r))) : no_memory(r);
    buf_done(&text);
    return ok;
}

static bool add_item(said *s, const json_t *item, refusal *r)
{
    if (s->number < 0) snprintf(s->where, sizeof s->where, "previous_response_id");
    else snprintf(s->where, sizeof s->where, "input[%d]", s->number);
    if (is_type(item, "message")) return add_text(s, item, r);
    if (is_type(item, "function_call")) return add_call(s, item, r);
    if (is_type(item, "function_call_output")) return add_output(s, item, r);
    if (is_type(item, "reasoning")) return add_thought(s, item, r);
    log_print(LOG_INFO, "an item of type \"%s\" was left out", text_of(item, "type"));
    return true;
}

bool responses_read_messages(const json_t *body, const json_t *items, size_t before, json_t **out, json_t **at, refusal *r)
{
    said s = { .messages = json_array(), .at = json_array(), .number = -1 };
    const char *instructions = NULL;
    size_t i;
    json_t *item;
    bool ok = field_text(body, "instructions", &instructions, r);
    if (ok && instructions && instructions[0]) ok = add_message(&s, json_pack("{s:s, s:s}", "role", "system", "content", instructions), r);
    if (ok) json_array_foreach(items, i, item) {
        s.number = i < before ? -1 : (int)(i - before);
        if (!(ok = add_item(&s, item, r))) break;
    }
    if (ok && json_array_size(s.messages) == 0) ok = field_refuse(r, 400, NULL, "input", "\"input\" is missing or says nothing");
    if (ok) { *out = s.messages; *at = s.at; return true; }
    json_decref(s.messages);
    json_decref(s.at);
    return false;
}

/* ---- tools -------------------------------------------------------------------------------------------------- */

bool responses_read_tools(const json_t *body, json_t **out, refusal *r)
{
    static const char *const keys[] = { "name", "description", "parameters", "strict" };
    const json_t *list = NULL;
    size_t i;
    json_t *tool, *all = json_array();
    bool ok = field_list(body, "tools", ASK_TOOLS_MAX, &list, r);
    if (ok) json_array_foreach(list, i, tool) {
        json_t *function = json_object();
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
            const json_t *v = field_find(tool, keys[k]);
            if (v && json_object_set(function, keys[k], (json_t *)v) != 0) ok = false;
        }
        json_t *type = json_object_get(tool, "type");
        ok = ok && json_array_append_new(all, json_is_object(tool) ? json_pack("{s:O*, s:O}", "type", type, "function", function) : json_null()) == 0;
        json_decref(function);
        if (!ok) { no_memory(r); break; }
    }
    if (ok) *out = all;
    else json_decref(all);
    return ok;
}
