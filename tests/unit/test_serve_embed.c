/* Embeddings over sockets, in OpenAI's and Ollama's form: the engine's numbers in each encoding, limits, refusals, leaving. */
#include <math.h>
#include <unistd.h>

#include "serve/field.h"
#include "support/client.h"
#include "support/contract.h"
#include "support/server.h"
#include "support/test.h"

#define EMBEDDINGS "/v1/embeddings"

enum { CTX = 256, TEXTS_MAX = 2048 };

static test_server *server;
static int port, H;
static float *hello;             /* [H] of "Hello", from the library itself */

/* The same text through facet.h, with an engine of its own. */
static void ask_library(void)
{
    facet_error e = { 0 };
    facet_model *m = NULL;
    facet_engine *g = NULL;
    facet_request *r = NULL;
    facet_model_info info;
    assert_ok(facet_model_open(&m, &(facet_model_opts){ .path = "models/facet-mini.gguf" }, &e), &e);
    facet_model_read_info(m, &info);
    H = info.hidden;
    hello = calloc((size_t)H, sizeof *hello);
    assert_ok(facet_engine_start(&g, m, &(facet_engine_opts){ .ctx = CTX, .embed = true }, &e), &e);
    assert_ok(facet_request_new(&r, g, NULL, &e), &e);
    assert_ok(facet_request_text(r, "Hello", 5, false, &e), &e);
    assert_ok(facet_request_embed(r, hello, &e), &e);
    assert_ok(facet_request_submit(r, NULL, NULL, &e), &e);
    assert_ok(facet_request_wait(r, NULL, &e), &e);
    facet_request_free(r);
    facet_engine_stop(g);
    facet_model_close(m);
}

static int start(void **state)
{
    (void)state;
    ask_library();
    return test_server_setup(&server, &port, (serve_opts){ .engine = { .ctx = CTX, .parallel = 3, .queue = 2 } });
}

static int stop(void **state)
{
    (void)state;
    free(hello);
    return test_server_teardown(server);
}

/* Nine digits carry every float. */
static void check_numbers(const json_t *list, const float *want, int n)
{
    assert_int_equal(json_array_size(list), n);
    for (int i = 0; i < n; i++) {
        float got = (float)json_number_value(json_array_get(list, (size_t)i));
        assert_memory_equal(&got, &want[i], sizeof got);
    }
}

static json_t *embedding(const json_t *v, size_t i) { return json_object_get(json_array_get(json_object_get(v, "data"), i), "embedding"); }

/* ---- OpenAI's ------------------------------------------------------------------------------------------------ */

static void openai(void **state)
{
    (void)state;
    json_t *v = contract_post(port, EMBEDDINGS, "{\"model\":\"text-embedding-3-small\",\"input\":\"Hello\",\"user\":\"u\"}"), *one = json_array_get(json_object_get(v, "data"), 0);
    contract_keys(v, "object data model usage");
    assert_string_equal(contract_text(v, "object"), "list");
    assert_string_equal(contract_text(v, "model"), "facet-mini");
    contract_keys(one, "object index embedding");
    assert_string_equal(contract_text(one, "object"), "embedding");
    assert_int_equal(contract_int(one, "index"), 0);
    check_numbers(embedding(v, 0), hello, H);
    json_t *u = json_object_get(v, "usage");
    contract_keys(u, "prompt_tokens total_tokens");
    assert_int_equal(contract_int(u, "prompt_tokens"), contract_int(u, "total_tokens"));
    json_decref(v);
    /* tokens instead of text: what tokenize says, bos before them */
    v = contract_post(port, "/tokenize", "{\"content\":\"Hello\",\"add_special\":true}");
    buf b;
    buf_init(&b, 1 << 16);
    buf_add_str(&b, "{\"input\":[", NULL);
    field_print(&b, json_object_get(v, "tokens"));
    buf_add_str(&b, ",", NULL);
    field_print(&b, json_object_get(v, "tokens"));
    buf_add_str(&b, "]}", NULL);
    json_t *w = contract_post(port, EMBEDDINGS, buf_text(&b));
    check_numbers(embedding(w, 0), hello, H);
    check_numbers(embedding(w, 1), hello, H);
    json_decref(w);
    buf_clear(&b);
    buf_add_str(&b, "{\"input\":", NULL);
    field_print(&b, json_object_get(v, "tokens"));
    buf_add_str(&b, "}", NULL);
    w = contract_post(port, EMBEDDINGS, buf_text(&b));
    check_numbers(embedding(w, 0), hello, H);
    assert_int_equal(json_array_size(json_object_get(w, "data")), 1);
    json_decref(w);
    json_decref(v);
    buf_done(&b);
}

