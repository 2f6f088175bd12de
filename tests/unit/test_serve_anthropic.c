/* Anthropic's Messages API over sockets: fields, order of events, calls and their results, refusals. */
#include "support/client.h"
#include "support/contract.h"
#include "support/server.h"
#include "support/test.h"

#define MESSAGES "/v1/messages?beta=true"
#define QUESTION "\"messages\":[{\"role\":\"user\",\"content\":\"What is 12 + 30?\"}]"
#define TOOL "\"tools\":[{\"type\":\"bash_20250124\",\"name\":\"bash\"},{\"name\":\"weather\",\"description\":\"Get the weather.\"," \
             "\"input_schema\":{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"}},\"required\":[\"city\"]}}]"
#define WEATHER "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"What is the weather in Paris?\",\"cache_control\":{\"type\":\"ephemeral\"}}]}"

static test_server *server;
static int port;

static int start(void **state)
{
    (void)state;
    return test_server_setup(&server, &port, (serve_opts){ .engine = { .ctx = 2048, .parallel = 2 } });
}

static int stop(void **state)
{
    (void)state;
    return test_server_teardown(server);
}

static json_t *block(const json_t *m, size_t i) { return json_array_get(json_object_get(m, "content"), i); }

static void whole(void **state)
{
    (void)state;
    json_t *v = contract_post(port, MESSAGES, "{\"model\":\"claude-sonnet-4-5\",\"max_tokens\":100,\"temperature\":0," QUESTION "}");
    contract_keys(v, "id type role model content stop_reason stop_sequence usage");
    assert_string_equal(contract_text(v, "stop_reason"), "end_turn");
    assert_true(json_is_null(json_object_get(v, "stop_sequence")));
    contract_keys(block(v, 0), "type text");
    assert_string_equal(contract_text(block(v, 0), "text"), "12 + 30 = 42");
    contract_keys(json_object_get(v, "usage"), "input_tokens cache_creation_input_tokens cache_read_input_tokens output_tokens");
    json_t *n = contract_post(port, "/v1/messages/count_tokens", "{" QUESTION "}"), *u = json_object_get(v, "usage");
    assert_int_equal(contract_int(n, "input_tokens"), contract_int(u, "input_tokens") + contract_int(u, "cache_read_input_tokens"));
    json_decref(n);
    json_decref(v);
    v = contract_post(port, MESSAGES, "{\"temperature\":0,\"stop_sequences\":[\"x\",\" = \"]," QUESTION "}");
    assert_string_equal(contract_text(v, "stop_reason"), "stop_sequence");
    assert_string_equal(contract_text(v, "stop_sequence"), " = ");
    json_decref(v);
    v = contract_post(port, MESSAGES, "{\"temperature\":0,\"max_tokens\":2," QUESTION "}");
    assert_string_equal(contract_text(v, "stop_reason"), "max_tokens");
    json_decref(v);
    v = contract_post(port, MESSAGES, "{\"temperature\":0,\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":1024}," QUESTION "}");
    contract_keys(block(v, 0), "type thinking signature");
    assert_true(strlen(contract_text(block(v, 0), "thinking")) > 0);
    json_decref(v);
}

static void calls(void **state)
{
    (void)state;
    char body[2048];
    json_t *v = contract_post(port, MESSAGES, "{\"temperature\":0," TOOL ",\"messages\":[" WEATHER "]}"), *use = block(v, 0);
    assert_string_equal(contract_text(v, "stop_reason"), "tool_use");
    contract_keys(use, "type id name input");
    assert_string_equal(contract_text(json_object_get(use, "input"), "city"), "Paris");
    snprintf(body, sizeof body, "{\"temperature\":0," TOOL ",\"messages\":[" WEATHER ",{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"%s\","
             "\"name\":\"weather\",\"input\":{\"city\":\"Paris\"}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"%s\",\"is_error\":false,"
             "\"content\":[{\"type\":\"text\",\"text\":\"{\\\"sky\\\":\\\"sunny\\\",\\\"temperature\\\":21}\"}]}]}]}", contract_text(use, "id"), contract_text(use, "id"));
    json_decref(v);
    v = contract_post(port, MESSAGES, body);
    assert_string_equal(contract_text(block(v, 0), "text"), "It is sunny in Paris, 21 degrees.");
    json_decref(v);
}

