/* What the server sends to a browser: the page, its files and nothing else, its rules for the browser, and /status. */
#include <time.h>
#include <unistd.h>

#include "serve/pace.h"
#include "serve/page.h"
#include "support/client.h"
#include "support/contract.h"
#include "support/server.h"
#include "support/test.h"

#define KEY "sk-0123456789"
#define WITH_KEY "Authorization: Bearer " KEY "\r\n"
#define HTML "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n"

static test_server *server;
static int port;

static int start(void **state)
{
    static const char *const keys[] = { KEY };
    (void)state;
    return test_server_setup(&server, &port, (serve_opts){ .engine = { .ctx = 2048, .parallel = 2 }, .keys = keys, .key_count = 1 });
}

static int stop(void **state)
{
    (void)state;
    return test_server_teardown(server);
}

/* The page comes without a key, or nobody could be asked for one. */
static void browser(void **state)
{
    (void)state;
    static const char *const rules[] = { "default-src 'self'", "object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'none'",
                                         "require-trusted-types-for 'script'" };
    client_reply r;
    client_ask(port, "GET", "/", HTML, NULL, &r);
    assert_int_equal(r.code, 200);
    assert_string_equal(client_header(&r, "Content-Type"), "text/html; charset=utf-8");
    assert_string_equal(client_header(&r, "X-Content-Type-Options"), "nosniff");
    assert_string_equal(client_header(&r, "Vary"), "Accept");
    assert_true(strncmp(buf_text(&r.body), "<!doctype html>", 15) == 0);
    char *policy = strdup(client_header(&r, "Content-Security-Policy"));
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (!strstr(policy, rules[i])) fail_msg("no %s in %s", rules[i], policy);
    assert_null(strstr(policy, "unsafe"));
    assert_null(strstr(policy, "*"));
    free(policy);
    client_done(&r);
}

static void others(void **state)
{
    (void)state;
    static const char *const accepts[] = { "", "Accept: */*\r\n", "Accept: application/json\r\n" };
    for (size_t i = 0; i < 3; i++) {
        client_reply r;
        client_ask(port, "GET", "/", accepts[i], NULL, &r);
        assert_int_equal(r.code, 200);
        assert_string_equal(buf_text(&r.body), "Ollama is running");
        client_done(&r);
    }
}

/* Whatever the page names is there, byte for byte as in the source tree, and nothing names another machine. */
static void files(void **state)
{
    (void)state;
    static const struct { const char *end, *type; } types[] = { { ".html", "text/html; charset=utf-8" }, { ".css", "text/css; charset=utf-8" },
        { ".js", "text/javascript; charset=utf-8" }, { ".svg", "image/svg+xml" }, { ".txt", "text/plain; charset=utf-8" } };
    assert_true(page_file_count > 10);
    for (size_t i = 0; i < page_file_count; i++) {
        char path[256], line[256], on_disk[256];
        client_reply r;
        const char *name = page_files[i].name, *type = NULL;
        snprintf(path, sizeof path, "/page/%s", name);
        snprintf(on_disk, sizeof on_disk, "src/serve/page/%s", name);
        client_ask(port, "GET", path, "", NULL, &r);
        assert_int_equal(r.code, 200);
        for (size_t t = 0; t < sizeof types / sizeof *types; t++)
            if (strcmp(strrchr(name, '.'), types[t].end) == 0) type = types[t].type;
        assert_string_equal(client_header(&r, "Content-Type"), type ? type : "(no type is known)");
        FILE *f = fopen(on_disk, "rb");
        assert_non_null(f);
        char *bytes = malloc(r.body.len + 1);
        assert_int_equal(fread(bytes, 1, r.body.len + 1, f), r.body.len);
        assert_memory_equal(bytes, r.body.data, r.body.len);
        fclose(f);
        free(bytes);
        bool own = strcmp(name, "prism.js") != 0 && !strstr(name, ".txt") && !strstr(name, ".svg");
        const char *elsewhere[] = { "//cdn", "src=\"http", "href=\"http", "url(", "@import", "innerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function" };
        for (size_t k = 0; own && k < sizeof elsewhere / sizeof *elsewhere; k++)
            if (strstr(buf_text(&r.body), elsewhere[k])) fail_msg("%s has %s", name, elsewhere[k]);
        char *tag = strdup(client_header(&r, "ETag"));
        assert_non_null(client_header(&r, "Content-Security-Policy"));
        client_done(&r);

        snprintf(line, sizeof line, "If-None-Match: W/\"other\", %s\r\n", tag);
        client_ask(port, "GET", path, line, NULL, &r);
        assert_int_equal(r.code, 304);
        assert_int_equal(r.body.len, 0);
        assert_string_equal(client_header(&r, "ETag"), tag);
        client_done(&r);
        client_ask(port, "GET", path, "If-None-Match: \"1-2\"\r\n", NULL, &r);
        assert_int_equal(r.code, 200);
        client_done(&r);
        for (size_t k = 0; k < i; k++) assert_string_not_equal(page_files[k].etag, tag);
        free(tag);
    }
}

