/* The server over real sockets, the bundled miniature answering: rules common to all dialects, and OpenAI's older two. */
#include <math.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "support/client.h"
#include "support/contract.h"
#include "support/server.h"
#include "support/test.h"

#define QUESTION "\"messages\":[{\"role\":\"user\",\"content\":\"What is 12 + 30?\"}]"
/* Never ends: the tokens that end a turn are not drawn. */
#define ENDLESS "\"logit_bias\":{\"1\":-100,\"106\":-100,\"50\":-100},\"messages\":[{\"role\":\"user\",\"content\":\"Tell me something.\"}]"
#define CHAT "/v1/chat/completions"

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

static json_t *post(const char *path, const char *body) { return contract_post(port, path, body); }

/* ---- the answer's form ---------------------------------------------------------------------------------- */

static void health_and_models(void **state)
{
    (void)state;
    client_reply r;
    client_ask(port, "GET", "/health", "", NULL, &r);
    assert_int_equal(r.code, 200);
    json_t *v = client_json(&r);
    assert_string_equal(contract_text(v, "status"), "ok");
    json_decref(v);
    client_done(&r);
    client_ask(port, "GET", "/v1/models", "", NULL, &r);
    v = client_json(&r);
    contract_keys(v, "object data");
    json_t *m = json_array_get(json_object_get(v, "data"), 0);
    contract_keys(m, "id object created owned_by max_model_len context_length meta capabilities");
    assert_string_equal(contract_text(m, "id"), "facet-mini");
    assert_int_equal(contract_int(m, "max_model_len"), 2048);       /* what is served, not what the model could */
    json_decref(v);
    client_done(&r);
    client_ask(port, "HEAD", "/v1/models", "", NULL, &r);
    assert_int_equal(r.code, 200);
    assert_int_equal(r.body.len, 0);
    client_done(&r);
}

static void check_usage(const json_t *u, bool thought)
{
    contract_keys(u, "prompt_tokens completion_tokens total_tokens prompt_tokens_details completion_tokens_details");
    assert_true(contract_int(u, "prompt_tokens") > 10 && contract_int(u, "completion_tokens") > 1);
    assert_int_equal(contract_int(u, "total_tokens"), contract_int(u, "prompt_tokens") + contract_int(u, "completion_tokens"));
    int reasoning = contract_int(json_object_get(u, "completion_tokens_details"), "reasoning_tokens");
    assert_true(thought ? reasoning > 1 && reasoning < contract_int(u, "completion_tokens") : reasoning == 0);
}

static void chat(void **state)
{
    (void)state;
    json_t *v = post(CHAT, "{" QUESTION ",\"temperature\":0,\"model\":\"gpt-4\",\"user\":\"x\",\"unknown\":{}}");
    contract_keys(v, "id object created model choices usage system_fingerprint");
    assert_string_equal(contract_text(v, "object"), "chat.completion");
    assert_string_equal(contract_text(v, "model"), "facet-mini");
    json_t *choice = json_array_get(json_object_get(v, "choices"), 0), *m = json_object_get(choice, "message");
    contract_keys(choice, "index message logprobs finish_reason");
    contract_keys(m, "role content refusal");
    assert_string_equal(contract_text(m, "content"), "12 + 30 = 42");
    assert_string_equal(contract_text(choice, "finish_reason"), "stop");
    check_usage(json_object_get(v, "usage"), false);
    json_decref(v);

    v = post(CHAT, "{" QUESTION ",\"temperature\":0,\"reasoning_effort\":\"high\"}");
    m = json_object_get(json_array_get(json_object_get(v, "choices"), 0), "message");
    contract_keys(m, "role content refusal reasoning_content reasoning");
    assert_string_equal(contract_text(m, "reasoning"), contract_text(m, "reasoning_content"));
    assert_null(strstr(contract_text(m, "content"), "<|channel"));
    check_usage(json_object_get(v, "usage"), true);
    json_decref(v);

    v = post(CHAT, "{" QUESTION ",\"temperature\":0,\"reasoning\":{\"effort\":\"low\",\"exclude\":true}}");
    m = json_object_get(json_array_get(json_object_get(v, "choices"), 0), "message");
    contract_keys(m, "role content refusal");
    json_decref(v);
}