/* The events of a stream in order: each names itself, blocks never overlap, and together they are the whole answer. */
static void check_stream(const char *fields)
{
    char body[2048];
    client_reply r;
    snprintf(body, sizeof body, "{\"seed\":7,%s}", fields);
    json_t *once = contract_post(port, MESSAGES, body), *ev, *built = json_array();
    snprintf(body, sizeof body, "{\"seed\":7,\"stream\":true,%s}", fields);
    client_ask(port, "POST", MESSAGES, "", body, &r);
    assert_true(r.code == 200 && r.whole);
    json_t *events = client_events(&r);
    size_t i, last = json_array_size(events) - 1;
    bool open = false;
    json_array_foreach(events, i, ev) {
        json_t *data = json_object_get(ev, "data"), *delta = json_object_get(data, "delta");
        const char *type = contract_text(data, "type");
        assert_string_equal(type, contract_text(ev, "event"));
        assert_int_equal(i == 0, strcmp(type, "message_start") == 0);
        assert_int_equal(i == last, strcmp(type, "message_stop") == 0);
        assert_int_equal(i == last - 1, strcmp(type, "message_delta") == 0);
        if (i == 0) contract_keys(json_object_get(data, "message"), "id type role model content stop_reason stop_sequence usage");
        if (i == last - 1) assert_string_equal(contract_text(delta, "stop_reason"), contract_text(once, "stop_reason"));
        if (strncmp(type, "content_block", 13) != 0) continue;
        assert_int_equal(open, strcmp(type, "content_block_start") != 0);
        assert_int_equal(contract_int(data, "index"), (int)json_array_size(built) - open);
        open = strcmp(type, "content_block_stop") != 0;
        if (strcmp(type, "content_block_start") == 0) json_array_append_new(built, json_pack("{s:s}", "text", ""));
        json_t *own = json_array_get(built, json_array_size(built) - 1);
        static const char *const parts[] = { "text", "thinking", "partial_json" };
        for (size_t k = 0; k < 3; k++) {
            char joined[1024];
            if (!json_object_get(delta, parts[k])) continue;
            snprintf(joined, sizeof joined, "%s%s", contract_text(own, "text"), contract_text(delta, parts[k]));
            json_object_set_new(own, "text", json_string(joined));
        }
    }
    assert_int_equal(json_array_size(built), json_array_size(json_object_get(once, "content")));
    for (i = 0; i < json_array_size(built); i++) {
        const char *type = contract_text(block(once, i), "type"), *text = contract_text(json_array_get(built, i), "text");
        if (strcmp(type, "tool_use") != 0) { assert_string_equal(text, contract_text(block(once, i), type)); continue; }
        json_t *input = json_loads(text, 0, NULL);
        assert_true(json_equal(input, json_object_get(block(once, i), "input")));
        json_decref(input);
    }
    json_decref(built);
    json_decref(events);
    json_decref(once);
    client_done(&r);
}

static void streams(void **state)
{
    (void)state;
    check_stream(QUESTION);
    check_stream("\"thinking\":{\"type\":\"enabled\"}," QUESTION);
    check_stream("\"max_tokens\":3," QUESTION);
    check_stream(TOOL ",\"messages\":[" WEATHER "]");
}

/* What Claude Code sends: its line about itself, and a system message in the middle. */
static void system_texts(void **state)
{
    (void)state;
    json_t *a = contract_post(port, "/v1/messages/count_tokens", "{\"system\":[{\"type\":\"text\",\"text\":\"x-anthropic-billing-header: cch=1;\"},"
                              "{\"type\":\"text\",\"text\":\"Be short.\"}]," QUESTION "}");
    json_t *b = contract_post(port, "/v1/messages/count_tokens", "{\"system\":\"Be short.\"," QUESTION "}");
    assert_true(json_equal(a, b));
    json_decref(a);
    json_decref(b);
    a = contract_post(port, "/v1/messages/count_tokens", "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"Now\"}]}]}");
    b = contract_post(port, "/v1/messages/count_tokens", "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"system\",\"content\":\"Now\"}]}");
    assert_true(json_equal(a, b));
    json_decref(a);
    json_decref(b);
}

static void refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "{}", "{\"messages\":5}", "{\"messages\":[]}", "{\"messages\":[{\"role\":\"tool\",\"content\":\"x\"}]}", "{\"messages\":[{\"role\":\"user\"}]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":[5]}]}", "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\",\"source\":{}}]}]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}", "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\"}]}]}",
        "{\"messages\":[{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"b\",\"input\":5}]}]}",
        "{\"system\":5," QUESTION "}", "{\"max_tokens\":0," QUESTION "}", "{\"stop_sequences\":[\"\"]," QUESTION "}",
        "{\"tools\":[{\"name\":5}]," QUESTION "}", "{\"tool_choice\":{\"type\":\"any\"}," QUESTION "}", "{\"thinking\":true," QUESTION "}" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int code = 0;
        json_t *v = client_post(port, MESSAGES, bad[i], &code), *e = json_object_get(v, "error");
        if (code != 400) fail_msg("%d, not 400: %s", code, bad[i]);
        contract_keys(v, "type error request_id");
        contract_keys(e, "type message");
        assert_string_equal(contract_text(e, "type"), "invalid_request_error");
        json_decref(v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(whole), cmocka_unit_test(calls), cmocka_unit_test(streams), cmocka_unit_test(system_texts),
                                        cmocka_unit_test(refused) };
    json_use_mem();
    return cmocka_run_group_tests(tests, start, stop);
}
