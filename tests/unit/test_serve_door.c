/* The server's door under rough use: limits, slow and rude clients, cancelling, full queues, many at once, keys, stopping. */
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "support/door.h"

#define CHAT "/v1/chat/completions"
#define QUESTION "{\"temperature\":0,\"messages\":[{\"role\":\"user\",\"content\":\"What is 12 + 30?\"}]}"
/* Never ends by itself: the tokens that end a turn are not drawn. */
#define ENDLESS "\"logit_bias\":{\"1\":-100,\"106\":-100,\"50\":-100},\"messages\":[{\"role\":\"user\",\"content\":\"Tell me something.\"}]"

#define says(port, text, want) says_bytes((port), (text), sizeof(text) - 1, (want))
/* What is said on a new connection is answered with this status. */
static void says_bytes(int port, const char *text, size_t n, int want)
{
    client_reply r;
    int fd = client_connect(port);
    client_send(fd, text, n);
    client_read(fd, &r);
    if (r.code != want) fail_msg("%d, not %d: %.200s", r.code, want, text);
    if (want >= 400) {
        json_t *v = client_json(&r);
        assert_non_null(json_object_get(v, "error"));
        json_decref(v);
        assert_true(client_is_closed(fd, 10000));
    }
    client_done(&r);
    close(fd);
}