#define TOOL "\"tools\":[{\"type\":\"web_search\"},{\"type\":\"function\",\"function\":{\"name\":\"weather\",\"description\":\"Get the weather.\"," \
             "\"parameters\":{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"}},\"required\":[\"city\"]}}}]"
#define WEATHER "{\"role\":\"user\",\"content\":\"What is the weather in Paris?\"}"

static void tools(void **state)
{
    (void)state;
    json_t *v = post(CHAT, "{\"temperature\":0," TOOL ",\"messages\":[" WEATHER "]}");
    json_t *choice = json_array_get(json_object_get(v, "choices"), 0), *m = json_object_get(choice, "message");
    assert_string_equal(contract_text(choice, "finish_reason"), "tool_calls");
    contract_keys(m, "role content refusal tool_calls");
    assert_true(json_is_null(json_object_get(m, "content")));
    json_t *call = json_array_get(json_object_get(m, "tool_calls"), 0), *f = json_object_get(call, "function");
    contract_keys(call, "id type function");
    contract_keys(f, "name arguments");
    assert_string_equal(contract_text(f, "name"), "weather");
    assert_string_equal(contract_text(f, "arguments"), "{\"city\":\"Paris\"}");
    assert_true(strncmp(contract_text(call, "id"), "call_", 5) == 0);

    /* the result goes back as a client sends it, and is used */
    char body[2048];
    snprintf(body, sizeof body, "{\"temperature\":0," TOOL ",\"messages\":[" WEATHER ",{\"role\":\"assistant\",\"content\":null,\"tool_calls\":"
             "[{\"id\":\"%s\",\"type\":\"function\",\"function\":{\"name\":\"weather\",\"arguments\":\"{\\\"city\\\":\\\"Paris\\\"}\"}}]},"
             "{\"role\":\"tool\",\"tool_call_id\":\"%s\",\"content\":\"{\\\"sky\\\":\\\"sunny\\\",\\\"temperature\\\":21}\"}]}", contract_text(call, "id"), contract_text(call, "id"));
    json_decref(v);
    v = post(CHAT, body);
    choice = json_array_get(json_object_get(v, "choices"), 0);
    assert_string_equal(contract_text(choice, "finish_reason"), "stop");
    assert_string_equal(contract_text(json_object_get(choice, "message"), "content"), "It is sunny in Paris, 21 degrees.");
    json_decref(v);

    v = post(CHAT, "{\"temperature\":0,\"tool_choice\":\"none\"," TOOL ",\"messages\":[" WEATHER "]}");
    assert_null(json_object_get(json_object_get(json_array_get(json_object_get(v, "choices"), 0), "message"), "tool_calls"));
    json_decref(v);
}

#define FUNCTIONS "\"functions\":[{\"name\":\"weather\",\"description\":\"Get the weather.\"," \
                  "\"parameters\":{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"}},\"required\":[\"city\"]}}]"

/* Clients from before tools: the same prompt, the same call, in their form; the result is used. */
static void functions(void **state)
{
    (void)state;
    json_t *v = post(CHAT, "{\"temperature\":0," FUNCTIONS ",\"messages\":[" WEATHER "]}"), *same = post(CHAT, "{\"temperature\":0," TOOL ",\"messages\":[" WEATHER "]}");
    json_t *choice = json_array_get(json_object_get(v, "choices"), 0), *m = json_object_get(choice, "message"), *f = json_object_get(m, "function_call");
    assert_string_equal(contract_text(choice, "finish_reason"), "function_call");
    contract_keys(m, "role content refusal function_call");
    contract_keys(f, "name arguments");
    assert_string_equal(contract_text(f, "name"), "weather");
    assert_string_equal(contract_text(f, "arguments"), "{\"city\":\"Paris\"}");
    assert_int_equal(contract_int(json_object_get(v, "usage"), "prompt_tokens"), contract_int(json_object_get(same, "usage"), "prompt_tokens"));
    json_decref(same);
    json_decref(v);
    v = post(CHAT, "{\"temperature\":0," FUNCTIONS ",\"messages\":[" WEATHER ",{\"role\":\"assistant\",\"content\":null,\"function_call\":"
                   "{\"name\":\"weather\",\"arguments\":\"{\\\"city\\\":\\\"Paris\\\"}\"}},"
                   "{\"role\":\"function\",\"name\":\"weather\",\"content\":\"{\\\"sky\\\":\\\"sunny\\\",\\\"temperature\\\":21}\"}]}");
    choice = json_array_get(json_object_get(v, "choices"), 0);
    assert_string_equal(contract_text(choice, "finish_reason"), "stop");
    assert_string_equal(contract_text(json_object_get(choice, "message"), "content"), "It is sunny in Paris, 21 degrees.");
    json_decref(v);
    v = post(CHAT, "{\"temperature\":0,\"function_call\":\"none\"," FUNCTIONS ",\"messages\":[" WEATHER "]}");
    assert_null(json_object_get(json_object_get(json_array_get(json_object_get(v, "choices"), 0), "message"), "function_call"));
    json_decref(v);
    v = post(CHAT, "{\"temperature\":0,\"function_call\":{\"name\":\"weather\"}," FUNCTIONS "," QUESTION "}");
    assert_non_null(json_object_get(json_object_get(json_array_get(json_object_get(v, "choices"), 0), "message"), "function_call"));
    json_decref(v);
}

