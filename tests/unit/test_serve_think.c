/* How long a request may think, in the words of each dialect; the server's own limit for those that say nothing. */
#include "serve/ask.h"
#include "support/client.h"
#include "support/contract.h"
#include "support/server.h"
#include "support/test.h"

#define CHAT "/v1/chat/completions"
#define QUESTION "\"messages\":[{\"role\":\"user\",\"content\":\"What is 12 + 30?\"}],"
#define TOOL "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"weather\",\"description\":\"Get the weather.\"," \
             "\"parameters\":{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"}},\"required\":[\"city\"]}}}]"

enum { DEFAULT = 6 };

static test_server *server;
static int port;

static int start(void **state)
{
    (void)state;
    return test_server_setup(&server, &port, (serve_opts){ .engine = { .ctx = 1024, .parallel = 2 }, .think = true, .think_budget = DEFAULT });
}

static int stop(void **state)
{
    (void)state;
    return test_server_teardown(server);
}

/* ---- the words --------------------------------------------------------------------------------------------- */

/* What a body comes to beside a server that thinks when it was told to, at most 77 tokens. */
static void expect_words(const char *fields, bool think, int budget)
{
    refusal r = { 0 };
    char text[512];
    snprintf(text, sizeof text, "{%s}", fields);
    json_t *body = json_loads(text, 0, NULL);
    ask a = { .think_budget = 77 };
    assert_non_null(body);
    if (!ask_thinking(&a, body, &r)) fail_msg("%s: %s", fields, r.text);
    if (a.think != think || (think && a.think_budget != budget)) fail_msg("%s: %d, %d tokens", fields, a.think, a.think_budget);
    json_decref(body);
}

static void words(void **state)
{
    (void)state;
    static const struct { const char *word; bool think; int budget; } efforts[] = {
        { "none", false, 0 }, { "minimal", false, 0 }, { "low", true, 1024 }, { "medium", true, 4096 }, { "high", true, 16384 }, { "xhigh", true, -1 }, { "max", true, -1 } };
    for (size_t i = 0; i < sizeof efforts / sizeof *efforts; i++) {
        char fields[128];
        snprintf(fields, sizeof fields, "\"reasoning_effort\":\"%s\"", efforts[i].word);
        expect_words(fields, efforts[i].think, efforts[i].budget);
        snprintf(fields, sizeof fields, "\"reasoning\":{\"effort\":\"%s\"}", efforts[i].word);
        expect_words(fields, efforts[i].think, efforts[i].budget);
    }
    expect_words("\"enable_thinking\":true", true, 77);
    expect_words("\"chat_template_kwargs\":{\"enable_thinking\":true}", true, 77);
    expect_words("\"thinking\":{\"type\":\"enabled\"}", true, 77);
    expect_words("\"thinking\":{\"type\":\"adaptive\"}", true, 77);
    expect_words("\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":5}", true, 5);
    expect_words("\"thinking\":{\"type\":\"disabled\",\"budget_tokens\":5}", false, 0);
    expect_words("\"reasoning\":{\"max_tokens\":9}", true, 9);
    expect_words("\"reasoning\":{\"max_tokens\":9,\"enabled\":false}", false, 0);
    expect_words("\"reasoning\":{\"max_tokens\":9,\"effort\":\"high\"}", true, 9);
    expect_words("\"reasoning_effort\":\"low\",\"thinking_budget\":12", true, 12);
    expect_words("\"thinking_budget\":12", true, 12);
    expect_words("\"max_thinking_tokens\":12", true, 12);
    expect_words("\"thinking_token_budget\":12", true, 12);
    expect_words("\"thinking_budget_tokens\":12", true, 12);
    expect_words("\"thinking_budget\":99999999999", true, INT32_MAX);
    expect_words("\"thinking_budget\":0", false, 0);
    expect_words("\"thinking_budget\":0,\"enable_thinking\":true", true, 0);
    expect_words("\"thinking_budget\":12,\"enable_thinking\":false", false, 0);
}

