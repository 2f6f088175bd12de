/* Messages as people write them, in the form that inference renders.  A row in which something would be lost on the way is refused. */
#include "base/bits.h"
#include "text/chat_unicode.h"
#include "text/chat_value.h"
#include "tune/data_int.h"

static const struct { const char *given, *role; } roles[] = {
    { "system", "system" }, { "developer", "system" }, { "user", "user" }, { "assistant", "assistant" }, { "model", "assistant" },
    { "tool", "tool" }, { "function", "tool" },
};

static json_t *get(const json_t *o, const char *key)
{
    json_t *v = json_object_get(o, key);
    return v && !json_is_null(v) ? v : NULL;
}

json_t *data_talk_copy(const json_t *object)
{
    json_t *copy = json_copy((json_t *)object);        /* hides that it ran out of memory half-way */
    if (json_object_size(copy) == json_object_size(object)) return copy;
    json_decref(copy);
    return NULL;
}

static status put(json_t *o, const char *key, json_t *owned, err *e)
{
    return json_object_set_new(o, key, owned) == 0 ? OK : err_set(e, E_NOMEM, "could not read a row\nout of memory");
}

/* ---- thoughts -------------------------------------------------------------------------------------------- */

/* Where a thought written into a text begins and ends.  The template would drop the first kind without a word. */
static const struct { str open, close; } marks[] = { { { "<|channel>", 10 }, { "<channel|>", 10 } }, { { "<think>", 7 }, { "</think>", 8 } } };

/* A thought that stands before the answer, and the rest; false when there is none. */
static bool split_thought(str text, str *thought, str *rest)
{
    text = chat_unicode_trim(text);
    for (size_t i = 0; i < COUNT_OF(marks); i++) {
        if (text.n < marks[i].open.n || memcmp(text.p, marks[i].open.p, marks[i].open.n) != 0) continue;
        str inside = str_skip(text, marks[i].open.n);
        size_t end = str_find(inside, marks[i].close);
        if (end == inside.n) return false;
        *rest = chat_unicode_trim(str_skip(inside, end + marks[i].close.n));
        inside.n = end;
        if (i == 0 && str_starts(inside, "thought")) inside = str_skip(inside, 7);
        *thought = chat_unicode_trim(inside);
        return true;
    }
    return false;
}

/* Moves it from the content of m to its "reasoning"; what is left must have no thought that the template would cut out. */
static status move_thought(json_t *m, size_t i, data_report *r, err *e)
{
    status st = OK;
    str thought, rest, text = chat_value_text(json_object_get(m, "content"));
    if (split_thought(text, &thought, &rest)) {
        if (thought.n && get(m, "reasoning")) FAIL(e, E_FORMAT, "message %zu has a thought in its text and another one beside it", i);
        if (thought.n) TRY(put(m, "reasoning", json_stringn(thought.p, thought.n), e));
        TRY(put(m, "content", json_stringn(rest.p, rest.n), e));
        r->thoughts_moved++;
        text = chat_value_text(json_object_get(m, "content"));
    }
    if (str_find(text, STR("<|channel>")) < text.n || str_find(text, STR("<channel|>")) < text.n)
        FAIL(e, E_FORMAT, "message %zu has a thought in the middle of its text, which no answer can have\nits place is \"reasoning\"", i);
out:
    return st;
}

static status set_thought(json_t *out, const json_t *given, size_t i, err *e)
{
    static const char *const keys[] = { "reasoning", "reasoning_content", "thinking" };
    for (size_t k = 0; k < COUNT_OF(keys); k++) {
        const json_t *v = get(given, keys[k]);
        if (v && !chat_value_is_text(v)) return err_set(e, E_FORMAT, "the thought of message %zu is no text", i);
        if (chat_value_true(v)) return put(out, "reasoning", json_incref((json_t *)v), e);
    }
    return OK;
}

/* ---- content ---------------------------------------------------------------------------------------------- */

static status add_part(json_t *list, const json_t *part, size_t i, err *e)
{
    static const char *const text_types[] = { "text", "input_text", "output_text" };
    const json_t *type = get(part, "type"), *text = json_is_string(part) ? part : get(part, "text");
    bool known = json_is_string(part);
    for (size_t k = 0; k < COUNT_OF(text_types); k++) known = known || chat_value_is(type, text_types[k]);
    if (!known && chat_value_is_text(type))
        return err_set(e, E_UNSUPPORTED, "message %zu has a part of type \"%s\"\nonly text can be trained", i, json_string_value(type));
    if (!known || !chat_value_is_text(text)) return err_set(e, E_FORMAT, "message %zu has a part that is no text", i);
    json_t *one = json_pack("{s:s, s:O}", "type", "text", "text", text);
    return json_array_append_new(list, one) == 0 ? OK : err_set(e, E_NOMEM, "could not read a row\nout of memory");
}

