/* Answers held to a schema and calls held to the declared functions, over HTTP: the miniature would do neither by itself. */
#include "support/client.h"
#include "support/contract.h"
#include "support/server.h"
#include "support/test.h"

#define CHAT "/v1/chat/completions"
#define MESSAGES "/v1/messages"
#define QUESTION "\"messages\":[{\"role\":\"user\",\"content\":\"What is 12 + 30?\"}]"
#define WILD "\"temperature\":2,\"top_p\":1,\"top_k\":0"
#define SCHEMA "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"minLength\":2,\"maxLength\":6},\"n\":{\"type\":\"integer\",\"minimum\":3,\"maximum\":5}}," \
               "\"required\":[\"name\",\"n\"],\"additionalProperties\":false}"
#define NOT_ENFORCED "{\"type\":\"object\",\"properties\":{\"n\":{\"enum\":[1,2],\"not\":{\"const\":1}}},\"required\":[\"n\"]}"
#define FUNCTION(name, more) "{\"type\":\"function\",\"function\":{\"name\":\"" name "\"" more ",\"parameters\":{\"type\":\"object\",\"properties\":" \
                             "{\"unit\":{\"enum\":[\"celsius\",\"kelvin\"]},\"days\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":3}},\"required\":[\"unit\",\"days\"]}}}"
#define TOOLS "\"tools\":[" FUNCTION("weather", "") "," FUNCTION("mcp.sky-v2:get/now", "") "]"

static test_server *server;
static int port;

static int start(void **state)
{
    (void)state;
    return test_server_setup(&server, &port, (serve_opts){ .engine = { .ctx = 2048, .parallel = 4 } });
}

static int stop(void **state)
{
    (void)state;
    return test_server_teardown(server);
}

static json_t *post(const char *fields)
{
    char body[8192];
    snprintf(body, sizeof body, "{%s}", fields);
    return contract_post(port, CHAT, body);
}

static json_t *message_of(const json_t *v, size_t i) { return json_object_get(json_array_get(json_object_get(v, "choices"), i), "message"); }

static json_t *parsed(const char *text)
{
    json_t *v = NULL;
    err e = { 0 };
    if (json_parse(&v, str_from(text), "the answer", true, &e) != OK) fail_msg("no JSON: %s", text);
    return v;
}

static void check_person(const char *text)
{
    json_t *o = parsed(text);
    contract_keys(o, "name n");
    size_t n = json_string_length(json_object_get(o, "name"));
    assert_true(n >= 2 && n <= 24 && contract_int(o, "n") >= 3 && contract_int(o, "n") <= 5);
    json_decref(o);
}

/* ---- a schema ------------------------------------------------------------------------------------------------ */

static void json_schema(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"person\",\"strict\":true,\"schema\":" SCHEMA "}}",
        "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"person\",\"schema\":" SCHEMA "}}",
        "\"response_format\":{\"type\":\"json_schema\",\"schema\":" SCHEMA "}", "\"response_format\":{\"type\":\"json_object\",\"schema\":" SCHEMA "}" };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char fields[2048];
        snprintf(fields, sizeof fields, "%s,%s," QUESTION ",\"seed\":%zu,\"n\":4", forms[i], i % 2 ? "\"temperature\":0" : WILD, i);
        json_t *v = post(fields);
        for (size_t k = 0; k < 4; k++) check_person(contract_text(message_of(v, k), "content"));
        json_decref(v);
    }
    /* any object: of itself the miniature would not come to an end */
    char fields[256];
    json_t *ids = contract_post(port, "/tokenize", "{\"content\":\"}\"}");
    snprintf(fields, sizeof fields, "\"response_format\":{\"type\":\"json_object\"}," QUESTION ",\"temperature\":0,\"logit_bias\":{\"%d\":100}",
             (int)json_integer_value(json_array_get(json_object_get(ids, "tokens"), 0)));
    json_t *v = post(fields), *o = parsed(contract_text(message_of(v, 0), "content"));
    assert_true(json_is_object(o));
    json_decref(o);
    json_decref(v);
    json_decref(ids);
}

/* The thought stays free, the answer behind it does not. */
static void thought_then_json(void **state)
{
    (void)state;
    json_t *v = post("\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"p\",\"schema\":" SCHEMA "}}," QUESTION ",\"temperature\":0,\"reasoning_effort\":\"low\"");
    assert_true(strlen(contract_text(message_of(v, 0), "reasoning_content")) > 2);
    check_person(contract_text(message_of(v, 0), "content"));
    json_decref(v);
}

