/* OpenAI's Responses API over sockets: fields, events in their order, earlier turns, what is kept and for whom, refusals. */
#include "serve/responses_store.h"
#include "support/client.h"
#include "support/contract.h"
#include "support/server.h"
#include "support/test.h"

#define RESPONSES "/v1/responses"
#define QUESTION "\"input\":\"What is 12 + 30?\""
#define WEATHER "{\"role\":\"user\",\"content\":\"What is the weather in Paris?\"}"
#define TOOL "\"tools\":[{\"type\":\"web_search\"},{\"type\":\"namespace\",\"name\":\"x\",\"tools\":[]},{\"type\":\"function\",\"name\":\"weather\",\"description\":" \
             "\"Get the weather.\",\"strict\":false,\"parameters\":{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"}},\"required\":[\"city\"]}}]"
#define RESULT "{\\\"sky\\\":\\\"sunny\\\",\\\"temperature\\\":21}"
#define SAID "It is sunny in Paris, 21 degrees."
#define OBJECT "id object created_at status model output error incomplete_details parallel_tool_calls temperature top_p top_logprobs background instructions " \
               "max_output_tokens previous_response_id user prompt_cache_key safety_identifier text reasoning tool_choice tools metadata truncation store usage"
#define KEY "Authorization: Bearer key-number-one\r\n"
#define OTHER "x-api-key: key-number-two\r\n"

static test_server *server;

static int start(void **state)
{
    static const char *const keys[] = { "key-number-one", "key-number-two" };
    (void)state;
    return test_server_setup(&server, NULL, (serve_opts){ .engine = { .ctx = 2048, .parallel = 2 }, .keys = keys, .key_count = 2 });
}

static int stop(void **state)
{
    (void)state;
    return test_server_teardown(server);
}

static json_t *ask(const char *method, const char *key, const char *path, const char *body, int want)
{
    client_reply r;
    client_ask(test_server_port(server), method, path, key, body, &r);
    if (r.code != want) fail_msg("%s %s %s: %d, not %d: %s", method, path, body ? body : "", r.code, want, buf_text(&r.body));
    json_t *v = client_json(&r);
    client_done(&r);
    return v;
}

static json_t *post(const char *fields)
{
    char body[8192];
    snprintf(body, sizeof body, "{%s}", fields);
    return ask("POST", KEY, RESPONSES, body, 200);
}

static json_t *item(const json_t *v, size_t i) { return json_array_get(json_object_get(v, "output"), i); }
static const char *text_of(const json_t *message) { return contract_text(json_array_get(json_object_get(message, "content"), 0), "text"); }

