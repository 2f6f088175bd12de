/* The step's loss and gradients: against autograd through the reference (tests/golden/tune), and what must not change them. */
#include <stdlib.h>

#include "base/bits.h"
#include "lora/lora.h"
#include "support/gradients.h"
#include "support/model.h"

static const char *const cases[] = { "e2b", "e4b", "12b", "26b", "26b-odd", "31b" };
enum { CASES = 6, ROWS = 128 };

typedef struct tuned {
    golden g;
    st_file *expect;
    gemma_adapter *adapter;
    tune_params *p;
    tune_row rows[ROWS];
    int32_t T;
    int64_t targets;
} tuned;

static void tuned_open(tuned *c, const char *name)
{
    err e = { 0 };
    char path[96];
    memset(c, 0, sizeof *c);
    golden_open(&c->g, name);
    snprintf(path, sizeof path, "tests/golden/tune/%s.safetensors", name);
    assert_ok(st_open(&c->expect, path, &e), &e);
    snprintf(path, sizeof path, "tests/golden/lora/%s/adapter", name);
    lora_part part = { .path = path, .scale = 1 };
    assert_ok(lora_load(&c->adapter, c->g.m, &part, 1, &e), &e);
    assert_ok(tune_params_from(&c->p, c->g.m, c->adapter, &e), &e);
    const st_tensor *rows = st_find(c->expect, STR("rows"));
    assert_non_null(rows);
    c->T = (int32_t)rows->shape[0];
    assert_in_range(c->T, 1, ROWS);
    for (int32_t t = 0; t < c->T; t++) {
        const int32_t *r = (const int32_t *)(const void *)rows->data + 4 * t;
        c->rows[t] = (tune_row){ .id = r[0], .pos = r[1], .doc = r[2], .label = r[3] };
        c->targets += r[3] >= 0;
    }
}

static void tuned_close(tuned *c)
{
    tune_params_free(c->p);
    gemma_adapter_free(c->adapter);
    st_close(c->expect);
    golden_close(&c->g);
}

static tune_step *step_of(const tuned *c, int threads, bool exact)
{
    err e = { 0 };
    tune_step *s = NULL;
    tune_step_opts o = { .threads = threads, .exact = exact, .rows_max = ROWS };
    assert_ok(tune_step_new(&s, c->g.m, c->p, &o, NULL, &e), &e);
    return s;
}

/* Gradients of all rows in one piece, in c->p->grads; the mean loss. */
static double whole(tuned *c, int threads, bool exact)
{
    err e = { 0 };
    tune_sums sums = { 0 };
    tune_step *s = step_of(c, threads, exact);
    tune_params_clear(c->p);
    assert_ok(tune_step_add(s, c->rows, c->T, c->targets, &sums, &e), &e);
    assert_int_equal(sums.targets, c->targets);
    tune_step_free(s);
    return sums.loss / (double)c->targets;
}

static float *copy_grads(const tune_params *p)
{
    float *g = malloc((size_t)p->numbers * sizeof *g);
    memcpy(g, p->grads, (size_t)p->numbers * sizeof *g);
    return g;
}

/* Relative distance of all gradients from others. */
static double distance(const tune_params *p, const float *others)
{
    gradients_sums s = { 0 };
    gradients_add(&s, p->grads, others, p->numbers);
    return gradients_off(&s);
}

/* One tensor of the file, which may hold many experts' parameters: all of them together. */
static void compare_tensor(const tuned *c, const tune_param *first, char which, int *compared)
{
    char name[96], key[100];
    gradients_sums sums = { 0 };
    gradients_name(first, name, sizeof name);
    snprintf(key, sizeof key, "%s.%c", name, which);
    const st_tensor *t = st_find(c->expect, str_from(key));
    if (!t) fail_msg("no gradient of %s in the file", key);
    int32_t experts = first->expert < 0 ? 1 : c->g.m->config.expert_count;
    int64_t n = first->rank * (which == 'A' ? first->in : first->out);
    for (int32_t i = 0; i < experts; i++) {
        const tune_param *p = tune_params_find(c->p, first->layer, first->which, first->expert < 0 ? -1 : i);
        assert_non_null(p);
        gradients_add(&sums, which == 'A' ? p->da : p->db, (const float *)(const void *)t->data + i * n, n);
    }
    if (!(gradients_off(&sums) <= 3e-4) || !(gradients_cosine(&sums) > 0.99999) || sums.right == 0)
        fail_msg("%s: off by %.3g of %.3g, cosine 1 - %.3g", key, gradients_off(&sums), sqrt(sums.right), 1 - gradients_cosine(&sums));
    *compared += 1;
}

