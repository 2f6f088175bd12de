/* A conversation as the newest official templates print it. */
#include "text/chat.h"

#include "base/bits.h"
#include "text/chat_int.h"
#include "text/chat_unicode.h"

/* What was printed last for a message, as far as the end of the prompt depends on it. */
typedef enum last_part { PART_OTHER, PART_CALL, PART_RESPONSE } last_part;

typedef struct render {
    chat_prompt *out;
    const chat_opts *o;
    const json_t *messages;      /* without the system message at the start */
    size_t first, count;         /* messages[first + i], i < count */
    size_t last_user;            /* i + 1 of the last user message, 0: none */
    size_t *next_turn;           /* [count] index of the next message that is no tool result, or count */
    last_part last;
    const char *previous_role;   /* of the last message that was no tool result */
} render;

static const json_t *message_at(const render *r, size_t i) { return json_array_get(r->messages, r->first + i); }

static const char *role_of(const json_t *message) { return json_string_value(json_object_get(message, "role")); }

/* message.get(key): null when absent. */
static const json_t *get(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return v ? v : json_null();
}

/* ---- text of a message ------------------------------------------------------------------------- */

/* What lies between <|channel> and <channel|> is an old thought; an open one reaches to the end. */
static status without_thoughts(chat_prompt *p, str text, err *e)
{
    status st = OK;
    const str open = STR("<|channel>"), close = STR("<channel|>");
    buf b;
    buf_init(&b, SIZE_MAX / 4);
    for (;;) {
        size_t end = str_find(text, close);
        str piece = { text.p, end };
        TRY(buf_add(&b, piece.p, str_find(piece, open), e));
        if (end == text.n) break;
        text = str_skip(text, end + close.n);
    }
    TRY(chat_write_data(p, chat_unicode_trim((str){ buf_text(&b), b.len }), e));
out:
    buf_done(&b);
    return st;
}

/* v | trim */
static status trimmed(chat_prompt *p, const json_t *v, err *e)
{
    status st = OK;
    buf b;
    buf_init(&b, SIZE_MAX / 4);
    TRY(chat_value_print(&b, v, e));
    TRY(chat_write_data(p, chat_unicode_trim((str){ buf_text(&b), b.len }), e));
out:
    buf_done(&b);
    return st;
}

/* <|image|>, <|audio|>, <|video|> for a part of that type. */
static status placeholder(chat_prompt *p, const json_t *type, err *e)
{
    if (chat_value_is(type, "image") || chat_value_is(type, "image_url")) return chat_write_text(p, "<|image|>", e);
    if (chat_value_is(type, "audio") || chat_value_is(type, "input_audio")) return chat_write_text(p, "<|audio|>", e);
    if (chat_value_is(type, "video")) return chat_write_text(p, "<|video|>", e);
    return OK;
}

/* A list of parts; an object in its place is a list of its keys, which are no parts unless there are none. */
static status check_parts(const json_t *content, err *e)
{
    const json_t *part;
    size_t i;
    bool bad = json_object_size(content) > 0;
    json_array_foreach(content, i, part) bad = bad || !json_is_object(part);
    return bad ? err_set(e, E_ARG, "cannot render the conversation\na part of a message's content is no object") : OK;
}

static status content_parts(chat_prompt *p, const json_t *content, bool model, err *e)
{
    status st = OK;
    const json_t *part;
    size_t i;
    TRY(check_parts(content, e));
    json_array_foreach(content, i, part) {
        const json_t *type = get(part, "type"), *text = json_object_get(part, "text");
        if (!chat_value_is(type, "text")) TRY(placeholder(p, type, e));
        else if (!model) TRY(trimmed(p, text, e));
        else if (chat_value_is_text(text)) TRY(without_thoughts(p, chat_value_text(text), e));
        else FAIL(e, E_ARG, "cannot render the conversation\na text part of an assistant message has no text");
    }
out:
    return st;
}

static status content(chat_prompt *p, const json_t *v, bool model, err *e)
{
    if (!chat_value_is_text(v)) return content_parts(p, v, model, e);
    return model ? without_thoughts(p, chat_value_text(v), e) : trimmed(p, v, e);
}

/* ---- tool results ------------------------------------------------------------------------------ */

static int dump_part(const char *p, size_t n, void *b) { return buf_add(b, p, n, NULL) == OK ? 0 : -1; }