static status set_content(json_t *out, const json_t *given, size_t i, err *e)
{
    status st = OK;
    json_t *v = get(given, "content"), *list = NULL, *part;
    size_t k;
    if (!v) return put(out, "content", json_string(""), e);
    if (chat_value_is_text(v)) return put(out, "content", json_incref(v), e);
    if (!json_is_array(v)) return err_set(e, E_FORMAT, "the content of message %zu is neither a text nor a list of parts", i);
    list = json_array();
    if (!list) return err_set(e, E_NOMEM, "could not read a row\nout of memory");
    json_array_foreach(v, k, part) TRY(add_part(list, part, i, e));
    TRY(put(out, "content", json_incref(list), e));
out:
    json_decref(list);
    return st;
}

static bool has_text(const json_t *content)
{
    const json_t *part;
    size_t k;
    bool any = chat_unicode_trim(chat_value_text(content)).n > 0;
    json_array_foreach(content, k, part) any = any || chat_unicode_trim(chat_value_text(json_object_get(part, "text"))).n > 0;
    return any;
}

/* ---- one message ------------------------------------------------------------------------------------------- */

/* "train": false, and OpenAI's "weight": 0. */
static status set_train(json_t *out, const json_t *given, size_t i, data_report *r, err *e)
{
    const json_t *train = get(given, "train"), *weight = get(given, "weight");
    if (train && !json_is_boolean(train)) return err_set(e, E_FORMAT, "\"train\" of message %zu must be true or false", i);
    if (weight && (!json_is_number(weight) || (json_number_value(weight) != 0 && json_number_value(weight) != 1)))
        return err_set(e, E_FORMAT, "\"weight\" of message %zu must be 0 or 1", i);
    if (!json_is_false(train) && !(weight && json_number_value(weight) == 0)) return OK;
    r->answers_untrained++;
    return put(out, "train", json_false(), e);
}

/* No arguments are an empty object, as in requests; a text of them is read later. */
static status add_call(json_t *list, const json_t *call, size_t i, err *e)
{
    json_t *name = get(get(call, "function"), "name"), *arguments = get(get(call, "function"), "arguments"), *id = get(call, "id");
    if (!chat_value_is_text(name) || !json_string_length(name)) return err_set(e, E_FORMAT, "a call of message %zu has no function with a name", i);
    json_t *one = json_pack("{s:{s:O, s:o}}", "function", "name", name, "arguments", arguments ? json_incref(arguments) : json_object());
    if (json_array_append_new(list, one) != 0) return err_set(e, E_NOMEM, "could not read a row\nout of memory");
    return id ? put(one, "id", json_incref(id), e) : OK;
}

static status set_calls(json_t *out, const json_t *given, size_t i, err *e)
{
    status st = OK;
    json_t *calls = get(given, "tool_calls"), *old = get(given, "function_call"), *inside = get(given, "tool_responses"), *call, *list = NULL, *wrapped = NULL;
    size_t k;
    if (calls && !json_is_array(calls)) return err_set(e, E_FORMAT, "\"tool_calls\" of message %zu is no list", i);
    list = json_array();
    wrapped = old ? json_pack("{s:O}", "function", old) : NULL;         /* the way before tools: one call without an id */
    if (!list || (old && !wrapped)) FAIL(e, E_NOMEM, "could not read a row\nout of memory");
    json_array_foreach(calls, k, call) TRY(add_call(list, call, i, e));
    if (old && !json_array_size(calls)) TRY(add_call(list, wrapped, i, e));
    if (json_array_size(list)) TRY(put(out, "tool_calls", json_incref(list), e));
    if (inside && chat_value_true(inside)) TRY(put(out, "tool_responses", json_incref(inside), e));
out:
    json_decref(list);
    json_decref(wrapped);
    return st;
}

static status read_assistant(json_t *out, const json_t *given, size_t i, data_report *r, err *e)
{
    status st = OK;
    TRY(set_thought(out, given, i, e));
    TRY(set_calls(out, given, i, e));
    if (chat_value_is_text(get(out, "content"))) TRY(move_thought(out, i, r, e));
    TRY(set_train(out, given, i, r, e));
    if (!get(out, "train") && !get(out, "tool_calls") && !has_text(get(out, "content"))) FAIL(e, E_FORMAT, "message %zu is an empty answer", i);
out:
    return st;
}

/* Owned: json_decref. */
static status read_message(json_t **out, const json_t *given, size_t i, data_report *r, err *e)
{
    static const char *const copied[] = { "name", "tool_call_id" };
    status st = OK;
    const char *role = NULL;
    json_t *m = NULL;
    if (!json_is_object(given)) FAIL(e, E_FORMAT, "message %zu is no object", i);
    for (size_t k = 0; k < COUNT_OF(roles); k++)
        if (chat_value_is(get(given, "role"), roles[k].given)) role = roles[k].role;
    if (!role) FAIL(e, E_FORMAT, "the role of message %zu is none of system, developer, user, assistant, tool", i);
    m = json_pack("{s:s}", "role", role);
    if (!m) FAIL(e, E_NOMEM, "could not read a row\nout of memory");
    for (size_t k = 0; k < COUNT_OF(copied); k++) {
        json_t *v = get(given, copied[k]);
        if (json_is_array(v) || json_is_object(v)) FAIL(e, E_FORMAT, "\"%s\" of message %zu is no text", copied[k], i);
        if (v) TRY(put(m, copied[k], json_incref(v), e));
    }
    TRY(set_content(m, given, i, e));
    if (strcmp(role, "assistant") == 0) TRY(read_assistant(m, given, i, r, e));
    *out = m;
    m = NULL;
out:
    json_decref(m);
    return st;
}