/* ---- streamed is not streamed ------------------------------------------------------------------------------ */

static json_t *stream(const char *path, const char *body)
{
    client_reply r;
    client_ask(port, "POST", path, "", body, &r);
    assert_int_equal(r.code, 200);
    assert_true(r.whole);
    assert_string_equal(client_header(&r, "Content-Type"), "text/event-stream");
    assert_string_equal(client_header(&r, "Cache-Control"), "no-cache");
    json_t *events = client_events(&r);
    assert_non_null(events);
    client_done(&r);
    return events;
}

/* Puts the deltas of a chat stream together as clients do; checks their form on the way. */
static json_t *assemble(const char *body, json_t **usage)
{
    json_t *events = stream(CHAT, body), *ev, *calls = json_array();
    size_t i, n = json_array_size(events);
    buf content, thought;
    const char *finish = NULL;
    buf_init(&content, 1 << 20);
    buf_init(&thought, 1 << 20);
    assert_string_equal(json_string_value(json_object_get(json_array_get(events, n - 1), "data")), "[DONE]");
    json_array_foreach(events, i, ev) {
        json_t *data = json_object_get(ev, "data"), *choice = json_array_get(json_object_get(data, "choices"), 0), *delta = json_object_get(choice, "delta");
        assert_string_equal(contract_text(ev, "event"), "");
        if (i == n - 1) break;
        contract_keys(data, json_object_get(data, "usage") ? "id object created model system_fingerprint choices usage" : "id object created model system_fingerprint choices");
        assert_string_equal(contract_text(data, "object"), "chat.completion.chunk");
        assert_string_equal(contract_text(data, "id"), contract_text(json_object_get(json_array_get(events, 0), "data"), "id"));
        if (!choice) { *usage = json_incref(json_object_get(data, "usage")); assert_int_equal(i, n - 2); continue; }
        contract_keys(choice, "index delta logprobs finish_reason");
        assert_null(finish);                                /* nothing comes after the reason but usage */
        finish = json_string_value(json_object_get(choice, "finish_reason"));
        if (finish) assert_int_equal(json_object_size(delta), 0);
        const char *text = json_string_value(json_object_get(delta, "content")), *think = json_string_value(json_object_get(delta, "reasoning_content"));
        if (i == 0) contract_keys(delta, "role content");
        if (text) buf_add_str(&content, text, NULL);
        if (think) { contract_keys(delta, "reasoning_content reasoning"); buf_add_str(&thought, think, NULL); }
        json_t *call = json_array_get(json_object_get(delta, "tool_calls"), 0), *f = json_object_get(call, "function");
        if (!call) continue;
        assert_true(json_is_integer(json_object_get(call, "index")) && json_is_string(json_object_get(f, "arguments")));
        size_t index = (size_t)contract_int(call, "index");
        if (json_object_get(call, "id")) {
            contract_keys(call, "index id type function");
            assert_int_equal(index, json_array_size(calls));
            json_array_append_new(calls, json_pack("{s:O, s:s}", "name", json_object_get(f, "name"), "arguments", ""));
        } else {
            contract_keys(call, "index function");
            contract_keys(f, "arguments");
        }
        json_t *own = json_array_get(calls, index);
        char joined[1024];
        snprintf(joined, sizeof joined, "%s%s", contract_text(own, "arguments"), contract_text(f, "arguments"));
        json_object_set_new(own, "arguments", json_string(joined));
    }
    json_t *v = json_pack("{s:s, s:s, s:s, s:o}", "content", buf_text(&content), "thought", buf_text(&thought), "finish", finish, "calls", calls);
    buf_done(&content);
    buf_done(&thought);
    json_decref(events);
    assert_non_null(v);
    return v;
}

