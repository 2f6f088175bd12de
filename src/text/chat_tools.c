/* Tools in a prompt: declarations, calls and results (architecture.md section 8.2).  The order of the parts and every
 * oddity (a type that is no object leaves a brace open, for example) are the official template's. */
#include "text/chat_int.h"

/* One property or item list is open: writes the comma before every part but the first. */
typedef struct parts { bool any; } parts;

static status part(chat_prompt *p, parts *ps, const char *name, err *e)
{
    status st = OK;
    if (ps->any) TRY(chat_write_text(p, ",", e));
    ps->any = true;
    TRY(chat_write_text(p, name, e));
out:
    return st;
}

/* <|"|>text<|"|>; upper: in upper case. */
static status quoted(chat_prompt *p, const json_t *v, bool upper, err *e)
{
    status st = OK;
    TRY(chat_write_text(p, "<|\"|>", e));
    TRY(upper ? chat_write_upper(p, v, e) : chat_write_value(p, v, e));
    TRY(chat_write_text(p, "<|\"|>", e));
out:
    return st;
}

/* <|"|>a<|"|>,<|"|>b<|"|> */
static status quoted_list(chat_prompt *p, const json_t *v, const char *what, err *e)
{
    status st = OK;
    json_t *list = NULL, *item;
    size_t i;
    TRY(chat_value_list(v, what, &list, e));
    json_array_foreach(list, i, item) {
        if (i) TRY(chat_write_text(p, ",", e));
        TRY(quoted(p, item, false, e));
    }
out:
    json_decref(list);
    return st;
}

/* v | upper == word */
static status upper_is(const json_t *v, const char *word, bool *out, err *e)
{
    status st = OK;
    buf b;
    buf_init(&b, SIZE_MAX / 4);
    TRY(chat_value_upper(&b, v, e));
    *out = strcmp(buf_text(&b), word) == 0;
out:
    buf_done(&b);
    return st;
}

static bool is_standard(const char *key)
{
    static const char *const keys[] = { "description", "type", "properties", "required", "nullable" };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(key, keys[i]) == 0) return true;
    return false;
}

static status properties(chat_prompt *p, const json_t *v, bool skip_standard, int depth, err *e);

/* type of an array's items: a word, or a list of words (a union). */
static status item_type(chat_prompt *p, const json_t *v, err *e)
{
    status st = OK;
    json_t *list = NULL, *item;
    size_t i;
    TRY(chat_write_text(p, "type:", e));
    if (chat_value_is_text(v)) {
        TRY(quoted(p, v, true, e));
        goto out;
    }
    TRY(chat_value_list(v, "the type of an array's items", &list, e));
    TRY(chat_write_text(p, "[", e));
    json_array_foreach(list, i, item) {
        if (i) TRY(chat_write_text(p, ",", e));
        TRY(quoted(p, item, true, e));
    }
    TRY(chat_write_text(p, "]", e));
out:
    json_decref(list);
    return st;
}

static status array_items(chat_prompt *p, const json_t *items, int depth, err *e)
{
    status st = OK;
    chat_sorted s = { 0 };
    parts ps = { false };
    TRY(chat_value_sort(&s, items, e));
    for (size_t i = 0; i < s.count; i++) {
        const char *key = s.entries[i].key;
        const json_t *v = s.entries[i].value;
        if (json_is_null(v)) continue;
        TRY(part(p, &ps, "", e));
        if (strcmp(key, "properties") == 0) {
            TRY(chat_write_text(p, "properties:{", e));
            if (json_is_object(v)) TRY(properties(p, v, false, depth, e));
            TRY(chat_write_text(p, "}", e));
        } else if (strcmp(key, "required") == 0) {
            TRY(chat_write_text(p, "required:[", e));
            TRY(quoted_list(p, v, "\"required\" of an array's items", e));
            TRY(chat_write_text(p, "]", e));
        } else if (strcmp(key, "type") == 0) {
            TRY(item_type(p, v, e));
        } else {
            TRY(chat_write_data(p, str_from(key), e));
            TRY(chat_write_text(p, ":", e));
            TRY(chat_write_argument(p, v, true, depth, e));
        }
    }
out:
    chat_value_sort_done(&s);
    return st;
}