/* A text that is equal for ids which Python calls equal (1, 1.0 and True are). */
static status id_text(buf *b, const json_t *id, err *e)
{
    double d = json_real_value(id);
    buf_clear(b);
    if (json_is_boolean(id)) return buf_add_str(b, json_is_true(id) ? "1" : "0", e);
    if (json_is_real(id) && d > -1e15 && d < 1e15 && d == (double)(int64_t)d) return buf_addf(b, e, "%lld", (long long)d);
    if (json_dump_callback(id, dump_part, b, JSON_ENCODE_ANY | JSON_SORT_KEYS | JSON_COMPACT) == 0) return OK;
    return err_set(e, E_NOMEM, "could not render the conversation\nout of memory");
}

/* Id of a call -> its name; the last call with an id counts. */
static status index_calls(const json_t *calls, json_t **out, err *e)
{
    status st = OK;
    buf b;
    buf_init(&b, SIZE_MAX / 4);
    const json_t *call;
    size_t i;
    json_t *index = json_object();
    if (!index) FAIL(e, E_NOMEM, "could not render the conversation\nout of memory");
    json_array_foreach(calls, i, call) {
        TRY(id_text(&b, get(call, "id"), e));
        if (json_object_set(index, buf_text(&b), json_object_get(json_object_get(call, "function"), "name")) != 0)
            FAIL(e, E_NOMEM, "could not render the conversation\nout of memory");
    }
    *out = index;
    index = NULL;
out:
    json_decref(index);
    buf_done(&b);
    return st;
}

/* The text parts of a result are one string; its images follow the block. */
static status result_parts(chat_prompt *p, const json_t *name, const json_t *body, err *e)
{
    status st = OK;
    const json_t *part;
    json_t *text = NULL;
    size_t i;
    buf b;
    buf_init(&b, SIZE_MAX / 4);
    TRY(check_parts(body, e));
    json_array_foreach(body, i, part) {
        if (!chat_value_is(get(part, "type"), "text")) continue;
        const json_t *v = get(part, "text");
        if (!chat_value_is_text(v)) FAIL(e, E_ARG, "cannot render the conversation\na text part of a tool's result has no text");
        TRY(buf_add(&b, chat_value_text(v).p, chat_value_text(v).n, e));
    }
    text = json_stringn(buf_text(&b), b.len);
    if (!text) FAIL(e, E_NOMEM, "could not render the conversation\nout of memory");
    TRY(chat_tools_response(p, name, text, e));
    json_array_foreach(body, i, part) TRY(placeholder(p, get(part, "type"), e));
out:
    json_decref(text);
    buf_done(&b);
    return st;
}

static status result(chat_prompt *p, const json_t *message, const json_t *index, buf *id, err *e)
{
    status st = OK;
    json_t *unknown = NULL;
    const json_t *name = get(message, "name"), *body = get(message, "content");
    TRY(id_text(id, get(message, "tool_call_id"), e));
    const json_t *called = json_object_get(index, buf_text(id));
    if (called) name = called;
    if (!chat_value_true(name)) name = unknown = json_string("unknown");
    if (!name) FAIL(e, E_NOMEM, "could not render the conversation\nout of memory");
    if (json_is_array(body) || json_is_object(body)) TRY(result_parts(p, name, body, e));
    else TRY(chat_tools_response(p, name, body, e));
out:
    json_decref(unknown);
    return st;
}

/* The messages with role "tool" right after message i answer its calls. */
static status results_after(render *r, size_t i, const json_t *calls, bool *any, err *e)
{
    status st = OK;
    json_t *index = NULL;
    buf id;
    buf_init(&id, SIZE_MAX / 4);
    for (size_t k = i + 1; k < r->next_turn[i]; k++) {
        if (!index) TRY(index_calls(calls, &index, e));
        TRY(result(r->out, message_at(r, k), index, &id, e));
        *any = true;
    }
out:
    json_decref(index);
    buf_done(&id);
    return st;
}

/* tool_responses on the assistant message itself: the older form. */
static status results_inside(render *r, const json_t *list, bool *any, err *e)
{
    status st = OK;
    json_t *items = NULL, *item, *unknown = json_string("unknown");
    size_t i;
    if (!unknown) FAIL(e, E_NOMEM, "could not render the conversation\nout of memory");
    TRY(chat_value_list(list, "\"tool_responses\"", &items, e));
    json_array_foreach(items, i, item) {
        const json_t *name = json_object_get(item, "name");
        TRY(chat_tools_response(r->out, chat_value_true(name) ? name : unknown, json_object_get(item, "response"), e));
        *any = true;
    }
out:
    json_decref(items);
    json_decref(unknown);
    return st;
}

