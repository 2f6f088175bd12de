/* The shapes that rows come in, and each as a conversation or a text. */
#include "base/bits.h"
#include "text/chat_value.h"
#include "tune/data_int.h"

static const char *const names[DATA_FORMS] = { "unknown", "messages", "ShareGPT", "Alpaca", "prompt and completion", "text", "chosen and rejected" };

const char *data_form_name(data_form f) { return names[f]; }

void data_talk_done(data_talk *t)
{
    json_decref(t->messages);
    json_decref(t->tools);
    json_decref(t->before);
    json_decref(t->text);
    *t = (data_talk){ .think = -1 };
}

static json_t *get(const json_t *o, const char *key)
{
    json_t *v = json_object_get(o, key);
    return v && !json_is_null(v) ? v : NULL;
}

static status no_memory(err *e) { return err_set(e, E_NOMEM, "could not read a row\nout of memory"); }

data_form data_shape_of(const json_t *row)
{
    if (json_is_array(get(row, "messages"))) return DATA_MESSAGES;
    if (json_is_array(get(row, "conversations")) || json_is_array(get(row, "conversation"))) return DATA_SHAREGPT;
    if (get(row, "chosen") && get(row, "rejected")) return DATA_PREFERENCE;
    if (get(row, "prompt") && get(row, "completion") && !get(row, "label")) return DATA_COMPLETION;
    if (get(row, "instruction") && json_object_get(row, "output")) return DATA_ALPACA;
    if (json_is_string(get(row, "text"))) return DATA_TEXT;
    return DATA_UNKNOWN;
}

/* ---- parts of a row ------------------------------------------------------------------------------------ */

/* Appends {"role", "content"}; value is shared. */
static status add_message(json_t *list, const char *role, json_t *value, bool trained, err *e)
{
    json_t *m = json_pack("{s:s, s:O}", "role", role, "content", value);
    if (m && !trained && json_object_set_new(m, "train", json_false()) != 0) {
        json_decref(m);
        m = NULL;
    }
    return m && json_array_append_new(list, m) == 0 ? OK : no_memory(e);
}

static status need_text(const json_t *row, const char *key, json_t **out, err *e)
{
    json_t *v = get(row, key);
    if (v && !chat_value_is_text(v)) return err_set(e, E_FORMAT, "\"%s\" is no text", key);
    *out = v;
    return OK;
}

/* What the row says of thinking, as requests say it: "enable_thinking", also inside "chat_template_kwargs". */
static status read_thinking(data_talk *t, const json_t *row, err *e)
{
    const json_t *places[] = { row, get(row, "chat_template_kwargs") };
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        const json_t *on = get(places[i], "enable_thinking"), *keep = get(places[i], "preserve_thinking");
        if ((on && !json_is_boolean(on)) || (keep && !json_is_boolean(keep)))
            return err_set(e, E_FORMAT, "\"enable_thinking\" and \"preserve_thinking\" must be true or false");
        if (on) t->think = json_is_true(on);
        if (keep) t->preserve_thinking = json_is_true(keep);
    }
    return OK;
}

/* messages as they came (borrowed) */
static status finish_talk(data_talk *t, const json_t *messages, const json_t *row, data_report *r, err *e)
{
    status st = OK;
    TRY(data_talk_messages(&t->messages, messages, r, e));
    TRY(data_talk_tools(&t->tools, get(row, "tools") ? get(row, "tools") : get(row, "functions"), e));
    TRY(read_thinking(t, row, e));
out:
    return st;
}

/* ---- ShareGPT ------------------------------------------------------------------------------------------- */

static const struct { const char *from, *role; } speakers[] = {
    { "human", "user" }, { "user", "user" }, { "gpt", "assistant" }, { "chatgpt", "assistant" }, { "assistant", "assistant" }, { "model", "assistant" },
    { "bing", "assistant" }, { "bard", "assistant" }, { "system", "system" }, { "function_call", "call" }, { "tool_call", "call" },
    { "observation", "tool" }, { "tool", "tool" }, { "tool_response", "tool" }, { "function_response", "tool" },
};