static void streamed_is_not_streamed(void **state)
{
    (void)state;
    static const char *const asks[] = { QUESTION, QUESTION ",\"reasoning_effort\":\"low\"", QUESTION ",\"max_tokens\":3", QUESTION ",\"stop\":\"=\"",
                                        TOOL ",\"messages\":[" WEATHER "]", QUESTION ",\"temperature\":1.5,\"top_p\":1" };
    for (size_t i = 0; i < sizeof asks / sizeof *asks; i++) {
        char body[2048];
        json_t *usage = NULL;
        snprintf(body, sizeof body, "{\"seed\":5,%s}", asks[i]);
        json_t *once = post(CHAT, body), *choice = json_array_get(json_object_get(once, "choices"), 0), *m = json_object_get(choice, "message");
        snprintf(body, sizeof body, "{\"seed\":5,\"stream\":true,\"stream_options\":{\"include_usage\":true},%s}", asks[i]);
        json_t *pieces = assemble(body, &usage), *calls = json_object_get(m, "tool_calls");
        const char *content = json_string_value(json_object_get(m, "content")), *thought = json_string_value(json_object_get(m, "reasoning"));
        assert_string_equal(contract_text(pieces, "content"), content ? content : "");
        assert_string_equal(contract_text(pieces, "thought"), thought ? thought : "");
        assert_string_equal(contract_text(pieces, "finish"), contract_text(choice, "finish_reason"));
        assert_int_equal(json_array_size(json_object_get(pieces, "calls")), json_array_size(calls));
        for (size_t k = 0; k < json_array_size(calls); k++)
            assert_true(json_equal(json_array_get(json_object_get(pieces, "calls"), k), json_object_get(json_array_get(calls, k), "function")));
        json_t *expect = json_object_get(once, "usage");
        assert_int_equal(contract_int(usage, "completion_tokens"), contract_int(expect, "completion_tokens"));
        assert_int_equal(contract_int(usage, "prompt_tokens"), contract_int(expect, "prompt_tokens"));
        json_decref(usage);
        json_decref(pieces);
        json_decref(once);
    }
}

static void functions_streamed(void **state)
{
    (void)state;
    json_t *events = stream(CHAT, "{\"temperature\":0,\"stream\":true," FUNCTIONS ",\"messages\":[" WEATHER "]}"), *ev;
    size_t i;
    char name[64] = "", arguments[64] = "", finish[32] = "";
    json_array_foreach(events, i, ev) {
        json_t *choice = json_array_get(json_object_get(json_object_get(ev, "data"), "choices"), 0), *f = json_object_get(json_object_get(choice, "delta"), "function_call");
        if (json_object_get(f, "name")) { assert_string_equal(name, ""); snprintf(name, sizeof name, "%s", contract_text(f, "name")); }
        if (f) strncat(arguments, contract_text(f, "arguments"), sizeof arguments - strlen(arguments) - 1);
        if (json_is_string(json_object_get(choice, "finish_reason"))) snprintf(finish, sizeof finish, "%s", contract_text(choice, "finish_reason"));
    }
    assert_string_equal(name, "weather");
    assert_string_equal(arguments, "{\"city\":\"Paris\"}");
    assert_string_equal(finish, "function_call");
    json_decref(events);
}

