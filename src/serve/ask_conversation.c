/* Messages and tools as OpenAI's clients send them, checked, in the form that the model's template takes. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "serve/ask.h"

static bool no_memory(refusal *r) { return field_refuse(r, 503, NULL, NULL, "out of memory"); }

/* ---- content ------------------------------------------------------------------------------------------ */

/* A text part as the template takes it; pictures, sounds and films have no tower to go to yet. */
static bool add_part(json_t *out, const json_t *part, const char *where, refusal *r)
{
    static const char *const media[] = { "image", "audio", "video", "file" };
    const char *type = json_string_value(json_object_get(part, "type")), *text = NULL;
    if (json_is_string(part)) text = json_string_value(part);
    else if (!type) return field_refuse(r, 400, NULL, where, "%s: a part must be an object with a \"type\"", where);
    else if (strcmp(type, "text") == 0 || strcmp(type, "input_text") == 0 || strcmp(type, "output_text") == 0)
        text = json_string_value(json_object_get(part, "text"));
    else if (strcmp(type, "refusal") == 0) text = json_string_value(json_object_get(part, "refusal"));
    else {
        for (size_t i = 0; i < sizeof media / sizeof *media; i++)
            if (strstr(type, media[i]))
                return field_refuse(r, 400, "unsupported_value", where, "%s: a part of type \"%s\" cannot be read: this server answers text only", where, type);
        return field_refuse(r, 400, NULL, where, "%s: there is no part of type \"%s\"", where, type);
    }
    if (!text) return field_refuse(r, 400, NULL, where, "%s: a part of type \"%s\" has no text", where, type);
    return json_array_append_new(out, json_pack("{s:s, s:s}", "type", "text", "text", text)) == 0 || no_memory(r);
}

static bool set_content(json_t *out, const json_t *message, const char *where, refusal *r)
{
    const json_t *v = field_find(message, "content");
    size_t i;
    json_t *part;
    if (!v) return field_put(out, "content", json_string("")) || no_memory(r);
    if (json_is_string(v)) return json_object_set(out, "content", (json_t *)v) == 0 || no_memory(r);
    if (!json_is_array(v)) return field_refuse(r, 400, NULL, where, "%s must be a string or a list of parts; it is %s", where, field_kind(v));
    if (json_array_size(v) > ASK_PARTS_MAX)
        return field_refuse(r, 400, NULL, where, "%s has %zu parts; at most %d are taken", where, json_array_size(v), (int)ASK_PARTS_MAX);
    json_t *parts = json_array();
    if (!field_put(out, "content", parts)) return no_memory(r);
    json_array_foreach(v, i, part)
        if (!add_part(parts, part, where, r)) return false;
    return true;
}

/* ---- calls --------------------------------------------------------------------------------------------- */

/* Arguments come as the text of a JSON object, from some as the object itself; no text at all is an empty object. */
static bool set_arguments(json_t *function, const json_t *given, const char *where, refusal *r)
{
    json_t *o = NULL;
    err e = { 0 };
    if (json_is_object(given)) return json_object_set(function, "arguments", (json_t *)given) == 0 || no_memory(r);
    if (given && !json_is_null(given) && !json_is_string(given))
        return field_refuse(r, 400, NULL, where, "%s: the arguments of a call must be the text of a JSON object; they are %s", where, field_kind(given));
    str text = { json_string_value(given), json_string_length(given) };
    if (text.n == 0) return field_put(function, "arguments", json_object()) || no_memory(r);
    if (json_parse(&o, text, "the arguments of a call", false, &e) != OK)
        return e.code == E_NOMEM ? no_memory(r) : field_refuse(r, 400, NULL, where, "%s: %s: %s", where, e.what, e.why);
    if (!json_is_object(o)) {
        field_refuse(r, 400, NULL, where, "%s: the arguments of a call must be a JSON object; they are %s", where, field_kind(o));
        json_decref(o);
        return false;
    }
    return field_put(function, "arguments", o) || no_memory(r);
}

static bool add_call(json_t *out, const json_t *call, const char *where, refusal *r)
{
    const json_t *given = json_object_get(call, "function"), *id = field_find(call, "id");
    const char *name = json_string_value(json_object_get(given, "name"));
    if (!name || !name[0]) return field_refuse(r, 400, NULL, where, "%s: a call must have a \"function\" with a \"name\"", where);
    json_t *one = json_pack("{s:s, s:{s:s}}", "type", "function", "function", "name", name);
    if (json_array_append_new(out, one) != 0) return no_memory(r);
    if (json_is_string(id) && json_object_set(one, "id", (json_t *)id) != 0) return no_memory(r);
    return set_arguments(json_object_get(one, "function"), json_object_get(given, "arguments"), where, r);
}

static bool set_calls(json_t *out, const json_t *message, const char *where, refusal *r)
{
    const json_t *v = NULL, *old = NULL;
    size_t i;
    json_t *call;
    if (!field_list(message, "tool_calls", ASK_TOOLS_MAX, &v, r) || !field_object(message, "function_call", &old, r)) return false;
    if (json_array_size(v) == 0 && !old) return true;
    json_t *calls = json_array();
    if (!field_put(out, "tool_calls", calls)) return no_memory(r);
    json_array_foreach(v, i, call)
        if (!add_call(calls, call, where, r)) return false;
    if (json_array_size(v)) return true;
    call = json_pack("{s:O}", "function", old);         /* the way before tools: one call without an id */
    bool ok = call ? add_call(calls, call, where, r) : no_memory(r);
    json_decref(call);
    return ok;
}

