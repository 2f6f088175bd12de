/* Faults of the server: every allocation of every kind of request fails once; descriptors run out; clients die, stop reading, close
 * one side; SIGTERM comes in the middle.  The request that is hit gets its error, visibly; the next one is answered as if
 * nothing had been; nothing is lost. */
#include <event2/event.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/door.h"

#define CHAT "/v1/chat/completions"
#define ENDLESS "\"logit_bias\":{\"1\":-100,\"106\":-100,\"50\":-100},\"messages\":[{\"role\":\"user\",\"content\":\"Tell me something.\"}]"
#define WEATHER "\"max_tokens\":200,\"temperature\":0,\"messages\":[{\"role\":\"user\",\"content\":\"What is the weather in Paris?\"}]"
#define SHORT "\"max_tokens\":2,\"temperature\":0,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]"
#define FUNCTION "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"weather\",\"description\":\"Get the weather.\",\"parameters\":{\"type\":\"object\"," \
                 "\"properties\":{\"city\":{\"type\":\"string\"}},\"required\":[\"city\"]}}}]"
#define TOOL "\"tools\":[{\"name\":\"weather\",\"description\":\"Get the weather.\",\"input_schema\":{\"type\":\"object\"," \
             "\"properties\":{\"city\":{\"type\":\"string\"}},\"required\":[\"city\"]}}]"

/* ---- every allocation fails once ------------------------------------------------------------------------------ */

/* An answer without allocations of our own: the fault must hit the server. */
typedef struct reply { char bytes[1 << 17]; size_t n; const char *body; int code; bool closed; } reply;

static void ask_raw(int port, const char *method, const char *path, const char *body, reply *r)
{
    char top[256];
    int fd = client_connect(port);
    struct pollfd p = { .fd = fd, .events = POLLIN };
    r->n = 0;
    r->closed = false;
    assert_true(fd >= 0);
    snprintf(top, sizeof top, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
             method, path, strlen(body));
    if (client_say(fd, top)) client_say(fd, body);
    while (r->n < sizeof r->bytes - 1 && poll(&p, 1, 30000) > 0) {
        ssize_t got = recv(fd, r->bytes + r->n, sizeof r->bytes - 1 - r->n, 0);
        if (got <= 0) { r->closed = true; break; }
        r->n += (size_t)got;
    }
    close(fd);
    r->bytes[r->n] = '\0';
    r->code = r->n > 12 ? atoi(r->bytes + 9) : 0;
    r->body = strstr(r->bytes, "\r\n\r\n");
    r->body = r->body ? r->body + 4 : "";
}

/* It ended where its framing says. */
static bool is_whole(const reply *r)
{
    const char *length = strstr(r->bytes, "Content-Length: ");
    if (length && length < r->body) return strlen(r->body) == strtoul(length + 16, NULL, 10);
    return strstr(r->bytes, "Transfer-Encoding: chunked") && r->n > 5 && strcmp(r->bytes + r->n - 5, "0\r\n\r\n") == 0;
}

/* What differs between two equal answers: ids, times, what the cache knew, and with it the sizes of chunks. */
static void mask(const char *text, char *out, size_t cap)
{
    size_t n = 0;
    for (const char *p = text; *p && n + 2 < cap;) {
        size_t word = strspn(p, "0123456789abcdefghijklmnopqrstuvwxyz");
        bool number = strspn(p, "0123456789") == word && n && out[n - 1] == ':';
        bool size = word && strncmp(p + word, "\r\n", 2) == 0 && strspn(p, "0123456789abcdef") == word;
        if (word == 24 || number || size) { out[n++] = '*'; p += word; continue; }
        if (word == 0) word = 1;
        for (size_t i = 0; i < word && n + 1 < cap; i++) out[n++] = p[i];
        p += word;
    }
    out[n] = '\0';
}

typedef struct asked { const char *method, *path, *body; size_t least; } asked;     /* least: failures that it must have had */

static void expect_refused(const asked *a, int64_t n, const reply *r)
{
    if (!r->closed) fail_msg("%s, allocation %lld: no end after 30 s: %s", a->path, (long long)n, r->bytes);
    if (r->code == 0) { assert_int_equal(r->n, 0); return; }               /* there was not even memory for a call */
    if (r->code == 200 && is_whole(r) && !strstr(r->body, "out of memory"))
        fail_msg("%s, allocation %lld: another answer passes for whole: %s", a->path, (long long)n, r->bytes);
    if (r->code != 200 && r->code != 500 && r->code != 503) fail_msg("%s, allocation %lld: %s", a->path, (long long)n, r->bytes);
    if (r->code != 200 && is_whole(r) && r->body[0] && !strstr(r->body, "memory")) fail_msg("%s, allocation %lld: no reason: %s", a->path, (long long)n, r->bytes);
}

