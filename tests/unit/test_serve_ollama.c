/* Ollama's interface over sockets: lines and their fields, calls and their results, limits, what is refused. */
#include "serve/field.h"
#include "support/client.h"
#include "support/contract.h"
#include "support/server.h"
#include "support/test.h"

#define CHAT "/api/chat"
#define GENERATE "/api/generate"
#define COLD "\"options\":{\"temperature\":0}"
#define ONCE "\"stream\":false," COLD
#define QUESTION "\"messages\":[{\"role\":\"user\",\"content\":\"What is 12 + 30?\"}]"
#define TOOL "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"weather\",\"description\":\"Get the weather.\"," \
             "\"parameters\":{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"}},\"required\":[\"city\"]}}}]"
#define WEATHER "{\"role\":\"user\",\"content\":\"What is the weather in Paris?\"}"
#define NUMBERS " done done_reason total_duration load_duration prompt_eval_count prompt_eval_duration eval_count eval_duration"

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

static json_t *message_of(const json_t *v) { return json_object_get(v, "message"); }

/* Each line of a stream is an object; an empty one would break clients.  Owned. */
static json_t *lines_of(const char *path, const char *body)
{
    client_reply r;
    json_t *list = json_array();
    client_ask(port, "POST", path, "", body, &r);
    assert_true(r.code == 200 && r.whole);
    assert_string_equal(client_header(&r, "Content-Type"), "application/x-ndjson");
    str rest = { buf_text(&r.body), r.body.len }, one;
    assert_true(rest.n && rest.p[rest.n - 1] == '\n');
    rest.n--;
    while (str_split(&rest, '\n', &one)) {
        json_t *v = json_loadb(one.p, one.n, 0, NULL);
        if (!json_is_object(v)) fail_msg("no line of JSON: %.*s", (int)one.n, one.p);
        json_array_append_new(list, v);
    }
    client_done(&r);
    return list;
}

/* ---- chat ------------------------------------------------------------------------------------------------ */

static void whole(void **state)
{
    (void)state;
    json_t *v = contract_post(port, CHAT, "{\"model\":\"facet-mini\"," ONCE "," QUESTION "}");
    contract_keys(v, "model created_at message" NUMBERS);
    contract_keys(message_of(v), "role content");
    assert_string_equal(contract_text(v, "model"), "facet-mini:latest");
    assert_string_equal(contract_text(message_of(v), "role"), "assistant");
    assert_string_equal(contract_text(message_of(v), "content"), "12 + 30 = 42");
    assert_string_equal(contract_text(v, "done_reason"), "stop");
    assert_int_equal(contract_int(v, "eval_count"), 13);
    int year = 0, micro = -1;
    assert_int_equal(sscanf(contract_text(v, "created_at"), "%4d-%*2d-%*2dT%*2d:%*2d:%*2d.%6dZ", &year, &micro), 2);
    assert_true(year > 2000 && micro >= 0);
    json_int_t total = json_integer_value(json_object_get(v, "total_duration"));      /* nanoseconds: the parts fit into it */
    assert_true(total >= json_integer_value(json_object_get(v, "prompt_eval_duration")) + json_integer_value(json_object_get(v, "eval_duration")));
    assert_true(json_integer_value(json_object_get(v, "prompt_eval_duration")) > 1000);
    json_decref(v);
    v = contract_post(port, CHAT, "{\"think\":true," ONCE "," QUESTION "}");
    contract_keys(message_of(v), "role content thinking");
    assert_string_equal(contract_text(message_of(v), "content"), "12 + 30 = 42");
    json_decref(v);
    v = contract_post(port, CHAT, "{\"think\":\"none\"," ONCE "," QUESTION "}");
    contract_keys(message_of(v), "role content");
    json_decref(v);
}