/* A connection goes on after a 304, which has no body. */
static void kept_alive(void **state)
{
    (void)state;
    client_reply r;
    char line[512];
    int fd = client_connect(port);
    snprintf(line, sizeof line, "GET /page/app.js HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: *\r\n\r\nHEAD /page/app.js HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_say(fd, line);
    char text[4096] = "";
    for (size_t n = 0; !strstr(text, "HTTP/1.1 200 OK") && n < sizeof text - 1;) {
        ssize_t got = read(fd, text + n, sizeof text - 1 - n);
        assert_true(got > 0);
        n += (size_t)got;
    }
    assert_true(strncmp(text, "HTTP/1.1 304 Not Modified\r\n", 27) == 0);
    close(fd);
    client_ask(port, "POST", "/page/app.js", WITH_KEY, "{}", &r);
    assert_int_equal(r.code, 405);
    client_done(&r);
}

static void nothing_else(void **state)
{
    (void)state;
    static const char *const paths[] = { "/page/", "/page/nothing.js", "/page/../page/app.js", "/page/..%2fapp.js", "/page/%2e%2e/app.js", "/page//app.js", "/page/./app.js",
        "/page/app.js/", "/page/app.js%00", "/page/../../etc/passwd", "/page/..\\..\\etc\\passwd", "/page//etc/passwd", "/page/APP.JS", "/page/app.js.map", "/page/README.md",
        "/page", "/index.html", "/app.js", "/favicon.ico", "//page/app.js" };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        client_reply r;
        client_ask(port, "GET", paths[i], HTML WITH_KEY, NULL, &r);
        if (r.code != 404) fail_msg("%s: %d", paths[i], r.code);
        client_done(&r);
    }
}

/* ---- /status --------------------------------------------------------------------------------------------- */

static json_t *get_status(void)
{
    client_reply r;
    client_ask(port, "GET", "/status", WITH_KEY, NULL, &r);
    assert_int_equal(r.code, 200);
    json_t *v = client_json(&r);
    assert_non_null(v);
    client_done(&r);
    return v;
}

static void status_view(void **state)
{
    (void)state;
    static const char body[] = "{\"stream\":true,\"logit_bias\":{\"1\":-100,\"106\":-100,\"50\":-100},\"messages\":[{\"role\":\"user\",\"content\":\"Tell me something.\"}]}";
    client_reply r;
    char line[1024];
    client_ask(port, "GET", "/status", "", NULL, &r);
    assert_int_equal(r.code, 401);
    client_done(&r);
    json_t *v = get_status();
    contract_keys(v, "status version started model engine requests others totals cache memory speed");
    contract_keys(json_object_get(v, "model"), "id name size file_bytes thinking inputs defaults");
    contract_keys(json_object_get(v, "totals"), "running waiting prompt_tokens cached_tokens answer_tokens refused");
    assert_int_equal(json_array_size(json_object_get(v, "requests")), 0);
    assert_int_equal(json_array_size(json_object_get(json_object_get(v, "speed"), "answer")), PACE_STEPS - 1);
    assert_int_equal(contract_int(json_object_get(v, "engine"), "ctx"), 2048);
    json_decref(v);

    int fd = client_connect(port);
    snprintf(line, sizeof line, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n" WITH_KEY "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
    client_say(fd, line);
    json_t *one = NULL;
    for (int i = 0; i < 3000 && !one; i++) {             /* until it answers; it never ends by itself */
        v = get_status();
        one = json_array_get(json_object_get(v, "requests"), 0);
        if (one && strcmp(contract_text(one, "state"), "answer") == 0) break;
        one = NULL;
        json_decref(v);
        nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
    }
    assert_non_null(one);
    contract_keys(one, "id index state seconds prompt_tokens cached_tokens prompt_done answer_tokens");
    assert_true(contract_int(one, "answer_tokens") > 0);
    assert_int_equal(contract_int(one, "prompt_done"), contract_int(one, "prompt_tokens"));
    assert_int_equal(contract_int(json_object_get(v, "totals"), "running"), 1);
    json_t *cache = json_object_get(v, "cache");
    contract_keys(cache, "tokens tokens_max checkpoints checkpoints_max evicted preempted disk");
    contract_keys(json_object_get(cache, "disk"), "tokens files bytes bytes_max written read failed");
    assert_true(contract_int(cache, "tokens") >= contract_int(one, "prompt_tokens") && contract_int(cache, "tokens") <= contract_int(cache, "tokens_max"));
    json_decref(v);
    close(fd);
    size_t left = 1;
    for (int i = 0; i < 3000 && left; i++) {             /* and it is gone with its client */
        v = get_status();
        left = json_array_size(json_object_get(v, "requests"));
        json_decref(v);
        nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
    }
    assert_int_equal(left, 0);
}

static void pace_steps(void **state)
{
    (void)state;
    pace p = { 0 };
    pace_add(&p, 1000000.5, 7, 1);           /* the clock's zero is anywhere */
    pace_add(&p, 1000001.9, 0, 2);
    pace_add(&p, 1000004.1, 0, 5);
    assert_int_equal(pace_read(&p, 1000004.2, 0).answer, 5);
    assert_int_equal(pace_read(&p, 1000004.2, 1).answer, 0);
    assert_int_equal(pace_read(&p, 1000004.2, 2).answer, 3);
    assert_int_equal(pace_read(&p, 1000004.2, 2).prompt, 7);
    assert_int_equal(pace_read(&p, 1000004.2 + PACE_SECONDS * (PACE_STEPS - 3), PACE_STEPS - 1).answer, 3);
    assert_int_equal(pace_read(&p, 1000004.2 + PACE_SECONDS * (PACE_STEPS - 2), PACE_STEPS - 1).answer, 0);     /* too old */
    for (int ago = 0; ago < PACE_STEPS; ago++) assert_int_equal(pace_read(&p, 9000000, ago).answer, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(browser), cmocka_unit_test(others), cmocka_unit_test(files), cmocka_unit_test(kept_alive),
                                        cmocka_unit_test(nothing_else), cmocka_unit_test(status_view), cmocka_unit_test(pace_steps) };
    json_use_mem();
    return cmocka_run_group_tests(tests, start, stop);
}
