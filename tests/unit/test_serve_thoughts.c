/* Thoughts that clients do not send back: found again by the ids of their calls, and nobody else's; bounded. */
#include "serve/thoughts.h"
#include "support/client.h"
#include "support/contract.h"
#include "support/server.h"
#include "support/test.h"

static thoughts *store(void)
{
    thoughts *t = NULL;
    assert_int_equal(thoughts_new(&t, NULL), OK);
    return t;
}

static void add(thoughts *t, uint64_t scope, const char *id, str text, double now)
{
    json_t *calls = json_pack("[{s:s}]", "id", id);
    thoughts_add(t, scope, calls, text, now);
    json_decref(calls);
}

/* The thought that a message with this call gets; NULL: none. */
static const char *found(thoughts *t, uint64_t scope, const char *id, double now)
{
    static char text[64];
    json_t *m = json_pack("[{s:s, s:[{s:s}]}]", "role", "assistant", "tool_calls", "id", id);
    assert_true(thoughts_fill(t, scope, m, now));
    const char *s = json_string_value(json_object_get(json_array_get(m, 0), "reasoning"));
    if (s) snprintf(text, sizeof text, "%s", s);
    json_decref(m);
    return s ? text : NULL;
}

static void by_id_and_scope(void **state)
{
    (void)state;
    thoughts *t = store();
    size_t bytes;
    json_t *calls = json_pack("[{s:s}, {s:s}, {s:i}]", "id", "a", "id", "b", "id", 5);
    thoughts_add(t, 1, calls, STR("why"), 0);
    add(t, 2, "a", STR("other"), 0);
    add(t, 1, "empty", STR(""), 0);
    assert_int_equal(thoughts_count(t, &bytes), 3);
    assert_int_equal(bytes, 3 + 3 + 5);
    assert_string_equal(found(t, 1, "a", 1), "why");
    assert_string_equal(found(t, 1, "b", 1), "why");
    assert_string_equal(found(t, 2, "a", 1), "other");
    assert_null(found(t, 2, "b", 1));
    assert_null(found(t, 0, "a", 1));
    assert_null(found(t, 1, "empty", 1));
    add(t, 1, "a", STR("newer"), 1);
    assert_string_equal(found(t, 1, "a", 1), "newer");
    json_decref(calls);
    /* what was sent back stays; messages without calls are left alone */
    json_t *m = json_pack("[{s:s, s:s, s:[{s:s}]}, {s:s, s:s}, {s:s, s:[{s:s}, {s:s}]}]", "role", "assistant", "reasoning", "mine", "tool_calls", "id", "a",
                          "role", "user", "content", "x", "role", "assistant", "tool_calls", "id", "unknown", "id", "b");
    json_t *want = json_pack("[{s:s, s:s, s:[{s:s}]}, {s:s, s:s}, {s:s, s:[{s:s}, {s:s}], s:s}]", "role", "assistant", "reasoning", "mine", "tool_calls", "id", "a",
                             "role", "user", "content", "x", "role", "assistant", "tool_calls", "id", "unknown", "id", "b", "reasoning", "why");
    assert_true(thoughts_fill(t, 1, m, 2));
    assert_true(json_equal(m, want));
    json_decref(m);
    json_decref(want);
    thoughts_free(t);
}

static void bounded(void **state)
{
    (void)state;
    thoughts *t = store();
    size_t bytes;
    char id[32];
    for (int i = 0; i < 3 * THOUGHTS_MAX; i++) {
        snprintf(id, sizeof id, "call_%d", i);
        add(t, 7, id, str_from(id), i * 0.001);
    }
    assert_int_equal(thoughts_count(t, &bytes), THOUGHTS_MAX);
    assert_null(found(t, 7, "call_1999", 3));
    assert_string_equal(found(t, 7, "call_2000", 3), "call_2000");
    assert_string_equal(found(t, 7, "call_2999", 3), "call_2999");
    /* age */
    assert_string_equal(found(t, 7, "call_2999", THOUGHTS_SECONDS + 2.999), "call_2999");
    assert_null(found(t, 7, "call_2998", THOUGHTS_SECONDS + 2.999));
    assert_null(found(t, 7, "call_2999", THOUGHTS_SECONDS + 4));
    assert_int_equal(thoughts_count(t, &bytes), 0);
    assert_int_equal(bytes, 0);
    /* bytes */
    char *large = malloc(THOUGHTS_BYTES_MAX + 1);
    memset(large, 'x', THOUGHTS_BYTES_MAX + 1);
    add(t, 7, "too large", (str){ large, THOUGHTS_BYTES_MAX + 1 }, 9e3);
    assert_int_equal(thoughts_count(t, &bytes), 0);
    for (int i = 0; i < 5; i++) {
        snprintf(id, sizeof id, "big_%d", i);
        add(t, 7, id, (str){ large, THOUGHTS_BYTES_MAX / 4 }, 9e3);
    }
    assert_int_equal(thoughts_count(t, &bytes), 4);
    assert_int_equal(bytes, THOUGHTS_BYTES_MAX);
    assert_null(found(t, 7, "big_0", 9e3));
    free(large);
    thoughts_free(t);
}

/* ---- over HTTP: the prompt is that of a client that sends the thought back ------------------------------------------- */