static void whole(void **state)
{
    (void)state;
    json_t *v = post(QUESTION ",\"model\":\"gpt-5\",\"temperature\":0,\"metadata\":{\"a\":\"b\"},\"client_metadata\":{},\"include\":[\"reasoning.encrypted_content\"]");
    contract_keys(v, OBJECT);
    assert_string_equal(contract_text(v, "object"), "response");
    assert_string_equal(contract_text(v, "status"), "completed");
    assert_true(strncmp(contract_text(v, "id"), "resp_", 5) == 0);
    assert_string_equal(contract_text(json_object_get(v, "metadata"), "a"), "b");
    assert_int_equal(json_array_size(json_object_get(v, "output")), 1);
    contract_keys(item(v, 0), "id type role status content");
    contract_keys(json_array_get(json_object_get(item(v, 0), "content"), 0), "type text annotations logprobs");
    assert_string_equal(text_of(item(v, 0)), "12 + 30 = 42");
    const json_t *u = json_object_get(v, "usage");
    contract_keys(u, "input_tokens input_tokens_details output_tokens output_tokens_details total_tokens");
    assert_int_equal(contract_int(u, "total_tokens"), contract_int(u, "input_tokens") + contract_int(u, "output_tokens"));
    json_t *n = ask("POST", KEY, RESPONSES "/input_tokens", "{" QUESTION "}", 200);
    contract_keys(n, "object input_tokens");
    assert_int_equal(contract_int(n, "input_tokens"), contract_int(u, "input_tokens"));
    json_decref(n);
    n = ask("POST", KEY, "/v1/chat/completions/input_tokens", "{\"messages\":[{\"role\":\"user\",\"content\":\"What is 12 + 30?\"}]}", 200);
    assert_int_equal(contract_int(n, "input_tokens"), contract_int(u, "input_tokens"));
    json_decref(n);
    json_decref(v);

    v = post(QUESTION ",\"temperature\":0,\"reasoning\":{\"effort\":\"low\",\"summary\":\"auto\"}");
    contract_keys(item(v, 0), "id type summary content status");
    assert_string_equal(contract_text(item(v, 0), "type"), "reasoning");
    assert_true(strlen(text_of(item(v, 0))) > 2);
    assert_string_equal(contract_text(item(v, 1), "type"), "message");
    assert_true(contract_int(json_object_get(json_object_get(v, "usage"), "output_tokens_details"), "reasoning_tokens") > 1);
    json_decref(v);

    v = post(QUESTION ",\"temperature\":0,\"max_output_tokens\":2,\"top_logprobs\":2");
    assert_string_equal(contract_text(v, "status"), "incomplete");
    assert_string_equal(contract_text(json_object_get(v, "incomplete_details"), "reason"), "max_output_tokens");
    assert_string_equal(contract_text(item(v, 0), "status"), "incomplete");
    assert_int_equal(json_array_size(json_object_get(json_array_get(json_object_get(item(v, 0), "content"), 0), "logprobs")), 2);
    json_decref(v);
}

/* Instructions and the forms of input come to the prompt that chat completions makes of the same. */
static void input_forms(void **state)
{
    (void)state;
    static const char *const same[] = {
        "\"instructions\":\"Be short.\",\"input\":\"Hi\"", "\"instructions\":\"Be short.\",\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"Hi\"}]}]",
        "\"input\":[{\"type\":\"message\",\"role\":\"developer\",\"content\":\"Be short.\"},{\"type\":\"computer_call\"},{\"role\":\"user\",\"content\":\"Hi\"}]",
        "\"input\":[{\"role\":\"system\",\"content\":[{\"type\":\"input_text\",\"text\":\"Be short.\"}]},{\"type\":\"reasoning\",\"summary\":[]},{\"type\":\"message\",\"id\":\"msg_1\",\"role\":\"user\",\"content\":\"Hi\"}]" };
    json_t *n = ask("POST", KEY, "/chat/completions/input_tokens", "{\"messages\":[{\"role\":\"system\",\"content\":\"Be short.\"},{\"role\":\"user\",\"content\":\"Hi\"}]}", 200);
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        char body[512];
        snprintf(body, sizeof body, "{%s}", same[i]);
        json_t *m = ask("POST", KEY, "/responses/input_tokens", body, 200);
        assert_int_equal(contract_int(m, "input_tokens"), contract_int(n, "input_tokens"));
        json_decref(m);
    }
    json_decref(n);
    /* a thought, a text, calls and their results: one message of the assistant's */
    n = ask("POST", KEY, "/chat/completions/input_tokens", "{" "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"weather\"}}],\"reasoning_effort\":\"low\",\"messages\":[" WEATHER
            ",{\"role\":\"assistant\",\"reasoning\":\"I look.\",\"content\":\"Well.\",\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"weather\",\"arguments\":\"{\\\"city\\\":\\\"Paris\\\"}\"}},"
            "{\"id\":\"b\",\"function\":{\"name\":\"weather\",\"arguments\":\"{\\\"city\\\":\\\"Rome\\\"}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"1\"},"
            "{\"role\":\"tool\",\"tool_call_id\":\"b\",\"content\":\"2\"}]}", 200);
    json_t *m = ask("POST", KEY, RESPONSES "/input_tokens", "{" "\"tools\":[{\"type\":\"function\",\"name\":\"weather\"}],\"reasoning\":{\"effort\":\"low\"},\"input\":[" WEATHER
            ",{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[],\"content\":[{\"type\":\"reasoning_text\",\"text\":\"I look.\"}],\"encrypted_content\":null},"
            "{\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"Well.\"}]},"
            "{\"type\":\"function_call\",\"call_id\":\"a\",\"name\":\"weather\",\"arguments\":\"{\\\"city\\\":\\\"Paris\\\"}\"},"
            "{\"type\":\"function_call\",\"call_id\":\"b\",\"name\":\"weather\",\"arguments\":\"{\\\"city\\\":\\\"Rome\\\"}\"},"
            "{\"type\":\"function_call_output\",\"call_id\":\"a\",\"output\":\"1\"},{\"type\":\"function_call_output\",\"call_id\":\"b\",\"output\":[{\"type\":\"input_text\",\"text\":\"2\"}]}]}", 200);
    assert_int_equal(contract_int(m, "input_tokens"), contract_int(n, "input_tokens"));
    json_decref(m);
    json_decref(n);
}