static void fail_each(int port, const asked *a)
{
    static reply want, got;
    static char one[sizeof want.bytes], other[sizeof want.bytes];
    size_t failures = 0, tolerated = 0;
    ask_raw(port, a->method, a->path, a->body, &want);
    assert_int_equal(want.code, 200);
    assert_true(is_whole(&want));
    mask(want.body, one, sizeof one);
    for (int64_t n = 0;; n++) {
        mem_fail_at(n);
        ask_raw(port, a->method, a->path, a->body, &got);
        bool hit = mem_fail_hit();
        mem_fail_at(-1);
        mask(got.body, other, sizeof other);
        bool same = got.code == 200 && is_whole(&got) && strcmp(one, other) == 0;
        if (!hit) {
            if (!same) fail_msg("%s: no fault, and another answer:\n%s\n%s", a->path, one, other);
            break;
        }
        if (same) { tolerated++; continue; }
        failures++;
        expect_refused(a, n, &got);
        if (failures % 8) continue;                                /* the next fault's request would show as well what this one spoiled */
        ask_raw(port, a->method, a->path, a->body, &got);
        mask(got.body, other, sizeof other);
        if (got.code != 200 || strcmp(one, other) != 0) fail_msg("%s: after the fault at %lld:\n%s\n%s", a->path, (long long)n, one, other);
    }
    print_message("%s: %zu allocations failed the request, %zu did not\n", a->path, failures, tolerated);
    assert_true(failures >= a->least);
}

static void allocations(void **state)
{
    (void)state;
    static const asked all[] = {
        { "GET", "/health", "", 3 }, { "GET", "/metrics", "", 3 }, { "GET", "/v1/models", "", 10 }, { "POST", "/tokenize", "{\"content\":\"Hello there\"}", 10 },
        { "POST", CHAT, "{\"stream\":true,\"stream_options\":{\"include_usage\":true}," WEATHER "," FUNCTION "}", 100 },
        { "POST", CHAT, "{\"n\":2,\"stop\":\"never\"," SHORT "}", 100 },
        { "POST", "/v1/completions", "{\"prompt\":\"Hello\",\"max_tokens\":2,\"temperature\":0,\"logprobs\":2,\"echo\":true}", 100 },
        { "POST", "/v1/messages", "{\"stream\":true," SHORT "," TOOL "}", 100 }, { "POST", "/v1/messages", "{\"thinking\":{\"type\":\"adaptive\"}," SHORT "}", 100 },
        { "POST", "/v1/messages/count_tokens", "{" SHORT "," TOOL "}", 50 } };
    size_t before = mem_now();
    test_server *s = door_start((serve_opts){ .engine = { .ctx = 512, .threads = 1, .parallel = 2 } });
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) fail_each(test_server_port(s), &all[i]);
    door_still_answers(test_server_port(s));
    assert_int_equal(test_server_stop(s), OK);
    assert_int_equal(mem_now(), before);
}

/* ---- descriptors ------------------------------------------------------------------------------------------------- */