static void gradients_of_the_reference(void **state)
{
    static tuned c;
    (void)state;
    for (int i = 0; i < CASES; i++) {
        int compared = 0;
        tuned_open(&c, cases[i]);
        double want = (double)*(const float *)(const void *)st_find(c.expect, STR("loss"))->data, loss = whole(&c, 1, true);
        if (!(fabs(loss - want) <= 5e-5)) fail_msg("%s: loss %.6f, should be %.6f", cases[i], loss, want);
        for (int64_t k = 0; k < c.p->count; k++) {
            if (c.p->p[k].expert > 0) continue;
            compare_tensor(&c, &c.p->p[k], 'A', &compared);
            compare_tensor(&c, &c.p->p[k], 'B', &compared);
        }
        assert_int_equal(compared, (int)st_count(c.expect) - 2);
        tuned_close(&c);
    }
}

static void threads_give_the_same_bits(void **state)
{
    static tuned c;
    (void)state;
    for (int i = 0; i < CASES; i++) {
        tuned_open(&c, cases[i]);
        whole(&c, 1, false);
        float *one = copy_grads(c.p);
        for (int threads = 2; threads <= 3; threads++) {
            whole(&c, threads, false);
            assert_memory_equal(c.p->grads, one, (size_t)c.p->numbers * sizeof *one);
        }
        free(one);
        tuned_close(&c);
    }
}

/* Packed is unpacked: each document in a micro-batch of its own, in either order, gives the sum. */
static void documents_apart(void **state)
{
    static tuned c;
    (void)state;
    for (int i = 0; i < CASES; i++) {
        err e = { 0 };
        tune_sums sums = { 0 };
        int32_t cut = 0;
        tuned_open(&c, cases[i]);
        double loss = whole(&c, 2, true);
        float *packed = copy_grads(c.p);
        while (c.rows[cut].doc == c.rows[0].doc) cut++;
        tune_step *s = step_of(&c, 2, true);
        tune_params_clear(c.p);
        assert_ok(tune_step_add(s, c.rows + cut, c.T - cut, c.targets, &sums, &e), &e);
        assert_ok(tune_step_add(s, c.rows, cut, c.targets, &sums, &e), &e);
        assert_true(fabs(sums.loss / (double)c.targets - loss) < 1e-6);
        assert_true(distance(c.p, packed) < 5e-5);
        tune_step_free(s);
        free(packed);
        tuned_close(&c);
    }
}

/* Rows without a label leave early, which must not be seen: the gradient of all rows' labels is the sum of those of two halves. */
static void labels_apart(void **state)
{
    static tuned c;
    (void)state;
    for (int i = 0; i < CASES; i++) {
        err e = { 0 };
        tune_sums sums = { 0 };
        tune_row half[2][ROWS];
        tuned_open(&c, cases[i]);
        whole(&c, 2, true);
        float *all = copy_grads(c.p);
        for (int32_t t = 0; t < c.T; t++)
            for (int h = 0; h < 2; h++) {
                half[h][t] = c.rows[t];
                if (t % 2 == h) half[h][t].label = -1;
            }
        tune_step *s = step_of(&c, 2, true);
        tune_params_clear(c.p);
        for (int h = 0; h < 2; h++) assert_ok(tune_step_add(s, half[h], c.T, c.targets, &sums, &e), &e);
        assert_true(distance(c.p, all) < 5e-5);
        tune_step_free(s);
        free(all);
        tuned_close(&c);
    }
}

