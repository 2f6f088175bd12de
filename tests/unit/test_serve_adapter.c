/* Adapters over sockets: chosen by the model's name in every dialect, several in one step, kept apart in the cache, loaded and unloaded
 * while the server runs. */
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/client.h"
#include "support/contract.h"
#include "support/mini_adapter.h"
#include "support/server.h"
#include "support/test.h"

#define COMPLETIONS "/v1/completions"
#define HELLO "\"prompt\":\"Hello, what is this?\",\"temperature\":0,\"max_tokens\":8,\"logprobs\":0,\"logit_bias\":{\"1\":-100,\"106\":-100}"

enum { TOKENS = 8 };

static test_server *server;
static int port;
static char dir[512], loud[600], soft[600];
static double want[3][TOKENS];   /* log-probabilities without, with loud, with soft; by the library itself */

/* ---- what the library says ------------------------------------------------------------------------------------ */

typedef struct said { double logprobs[TOKENS]; int count; } said;

static void listen_to(void *user, const facet_event *ev)
{
    said *s = user;
    if (ev->kind == FACET_TOKEN && s->count < TOKENS) s->logprobs[s->count++] = (double)ev->token.logprob;
}

static void ask_library(const facet_model *m, const facet_adapter *a, double *out)
{
    facet_error e = { 0 };
    facet_engine *g = NULL;
    facet_request *r = NULL;
    facet_sampling s;
    said heard = { .count = 0 };
    const facet_bias never[] = { { 1, -100 }, { 106, -100 } };
    facet_sampling_defaults(m, &s);
    s.temperature = 0;
    s.max_tokens = TOKENS;
    s.logprobs = true;
    s.bias = never;
    s.bias_count = 2;
    assert_ok(facet_engine_start(&g, m, &(facet_engine_opts){ .ctx = 256, .exact = true, .threads = 1, .cache = -1, .adapters = a, .adapter_count = a != NULL }, &e), &e);
    assert_ok(facet_request_new(&r, g, &s, &e), &e);
    assert_ok(facet_request_text(r, "Hello, what is this?", 20, true, &e), &e);
    if (a) assert_ok(facet_request_adapter(r, a->name, &e), &e);
    assert_ok(facet_request_submit(r, listen_to, &heard, &e), &e);
    assert_ok(facet_request_wait(r, NULL, &e), &e);
    facet_request_free(r);
    facet_engine_stop(g);
    assert_int_equal(heard.count, TOKENS);
    memcpy(out, heard.logprobs, sizeof heard.logprobs);
}

static const facet_adapter adapters[] = { { .name = "loud", .path = loud }, { .name = "soft", .path = soft, .scale = 0.5 } };