static void limits_and_stops(void **state)
{
    (void)state;
    json_t *v = post(CHAT, "{" QUESTION ",\"temperature\":0,\"max_completion_tokens\":2,\"max_tokens\":50}");
    json_t *choice = json_array_get(json_object_get(v, "choices"), 0);
    assert_string_equal(contract_text(choice, "finish_reason"), "length");
    assert_int_equal(contract_int(json_object_get(v, "usage"), "completion_tokens"), 2);
    json_decref(v);
    v = post(CHAT, "{" QUESTION ",\"temperature\":0,\"stop\":[\"zzz\",\" = \"]}");
    choice = json_array_get(json_object_get(v, "choices"), 0);
    assert_string_equal(contract_text(json_object_get(choice, "message"), "content"), "12 + 30");
    assert_string_equal(contract_text(choice, "finish_reason"), "stop");
    json_decref(v);
    v = post(CHAT, "{" QUESTION ",\"max_tokens\":65536}");     /* more than fits is no mistake */
    json_decref(v);
}

static void many_answers(void **state)
{
    (void)state;
    json_t *v = post(CHAT, "{" QUESTION ",\"seed\":1,\"n\":3,\"temperature\":2,\"top_k\":0,\"top_p\":1}"), *first = NULL;
    assert_int_equal(json_array_size(json_object_get(v, "choices")), 3);
    bool differ = false;
    for (int i = 0; i < 3; i++) {
        json_t *choice = json_array_get(json_object_get(v, "choices"), (size_t)i), *content = json_object_get(json_object_get(choice, "message"), "content");
        assert_int_equal(contract_int(choice, "index"), i);
        if (first && !json_equal(first, content)) differ = true;
        if (!first) first = content;
    }
    assert_true(differ);
    json_decref(v);
}

static void logprobs(void **state)
{
    (void)state;
    json_t *v = post(CHAT, "{" QUESTION ",\"temperature\":0,\"logprobs\":true,\"top_logprobs\":2}");
    json_t *list = json_object_get(json_object_get(json_array_get(json_object_get(v, "choices"), 0), "logprobs"), "content"), *one;
    size_t i;
    buf text;
    buf_init(&text, 1 << 16);
    assert_int_equal(json_array_size(list), contract_int(json_object_get(v, "usage"), "completion_tokens"));
    json_array_foreach(list, i, one) {
        contract_keys(one, "token logprob bytes top_logprobs");
        json_t *top = json_object_get(one, "top_logprobs");
        assert_int_equal(json_array_size(top), 2);
        assert_string_equal(contract_text(json_array_get(top, 0), "token"), contract_text(one, "token"));       /* greedy */
        double a = json_number_value(json_object_get(json_array_get(top, 0), "logprob")), b = json_number_value(json_object_get(json_array_get(top, 1), "logprob"));
        assert_true(a <= 0 && b <= a && exp(a) + exp(b) <= 1.0001);
        if (i + 1 < json_array_size(list)) buf_add_str(&text, contract_text(one, "token"), NULL);
    }
    assert_string_equal(buf_text(&text), "12 + 30 = 42");
    buf_done(&text);
    json_decref(v);
}

static void completions(void **state)
{
    (void)state;
    json_t *v = post("/v1/completions", "{\"prompt\":[\"12 + \",\"Hello\"],\"max_tokens\":4,\"temperature\":0,\"logprobs\":1,\"echo\":true}");
    contract_keys(v, "id object created model system_fingerprint choices usage");
    json_t *choice = json_array_get(json_object_get(v, "choices"), 1), *p = json_object_get(choice, "logprobs");
    contract_keys(choice, "index text logprobs finish_reason");
    contract_keys(p, "tokens token_logprobs top_logprobs text_offset");
    assert_true(strncmp(contract_text(choice, "text"), "Hello", 5) == 0);
    assert_int_equal(json_array_size(json_object_get(p, "tokens")), 4);
    json_decref(v);

    v = post("/v1/completions", "{\"prompt\":\"Hello\",\"max_tokens\":6,\"seed\":3}");
    char *once = strdup(contract_text(json_array_get(json_object_get(v, "choices"), 0), "text"));
    json_decref(v);
    v = post("/v1/completions", "{\"prompt\":\"<bos>Hello\",\"max_tokens\":6,\"seed\":3}");      /* it is there once, whoever brings it */
    assert_string_equal(contract_text(json_array_get(json_object_get(v, "choices"), 0), "text"), once);
    json_decref(v);
    json_t *events = stream("/v1/completions", "{\"prompt\":\"Hello\",\"max_tokens\":6,\"seed\":3,\"stream\":true}"), *ev;
    buf text;
    size_t i;
    buf_init(&text, 1 << 16);
    json_array_foreach(events, i, ev) {
        json_t *c = json_array_get(json_object_get(json_object_get(ev, "data"), "choices"), 0);
        if (c) buf_add_str(&text, contract_text(c, "text"), NULL);
    }
    assert_string_equal(buf_text(&text), once);
    buf_done(&text);
    json_decref(events);
    free(once);
}