/* ---- one message ------------------------------------------------------------------------------- */

static status thought(render *r, size_t i, const json_t *message, err *e)
{
    status st = OK;
    const json_t *text = get(message, "reasoning");
    if (!chat_value_true(text)) text = get(message, "reasoning_content");
    bool shown = i + 1 > r->last_user || (r->o->preserve_thinking && chat_value_true(get(message, "tool_calls")));
    if (!shown || !chat_value_true(text)) return OK;
    if (!chat_value_is_text(text)) FAIL(e, E_ARG, "cannot render the conversation\nthe reasoning of a message is no string");
    TRY(chat_write_text(r->out, "<|channel>thought\n", e));
    TRY(chat_write_data(r->out, chat_value_text(text), e));
    TRY(chat_write_text(r->out, "\n<channel|>", e));
out:
    return st;
}

/* Calls, then their results; *answered: there were results. */
static status calls_and_results(render *r, size_t i, const json_t *message, bool *answered, err *e)
{
    status st = OK;
    const json_t *calls = get(message, "tool_calls"), *inside = get(message, "tool_responses"), *call;
    size_t k;
    if (chat_value_true(calls)) {
        if (!json_is_array(calls)) FAIL(e, E_ARG, "cannot render the conversation\n\"tool_calls\" of a message is no list of calls");
        json_array_foreach(calls, k, call) TRY(chat_tools_call(r->out, call, e));
        r->last = PART_CALL;
    }
    if (chat_value_true(inside)) TRY(results_inside(r, inside, answered, e));
    else if (chat_value_true(calls)) TRY(results_after(r, i, calls, answered, e));
    if (*answered) r->last = PART_RESPONSE;
out:
    return st;
}

static status render_message(render *r, size_t i, err *e)
{
    status st = OK;
    const json_t *message = message_at(r, i);
    const char *role = role_of(message), *name = strcmp(role, "assistant") == 0 ? "model" : role;
    bool model = strcmp(name, "model") == 0, answered = false;
    size_t next = r->next_turn[i];
    r->last = PART_OTHER;
    if (!(model && strcmp(r->previous_role, "assistant") == 0)) {
        TRY(chat_write_text(r->out, "<|turn>", e));
        TRY(chat_write_data(r->out, str_from(name), e));
        TRY(chat_write_text(r->out, "\n", e));
    }
    r->out->last = r->out->text.len;
    TRY(thought(r, i, message, e));
    TRY(calls_and_results(r, i, message, &answered, e));
    size_t begin = r->out->text.len;
    TRY(content(r->out, get(message, "content"), model, e));
    bool has_content = chat_unicode_trim(str_skip((str){ buf_text(&r->out->text), r->out->text.len }, begin)).n > 0;
    /* Consecutive assistant messages are one turn; a call waits for its result; a result for the model's reaction. */
    bool goes_on = model && next < r->count && strcmp(role_of(message_at(r, next)), "assistant") == 0 &&
                   (answered || !chat_value_true(get(message, "tool_calls")));
    if (r->last == PART_CALL && !answered) TRY(chat_write_text(r->out, "<|tool_response>", e));
    else if (!goes_on && !(answered && !has_content && next == r->count)) TRY(chat_write_text(r->out, "<turn|>\n", e));
    r->previous_role = role;
out:
    return st;
}

/* ---- the whole --------------------------------------------------------------------------------- */

/* Text of a system message: a string, or parts with a space after each. */
static status system_text(chat_prompt *p, const json_t *v, err *e)
{
    status st = OK;
    json_t *parts = NULL, *part;
    size_t i;
    if (chat_value_is_text(v)) return trimmed(p, v, e);
    if (!json_is_array(v) && !json_is_object(v)) return OK;
    TRY(chat_value_list(v, "content", &parts, e));
    json_array_foreach(parts, i, part) {
        TRY(trimmed(p, json_object_get(part, "text"), e));
        TRY(chat_write_text(p, " ", e));
    }
out:
    json_decref(parts);
    return st;
}