/* Layer inputs as bf16: half of their bytes, the same loss, and gradients that are near. */
static void half_inputs(void **state)
{
    static tuned c;
    err e = { 0 };
    tune_sums sums = { 0 };
    gemma_bytes full = { 0 }, half = { 0 };
    tune_step *s = NULL;
    (void)state;
    tuned_open(&c, "12b");
    double loss = whole(&c, 2, true);
    float *exact = copy_grads(c.p);
    tune_step_opts o = { .threads = 2, .exact = true, .rows_max = ROWS };
    assert_ok(tune_step_new(NULL, c.g.m, c.p, &o, &full, &e), &e);
    o.half_inputs = true;
    assert_ok(tune_step_new(NULL, c.g.m, c.p, &o, &half, &e), &e);
    assert_int_equal(full.activations - half.activations, ((uint64_t)c.g.m->config.layer_count + 1) * ROWS * (uint64_t)c.g.m->config.hidden * 2);
    assert_ok(tune_step_new(&s, c.g.m, c.p, &o, NULL, &e), &e);
    tune_params_clear(c.p);
    assert_ok(tune_step_add(s, c.rows, c.T, c.targets, &sums, &e), &e);
    assert_true(sums.loss / (double)c.targets == loss);
    double off = distance(c.p, exact);
    if (!(off > 0 && off < 0.05)) fail_msg("off by %g", off);
    tune_step_free(s);
    free(exact);
    tuned_close(&c);
}

static void rows_without_labels_change_nothing(void **state)
{
    static tuned c;
    err e = { 0 };
    tune_sums sums = { 0 };
    (void)state;
    tuned_open(&c, "e2b");
    double loss = whole(&c, 1, true);
    float *before = copy_grads(c.p);
    tune_step *s = step_of(&c, 1, true);
    assert_ok(tune_step_add(s, c.rows, c.T, 0, &sums, &e), &e);          /* evaluation */
    assert_true(sums.loss / (double)c.targets == loss);
    assert_true(sums.entropy > 0 && sums.right >= 0 && sums.right <= c.targets);
    for (int32_t t = 0; t < c.T; t++) c.rows[t].label = -1;
    assert_ok(tune_step_add(s, c.rows, c.T, 10, &sums, &e), &e);
    assert_int_equal(sums.targets, c.targets);
    assert_memory_equal(c.p->grads, before, (size_t)c.p->numbers * sizeof *before);
    tune_step_free(s);
    free(before);
    tuned_close(&c);
}

static void move(const tune_params *to, const tune_params *from)
{
    for (int64_t i = 0; i < to->count; i++) {
        tune_param *p = &to->p[i];
        const tune_param *q = tune_params_find(from, p->layer, p->which, p->expert);
        if (!q) continue;
        memcpy(p->a, q->a, (size_t)(p->rank * p->in) * sizeof *p->a);
        memcpy(p->b, q->b, (size_t)(p->rank * p->out) * sizeof *p->b);
    }
}

/* The adapter of 26b with the others' terms at zero: what is trained differs, what is computed does not. */
static tune_params *part_of(tuned *c, uint32_t linears, int32_t first_layer, const uint8_t *hot)
{
    err e = { 0 };
    tune_params *p = NULL;
    tune_spec spec = { .linears = linears, .rank = 2, .expert_rank = 2, .alpha = 3, .expert_alpha = 3, .first_layer = first_layer, .last_layer = -1, .hot = hot, .seed = 5 };
    assert_ok(tune_params_new(&p, c->g.m, &spec, NULL, &e), &e);
    for (int64_t i = 0; i < p->count; i++)
        for (int64_t k = 0; k < p->p[i].rank * p->p[i].out; k++) p->p[i].b[k] = 0.01f * (float)((k + i) % 7 - 3);
    return p;
}

static void run_set(tuned *c, tune_params *p)
{
    tune_params *old = c->p;
    c->p = p;
    whole(c, 2, true);
    c->p = old;
}