static void tokens(void **state)
{
    (void)state;
    json_t *v = post("/tokenize", "{\"content\":\"Hello you <turn|>\",\"add_special\":true}"), *ids = json_object_get(v, "tokens");
    assert_int_equal(json_integer_value(json_array_get(ids, 0)), 2);
    assert_true(json_array_size(ids) > 4);                     /* the special token's spelling stays text */
    json_array_remove(ids, 0);
    char *body = json_dumps(v, 0);
    json_t *back = post("/detokenize", body);
    assert_string_equal(contract_text(back, "content"), "Hello you <turn|>");
    mem_small_free(body);
    json_decref(back);
    json_decref(v);
}

/* ---- refusals ------------------------------------------------------------------------------------------------ */

static void refused(void **state)
{
    (void)state;
    static const struct { const char *body, *field; } cases[] = {
        { "", NULL }, { "{", NULL }, { "[]", NULL }, { "null", NULL }, { "{}", "messages" }, { "{\"messages\":[]}", "messages" },
        { "{\"messages\":{}}", "messages" }, { "{\"messages\":[1]}", "messages[0]" }, { "{\"messages\":[{\"role\":\"god\",\"content\":\"x\"}]}", "messages[0]" },
        { "{\"messages\":[{\"role\":\"user\",\"content\":5}]}", "messages[0].content" },
        { "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,AA\"}}]}]}", "messages[0].content" },
        { "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\"}]}]}", "messages[0].content" },
        { "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"hologram\"}]}]}", "messages[0].content" },
        { "{\"messages\":[{\"role\":\"user\",\"content\":\"a\\u0000b\"}]}", NULL },
        { "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}]}]}", "messages[0]" },
        { "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":\"[]\"}}]}]}", "messages[0]" },
        { "{" QUESTION ",\"temperature\":3}", "temperature" }, { "{" QUESTION ",\"temperature\":\"1\"}", "temperature" },
        { "{" QUESTION ",\"top_p\":-0.1}", "top_p" }, { "{" QUESTION ",\"max_tokens\":0}", "max_tokens" }, { "{" QUESTION ",\"n\":17}", "n" },
        { "{" QUESTION ",\"n\":1e300}", "n" }, { "{" QUESTION ",\"n\":-99999999999999999999}", NULL }, { "{" QUESTION ",\"seed\":0.5}", "seed" },
        { "{" QUESTION ",\"stop\":[1]}", "stop" }, { "{" QUESTION ",\"stop\":\"\"}", "stop" },
        { "{" QUESTION ",\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\"]}", "stop" },
        { "{" QUESTION ",\"logit_bias\":{\"x\":1}}", "logit_bias" }, { "{" QUESTION ",\"logit_bias\":{\"5\":101}}", "logit_bias" },
        { "{" QUESTION ",\"logit_bias\":{\"99999999\":1}}", "logit_bias" }, { "{" QUESTION ",\"top_logprobs\":2}", "top_logprobs" },
        { "{" QUESTION ",\"logprobs\":true,\"top_logprobs\":21}", "top_logprobs" }, { "{" QUESTION ",\"stream\":\"yes\"}", "stream" },
        { "{" QUESTION ",\"response_format\":{\"type\":\"yaml\"}}", "response_format" }, { "{" QUESTION ",\"response_format\":\"json_object\"}", "response_format" },
        { "{" QUESTION ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{}}}", "response_format" },
        { "{" QUESTION ",\"tool_choice\":\"required\"}", "tool_choice" }, { "{" QUESTION ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}}", "tool_choice" },
        { "{" QUESTION ",\"tool_choice\":\"maybe\"}", "tool_choice" }, { "{" QUESTION ",\"tools\":[{\"type\":\"function\"}]}", "tools[0]" },
        { "{" QUESTION ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a b\"}}]}", "tools[0]" }, { "{" QUESTION ",\"tools\":{}}", "tools" },
        { "{" QUESTION "," TOOL ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}}", "tool_choice" },
        { "{" QUESTION "," TOOL ",\"tool_choice\":{\"type\":\"function\"}}", "tool_choice" }, { "{" QUESTION "," TOOL ",\"tool_choice\":{\"type\":\"web_search\"}}", "tool_choice" },
        { "{" QUESTION "," TOOL ",\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"auto\",\"tools\":[]}}}", "tool_choice" },
        { "{" QUESTION ",\"functions\":{}}", "functions" }, { "{" QUESTION ",\"functions\":[{}]}", "functions[0]" }, { "{" QUESTION "," TOOL ",\"functions\":[]}", "functions" },
        { "{" QUESTION "," FUNCTIONS ",\"function_call\":{\"name\":\"f\"}}", "function_call" }, { "{" QUESTION "," FUNCTIONS ",\"function_call\":\"required\"}", "function_call" },
        { "{" QUESTION ",\"function_call\":{\"name\":\"f\"}}", "function_call" }, { "{" QUESTION "," FUNCTIONS ",\"tool_choice\":\"none\"}", "functions" },
        { "{\"messages\":[{\"role\":\"assistant\",\"function_call\":{\"arguments\":\"{}\"}}]}", "messages[0]" },
        { "{\"messages\":[{\"role\":\"assistant\",\"function_call\":{\"name\":\"f\",\"arguments\":\"{\"}}]}", "messages[0]" },
        { "{" QUESTION ",\"reasoning_effort\":\"extreme\"}", "reasoning_effort" }, { "{" QUESTION ",\"model\":7}", "model" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int code = 0;
        json_t *v = client_post(port, CHAT, cases[i].body, &code), *e = json_object_get(v, "error");
        if (code != 400) fail_msg("%d, not 400: %s", code, cases[i].body);
        contract_keys(v, "error");
        contract_keys(e, "message type param code");
        assert_true(strlen(contract_text(e, "message")) > 10);
        assert_string_equal(contract_text(e, "type"), "invalid_request_error");
        const char *param = json_string_value(json_object_get(e, "param"));
        if (cases[i].field ? !param || strcmp(param, cases[i].field) != 0 : param != NULL) fail_msg("param %s: %s", param ? param : "null", cases[i].body);
        json_decref(v);
    }
}