static void base64(void **state)
{
    (void)state;
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int width = 1; width <= 3; width++) {         /* 4, 8, 12 bytes: every kind of end */
        char body[128];
        unsigned char raw[16];
        size_t n = 0;
        uint32_t bits = 0;
        snprintf(body, sizeof body, "{\"input\":\"Hello\",\"encoding_format\":\"base64\",\"dimensions\":%d}", width);
        json_t *v = contract_post(port, EMBEDDINGS, body);
        const char *text = json_string_value(embedding(v, 0));
        assert_int_equal(strlen(text), (size_t)(width * 4 + 2) / 3 * 4);
        for (int i = 0; text[i] && text[i] != '='; i++) {
            bits = bits << 6 | (uint32_t)(strchr(digits, text[i]) - digits);
            if (i % 4) raw[n++] = (unsigned char)(bits >> (6 - 2 * (i % 4)));
        }
        assert_int_equal(n, width * 4);
        double square = 0;
        for (int i = 0; i < width; i++) square += (double)hello[i] * (double)hello[i];
        for (int i = 0; i < width; i++) {
            float got, want = (float)((double)hello[i] / sqrt(square));
            uint32_t u = raw[4 * i] | (uint32_t)raw[4 * i + 1] << 8 | (uint32_t)raw[4 * i + 2] << 16 | (uint32_t)raw[4 * i + 3] << 24;
            memcpy(&got, &u, sizeof got);
            assert_true(fabsf(got - want) <= 1e-6f);
        }
        json_decref(v);
    }
}

/* More texts than are computed at once and may wait: each gets its own place. */
static void many(void **state)
{
    (void)state;
    buf b;
    buf_init(&b, 1 << 20);
    buf_add_str(&b, "{\"input\":[", NULL);
    for (int i = 0; i < 40; i++) buf_addf(&b, NULL, "%s\"%s\"", i ? "," : "", i % 3 == 1 ? "Hello" : i % 3 ? "the weather in Paris, and more of it" : "12 + 30");
    buf_add_str(&b, "]}", NULL);
    json_t *v = contract_post(port, EMBEDDINGS, buf_text(&b));
    assert_int_equal(json_array_size(json_object_get(v, "data")), 40);
    for (size_t i = 0; i < 40; i++) {
        assert_int_equal(contract_int(json_array_get(json_object_get(v, "data"), i), "index"), i);
        assert_true(json_equal(embedding(v, i), embedding(v, i % 3)));
        assert_int_equal(json_equal(embedding(v, i), embedding(v, 1)), i % 3 == 1);
    }
    json_decref(v);
    buf_done(&b);
}

/* ---- Ollama's ---------------------------------------------------------------------------------------------------- */

static void long_body(buf *b, const char *before, int words, const char *after)
{
    buf_clear(b);
    buf_add_str(b, before, NULL);
    for (int i = 0; i < words; i++) buf_add_str(b, "7 ", NULL);
    buf_add_str(b, after, NULL);
}

static void ollama(void **state)
{
    (void)state;
    json_t *v = contract_post(port, "/api/embed", "{\"model\":\"facet-mini\",\"input\":[\"12 + 30\",\"Hello\"]}");
    contract_keys(v, "model embeddings total_duration load_duration prompt_eval_count");
    check_numbers(json_array_get(json_object_get(v, "embeddings"), 1), hello, H);
    assert_true(json_integer_value(json_object_get(v, "total_duration")) > 1000);
    json_decref(v);
    v = contract_post(port, "/api/embed", "{\"input\":\"Hello\"}");
    assert_int_equal(json_array_size(json_object_get(v, "embeddings")), 1);
    json_decref(v);
    v = contract_post(port, "/api/embed", "{\"input\":\"\"}");
    assert_int_equal(json_array_size(json_object_get(v, "embeddings")), 0);
    json_decref(v);
    v = contract_post(port, "/api/embeddings", "{\"model\":\"m\",\"prompt\":\"Hello\"}");
    contract_keys(v, "embedding");
    check_numbers(json_object_get(v, "embedding"), hello, H);
    json_decref(v);
    buf b;
    buf_init(&b, 1 << 20);
    int code = 0;
    long_body(&b, "{\"input\":\"", 2 * CTX, "\"}");                  /* cut, unless that is refused */
    v = contract_post(port, "/api/embed", buf_text(&b));
    assert_int_equal(contract_int(v, "prompt_eval_count"), CTX);
    json_decref(v);
    long_body(&b, "{\"truncate\":false,\"input\":\"", 2 * CTX, "\"}");
    v = client_post(port, "/api/embed", buf_text(&b), &code);
    assert_int_equal(code, 400);
    json_decref(v);
    long_body(&b, "{\"input\":\"", 2 * CTX, "\"}");
    v = client_post(port, EMBEDDINGS, buf_text(&b), &code);
    assert_int_equal(code, 400);
    assert_string_equal(contract_text(json_object_get(v, "error"), "code"), "context_length_exceeded");
    json_decref(v);
    buf_done(&b);
}