/* The parts that only objects have. */
static status object_parts(chat_prompt *p, const json_t *v, parts *ps, int depth, err *e)
{
    status st = OK;
    const json_t *inner = json_object_get(v, "properties"), *required = json_object_get(v, "required");
    if (json_is_object(v)) {
        /* Without "properties" the schema's other keys are taken for properties. */
        TRY(part(p, ps, "properties:{", e));
        TRY(json_is_object(inner) ? properties(p, inner, false, depth, e) : properties(p, v, true, depth, e));
        TRY(chat_write_text(p, "}", e));
    }
    if (chat_value_true(required)) {
        TRY(part(p, ps, "required:[", e));
        TRY(quoted_list(p, required, "\"required\" of an object", e));
        TRY(chat_write_text(p, "]", e));
    }
out:
    return st;
}

static status property(chat_prompt *p, const json_t *v, int depth, err *e)
{
    status st = OK;
    parts ps = { false };
    bool is_string = false, is_array = false, is_object = false;
    const json_t *type = json_object_get(v, "type"), *text = json_object_get(v, "description");
    const json_t *choices = json_object_get(v, "enum"), *items = json_object_get(v, "items");
    TRY(upper_is(type, "STRING", &is_string, e));
    TRY(upper_is(type, "ARRAY", &is_array, e));
    TRY(upper_is(type, "OBJECT", &is_object, e));
    if (chat_value_true(text)) {
        TRY(part(p, &ps, "description:", e));
        TRY(quoted(p, text, false, e));
    }
    if (is_string && chat_value_true(choices)) {
        TRY(part(p, &ps, "enum:", e));
        TRY(chat_write_argument(p, choices, true, depth, e));
    }
    if (is_array && json_is_object(items) && json_object_size(items)) {
        TRY(part(p, &ps, "items:{", e));
        TRY(array_items(p, items, depth, e));
        TRY(chat_write_text(p, "}", e));
    }
    if (chat_value_true(json_object_get(v, "nullable"))) TRY(part(p, &ps, "nullable:true", e));
    if (is_object) TRY(object_parts(p, v, &ps, depth, e));
    TRY(part(p, &ps, "type:", e));
    TRY(quoted(p, type, true, e));
out:
    return st;
}

/* The template's format_parameters. */
static status properties(chat_prompt *p, const json_t *v, bool skip_standard, int depth, err *e)
{
    status st = OK;
    chat_sorted s = { 0 };
    parts ps = { false };
    if (depth > CHAT_DEPTH_MAX)
        FAIL(e, E_ARG, "cannot render the conversation\na tool's parameters are nested deeper than %d levels", (int)CHAT_DEPTH_MAX);
    TRY(chat_value_sort(&s, v, e));
    for (size_t i = 0; i < s.count; i++) {
        if (skip_standard && is_standard(s.entries[i].key)) continue;
        TRY(part(p, &ps, "", e));
        TRY(chat_write_data(p, str_from(s.entries[i].key), e));
        TRY(chat_write_text(p, ":{", e));
        TRY(property(p, s.entries[i].value, depth + 1, e));
        TRY(chat_write_text(p, "}", e));
    }
out:
    chat_value_sort_done(&s);
    return st;
}

static status parameters(chat_prompt *p, const json_t *v, err *e)
{
    status st = OK;
    const json_t *props = json_object_get(v, "properties"), *required = json_object_get(v, "required"), *type = json_object_get(v, "type");
    if (!chat_value_true(v)) return OK;
    TRY(chat_write_text(p, ",parameters:{", e));
    if (chat_value_true(props)) {
        if (!json_is_object(props)) FAIL(e, E_ARG, "cannot render the conversation\n\"properties\" of a tool's parameters is no object");
        TRY(chat_write_text(p, "properties:{", e));
        TRY(properties(p, props, false, 0, e));
        TRY(chat_write_text(p, "},", e));
    }
    if (chat_value_true(required)) {
        TRY(chat_write_text(p, "required:[", e));
        TRY(quoted_list(p, required, "\"required\" of a tool's parameters", e));
        TRY(chat_write_text(p, "],", e));
    }
    if (chat_value_true(type)) {
        TRY(chat_write_text(p, "type:", e));
        TRY(quoted(p, type, true, e));
        TRY(chat_write_text(p, "}", e));
    }
out:
    return st;
}