static void streamed_json(void **state)
{
    (void)state;
    client_reply r;
    buf text;
    size_t i;
    json_t *ev;
    buf_init(&text, 1 << 16);
    client_ask(port, "POST", CHAT, "", "{\"stream\":true,\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"p\",\"schema\":" SCHEMA "}}," WILD "," QUESTION "}", &r);
    json_t *events = client_events(&r);
    json_array_foreach(events, i, ev) {
        const json_t *choice = json_array_get(json_object_get(json_object_get(ev, "data"), "choices"), 0);
        const char *piece = json_string_value(json_object_get(json_object_get(choice, "delta"), "content"));
        if (piece) buf_add_str(&text, piece, NULL);
    }
    check_person(buf_text(&text));
    buf_done(&text);
    json_decref(events);
    client_done(&r);
}

static void expect_refused(const char *path, const char *fields, const char *param, const char *word)
{
    char body[4096];
    int code = 0;
    snprintf(body, sizeof body, "{%s}", fields);
    json_t *v = client_post(port, path, body, &code), *e = json_object_get(v, "error");
    if (code != 400) fail_msg("%d, not 400: %s", code, body);
    if (param) assert_string_equal(contract_text(e, "param"), param);
    if (!strstr(contract_text(e, "message"), word)) fail_msg("no \"%s\" in: %s", word, contract_text(e, "message"));
    json_decref(v);
}

static void expect_warned(const char *path, const char *fields, const char *names)
{
    char body[4096];
    client_reply r;
    snprintf(body, sizeof body, "{%s}", fields);
    client_ask(port, "POST", path, "", body, &r);
    if (r.code != 200) fail_msg("%d: %s", r.code, buf_text(&r.body));
    const char *said = client_header(&r, "X-Facet-Not-Enforced");
    if (names ? !said || strcmp(said, names) != 0 : said != NULL) fail_msg("said: %s", said ? said : "nothing");
    client_done(&r);
}

#define FORMAT(schema, more) "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\"" more ",\"schema\":" schema "}}," QUESTION

static void not_enforced(void **state)
{
    (void)state;
    expect_refused(CHAT, FORMAT(NOT_ENFORCED, ",\"strict\":true"), "response_format", "not");
    expect_warned(CHAT, FORMAT(NOT_ENFORCED, ""), "not");
    expect_warned(CHAT, FORMAT(NOT_ENFORCED, ",\"strict\":false") ",\"stream\":true", "not");
    expect_warned(CHAT, FORMAT(SCHEMA, ",\"strict\":true"), NULL);
    expect_refused(CHAT, FORMAT("{\"type\":\"number\",\"minimum\":\"x\"}", ""), "response_format", "minimum");
    expect_refused(CHAT, FORMAT("{\"allOf\":[{\"type\":\"null\"},{\"type\":\"object\"}]}", ""), "response_format", "no value");
    expect_refused(CHAT, FORMAT("{\"$ref\":\"#/nowhere\"}", ""), "response_format", "$ref");
    expect_refused(CHAT, FORMAT("7", ""), "response_format", "schema");
    expect_refused(CHAT, "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\"}}," QUESTION, "response_format", "schema");
#define STRICT_TOOL(more) "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"" more ",\"parameters\":" NOT_ENFORCED "}}]," QUESTION ",\"max_tokens\":30"
    expect_refused(CHAT, STRICT_TOOL(",\"strict\":true"), "tools", "not");
    expect_warned(CHAT, STRICT_TOOL(",\"strict\":false"), "not");
    /* a function with a schema that nobody can use can still be called, unless it is strict */
#define BROKEN_TOOL(more) "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"" more ",\"parameters\":{\"type\":\"object\",\"properties\":{\"a\":" \
                          "{\"type\":\"strin\"}}}}}," FUNCTION("weather", "") "],\"tool_choice\":\"required\",\"seed\":6,\"max_tokens\":60," QUESTION
    expect_refused(CHAT, BROKEN_TOOL(",\"strict\":true"), "tools", "type");
    expect_warned(CHAT, BROKEN_TOOL(""), "parameters of f");
    expect_warned(CHAT, BROKEN_TOOL(",\"strict\":false"), "parameters of f");
    /* a name in a schema is not a line of the head */
    expect_warned(CHAT, FORMAT("{\"type\":\"boolean\",\"x\\r\\nSet-Cookie: a\":{\"b\":1}}", ""), "x??Set-Cookie: a");
}

/* ---- calls ----------------------------------------------------------------------------------------------------- */