static void calls(void **state)
{
    (void)state;
    json_t *v = contract_post(port, CHAT, "{" ONCE "," TOOL ",\"messages\":[" WEATHER "]}");
    json_t *call = json_array_get(json_object_get(message_of(v), "tool_calls"), 0), *f = json_object_get(call, "function");
    contract_keys(message_of(v), "role content tool_calls");
    contract_keys(call, "id function");
    contract_keys(f, "index name arguments");
    assert_string_equal(contract_text(json_object_get(f, "arguments"), "city"), "Paris");
    assert_string_equal(contract_text(v, "done_reason"), "stop");
    json_decref(v);
    /* ollama-python sends the call back without its id, and the result by the function's name */
    v = contract_post(port, CHAT, "{" ONCE "," TOOL ",\"messages\":[" WEATHER ",{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"weather\","
                      "\"arguments\":{\"city\":\"Paris\"}}}]},{\"role\":\"tool\",\"tool_name\":\"weather\",\"content\":\"{\\\"sky\\\":\\\"sunny\\\",\\\"temperature\\\":21}\"}]}");
    assert_string_equal(contract_text(message_of(v), "content"), "It is sunny in Paris, 21 degrees.");
    json_decref(v);
}

/* A stream's lines together are the whole answer; only the last is done, and it alone has the numbers. */
static void check_stream(const char *path, const char *fields)
{
    char body[2048], text[2][4096] = { "", "" };
    snprintf(body, sizeof body, "{\"stream\":false,%s}", fields);
    json_t *once = contract_post(port, path, body), *one, *found = json_array();
    snprintf(body, sizeof body, "{%s}", fields);
    json_t *lines = lines_of(path, body);
    size_t i, last = json_array_size(lines) - 1;
    bool chat = strcmp(path, CHAT) == 0;
    json_t *said = chat ? message_of(once) : once;
    json_array_foreach(lines, i, one) {
        json_t *m = chat ? message_of(one) : one;
        assert_int_equal(json_is_true(json_object_get(one, "done")), i == last);
        if (chat) assert_string_equal(contract_text(m, "role"), "assistant");
        assert_int_equal(json_object_get(one, "eval_count") != NULL, i == last);
        strcat(text[0], contract_text(m, chat ? "content" : "response"));
        if (json_object_get(m, "thinking")) strcat(text[1], contract_text(m, "thinking"));
        json_array_extend(found, json_object_get(m, "tool_calls"));
    }
    assert_true(last > 0);
    assert_string_equal(text[0], contract_text(said, chat ? "content" : "response"));
    assert_string_equal(text[1], json_object_get(said, "thinking") ? contract_text(said, "thinking") : "");
    assert_int_equal(json_array_size(found), json_array_size(json_object_get(said, "tool_calls")));
    json_array_foreach(found, i, one)
        assert_true(json_equal(json_object_get(one, "function"), json_object_get(json_array_get(json_object_get(said, "tool_calls"), i), "function")));
    one = json_array_get(lines, last);
    assert_string_equal(contract_text(one, "done_reason"), contract_text(once, "done_reason"));
    assert_int_equal(contract_int(one, "eval_count"), contract_int(once, "eval_count"));
    json_decref(found);
    json_decref(lines);
    json_decref(once);
}

static void streams(void **state)
{
    (void)state;
    check_stream(CHAT, COLD "," QUESTION);
    check_stream(CHAT, "\"think\":\"high\",\"options\":{\"seed\":7}," QUESTION);
    check_stream(CHAT, "\"options\":{\"seed\":7,\"num_predict\":3}," QUESTION);
    check_stream(CHAT, COLD "," TOOL ",\"messages\":[" WEATHER "]");
    check_stream(GENERATE, "\"options\":{\"seed\":7},\"prompt\":\"What is 12 + 30?\",\"think\":true");
    check_stream(GENERATE, "\"options\":{\"seed\":7,\"num_predict\":9},\"prompt\":\"Hello\",\"raw\":true");
}

