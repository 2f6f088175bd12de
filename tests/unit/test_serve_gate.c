/* Who may come in: keys, Host, Origin. */
#include <sys/stat.h>
#include <unistd.h>

#include "serve/gate.h"
#include "support/test.h"

static head request(const char *fields)
{
    static char text[8192];
    const char *why;
    head h;
    snprintf(text, sizeof text, "GET / HTTP/1.1\r\n%s\r\n", fields);
    assert_int_equal(head_parse(&h, text, strlen(text), &why), 0);
    return h;
}

static gate *new_gate(const char *host)
{
    gate *g = NULL;
    err e = { 0 };
    assert_ok(gate_new(&g, host, &e), &e);
    return g;
}

static void keys(void **state)
{
    (void)state;
    err e = { 0 };
    gate *g = new_gate("127.0.0.1");
    head h = request("Host: a\r\n");
    assert_int_equal(gate_key(g, &h), 0);              /* none is needed */
    assert_ok(gate_add_key(g, "first-key", &e), &e);
    assert_ok(gate_add_key(g, "second-key", &e), &e);
    assert_int_equal(gate_key(g, &h), -1);
    static const struct { const char *fields; int want; } cases[] = {
        { "Host: a\r\nAuthorization: Bearer first-key\r\n", 0 }, { "Host: a\r\nauthorization: bearer second-key\r\n", 1 },
        { "Host: a\r\nx-api-key: second-key\r\n", 1 }, { "Host: a\r\nAuthorization: Bearer wrong\r\nX-API-Key: first-key\r\n", 0 },
        { "Host: a\r\nAuthorization: Bearer first-ke\r\n", -1 }, { "Host: a\r\nAuthorization: Bearer first-keyy\r\n", -1 },
        { "Host: a\r\nAuthorization: Basic first-key\r\n", -1 }, { "Host: a\r\nAuthorization: Bearer \r\n", -1 },
        { "Host: a\r\nAuthorization: first-key\r\n", -1 }, { "Host: a\r\nx-api-key: \r\n", -1 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        h = request(cases[i].fields);
        int got = gate_key(g, &h);
        if (got != cases[i].want) fail_msg("%d, not %d: %s", got, cases[i].want, cases[i].fields);
    }
    char longest[GATE_KEY_MAX + 2], fields[512];
    memset(longest, 'k', sizeof longest);
    longest[GATE_KEY_MAX + 1] = '\0';
    assert_fails(gate_add_key(g, longest, &e), E_ARG, &e, "8 to 256");
    longest[GATE_KEY_MAX] = '\0';
    assert_ok(gate_add_key(g, longest, &e), &e);
    snprintf(fields, sizeof fields, "Host: a\r\nx-api-key: %sk\r\n", longest);   /* equal as far as it is compared */
    h = request(fields);
    assert_int_equal(gate_key(g, &h), -1);
    assert_fails(gate_add_key(g, "short", &e), E_ARG, &e, "8 to 256");
    assert_fails(gate_add_key(g, "with a space", &e), E_ARG, &e, "space");
    gate_free(g);
}

static void key_file(void **state)
{
    (void)state;
    char path[256];
    err e = { 0 };
    gate *g = new_gate("127.0.0.1");
    const char *dir = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/keys-%d", dir ? dir : "/tmp", (int)getpid());
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("# a remark\n\nkey-of-anna\r\nkey-of-berta\n", f);
    fclose(f);
    chmod(path, 0644);
    assert_fails(gate_read_keys(g, path, &e), E_ARG, &e, "others may read");
    chmod(path, 0600);
    assert_ok(gate_read_keys(g, path, &e), &e);
    assert_int_equal(gate_keys(g), 2);
    head h = request("Host: a\r\nx-api-key: key-of-anna\r\n");
    assert_int_equal(gate_key(g, &h), 0);
    f = fopen(path, "w");
    fputs("# nothing\n", f);
    fclose(f);
    assert_fails(gate_read_keys(g, path, &e), E_ARG, &e, "no key");
    unlink(path);
    assert_fails(gate_read_keys(g, path, &e), E_IO, &e, "key file");
    gate_free(g);
}

static void hosts(void **state)
{
    (void)state;
    static const struct { const char *host; bool want; } cases[] = {
        { "localhost", true }, { "LOCALHOST:8080", true }, { "127.0.0.1:1", true }, { "127.9.9.9", true }, { "[::1]:8080", true }, { "[::1]", true },
        { "app.localhost", true }, { "box.local", true }, { "host.docker.internal:80", true },
        { "evil.com", false }, { "localhost.evil.com", false }, { "127.0.0.1.evil.com", false }, { "evil.com:127", false }, { "localhost:80@evil.com", false },
        { ".local", false }, { "", false }, { "[::1", false }, { "[::1]x", false }, { "192.168.1.5", false }, { "0.0.0.0", false }, { "127.evil", false } };
    gate *here = new_gate("127.0.0.1"), *everywhere = new_gate("0.0.0.0");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char fields[128];
        snprintf(fields, sizeof fields, "Host: %s\r\n", cases[i].host);
        head h = request(fields);
        if (gate_host(here, &h) != cases[i].want) fail_msg("Host: %s", cases[i].host);
        assert_true(gate_host(everywhere, &h));
    }
    gate_free(here);
    gate_free(everywhere);
}