static void too_long(void **state)
{
    (void)state;
    buf b;
    int code = 0;
    buf_init(&b, 1 << 20);
    buf_add_str(&b, "{\"messages\":[{\"role\":\"user\",\"content\":\"", NULL);
    for (int i = 0; i < 3000; i++) buf_add_str(&b, "7 ", NULL);
    buf_add_str(&b, "\"}]}", NULL);
    json_t *v = client_post(port, CHAT, b.data, &code), *e = json_object_get(v, "error");
    int have = 0, most = 0;
    assert_int_equal(code, 400);
    assert_string_equal(contract_text(e, "code"), "context_length_exceeded");
    assert_int_equal(sscanf(contract_text(e, "message"), "prompt is too long: %d tokens > %d maximum", &have, &most), 2);
    assert_int_equal(most, 2047);
    assert_true(have >= 3000);
    json_decref(v);
    buf_done(&b);
}

static void expect_code(const char *method, const char *path, const char *headers, const char *body, int want)
{
    client_reply r;
    client_ask(port, method, path, headers, body, &r);
    json_t *v = client_json(&r);
    if (r.code != want) fail_msg("%s %s: %d, not %d", method, path, r.code, want);
    if (want >= 400 && strcmp(method, "HEAD") != 0) assert_non_null(json_object_get(v, "error"));
    json_decref(v);
    client_done(&r);
}