static void logprobs(void **state)
{
    (void)state;
    json_t *v = contract_post(port, CHAT, "{\"logprobs\":true,\"top_logprobs\":3," ONCE "," QUESTION "}"), *list = json_object_get(v, "logprobs"), *one;
    size_t i, n = 0;
    assert_int_equal(json_array_size(list), contract_int(v, "eval_count"));
    json_array_foreach(list, i, one) {
        contract_keys(one, "token logprob bytes top_logprobs");
        assert_int_equal(json_array_size(json_object_get(one, "top_logprobs")), 3);
    }
    json_t *lines = lines_of(CHAT, "{\"logprobs\":true," COLD "," QUESTION "}");
    json_array_foreach(lines, i, one) n += json_array_size(json_object_get(one, "logprobs"));
    assert_int_equal(n, json_array_size(list));
    json_decref(lines);
    json_decref(v);
}

static void limits(void **state)
{
    (void)state;
    json_t *v = contract_post(port, CHAT, "{\"stream\":false,\"options\":{\"temperature\":0,\"num_predict\":2}," QUESTION "}");
    assert_string_equal(contract_text(v, "done_reason"), "length");
    assert_int_equal(contract_int(v, "eval_count"), 2);
    int prompt = contract_int(v, "prompt_eval_count");
    json_decref(v);
    char body[512];
    snprintf(body, sizeof body, "{\"stream\":false,\"options\":{\"temperature\":0,\"num_ctx\":%d}," QUESTION "}", prompt + 3);
    v = contract_post(port, CHAT, body);
    assert_string_equal(contract_text(v, "done_reason"), "length");
    assert_int_equal(contract_int(v, "eval_count"), 3);          /* prompt and answer fill num_ctx */
    json_decref(v);
    int code = 0, have = 0, most = 0;
    snprintf(body, sizeof body, "{\"stream\":false,\"options\":{\"num_ctx\":%d}," QUESTION "}", prompt);
    v = client_post(port, CHAT, body, &code);
    assert_int_equal(code, 400);
    assert_int_equal(sscanf(contract_text(v, "error"), "prompt is too long: %d tokens > %d maximum", &have, &most), 2);
    assert_int_equal(have, prompt);
    assert_int_equal(most, prompt - 1);
    json_decref(v);
    v = contract_post(port, CHAT, "{\"stream\":false,\"options\":{\"temperature\":0,\"num_predict\":-1,\"num_ctx\":131072,\"stop\":[\" = \"]}," QUESTION "}");
    assert_string_equal(contract_text(message_of(v), "content"), "12 + 30");
    json_decref(v);
    for (int seed = 7; seed >= -1; seed -= 8) {                  /* -1 is "any" */
        snprintf(body, sizeof body, "{\"stream\":false,\"raw\":true,\"prompt\":\"A\",\"options\":{\"temperature\":2,\"top_k\":0,\"top_p\":1,\"num_predict\":24,\"seed\":%d}}", seed);
        v = contract_post(port, GENERATE, body);
        json_t *again = contract_post(port, GENERATE, body);
        assert_int_equal(strcmp(contract_text(v, "response"), contract_text(again, "response")) == 0, seed == 7);
        json_decref(again);
        json_decref(v);
    }
}

/* ---- a schema ----------------------------------------------------------------------------------------------- */

#define PERSON "\"format\":{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":8},\"age\":{\"type\":\"integer\",\"minimum\":3," \
               "\"maximum\":5}},\"required\":[\"name\",\"age\"]}"

static void check_person(const char *text)
{
    json_t *v = json_loads(text, 0, NULL);
    if (!v) fail_msg("no JSON: %s", text);
    contract_keys(v, "name age");
    assert_true(strlen(contract_text(v, "name")) <= 8 * 4);
    assert_in_range(contract_int(v, "age"), 3, 5);
    json_decref(v);
}