static int start(void **state)
{
    facet_error e = { 0 };
    facet_model *m = NULL;
    (void)state;
    snprintf(dir, sizeof dir, "%s/adapters-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(dir));
    snprintf(loud, sizeof loud, "%s/loud", dir);
    snprintf(soft, sizeof soft, "%s/soft", dir);
    mini_adapter_write(loud, 1, 0.3f);
    mini_adapter_write(soft, 2, 0.3f);
    assert_ok(facet_model_open(&m, &(facet_model_opts){ .path = "models/facet-mini.gguf" }, &e), &e);
    ask_library(m, NULL, want[0]);
    ask_library(m, &adapters[0], want[1]);
    ask_library(m, &adapters[1], want[2]);
    facet_model_close(m);
    return test_server_setup(&server, &port, (serve_opts){ .engine = { .ctx = 512, .parallel = 3, .exact = true, .adapters = adapters, .adapter_count = 2 }, .adapter_dir = dir });
}

static int stop(void **state)
{
    (void)state;
    return test_server_teardown(server);
}

/* ---- asking ---------------------------------------------------------------------------------------------------- */

static json_t *get(const char *path)
{
    client_reply r;
    client_ask(port, "GET", path, "", NULL, &r);
    if (r.code != 200) fail_msg("%s: %d: %s", path, r.code, buf_text(&r.body));
    json_t *v = client_json(&r);
    client_done(&r);
    return v;
}

/* The answer is that of adapter number which, 0: none. */
static void check_answer(const json_t *v, int which, const char *model)
{
    const json_t *list = json_object_get(json_object_get(json_array_get(json_object_get(v, "choices"), 0), "logprobs"), "token_logprobs");
    assert_string_equal(contract_text(v, "model"), model);
    assert_int_equal(json_array_size(list), TOKENS);
    for (size_t i = 0; i < TOKENS; i++) {
        double got = json_number_value(json_array_get(list, i));
        if (fabs(got - want[which][i]) > 1e-6) fail_msg("%s: token %zu: %g instead of %g", model, i, got, want[which][i]);
    }
}

static void ask_model(const char *name, const char *salt, int which, const char *model)
{
    char body[512];
    snprintf(body, sizeof body, "{\"model\":\"%s\",\"cache_salt\":\"%s\"," HELLO "}", name, salt);
    json_t *v = contract_post(port, COMPLETIONS, body);
    check_answer(v, which, model);
    json_decref(v);
}

static void expect(const char *method, const char *path, const char *body, int code, const char *error)
{
    client_reply r;
    client_ask(port, method, path, "Content-Type: application/json\r\n", body, &r);
    if (r.code != code || !strstr(buf_text(&r.body), error)) fail_msg("%s %s %s: %d: %s", method, path, body ? body : "", r.code, buf_text(&r.body));
    client_done(&r);
}

/* ---- choosing -------------------------------------------------------------------------------------------------- */

static void chosen_by_name(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) assert_true(fabs(want[0][0] - want[i + 1][0]) > 1e-3 && fabs(want[1][0] - want[2][0]) > 1e-3);
    ask_model("facet-mini", "names", 0, "facet-mini");
    ask_model("facet-mini:latest", "names", 0, "facet-mini");
    ask_model("facet-mini:loud", "names", 1, "facet-mini:loud");
    ask_model("loud", "names", 1, "facet-mini:loud");
    ask_model("soft", "names", 2, "facet-mini:soft");
    ask_model("soft:latest", "names", 2, "facet-mini:soft");
    ask_model("claude-loud", "names", 0, "facet-mini");         /* another model's name: this one answers */
    expect("POST", COMPLETIONS, "{\"model\":\"facet-mini:other\"," HELLO "}", 404, "model_not_found");
    expect("POST", COMPLETIONS, "{\"model\":\"facet-mini:loud:soft\"," HELLO "}", 404, "no adapter \\\"loud:soft\\\"");
    expect("POST", COMPLETIONS, "{\"model\":\"facet-mini:\"," HELLO "}", 404, "model_not_found");
}

/* All of one step, several times over, in an order that the cache cannot have seen. */
static void together(void **state)
{
    (void)state;
    static const char *const names[] = { "facet-mini", "loud", "facet-mini:soft", "facet-mini:loud", "soft", "facet-mini" };
    static const char *const models[] = { "facet-mini", "facet-mini:loud", "facet-mini:soft" };
    static const int which[] = { 0, 1, 2, 1, 2, 0 };
    int fds[6];
    for (int i = 0; i < 6; i++) {
        char body[512], top[256];
        int n = snprintf(body, sizeof body, "{\"model\":\"%s\",\"cache_salt\":\"together\"," HELLO "}", names[i]);
        fds[i] = client_connect(port);
        snprintf(top, sizeof top, "POST " COMPLETIONS " HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", n);
        assert_true(fds[i] >= 0 && client_say(fds[i], top) && client_say(fds[i], body));
    }
    for (int i = 0; i < 6; i++) {
        client_reply r;
        client_read(fds[i], &r);
        assert_int_equal(r.code, 200);
        json_t *v = client_json(&r);
        check_answer(v, which[i], models[which[i]]);
        json_decref(v);
        client_done(&r);
        close(fds[i]);
    }
}

