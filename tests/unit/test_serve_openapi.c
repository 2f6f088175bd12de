/* The description of the interfaces names every route of the server, and no other. */
#include <ctype.h>

#include "serve/route.h"
#include "support/client.h"
#include "support/contract.h"
#include "support/server.h"
#include "support/test.h"

static json_t *spec;

static int start(void **state)
{
    err e = { 0 };
    client_reply r;
    (void)state;
    test_server *s = test_server_start((serve_opts){ .engine = { .ctx = 64, .parallel = 1 }, .keys = (const char *const[]){ "a-secret-key" }, .key_count = 1 }, &e);
    if (!s) { fprintf(stderr, "%s: %s\n", e.what, e.why); return -1; }
    client_ask(test_server_port(s), "GET", "/openapi.json", "", NULL, &r);      /* it needs no key */
    if (r.code == 200 && strcmp(client_header(&r, "Content-Type"), "application/json") == 0) spec = client_json(&r);
    client_done(&r);
    return test_server_stop(s) == OK && spec ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    json_decref(spec);
    return 0;
}

/* The route "/v1/models/" is "/v1/models/{id}" there, and perhaps more below it. */
static bool same_path(const char *route, const char *described)
{
    size_t n = strlen(route);
    return strcmp(route, described) == 0 || (n > 1 && route[n - 1] == '/' && strncmp(route, described, n) == 0 && described[n] == '{');
}

static bool is_method(const char *route, const char *described)
{
    for (; *route && tolower((unsigned char)*route) == *described; route++, described++) {}
    return *route == *described;
}

static void every_route_is_described(void **state)
{
    const char *method, *path, *described;
    json_t *item;
    (void)state;
    for (size_t i = 0; route_at(i, &method, &path); i++) {
        char lower[16];
        bool found = false;
        size_t k = 0;
        for (; method[k]; k++) lower[k] = (char)tolower((unsigned char)method[k]);
        lower[k] = '\0';
        json_object_foreach(json_object_get(spec, "paths"), described, item)
            found |= same_path(path, described) && json_object_get(item, lower);
        if (!found) fail_msg("%s %s is not in openapi.json", method, path);
    }
}

static void every_description_has_a_route(void **state)
{
    const char *method, *path, *described, *verb;
    json_t *item, *operation;
    (void)state;
    json_object_foreach(json_object_get(spec, "paths"), described, item) {
        json_object_foreach(item, verb, operation) {
            bool found = false;
            for (size_t i = 0; route_at(i, &method, &path); i++) found |= same_path(path, described) && is_method(method, verb);
            if (!found) fail_msg("%s %s has no route", verb, described);
            contract_text(operation, "summary");
            assert_true(json_object_size(json_object_get(operation, "responses")) >= 2);
        }
    }
}

/* Every "$ref" leads to something. */
static void references(const json_t *v)
{
    size_t i;
    const char *key;
    json_t *item;
    json_array_foreach(v, i, item) references(item);
    if (!json_is_object(v)) return;
    const char *ref = json_string_value(json_object_get(v, "$ref"));
    if (ref) {
        const json_t *at = spec;
        str rest = str_skip(str_from(ref), 2), part;
        assert_int_equal(strncmp(ref, "#/", 2), 0);
        while (str_split(&rest, '/', &part)) at = contract_member(at, part);
        if (!at) fail_msg("%s is nowhere", ref);
    }
    json_object_foreach((json_t *)v, key, item) references(item);
}

static void whole(void **state)
{
    (void)state;
    assert_string_equal(contract_text(spec, "openapi"), "3.1.0");
    assert_string_equal(contract_text(json_object_get(spec, "info"), "version"), FACET_VERSION);
    references(spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_route_is_described), cmocka_unit_test(every_description_has_a_route), cmocka_unit_test(whole) };
    json_use_mem();
    return cmocka_run_group_tests(tests, start, stop);
}