/* The text of a call, or of a list of calls: {"name", "arguments"}. */
static status add_calls(json_t *list, const json_t *value, err *e)
{
    status st = OK;
    json_t *parsed = NULL, *calls = json_array(), *one;
    size_t i;
    if (!calls) FAIL(e, E_NOMEM, "could not read a row\nout of memory");
    TRY(chat_value_read(&parsed, chat_value_text(value), "a call", e));
    for (i = 0; i < (json_is_array(parsed) ? json_array_size(parsed) : 1); i++) {
        one = json_is_array(parsed) ? json_array_get(parsed, i) : parsed;
        json_t *name = get(one, "name"), *arguments = get(one, "arguments");
        if (!arguments) arguments = get(one, "parameters");
        if (!chat_value_is_text(name)) FAIL(e, E_FORMAT, "a call has no \"name\"");
        json_t *call = arguments ? json_pack("{s:{s:O, s:O}}", "function", "name", name, "arguments", arguments)
                                 : json_pack("{s:{s:O, s:{}}}", "function", "name", name, "arguments");
        if (json_array_append_new(calls, call) != 0) FAIL(e, E_NOMEM, "could not read a row\nout of memory");
    }
    if (json_array_append_new(list, json_pack("{s:s, s:O}", "role", "assistant", "tool_calls", calls)) != 0) st = no_memory(e);
out:
    json_decref(parsed);
    json_decref(calls);
    return st;
}

static status add_speech(json_t *list, const json_t *one, size_t i, err *e)
{
    status st = OK;
    const json_t *from = get(one, "from"), *weight = get(one, "weight");
    json_t *value = get(one, "value");
    const char *role = NULL;
    if (get(one, "role")) return json_array_append(list, (json_t *)one) == 0 ? OK : no_memory(e);      /* OpenAI's messages under this key */
    for (size_t k = 0; k < COUNT_OF(speakers); k++)
        if (chat_value_is(from, speakers[k].from)) role = speakers[k].role;
    if (!role) FAIL(e, E_FORMAT, "message %zu is from nobody known\n\"from\" is human, gpt, system, function_call or observation", i);
    if (!chat_value_is_text(value)) FAIL(e, E_FORMAT, "message %zu has no text \"value\"", i);
    if (strcmp(role, "call") == 0) TRY(add_calls(list, value, e));
    else TRY(add_message(list, role, value, !(json_is_number(weight) && json_number_value(weight) == 0), e));
out:
    return st;
}

static status read_sharegpt(data_talk *t, const json_t *row, data_report *r, err *e)
{
    status st = OK;
    const json_t *given = json_is_array(get(row, "conversations")) ? get(row, "conversations") : get(row, "conversation"), *one;
    json_t *system = NULL, *list = json_array();
    size_t i;
    if (!list) FAIL(e, E_NOMEM, "could not read a row\nout of memory");
    TRY(need_text(row, "system", &system, e));
    if (json_string_length(system)) TRY(add_message(list, "system", system, true, e));
    json_array_foreach(given, i, one) TRY(add_speech(list, one, i, e));
    TRY(finish_talk(t, list, row, r, e));
out:
    json_decref(list);
    return st;
}

/* ---- Alpaca --------------------------------------------------------------------------------------------- */

static status add_history(json_t *list, const json_t *history, err *e)
{
    status st = OK;
    const json_t *pair;
    size_t i;
    if (history && !json_is_array(history)) FAIL(e, E_FORMAT, "\"history\" is no list");
    json_array_foreach(history, i, pair) {
        json_t *question = json_array_get(pair, 0), *answer = json_array_get(pair, 1);
        if (json_array_size(pair) != 2 || !chat_value_is_text(question) || !chat_value_is_text(answer))
            FAIL(e, E_FORMAT, "\"history\" must have pairs of a question and an answer");
        TRY(add_message(list, "user", question, true, e));
        TRY(add_message(list, "assistant", answer, true, e));
    }
out:
    return st;
}

static status read_alpaca(data_talk *t, const json_t *row, data_report *r, err *e)
{
    status st = OK;
    json_t *question = NULL, *input = NULL, *answer = NULL, *system = NULL, *both = NULL, *list = json_array();
    buf b;
    buf_init(&b, SIZE_MAX / 4);
    if (!list) FAIL(e, E_NOMEM, "could not read a row\nout of memory");
    TRY(need_text(row, "system", &system, e));
    TRY(need_text(row, "instruction", &question, e));
    TRY(need_text(row, "input", &input, e));
    TRY(need_text(row, "output", &answer, e));
    if (!answer) FAIL(e, E_FORMAT, "\"output\" is missing");
    TRY(buf_add(&b, chat_value_text(question).p, chat_value_text(question).n, e));
    if (chat_value_text(input).n) {
        TRY(buf_add(&b, "\n", 1, e));
        TRY(buf_add(&b, chat_value_text(input).p, chat_value_text(input).n, e));
    }
    both = json_stringn(buf_text(&b), b.len);
    if (!both) FAIL(e, E_NOMEM, "could not read a row\nout of memory");
    if (chat_value_text(system).n) TRY(add_message(list, "system", system, true, e));
    TRY(add_history(list, get(row, "history"), e));
    TRY(add_message(list, "user", both, true, e));
    TRY(add_message(list, "assistant", answer, true, e));
    TRY(finish_talk(t, list, row, r, e));
out:
    buf_done(&b);
    json_decref(both);
    json_decref(list);
    return st;
}