static int cached(const char *name)
{
    char body[512];
    snprintf(body, sizeof body, "{\"model\":\"%s\",\"cache_salt\":\"cache\",\"prompt\":\"One two three four five six seven eight nine ten.\",\"max_tokens\":1}", name);
    json_t *v = contract_post(port, COMPLETIONS, body);
    int n = contract_int(json_object_get(json_object_get(v, "usage"), "prompt_tokens_details"), "cached_tokens");
    json_decref(v);
    return n;
}

/* What one adapter computed is found by it alone. */
static void cache_is_kept_apart(void **state)
{
    (void)state;
    static const char *const names[] = { "facet-mini", "loud", "soft" };
    for (int i = 0; i < 3; i++) assert_int_equal(cached(names[i]), 0);
    for (int i = 0; i < 3; i++) assert_true(cached(names[i]) > 0);
}

static void in_every_dialect(void **state)
{
    (void)state;
#define SAY "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"max_tokens\":2"
    static const struct { const char *path, *body, *model; } all[] = {
        { "/v1/chat/completions", "{\"model\":\"facet-mini:loud\"," SAY "}", "facet-mini:loud" },
        { "/v1/messages", "{\"model\":\"loud\"," SAY "}", "facet-mini:loud" },
        { "/v1/responses", "{\"model\":\"loud\",\"input\":\"Hi\",\"max_output_tokens\":16}", "facet-mini:loud" },
        { "/v1/embeddings", "{\"model\":\"loud\",\"input\":\"Hi\"}", "facet-mini:loud" },
        { "/api/chat", "{\"model\":\"loud:latest\",\"stream\":false,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}", "facet-mini:loud" },
        { "/api/generate", "{\"model\":\"facet-mini:soft\",\"stream\":false,\"prompt\":\"Hi\",\"options\":{\"num_predict\":2}}", "facet-mini:soft" },
        { "/api/embed", "{\"model\":\"soft\",\"input\":\"Hi\"}", "facet-mini:soft" },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        json_t *v = contract_post(port, all[i].path, all[i].body);
        assert_string_equal(contract_text(v, "model"), all[i].model);
        json_decref(v);
    }
    json_t *plain = contract_post(port, "/v1/embeddings", "{\"input\":\"Hi\"}"), *with = contract_post(port, "/v1/embeddings", "{\"model\":\"loud\",\"input\":\"Hi\"}");
    assert_false(json_equal(json_object_get(plain, "data"), json_object_get(with, "data")));
    json_decref(plain);
    json_decref(with);
    static const char *const paths[] = { "/v1/chat/completions", "/v1/messages" };
    for (size_t i = 0; i < 2; i++) expect("POST", paths[i], "{\"model\":\"facet-mini:none\"," SAY "}", 404, "no adapter");
    expect("POST", "/v1/responses", "{\"model\":\"facet-mini:none\",\"input\":\"Hi\"}", 404, "no adapter");
    expect("POST", "/v1/embeddings", "{\"model\":\"facet-mini:none\",\"input\":\"Hi\"}", 404, "no adapter");
    expect("POST", "/api/embed", "{\"model\":\"facet-mini:none\",\"input\":\"Hi\"}", 404, "no adapter");
    expect("POST", "/api/show", "{\"model\":\"facet-mini:none\"}", 404, "no adapter");
}