/* 'response' in function: a key of an object, an item of a list, a part of a string. */
static status has_response(const json_t *function, bool *out, err *e)
{
    const json_t *item;
    size_t i;
    str text = chat_value_text(function);
    if (!json_is_object(function) && !json_is_array(function) && !chat_value_is_text(function))
        return err_set(e, E_ARG, "cannot render the conversation\n\"function\" of a tool is no object");
    *out = json_object_get(function, "response") || str_find(text, STR("response")) < text.n;
    json_array_foreach(function, i, item) *out = *out || chat_value_is(item, "response");
    return OK;
}

static status response_part(chat_prompt *p, const json_t *function, err *e)
{
    status st = OK;
    const json_t *response = json_object_get(function, "response"), *text = NULL, *type = json_object_get(response, "type");
    bool present = false, is_object = false;
    TRY(has_response(function, &present, e));
    if (!present) return OK;
    TRY(chat_value_item(response, "description", "\"response\" of a tool", &text, e));
    TRY(chat_write_text(p, ",response:{", e));
    if (chat_value_true(text)) {
        TRY(chat_write_text(p, "description:", e));
        TRY(quoted(p, text, false, e));
        TRY(chat_write_text(p, ",", e));
    }
    TRY(upper_is(type, "OBJECT", &is_object, e));
    if (is_object) {
        TRY(chat_write_text(p, "type:", e));
        TRY(quoted(p, type, true, e));
        TRY(chat_write_text(p, "}", e));
    }
out:
    return st;
}

status chat_tools_declaration(chat_prompt *p, const json_t *tool, err *e)
{
    status st = OK;
    const json_t *f, *name = NULL;
    TRY(chat_value_item(tool, "function", "a tool", &f, e));
    TRY(chat_value_item(f, "name", "\"function\" of a tool", &name, e));
    TRY(chat_write_text(p, "<|tool>declaration:", e));
    TRY(chat_write_value(p, name, e));
    TRY(chat_write_text(p, "{description:", e));
    TRY(quoted(p, json_object_get(f, "description"), false, e));
    TRY(parameters(p, json_object_get(f, "parameters"), e));
    TRY(response_part(p, f, e));
    TRY(chat_write_text(p, "}<tool|>", e));
out:
    return st;
}

status chat_tools_call(chat_prompt *p, const json_t *call, err *e)
{
    status st = OK;
    const json_t *f = json_object_get(call, "function"), *name = json_object_get(f, "name"), *arguments = json_object_get(f, "arguments");
    if (!chat_value_is_text(name)) FAIL(e, E_ARG, "cannot render the conversation\na tool call has no function name");
    TRY(chat_write_text(p, "<|tool_call>call:", e));
    TRY(chat_write_data(p, chat_value_text(name), e));
    TRY(chat_write_text(p, "{", e));
    if (json_is_object(arguments)) TRY(chat_write_fields(p, arguments, e));
    else if (!json_is_null(arguments))
        FAIL(e, E_ARG, "cannot render the conversation\ntool_calls[].function.arguments must be a JSON object (mapping), not a string or anything else");
    TRY(chat_write_text(p, "}<tool_call|>", e));
out:
    return st;
}

status chat_tools_response(chat_prompt *p, const json_t *name, const json_t *response, err *e)
{
    status st = OK;
    if (!chat_value_is_text(name)) FAIL(e, E_ARG, "cannot render the conversation\nthe name of a tool's result is no string");
    TRY(chat_write_text(p, "<|tool_response>response:", e));
    TRY(chat_write_data(p, chat_value_text(name), e));
    TRY(chat_write_text(p, "{", e));
    if (json_is_object(response)) {
        TRY(chat_write_fields(p, response, e));
    } else {
        TRY(chat_write_text(p, "value:", e));
        TRY(chat_write_argument(p, response, false, 0, e));
    }
    TRY(chat_write_text(p, "}<tool_response|>", e));
out:
    return st;
}
