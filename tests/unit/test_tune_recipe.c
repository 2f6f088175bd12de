/* Recipes: the table, what is refused, what a resumed run may change. */
#include "support/test.h"
#include "tune/recipe.h"

static json_t *make(void)
{
    err e = { 0 };
    json_t *j = NULL;
    assert_ok(recipe_new(&j, &e), &e);
    return j;
}

static void defaults(void **state)
{
    (void)state;
    err e = { 0 };
    recipe_values v = { 0 };
    json_t *j = make();
    size_t n = 0;
    for (const recipe_key *k = recipe_keys; k->name; k++) n++;
    assert_int_equal(json_object_size(j), n);
    assert_ok(recipe_read(&v, j, &e), &e);
    assert_true(v.rank == 16 && v.batch == 8 && v.max_length == 2048 && v.lr == -1 && strcmp(v.method, "sft") == 0 && v.warmup == -1 && v.clip == 1 && !v.exact && !v.model && !v.targets);
    assert_string_equal(v.preset, "dense");
    assert_string_equal(v.schedule, "cosine");
    json_decref(j);
}

static void merging(void **state)
{
    (void)state;
    static const struct { const char *text, *complaint; } bad[] = {
        { "{\"rnak\": 3}", "rnak" }, { "{\"rank\": 0}", "1 to 512" }, { "{\"rank\": 4.5}", "whole number" }, { "{\"rank\": \"4\"}", "rank" }, { "{\"lr\": -2}", "lr" },
        { "{\"lr\": true}", "lr" }, { "{\"only\": 1}", "true or false" }, { "{\"preset\": \"all\"}", "experts-all" }, { "{\"preset\": null}", "preset" }, { "{\"data\": \"x\"}", "list of texts" },
        { "{\"data\": [1]}", "list of texts" }, { "{\"targets\": []}", "a text" }, { "[]", "no JSON object" },
    };
    err e = { 0 };
    recipe_values v = { 0 };
    json_error_t je;
    json_t *j = make(), *from = json_loads("{\"rank\": 3, \"lr\": 1, \"data\": [\"a\", \"b=2\"], \"targets\": \"dense\", \"exact\": true, \"seed\": 9000000000}", 0, &je);
    assert_ok(recipe_merge(j, from, "here", &e), &e);
    assert_ok(recipe_read(&v, j, &e), &e);
    assert_true(v.rank == 3 && v.lr == 1 && v.exact && v.seed == 9000000000 && json_array_size(v.data) == 2);
    assert_string_equal(v.targets, "dense");
    json_decref(from);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        from = json_loads(bad[i].text, 0, &je);
        assert_non_null(from);
        assert_fails(recipe_merge(j, from, "here", &e), E_FORMAT, &e, bad[i].complaint);
        json_decref(from);
    }
    assert_fails(recipe_load(j, "/nowhere", &e), E_IO, &e, "nowhere");
    json_object_del(j, "rank");
    assert_fails(recipe_read(&v, j, &e), E_FORMAT, &e, "rank");
    json_decref(j);
}

static void what_may_change(void **state)
{
    (void)state;
    json_t *a = make(), *b = make();
    assert_null(recipe_differs(a, b));
    json_object_set_new(b, "threads", json_integer(3));
    json_object_set_new(b, "stop_after", json_integer(3));
    assert_null(recipe_differs(a, b));
    json_object_set_new(b, "lr", json_real(1));
    assert_string_equal(recipe_differs(a, b), "lr");
    assert_string_equal(recipe_differs(NULL, b), "method");
    json_decref(a);
    json_decref(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(defaults), cmocka_unit_test(merging), cmocka_unit_test(what_may_change) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