static void listed(void **state)
{
    (void)state;
    static const char *const names[] = { "facet-mini", "facet-mini:loud", "facet-mini:soft" };
    json_t *v = get("/v1/models");
    const json_t *data = json_object_get(v, "data");
    assert_int_equal(json_array_size(data), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(contract_text(json_array_get(data, i), "id"), names[i]);
        assert_int_equal(json_object_get(json_array_get(data, i), "parent") != NULL, i > 0);
    }
    assert_string_equal(contract_text(json_array_get(data, 1), "parent"), "facet-mini");
    json_decref(v);
    v = get("/v1/models/facet-mini%3Aloud");
    assert_string_equal(contract_text(v, "id"), "facet-mini:loud");
    json_decref(v);
    v = get("/v1/models/soft");
    assert_string_equal(contract_text(v, "id"), "facet-mini:soft");
    json_decref(v);
    expect("GET", "/v1/models/facet-mini:none", NULL, 404, "model_not_found");
    static const char *const lists[] = { "/api/tags", "/api/ps" };
    for (int i = 0; i < 2; i++) {
        v = get(lists[i]);
        const json_t *models = json_object_get(v, "models");
        assert_int_equal(json_array_size(models), 3);
        assert_string_equal(contract_text(json_array_get(models, 0), "name"), "facet-mini:latest");
        assert_string_equal(contract_text(json_array_get(models, 2), "name"), "facet-mini:soft");
        assert_string_not_equal(contract_text(json_array_get(models, 0), "digest"), contract_text(json_array_get(models, 2), "digest"));
        json_decref(v);
    }
    v = get("/adapters");
    const json_t *first = json_array_get(json_object_get(v, "data"), 0);
    contract_keys(first, "name object model rank terms bytes requests");
    assert_string_equal(contract_text(first, "name"), "loud");
    assert_int_equal(contract_int(first, "rank"), 2);
    assert_int_equal(contract_int(first, "terms"), 6);
    assert_int_equal(contract_int(first, "requests"), 0);
    json_t *all = get("/status");
    assert_int_equal(contract_int(json_object_get(all, "memory"), "adapters"), 2 * contract_int(first, "bytes"));
    json_decref(all);
    json_decref(v);
}

/* ---- changing -------------------------------------------------------------------------------------------------- */

static void loaded_and_unloaded(void **state)
{
    (void)state;
    json_t *v = contract_post(port, "/adapters", "{\"name\":\"third\",\"file\":\"soft\",\"scale\":0.5}");
    contract_keys(v, "name object model rank terms bytes requests");
    assert_string_equal(contract_text(v, "model"), "facet-mini:third");
    json_decref(v);
    ask_model("third", "third", 2, "facet-mini:third");
    expect("POST", "/adapters", "{\"name\":\"third\",\"file\":\"soft\"}", 409, "adapter_exists");
    expect("DELETE", "/adapters/third", NULL, 200, "\"deleted\":true");
    expect("DELETE", "/adapters/third", NULL, 404, "adapter_not_found");
    expect("POST", COMPLETIONS, "{\"model\":\"facet-mini:third\"," HELLO "}", 404, "no adapter");
    /* the same name for other terms: neither its own nor the other's prompt is taken for its own */
    json_decref(contract_post(port, "/adapters", "{\"name\":\"third\",\"file\":\"loud\"}"));
    ask_model("third", "third", 1, "facet-mini:third");
    expect("DELETE", "/adapters/third", NULL, 200, "third");
    ask_model("facet-mini", "third", 0, "facet-mini");
}