/* ---- the dialects ------------------------------------------------------------------------------------------ */

static json_t *post(const char *path, const char *fields)
{
    char body[4096];
    snprintf(body, sizeof body, "{\"temperature\":0,%s}", fields);
    return contract_post(port, path, body);
}

static const json_t *first(const json_t *v, const char *list) { return json_array_get(json_object_get(v, list), 0); }

/* tokens < 0: the thought ends before any limit. */
static void expect_chat(const char *fields, int tokens)
{
    char more[1024];
    snprintf(more, sizeof more, QUESTION "%s", fields);
    json_t *v = post(CHAT, more), *u = json_object_get(v, "usage"), *m = json_object_get(first(v, "choices"), "message");
    int thought = contract_int(json_object_get(u, "completion_tokens_details"), "reasoning_tokens");
    if (tokens < 0 ? thought <= DEFAULT : thought != tokens) fail_msg("%s: %d tokens of thought", fields, thought);
    assert_true(contract_text(m, "content")[0] && thought < contract_int(u, "completion_tokens"));
    assert_true((thought > 0) == json_is_string(json_object_get(m, "reasoning_content")));
    json_decref(v);
}

static void openai(void **state)
{
    (void)state;
    expect_chat("\"n\":1", DEFAULT);
    expect_chat("\"enable_thinking\":true", DEFAULT);
    expect_chat("\"reasoning_effort\":\"low\"", -1);
    expect_chat("\"reasoning_effort\":\"max\"", -1);
    expect_chat("\"reasoning_effort\":\"none\"", 0);
    expect_chat("\"thinking_budget\":3", 3);
    expect_chat("\"thinking_budget\":0", 0);
    expect_chat("\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":0}", 0);
    expect_chat("\"max_thinking_tokens\":4,\"reasoning_effort\":\"high\"", 4);
    expect_chat("\"reasoning\":{\"max_tokens\":2}", 2);
    expect_chat("\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":5}", 5);
    json_t *v = post(CHAT, QUESTION "\"thinking_budget\":4,\"n\":3");             /* each of them */
    assert_int_equal(contract_int(json_object_get(json_object_get(v, "usage"), "completion_tokens_details"), "reasoning_tokens"), 12);
    json_decref(v);
}

/* Held answers and calls behind a thought that was cut. */
static void constrained(void **state)
{
    (void)state;
    json_t *v = post(CHAT, QUESTION "\"thinking_budget\":3,\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\",\"strict\":true,\"schema\":"
                           "{\"type\":\"object\",\"properties\":{\"n\":{\"const\":7}},\"required\":[\"n\"],\"additionalProperties\":false}}}");
    const json_t *m = json_object_get(first(v, "choices"), "message");
    assert_string_equal(contract_text(m, "content"), "{\"n\":7}");
    assert_true(contract_text(m, "reasoning")[0]);
    json_decref(v);
    v = post(CHAT, QUESTION TOOL ",\"thinking_budget\":3,\"tool_choice\":\"required\"");
    m = json_object_get(first(v, "choices"), "message");
    assert_true(contract_text(m, "reasoning")[0]);
    assert_string_equal(contract_text(json_object_get(first(m, "tool_calls"), "function"), "name"), "weather");
    json_decref(v);
}

static int responses(const char *fields)
{
    json_t *v = post("/v1/responses", fields), *u = json_object_get(v, "usage"), *output = json_object_get(v, "output");
    int tokens = contract_int(json_object_get(u, "output_tokens_details"), "reasoning_tokens");
    assert_int_equal(json_array_size(output), tokens ? 2 : 1);
    assert_string_equal(contract_text(json_array_get(output, tokens ? 1 : 0), "type"), "message");
    json_decref(v);
    return tokens;
}