static void origins(void **state)
{
    (void)state;
    static const struct { const char *origin; bool want; } cases[] = {
        { "http://localhost:3000", true }, { "http://127.0.0.1", true }, { "https://[::1]:8443", true }, { "https://chat.example.org", true },
        { "https://evil.com", false }, { "http://localhost.evil.com", false }, { "null", false }, { "https://chat.example.org.evil.com", false },
        { "http://chat.example.org", false }, { "file://", false }, { "http://box.local", false } };
    err e = { 0 };
    gate *g = new_gate("127.0.0.1");
    assert_ok(gate_add_origin(g, "https://chat.example.org", &e), &e);
    assert_fails(gate_add_origin(g, "chat.example.org", &e), E_ARG, &e, "scheme");
    assert_fails(gate_add_origin(g, "https://chat.example.org/", &e), E_ARG, &e, "scheme");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char fields[128];
        snprintf(fields, sizeof fields, "Host: a\r\nOrigin: %s\r\n", cases[i].origin);
        head h = request(fields);
        if (gate_origin(g, &h) != cases[i].want) fail_msg("Origin: %s", cases[i].origin);
    }
    head none = request("Host: a\r\n");
    assert_true(gate_origin(g, &none));
    gate_free(g);
}

/* The page of a server that other machines use comes from its own address. */
static void own_page(void **state)
{
    (void)state;
    static const struct { const char *host, *origin; bool plain, keyed; } cases[] = {
        { "192.168.1.5:8080", "http://192.168.1.5:8080", true, true }, { "[2001:db8::1]:8080", "http://[2001:db8::1]:8080", true, true },
        { "gemma.lan:8080", "http://GEMMA.lan:8080", false, true },             /* without a key it could be an attacker's name */
        { "gemma.lan:8080", "http://gemma.lan", false, false }, { "gemma.lan", "http://gemma.lan.evil.com", false, false },
        { "192.168.1.5:8080", "http://192.168.1.5:8081", false, false }, { "192.168.1.5:8080", "null", false, false } };
    for (int keyed = 0; keyed < 2; keyed++) {
        gate *far = NULL, *near = NULL;
        assert_int_equal(gate_new(&far, "0.0.0.0", NULL), OK);
        assert_int_equal(gate_new(&near, "127.0.0.1", NULL), OK);
        if (keyed) assert_int_equal(gate_add_key(far, "sk-0123456789", NULL), OK);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            char fields[160];
            snprintf(fields, sizeof fields, "Host: %s\r\nOrigin: %s\r\n", cases[i].host, cases[i].origin);
            head h = request(fields);
            if (gate_origin(far, &h) != (keyed ? cases[i].keyed : cases[i].plain)) fail_msg("Origin: %s, keyed %d", cases[i].origin, keyed);
            assert_false(gate_origin(near, &h));
        }
        gate_free(far);
        gate_free(near);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(keys), cmocka_unit_test(key_file), cmocka_unit_test(hosts), cmocka_unit_test(origins), cmocka_unit_test(own_page) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