/* How many calls there are; each is of `name` (NULL: any declared) and as its schema says. */
static size_t check_calls(const json_t *message, const char *name)
{
    size_t i;
    json_t *call;
    json_array_foreach(json_object_get(message, "tool_calls"), i, call) {
        const json_t *f = json_object_get(call, "function");
        if (name) assert_string_equal(contract_text(f, "name"), name);
        json_t *o = parsed(contract_text(f, "arguments"));
        contract_keys(o, "unit days");
        const char *unit = contract_text(o, "unit");
        assert_true(strcmp(unit, "celsius") == 0 || strcmp(unit, "kelvin") == 0);
        assert_in_range(contract_int(o, "days"), 1, 3);
        json_decref(o);
    }
    return i;
}

static size_t calls_of(const char *fields, const char *name)
{
    json_t *v = post(fields);
    size_t n = check_calls(message_of(v, 0), name);
    const char *finish = contract_text(json_array_get(json_object_get(v, "choices"), 0), "finish_reason");
    assert_string_equal(finish, n ? "tool_calls" : "stop");
    json_decref(v);
    return n;
}

static void choices(void **state)
{
    (void)state;
    static const char *const seeds[] = { "\"seed\":1,", "\"seed\":2,", "\"seed\":3," };
    char f[4096];
    for (size_t i = 0; i < 3; i++) {
        /* a call where none is needed, with anything but likely words */
        snprintf(f, sizeof f, "%s" WILD "," TOOLS ",\"tool_choice\":\"required\",\"parallel_tool_calls\":false," QUESTION, seeds[i]);
        assert_int_equal(calls_of(f, NULL), 1);
        snprintf(f, sizeof f, "%s" WILD "," TOOLS ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"mcp.sky-v2:get/now\"}},\"parallel_tool_calls\":false," QUESTION, seeds[i]);
        assert_int_equal(calls_of(f, "mcp.sky-v2:get/now"), 1);
        snprintf(f, sizeof f, "%s" WILD "," TOOLS ",\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"required\",\"tools\":[{\"type\":\"function\","
                 "\"function\":{\"name\":\"weather\"}}]}},\"parallel_tool_calls\":false," QUESTION, seeds[i]);
        assert_int_equal(calls_of(f, "weather"), 1);
        /* nothing is asked for: whatever call comes (the bias sees to one) obeys all the same */
        snprintf(f, sizeof f, "%s" WILD "," TOOLS ",\"logit_bias\":{\"48\":100},\"parallel_tool_calls\":false," QUESTION, seeds[i]);
        assert_int_equal(calls_of(f, NULL), 1);
        /* several */
        snprintf(f, sizeof f, "%s\"temperature\":0,\"max_tokens\":200," TOOLS ",\"logit_bias\":{\"48\":100,\"1\":-100,\"50\":-100,\"106\":-100}," QUESTION, seeds[i]);
        json_t *v = post(f);
        assert_true(check_calls(message_of(v, 0), NULL) > 1);
        json_decref(v);
        /* none, although the bias wants one */
        snprintf(f, sizeof f, "%s\"temperature\":0," TOOLS ",\"tool_choice\":\"none\",\"logit_bias\":{\"48\":100}," QUESTION, seeds[i]);
        assert_int_equal(calls_of(f, NULL), 0);
    }
    assert_int_equal(calls_of("\"temperature\":0," TOOLS "," QUESTION, NULL), 0);      /* and by itself it calls nothing here */
    expect_refused(CHAT, "\"tool_choice\":\"required\"," QUESTION, "tool_choice", "no functions");
}

/* Every name that the syntax carries is taken, the others are refused. */
static void names(void **state)
{
    (void)state;
    static const char *const good[] = { "a", "get-weather", "weather.get", "google-workspace:list", "a/b", "<x>", "\u00e9t\u00e9", "a,b=c;d|e" };
    static const char *const bad[] = { "a b", "a\\tb", "a\\nb", "{", "a}", "a[0]", "f(x)", "a\\\"", "it's", "`x`" };
    char f[1024];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(f, sizeof f, "\"temperature\":0,\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"%s\"}}],\"tool_choice\":\"required\",\"parallel_tool_calls\":false," QUESTION, good[i]);
        json_t *v = post(f), *call = json_array_get(json_object_get(message_of(v, 0), "tool_calls"), 0);
        assert_string_equal(contract_text(json_object_get(call, "function"), "name"), good[i]);
        assert_string_equal(contract_text(json_object_get(call, "function"), "arguments"), "{}");
        json_decref(v);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(f, sizeof f, "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"%s\"}}]," QUESTION, bad[i]);
        expect_refused(CHAT, f, "tools[0]", "white space");
    }
}