/* A tool loop by sending everything again, and one by the id of the last response. */
static void calls(void **state)
{
    (void)state;
    char fields[4096];
    json_t *v = post("\"temperature\":0," TOOL ",\"input\":[" WEATHER "]"), *call = item(v, 0);
    assert_int_equal(json_array_size(json_object_get(v, "output")), 1);
    contract_keys(call, "id type call_id name arguments status");
    assert_string_equal(contract_text(call, "type"), "function_call");
    assert_string_equal(contract_text(call, "name"), "weather");
    assert_string_equal(contract_text(call, "arguments"), "{\"city\":\"Paris\"}");
    char *sent = json_dumps(call, 0);
    snprintf(fields, sizeof fields, "\"temperature\":0," TOOL ",\"store\":false,\"input\":[" WEATHER ",%s,{\"type\":\"function_call_output\",\"call_id\":\"%s\",\"output\":\"" RESULT "\"}]",
             sent, contract_text(call, "call_id"));
    json_t *w = post(fields);
    assert_string_equal(text_of(item(w, 0)), SAID);
    int prompt = contract_int(json_object_get(w, "usage"), "input_tokens");
    json_decref(w);
    for (int by_reference = 0; by_reference < 2; by_reference++) {
        if (by_reference) snprintf(fields, sizeof fields, "\"temperature\":0," TOOL ",\"input\":[" WEATHER ",{\"type\":\"item_reference\",\"id\":\"%s\"},{\"type\":\"function_call_output\","
                                   "\"call_id\":\"%s\",\"output\":\"" RESULT "\"}]", contract_text(call, "id"), contract_text(call, "call_id"));
        else snprintf(fields, sizeof fields, "\"temperature\":0," TOOL ",\"previous_response_id\":\"%s\",\"input\":[{\"type\":\"function_call_output\",\"call_id\":\"%s\",\"output\":\"" RESULT "\"}]",
                      contract_text(v, "id"), contract_text(call, "call_id"));
        w = post(fields);
        assert_string_equal(text_of(item(w, 0)), SAID);
        assert_int_equal(contract_int(json_object_get(w, "usage"), "input_tokens"), prompt);
        json_decref(w);
    }
    mem_small_free(sent);
    json_decref(v);
    v = post("\"temperature\":1," TOOL "," QUESTION ",\"tool_choice\":{\"type\":\"function\",\"name\":\"weather\"},\"max_output_tokens\":300,\"parallel_tool_calls\":false,\"seed\":2");
    assert_string_equal(contract_text(item(v, 0), "type"), "function_call");
    json_decref(v);
    v = post("\"temperature\":1," QUESTION ",\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"x\",\"strict\":true,\"schema\":{\"enum\":[{\"a\":1}]}}}");
    assert_string_equal(text_of(item(v, 0)), "{\"a\":1}");
    json_decref(v);
}

/* ---- events -------------------------------------------------------------------------------------------------------- */

