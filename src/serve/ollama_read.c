#include "serve/ollama_read.h"

#include <stdio.h>
#include <string.h>

#include "base/bits.h"

static bool no_memory(refusal *r) { return field_refuse(r, 503, NULL, NULL, "out of memory"); }

/* ---- how to answer ---------------------------------------------------------------------------------- */

static bool read_think(ask *a, const json_t *body, refusal *r)
{
    const json_t *v = field_find(body, "think");
    if (json_is_string(v)) return ask_effort(a, json_string_value(v), "think", r);
    return field_bool(body, "think", &a->think, r);
}

/* "json" or a schema. */
static bool read_format(ask *a, const json_t *body, refusal *r)
{
    const json_t *v = field_find(body, "format");
    const char *word = json_string_value(v);
    if (!v || (word && !word[0])) return true;
    if (!json_is_object(v) && !(word && strcmp(word, "json") == 0))
        return field_refuse(r, 400, NULL, "format", "\"format\" must be \"json\" or a JSON schema; it is %s", word ? "another word" : field_kind(v));
    a->json = true;
    a->format_field = "format";
    a->schema = json_is_object(v) ? json_incref((json_t *)v) : NULL;
    return true;
}

bool ollama_read_options(ask *a, const json_t *body, int64_t *num_ctx, refusal *r)
{
    const json_t *o = NULL;
    int64_t most = 0, top = 0;
    const uint64_t seed = a->s.seed;
    if (!field_object(body, "options", &o, r) || !ask_sampling(a, o, r) || !ask_stop(a, o, "stop", r) ||
        !field_int(o, "num_predict", -2, INT32_MAX, &most, r) || !field_int(o, "num_ctx", 0, INT32_MAX, num_ctx, r)) return false;
    if (json_integer_value(field_find(o, "seed")) == -1) a->s.seed = seed;       /* "any" */
    a->s.max_tokens = (int32_t)MAX(most, 0);                                     /* 0, -1, -2: until the context is full */
    if (!field_bool(body, "logprobs", &a->s.logprobs, r) || !field_int(body, "top_logprobs", 0, ASK_LOGPROBS_MAX, &top, r)) return false;
    a->s.top_logprobs = (int32_t)top;
    a->s.logprobs |= top > 0;
    a->stream = true;
    return field_bool(body, "stream", &a->stream, r) && read_think(a, body, r) && read_format(a, body, r);
}

static bool no_images(const json_t *o, const char *where, refusal *r)
{
    const json_t *v = NULL;
    if (!field_list(o, "images", SIZE_MAX, &v, r)) return false;
    return json_array_size(v) == 0 || field_refuse(r, 400, "unsupported_value", where, "%s: images cannot be read: this server answers text only", where);
}

/* ---- chat ------------------------------------------------------------------------------------------------ */

static bool add_message(json_t *out, const json_t *m, size_t at, refusal *r)
{
    static const char *const names[][2] = { { "role", "role" }, { "content", "content" }, { "thinking", "reasoning" }, { "tool_calls", "tool_calls" },
                                            { "tool_call_id", "tool_call_id" }, { "tool_name", "name" } };
    const char *text = NULL;
    char where[48];
    snprintf(where, sizeof where, "messages[%zu]", at);
    if (!json_is_object(m)) return field_refuse(r, 400, NULL, where, "%s must be an object; it is %s", where, field_kind(m));
    if (!field_text(m, "content", &text, r) || !field_text(m, "thinking", &text, r) || !field_text(m, "tool_name", &text, r) || !no_images(m, where, r)) return false;
    json_t *one = json_object();
    if (json_array_append_new(out, one) != 0) return no_memory(r);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const json_t *v = field_find(m, names[i][0]);
        if (v && json_object_set(one, names[i][1], (json_t *)v) != 0) return no_memory(r);
    }
    return true;
}

bool ollama_read_messages(const json_t *body, json_t **out, refusal *r)
{
    const json_t *list = NULL;
    json_t *all = json_array();
    bool ok = (all || no_memory(r)) && field_list(body, "messages", ASK_MESSAGES_MAX, &list, r);
    for (size_t i = 0; ok && i < json_array_size(list); i++) ok = add_message(all, json_array_get(list, i), i, r);
    if (ok) *out = all;
    else json_decref(all);
    return ok;
}

/* ---- generate ---------------------------------------------------------------------------------------------- */

bool ollama_read_prompt(const json_t *body, const json_t **prompt, bool *raw, refusal *r)
{
    const char *text = NULL, *suffix = NULL, *template = NULL, *system = NULL;
    const json_t *context = NULL;
    if (!field_list(body, "context", FIELD_NODES_MAX, &context, r) || !field_text(body, "system", &system, r)) return false;
    if (!field_text(body, "prompt", &text, r) || !field_bool(body, "raw", raw, r) || !field_text(body, "suffix", &suffix, r) ||
        !field_text(body, "template", &template, r) || !no_images(body, "images", r)) return false;
    if (suffix && suffix[0]) return field_refuse(r, 400, NULL, "suffix", "\"suffix\" is not supported: Gemma 4 has no tokens for the middle of a text");
    if (template && template[0])
        return field_refuse(r, 400, NULL, "template", "\"template\" is not supported: the model's own is used; send \"raw\": true and a prompt with its turns instead");
    *prompt = text && text[0] ? json_object_get(body, "prompt") : NULL;
    return true;
}

bool ollama_read_turns(const json_t *body, const json_t *prompt, const json_t *before, json_t **out, refusal *r)
{
    const char *system = NULL, *first = json_string_value(json_object_get(json_array_get(before, 0), "role"));
    if (!field_text(body, "system", &system, r)) return false;
    bool add = system && system[0] && !(first && strcmp(first, "system") == 0), ok = true;
    json_t *all = json_array();
    if (add) ok = json_array_append_new(all, json_pack("{s:s, s:s}", "role", "system", "content", system)) == 0;
    for (size_t i = 0; i < json_array_size(before); i++) ok = ok && json_array_append(all, json_array_get(before, i)) == 0;
    ok = ok && json_array_append_new(all, json_pack("{s:s, s:O}", "role", "user", "content", prompt)) == 0;
    if (ok) { *out = all; return true; }
    json_decref(all);
    return no_memory(r);
}