/* Parameters with B = 0 change no output, so leaving them out must change no other gradient. */
static void sets_and_subsets(void **state)
{
    static tuned c;
    const uint32_t attention = 1u << GEMMA_Q | 1u << GEMMA_K | 1u << GEMMA_O, experts = 1u << GEMMA_EXPERT_GATE | 1u << GEMMA_EXPERT_DOWN, router = 1u << GEMMA_ROUTER;
    (void)state;
    tuned_open(&c, "26b");
    int32_t E = c.g.m->config.expert_count, L = c.g.m->config.layer_count;
    uint8_t *hot = calloc((size_t)(E * L), 1);
    for (int32_t i = 0; i < E * L; i += 3) hot[i] = 1;
    tune_params *all = part_of(&c, attention | experts | router, 0, NULL), *frozen = part_of(&c, attention, 0, NULL), *some = part_of(&c, attention | experts, 2, hot);
    for (int64_t i = 0; i < all->count; i++) {
        tune_param *p = &all->p[i];
        bool zero = p->group == TUNE_ROUTER || (p->group == TUNE_EXPERTS && !tune_params_find(some, p->layer, p->which, p->expert));
        if (zero) memset(p->b, 0, (size_t)(p->rank * p->out) * sizeof *p->b);
    }
    /* hot experts of the upper layers, all of the attention there */
    move(some, all);
    for (int64_t i = 0; i < all->count; i++)
        if (all->p[i].layer < 2) memset(all->p[i].b, 0, (size_t)(all->p[i].rank * all->p[i].out) * sizeof(float));
    run_set(&c, all);
    run_set(&c, some);
    for (int64_t i = 0; i < some->count; i++) {
        const tune_param *p = &some->p[i], *q = tune_params_find(all, p->layer, p->which, p->expert);
        assert_memory_equal(p->da, q->da, (size_t)(p->rank * p->in) * sizeof(float));
        assert_memory_equal(p->db, q->db, (size_t)(p->rank * p->out) * sizeof(float));
    }
    /* experts and router frozen: the gradient still goes through both */
    for (int64_t i = 0; i < all->count; i++)
        if (all->p[i].group != TUNE_ATTENTION) memset(all->p[i].b, 0, (size_t)(all->p[i].rank * all->p[i].out) * sizeof(float));
    move(frozen, all);
    run_set(&c, all);
    run_set(&c, frozen);
    for (int64_t i = 0; i < frozen->count; i++) {
        const tune_param *p = &frozen->p[i], *q = tune_params_find(all, p->layer, p->which, p->expert);
        assert_memory_equal(p->da, q->da, (size_t)(p->rank * (p->in + p->out)) * sizeof(float));
    }
    free(hot);
    tune_params_free(all);
    tune_params_free(frozen);
    tune_params_free(some);
    tuned_close(&c);
}

/* Every linear as the lowest trained one, alone: the same gradient as among all. */
static void lowest_parts(void **state)
{
    static const struct { const char *name; gemma_linear which; } each[] = {
        { "e2b", GEMMA_Q }, { "e2b", GEMMA_O }, { "e2b", GEMMA_UP }, { "e2b", GEMMA_DOWN }, { "e2b", GEMMA_PLE_GATE }, { "e2b", GEMMA_PLE_PROJ },
        { "e2b", GEMMA_PLE_MODEL_PROJ }, { "12b", GEMMA_K }, { "12b", GEMMA_O }, { "26b", GEMMA_ROUTER }, { "26b", GEMMA_EXPERT_DOWN }, { "26b", GEMMA_V },
    };
    static tuned c;
    (void)state;
    for (size_t i = 0; i < COUNT_OF(each); i++) {
        tuned_open(&c, each[i].name);
        bool experts = c.g.m->config.expert_count > 0, ple = c.g.m->config.ple > 0;
        uint32_t all = (1u << GEMMA_ROUTER) - 1;
        if (experts) all |= 1u << GEMMA_ROUTER | 1u << GEMMA_EXPERT_GATE | 1u << GEMMA_EXPERT_DOWN;
        if (ple) all |= 1u << GEMMA_PLE_GATE | 1u << GEMMA_PLE_PROJ | 1u << GEMMA_PLE_MODEL_PROJ;
        tune_params *both = part_of(&c, all, 0, NULL), *one = part_of(&c, 1u << each[i].which, each[i].which == GEMMA_PLE_MODEL_PROJ ? 0 : 1, NULL);
        memset(both->values, 0, (size_t)both->numbers * sizeof *both->values);
        move(both, one);
        run_set(&c, both);
        run_set(&c, one);
        for (int64_t k = 0; k < one->count; k++) {
            const tune_param *p = &one->p[k], *q = tune_params_find(both, p->layer, p->which, p->expert);
            assert_memory_equal(p->a, q->a, (size_t)(p->rank * (p->in + p->out)) * sizeof(float));
            assert_memory_equal(p->da, q->da, (size_t)(p->rank * (p->in + p->out)) * sizeof(float));
        }
        tune_params_free(both);
        tune_params_free(one);
        tuned_close(&c);
    }
}