/* The grammar of a stream: letters of its events in order. */
static char letter(const char *type)
{
    static const struct { const char *type; char letter; } all[] = {
        { "response.created", 'C' }, { "response.in_progress", 'P' }, { "response.output_item.added", 'A' }, { "response.content_part.added", 'p' },
        { "response.reasoning_text.delta", 'r' }, { "response.reasoning_text.done", 'R' }, { "response.output_text.delta", 't' }, { "response.output_text.done", 'T' },
        { "response.content_part.done", 'q' }, { "response.function_call_arguments.delta", 'f' }, { "response.function_call_arguments.done", 'F' },
        { "response.output_item.done", 'D' }, { "response.completed", 'E' }, { "response.incomplete", 'I' } };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i].type, type) == 0) return all[i].letter;
    fail_msg("an event %s", type);
    return 0;
}

static bool in_order(const char *s)
{
    if (strncmp(s, "CP", 2) != 0) return false;
    for (s += 2; *s == 'A';) {
        s++;
        if (*s == 'f') {
            if (strncmp(s, "fFD", 3) != 0) return false;
            s += 3;
            continue;
        }
        if (*s++ != 'p') return false;
        char delta = *s == 'r' ? 'r' : 't';
        while (*s == delta) s++;
        if (*s++ != (delta == 'r' ? 'R' : 'T') || strncmp(s, "qD", 2) != 0) return false;
        s += 2;
    }
    return strcmp(s, "E") == 0 || strcmp(s, "I") == 0;
}

/* Ids of items are made anew each time. */
static void forget_ids(json_t *output)
{
    size_t i;
    json_t *one;
    json_array_foreach(output, i, one) {
        json_object_del(one, "id");
        json_object_del(one, "call_id");
    }
}

static void check_stream(const char *fields, const char *end)
{
    char body[4096], order[4096] = "";
    client_reply r;
    size_t i, n = 0;
    json_t *ev, *items = json_array(), *last = NULL;
    buf said;
    buf_init(&said, 1 << 20);
    snprintf(body, sizeof body, "{\"seed\":7,\"stream\":true,%s}", fields);
    client_ask(test_server_port(server), "POST", RESPONSES, KEY, body, &r);
    assert_true(r.code == 200 && r.whole);
    json_t *events = client_events(&r);
    json_array_foreach(events, i, ev) {
        json_t *data = json_object_get(ev, "data"), *one = json_object_get(data, "item");
        const char *type = contract_text(data, "type");
        assert_string_equal(contract_text(ev, "event"), type);
        assert_int_equal(contract_int(data, "sequence_number"), i);
        order[n++] = letter(type);
        if (order[n - 1] == 'A') { assert_int_equal(contract_int(data, "output_index"), json_array_size(items)); buf_clear(&said); }
        if (strchr("rtf", order[n - 1])) buf_add_str(&said, contract_text(data, "delta"), NULL);
        if (strchr("RT", order[n - 1])) assert_string_equal(contract_text(data, "text"), buf_text(&said));
        if (order[n - 1] == 'F') assert_string_equal(contract_text(data, "arguments"), buf_text(&said));
        if (order[n - 1] == 'D') json_array_append(items, one);
        if (strchr("CPEI", order[n - 1])) contract_keys(last = json_object_get(data, "response"), OBJECT);
    }
    if (!in_order(order)) fail_msg("events: %s", order);
    assert_string_equal(contract_text(last, "status"), end);
    json_t *output = json_object_get(last, "output");
    if (strcmp(end, "completed") == 0) assert_true(json_equal(items, output));
    assert_int_equal(json_array_size(items), json_array_size(output));
    snprintf(body, sizeof body, "\"seed\":7,%s", fields);
    json_t *once = post(body);
    forget_ids(output);
    forget_ids(json_object_get(once, "output"));
    assert_true(json_equal(output, json_object_get(once, "output")));
    buf_done(&said);
    json_decref(once);
    json_decref(items);
    json_decref(events);
    client_done(&r);
}