/* What a request names is an entry of the folder and nothing else. */
static void refused(void **state)
{
    (void)state;
    static const char *const names[] = { "../loud", "a/b", ".hidden", "latest", "facet-mini", "", "a b", "a:b", "\\u00e9" };
    char body[256], path[700];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(body, sizeof body, "{\"name\":\"%s\",\"file\":\"loud\"}", names[i]);
        expect("POST", "/adapters", body, 400, "\"param\":\"name\"");
    }
    expect("POST", "/adapters", "{\"name\":\"x\",\"file\":\"../adapters/loud\"}", 400, "\"param\":\"file\"");
    expect("POST", "/adapters", "{\"name\":\"x\",\"file\":\"..\"}", 400, "\"param\":\"file\"");
    expect("POST", "/adapters", "{\"name\":\"x\",\"file\":\"gone\"}", 404, "adapter_not_found");
    expect("POST", "/adapters", "{\"name\":\"gone\"}", 404, "gone");
    expect("POST", "/adapters", "{\"file\":\"loud\"}", 400, "name");
    expect("POST", "/adapters", "{\"name\":\"x\",\"file\":\"loud\",\"scale\":0}", 400, "scale");
    expect("POST", "/adapters", "[]", 400, "object");
    expect("DELETE", "/adapters/%2e%2e", NULL, 404, "adapter_not_found");
    expect("PUT", "/adapters", "{}", 405, "GET, POST");
    snprintf(path, sizeof path, "%s/broken.gguf", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("no adapter", f);
    fclose(f);
    expect("POST", "/adapters", "{\"name\":\"broken\"}", 400, "broken.gguf");
    ask_model("loud", "refused", 1, "facet-mini:loud");
}

static void not_while_in_use(void **state)
{
    (void)state;
    static const char body[] = "{\"model\":\"used\",\"prompt\":\"Go on\",\"stream\":true,\"max_tokens\":480,\"logit_bias\":{\"1\":-100,\"106\":-100}}";
    char top[256], some[256];
    client_reply r;
    json_decref(contract_post(port, "/adapters", "{\"name\":\"used\",\"file\":\"soft\"}"));
    int fd = client_connect(port);
    snprintf(top, sizeof top, "POST " COMPLETIONS " HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n", sizeof body - 1);
    assert_true(client_say(fd, top) && client_say(fd, body));
    assert_true(read(fd, some, sizeof some) > 0);            /* it is computed now */
    expect("DELETE", "/adapters/used", NULL, 409, "requests use it");
    close(fd);
    for (int i = 0; i < 500; i++) {                          /* until the cancelled request has let go of it */
        client_ask(port, "DELETE", "/adapters/used", "", NULL, &r);
        int code = r.code;
        client_done(&r);
        if (code == 200) return;
        assert_int_equal(code, 409);
        usleep(20000);
    }
    fail_msg("a request whose client has left still uses the adapter");
}

/* Many loads and unloads while others are answered: each answer is one of the right ones. */
static void changed_under_load(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        int fds[3];
        for (int k = 0; k < 3; k++) {
            char body[512], top[256];
            int n = snprintf(body, sizeof body, "{\"model\":\"%s\",\"cache_salt\":\"load %d\"," HELLO "}", k ? "loud" : "facet-mini", i);
            fds[k] = client_connect(port);
            snprintf(top, sizeof top, "POST " COMPLETIONS " HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", n);
            assert_true(fds[k] >= 0 && client_say(fds[k], top) && client_say(fds[k], body));
        }
        json_decref(contract_post(port, "/adapters", i % 2 ? "{\"name\":\"turn\",\"file\":\"loud\"}" : "{\"name\":\"turn\",\"file\":\"soft\",\"scale\":0.5}"));
        ask_model("turn", "turn", i % 2 ? 1 : 2, "facet-mini:turn");
        expect("DELETE", "/adapters/turn", NULL, 200, "turn");
        for (int k = 0; k < 3; k++) {
            client_reply r;
            client_read(fds[k], &r);
            json_t *v = client_json(&r);
            check_answer(v, k ? 1 : 0, k ? "facet-mini:loud" : "facet-mini");
            json_decref(v);
            client_done(&r);
            close(fds[k]);
        }
    }
}

/* ---- who may --------------------------------------------------------------------------------------------------- */

static int code_of(int at, const char *method, const char *path, const char *headers, const char *body)
{
    client_reply r;
    client_ask(at, method, path, headers, body, &r);
    int code = r.code;
    client_done(&r);
    return code;
}