static void formats(void **state)
{
    (void)state;
    char body[1024];
    for (int seed = 0; seed < 6; seed++) {          /* thinking or not, in a chat or not: the answer obeys */
        snprintf(body, sizeof body, "{\"stream\":false,\"think\":%s,\"options\":{\"seed\":%d}," PERSON "," QUESTION "}", seed % 2 ? "true" : "false", seed);
        json_t *v = contract_post(port, CHAT, body);
        check_person(contract_text(message_of(v), "content"));
        json_decref(v);
        snprintf(body, sizeof body, "{\"stream\":false,\"raw\":%s,\"prompt\":\"Who?\",\"options\":{\"seed\":%d}," PERSON "}", seed % 2 ? "true" : "false", seed);
        v = contract_post(port, GENERATE, body);
        check_person(contract_text(v, "response"));
        json_decref(v);
        snprintf(body, sizeof body, "{\"stream\":false,\"options\":{\"seed\":%d,\"num_predict\":400},\"format\":\"json\"," QUESTION "}", seed);
        v = contract_post(port, CHAT, body);
        json_t *any = json_loads(contract_text(message_of(v), "content"), 0, NULL);
        if (strcmp(contract_text(v, "done_reason"), "stop") == 0) assert_true(json_is_object(any));
        json_decref(any);
        json_decref(v);
    }
}

/* ---- generate ---------------------------------------------------------------------------------------------- */

static void generates(void **state)
{
    (void)state;
    json_t *v = contract_post(port, GENERATE, "{" ONCE ",\"prompt\":\"What is 12 + 30?\"}");
    contract_keys(v, "model created_at response context" NUMBERS);
    assert_string_equal(contract_text(v, "response"), "12 + 30 = 42");
    /* the same turn in a chat has the same prompt; a system text is part of it */
    json_t *chat = contract_post(port, CHAT, "{" ONCE "," QUESTION "}");
    assert_int_equal(contract_int(v, "prompt_eval_count"), contract_int(chat, "prompt_eval_count"));
    json_decref(chat);
    json_t *system = contract_post(port, GENERATE, "{" ONCE ",\"prompt\":\"What is 12 + 30?\",\"system\":\"Be short.\"}");
    chat = contract_post(port, CHAT, "{" ONCE ",\"messages\":[{\"role\":\"system\",\"content\":\"Be short.\"},{\"role\":\"user\",\"content\":\"What is 12 + 30?\"}]}");
    assert_int_equal(contract_int(system, "prompt_eval_count"), contract_int(chat, "prompt_eval_count"));
    json_decref(chat);
    json_decref(system);
    /* context brings the first turn back */
    json_t *body = json_pack("{s:b, s:{s:i}, s:s, s:O}", "stream", 0, "options", "temperature", 0, "prompt", "And 1 + 1?", "context", json_object_get(v, "context"));
    buf text;
    buf_init(&text, 1 << 20);
    assert_true(field_print(&text, body));
    json_t *second = contract_post(port, GENERATE, buf_text(&text));
    chat = contract_post(port, CHAT, "{" ONCE ",\"messages\":[{\"role\":\"user\",\"content\":\"What is 12 + 30?\"},{\"role\":\"assistant\",\"content\":\"12 + 30 = 42\"},"
                         "{\"role\":\"user\",\"content\":\"And 1 + 1?\"}]}");
    assert_int_equal(contract_int(second, "prompt_eval_count"), contract_int(chat, "prompt_eval_count"));
    assert_string_equal(contract_text(second, "response"), contract_text(message_of(chat), "content"));
    json_decref(chat);
    json_decref(second);
    json_decref(v);
    json_decref(body);
    buf_done(&text);
    v = contract_post(port, GENERATE, "{" ONCE ",\"raw\":true,\"prompt\":\"<|turn>user\\nWhat is 12 + 30?<turn|>\\n<|turn>model\\n\"}");
    contract_keys(v, "model created_at response" NUMBERS);
    json_decref(v);
}

