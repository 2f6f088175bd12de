/* Every allocation of reading a request, in each dialect, fails once: it is refused for want of memory and for nothing else, nothing
 * is left behind, and the next try reads the same. */
#include "serve/anthropic_read.h"
#include "serve/ollama_read.h"
#include "serve/responses_read.h"
#include "serve/thoughts.h"
#include "support/test.h"

static const char *const chat =
    "{\"messages\":[{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]},{\"role\":\"user\",\"content\":\"b\"},{\"role\":\"assistant\",\"reasoning\":\"c\","
    "\"tool_calls\":[{\"id\":\"d\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":[1]}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"d\",\"content\":\"e\"}],"
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}},{\"type\":\"function\",\"function\":{\"name\":\"g\"}}],\"tool_choice\":{\"type\":\"allowed_tools\","
    "\"allowed_tools\":{\"mode\":\"required\",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]}},\"response_format\":{\"type\":\"json_object\"}}";
static const char *const messages =
    "{\"system\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}],\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"c\"}]},"
    "{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"d\"},{\"type\":\"tool_use\",\"id\":\"i\",\"name\":\"f\",\"input\":{\"x\":1}}]},{\"role\":\"user\","
    "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"i\",\"content\":[{\"type\":\"text\",\"text\":\"e\"}]},{\"type\":\"text\",\"text\":\"g\"}]}],"
    "\"tools\":[{\"name\":\"f\",\"description\":\"x\",\"input_schema\":{}}],\"tool_choice\":{\"type\":\"tool\",\"name\":\"f\"},\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":{}}}}";
static const char *const responses =
    "{\"instructions\":\"a\",\"input\":[{\"role\":\"user\",\"content\":\"b\"},{\"type\":\"reasoning\",\"content\":[{\"type\":\"reasoning_text\",\"text\":\"c\"}]},"
    "{\"role\":\"assistant\",\"content\":\"d\"},{\"type\":\"function_call\",\"call_id\":\"i\",\"name\":\"f\",\"arguments\":\"{\\\"x\\\":1}\"},{\"type\":\"function_call_output\","
    "\"call_id\":\"i\",\"output\":\"e\"}],\"tools\":[{\"type\":\"web_search\"},{\"type\":\"function\",\"name\":\"f\",\"description\":\"x\",\"parameters\":{}}],"
    "\"tool_choice\":{\"type\":\"function\",\"name\":\"f\"}}";

static const char *const ollama =
    "{\"messages\":[{\"role\":\"system\",\"content\":\"a\"},{\"role\":\"user\",\"content\":\"b\",\"images\":[]},{\"role\":\"assistant\",\"thinking\":\"c\",\"tool_calls\":"
    "[{\"function\":{\"name\":\"f\",\"arguments\":{\"x\":[1]}}}]},{\"role\":\"tool\",\"tool_name\":\"f\",\"content\":\"e\"}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
    "\"parameters\":{}}}],\"options\":{\"stop\":[\"x\"],\"seed\":1},\"think\":true,\"format\":{\"type\":\"object\"},\"prompt\":\"g\",\"system\":\"h\"}";

/* What was read, printed; NULL and *r: refused. */
typedef bool (*read_fn)(ask *a, const json_t *body, refusal *r);

static bool read_chat(ask *a, const json_t *body, refusal *r)
{
    return ask_conversation(a, json_object_get(body, "messages"), json_object_get(body, "tools"), r) && ask_tool_choice(a, json_object_get(body, "tool_choice"), r) &&
           ask_format(a, json_object_get(body, "response_format"), "response_format", r);
}

static bool read_messages(ask *a, const json_t *body, refusal *r)
{
    json_t *list = NULL, *tools = NULL;
    bool ok = anthropic_read_messages(body, &list, r) && anthropic_read_tools(body, &tools, r) && ask_conversation(a, list, tools, r) &&
              anthropic_read_choice(body, a, r) && anthropic_read_format(body, a, r);
    json_decref(list);
    json_decref(tools);
    return ok;
}

