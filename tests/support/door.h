/* What tests of the server's door share: a server of their own, its metrics, a request by hand, a question that it must still answer. */
#ifndef FC_TESTS_DOOR_H
#define FC_TESTS_DOOR_H

#include <time.h>

#include "support/client.h"
#include "support/contract.h"
#include "support/server.h"
#include "support/test.h"

static inline int64_t door_metric(int port, const char *name)
{
    client_reply r;
    client_ask(port, "GET", "/metrics", "", NULL, &r);
    const char *at = strstr(buf_text(&r.body), name);
    int64_t v = at ? atoll(strchr(at, '}') + 2) : -1;
    client_done(&r);
    return v;
}

/* Waits for what must happen; fails after a minute. */
static inline void door_wait_for(int port, const char *name, int64_t want)
{
    for (int i = 0; i < 3000; i++) {
        if (door_metric(port, name) == want) return;
        nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
    }
    fail_msg("%s never became %lld", name, (long long)want);
}

static inline test_server *door_start(serve_opts o)
{
    err e = { 0 };
    test_server *s = test_server_start(o, &e);
    if (!s) fail_msg("%s: %s", e.what, e.why);
    return s;
}

static inline void door_send_post(int fd, const char *path, const char *body)
{
    char top[256];
    snprintf(top, sizeof top, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n", path, strlen(body));
    assert_true(client_say(fd, top) && client_say(fd, body));
}

static inline void door_still_answers(int port)
{
    json_t *v = contract_post(port, "/v1/chat/completions",
                              "{\"temperature\":0,\"messages\":[{\"role\":\"user\",\"content\":\"What is 12 + 30?\"}]}");
    json_t *m = json_object_get(json_array_get(json_object_get(v, "choices"), 0), "message");
    assert_string_equal(contract_text(m, "content"), "12 + 30 = 42");
    json_decref(v);
}

#endif