static void streams(void **state)
{
    (void)state;
    check_stream(QUESTION, "completed");
    check_stream(QUESTION ",\"reasoning\":{\"effort\":\"high\"}", "completed");
    check_stream(QUESTION ",\"max_output_tokens\":3", "incomplete");
    check_stream("\"temperature\":0," TOOL ",\"input\":[" WEATHER "]", "completed");
    check_stream("\"temperature\":0," TOOL ",\"reasoning\":{\"effort\":\"low\"},\"input\":[" WEATHER "]", "completed");
    check_stream("\"temperature\":1," TOOL ",\"tool_choice\":\"required\",\"max_output_tokens\":300," QUESTION, "completed");
    check_stream(QUESTION ",\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"x\",\"schema\":{\"enum\":[1,2]}}}", "completed");
}

/* ---- what is kept ------------------------------------------------------------------------------------------------------ */

static json_t *at(const char *method, const char *key, const char *id, const char *rest, int want)
{
    char path[256];
    snprintf(path, sizeof path, RESPONSES "/%s%s", id, rest);
    return ask(method, key, path, strcmp(method, "POST") == 0 ? "{}" : NULL, want);
}

static void kept(void **state)
{
    (void)state;
    char body[512];
    json_t *v = post("\"temperature\":0,\"instructions\":\"Be short.\",\"input\":[{\"role\":\"user\",\"content\":\"My name is Ben.\"},{\"type\":\"reasoning\",\"summary\":[]},{\"role\":\"user\",\"content\":\"What is 12 + 30?\"}]"), *w;
    const char *id = contract_text(v, "id");
    w = at("GET", KEY, id, "", 200);
    assert_true(json_equal(v, w));
    json_decref(w);
    json_decref(at("GET", OTHER, id, "", 404));
    json_decref(at("DELETE", OTHER, id, "", 404));
    json_decref(at("GET", KEY, id, "?stream=true", 400));
    json_decref(at("POST", KEY, id, "/cancel", 400));
    json_decref(at("POST", KEY, id, "/compact", 404));
    json_decref(at("GET", KEY, id, "/nothing", 404));
    w = at("GET", KEY, id, "/input_items?order=asc", 200);
    contract_keys(w, "object data first_id last_id has_more");
    json_t *data = json_object_get(w, "data");
    assert_int_equal(json_array_size(data), 3);
    contract_keys(json_array_get(data, 0), "id type role status content");
    assert_string_equal(text_of(json_array_get(data, 0)), "My name is Ben.");
    char *first = strdup(contract_text(w, "first_id")), *last = strdup(contract_text(w, "last_id"));
    json_decref(w);
    w = at("GET", KEY, id, "/input_items?limit=1", 200);        /* the newest first */
    assert_string_equal(contract_text(w, "first_id"), last);
    assert_true(json_is_true(json_object_get(w, "has_more")));
    json_decref(w);
    char rest[200];
    snprintf(rest, sizeof rest, "/input_items?limit=2&after=%s", last);
    w = at("GET", KEY, id, rest, 200);
    assert_int_equal(json_array_size(json_object_get(w, "data")), 2);
    assert_string_equal(contract_text(w, "last_id"), first);
    assert_true(json_is_false(json_object_get(w, "has_more")));
    json_decref(w);
    json_decref(at("GET", KEY, id, "/input_items?limit=0", 400));
    json_decref(at("GET", KEY, id, "/input_items?order=up", 400));

    /* the next turn has all but the instructions; nobody else can go on from it */
    snprintf(body, sizeof body, "{\"previous_response_id\":\"%s\",\"input\":\"And 1 + 1?\"}", id);
    json_t *with = ask("POST", KEY, RESPONSES "/input_tokens", body, 200);
    json_t *own = ask("POST", KEY, "/v1/chat/completions/input_tokens", "{\"messages\":[{\"role\":\"user\",\"content\":\"My name is Ben.\"},{\"role\":\"user\",\"content\":\"What is 12 + 30?\"},"
                      "{\"role\":\"assistant\",\"content\":\"12 + 30 = 42\"},{\"role\":\"user\",\"content\":\"And 1 + 1?\"}]}", 200);
    if (strcmp(text_of(item(v, 0)), "12 + 30 = 42") == 0) assert_int_equal(contract_int(with, "input_tokens"), contract_int(own, "input_tokens"));
    else assert_true(contract_int(with, "input_tokens") > 20);
    json_decref(with);
    json_decref(own);
    json_decref(ask("POST", OTHER, RESPONSES, body, 404));
    w = at("DELETE", KEY, id, "", 200);
    contract_keys(w, "id object deleted");
    json_decref(w);
    json_decref(at("GET", KEY, id, "", 404));
    w = ask("POST", KEY, RESPONSES, body, 404);
    assert_string_equal(contract_text(json_object_get(w, "error"), "code"), "previous_response_not_found");
    assert_string_equal(contract_text(json_object_get(w, "error"), "param"), "previous_response_id");
    json_decref(w);
    json_decref(v);
    v = post(QUESTION ",\"store\":false,\"max_output_tokens\":1");
    json_decref(at("GET", KEY, contract_text(v, "id"), "", 404));
    json_decref(v);
    free(first);
    free(last);
}