/* What runs goes on; who comes then waits and is answered when there is room again. */
static void no_descriptors(void **state)
{
    (void)state;
    enum { MANY = 10 };
    int fds[MANY];
    client_reply r;
    struct rlimit was, none;
    test_server *s = door_start((serve_opts){ .engine = { .ctx = 2048, .parallel = 2 } });
    int port = test_server_port(s), running = client_connect(port);
    door_send_post(running, CHAT, "{\"stream\":true,\"max_tokens\":400," ENDLESS "}");
    door_wait_for(port, "facet:num_requests_running{", 1);
    for (int i = 0; i < MANY; i++) fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    none = (struct rlimit){ .rlim_cur = 3, .rlim_max = was.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    for (int i = 0; i < MANY; i++) {                               /* the system takes them; the server cannot */
        assert_true(client_join(fds[i], port));
        client_say(fds[i], "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    }
    client_read(running, &r);
    assert_int_equal(r.code, 200);
    assert_true(r.whole);
    assert_non_null(strstr(buf_text(&r.body), "\"finish_reason\":\"length\""));
    client_done(&r);
    assert_int_equal(recv(fds[0], (char[1]){ 0 }, 1, MSG_DONTWAIT), -1);   /* nobody was let in */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    for (int i = 0; i < MANY; i++) {
        client_read(fds[i], &r);
        assert_int_equal(r.code, 200);
        client_done(&r);
        close(fds[i]);
    }
    close(running);
    door_still_answers(port);
    assert_int_equal(test_server_stop(s), OK);
}

/* ---- clients ------------------------------------------------------------------------------------------------------ */

static void killed_client(void **state)
{
    (void)state;
    test_server *s = door_start((serve_opts){ .engine = { .ctx = 8192, .parallel = 1 } });
    int port = test_server_port(s);
    for (int i = 1; i <= 2; i++) {
        int fd = client_connect(port), said[2];
        door_send_post(fd, CHAT, i == 1 ? "{\"stream\":true," ENDLESS "}" : "{" ENDLESS "}");
        assert_int_equal(pipe(said), 0);
        pid_t child = fork();
        if (child == 0) {                                          /* holds the only end of the connection that is left */
            write(said[1], "", 1);
            for (;;) pause();
        }
        assert_true(child > 0 && read(said[0], (char[1]){ 0 }, 1) == 1);
        close(fd);
        close(said[0]);
        close(said[1]);
        door_wait_for(port, "facet:num_requests_running{", 1);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        door_wait_for(port, "finished_reason=\"cancelled\"", i);
    }
    door_wait_for(port, "facet:calls{", 1);
    door_still_answers(port);
    assert_int_equal(test_server_stop(s), OK);
}

/* The server's memory for a client that does not read has a bound in bytes and in time. */
static void stops_reading(void **state)
{
    (void)state;
    int small = 4096;
    test_server *s = door_start((serve_opts){ .http = { .stall_seconds = 1 }, .engine = { .ctx = 8192, .parallel = 1 } });
    int port = test_server_port(s), fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    assert_true(client_join(fd, port));
    door_send_post(fd, CHAT, "{\"stream\":true,\"n\":8,\"logprobs\":true,\"top_logprobs\":20," ENDLESS "}");
    door_wait_for(port, "finished_reason=\"cancelled\"", 8);
    door_wait_for(port, "facet:connections{", 1);
    close(fd);
    door_still_answers(port);
    assert_int_equal(test_server_stop(s), OK);
}

/* A client that has closed its side has left, unless its answer is there already. */
static void half_closed(void **state)
{
    (void)state;
    client_reply r;
    test_server *s = door_start((serve_opts){ .engine = { .ctx = 8192, .parallel = 1 } });
    int port = test_server_port(s), fd = client_connect(port);
    client_say(fd, "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n");
    shutdown(fd, SHUT_WR);
    client_read(fd, &r);
    assert_int_equal(r.code, 200);
    assert_true(r.whole);
    client_done(&r);
    assert_true(client_is_closed(fd, 10000));
    close(fd);
    static const char *const cut[] = { "", "GET /heal", "POST " CHAT " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90\r\n\r\n{\"mess" };
    for (int i = 0; i < 3; i++) {
        fd = client_connect(port);
        client_say(fd, cut[i]);
        shutdown(fd, SHUT_WR);
        assert_true(client_is_closed(fd, 10000));
        close(fd);
    }
    fd = client_connect(port);
    door_send_post(fd, CHAT, "{\"stream\":true," ENDLESS "}");
    door_wait_for(port, "facet:num_requests_running{", 1);
    shutdown(fd, SHUT_WR);
    assert_true(client_is_closed(fd, 60000));
    close(fd);
    door_wait_for(port, "finished_reason=\"cancelled\"", 1);
    door_still_answers(port);
    assert_int_equal(test_server_stop(s), OK);
}

/* ---- SIGTERM ------------------------------------------------------------------------------------------------------- */

/* Running, waiting, whole and streamed answers end as they should; a half-said request gets none, nobody new is let in. */
static void stopping_in_the_middle(void **state)
{
    (void)state;
    enum { MANY = 6 };
    int fds[MANY];
    client_reply r;
    size_t before = mem_now();
    test_server *s = door_start((serve_opts){ .engine = { .ctx = 1024, .parallel = 2 }, .stop_seconds = 60, .http = { .body_seconds = 1 } });
    int port = test_server_port(s), half = client_connect(port);
    client_say(half, "POST " CHAT " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90\r\n\r\n{\"mess");
    for (int i = 0; i < MANY; i++) {
        fds[i] = client_connect(port);
        door_send_post(fds[i], CHAT, i % 2 ? "{\"max_tokens\":150," ENDLESS "}" : "{\"stream\":true,\"max_tokens\":150," ENDLESS "}");
    }
    door_wait_for(port, "facet:num_requests_waiting{", MANY - 2);
    assert_int_equal(test_server_stop(s), OK);
    for (int i = 0; i < MANY; i++) {
        client_read(fds[i], &r);
        assert_int_equal(r.code, 200);
        assert_true(r.whole);
        assert_non_null(strstr(buf_text(&r.body), "\"finish_reason\":\"length\""));
        client_done(&r);
        close(fds[i]);
    }
    client_read(half, &r);
    assert_true(r.code == 0 || r.code == 408 || r.code == 503);
    client_done(&r);
    close(half);
    assert_int_equal(client_connect(port), -1);
    assert_int_equal(mem_now(), before);
}

/* ---- slow and large -------------------------------------------------------------------------------------------------- */

/* Slowloris, slow bodies: many connections that drip.  Others are answered meanwhile, and each of them is ended. */
static void slow_attacks(void **state)
{
    (void)state;
    enum { MANY = 150 };
    int fds[MANY];
    client_reply r;
    test_server *s = door_start((serve_opts){ .http = { .head_seconds = 2, .body_seconds = 2 } });
    int port = test_server_port(s);
    for (int i = 0; i < MANY; i++) {
        fds[i] = client_connect(port);
        client_say(fds[i], i % 2 ? "GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: " : "POST " CHAT " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n{");
    }
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < MANY; i++) send(fds[i], "a", 1, MSG_NOSIGNAL);
        door_still_answers(port);
        nanosleep(&(struct timespec){ .tv_nsec = 500000000 }, NULL);
    }
    for (int i = 0; i < MANY; i++) {
        client_read(fds[i], &r);
        assert_int_equal(r.code, 408);
        client_done(&r);
        close(fds[i]);
    }
    door_wait_for(port, "facet:connections{", 1);
    assert_int_equal(test_server_stop(s), OK);
}

static void large_requests(void **state)
{
    (void)state;
    enum { HEAD_BYTES = 1 << 20, DEPTH = 1000000 };
    client_reply r;
    test_server *s = door_start((serve_opts){ 0 });
    int port = test_server_port(s), fd = client_connect(port), code = 0;
    char *big = calloc(1, HEAD_BYTES + DEPTH + 64);
    size_t n = (size_t)sprintf(big, "GET /health HTTP/1.1\r\nHost: localhost\r\nX-Large: ");
    memset(big + n, 'a', HEAD_BYTES - n);
    client_send(fd, big, HEAD_BYTES);
    client_read(fd, &r);
    assert_int_equal(r.code, 431);
    client_done(&r);
    close(fd);
    static const char *const deep[][2] = { { "{\"messages\":", "[" }, { "", "{\"a\":" } };
    for (int i = 0; i < 2; i++) {
        n = (size_t)sprintf(big, "%s", deep[i][0]);
        for (size_t d = strlen(deep[i][1]); n + d < DEPTH; n += d) memcpy(big + n, deep[i][1], d);
        big[n] = '\0';
        json_t *v = client_post(port, CHAT, big, &code);
        assert_int_equal(code, 400);
        assert_non_null(json_object_get(v, "error"));
        json_decref(v);
    }
    free(big);
    door_still_answers(port);
    assert_int_equal(test_server_stop(s), OK);
}

/* ---- garbage ----------------------------------------------------------------------------------------------------------- */

static uint32_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33);
}