/* ---- the list ----------------------------------------------------------------------------------------------- */

/* An answer that carries the results of its own calls is two: the calls with their results, and what follows. */
static status add_message(json_t *list, json_t *m, err *e)
{
    status st = OK;
    json_t *rest = NULL;
    if (get(m, "tool_responses") && has_text(get(m, "content"))) {
        rest = json_pack("{s:s, s:O}", "role", "assistant", "content", get(m, "content"));
        if (!rest || (get(m, "train") && json_object_set(rest, "train", get(m, "train")) != 0)) FAIL(e, E_NOMEM, "could not read a row\nout of memory");
        TRY(put(m, "content", json_string(""), e));
    }
    if (json_array_append(list, m) != 0 || (rest && json_array_append(list, rest) != 0)) FAIL(e, E_NOMEM, "could not read a row\nout of memory");
out:
    json_decref(rest);
    return st;
}

/* Results follow calls, and calls have results or end the conversation: anything else the template would drop. */
static status check_results(const json_t *list, err *e)
{
    const json_t *m;
    size_t i;
    bool calls = false, inside = false, answered = false;
    json_array_foreach(list, i, m) {
        bool tool = chat_value_is(get(m, "role"), "tool");
        if (tool && !calls) return err_set(e, E_FORMAT, "message %zu is the result of a call, and no call stands before it", i);
        if (tool && inside) return err_set(e, E_FORMAT, "message %zu is the result of a call that has its results inside already", i);
        if (!tool && calls && !answered) return err_set(e, E_FORMAT, "message %zu follows a call that has no result", i);
        answered = tool;
        if (tool) continue;
        calls = get(m, "tool_calls") != NULL;
        inside = answered = get(m, "tool_responses") != NULL;
        if (inside && !calls) return err_set(e, E_FORMAT, "message %zu has the results of calls that it does not have", i);
    }
    return OK;
}

status data_talk_messages(json_t **out, const json_t *given, data_report *r, err *e)
{
    status st = OK;
    json_t *list = NULL, *normal = NULL, *m = NULL;
    const json_t *one;
    size_t i;
    if (json_array_size(given) == 0) FAIL(e, E_FORMAT, "it has no messages");
    if (json_array_size(given) > DATA_MESSAGES_MAX) FAIL(e, E_FORMAT, "it has %zu messages\nat most %d are taken", json_array_size(given), (int)DATA_MESSAGES_MAX);
    list = json_array();
    if (!list) FAIL(e, E_NOMEM, "could not read a row\nout of memory");
    json_array_foreach(given, i, one) {
        TRY(read_message(&m, one, i, r, e));
        TRY(add_message(list, m, e));
        json_decref(m);
        m = NULL;
    }
    TRY(chat_normalise(&normal, list, e));
    TRY(check_results(normal, e));
    *out = normal;
    normal = NULL;
out:
    json_decref(m);
    json_decref(list);
    json_decref(normal);
    return st;
}

/* A list, or its text; functions as they are or each in an object of type "function". */
status data_talk_tools(json_t **out, const json_t *given, err *e)
{
    status st = OK;
    json_t *list = NULL, *parsed = NULL, *tool;
    size_t i;
    if (chat_value_is_text(given) && chat_unicode_trim(chat_value_text(given)).n) {
        TRY(chat_value_read(&parsed, chat_value_text(given), "\"tools\"", e));
        given = parsed;
    }
    if (!given || json_is_string(given) || (json_is_array(given) && !json_array_size(given))) goto out;
    if (!json_is_array(given)) FAIL(e, E_FORMAT, "\"tools\" is no list");
    list = json_array();
    if (!list) FAIL(e, E_NOMEM, "could not read a row\nout of memory");
    json_array_foreach(given, i, tool) {
        json_t *function = json_is_object(get(tool, "function")) ? get(tool, "function") : tool;
        const json_t *name = get(function, "name");
        if (!chat_value_is_text(name) || !json_string_length(name)) FAIL(e, E_FORMAT, "tool %zu is no function with a name", i);
        if (json_array_append_new(list, json_pack("{s:s, s:O}", "type", "function", "function", function)) != 0)
            FAIL(e, E_NOMEM, "could not read a row\nout of memory");
    }
    *out = list;
    list = NULL;
out:
    json_decref(list);
    json_decref(parsed);
    return st;
}