static void put(responses_store *s, uint64_t scope, const char *id, const char *text, json_t *earlier)
{
    json_t *input = json_pack("[{s:s+, s:s}]", "id", "in_", id, "text", text), *items = earlier ? json_copy(earlier) : json_array();
    json_t *response = json_pack("{s:s, s:[{s:s+}]}", "id", id, "output", "id", "out_", id);
    json_array_extend(items, input);
    responses_store_put(s, scope, &(stored_response){ .response = response, .input = input, .items = items });
    json_decref(input);
    json_decref(items);
    json_decref(response);
}

static void bounded(void **state)
{
    (void)state;
    size_t bytes;
    responses_store *s = NULL;
    char id[32];
    assert_int_equal(responses_store_new(&s, NULL), OK);
    for (int i = 0; i < 2 * RESPONSES_STORE_MAX; i++) {
        snprintf(id, sizeof id, "r%d", i);
        put(s, 3, id, "x", NULL);
    }
    assert_int_equal(responses_store_count(s, &bytes), RESPONSES_STORE_MAX);
    assert_null(responses_store_find(s, 3, "r999"));
    assert_null(responses_store_item(s, 3, "in_r999"));
    assert_non_null(responses_store_find(s, 3, "r1000"));
    assert_non_null(responses_store_item(s, 3, "out_r1000"));
    assert_null(responses_store_item(s, 4, "out_r1000"));
    assert_false(responses_store_delete(s, 4, "r1000"));
    assert_true(responses_store_delete(s, 3, "r1500"));
    assert_non_null(responses_store_find(s, 3, "r1501"));
    assert_null(responses_store_item(s, 3, "in_r1500"));
    /* bytes: what a response shares with earlier ones counts for each that holds it */
    size_t n = RESPONSES_STORE_BYTES_MAX / 8;
    char *large = malloc(n + 1);
    memset(large, 'x', n);
    large[n] = '\0';
    for (int i = 0; i < 8; i++) {
        snprintf(id, sizeof id, "l%d", i);
        put(s, 3, id, large, NULL);
    }
    assert_true(responses_store_count(s, &bytes) == 3 && bytes <= RESPONSES_STORE_BYTES_MAX);
    json_t *far_too_much = json_pack("[s, s, s, s, s, s, s]", large, large, large, large, large, large, large);
    put(s, 3, "huge", large, far_too_much);
    assert_null(responses_store_find(s, 3, "huge"));
    assert_non_null(responses_store_find(s, 3, "l7"));
    json_decref(far_too_much);
    free(large);
    responses_store_free(s);
}