static void responses_api(void **state)
{
    (void)state;
    assert_int_equal(responses("\"input\":\"What is 12 + 30?\""), DEFAULT);
    assert_int_equal(responses("\"input\":\"What is 12 + 30?\",\"reasoning\":{\"summary\":\"auto\"}"), DEFAULT);
    assert_int_equal(responses("\"input\":\"What is 12 + 30?\",\"reasoning\":{\"effort\":\"none\"}"), 0);
    assert_int_equal(responses("\"input\":\"What is 12 + 30?\",\"max_thinking_tokens\":2"), 2);
    assert_true(responses("\"input\":\"What is 12 + 30?\",\"reasoning\":{\"effort\":\"medium\"}") > DEFAULT);
}

/* Bytes of the thought: the dialect does not count its tokens; the miniature's are characters or short words. */
static size_t anthropic(const char *fields)
{
    char more[1024];
    snprintf(more, sizeof more, QUESTION "%s", fields);
    json_t *v = post("/v1/messages", more), *content = json_object_get(v, "content");
    const json_t *thought = json_array_size(content) == 2 ? json_array_get(content, 0) : NULL;
    size_t n = thought ? strlen(contract_text(thought, "thinking")) : 0;
    assert_string_equal(contract_text(json_array_get(content, thought ? 1 : 0), "type"), "text");
    json_decref(v);
    return n;
}

static void anthropic_api(void **state)
{
    (void)state;
    size_t usual = anthropic("\"max_tokens\":200"), whole = anthropic("\"output_config\":{\"effort\":\"max\"}"), three = anthropic("\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":3}");
    assert_true(three > 0 && three < usual && usual < whole);
    assert_int_equal(anthropic("\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":6}"), usual);
    assert_int_equal(anthropic("\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":1024}"), whole);
    assert_int_equal(anthropic("\"thinking\":{\"type\":\"adaptive\"},\"output_config\":{\"effort\":\"low\"}"), whole);
    assert_int_equal(anthropic("\"thinking\":{\"type\":\"disabled\"},\"output_config\":{\"effort\":\"high\"}"), 0);
}

static size_t ollama(const char *fields)
{
    char more[1024];
    snprintf(more, sizeof more, QUESTION "\"stream\":false,\"options\":{\"temperature\":0}%s", fields);
    json_t *v = post("/api/chat", more), *m = json_object_get(v, "message");
    size_t n = json_string_length(json_object_get(m, "thinking"));
    assert_true(contract_text(m, "content")[0]);
    json_decref(v);
    return n;
}

static void ollama_api(void **state)
{
    (void)state;
    size_t usual = ollama("");
    assert_int_equal(ollama(",\"think\":true"), usual);
    assert_int_equal(ollama(",\"think\":false"), 0);
    assert_true(usual > 0 && ollama(",\"think\":\"low\"") > usual);
    assert_int_equal(ollama(",\"think\":\"max\""), ollama(",\"think\":\"low\""));
}

static void refused(void **state)
{
    (void)state;
    static const struct { const char *path, *fields, *word; } wrong[] = {
        { CHAT, "\"thinking_budget\":-1", "thinking_budget" }, { CHAT, "\"max_thinking_tokens\":\"many\"", "max_thinking_tokens" },
        { CHAT, "\"reasoning\":{\"max_tokens\":-3}", "max_tokens" }, { CHAT, "\"reasoning_effort\":\"more\"", "reasoning_effort" },
        { "/v1/messages", "\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":1.5}", "budget_tokens" },
        { "/v1/messages", "\"output_config\":{\"effort\":\"much\"}", "output_config.effort" }, { "/api/chat", "\"think\":\"much\"", "think" } };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char body[512];
        int code = 0;
        snprintf(body, sizeof body, "{" QUESTION "%s}", wrong[i].fields);
        json_t *v = client_post(port, wrong[i].path, body, &code);
        char *said = json_dumps(v, 0);
        assert_int_equal(code, 400);
        if (!strstr(said, wrong[i].word)) fail_msg("%s: %s", wrong[i].fields, said);
        free(said);
        json_decref(v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words),
        cmocka_unit_test(openai),
        cmocka_unit_test(constrained),
        cmocka_unit_test(responses_api),
        cmocka_unit_test(anthropic_api),
        cmocka_unit_test(ollama_api),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