/* ---- prompt and completion, chosen and rejected ----------------------------------------------------------- */

/* Appends a text as a message of that role, or a list of messages as it is; their answers are trained or not. */
static status add_side(json_t *list, const json_t *v, const char *role, bool trained, err *e)
{
    status st = OK;
    const json_t *one;
    json_t *copy = NULL;
    size_t i;
    if (json_is_string(v)) return add_message(list, role, (json_t *)v, trained, e);
    json_array_foreach(v, i, one) {
        json_decref(copy);
        copy = json_is_object(one) ? data_talk_copy(one) : json_incref((json_t *)one);      /* no object is refused later */
        if (!copy || (!trained && json_is_object(copy) && json_object_set_new(copy, "train", json_false()) != 0) || json_array_append(list, copy) != 0)
            FAIL(e, E_NOMEM, "could not read a row\nout of memory");
    }
out:
    json_decref(copy);
    return st;
}

static status check_side(const json_t *v, const char *key, err *e)
{
    if (chat_value_is_text(v) || (json_is_array(v) && json_array_size(v) > 0)) return OK;
    return err_set(e, E_FORMAT, "\"%s\" is neither a text nor a list of messages", key);
}

/* prompt may be NULL.  *raw: texts that go on, not messages. */
static status read_answer(data_talk *t, const json_t *row, const json_t *prompt, const json_t *answer, const char *key, const data_opts *o, data_report *r,
                          err *e)
{
    status st = OK;
    json_t *list = NULL;
    if (prompt) TRY(check_side(prompt, "prompt", e));
    TRY(check_side(answer, key, e));
    if (json_is_string(answer) && (!prompt || json_is_string(prompt)) && !o->strings_are_chat) {
        t->before = json_incref((json_t *)prompt);
        t->text = json_incref((json_t *)answer);
        goto out;
    }
    list = json_array();
    if (!list) FAIL(e, E_NOMEM, "could not read a row\nout of memory");
    TRY(add_side(list, prompt, "user", false, e));
    TRY(add_side(list, answer, "assistant", true, e));
    TRY(finish_talk(t, list, row, r, e));
out:
    json_decref(list);
    return st;
}

/* One sequence for each side: the last message is the answer, all before it the context. */
static status read_preference(data_talk out[2], const json_t *row, const data_opts *o, data_report *r, err *e)
{
    static const char *const keys[] = { "chosen", "rejected" };
    status st = OK;
    for (int i = 0; i < 2; i++) {
        TRY(read_answer(&out[i], row, get(row, "prompt"), get(row, keys[i]), keys[i], o, r, e));
        out[i].side = i ? DATA_REJECTED : DATA_CHOSEN;
        out[i].last_only = true;
    }
    if (!out[0].messages != !out[1].messages) FAIL(e, E_FORMAT, "\"chosen\" and \"rejected\" are not of the same kind");
    size_t n = json_array_size(out[0].messages);
    if (n != json_array_size(out[1].messages)) FAIL(e, E_FORMAT, "\"chosen\" and \"rejected\" differ before their last message");
    for (size_t i = 0; i + 1 < n; i++)
        if (!json_equal(json_array_get(out[0].messages, i), json_array_get(out[1].messages, i)))
            FAIL(e, E_FORMAT, "\"chosen\" and \"rejected\" differ before their last message\nin message %zu", i);
out:
    return st;
}

static status read_text(data_talk *t, const json_t *row, err *e)
{
    json_t *text = NULL;
    status st = need_text(row, "text", &text, e);
    if (st == OK && !text) st = err_set(e, E_FORMAT, "\"text\" is missing");
    if (st == OK) t->text = json_incref(text);
    return st;
}

status data_shape_read(data_talk out[2], int *count, const json_t *row, data_form form, const data_opts *o, data_report *r, err *e)
{
    out[0] = out[1] = (data_talk){ .think = -1 };
    *count = form == DATA_PREFERENCE ? 2 : 1;
    switch (form) {
    case DATA_MESSAGES:   return finish_talk(&out[0], get(row, "messages"), row, r, e);
    case DATA_SHAREGPT:   return read_sharegpt(&out[0], row, r, e);
    case DATA_ALPACA:     return read_alpaca(&out[0], row, r, e);
    case DATA_COMPLETION: return read_answer(&out[0], row, get(row, "prompt"), get(row, "completion"), "completion", o, r, e);
    case DATA_PREFERENCE: return read_preference(out, row, o, r, e);
    case DATA_TEXT:       return read_text(&out[0], row, e);
    default:              return err_set(e, E_FORMAT, "its shape is not known");
    }
}