static void limits(void **state)
{
    (void)state;
    test_server *s = door_start((serve_opts){ .http = { .head_seconds = 1, .body_seconds = 1, .idle_seconds = 2 } });
    int port = test_server_port(s), fd;
    char *big = malloc(40000);
    memset(big, 'a', 40000);
    memcpy(big, "GET / HTTP/1.1\r\nX: ", 19);
    says_bytes(port, big, 40000, 431);
    free(big);
    says(port, "GET /v1/models HTTP/1.1\r\n\r\n", 400);
    says(port, "\x16\x03\x01\x02\x00\x01\r\n\r\n", 400);                     /* TLS */
    says(port, "POST " CHAT " HTTP/1.1\r\nHost: a.localhost\r\nContent-Length: 999999999999\r\n\r\n", 413);
    says(port, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n", 413);
    says(port, "GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n", 413);
    says(port, "POST " CHAT " HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400);
    says(port, "GET /health HTTP/1.1\r\nHos", 408);                          /* never ends */
    says(port, "POST " CHAT " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n{", 408);
    fd = client_connect(port);                                                    /* says nothing at all */
    assert_true(client_is_closed(fd, 20000));
    close(fd);
    door_still_answers(port);
    assert_int_equal(test_server_stop(s), OK);
}

static void rude_clients(void **state)
{
    (void)state;
    test_server *s = door_start((serve_opts){ 0 });
    int port = test_server_port(s);
    uint32_t seed = 1;
    for (int i = 0; i < 200; i++) {                    /* garbage, cut requests, at once closed */
        char noise[600];
        size_t n = 0;
        int fd = client_connect(port);
        if (i % 3 == 0) n = (size_t)snprintf(noise, sizeof noise, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300\r\n\r\n", CHAT);
        for (size_t k = n; k < 400; k++) noise[k] = (char)((seed = seed * 1664525u + 1013904223u) >> 24);
        client_send(fd, noise, i % 3 == 1 ? 7 : n + 300);
        close(fd);
    }
    char deep[3000] = "{\"messages\":";
    memset(deep + strlen(deep), '[', 2900 - strlen(deep));
    int code = 0;
    json_decref(client_post(port, CHAT, deep, &code));
    assert_int_equal(code, 400);
    door_still_answers(port);
    door_wait_for(port, "facet:calls{", 1);                 /* nothing is left but this question */
    assert_int_equal(test_server_stop(s), OK);
}

static void one_connection(void **state)
{
    (void)state;
    client_reply r;
    test_server *s = door_start((serve_opts){ 0 });
    int fd = client_connect(test_server_port(s));
    for (int i = 0; i < 3; i++) door_send_post(fd, CHAT, QUESTION);             /* all at once, answered in order */
    client_say(fd, "\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\nGET /health HTTP/1.0\r\n\r\n");
    static const int want[] = { 200, 200, 200, 200, 404, 200 };
    for (int i = 0; i < 6; i++) {
        client_read(fd, &r);
        assert_int_equal(r.code, want[i]);
        assert_true(r.whole);
        client_done(&r);
    }
    assert_true(client_is_closed(fd, 10000));                              /* HTTP/1.0 wants no more */
    close(fd);
    fd = client_connect(test_server_port(s));
    client_say(fd, "POST " CHAT " HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 87\r\n\r\n");
    char first[64] = "";
    assert_true(recv(fd, first, 25, MSG_WAITALL) == 25);
    assert_string_equal(first, "HTTP/1.1 100 Continue\r\n\r\n");
    close(fd);
    assert_int_equal(test_server_stop(s), OK);
}

static void first_bytes(int fd)
{
    char piece[16];
    assert_true(recv(fd, piece, sizeof piece, 0) > 0);
}

static void leaving_cancels(void **state)
{
    (void)state;
    test_server *s = door_start((serve_opts){ .engine = { .ctx = 8192, .parallel = 1 } });
    int port = test_server_port(s), computed = client_connect(port), queued = client_connect(port), whole;
    door_send_post(computed, CHAT, "{\"stream\":true," ENDLESS "}");
    first_bytes(computed);
    door_send_post(queued, CHAT, "{\"stream\":true," ENDLESS "}");
    door_wait_for(port, "facet:num_requests_waiting{", 1);
    close(queued);                                                         /* before it was its turn */
    door_wait_for(port, "finished_reason=\"cancelled\"", 1);
    close(computed);                                                       /* in the middle */
    door_wait_for(port, "finished_reason=\"cancelled\"", 2);
    whole = client_connect(port);
    door_send_post(whole, CHAT, "{" ENDLESS "}");                               /* not streamed: nothing was sent yet */
    door_wait_for(port, "facet:num_requests_running{", 1);
    close(whole);
    door_wait_for(port, "finished_reason=\"cancelled\"", 3);
    assert_int_equal(door_metric(port, "facet:num_requests_running{"), 0);
    assert_int_equal(door_metric(port, "finished_reason=\"length\""), 0);       /* nobody's answer was computed to its end */
    door_still_answers(port);
    assert_int_equal(test_server_stop(s), OK);
}

static void full_queue(void **state)
{
    (void)state;
    client_reply r;
    test_server *s = door_start((serve_opts){ .engine = { .ctx = 8192, .parallel = 1, .queue = 1 } });
    int port = test_server_port(s), a = client_connect(port), b = client_connect(port);
    door_send_post(a, CHAT, "{\"stream\":true," ENDLESS "}");
    first_bytes(a);
    door_send_post(b, CHAT, "{\"stream\":true," ENDLESS "}");
    door_wait_for(port, "facet:num_requests_waiting{", 1);
    client_ask(port, "POST", CHAT, "", QUESTION, &r);
    assert_int_equal(r.code, 429);
    assert_string_equal(client_header(&r, "Retry-After"), "1");
    json_t *v = client_json(&r);
    assert_string_equal(contract_text(json_object_get(v, "error"), "type"), "rate_limit_error");
    json_decref(v);
    client_done(&r);
    close(a);
    close(b);
    door_wait_for(port, "facet:num_requests_running{", 0);
    door_still_answers(port);
    assert_int_equal(test_server_stop(s), OK);
}

/* Who waits longer than anybody should is told to come back, streamed or not; who is answered is not. */
static void long_queue(void **state)
{
    (void)state;
    client_reply r;
    test_server *s = door_start((serve_opts){ .engine = { .ctx = 8192, .parallel = 1 }, .queue_seconds = 1 });
    int port = test_server_port(s), a = client_connect(port);
    door_send_post(a, CHAT, "{\"stream\":true," ENDLESS "}");
    first_bytes(a);
    client_ask(port, "POST", CHAT, "", QUESTION, &r);
    assert_int_equal(r.code, 503);
    assert_string_equal(client_header(&r, "Retry-After"), "1");
    json_t *v = client_json(&r);
    assert_non_null(strstr(contract_text(json_object_get(v, "error"), "message"), "has waited 1 seconds"));
    json_decref(v);
    client_done(&r);
    client_ask(port, "POST", "/v1/messages", "", "{\"stream\":true,\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", &r);
    assert_int_equal(r.code, 503);
    client_done(&r);
    first_bytes(a);
    close(a);
    door_wait_for(port, "facet:num_requests_running{", 0);
    door_still_answers(port);
    assert_int_equal(test_server_stop(s), OK);
}

/* A client that does not read while everything is computed gets all of it in the end. */
static void slow_reader(void **state)
{
    (void)state;
    client_reply r;
    test_server *s = door_start((serve_opts){ .engine = { .ctx = 4096 } });
    int port = test_server_port(s), fd = client_connect(port);
    door_send_post(fd, CHAT, "{\"stream\":true,\"stream_options\":{\"include_usage\":true},\"logprobs\":true,\"top_logprobs\":20,\"max_tokens\":3000," ENDLESS "}");
    door_wait_for(port, "facet:num_requests_running{", 1);
    nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
    client_read(fd, &r);
    assert_true(r.whole);
    json_t *events = client_events(&r), *ev;
    size_t i, n = 0, last = json_array_size(events) - 1;
    json_array_foreach(events, i, ev)
        n += json_array_size(json_object_get(json_object_get(json_array_get(json_object_get(json_object_get(ev, "data"), "choices"), 0), "logprobs"), "content"));
    assert_int_equal(n, 3000);
    assert_true(r.body.len > 4u << 20);                                    /* more than sockets hold */
    assert_int_equal(contract_int(json_object_get(json_object_get(json_array_get(events, last - 1), "data"), "usage"), "completion_tokens"), 3000);
    json_decref(events);
    client_done(&r);
    close(fd);
    assert_int_equal(test_server_stop(s), OK);
}

static void many_at_once(void **state)
{
    (void)state;
    enum { MANY = 40 };
    int fds[MANY];
    test_server *s = door_start((serve_opts){ .engine = { .parallel = 4 } });
    int port = test_server_port(s);
    for (int i = 0; i < MANY; i++) {
        char body[256];
        fds[i] = client_connect(port);
        snprintf(body, sizeof body, "{\"temperature\":0,\"stream\":%s,\"messages\":[{\"role\":\"user\",\"content\":\"What is 12 + 30?\"}]}", i % 2 ? "true" : "false");
        door_send_post(fds[i], CHAT, body);
    }
    for (int i = 0; i < MANY; i++) {
        client_reply r;
        client_read(fds[i], &r);
        assert_int_equal(r.code, 200);
        assert_true(r.whole);
        assert_non_null(strstr(buf_text(&r.body), i % 2 ? "data: [DONE]" : "\"12 + 30 = 42\""));
        client_done(&r);
        close(fds[i]);
    }
    assert_int_equal(door_metric(port, "finished_reason=\"stop\""), MANY);
    assert_int_equal(test_server_stop(s), OK);
}

static void too_many_connections(void **state)
{
    (void)state;
    int fds[5];
    client_reply r;
    test_server *s = door_start((serve_opts){ .http = { .connections = 4 } });
    int port = test_server_port(s);
    for (int i = 0; i < 5; i++) fds[i] = client_connect(port);
    client_read(fds[4], &r);
    assert_int_equal(r.code, 503);
    client_done(&r);
    for (int i = 0; i < 5; i++) close(fds[i]);
    for (int tries = 0; tries < 500; tries++) {                            /* the others have left */
        client_ask(port, "GET", "/health", "", NULL, &r);
        int code = r.code;
        client_done(&r);
        if (code == 200) break;
        assert_true(tries < 499);
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    }
    assert_int_equal(test_server_stop(s), OK);
}

/* An endless answer for whom the proxy says; the status of its head. */
static int ask_through_proxy(int port, const char *forwarded, int *fd)
{
    static const char body[] = "{\"stream\":true," ENDLESS "}";
    char top[512], said[64] = "";
    *fd = client_connect(port);
    snprintf(top, sizeof top, "POST " CHAT " HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %zu\r\n\r\n", forwarded, sizeof body - 1);
    assert_true(client_say(*fd, top) && client_say(*fd, body));
    assert_true(recv(*fd, said, 12, MSG_WAITALL) == 12);
    return atoi(said + 9);
}

/* The limit counts whom a trusted proxy names, an IPv6 network of 64 bits as one, and believes nobody else. */
static void trusted_proxies(void **state)
{
    (void)state;
    static const char *const trusted[] = { "127.0.0.1", "10.0.0.0/8" };
    static const struct { const char *fields; int code; } all[] = {
        { "X-Forwarded-For: 192.0.2.1\r\n", 200 },
        { "X-Forwarded-For: 203.0.113.9, 192.0.2.1:4711\r\n", 200 },          /* what stands before it the client may have made up */
        { "X-Forwarded-For: 192.0.2.1\r\n", 503 },
        { "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 192.0.2.1 , 10.1.2.3\r\n", 503 },      /* behind a second proxy of ours */
        { "X-Forwarded-For: 192.0.2.1, 203.0.113.9\r\n", 200 },
        { "X-Forwarded-For: 2001:db8:1:2::1\r\n", 200 }, { "X-Forwarded-For: [2001:db8:1:2:3::1]:80\r\n", 200 }, { "X-Forwarded-For: 2001:db8:1:2:4::1\r\n", 503 },
        { "X-Forwarded-For: 2001:db8:1:3::1\r\n", 200 },
        { "", 200 }, { "", 200 }, { "", 200 },                                   /* the proxy itself, this machine */
    };
    enum { N = sizeof all / sizeof *all };
    int fds[N], again;
    test_server *s = door_start((serve_opts){ .http = { .per_address = 2, .proxies = trusted, .proxy_count = 2 }, .engine = { .ctx = 8192, .parallel = 12 } });
    int port = test_server_port(s);
    for (int i = 0; i < N; i++) {
        int code = ask_through_proxy(port, all[i].fields, &fds[i]);
        if (code != all[i].code) fail_msg("%d instead of %d: %s", code, all[i].code, all[i].fields);
    }
    close(fds[0]);
    for (int tries = 0; ask_through_proxy(port, all[0].fields, &again) != 200; tries++) {         /* the place of one that has left is free */
        close(again);
        assert_true(tries < 500);
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    }
    close(again);
    for (int i = 1; i < N; i++) close(fds[i]);
    door_wait_for(port, "facet:num_requests_running{", 0);
    assert_int_equal(test_server_stop(s), OK);
    /* nobody is trusted: what the field says changes nothing */
    s = door_start((serve_opts){ .http = { .per_address = 1 }, .engine = { .ctx = 8192, .parallel = 4 } });
    port = test_server_port(s);
    for (int i = 0; i < 3; i++) assert_int_equal(ask_through_proxy(port, all[0].fields, &fds[i]), 200);
    for (int i = 0; i < 3; i++) close(fds[i]);
    assert_int_equal(test_server_stop(s), OK);
    err e = { 0 };
    static const char *const nobody[] = { "proxy.example.org" };
    assert_null(test_server_start((serve_opts){ .http = { .proxies = nobody, .proxy_count = 1 } }, &e));
    assert_non_null(strstr(e.what, "proxy.example.org"));
}

static void expect_code(int port, const char *path, const char *headers, int want)
{
    client_reply r;
    client_ask(port, "GET", path, headers, NULL, &r);
    if (r.code != want) fail_msg("%s %s: %d, not %d", path, headers, r.code, want);
    client_done(&r);
}

static void keys(void **state)
{
    (void)state;
    static const char *const list[] = { "key-of-anna", "key-of-berta" };
    client_reply r;
    test_server *s = door_start((serve_opts){ .keys = list, .key_count = 2, .strict_model = true, .alias = "gemma" });
    int port = test_server_port(s);
    expect_code(port, "/health", "", 200);
    expect_code(port, "/v1/models", "", 401);
    expect_code(port, "/v1/models", "Authorization: Bearer key-of-ann\r\n", 401);
    expect_code(port, "/v1/models", "Authorization: Bearer key-of-anna\r\n", 200);
    expect_code(port, "/v1/models", "x-api-key: key-of-berta\r\n", 200);
    expect_code(port, "/metrics", "", 200);
    expect_code(port, "/metrics", "X-Forwarded-For: 192.0.2.7\r\n", 401);
    expect_code(port, "/metrics", "Forwarded: for=192.0.2.7\r\nx-api-key: key-of-berta\r\n", 200);
    expect_code(port, "/nothing", "", 401);                                /* nothing is told without a key */
    expect_code(port, "/v1/models/gemma", "x-api-key: key-of-berta\r\n", 200);
    expect_code(port, "/v1/models/other", "x-api-key: key-of-berta\r\n", 404);
    client_ask(port, "POST", CHAT, "x-api-key: key-of-anna\r\n", "{\"model\":\"gpt-4\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", &r);
    assert_int_equal(r.code, 404);
    json_t *v = client_json(&r);
    assert_string_equal(contract_text(json_object_get(v, "error"), "code"), "model_not_found");
    json_decref(v);
    client_done(&r);
    /* refused before its body is there */
    says(port, "POST " CHAT " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n", 401);
    assert_int_equal(test_server_stop(s), OK);
}

static json_t *status_of(int port, const char *key)
{
    client_reply r;
    client_ask(port, "GET", "/status", key, NULL, &r);
    json_t *v = client_json(&r);
    client_done(&r);
    assert_non_null(v);
    return v;
}

/* Who has a key sees its own requests; of others', that there are some. */
static void requests_of_others(void **state)
{
    (void)state;
    static const char *const list[] = { "key-of-anna", "key-of-berta" };
    static const char anna[] = "Authorization: Bearer key-of-anna\r\n", berta[] = "x-api-key: key-of-berta\r\n", body[] = "{\"stream\":true," ENDLESS "}";
    test_server *s = door_start((serve_opts){ .keys = list, .key_count = 2, .engine = { .ctx = 8192, .parallel = 1 } });
    int port = test_server_port(s), a = client_connect(port), b = client_connect(port);
    for (int i = 0; i < 2; i++) {
        char top[512];
        snprintf(top, sizeof top, "POST " CHAT " HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %zu\r\n\r\n", i ? berta : anna, strlen(body));
        assert_true(client_say(i ? b : a, top) && client_say(i ? b : a, body));
        door_wait_for(port, i ? "facet:num_requests_waiting{" : "facet:num_requests_running{", 1);
    }
    json_t *hers = status_of(port, anna), *others = status_of(port, berta), *mine = json_object_get(hers, "requests"), *theirs = json_object_get(others, "requests");
    assert_int_equal(json_array_size(mine), 1);
    assert_int_equal(json_array_size(theirs), 1);
    assert_string_not_equal(contract_text(json_array_get(mine, 0), "id"), contract_text(json_array_get(theirs, 0), "id"));
    assert_string_equal(contract_text(json_array_get(theirs, 0), "state"), "waiting");
    assert_int_equal(contract_int(json_object_get(hers, "others"), "running"), 0);
    assert_int_equal(contract_int(json_object_get(hers, "others"), "waiting"), 1);
    assert_int_equal(contract_int(json_object_get(others, "others"), "running"), 1);
    assert_int_equal(contract_int(json_object_get(others, "others"), "waiting"), 0);
    assert_int_equal(contract_int(json_object_get(others, "totals"), "running"), 1);
    json_decref(hers);
    json_decref(others);
    close(a);
    close(b);
    assert_int_equal(test_server_stop(s), OK);
}

static void starts_safely(void **state)
{
    (void)state;
    err e = { 0 };
    static const char *const short_key[] = { "short" };
    assert_null(test_server_start((serve_opts){ .http = { .host = "0.0.0.0" } }, &e));
    assert_non_null(strstr(e.what, "without a key"));
    assert_null(test_server_start((serve_opts){ .keys = short_key, .key_count = 1 }, &e));
    assert_null(test_server_start((serve_opts){ .http = { .host = "no such host" } }, &e));
    assert_non_null(strstr(e.what, "no such host"));
    int taken = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof a;
    assert_true(bind(taken, (struct sockaddr *)&a, n) == 0 && listen(taken, 1) == 0 && getsockname(taken, (struct sockaddr *)&a, &n) == 0);
    assert_null(test_server_start((serve_opts){ .http = { .port = ntohs(a.sin_port) } }, &e));
    assert_non_null(strstr(e.what, "could not listen"));
    close(taken);
    test_server *s = door_start((serve_opts){ .http = { .host = "0.0.0.0" }, .insecure = true });
    door_still_answers(test_server_port(s));
    assert_int_equal(test_server_stop(s), OK);
}

static void stopping_lets_answers_end(void **state)
{
    (void)state;
    client_reply r;
    test_server *s = door_start((serve_opts){ .engine = { .ctx = 2048 }, .stop_seconds = 60 });
    int port = test_server_port(s), fd = client_connect(port), idle = client_connect(port);
    door_send_post(fd, CHAT, "{\"stream\":true,\"max_tokens\":300," ENDLESS "}");
    door_wait_for(port, "facet:num_requests_running{", 1);
    assert_int_equal(test_server_stop(s), OK);
    client_read(fd, &r);                                                   /* the answer that was under way is whole */
    assert_int_equal(r.code, 200);
    assert_true(r.whole);
    assert_non_null(strstr(buf_text(&r.body), "\"finish_reason\":\"length\""));
    assert_non_null(strstr(buf_text(&r.body), "data: [DONE]"));
    client_done(&r);
    assert_true(client_is_closed(idle, 1000));
    assert_int_equal(client_connect(port), -1);
    close(fd);
    close(idle);
}

/* An answer that does not end in time is cut, visibly. */
static void stopping_does_not_wait_for_ever(void **state)
{
    (void)state;
    client_reply r;
    test_server *s = door_start((serve_opts){ .engine = { .ctx = 8192, .parallel = 1 }, .stop_seconds = 1 });
    int port = test_server_port(s), a = client_connect(port), b = client_connect(port);
    door_send_post(a, CHAT, "{\"stream\":true,\"n\":4," ENDLESS "}");
    first_bytes(a);
    door_send_post(b, CHAT, "{\"stream\":true,\"n\":4," ENDLESS "}");
    door_wait_for(port, "facet:num_requests_waiting{", 7);
    kill(getpid(), SIGTERM);                                               /* and once more below: at once */
    assert_int_equal(test_server_stop(s), OK);
    client_read(a, &r);
    assert_false(r.whole);
    client_done(&r);
    close(a);
    close(b);
}

static void leaves_nothing(void **state)
{
    (void)state;
    size_t before = mem_now();
    test_server *s = door_start((serve_opts){ 0 });
    door_still_answers(test_server_port(s));
    int fd = client_connect(test_server_port(s));
    door_send_post(fd, CHAT, "{\"stream\":true," ENDLESS "}");
    first_bytes(fd);
    assert_int_equal(test_server_stop(s), OK);
    close(fd);
    assert_int_equal(mem_now(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits), cmocka_unit_test(rude_clients), cmocka_unit_test(one_connection), cmocka_unit_test(leaving_cancels),
        cmocka_unit_test(full_queue), cmocka_unit_test(long_queue), cmocka_unit_test(slow_reader), cmocka_unit_test(many_at_once), cmocka_unit_test(too_many_connections), cmocka_unit_test(trusted_proxies),
        cmocka_unit_test(keys), cmocka_unit_test(requests_of_others), cmocka_unit_test(starts_safely), cmocka_unit_test(stopping_lets_answers_end),
        cmocka_unit_test(stopping_does_not_wait_for_ever), cmocka_unit_test(leaves_nothing) };
    json_use_mem();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