static bool read_ollama(ask *a, const json_t *body, refusal *r)
{
    json_t *list = NULL;
    int64_t num_ctx = 0;
    bool ok = ollama_read_options(a, body, &num_ctx, r) && ollama_read_messages(body, &list, r) && ask_conversation(a, list, json_object_get(body, "tools"), r);
    json_decref(list);
    return ok;
}

/* The same messages as what comes before a prompt. */
static bool read_generate(ask *a, const json_t *body, refusal *r)
{
    json_t *before = NULL, *turns = NULL;
    const json_t *prompt = NULL;
    bool raw = false, ok = ollama_read_messages(body, &before, r) && ollama_read_prompt(body, &prompt, &raw, r) &&
                           ollama_read_turns(body, prompt, before, &turns, r) && ask_conversation(a, turns, NULL, r);
    json_decref(before);
    json_decref(turns);
    return ok;
}

static bool read_responses(ask *a, const json_t *body, refusal *r)
{
    json_t *input = NULL, *list = NULL, *at = NULL, *tools = NULL;
    responses_store *store = NULL;
    if (responses_store_new(&store, NULL) != OK) return field_refuse(r, 503, NULL, NULL, "out of memory");
    bool ok = responses_read_input(body, store, 1, &input, r) && responses_read_messages(body, input, 0, &list, &at, r) && responses_read_tools(body, &tools, r);
    a->source = "input";
    a->at = at;
    ok = ok && ask_conversation(a, list, tools, r) && ask_tool_choice(a, json_object_get(body, "tool_choice"), r);
    json_t *all[] = { input, list, at, tools };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) json_decref(all[i]);
    responses_store_free(store);
    return ok;
}

/* The thought of a conversation that is there, and one that is remembered. */
static bool recall(ask *a, const json_t *body, refusal *r)
{
    thoughts *t = NULL;
    if (!read_chat(a, body, r)) return false;
    if (thoughts_new(&t, NULL) != OK) return field_refuse(r, 503, NULL, NULL, "out of memory");
    json_t *list = json_object_get(a->conversation, "messages"), *third = json_array_get(list, 2), *text = json_incref(json_object_get(third, "reasoning"));
    json_object_del(third, "reasoning");
    thoughts_add(t, 1, json_object_get(third, "tool_calls"), (str){ json_string_value(text), json_string_length(text) }, 0);
    bool ok = thoughts_fill(t, 1, list, 1) && json_equal(json_object_get(third, "reasoning"), text);
    json_decref(text);
    thoughts_free(t);
    return ok || field_refuse(r, 503, NULL, NULL, "out of memory");
}

static void check(const char *text, read_fn fn)
{
    json_t *body = NULL, *expected = NULL;
    assert_int_equal(json_parse(&body, str_from(text), "a request", true, NULL), OK);
    for (int64_t i = -1;; i++) {
        size_t before = mem_now();
        refusal r = { 0 };
        ask a = { 0 };
        mem_fail_at(i);
        bool ok = fn(&a, body, &r), hit = mem_fail_hit();
        mem_fail_at(-1);
        if (!ok && (r.status != 503 || !strstr(r.text, "memory"))) fail_msg("allocation %d: %d, %s", (int)i, r.status, r.text);
        if (i < 0) expected = json_deep_copy(a.conversation);
        else if (ok && !json_equal(expected, a.conversation)) fail_msg("allocation %d: read, but something is missing", (int)i);
        ask_done(&a);
        if (i < 0) continue;
        assert_int_equal(mem_now(), before);
        if (!hit) break;
        assert_true(i < 5000);
    }
    json_decref(expected);
    json_decref(body);
}

static void of_chat(void **state) { (void)state; check(chat, read_chat); }
static void of_messages(void **state) { (void)state; check(messages, read_messages); }
static void of_responses(void **state) { (void)state; check(responses, read_responses); }
static void of_ollama(void **state) { (void)state; check(ollama, read_ollama); check(ollama, read_generate); }
static void of_thoughts(void **state) { (void)state; check(chat, recall); }

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(of_chat), cmocka_unit_test(of_messages), cmocka_unit_test(of_responses), cmocka_unit_test(of_ollama), cmocka_unit_test(of_thoughts) };
    json_use_mem();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