static void loads(void **state)
{
    (void)state;
    static const char *const bodies[] = { "{}", "{\"model\":\"facet-mini:latest\",\"prompt\":\"\",\"keep_alive\":\"5m\"}", "{\"name\":\"other\",\"messages\":[],\"keep_alive\":-1}" };
    for (size_t i = 0; i < 3; i++) {
        json_t *v = contract_post(port, GENERATE, bodies[i]);
        contract_keys(v, "model created_at response done done_reason");
        assert_string_equal(contract_text(v, "done_reason"), "load");
        json_decref(v);
        v = contract_post(port, CHAT, bodies[i]);
        contract_keys(v, "model created_at message done done_reason");
        json_decref(v);
    }
    json_t *v = contract_post(port, CHAT, "{\"model\":\"m\",\"keep_alive\":0}");
    assert_string_equal(contract_text(v, "done_reason"), "unload");
    json_decref(v);
}

/* ---- the model ------------------------------------------------------------------------------------------------ */

static json_t *get(const char *path)
{
    client_reply r;
    client_ask(port, "GET", path, "", NULL, &r);
    if (r.code != 200) fail_msg("%s: %d", path, r.code);
    json_t *v = client_json(&r);
    client_done(&r);
    return v;
}

static void check_entry(const json_t *m)
{
    assert_string_equal(contract_text(m, "name"), "facet-mini:latest");
    assert_string_equal(contract_text(m, "model"), "facet-mini:latest");
    assert_int_equal(strspn(contract_text(m, "digest"), "0123456789abcdef"), 64);
    json_t *d = json_object_get(m, "details");
    contract_keys(d, "parent_model format family families parameter_size quantization_level");
    assert_string_equal(contract_text(d, "format"), "gguf");
    assert_string_equal(contract_text(d, "family"), "gemma4");
    assert_true(contract_int(m, "size") > 1000000);
}

static void models(void **state)
{
    (void)state;
    json_t *v = get("/api/tags"), *m = json_array_get(json_object_get(v, "models"), 0);
    assert_int_equal(json_array_size(json_object_get(v, "models")), 1);
    contract_keys(m, "name model size digest details modified_at");
    check_entry(m);
    json_decref(v);
    v = get("/api/ps");
    m = json_array_get(json_object_get(v, "models"), 0);
    contract_keys(m, "name model size digest details size_vram expires_at context_length");
    check_entry(m);
    assert_int_equal(contract_int(m, "context_length"), 2048);
    json_decref(v);
    v = get("/api/version");
    contract_keys(v, "version facet");
    assert_string_equal(contract_text(v, "facet"), FACET_VERSION);
    json_decref(v);
    static const char *const asked[] = { "{\"model\":\"facet-mini\"}", "{\"name\":\"facet-mini:latest\"}" };
    for (size_t i = 0; i < 2; i++) {
        v = contract_post(port, "/api/show", asked[i]);
        contract_keys(v, "modelfile parameters template details model_info capabilities modified_at");
        assert_int_equal(contract_int(json_object_get(v, "model_info"), "gemma4.context_length"), 2048);
        assert_true(contract_int(json_object_get(v, "model_info"), "general.parameter_count") > 1000000);
        json_decref(v);
    }
}

static void heads(void **state)
{
    (void)state;
    static const char *const paths[] = { "/", "/api/tags", "/api/version" };
    client_reply r;
    for (size_t i = 0; i < 3; i++) {
        client_ask(port, "HEAD", paths[i], "", NULL, &r);
        assert_int_equal(r.code, 200);
        assert_int_equal(r.body.len, 0);
        client_done(&r);
    }
    client_ask(port, "GET", "/", "", NULL, &r);
    assert_string_equal(buf_text(&r.body), "Ollama is running");
    client_done(&r);
}

/* ---- what is refused ------------------------------------------------------------------------------------------- */

static void expect_error(const char *method, const char *path, const char *body, int want)
{
    client_reply r;
    client_ask(port, method, path, "", body, &r);
    json_t *v = client_json(&r);
    if (r.code != want) fail_msg("%s %s: %d, not %d: %s", method, path, r.code, want, body ? body : "");
    contract_keys(v, "error");
    assert_true(strlen(contract_text(v, "error")) > 10);
    json_decref(v);
    client_done(&r);
}

