/* Messages of OpenAI's clients in the form that the template takes (file-formats section 7.4, rule 7). */
#include "text/chat.h"
#include "text/chat_value.h"

#define NO_MEMORY(e) err_set((e), E_NOMEM, "could not read the messages\nout of memory")

/* json_copy hides that it ran out of memory half-way; NULL then. */
static json_t *copy_of(const json_t *o)
{
    json_t *copy = json_copy((json_t *)o);
    if (json_object_size(copy) == json_object_size(o)) return copy;
    json_decref(copy);
    return NULL;
}

/* A call with its arguments as an object; borrowed parts are shared with the original. */
static status normal_call(json_t **out, const json_t *call, err *e)
{
    status st = OK;
    const json_t *original = json_object_get(call, "function"), *given = json_object_get(original, "arguments");
    json_t *copy = copy_of(call), *function = copy_of(original), *arguments = NULL;
    str text = chat_value_text(given);
    if (!copy || (original && !function)) FAIL(e, E_NOMEM, "could not read the messages\nout of memory");
    if (chat_value_is_text(given)) {
        if (text.n == 0) text = STR("{}");
        TRY(chat_value_read(&arguments, text, "the arguments of a tool call", e));
        if (!json_is_object(arguments)) FAIL(e, E_ARG, "the arguments of a tool call are not usable\nthey must be a JSON object");
        if (json_object_set(function, "arguments", arguments) != 0 || json_object_set(copy, "function", function) != 0) {
            st = NO_MEMORY(e);
            goto out;
        }
    }
    *out = copy;
    copy = NULL;
out:
    json_decref(copy);
    json_decref(function);
    json_decref(arguments);
    return st;
}

static status normal_calls(json_t *message, const json_t *calls, err *e)
{
    status st = OK;
    json_t *list = json_array();
    const json_t *call;
    size_t i;
    if (!list) FAIL(e, E_NOMEM, "could not read the messages\nout of memory");
    json_array_foreach(calls, i, call) {
        json_t *one = NULL;
        TRY(normal_call(&one, call, e));
        if (json_array_append_new(list, one) != 0) FAIL(e, E_NOMEM, "could not read the messages\nout of memory");
    }
    if (json_object_set(message, "tool_calls", list) != 0) FAIL(e, E_NOMEM, "could not read the messages\nout of memory");
out:
    json_decref(list);
    return st;
}

static status set_role(json_t *message, const char *role, err *e)
{
    return json_object_set_new(message, "role", json_string(role)) == 0 ? OK : NO_MEMORY(e);
}

static status normal_message(json_t **out, const json_t *message, err *e)
{
    status st = OK;
    json_t *copy = copy_of(message);
    const json_t *role = json_object_get(message, "role"), *calls = json_object_get(message, "tool_calls");
    json_t *thought = json_object_get(message, "reasoning_text");
    if (!copy) FAIL(e, E_NOMEM, "could not read the messages\nout of memory");
    if (chat_value_is(role, "developer")) TRY(set_role(copy, "system", e));
    if (chat_value_is(role, "function")) TRY(set_role(copy, "tool", e));
    if (json_is_array(calls)) TRY(normal_calls(copy, calls, e));
    bool has_thought = chat_value_true(json_object_get(message, "reasoning")) || chat_value_true(json_object_get(message, "reasoning_content"));
    if (thought && !has_thought && json_object_set(copy, "reasoning", thought) != 0) FAIL(e, E_NOMEM, "could not read the messages\nout of memory");
    *out = copy;
    copy = NULL;
out:
    json_decref(copy);
    return st;
}

status chat_normalise(json_t **out, const json_t *messages, err *e)
{
    status st = OK;
    json_t *list = NULL;
    const json_t *message;
    size_t i;
    if (!json_is_array(messages)) FAIL(e, E_ARG, "cannot read the messages\nthey are no list");
    list = json_array();
    if (!list) FAIL(e, E_NOMEM, "could not read the messages\nout of memory");
    json_array_foreach(messages, i, message) {
        json_t *one = NULL;
        if (!json_is_object(message)) FAIL(e, E_ARG, "cannot read the messages\nmessage %zu is no object", i);
        TRY(normal_message(&one, message, e));
        if (json_array_append_new(list, one) != 0) FAIL(e, E_NOMEM, "could not read the messages\nout of memory");
    }
    *out = list;
    list = NULL;
out:
    json_decref(list);
    return st;
}