static void routes(void **state)
{
    (void)state;
    expect_code("GET", "/nothing", "", NULL, 404);
    expect_code("GET", CHAT, "", NULL, 405);
    expect_code("DELETE", "/v1/models", "", NULL, 405);
    client_reply r;
    client_ask(port, "PUT", "/v1/responses/resp_x", "", NULL, &r);
    assert_int_equal(r.code, 405);
    assert_string_equal(client_header(&r, "Allow"), "GET, DELETE");
    client_done(&r);
    client_ask(port, "DELETE", "/v1/responses/input_tokens", "", NULL, &r);        /* not a response of that name */
    assert_int_equal(r.code, 405);
    assert_string_equal(client_header(&r, "Allow"), "POST");
    client_done(&r);
    expect_code("GET", "/v1/responses/", "", NULL, 404);
    expect_code("GET", "/v1/responses/resp_x/else", "", NULL, 404);
    expect_code("GET", "/../../etc/passwd", "", NULL, 404);
    expect_code("GET", "/v1/models/../x", "", NULL, 200);          /* a name like any other: nothing is a file here */
    expect_code("GET", "/health?x=1", "", NULL, 200);
    expect_code("POST", CHAT, "Content-Encoding: gzip\r\n", "{}", 415);
    expect_code("POST", CHAT "?beta=true", "", "{" QUESTION ",\"max_tokens\":1}", 200);
    int code = 0;
    json_decref(client_post(port, CHAT, "{" QUESTION ",\"model\":\"facet-mini:adapter\"}", &code));
    assert_int_equal(code, 404);
}

static void other_pages(void **state)
{
    (void)state;
    client_reply r;
    client_ask(port, "OPTIONS", CHAT, "Origin: http://localhost:3000\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization,x-stainless-lang\r\n", NULL, &r);
    assert_int_equal(r.code, 204);
    assert_string_equal(client_header(&r, "Access-Control-Allow-Origin"), "http://localhost:3000");
    assert_string_equal(client_header(&r, "Access-Control-Allow-Headers"), "authorization,x-stainless-lang");
    assert_null(client_header(&r, "Access-Control-Allow-Credentials"));
    client_done(&r);
    client_ask(port, "OPTIONS", CHAT, "Origin: https://evil.com\r\nAccess-Control-Request-Method: POST\r\n", NULL, &r);
    assert_int_equal(r.code, 403);
    assert_null(client_header(&r, "Access-Control-Allow-Origin"));
    client_done(&r);
    expect_code("GET", "/v1/models", "Origin: https://evil.com\r\n", NULL, 403);
    int fd = client_connect(port);
    client_say(fd, "POST " CHAT " HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:1\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}");
    client_read(fd, &r);
    assert_int_equal(r.code, 415);
    client_done(&r);
    close(fd);
    fd = client_connect(port);
    client_say(fd, "GET /v1/models HTTP/1.1\r\nHost: rebound.evil.com\r\n\r\n");
    client_read(fd, &r);
    assert_int_equal(r.code, 403);
    client_done(&r);
    close(fd);
}

/* A prompt is found again by requests with the same cache_salt, and by no others. */
static void salted_prompts(void **state)
{
    static const char *const salts[] = { "", ",\"cache_salt\":\"a\"", ",\"cache_salt\":\"b\"", ",\"cache_salt\":\"a\"", "" };
    json_int_t prompt = 0, cached = 0;
    (void)state;
    for (size_t i = 0; i < sizeof salts / sizeof *salts; i++) {
        char body[256];
        snprintf(body, sizeof body, "{\"max_tokens\":2,\"messages\":[{\"role\":\"user\",\"content\":\"Which of these is salted, and how much?\"}]%s}", salts[i]);
        json_t *v = post(CHAT, body), *u = json_object_get(v, "usage");
        prompt = json_integer_value(json_object_get(u, "prompt_tokens"));
        cached = json_integer_value(json_object_get(json_object_get(u, "prompt_tokens_details"), "cached_tokens"));
        json_decref(v);
        if (i < 3) assert_true(cached < prompt / 2);        /* no more than others' first tokens */
        else assert_int_equal(cached, prompt - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(health_and_models), cmocka_unit_test(chat), cmocka_unit_test(tools), cmocka_unit_test(functions),
        cmocka_unit_test(functions_streamed), cmocka_unit_test(streamed_is_not_streamed),
        cmocka_unit_test(limits_and_stops), cmocka_unit_test(many_answers), cmocka_unit_test(logprobs), cmocka_unit_test(completions),
        cmocka_unit_test(tokens), cmocka_unit_test(refused), cmocka_unit_test(too_long), cmocka_unit_test(routes), cmocka_unit_test(other_pages),
        cmocka_unit_test(salted_prompts) };
    json_use_mem();
    return cmocka_run_group_tests(tests, start, stop);
}