static void refused(void **state)
{
    (void)state;
    static const char *const chats[] = {
        "", "[]", "{\"messages\":5}", "{\"messages\":[5]}", "{\"messages\":[{\"role\":\"user\",\"content\":7}]}", "{\"messages\":[{\"role\":\"robot\",\"content\":\"x\"}]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"images\":[\"aGk=\"]}]}", "{\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"images\":\"aGk=\"}]}",
        "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":[]}}]}]}", "{\"stream\":1," QUESTION "}",
        "{\"options\":[]," QUESTION "}", "{\"options\":{\"temperature\":-1}," QUESTION "}", "{\"options\":{\"num_predict\":-3}," QUESTION "}",
        "{\"options\":{\"stop\":[\"\"]}," QUESTION "}", "{\"options\":{\"top_p\":2}," QUESTION "}", "{\"options\":{\"num_ctx\":\"x\"}," QUESTION "}",
        "{\"think\":\"loud\"," QUESTION "}", "{\"think\":2," QUESTION "}", "{\"top_logprobs\":21," QUESTION "}", "{\"tools\":{}," QUESTION "}",
        "{\"format\":\"xml\"," QUESTION "}", "{\"format\":[]," QUESTION "}", "{\"format\":{\"type\":\"nonsense\"}," QUESTION "}",
        "{\"format\":{\"minimum\":\"x\"}," QUESTION "}", "{\"tools\":[{\"type\":\"function\"}]," QUESTION "}", "{\"model\":5," QUESTION "}" };
    static const char *const prompts[] = {
        "{\"prompt\":5}", "{\"prompt\":\"x\",\"suffix\":\"y\"}", "{\"prompt\":\"x\",\"template\":\"{{ .Prompt }}\"}", "{\"prompt\":\"x\",\"images\":[\"aGk=\"]}",
        "{\"prompt\":\"x\",\"raw\":\"yes\"}", "{\"prompt\":\"x\",\"system\":5}", "{\"prompt\":\"x\",\"context\":[1,2,3]}", "{\"prompt\":\"x\",\"context\":\"1\"}",
        "{\"prompt\":\"x\",\"context\":[-1,1e9,\"a\"]}", "{\"context\":{}}", "{\"system\":5}" };
    for (size_t i = 0; i < sizeof chats / sizeof *chats; i++) expect_error("POST", CHAT, chats[i], 400);
    for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++) expect_error("POST", GENERATE, prompts[i], 400);
    expect_error("POST", CHAT, "{\"model\":\"facet-mini:adapter\"," QUESTION "}", 404);
    expect_error("POST", "/api/show", "{\"model\":\"facet-mini:adapter\"}", 404);
    expect_error("GET", CHAT, NULL, 405);
    expect_error("POST", "/api/nothing", "{}", 404);
}

static void unsupported(void **state)
{
    (void)state;
    static const char *const paths[] = { "/api/pull", "/api/push", "/api/create", "/api/copy", "/api/delete" };
    for (size_t i = 0; i < 5; i++) {
        client_reply r;
        client_ask(port, i == 4 ? "DELETE" : "POST", paths[i], "", "{\"model\":\"x\"}", &r);
        assert_int_equal(r.code, 501);
        assert_string_equal(buf_text(&r.body), "{\"error\":\"not supported\"}");
        client_done(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(whole), cmocka_unit_test(calls), cmocka_unit_test(streams), cmocka_unit_test(logprobs),
                                        cmocka_unit_test(limits), cmocka_unit_test(formats), cmocka_unit_test(generates), cmocka_unit_test(loads), cmocka_unit_test(models),
                                        cmocka_unit_test(heads), cmocka_unit_test(refused), cmocka_unit_test(unsupported) };
    json_use_mem();
    return cmocka_run_group_tests(tests, start, stop);
}