/* ---- what is refused ------------------------------------------------------------------------------------------------ */

static void refused(void **state)
{
    (void)state;
    static const struct { const char *body, *field; } bad[] = {
        { "{}", "input" }, { "{\"input\":5}", "input" }, { "{\"input\":\"\"}", "input" }, { "{\"input\":[]}", "input" }, { "{\"input\":[\"a\",\"\"]}", "input" },
        { "{\"input\":[\"a\",5]}", "input" }, { "{\"input\":[1,-2]}", "input" }, { "{\"input\":[1,\"a\"]}", "input" }, { "{\"input\":[[1.5]]}", "input" },
        { "{\"input\":[[]]}", "input" }, { "{\"input\":\"a\",\"encoding_format\":\"hex\"}", "encoding_format" }, { "{\"input\":\"a\",\"encoding_format\":1}", "encoding_format" },
        { "{\"input\":\"a\",\"dimensions\":0}", "dimensions" }, { "{\"input\":\"a\",\"dimensions\":100000}", "dimensions" }, { "{\"input\":\"a\",\"model\":1}", "model" },
        { "{\"input\":[1,99999999]}", NULL } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int code = 0;
        json_t *v = client_post(port, EMBEDDINGS, bad[i].body, &code), *e = json_object_get(v, "error");
        if (code != 400) fail_msg("%d, not 400: %s", code, bad[i].body);
        contract_keys(e, "message type param code");
        if (bad[i].field) assert_string_equal(contract_text(e, "param"), bad[i].field);
        json_decref(v);
    }
    static const char *const old[] = { "{\"prompt\":[\"a\"]}", "{\"prompt\":5}", "{}" };
    for (size_t i = 0; i < 3; i++) {
        int code = 0;
        json_t *v = client_post(port, "/api/embeddings", old[i], &code);
        assert_int_equal(code, 400);
        contract_keys(v, "error");
        json_decref(v);
    }
    buf b;
    int code = 0;
    buf_init(&b, 1 << 20);
    buf_add_str(&b, "{\"input\":[\"a\"", NULL);
    for (int i = 0; i < TEXTS_MAX; i++) buf_add_str(&b, ",\"a\"", NULL);
    buf_add_str(&b, "]}", NULL);
    json_decref(client_post(port, EMBEDDINGS, buf_text(&b), &code));
    assert_int_equal(code, 400);
    buf_done(&b);
}

/* Something is computed or waits, or nothing: it becomes so soon. */
static bool busy_becomes(bool want)
{
    for (int i = 0; i < 500; i++) {
        client_reply r;
        client_ask(port, "GET", "/health", "", NULL, &r);
        json_t *v = client_json(&r);
        bool busy = contract_int(v, "running") + contract_int(v, "waiting") > 0;
        json_decref(v);
        client_done(&r);
        if (busy == want) return true;
        usleep(10000);
    }
    return false;
}

/* A client that leaves takes its texts with it: what is left of them is not computed. */
static void leaving(void **state)
{
    (void)state;
    buf b;
    buf_init(&b, 1 << 20);
    buf_add_str(&b, "{\"input\":[\"a\"", NULL);
    for (int i = 1; i < TEXTS_MAX; i++) buf_add_str(&b, ",\"the same text over and over, the same text over and over\"", NULL);
    buf_add_str(&b, "]}", NULL);
    int fd = client_connect(port);
    char top[160];
    snprintf(top, sizeof top, "POST " EMBEDDINGS " HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n", b.len);
    assert_true(client_say(fd, top) && client_send(fd, b.data, b.len));
    buf_done(&b);
    assert_true(busy_becomes(true));
    close(fd);
    if (!busy_becomes(false)) fail_msg("texts of a client that has left are still computed");
    json_t *v = contract_post(port, EMBEDDINGS, "{\"input\":\"Hello\"}");
    check_numbers(embedding(v, 0), hello, H);
    json_decref(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(openai), cmocka_unit_test(base64), cmocka_unit_test(many), cmocka_unit_test(ollama),
                                        cmocka_unit_test(refused), cmocka_unit_test(leaving) };
    json_use_mem();
    return cmocka_run_group_tests(tests, start, stop);
}
