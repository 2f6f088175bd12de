/* facet serve --cache-dir: a conversation goes on behind a restart, says what it would have said, and belongs to its key. */
#include <stdio.h>
#include <unistd.h>

#include "support/client.h"
#include "support/server.h"
#include "support/test.h"

#define FIRST "{\"role\":\"system\",\"content\":\"You are a careful assistant who adds numbers and says the sum and nothing else, please.\"}," \
              "{\"role\":\"user\",\"content\":\"What is 12 + 30?\"}"
#define SECOND FIRST ",{\"role\":\"assistant\",\"content\":\"42\"},{\"role\":\"user\",\"content\":\"What is 7 + 15?\"}"

enum { KEY_A, KEY_B };
static const char *const keys[] = { "first-key-0123456789", "second-key-0123456789" };

typedef struct said { char text[256]; int cached; int64_t disk; } said;

/* One server's life: one question, then SIGTERM. */
static said live(const char *dir, int key, const char *messages)
{
    err e = { 0 };
    said out = { 0 };
    char body[1024], headers[128];
    client_reply r = { 0 };
    test_server *s = test_server_start((serve_opts){ .engine = { .ctx = 1024, .parallel = 1, .cache_dir = dir }, .keys = (const char **)(uintptr_t)keys, .key_count = 2 }, &e);
    if (!s) fail_msg("%s: %s", e.what, e.why);
    snprintf(body, sizeof body, "{\"messages\":[%s],\"temperature\":0,\"max_tokens\":16}", messages);
    snprintf(headers, sizeof headers, "Authorization: Bearer %s\r\n", keys[key]);
    client_ask(test_server_port(s), "POST", "/v1/chat/completions", headers, body, &r);
    assert_int_equal(r.code, 200);
    json_t *j = client_json(&r), *choice = json_array_get(json_object_get(j, "choices"), 0);
    snprintf(out.text, sizeof out.text, "%s", json_string_value(json_object_get(json_object_get(choice, "message"), "content")));
    out.cached = (int)json_integer_value(json_object_get(json_object_get(json_object_get(j, "usage"), "prompt_tokens_details"), "cached_tokens"));
    json_decref(j);
    client_done(&r);
    client_ask(test_server_port(s), "GET", "/status", headers, NULL, &r);
    j = client_json(&r);
    out.disk = json_integer_value(json_object_get(json_object_get(json_object_get(j, "cache"), "disk"), "tokens"));
    json_decref(j);
    client_done(&r);
    client_ask(test_server_port(s), "GET", "/metrics", headers, NULL, &r);
    assert_non_null(strstr(buf_text(&r.body), "facet:prefix_cache_disk_hits"));
    client_done(&r);
    assert_int_equal(test_server_stop(s), OK);
    return out;
}

static void a_conversation_goes_on(void **state)
{
    char dir[512];
    const char *base = getenv("TMPDIR");
    (void)state;
    snprintf(dir, sizeof dir, "%s/serve-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(dir));
    said plain = live(NULL, KEY_A, SECOND), first = live(dir, KEY_A, FIRST), other = live(dir, KEY_B, SECOND), second = live(dir, KEY_A, SECOND);
    assert_int_equal(first.cached, 0);
    assert_int_equal(other.cached, 0);
    assert_true(second.cached >= 32);
    assert_int_equal(second.disk, second.cached);
    assert_string_equal(second.text, plain.text);
    assert_string_equal(other.text, plain.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_conversation_goes_on) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