static void refusals(void **state)
{
    static tuned c;
    err e = { 0 };
    tune_sums sums = { 0 };
    tune_step *s = NULL;
    (void)state;
    tuned_open(&c, "31b");
    tune_step_opts o = { .threads = 1, .rows_max = 0 };
    assert_fails(tune_step_new(&s, c.g.m, c.p, &o, NULL, &e), E_ARG, &e, "cannot train with 0 rows at once");
    o = (tune_step_opts){ .threads = 1, .rows_max = 8, .labels_max = 9 };
    assert_fails(tune_step_new(&s, c.g.m, c.p, &o, NULL, &e), E_ARG, &e, "9 labels among 8 rows");
    o = (tune_step_opts){ .threads = 1, .rows_max = c.T, .labels_max = 4 };
    assert_ok(tune_step_new(&s, c.g.m, c.p, &o, NULL, &e), &e);
    assert_fails(tune_step_add(s, c.rows, c.T, 9, &sums, &e), E_ARG, &e, "more than 4 have a label");
    assert_fails(tune_step_add(s, c.rows, c.T + 1, 9, &sums, &e), E_ARG, &e, "this step takes 1 to");
    assert_fails(tune_step_add(s, c.rows, 4, -1, &sums, &e), E_ARG, &e, "-1 targets");
    tune_row row = { .id = 5, .label = c.g.V };
    assert_fails(tune_step_add(s, &row, 1, 1, &sums, &e), E_ARG, &e, "is not in the vocabulary");
    row = (tune_row){ .id = -5, .label = 3 };
    assert_fails(tune_step_add(s, &row, 1, 1, &sums, &e), E_ARG, &e, "token -5");
    row = (tune_row){ .id = 5, .pos = 1, .label = 3 };
    assert_fails(tune_step_add(s, &row, 1, 1, &sums, &e), E_ARG, &e, "position 1 does not continue");
    assert_true(sums.targets == 0 && sums.loss == 0);
    tune_step_free(s);
    tuned_close(&c);
}

static void measured_is_taken_and_allocations_fail(void **state)
{
    static const char *const two[] = { "e2b", "26b" };
    static tuned c;
    (void)state;
    for (int i = 0; i < 2; i++) {
        err e = { 0 };
        gemma_bytes bytes = { 0 };
        bool hit = true;
        int failed = 0;
        tuned_open(&c, two[i]);
        tune_step_opts o = { .threads = 1, .rows_max = c.T };
        assert_ok(tune_step_new(NULL, c.g.m, c.p, &o, &bytes, &e), &e);
        size_t before = mem_now();
        for (int64_t n = 0; hit; n++) {
            tune_step *s = NULL;
            mem_fail_at(n);
            status st = tune_step_new(&s, c.g.m, c.p, &o, NULL, &e);
            hit = mem_fail_hit();
            mem_fail_at(-1);
            assert_int_equal(st, hit ? E_NOMEM : OK);
            failed += hit;
            if (s) {
                mem_stats now;
                mem_stats_read(&now);
                assert_int_equal(now.tag_current[MEM_ACTIVATIONS], bytes.activations);
            }
            tune_step_free(s);
            assert_int_equal(mem_now(), before);
        }
        assert_true(failed > 5);
        tuned_close(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_of_the_reference), cmocka_unit_test(threads_give_the_same_bits), cmocka_unit_test(documents_apart),
        cmocka_unit_test(labels_apart), cmocka_unit_test(half_inputs), cmocka_unit_test(rows_without_labels_change_nothing), cmocka_unit_test(sets_and_subsets),
        cmocka_unit_test(lowest_parts), cmocka_unit_test(refusals), cmocka_unit_test(measured_is_taken_and_allocations_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