#define KEY "Authorization: Bearer "
#define TOOL "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"weather\",\"description\":\"Get the weather.\"," \
             "\"parameters\":{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"}},\"required\":[\"city\"]}}}]"
#define ASKED "{\"role\":\"user\",\"content\":\"What is the weather in Paris?\"}"

static test_server *server;

static int start(void **state)
{
    static const char *const keys[] = { "key-number-one", "key-number-two" };
    (void)state;
    return test_server_setup(&server, NULL, (serve_opts){ .engine = { .ctx = 2048, .parallel = 2, .invariant = true }, .keys = keys, .key_count = 2 });
}

static int stop(void **state)
{
    (void)state;
    return test_server_teardown(server);
}

static json_t *post(const char *key, const char *path, const char *body)
{
    char line[64];
    client_reply r;
    snprintf(line, sizeof line, KEY "%s\r\n", key);
    client_ask(test_server_port(server), "POST", path, line, body, &r);
    if (r.code != 200) fail_msg("%d: %s", r.code, buf_text(&r.body));
    json_t *v = client_json(&r);
    client_done(&r);
    return v;
}

/* The second request of a tool loop: tokens of its prompt, and the answer with its log-probabilities. */
static int second(const char *key, const char *id, const char *thought, json_t **choice)
{
    char body[4096];
    json_t *text = json_string(thought);
    char *quoted = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL;
    snprintf(body, sizeof body, "{\"temperature\":0,\"reasoning_effort\":\"low\",\"logprobs\":true," TOOL ",\"messages\":[" ASKED ",{\"role\":\"assistant\",\"content\":\"\"%s%s,"
             "\"tool_calls\":[{\"id\":\"%s\",\"type\":\"function\",\"function\":{\"name\":\"weather\",\"arguments\":\"{\\\"city\\\":\\\"Paris\\\"}\"}}]},"
             "{\"role\":\"tool\",\"tool_call_id\":\"%s\",\"content\":\"{\\\"sky\\\":\\\"sunny\\\",\\\"temperature\\\":21}\"}]}",
             quoted ? ",\"reasoning_content\":" : "", quoted ? quoted : "", id, id);
    if (quoted) mem_small_free(quoted);
    json_decref(text);
    json_t *v = post(key, "/v1/chat/completions", body);
    int n = contract_int(json_object_get(v, "usage"), "prompt_tokens");
    *choice = json_incref(json_array_get(json_object_get(v, "choices"), 0));
    json_decref(v);
    return n;
}

static void the_prompt_is_the_same(void **state)
{
    (void)state;
    json_t *v = post("key-number-one", "/v1/chat/completions", "{\"temperature\":0,\"reasoning_effort\":\"low\"," TOOL ",\"messages\":[" ASKED "]}");
    const json_t *m = json_object_get(json_array_get(json_object_get(v, "choices"), 0), "message");
    const char *thought = contract_text(m, "reasoning_content"), *id = contract_text(json_array_get(json_object_get(m, "tool_calls"), 0), "id");
    json_t *sent, *recalled, *unknown, *foreign;
    int with = second("key-number-one", "call_unknown", thought, &sent), without = second("key-number-one", "call_unknown", NULL, &unknown);
    assert_true(with > without + 3);
    assert_int_equal(second("key-number-one", id, NULL, &recalled), with);
    assert_true(json_equal(sent, recalled));            /* to the last log-probability */
    assert_int_equal(second("key-number-two", id, NULL, &foreign), without);
    json_decref(sent);
    json_decref(recalled);
    json_decref(unknown);
    json_decref(foreign);
    json_decref(v);
}

/* Hidden thoughts too, and tokens are counted as they will be read. */
static void anthropic_omitted(void **state)
{
    (void)state;
#define USES "\"tools\":[{\"name\":\"weather\",\"description\":\"Get the weather.\",\"input_schema\":{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"}}," \
             "\"required\":[\"city\"]}}],\"thinking\":{\"type\":\"adaptive\",\"display\":\"omitted\"}"
    char body[2048];
    json_t *v = post("key-number-two", "/v1/messages", "{\"temperature\":0,\"max_tokens\":300," USES ",\"messages\":[" ASKED "]}");
    json_t *content = json_object_get(v, "content");
    assert_string_equal(contract_text(json_array_get(content, 0), "thinking"), "");
    const char *id = contract_text(json_array_get(content, json_array_size(content) - 1), "id");
    int counts[2];
    for (int i = 0; i < 2; i++) {
        snprintf(body, sizeof body, "{" USES ",\"messages\":[" ASKED ",{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"},"
                 "{\"type\":\"tool_use\",\"id\":\"%s\",\"name\":\"weather\",\"input\":{\"city\":\"Paris\"}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\","
                 "\"tool_use_id\":\"%s\",\"content\":\"sunny\"}]}]}", i ? id : "toolu_unknown", i ? id : "toolu_unknown");
        json_t *n = post("key-number-two", "/v1/messages/count_tokens", body);
        counts[i] = contract_int(n, "input_tokens");
        json_decref(n);
    }
    assert_true(counts[1] > counts[0] + 3);
    json_decref(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(by_id_and_scope), cmocka_unit_test(bounded), cmocka_unit_test(the_prompt_is_the_same),
                                        cmocka_unit_test(anthropic_omitted) };
    json_use_mem();
    return cmocka_run_group_tests(tests, start, stop);
}