static bool set_thought(json_t *out, const json_t *message, refusal *r)
{
    static const char *const keys[] = { "reasoning_content", "reasoning", "reasoning_text" };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *v = field_find(message, keys[i]);
        if (json_string_length(v)) return json_object_set(out, "reasoning", (json_t *)v) == 0 || no_memory(r);
    }
    return true;
}

/* ---- messages ------------------------------------------------------------------------------------------- */

static const char *role_of(const json_t *message)
{
    static const char *const roles[][2] = { { "system", "system" }, { "developer", "system" }, { "user", "user" }, { "assistant", "assistant" },
                                            { "tool", "tool" }, { "function", "tool" } };
    const char *given = json_string_value(json_object_get(message, "role"));
    for (size_t i = 0; given && i < sizeof roles / sizeof *roles; i++)
        if (strcmp(given, roles[i][0]) == 0) return roles[i][1];
    return NULL;
}

/* What a refusal calls message i. */
static void name_place(char where[48], const ask *a, size_t i)
{
    const char *list = a->source ? a->source : "messages";
    json_int_t number = a->at ? json_integer_value(json_array_get(a->at, i)) : (json_int_t)i;
    if (number < 0) snprintf(where, 48, "%s", list);
    else snprintf(where, 48, "%s[%d]", list, (int)number);
}

static bool add_message(const ask *a, json_t *out, const json_t *message, size_t at, refusal *r)
{
    static const char *const copied[] = { "name", "tool_call_id" };
    char where[48];
    const char *role = role_of(message);
    name_place(where, a, at);
    if (!json_is_object(message)) return field_refuse(r, 400, NULL, where, "%s must be an object; it is %s", where, field_kind(message));
    if (!role) return field_refuse(r, 400, NULL, where, "%s: \"role\" must be one of system, developer, user, assistant, tool", where);
    json_t *one = json_pack("{s:s}", "role", role);
    if (json_array_append_new(out, one) != 0) return no_memory(r);
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++) {
        const json_t *v = field_find(message, copied[i]);
        if (json_is_string(v) && json_object_set(one, copied[i], (json_t *)v) != 0) return no_memory(r);
    }
    if (strcmp(role, "assistant") == 0 && (!set_thought(one, message, r) || !set_calls(one, message, where, r))) return false;
    snprintf(where + strlen(where), sizeof where - strlen(where), ".content");
    return set_content(one, message, where, r);
}

/* ---- tools ------------------------------------------------------------------------------------------------ */

static bool add_tool(const ask *a, json_t *out, const json_t *tool, size_t at, refusal *r)
{
    char where[48];
    const char *type = json_string_value(json_object_get(tool, "type"));
    const json_t *function = json_object_get(tool, "function");
    snprintf(where, sizeof where, "%s[%zu]", a->old_calls ? "functions" : "tools", at);
    if (!json_is_object(tool)) return field_refuse(r, 400, NULL, where, "%s must be an object; it is %s", where, field_kind(tool));
    if (type && strcmp(type, "function") != 0) {
        log_print(LOG_INFO, "a tool of type \"%s\" was left out: only functions can be called here", type);
        return true;
    }
    const char *name = json_string_value(json_object_get(function, "name"));
    if (!name || !name[0]) return field_refuse(r, 400, NULL, where, "%s must have a \"function\" with a \"name\"", where);
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p <= ' ' || strchr("{}[]()\"'`", *p))
            return field_refuse(r, 400, NULL, where, "%s: the name \"%s\" has white space, braces, brackets or quotes in it", where, name);
    const json_t *parameters = field_find(function, "parameters");
    if (parameters && !json_is_object(parameters))
        return field_refuse(r, 400, NULL, where, "%s: \"parameters\" must be an object; it is %s", where, field_kind(parameters));
    return json_array_append_new(out, json_pack("{s:s, s:O}", "type", "function", "function", function)) == 0 || no_memory(r);
}

bool ask_conversation(ask *a, const json_t *messages, const json_t *tools, refusal *r)
{
    const char *list = a->source ? a->source : "messages";
    json_t *out = json_array(), *declared = json_array(), *one;
    size_t i;
    a->conversation = json_pack("{s:o, s:o, s:b}", "messages", out, "tools", declared, "enable_thinking", (int)a->think);
    if (!a->conversation || (a->preserve_thinking && !field_put(a->conversation, "preserve_thinking", json_true()))) return no_memory(r);
    if (!json_is_array(messages)) return field_refuse(r, 400, NULL, list, "\"%s\" must be a list of messages; it is %s", list, field_kind(messages));
    if (json_array_size(messages) == 0) return field_refuse(r, 400, NULL, list, "\"%s\" is empty", list);
    if (json_array_size(messages) > ASK_MESSAGES_MAX)
        return field_refuse(r, 400, NULL, list, "\"%s\" has %zu messages; at most %d are taken", list, json_array_size(messages), (int)ASK_MESSAGES_MAX);
    json_array_foreach(messages, i, one)
        if (!add_message(a, out, one, i, r)) return false;
    json_array_foreach(tools, i, one)
        if (!add_tool(a, declared, one, i, r)) return false;
    if (json_array_size(declared) == 0) json_object_del(a->conversation, "tools");
    return true;
}