static void who_may(void **state)
{
    (void)state;
    static const char *const keys[] = { "a-secret-key" };
    err e = { 0 };
#define BODY "{\"name\":\"loud\"}"
#define KEY "x-api-key: a-secret-key\r\n"
    test_server *s = test_server_start((serve_opts){ .engine = { .ctx = 64, .parallel = 1 }, .keys = keys, .key_count = 1, .adapter_dir = dir }, &e);
    assert_non_null(s);
    int at = test_server_port(s);
    assert_int_equal(code_of(at, "POST", "/adapters", "", BODY), 401);
    assert_int_equal(code_of(at, "GET", "/adapters", "", NULL), 401);
    assert_int_equal(code_of(at, "POST", "/adapters", KEY "X-Forwarded-For: 192.0.2.1\r\n", BODY), 200);
    assert_int_equal(code_of(at, "DELETE", "/adapters/loud", "", NULL), 401);
    assert_int_equal(code_of(at, "DELETE", "/adapters/loud", KEY, NULL), 200);
    assert_ok(test_server_stop(s), &e);
    /* without keys only this machine; without a folder nobody */
    s = test_server_start((serve_opts){ .engine = { .ctx = 64, .parallel = 1 }, .adapter_dir = dir }, &e);
    assert_non_null(s);
    at = test_server_port(s);
    assert_int_equal(code_of(at, "POST", "/adapters", "X-Forwarded-For: 192.0.2.1\r\n", BODY), 403);
    assert_int_equal(code_of(at, "POST", "/adapters", "", BODY), 200);
    assert_int_equal(code_of(at, "DELETE", "/adapters/loud", "Via: 1.1 proxy\r\n", NULL), 403);
    assert_ok(test_server_stop(s), &e);
    s = test_server_start((serve_opts){ .engine = { .ctx = 64, .parallel = 1 } }, &e);
    assert_non_null(s);
    at = test_server_port(s);
    assert_int_equal(code_of(at, "POST", "/adapters", "", BODY), 404);
    assert_int_equal(code_of(at, "DELETE", "/adapters/loud", "", NULL), 404);
    assert_int_equal(code_of(at, "GET", "/adapters", "", NULL), 200);
    assert_ok(test_server_stop(s), &e);
}

static void cannot_start(void **state)
{
    (void)state;
    err e = { 0 };
    const facet_adapter bad = { .name = "a:b", .path = loud }, own = { .name = "facet-mini", .path = loud }, gone = { .name = "gone", .path = "/nowhere/adapter" };
    const struct { const facet_adapter *a; const char *dir, *why; } all[] = {
        { &bad, NULL, "\"a:b\"" }, { &own, NULL, "\"facet-mini\"" }, { &gone, NULL, "/nowhere/adapter" }, { NULL, "/nowhere/adapters", "/nowhere/adapters" } };
    for (size_t i = 0; i < 4; i++) {
        memset(&e, 0, sizeof e);
        assert_null(test_server_start((serve_opts){ .engine = { .ctx = 64, .parallel = 1, .adapters = all[i].a, .adapter_count = all[i].a != NULL }, .adapter_dir = all[i].dir }, &e));
        if (!strstr(e.what, all[i].why)) fail_msg("%s: %s", e.what, e.why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chosen_by_name), cmocka_unit_test(together), cmocka_unit_test(cache_is_kept_apart), cmocka_unit_test(in_every_dialect), cmocka_unit_test(listed),
        cmocka_unit_test(loaded_and_unloaded), cmocka_unit_test(refused), cmocka_unit_test(not_while_in_use), cmocka_unit_test(changed_under_load),
    };
    const struct CMUnitTest servers[] = { cmocka_unit_test(who_may), cmocka_unit_test(cannot_start) };      /* SIGTERM ends one server at a time */
    json_use_mem();
    return cmocka_run_group_tests(tests, start, stop) + cmocka_run_group_tests(servers, NULL, NULL);
}