static status system_block(render *r, const json_t *system, const json_t *tools, err *e)
{
    status st = OK;
    json_t *list = NULL, *tool;
    size_t i;
    TRY(chat_write_text(r->out, "<|turn>system\n", e));
    if (r->o->think) TRY(chat_write_text(r->out, "<|think|>\n", e));
    if (system) TRY(system_text(r->out, json_object_get(system, "content"), e));
    if (chat_value_true(tools)) {
        TRY(chat_value_list(tools, "\"tools\"", &list, e));
        json_array_foreach(list, i, tool) TRY(chat_tools_declaration(r->out, tool, e));
    }
    TRY(chat_write_text(r->out, "<turn|>\n", e));
out:
    json_decref(list);
    return st;
}

static status generation_prompt(chat_prompt *p, const chat_opts *o, err *e)
{
    status st = OK;
    TRY(chat_write_text(p, "<|turn>model\n", e));
    if (o->variant == CHAT_LARGE && !o->think) TRY(chat_write_text(p, "<|channel>thought\n<channel|>", e));
out:
    return st;
}

/* Every message has a role; notes the last user message and, for each, the next one that is no tool result. */
static status scan(render *r, err *e)
{
    size_t n = r->count, next = n;
    r->next_turn = mem_array(n, sizeof *r->next_turn, MEM_TEXT);
    if (!r->next_turn) return err_set(e, E_NOMEM, "could not render the conversation\nout of memory");
    for (size_t i = n; i-- > 0;) {
        const json_t *role = json_object_get(message_at(r, i), "role");
        if (!chat_value_is_text(role) || strlen(json_string_value(role)) != json_string_length(role))
            return err_set(e, E_ARG, "cannot render the conversation\nmessage %zu has no \"role\" that is a string\n"
                           "Roles are system, developer, user, assistant and tool.", r->first + i);
        r->next_turn[i] = next;
        if (!chat_value_is(role, "tool")) next = i;
        if (!r->last_user && chat_value_is(role, "user")) r->last_user = i + 1;
    }
    return OK;
}

status chat_render(chat_prompt *out, const json_t *messages, const json_t *tools, const chat_opts *o, err *e)
{
    status st = OK;
    render r = { .out = out, .o = o, .messages = messages, .count = json_array_size(messages), .previous_role = "" };
    const json_t *system = json_array_get(messages, 0), *role = json_object_get(system, "role");
    if (!json_is_array(messages)) FAIL(e, E_ARG, "cannot render the conversation\n\"messages\" is no list");
    if (chat_value_is(role, "system") || chat_value_is(role, "developer")) r.first = 1, r.count--;
    else system = NULL;
    TRY(scan(&r, e));
    TRY(chat_write_text(out, "<bos>", e));
    if (o->think || chat_value_true(tools) || system) TRY(system_block(&r, system, tools, e));
    for (size_t i = 0; i < r.count; i++)
        if (strcmp(role_of(message_at(&r, i)), "tool") != 0) TRY(render_message(&r, i, e));
    if (o->generation_prompt && r.last == PART_OTHER) TRY(generation_prompt(out, o, e));
    else if (o->generation_prompt && r.last == PART_RESPONSE && o->think) TRY(chat_write_text(out, "<|channel>thought\n", e));
out:
    mem_free(r.next_turn);
    return st;
}

status chat_read(json_t **out, str text, const char *what, err *e)
{
    json_t *j = NULL;
    status st = chat_value_read(&j, text, what, e);
    if (st != OK) return st;
    if (!json_is_object(j) || !json_is_array(json_object_get(j, "messages"))) {
        json_decref(j);
        return err_set(e, E_FORMAT, "%s is no conversation\nit must be an object with a list \"messages\"\n"
                       "Example: {\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}], \"add_generation_prompt\": true}", what);
    }
    *out = j;
    return OK;
}

status chat_render_conversation(chat_prompt *out, const json_t *c, chat_variant variant, err *e)
{
    chat_opts o = {
        .variant = variant,
        .think = chat_value_true(json_object_get(c, "enable_thinking")),
        .preserve_thinking = chat_value_true(json_object_get(c, "preserve_thinking")),
        .generation_prompt = chat_value_true(json_object_get(c, "add_generation_prompt")),
    };
    return chat_render(out, json_object_get(c, "messages"), json_object_get(c, "tools"), &o, e);
}

status chat_open_turn(chat_prompt *p, const chat_opts *o, err *e)
{
    str text = { buf_text(&p->text), p->text.len };
    return str_ends(text, "<turn|>\n") ? generation_prompt(p, o, e) : OK;
}
