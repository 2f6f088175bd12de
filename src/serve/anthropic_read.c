/* Requests of Anthropic's Messages API in the form of OpenAI's chat completions. */
#include "serve/anthropic_read.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"

static bool no_memory(refusal *r) { return field_refuse(r, 503, NULL, NULL, "out of memory"); }

static const char *type_of(const json_t *block) { return json_string_value(json_object_get(block, "type")); }
static bool is_type(const json_t *block, const char *type) { return type_of(block) && strcmp(type_of(block), type) == 0; }

/* ---- system ---------------------------------------------------------------------------------------------- */

/* Claude Code puts a line about itself first that may change with each request; the model has no use for it. */
static bool is_billing(const char *text) { return strncmp(text, "x-anthropic-billing-header:", 27) == 0; }

/* A string, or text blocks: kept apart by an empty line. */
static bool join_text(const json_t *v, const char *where, buf *out, refusal *r)
{
    size_t i;
    json_t *block;
    if (!v) return true;
    if (json_is_string(v)) return is_billing(json_string_value(v)) || buf_add(out, json_string_value(v), json_string_length(v), NULL) == OK || no_memory(r);
    if (!json_is_array(v)) return field_refuse(r, 400, NULL, where, "%s must be a string or a list of blocks; it is %s", where, field_kind(v));
    json_array_foreach(v, i, block) {
        const json_t *text = json_object_get(block, "text");
        if (!is_type(block, "text") || !json_is_string(text)) return field_refuse(r, 400, NULL, where, "%s: block %zu is no text", where, i);
        if (is_billing(json_string_value(text))) continue;
        if ((out->len && buf_add_str(out, "\n\n", NULL) != OK) || buf_add(out, json_string_value(text), json_string_length(text), NULL) != OK) return no_memory(r);
    }
    return true;
}

static bool add_message(json_t *out, const char *role, const buf *text, refusal *r)
{
    return json_array_append_new(out, json_pack("{s:s, s:s%}", "role", role, "content", buf_text(text), text->len)) == 0 || no_memory(r);
}

static bool add_system(json_t *out, const json_t *v, const char *where, refusal *r)
{
    buf text;
    buf_init(&text, (size_t)1 << 30);
    bool ok = join_text(v, where, &text, r) && (text.len == 0 || add_message(out, "system", &text, r));
    buf_done(&text);
    return ok;
}

/* ---- blocks ------------------------------------------------------------------------------------------------ */

/* What one message says, block by block. */
typedef struct said { buf text, thought; json_t *calls, *out; const char *where; } said;

static bool add_result(said *s, const json_t *block, refusal *r)
{
    const json_t *id = json_object_get(block, "tool_use_id"), *v = field_find(block, "content");
    buf text;
    if (!json_is_string(id)) return field_refuse(r, 400, NULL, s->where, "%s: a tool_result must have a \"tool_use_id\"", s->where);
    buf_init(&text, (size_t)1 << 30);
    bool ok = join_text(v, s->where, &text, r);
    ok = ok && (json_array_append_new(s->out, json_pack("{s:s, s:O, s:s%}", "role", "tool", "tool_call_id", id, "content", buf_text(&text), text.len)) == 0 ||
                no_memory(r));
    buf_done(&text);
    return ok;
}

static bool add_use(said *s, const json_t *block, refusal *r)
{
    const json_t *name = json_object_get(block, "name"), *id = json_object_get(block, "id"), *input = field_find(block, "input");
    if (!json_is_string(name) || !json_is_string(id) || (input && !json_is_object(input)))
        return field_refuse(r, 400, NULL, s->where, "%s: a tool_use must have an \"id\", a \"name\" and an object \"input\"", s->where);
    if (!s->calls) s->calls = json_array();
    json_t *arguments = input ? json_incref((json_t *)input) : json_object();
    return json_array_append_new(s->calls, json_pack("{s:O, s:s, s:{s:O, s:o}}", "id", id, "type", "function", "function", "name", name, "arguments", arguments)) == 0 ||
           no_memory(r);
}

static bool add_text(buf *out, const json_t *block, const char *key, const char *where, refusal *r)
{
    const json_t *text = json_object_get(block, key);
    if (!json_is_string(text)) return field_refuse(r, 400, NULL, where, "%s: a block of type \"%s\" has no \"%s\"", where, type_of(block), key);
    return buf_add(out, json_string_value(text), json_string_length(text), NULL) == OK || no_memory(r);
}

static bool add_block(said *s, const json_t *block, refusal *r)
{
    if (!type_of(block)) return field_refuse(r, 400, NULL, s->where, "%s: a block must be an object with a \"type\"", s->where);
    if (is_type(block, "text")) return add_text(&s->text, block, "text", s->where, r);
    if (is_type(block, "thinking")) return add_text(&s->thought, block, "thinking", s->where, r);
    if (is_type(block, "tool_use")) return add_use(s, block, r);
    if (is_type(block, "tool_result")) return add_result(s, block, r);
    if (is_type(block, "image") || is_type(block, "document"))
        return field_refuse(r, 400, NULL, s->where, "%s: a block of type \"%s\" cannot be read: this server answers text only", s->where, type_of(block));
    log_print(LOG_INFO, "a block of type \"%s\" was left out", type_of(block));
    return true;
}