/* Text beside answered calls: the template closes the turn, and still there is an answer. */
static void text_beside_answered_calls(void **state)
{
    (void)state;
#define LOOK(text) "\"temperature\":0,\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"weather\",\"description\":\"Get the weather.\",\"parameters\":" \
                   "{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"}},\"required\":[\"city\"]}}}],\"messages\":[{\"role\":\"user\",\"content\":" \
                   "\"What is the weather in Paris?\"},{\"role\":\"assistant\",\"content\":\"" text "\",\"tool_calls\":[{\"id\":\"1\",\"function\":{\"name\":" \
                   "\"weather\",\"arguments\":\"{\\\"city\\\":\\\"Paris\\\"}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"1\",\"content\":" \
                   "\"{\\\"sky\\\":\\\"sunny\\\",\\\"temperature\\\":21}\"}]"
    json_t *v = post(LOOK("I look."));
    assert_string_equal(contract_text(json_array_get(json_object_get(v, "choices"), 0), "finish_reason"), "stop");
    assert_true(strlen(contract_text(message_of(v, 0), "content")) > 3);
    json_decref(v);
}

/* ---- Anthropic's words for it --------------------------------------------------------------------------------------- */

#define ANTHROPIC_TOOL(name) "{\"name\":\"" name "\",\"input_schema\":{\"type\":\"object\",\"properties\":{\"unit\":{\"enum\":[\"celsius\",\"kelvin\"]}," \
                             "\"days\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":3}},\"required\":[\"unit\",\"days\"]}}"
#define ANTHROPIC_TOOLS "\"tools\":[" ANTHROPIC_TOOL("weather") "," ANTHROPIC_TOOL("sky") "],\"seed\":4,\"max_tokens\":300," QUESTION

static void check_uses(const char *choice, const char *name, size_t want)
{
    char body[4096];
    size_t i, n = 0;
    json_t *one;
    snprintf(body, sizeof body, "{\"temperature\":1," ANTHROPIC_TOOLS ",\"tool_choice\":%s}", choice);
    json_t *v = contract_post(port, MESSAGES, body);
    json_array_foreach(json_object_get(v, "content"), i, one) {
        if (strcmp(contract_text(one, "type"), "tool_use") != 0) continue;
        const json_t *input = json_object_get(one, "input");
        if (name) assert_string_equal(contract_text(one, "name"), name);
        contract_keys(input, "unit days");
        assert_in_range(contract_int(input, "days"), 1, 3);
        n++;
    }
    assert_int_equal(n, want);
    assert_string_equal(contract_text(v, "stop_reason"), want ? "tool_use" : "end_turn");
    json_decref(v);
}

static void anthropic(void **state)
{
    (void)state;
    check_uses("{\"type\":\"any\",\"disable_parallel_tool_use\":true}", NULL, 1);
    check_uses("{\"type\":\"tool\",\"name\":\"sky\",\"disable_parallel_tool_use\":true}", "sky", 1);
    check_uses("{\"type\":\"none\"}", NULL, 0);
    expect_refused(MESSAGES, ANTHROPIC_TOOLS ",\"tool_choice\":{\"type\":\"tool\",\"name\":\"nothing\"}", NULL, "tool_choice");
    expect_refused(MESSAGES, ANTHROPIC_TOOLS ",\"tool_choice\":{\"type\":\"tool\"}", NULL, "tool_choice");
    expect_refused(MESSAGES, ANTHROPIC_TOOLS ",\"tool_choice\":{\"type\":\"some\"}", NULL, "tool_choice");
    expect_refused(MESSAGES, QUESTION ",\"tool_choice\":{\"type\":\"any\"}", NULL, "tool_choice");
    static const char *const forms[] = { "\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":" SCHEMA "}}", "\"output_format\":{\"type\":\"json_schema\",\"schema\":" SCHEMA "}" };
    for (size_t i = 0; i < 2; i++) {
        char body[2048];
        snprintf(body, sizeof body, "{\"max_tokens\":200,\"temperature\":1,%s," QUESTION "}", forms[i]);
        json_t *v = contract_post(port, MESSAGES, body);
        check_person(contract_text(json_array_get(json_object_get(v, "content"), 0), "text"));
        json_decref(v);
    }
    expect_warned(MESSAGES, "\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":" NOT_ENFORCED "}},\"max_tokens\":100," QUESTION, "not");
    expect_refused(MESSAGES, "\"output_config\":{\"format\":{\"type\":\"yaml\"}}," QUESTION, NULL, "output_config.format");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(json_schema), cmocka_unit_test(thought_then_json), cmocka_unit_test(streamed_json),
                                        cmocka_unit_test(not_enforced), cmocka_unit_test(choices), cmocka_unit_test(names),
                                        cmocka_unit_test(text_beside_answered_calls), cmocka_unit_test(anthropic) };
    json_use_mem();
    return cmocka_run_group_tests(tests, start, stop);
}
