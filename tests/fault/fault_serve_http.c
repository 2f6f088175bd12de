/* Allocations of a running server fail while it answers, in each dialect, streamed and not: that request ends, with its answer, with
 * an error or with a closed connection, and never waits for ever; the next one is answered as ever. */
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/client.h"
#include "support/contract.h"
#include "support/mini_adapter.h"
#include "support/server.h"
#include "support/test.h"

#define CHAT "\"messages\":[{\"role\":\"user\",\"content\":\"What is 12 + 30?\"}],\"temperature\":0,\"max_tokens\":6"
#define TOOLS "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"properties\":{\"a\":{\"enum\":[1,2]}}}}}],\"tool_choice\":\"required\""

static test_server *server;
static int port;
static char answer[1 << 20];     /* the last one */
static char dir[512];            /* of adapters */

static int start(void **state)
{
    char path[600];
    (void)state;
    snprintf(dir, sizeof dir, "%s/adapters-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/loud", dir);
    mini_adapter_write(path, 1, 0.3f);
    return test_server_setup(&server, &port, (serve_opts){ .engine = { .ctx = 512, .parallel = 2 }, .adapter_dir = dir });
}

static int stop(void **state)
{
    (void)state;
    return test_server_teardown(server);
}

/* Sends, then reads until the other side closes, without an allocation of its own; the status, 0: closed without one, -1: it hangs. */
static int ask(const char *request, int64_t failing, bool *hit)
{
    size_t n = 0;
    ssize_t got = 1;
    int fd = client_connect(port);
    struct pollfd p = { .fd = fd, .events = POLLIN };
    assert_true(fd >= 0);
    mem_fail_at(failing);
    client_say(fd, request);
    while (got > 0 && n + 1 < sizeof answer) {
        if (poll(&p, 1, 60000) <= 0) { got = -1; break; }
        got = recv(fd, answer + n, sizeof answer - 1 - n, 0);
        n += got > 0 ? (size_t)got : 0;
    }
    *hit = mem_fail_hit();
    mem_fail_at(-1);
    close(fd);
    answer[n] = '\0';
    return got < 0 && n == 0 && *hit == false ? -1 : n < 12 ? 0 : atoi(answer + 9);
}

static void write_request(char out[2048], const char *method, const char *path, const char *body)
{
    snprintf(out, 2048, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", method, path,
             strlen(body), body);
}

static void check(const char *path, const char *body)
{
    char request[2048];
    bool hit = true;
    int codes[6] = { 0 };
    write_request(request, "POST", path, body);
    assert_int_equal(ask(request, -1, &hit), 200);
    for (int64_t i = 0; i < 20000; i += 1 + i / 8) {
        int code = ask(request, i, &hit);
        if (code != 0 && code != 200 && code != 500 && code != 503) fail_msg("%s, allocation %d: %s", path, (int)i, answer);
        codes[code / 100]++;
        if (!hit) break;
    }
    assert_true(!hit && codes[5] > 0);       /* some were seen to fail, and in the end none did */
    assert_int_equal(ask(request, -1, &hit), 200);
}

static void of_chat(void **state)
{
    (void)state;
    check("/v1/chat/completions", "{" CHAT "}");
    check("/v1/chat/completions", "{\"stream\":true,\"stream_options\":{\"include_usage\":true},\"logprobs\":true,\"top_logprobs\":1," CHAT "}");
    check("/v1/chat/completions", "{" TOOLS ",\"parallel_tool_calls\":false,\"reasoning_effort\":\"low\"," CHAT "}");
    check("/v1/completions", "{\"prompt\":[\"a\",[5,6]],\"max_tokens\":2,\"stream\":true}");
}

static void of_messages(void **state)
{
    (void)state;
    check("/v1/messages", "{" CHAT "}");
    check("/v1/messages", "{\"stream\":true,\"thinking\":{\"type\":\"enabled\"}," CHAT "}");
    check("/v1/messages/count_tokens", "{" CHAT "}");
}

static void of_responses(void **state)
{
    (void)state;
    check("/v1/responses", "{\"input\":\"What is 12 + 30?\",\"max_output_tokens\":6}");
    check("/v1/responses", "{\"input\":\"What is 12 + 30?\",\"stream\":true,\"reasoning\":{\"effort\":\"low\"},\"max_output_tokens\":12}");
    check("/v1/responses", "{\"input\":\"x\",\"stream\":true,\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"n\",\"schema\":{\"enum\":[1,2]}}}}");
}

/* Once a change that nobody waits for any more is over. */
static int ask_settled(const char *request)
{
    bool hit;
    int code;
    while ((code = ask(request, -1, &hit)) == 503 && strstr(answer, "being loaded")) usleep(1000);
    return code;
}

/* A load fails as a whole or is made, and so is an unload, whatever becomes of its answer. */
static void of_adapters(void **state)
{
    (void)state;
    char load[2048], unload[2048];
    bool hit = true;
    int failed = 0;
    write_request(load, "POST", "/adapters", "{\"name\":\"loud\"}");
    write_request(unload, "DELETE", "/adapters/loud", "");
    for (int64_t i = 0; hit; i += 1 + i / 16) {
        int code = ask(load, i, &hit);
        if (code != 0 && code != 200 && code != 503) fail_msg("loading, allocation %d: %s", (int)i, answer);
        failed += code != 200;
        int after = ask_settled(unload);
        if (after != 200 && (after != 404 || code == 200)) fail_msg("loaded with %d at allocation %d, then unloading: %s", code, (int)i, answer);
    }
    assert_true(failed > 10);
    hit = true;
    for (int64_t i = 0; hit; i++) {
        int code = ask_settled(load);
        if (code != 200 && code != 409) fail_msg("loading again: %s", answer);
        code = ask(unload, i, &hit);
        if (code != 0 && code != 200 && code != 503) fail_msg("unloading, allocation %d: %s", (int)i, answer);
    }
    assert_int_equal(ask_settled(load), 200);
    check("/v1/completions", "{\"model\":\"loud\",\"prompt\":\"a\",\"max_tokens\":2}");
    check("/v1/embeddings", "{\"model\":\"loud\",\"input\":\"a\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(of_chat), cmocka_unit_test(of_messages), cmocka_unit_test(of_responses), cmocka_unit_test(of_adapters) };
    json_use_mem();
    return cmocka_run_group_tests(tests, start, stop);
}