/* Results of calls come before what the user says beside them. */
static bool add_blocks(json_t *out, const json_t *blocks, const char *role, const char *where, refusal *r)
{
    said s = { .out = out, .where = where };
    size_t i;
    json_t *block;
    bool ok = true, user = strcmp(role, "user") == 0;
    buf_init(&s.text, (size_t)1 << 30);
    buf_init(&s.thought, (size_t)1 << 30);
    json_array_foreach(blocks, i, block)
        if (!(ok = add_block(&s, block, r))) break;
    if (ok && user) {
        ok = (s.text.len == 0 && i > 0) || add_message(out, "user", &s.text, r);
    } else if (ok) {
        json_t *m = json_pack("{s:s, s:s%}", "role", role, "content", buf_text(&s.text), s.text.len);
        ok = json_array_append_new(out, m) == 0 && (!s.thought.len || field_put(m, "reasoning", json_stringn(s.thought.data, s.thought.len))) &&
             (!s.calls || json_object_set(m, "tool_calls", s.calls) == 0);
        if (!ok) no_memory(r);
    }
    json_decref(s.calls);
    buf_done(&s.text);
    buf_done(&s.thought);
    return ok;
}

/* ---- the request --------------------------------------------------------------------------------------------- */

bool anthropic_read_messages(const json_t *body, json_t **out, refusal *r)
{
    const json_t *list = NULL, *m;
    size_t i;
    json_t *all = json_array();
    bool ok = field_list(body, "messages", ASK_MESSAGES_MAX, &list, r) && (list || field_refuse(r, 400, NULL, "messages", "\"messages\" is missing")) &&
              add_system(all, field_find(body, "system"), "system", r);
    for (i = 0; ok && i < json_array_size(list); i++) {
        char where[48];
        m = json_array_get(list, i);
        const char *role = json_string_value(json_object_get(m, "role"));
        const json_t *content = field_find(m, "content");
        snprintf(where, sizeof where, "messages[%zu]", i);
        if (role && strcmp(role, "system") == 0) ok = add_system(all, content, where, r);
        else if (!role || (strcmp(role, "user") != 0 && strcmp(role, "assistant") != 0))
            ok = field_refuse(r, 400, NULL, where, "%s: \"role\" must be user, assistant or system", where);
        else if (json_is_string(content)) ok = json_array_append_new(all, json_pack("{s:s, s:O}", "role", role, "content", content)) == 0 || no_memory(r);
        else if (json_is_array(content)) ok = add_blocks(all, content, role, where, r);
        else ok = field_refuse(r, 400, NULL, where, "%s: \"content\" must be a string or a list of blocks; it is %s", where, field_kind(content));
    }
    if (ok) *out = all;
    else json_decref(all);
    return ok;
}

bool anthropic_read_tools(const json_t *body, json_t **out, refusal *r)
{
    const json_t *list = NULL;
    size_t i;
    json_t *tool, *all = json_array();
    bool ok = field_list(body, "tools", ASK_TOOLS_MAX, &list, r);
    if (ok) json_array_foreach(list, i, tool) {
        const json_t *name = json_object_get(tool, "name"), *schema = field_find(tool, "input_schema");
        if (!schema && type_of(tool) && !is_type(tool, "custom")) {
            log_print(LOG_INFO, "a tool of type \"%s\" was left out: only functions can be called here", type_of(tool));
            continue;
        }
        json_t *f = json_pack("{s:O*, s:O*, s:O*, s:O*}", "name", name, "description", field_find(tool, "description"), "parameters", schema,
                              "strict", field_find(tool, "strict"));
        if (!f || json_array_append_new(all, json_pack("{s:s, s:o}", "type", "function", "function", f)) != 0) { ok = no_memory(r); break; }
    }
    if (ok) *out = all;
    else json_decref(all);
    return ok;
}

bool anthropic_read_choice(const json_t *body, ask *a, refusal *r)
{
    const json_t *choice = NULL;
    const char *type = NULL, *name = NULL;
    if (!field_object(body, "tool_choice", &choice, r) || !field_bool(choice, "disable_parallel_tool_use", &a->one_call, r)) return false;
    if (!field_text(choice, "type", &type, r) || !field_text(choice, "name", &name, r)) return false;
    if (!choice || (type && strcmp(type, "auto") == 0)) return true;
    if (type && strcmp(type, "none") == 0) return ask_choose(a, FACET_TOOLS_NONE, NULL, r);
    if (type && strcmp(type, "any") == 0) return ask_choose(a, FACET_TOOLS_REQUIRED, NULL, r);
    if (type && strcmp(type, "tool") == 0 && name) return ask_choose(a, FACET_TOOLS_REQUIRED, name, r);
    if (type && strcmp(type, "tool") == 0) return field_refuse(r, 400, NULL, "tool_choice", "\"tool_choice\" of type \"tool\" has no \"name\"");
    return field_refuse(r, 400, NULL, "tool_choice", "\"tool_choice\" cannot have the type \"%s\"; it is one of auto, any, tool, none", type ? type : "");
}

bool anthropic_read_format(const json_t *body, ask *a, refusal *r)
{
    const json_t *config = NULL, *format = NULL;
    if (!field_object(body, "output_config", &config, r)) return false;
    format = field_find(config, "format");
    if (format) return ask_format(a, format, "output_config.format", r);
    return ask_format(a, field_find(body, "output_format"), "output_format", r);
}