/* A request with a few bytes changed, cut out or doubled; every fourth is noise alone. */
static size_t spoil(uint64_t *seed, const char *from, char *out, size_t cap)
{
    size_t n = strlen(from);
    memcpy(out, from, n);
    if (next_random(seed) % 4 == 0) {
        for (size_t i = 0; i < n; i++) out[i] = (char)next_random(seed);
        return n;
    }
    for (uint32_t k = next_random(seed) % 6 + 1; k; k--) {
        size_t at = next_random(seed) % n, some = next_random(seed) % 12 + 1;
        if (at + some > n) some = n - at;
        switch (next_random(seed) % 3) {
        case 0: out[at] = (char)next_random(seed); break;
        case 1: memmove(out + at, out + at + some, n - at - some); n -= some; break;
        default: if (n + some < cap) { memmove(out + at + some, out + at, n - at); n += some; }
        }
        if (n == 0) { out[n++] = '{'; }
    }
    return n;
}

/* Ten thousand of them: each is answered or its connection closed, and not one is taken for a fault of ours. */
static void garbage(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "POST " CHAT " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n{\"max_tokens\":1,\"messages\":[{\"role\":\"u\"}]}",
        "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n",
        "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{\"content\":\"abc\"\r\n1\r\n}\r\n0\r\n\r\n" };
    static const struct { const char *path, *body; } posts[] = {
        { CHAT, "{\"max_tokens\":1,\"temperature\":0.5,\"stop\":[\"x\"],\"logit_bias\":{\"5\":1},\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]," FUNCTION "}" },
        { "/v1/completions", "{\"prompt\":[1,2,3],\"max_tokens\":1,\"n\":1,\"echo\":true,\"logprobs\":1}" },
        { "/v1/messages", "{\"max_tokens\":1,\"system\":\"s\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Hi\"}]}]," TOOL "}" },
        { "/v1/messages/count_tokens", "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}" },
        { "/detokenize", "{\"tokens\":[1,2,3]}" } };
    enum { REQUESTS = 10000, BODIES = sizeof posts / sizeof *posts };
    uint64_t seed = 7;
    char bytes[2048];
    test_server *s = door_start((serve_opts){ .engine = { .ctx = 128, .parallel = 4 } });
    int port = test_server_port(s), answered = 0, fd = -1;
    for (int i = 0; i < REQUESTS; i++) {
        client_reply r;
        if (fd < 0) assert_true((fd = client_connect(port)) >= 0);
        if (i % 10 == 0) {                                         /* the framing too */
            client_send(fd, bytes, spoil(&seed, heads[next_random(&seed) % 3], bytes, sizeof bytes));
            shutdown(fd, SHUT_WR);
            assert_true(client_is_closed(fd, 60000));
            close(fd);
            fd = -1;
            continue;
        }
        size_t which = next_random(&seed) % BODIES, n = spoil(&seed, posts[which].body, bytes, sizeof bytes);
        char request[2400];                                        /* in one piece: two would wait for each other's acknowledgement */
        size_t top = (size_t)snprintf(request, sizeof request, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n", posts[which].path, n);
        memcpy(request + top, bytes, n);
        client_send(fd, request, top + n);
        client_read(fd, &r);
        if (!r.whole || (r.code != 200 && r.code != 400)) fail_msg("request %d: %d for %.*s: %s", i, r.code, (int)n, bytes, buf_text(&r.body));
        bool closes = strstr(buf_text(&r.head), "Connection: close") != NULL;
        client_done(&r);
        if (closes) { close(fd); fd = -1; }
        answered++;
    }
    close(fd);
    assert_true(answered == REQUESTS - REQUESTS / 10);
    door_still_answers(port);
    assert_int_equal(door_metric(port, "finished_reason=\"error\""), 0);
    assert_int_equal(door_metric(port, "facet:num_requests_running{"), 0);
    assert_int_equal(test_server_stop(s), OK);
}

/* libevent's.  It does not look whether the entries of its callbacks, 40 bytes, found memory (2.1.12: bufferevent_setwatermark then
 * reads at NULL), so these get a second chance; all its others may fail. */
static void *resize(void *p, size_t n) { return mem_resize(p, n, MEM_IO); }
static void *alloc(size_t n)
{
    void *p = mem_alloc(n, MEM_IO);
    return p || n > 40 ? p : mem_alloc(n, MEM_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_descriptors), cmocka_unit_test(killed_client), cmocka_unit_test(stops_reading),
        cmocka_unit_test(half_closed), cmocka_unit_test(stopping_in_the_middle), cmocka_unit_test(slow_attacks), cmocka_unit_test(large_requests),
        cmocka_unit_test(garbage), cmocka_unit_test(allocations) };
    json_use_mem();
    event_set_mem_functions(alloc, resize, mem_free);              /* the event loop's and its buffers' fail too */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
