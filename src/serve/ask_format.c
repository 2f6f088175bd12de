/* What an answer must be: JSON that a schema describes, a call. */
#include <string.h>

#include "serve/ask.h"

static bool no_memory(refusal *r) { return field_refuse(r, 503, NULL, NULL, "out of memory"); }

bool ask_format(ask *a, const json_t *format, const char *field, refusal *r)
{
    const json_t *inner = NULL, *schema = NULL;
    const char *type = NULL;
    if (!format) return true;
    if (!json_is_object(format)) return field_refuse(r, 400, NULL, field, "\"%s\" must be an object with a \"type\"; it is %s", field, field_kind(format));
    if (!field_text(format, "type", &type, r)) return false;
    if (!type) return field_refuse(r, 400, NULL, field, "\"%s\" must be an object with a \"type\"", field);
    if (strcmp(type, "text") == 0) return true;
    bool described = strcmp(type, "json_schema") == 0;
    if (!described && strcmp(type, "json_object") != 0)
        return field_refuse(r, 400, NULL, field, "\"%s\" cannot have the type \"%s\"; it is one of text, json_object, json_schema", field, type);
    if (!field_object(format, "json_schema", &inner, r)) return false;
    if (!inner) inner = format;
    schema = field_find(inner, "schema");
    if (schema && !json_is_object(schema) && !json_is_boolean(schema))
        return field_refuse(r, 400, NULL, field, "\"%s\": the schema must be an object; it is %s", field, field_kind(schema));
    if (described && !schema) return field_refuse(r, 400, NULL, field, "\"%s\" has no \"schema\"", field);
    if (!field_bool(inner, "strict", &a->strict, r)) return false;
    a->json = true;
    a->format_field = field;
    a->schema = json_incref((json_t *)schema);
    return true;
}

/* ---- calls --------------------------------------------------------------------------------------------- */

static json_t *declared(const ask *a) { return json_object_get(a->conversation, "tools"); }

static const char *name_of(const json_t *tool)
{
    const json_t *function = json_object_get(tool, "function");
    return json_string_value(json_object_get(function ? function : tool, "name"));      /* Responses has it flat */
}

static bool is_declared(const ask *a, const char *name)
{
    size_t i;
    json_t *tool;
    json_array_foreach(declared(a), i, tool)
        if (strcmp(name_of(tool), name) == 0) return true;
    return false;
}

bool ask_choose(ask *a, facet_tool_choice choice, const char *named, refusal *r)
{
    const char *field = a->old_calls ? "function_call" : "tool_choice";
    if (choice == FACET_TOOLS_REQUIRED && json_array_size(declared(a)) == 0)
        return field_refuse(r, 400, NULL, field, "\"%s\" requires a call, but no functions are declared", field);
    if (named && !is_declared(a, named)) return field_refuse(r, 400, NULL, field, "\"%s\" names \"%.200s\", which is not declared", field, named);
    a->choice = choice;
    a->named = named;
    return true;
}

static bool choose_word(ask *a, const char *word, refusal *r)
{
    static const char *const words[] = { "auto", "none", "required" };
    static const facet_tool_choice choices[] = { FACET_TOOLS_AUTO, FACET_TOOLS_NONE, FACET_TOOLS_REQUIRED };
    for (size_t i = 0; word && i < sizeof words / sizeof *words; i++)
        if (strcmp(word, words[i]) == 0) return ask_choose(a, choices[i], NULL, r);
    return field_refuse(r, 400, NULL, "tool_choice", "\"tool_choice\" must be \"none\", \"auto\", \"required\", a function or allowed_tools; it is %s",
                        word ? "another word" : "none of them");
}

/* Only these of the declared ones. */
static bool keep_allowed(ask *a, const json_t *allowed, refusal *r)
{
    const json_t *names = NULL;
    json_t *kept = json_array(), *tool, *one;
    size_t i, k;
    bool ok = field_list(allowed, "tools", ASK_TOOLS_MAX, &names, r);
    if (ok && !names) ok = field_refuse(r, 400, NULL, "tool_choice", "\"tool_choice\" of type \"allowed_tools\" has no list \"tools\"");
    if (ok) json_array_foreach(declared(a), i, tool) {
        bool found = false;
        json_array_foreach(names, k, one) found = found || (name_of(one) && strcmp(name_of(one), name_of(tool)) == 0);
        if (found && json_array_append(kept, tool) != 0) { ok = no_memory(r); break; }
    }
    if (ok && json_array_size(kept) == 0) ok = field_refuse(r, 400, NULL, "tool_choice", "\"tool_choice\" allows none of the declared functions");
    if (ok && json_object_set(a->conversation, "tools", kept) != 0) ok = no_memory(r);
    json_decref(kept);
    return ok;
}

bool ask_tool_choice(ask *a, const json_t *choice, refusal *r)
{
    const char *type = NULL;
    if (!choice) return true;
    if (!json_is_object(choice)) return choose_word(a, json_string_value(choice), r);
    if (!field_text(choice, "type", &type, r)) return false;
    if (type && strcmp(type, "function") == 0) {
        if (!name_of(choice)) return field_refuse(r, 400, NULL, "tool_choice", "\"tool_choice\" of type \"function\" has no \"name\"");
        return ask_choose(a, FACET_TOOLS_REQUIRED, name_of(choice), r);
    }
    if (type && strcmp(type, "allowed_tools") == 0) {
        const json_t *allowed = NULL;
        if (!field_object(choice, "allowed_tools", &allowed, r)) return false;
        if (!allowed) allowed = choice;
        const json_t *mode = field_find(allowed, "mode");
        return keep_allowed(a, allowed, r) && (!mode || choose_word(a, json_string_value(mode), r));
    }
    return field_refuse(r, 400, NULL, "tool_choice", "\"tool_choice\" cannot have the type \"%s\"; it is function or allowed_tools", type ? type : "");
}

/* ---- the way before tools --------------------------------------------------------------------------------- */

bool ask_functions(ask *a, const json_t *body, json_t **out, refusal *r)
{
    const json_t *list = NULL;
    size_t i;
    json_t *one, *tools;
    if (!field_list(body, "functions", ASK_TOOLS_MAX, &list, r)) return false;
    if ((list || field_find(body, "function_call")) && (field_find(body, "tools") || field_find(body, "tool_choice")))
        return field_refuse(r, 400, NULL, "functions", "\"functions\" and \"function_call\" cannot go with \"tools\" and \"tool_choice\"");
    a->old_calls = list || field_find(body, "function_call");
    if (!list) return true;
    a->one_call = true;              /* there is no place for a second one in the answer */
    tools = json_array();
    json_array_foreach(list, i, one)
        if (json_array_append_new(tools, json_pack("{s:s, s:O}", "type", "function", "function", one)) != 0) {
            json_decref(tools);
            return no_memory(r);
        }
    *out = tools;
    return true;
}

bool ask_function_choice(ask *a, const json_t *body, refusal *r)
{
    const json_t *v = field_find(body, "function_call");
    const char *word = json_string_value(v), *name = json_string_value(json_object_get(v, "name"));
    if (!v || (word && strcmp(word, "auto") == 0)) return true;
    if (word && strcmp(word, "none") == 0) return ask_choose(a, FACET_TOOLS_NONE, NULL, r);
    if (name) return ask_choose(a, FACET_TOOLS_REQUIRED, name, r);
    return field_refuse(r, 400, NULL, "function_call", "\"function_call\" must be \"none\", \"auto\" or a function's name in an object");
}