static void refused(void **state)
{
    (void)state;
    static const struct { const char *body, *field; int code; } cases[] = {
        { "", NULL, 400 }, { "{}", "input", 400 }, { "{\"input\":[]}", "input", 400 }, { "{\"input\":5}", "input", 400 }, { "{\"input\":{}}", "input", 400 },
        { "{\"input\":[5]}", "input[0]", 400 }, { "{\"input\":[{\"role\":\"user\",\"content\":\"x\"},{}]}", "input[1]", 400 },
        { "{\"input\":[{\"role\":\"god\",\"content\":\"x\"}]}", "input[0]", 400 }, { "{\"input\":[{\"role\":\"user\"}]}", "input[0]", 400 },
        { "{\"instructions\":\"x\",\"input\":[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"user\",\"content\":[{\"type\":\"input_image\",\"image_url\":\"x\"}]}]}", "input[1].content", 400 },
        { "{\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_file\"}]}]}", "input[0].content", 400 },
        { "{\"input\":[{\"type\":\"function_call\",\"name\":\"f\",\"arguments\":\"{}\"}]}", "input[0]", 400 },
        { "{\"input\":[{\"type\":\"function_call\",\"call_id\":\"a\",\"name\":\"f\",\"arguments\":\"{\"}]}", "input[0]", 400 },
        { "{\"input\":[{\"type\":\"function_call_output\",\"output\":\"x\"}]}", "input[0]", 400 },
        { "{\"input\":[{\"type\":\"function_call_output\",\"call_id\":\"x\",\"output\":7}]}", "input[0]", 400 },
        { "{\"input\":[{\"type\":\"function_call_output\",\"call_id\":\"x\",\"output\":[{\"type\":\"input_image\"}]}]}", "input[0].content", 400 },
        { "{\"input\":[{\"type\":\"item_reference\",\"id\":\"msg_nothing\"}]}", "input[0]", 404 }, { "{\"input\":[{\"type\":\"item_reference\"}]}", "input[0]", 404 },
        { "{\"previous_response_id\":\"resp_nothing\"," QUESTION "}", "previous_response_id", 404 }, { "{\"previous_response_id\":5," QUESTION "}", "previous_response_id", 400 },
        { "{\"background\":true," QUESTION "}", "background", 400 }, { "{\"conversation\":\"conv_1\"," QUESTION "}", "conversation", 400 },
        { "{\"prompt\":{\"id\":\"x\"}," QUESTION "}", "prompt", 400 }, { "{\"store\":1," QUESTION "}", "store", 400 }, { "{\"max_output_tokens\":0," QUESTION "}", "max_output_tokens", 400 },
        { "{\"temperature\":-1," QUESTION "}", "temperature", 400 }, { "{\"top_logprobs\":30," QUESTION "}", "top_logprobs", 400 },
        { "{\"tool_choice\":\"required\"," QUESTION "}", "tool_choice", 400 }, { "{\"tools\":[5]," QUESTION "}", "tools[0]", 400 },
        { "{\"tools\":[{\"type\":\"web_search\"},{\"type\":\"function\",\"name\":\"a b\"}]," QUESTION "}", "tools[1]", 400 }, { "{\"tools\":[{\"type\":\"function\"}]," QUESTION "}", "tools[0]", 400 },
        { "{\"text\":{\"format\":{\"type\":\"yaml\"}}," QUESTION "}", "text.format", 400 }, { "{\"text\":5," QUESTION "}", "text", 400 },
        { "{\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"x\",\"strict\":true,\"schema\":{\"not\":{}}}}," QUESTION "}", "text.format", 400 },
        { "{\"reasoning\":{\"effort\":\"extreme\"}," QUESTION "}", "reasoning.effort", 400 }, { "{\"instructions\":[]," QUESTION "}", "instructions", 400 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *v = ask("POST", KEY, RESPONSES, cases[i].body, cases[i].code), *e = json_object_get(v, "error");
        contract_keys(e, "message type param code");
        const char *param = json_string_value(json_object_get(e, "param"));
        if (cases[i].field ? !param || strcmp(param, cases[i].field) != 0 : param != NULL) fail_msg("param %s: %s", param ? param : "null", cases[i].body);
        json_decref(v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(whole), cmocka_unit_test(input_forms), cmocka_unit_test(calls), cmocka_unit_test(streams), cmocka_unit_test(kept),
                                        cmocka_unit_test(bounded), cmocka_unit_test(refused) };
    json_use_mem();
    return cmocka_run_group_tests(tests, start, stop);
}
