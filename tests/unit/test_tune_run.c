/* Whole runs in one process: what makes a run a failure, and that a failed one leaves nothing behind in memory. */
#include <math.h>
#include <unistd.h>

#include "lora/lora.h"
#include "lora/lora_save.h"
#include "os/dir.h"
#include "os/file.h"
#include "support/folder.h"
#include "support/test.h"
#include "support/tiny.h"
#include "tune/tune_int.h"

static char dir[256];

static const char *in_dir(const char *name) { return folder_at(dir, name); }

static int set_up(void **state)
{
    err e = { 0 };
    file_out f;
    (void)state;
    snprintf(dir, sizeof dir, "%s/facet-tune-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(dir)) return -1;
    assert_ok(tiny_write_gguf(in_dir("m.gguf"), TINY_26B, DTYPE_Q8_0, 3, &e), &e);
    assert_ok(file_out_begin(&f, in_dir("rows.jsonl"), &e), &e);
    for (int i = 0; i < 6; i++) {
        char row[200];
        snprintf(row, sizeof row, "{\"messages\": [{\"role\": \"user\", \"content\": \"say %d\"}, {\"role\": \"assistant\", \"content\": \"it is %d\"}]}\n", i, i * 7);
        assert_ok(file_out_write(&f, row, strlen(row), &e), &e);
    }
    assert_ok(file_out_commit(&f, &e), &e);
    assert_ok(file_out_begin(&f, in_dir("pairs.jsonl"), &e), &e);
    for (int i = 0; i < 6; i++) {
        char row[200];
        snprintf(row, sizeof row, "{\"prompt\": [{\"role\": \"user\", \"content\": \"say %d\"}], \"chosen\": \"it is %d\", \"rejected\": \"it is not %d, or is it?\"}\n", i, i * 7, i);
        assert_ok(file_out_write(&f, row, strlen(row), &e), &e);
    }
    assert_ok(file_out_commit(&f, &e), &e);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dir_remove(dir);
    return 0;
}

static json_t *recipe_of(const char *more)
{
    err e = { 0 };
    json_error_t je;
    json_t *r = NULL, *own = json_pack("{s:s, s:[s], s:i, s:i, s:i, s:i}", "model", in_dir("m.gguf"), "data", in_dir("rows.jsonl"), "rank", 2, "steps", 3, "batch", 2, "threads", 1);
    json_t *changes = json_loads(more, 0, &je);
    assert_non_null(changes);
    assert_ok(recipe_new(&r, &e), &e);
    assert_ok(recipe_merge(r, own, "own", &e), &e);
    assert_ok(recipe_merge(r, changes, "more", &e), &e);
    json_decref(own);
    json_decref(changes);
    return r;
}

static status run(json_t *recipe, const char *out, tune_end *end, err *e)
{
    status st = OK;
    tune *t = NULL;
    const tune_where where = { .out = out };
    TRY(tune_open(&t, recipe, &where, e));
    TRY(tune_run(t, NULL, NULL, end, e));
out:
    tune_close(t);
    return st;
}

static json_t *report_of(const char *name) { return folder_json(in_dir(name), "report.json"); }

/* An adapter of o in layer 1 with all numbers the same. */
static void write_adapter(const char *name, float value)
{
    err e = { 0 };
    gemma *m = NULL;
    gemma_adapter *a = NULL;
    float *down = NULL, *up = NULL;
    assert_ok(gemma_open(&m, in_dir("m.gguf"), &e), &e);
    const weight *w = gemma_adapter_weight(m, 1, GEMMA_O);
    assert_ok(gemma_adapter_new(&a, m, 1 << 20, &e), &e);
    assert_ok(gemma_adapter_matrix(a, 2, w->cols, &down, &e), &e);
    assert_ok(gemma_adapter_matrix(a, w->rows, 2, &up, &e), &e);
    for (int64_t i = 0; i < 2 * w->cols; i++) down[i] = value;
    for (int64_t i = 0; i < 2 * w->rows; i++) up[i] = value;
    assert_ok(gemma_adapter_add(a, 1, GEMMA_O, -1, down, up, 2, 1, &e), &e);
    assert_ok(lora_save_peft(in_dir(name), m, a, LORA_CLASS_BASE, &e), &e);
    gemma_adapter_free(a);
    gemma_close(m);
}

static json_t *recipe_from(const char *adapter)
{
    char more[600];
    snprintf(more, sizeof more, "{\"init_from\": \"%s\"}", in_dir(adapter));
    return recipe_of(more);
}

/* An adapter whose A and B are 0 gets no gradient ever: the run says so and fails, and the report names it. */
static void a_target_without_gradient_fails(void **state)
{
    (void)state;
    err e = { 0 };
    tune_end end;
    write_adapter("zero", 0);
    json_t *r = recipe_from("zero");
    assert_fails(run(r, in_dir("silent"), &end, &e), E_FORMAT, &e, "o_proj of layer 1");
    json_t *j = report_of("silent");
    assert_non_null(strstr(json_string_value(json_object_get(j, "failure")), "no gradient"));
    assert_int_equal(json_array_size(json_object_get(j, "without_gradient")), 1);
    assert_true(file_exists(in_dir("silent/adapter_config.json")));
    json_decref(j);
    json_decref(r);
}

static void the_report(void **state)
{
    (void)state;
    err e = { 0 };
    tune_end end;
    json_t *r = recipe_of("{\"preset\": \"experts-all\", \"lr\": 0.01}");
    assert_ok(run(r, in_dir("all"), &end, &e), &e);
    assert_int_equal(end, TUNE_FINISHED);
    json_t *j = report_of("all"), *x;
    size_t i, experts = 0;
    assert_true(json_is_null(json_object_get(j, "failure")));
    json_array_foreach(json_object_get(j, "trained"), i, x) {
        assert_true(json_integer_value(json_object_get(x, "pairs_with_gradient")) > 0);
        assert_true(json_number_value(json_object_get(x, "delta_norm")) > 0);
        experts += strcmp(json_string_value(json_object_get(x, "group")), "experts") == 0;
    }
    assert_true(experts > 0);
    assert_true(json_number_value(json_object_get(json_object_get(j, "reload"), "from_base_model")) > 0);
    x = json_object_get(j, "frozen");
    assert_true(json_integer_value(json_object_get(x, "bytes_hashed")) > 10000);
    assert_int_equal(json_array_size(json_object_get(x, "list")), json_integer_value(json_object_get(x, "tensors")));
    assert_string_equal(json_string_value(json_object_get(x, "sha256_before")), json_string_value(json_object_get(x, "sha256_after")));
    json_decref(j);
    json_decref(r);
}

/* Numbers that overflow: the run ends where it broke, with the place, and what was saved is of before. */
static void a_run_that_breaks(void **state)
{
    (void)state;
    err e = { 0 };
    tune_end end;
    write_adapter("huge", 1e25f);
    json_t *r = recipe_from("huge");
    assert_fails(run(r, in_dir("broken"), &end, &e), E_FORMAT, &e, "behind step 0");
    assert_non_null(strstr(e.why, "is no number"));
    assert_non_null(strstr(e.why, "rows.jsonl, line"));
    assert_true(file_exists(in_dir("broken/checkpoint")));
    assert_false(file_exists(in_dir("broken/report.json")));
    json_decref(r);
}

static json_t *pairs_recipe(const char *more)
{
    json_t *r = recipe_of(more);
    json_object_set_new(r, "data", json_pack("[s]", in_dir("pairs.jsonl")));
    return r;
}

/* Lines of a run's log; owned. */
static json_t *log_of(const char *name)
{
    json_t *list = json_array(), *j;
    json_error_t je;
    FILE *f = fopen(in_dir(name), "r");
    assert_non_null(f);
    while ((j = json_loadf(f, JSON_DISABLE_EOF_CHECK, &je))) json_array_append_new(list, j);
    fclose(f);
    return list;
}

static double logged(const json_t *log, size_t line, const char *key) { return json_number_value(json_object_get(json_array_get(log, line), key)); }

/* It begins at ln 2 without a margin, and ends with the chosen answers ahead. */
static void pairs_are_learned(void **state)
{
    (void)state;
    err e = { 0 };
    tune_end end;
    json_t *r = pairs_recipe("{\"method\": \"dpo\", \"beta\": 0.5, \"lr\": 0.01, \"warmup\": 0, \"steps\": 9}");
    assert_ok(run(r, in_dir("dpo"), &end, &e), &e);
    json_t *log = log_of("dpo/log.jsonl");
    assert_int_equal(json_array_size(log), 9);
    assert_true(logged(log, 0, "loss") == M_LN2);
    assert_true(logged(log, 0, "margin") == 0 && logged(log, 0, "reward_chosen") == 0);
    assert_true(logged(log, 8, "loss") < 0.5 && logged(log, 8, "margin") > 0.5 && logged(log, 8, "preferred") == 1);
    json_decref(log);
    json_decref(r);
    r = pairs_recipe("{\"method\": \"orpo\", \"lr\": 0.01, \"warmup\": 0, \"steps\": 9}");
    assert_ok(run(r, in_dir("orpo"), &end, &e), &e);
    log = log_of("orpo/log.jsonl");
    assert_true(logged(log, 8, "loss") < logged(log, 0, "loss") - 0.5);
    json_decref(log);
    json_decref(r);
    r = pairs_recipe("{\"method\": \"orpo\", \"sft_weight\": 0.1}");
    assert_fails(run(r, in_dir("none"), &end, &e), E_ARG, &e, "belongs to dpo");
    json_decref(r);
    r = recipe_of("{\"method\": \"dpo\"}");
    assert_fails(run(r, in_dir("none"), &end, &e), E_FORMAT, &e, "no chosen and rejected");
    json_decref(r);
}

/* The reference that a run computes on its way is, bit for bit, the one computed before it, and the micro-batch does not matter. */
static void the_reference(void **state)
{
    (void)state;
    err e = { 0 };
    double *first = NULL;
    for (int alone = 0; alone < 2; alone++) {
        json_t *r = pairs_recipe(alone ? "{\"method\": \"dpo\", \"rows\": 1, \"batch\": 6}" : "{\"method\": \"dpo\", \"batch\": 6}");
        const tune_where where = { .out = NULL };
        const int64_t all[] = { 0, 1, 2, 3, 4, 5 };
        tune *t = NULL;
        data_groups g = { 0 };
        tune_sums tokens = { 0 };
        pair_sums sums = { 0 };
        assert_ok(tune_open(&t, r, &where, &e), &e);
        assert_ok(data_group(&g, t->data, all, 6, t->rows_max, &e), &e);
        assert_true(alone ? g.count > 3 : g.count < 3);
        for (int64_t i = 0; i < g.count; i++) assert_ok(tune_pairs_add(t, &g, i, 0, &tokens, &sums, &e), &e);
        assert_int_equal(sums.count, 6);
        assert_memory_equal(t->reference, t->policy, 12 * sizeof *t->policy);
        if (first) assert_memory_equal(t->reference, first, 12 * sizeof *first);
        else first = memcpy(malloc(12 * sizeof *first), t->reference, 12 * sizeof *first);
        data_groups_done(&g);
        tune_close(t);
        json_decref(r);
    }
    free(first);
}

/* Going on from an adapter, the model with that adapter is the reference: no margin at the start. */
static void the_reference_of_an_adapter(void **state)
{
    (void)state;
    err e = { 0 };
    tune_end end;
    char more[600];
    write_adapter("small", 0.02f);
    snprintf(more, sizeof more, "{\"method\": \"dpo\", \"init_from\": \"%s\", \"lr\": 0.01}", in_dir("small"));
    json_t *r = pairs_recipe(more);
    assert_ok(run(r, in_dir("further"), &end, &e), &e);
    json_t *log = log_of("further/log.jsonl");
    assert_true(logged(log, 0, "loss") == M_LN2 && logged(log, 0, "margin") == 0);
    assert_true(logged(log, 2, "margin") != 0);
    json_decref(log);
    json_decref(r);
}

static void opening_with_every_allocation_failing_once(void **state)
{
    (void)state;
    int failed = 0;
    json_use_mem();
    json_t *r = pairs_recipe("{\"method\": \"dpo\"}");
    const tune_where where = { .out = NULL };
    for (int64_t n = 0;; n += 1 + n / 8) {
        err e = { 0 };
        tune *t = NULL;
        size_t before = mem_now();
        mem_fail_at(n);
        status st = tune_open(&t, r, &where, &e);
        bool hit = mem_fail_hit();
        mem_fail_at(-1);
        tune_close(t);
        assert_int_equal(mem_now(), before);
        if (!hit) break;
        assert_true(st == OK || (st == E_NOMEM && e.what[0]));
        failed += st != OK;
    }
    assert_true(failed > 10);
    json_decref(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_target_without_gradient_fails), cmocka_unit_test(the_report),
        cmocka_unit_test(a_run_that_breaks), cmocka_unit_test(pairs_are_learned), cmocka_unit_test(the_reference), cmocka_unit_test(the_reference_of_an_adapter),
        cmocka_unit_test(opening_with_every_allocation_failing_once),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
