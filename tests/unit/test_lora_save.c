/* Adapters written and read again: the terms of tests/golden/lora, and some that no file had. */
#include <math.h>
#include <sys/stat.h>

#include "base/json.h"
#include "lora/lora.h"
#include "lora/lora_save.h"
#include "os/dir.h"
#include "os/file.h"
#include "support/folder.h"
#include "support/model.h"

static const char *const cases[] = { "e2b", "e4b", "12b", "26b", "26b-odd", "31b" };
enum { CASES = 6, TERMS_MAX = 4096 };

static char dir[256];            /* a new folder for each test */

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "%s/facet-save-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    dir_remove(dir);
    return 0;
}

static const char *in_dir(const char *name) { return folder_at(dir, name); }

static gemma_adapter *load(const gemma *m, const char *path)
{
    err e = { 0 };
    gemma_adapter *a = NULL;
    lora_part part = { .path = path, .scale = 1 };
    assert_ok(lora_load(&a, m, &part, 1, &e), &e);
    return a;
}

static gemma_adapter *load_golden(golden *g, const char *name)
{
    char path[96];
    golden_open(g, name);
    snprintf(path, sizeof path, "tests/golden/lora/%s/adapter", name);
    return load(g->m, path);
}

typedef struct terms { gemma_term at[TERMS_MAX]; size_t n; } terms;

static status collect(void *user, const gemma_term *t, err *e)
{
    terms *x = user;
    (void)e;
    assert_true(x->n < TERMS_MAX);
    x->at[x->n++] = *t;
    return OK;
}

static const terms *terms_of(const gemma_adapter *a)
{
    static terms t[2];
    static int next;
    err e = { 0 };
    next = !next;
    t[next].n = 0;
    assert_ok(gemma_adapter_visit(a, collect, &t[next], &e), &e);
    return &t[next];
}

static const gemma_term *find(const terms *all, const gemma_term *t)
{
    for (size_t i = 0; i < all->n; i++)
        if (all->at[i].layer == t->layer && all->at[i].which == t->which && all->at[i].expert == t->expert) return &all->at[i];
    fail_msg("layer %d, linear %d, expert %d is missing", t->layer, (int)t->which, t->expert);
    return NULL;
}

/* Every term of a is in b, with the same numbers: the products of scale and B to `off`, bit for bit when it is 0. */
static void assert_same_terms(const gemma_adapter *a, const gemma_adapter *b, double off)
{
    const terms *x = terms_of(a), *y = terms_of(b);
    assert_int_equal(x->n, y->n);
    for (size_t i = 0; i < x->n; i++) {
        const gemma_term *s = &x->at[i], *t = find(y, s);
        assert_int_equal(s->rank, t->rank);
        assert_memory_equal(s->a, t->a, sizeof(float) * (size_t)(s->rank * s->in));
        if (off == 0) {
            assert_true(s->scale == t->scale);
            assert_memory_equal(s->b, t->b, sizeof(float) * (size_t)(s->rank * s->out));
        }
        for (int64_t k = 0; k < s->rank * s->out; k++) {
            double p = (double)s->scale * s->b[k], q = (double)t->scale * t->b[k];
            if (!(fabs(p - q) <= off * fabs(p))) fail_msg("layer %d, linear %d, expert %d: %g, %g", s->layer, (int)s->which, s->expert, p, q);
        }
    }
}

/* ---- PEFT -------------------------------------------------------------------------------------------- */

static void peft_and_back(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        golden g;
        gemma_adapter *a = load_golden(&g, cases[i]);
        for (int c = 0; c < 2; c++) {
            err e = { 0 };
            assert_ok(lora_save_peft(in_dir(cases[i]), g.m, a, c ? LORA_CLASS_TEXT : LORA_CLASS_MULTIMODAL, &e), &e);
            gemma_adapter *b = load(g.m, in_dir(cases[i]));
            assert_same_terms(a, b, 0);
            gemma_adapter_free(b);
        }
        gemma_adapter_free(a);
        golden_close(&g);
    }
}

/* The tensors are those of PEFT's own file: names, shapes, numbers. */
static void the_same_tensors_as_peft(void **state)
{
    (void)state;
    static const struct { const char *name; lora_class c; } as[] = { { "e2b", LORA_CLASS_TEXT }, { "26b", LORA_CLASS_TEXT }, { "26b-odd", LORA_CLASS_MULTIMODAL }, { "12b", LORA_CLASS_MULTIMODAL } };
    for (int i = 0; i < 4; i++) {
        err e = { 0 };
        golden g;
        st_file *theirs = NULL, *ours = NULL;
        char path[128];
        static float x[1 << 16];
        gemma_adapter *a = load_golden(&g, as[i].name);
        assert_ok(lora_save_peft(in_dir(as[i].name), g.m, a, as[i].c, &e), &e);
        snprintf(path, sizeof path, "tests/golden/lora/%s/adapter/adapter_model.safetensors", as[i].name);
        assert_ok(st_open(&theirs, path, &e), &e);
        snprintf(path, sizeof path, "%s/adapter_model.safetensors", as[i].name);
        assert_ok(st_open(&ours, in_dir(path), &e), &e);
        assert_int_equal(st_count(ours), st_count(theirs));
        for (uint64_t k = 0; k < st_count(theirs); k++) {
            const st_tensor *t = st_at(theirs, k), *o = st_find(ours, t->name);
            if (!o) fail_msg("%.*s is missing", (int)t->name.n, t->name.p);
            assert_true(o->type == ST_F32 && o->n_dims == 2 && o->shape[0] == t->shape[0] && o->shape[1] == t->shape[1]);
            assert_true(o->bytes <= sizeof x);
            dtype_of(t->type == ST_F32 ? DTYPE_F32 : t->type == ST_BF16 ? DTYPE_BF16 : DTYPE_F16)->decode(t->data, x, t->shape[0] * t->shape[1]);
            assert_memory_equal(x, o->data, o->bytes);
        }
        st_close(theirs);
        st_close(ours);
        gemma_adapter_free(a);
        golden_close(&g);
    }
}

static json_t *config_of(const char *name) { return folder_json(in_dir(name), "adapter_config.json"); }

/* Ranks and alphas of most of it, and of what differs by kind, or by module where a kind is not of one mind. */
static void configuration(void **state)
{
    (void)state;
    err e = { 0 };
    golden g;
    gemma_adapter *a = load_golden(&g, "26b");
    assert_ok(lora_save_peft(in_dir("c"), g.m, a, LORA_CLASS_MULTIMODAL, &e), &e);
    json_t *j = config_of("c"), *p;
    assert_int_equal(json_integer_value(json_object_get(j, "r")), 2);
    assert_true(json_number_value(json_object_get(j, "lora_alpha")) == 3);
    p = json_object_get(j, "rank_pattern");
    assert_int_equal(json_object_size(p), 1);
    assert_int_equal(json_integer_value(json_object_get(p, "experts\\.gate_up_proj")), 3);
    p = json_object_get(j, "alpha_pattern");
    assert_int_equal(json_object_size(p), 1);
    assert_true(json_number_value(json_object_get(p, "experts\\.down_proj")) == 1.5);
    p = json_object_get(j, "target_parameters");
    assert_int_equal(json_array_size(p), 2);
    assert_string_equal(json_string_value(json_array_get(p, 0)), "experts.gate_up_proj");
    const char *modules = json_string_value(json_object_get(j, "target_modules"));
    assert_non_null(strstr(modules, "model\\.language_model\\.(?:layers\\.\\d+\\.self_attn\\.q_proj|"));
    assert_non_null(strstr(modules, "layers\\.\\d+\\.router\\.proj"));
    assert_string_equal(json_string_value(json_object_get(j, "peft_type")), "LORA");
    json_decref(j);
    gemma_adapter_free(a);
    golden_close(&g);
    a = load_golden(&g, "12b");        /* layer 2's q has rank 5, with the alpha of the others */
    assert_ok(lora_save_peft(in_dir("d"), g.m, a, LORA_CLASS_TEXT, &e), &e);
    j = config_of("d");
    p = json_object_get(j, "rank_pattern");
    assert_int_equal(json_object_size(p), 1);
    assert_int_equal(json_integer_value(json_object_get(p, "model\\.layers\\.2\\.self_attn\\.q_proj")), 5);
    assert_int_equal(json_object_size(json_object_get(j, "alpha_pattern")), 0);
    json_decref(j);
    gemma_adapter_free(a);
    golden_close(&g);
}

/* The class that the base model's folder names. */
static void class_of_the_base(void **state)
{
    (void)state;
    static const struct { const char *name; lora_class c; } as[] = { { "26b", LORA_CLASS_MULTIMODAL }, { "26b-odd", LORA_CLASS_TEXT }, { "12b", LORA_CLASS_MULTIMODAL }, { "31b-q4_k_m", LORA_CLASS_MULTIMODAL } };
    for (int i = 0; i < 4; i++) {
        err e = { 0 };
        golden g;
        lora_class c = LORA_CLASS_BASE, text = LORA_CLASS_TEXT;
        golden_open(&g, as[i].name);
        assert_ok(lora_class_choose(&c, g.m, &e), &e);
        assert_int_equal(c, as[i].c);
        assert_ok(lora_class_choose(&text, g.m, &e), &e);
        assert_int_equal(text, LORA_CLASS_TEXT);
        golden_close(&g);
    }
}

/* ---- terms that no file had --------------------------------------------------------------------------- */

typedef struct wanted { int32_t layer; gemma_linear which; int32_t expert, r; float scale; int a; } wanted;   /* a: terms with the same number share A */

static gemma_adapter *build(const gemma *m, const wanted *w, size_t n)
{
    err e = { 0 };
    gemma_adapter *a = NULL;
    float *shared[16];
    for (size_t pass = 0, bytes = 0; pass < 2; pass++) {
        gemma_adapter_free(a);
        assert_ok(gemma_adapter_new(&a, m, bytes, &e), &e);
        memset(shared, 0, sizeof shared);
        for (size_t i = 0; i < n; i++) {
            const weight *x = gemma_adapter_weight(m, w[i].layer, w[i].which);
            float *down = shared[w[i].a], *up = NULL;
            assert_non_null(x);
            if (!down) assert_ok(gemma_adapter_matrix(a, w[i].r, x->cols, &down, &e), &e);
            assert_ok(gemma_adapter_matrix(a, x->rows, w[i].r, &up, &e), &e);
            for (int64_t k = 0; down && !shared[w[i].a] && k < w[i].r * x->cols; k++) down[k] = (float)((k * 7 + w[i].a * 13) % 29 - 14) / 64;
            for (int64_t k = 0; up && k < w[i].r * x->rows; k++) up[k] = (float)((k * 5 + (int64_t)i * 11) % 31 - 15) / 32;
            shared[w[i].a] = down;
            assert_ok(gemma_adapter_add(a, w[i].layer, w[i].which, w[i].expert, down, up, w[i].r, w[i].scale, &e), &e);
        }
        bytes = gemma_adapter_bytes(a);
    }
    return a;
}

/* Logits of the golden's prompt; the adapter is freed. */
static float *run(const golden *g, gemma_adapter *a)
{
    static gemma_row rows[512];
    err e = { 0 };
    gemma_ctx_opts o = model_opts(true);
    gemma_ctx *x = model_ctx(g->m, &o);
    float *y = malloc(sizeof *y * (size_t)g->T * (size_t)g->V);
    int32_t seq = model_seq(x);
    assert_ok(gemma_adapter_attach(x, 1, a, &e), &e);
    for (int32_t t = 0; t < g->T; t++) rows[t] = (gemma_row){ .seq = seq, .pos = t, .token = g->tokens[t], .adapter = 1, .want_logits = true };
    assert_ok(gemma_step(x, rows, g->T, y, &e), &e);
    gemma_ctx_free(x);
    return y;
}

static const wanted odd[] = {
    { 0, GEMMA_Q, -1, 2, 1, 0 }, { 0, GEMMA_Q, -1, 3, 0.5f, 1 },                                  /* two of one place add up */
    { 2, GEMMA_Q, -1, 2, 1, 2 },                                                                  /* not in every layer */
    { 1, GEMMA_EXPERT_GATE, 3, 2, 1, 3 }, { 1, GEMMA_EXPERT_UP, 3, 2, 1, 3 },                     /* sharing A */
    { 1, GEMMA_EXPERT_GATE, 4, 2, 1, 4 }, { 1, GEMMA_EXPERT_UP, 4, 3, 2, 5 },                     /* not */
    { 1, GEMMA_EXPERT_UP, 5, 1, 0.25f, 6 }, { 2, GEMMA_EXPERT_DOWN, 0, 2, 3, 7 }, { 2, GEMMA_EXPERT_DOWN, 7, 2, 1.5f, 8 },
};

/* What the files hold computes the same; the additions of some terms stand in another order. */
static void other_terms(void **state)
{
    (void)state;
    err e = { 0 };
    golden g;
    int64_t at;
    golden_open(&g, "26b");
    gemma_adapter *a = build(g.m, odd, sizeof odd / sizeof *odd);
    assert_ok(lora_save_peft(in_dir("peft"), g.m, a, LORA_CLASS_BASE, &e), &e);
    assert_ok(lora_save_gguf(in_dir("a.gguf"), g.m, a, &e), &e);
    gemma_adapter *b = load(g.m, in_dir("peft"));
    const gemma_term gate = { .layer = 1, .which = GEMMA_EXPERT_GATE, .expert = 4 };
    assert_int_equal(find(terms_of(b), &gate)->rank, 5);      /* expert 4's two A stand one above the other */
    float *y = run(&g, a), *peft = run(&g, b), *gguf = run(&g, load(g.m, in_dir("a.gguf")));
    int64_t n = (int64_t)g.T * g.V;
    assert_true(model_diff(y, g.logits, n, &at) > 100 * g.bound);
    assert_true(model_diff(y, peft, n, &at) <= g.bound);
    assert_true(model_diff(y, gguf, n, &at) <= g.bound);
    json_t *j = config_of("peft");
    assert_string_equal(json_string_value(json_object_get(j, "target_modules")), "model\\.language_model\\.(?:layers\\.(?:0|2)\\.self_attn\\.q_proj)");
    assert_string_equal(json_string_value(json_array_get(json_object_get(j, "target_parameters"), 0)), "model.language_model.layers.1.experts.gate_up_proj");
    json_decref(j);
    free(y);
    free(peft);
    free(gguf);
    golden_close(&g);
}

/* ---- GGUF ---------------------------------------------------------------------------------------------- */

static void gguf_and_back(void **state)
{
    (void)state;
    static const char *const some[] = { "12b", "26b", "26b-odd", "31b" };
    for (int i = 0; i < 4; i++) {
        err e = { 0 };
        golden g;
        gemma_adapter *a = load_golden(&g, some[i]);
        assert_ok(lora_save_gguf(in_dir("a.gguf"), g.m, a, &e), &e);
        gemma_adapter *b = load(g.m, in_dir("a.gguf"));
        assert_same_terms(a, b, some[i][0] == '3' ? 0 : 4e-7);       /* one alpha, no experts: the same bits */
        gemma_adapter_free(a);
        gemma_adapter_free(b);
        golden_close(&g);
    }
}

/* llama.cpp adds the term of down behind the expert's factor: it is within B, and the term without it would be another one. */
static void factors_are_in_b(void **state)
{
    (void)state;
    err e = { 0 };
    golden g;
    gguf_file *f = NULL;
    gemma_adapter *a = load_golden(&g, "26b-odd");
    assert_ok(lora_save_gguf(in_dir("a.gguf"), g.m, a, &e), &e);
    assert_ok(gguf_open(&f, in_dir("a.gguf"), &e), &e);
    const gguf_tensor *b = gguf_tensor_find(f, "blk.1.ffn_down_exps.weight.lora_b");
    assert_non_null(b);
    const gemma_term second = { .layer = 1, .which = GEMMA_EXPERT_DOWN, .expert = 1 };
    const gemma_term *t = find(terms_of(a), &second);
    float gamma = g.m->weights.layers[1].expert_scale[1], v;
    assert_true(fabsf(gamma - 1) > 1e-3f);
    assert_true(b->n_dims == 3 && b->ne[0] == t->rank && b->ne[1] == t->out && b->ne[2] == g.m->config.expert_count);
    for (int64_t k = 0; k < t->rank * t->out; k++) {
        memcpy(&v, b->data + (size_t)(t->rank * t->out + k) * sizeof v, sizeof v);
        assert_true(v == t->b[k] * gamma);
    }
    gguf_close(f);
    gemma_adapter_free(a);
    golden_close(&g);
}

static void what_llamacpp_leaves_out(void **state)
{
    (void)state;
    err e = { 0 };
    golden g;
    gemma_adapter *a = load_golden(&g, "e2b");
    assert_fails(lora_save_gguf(in_dir("a.gguf"), g.m, a, &e), E_UNSUPPORTED, &e, "per_layer_model_proj");
    assert_false(file_exists(in_dir("a.gguf")));
    gemma_adapter_free(a);
    const wanted head = { -1, GEMMA_HEAD, -1, 2, 1, 0 };
    a = build(g.m, &head, 1);
    assert_fails(lora_save_gguf(in_dir("a.gguf"), g.m, a, &e), E_UNSUPPORTED, &e, "embedding");
    gemma_adapter_free(a);
    golden_close(&g);
}

/* ---- folders and failures -------------------------------------------------------------------------------- */

/* A folder that is there keeps what else is in it; nothing temporary stays. */
static void into_a_folder(void **state)
{
    (void)state;
    err e = { 0 };
    golden g;
    file_out f;
    gemma_adapter *a = load_golden(&g, "e4b");
    assert_int_equal(mkdir(in_dir("run"), 0777), 0);
    assert_ok(file_out_begin(&f, in_dir("run/log"), &e), &e);
    assert_ok(file_out_commit(&f, &e), &e);
    for (int i = 0; i < 2; i++) {
        assert_ok(lora_save_peft(in_dir("run/"), g.m, a, LORA_CLASS_BASE, &e), &e);
        assert_int_equal(folder_count(in_dir("run")), 3);
        assert_int_equal(folder_count(dir), 1);
    }
    gemma_adapter *b = load(g.m, in_dir("run"));
    assert_same_terms(a, b, 0);
    gemma_adapter_free(b);
    assert_fails(lora_save_peft(in_dir("run/log"), g.m, a, LORA_CLASS_BASE, &e), E_ARG, &e, "file of that name");
    assert_fails(lora_save_peft(in_dir("nowhere/x"), g.m, a, LORA_CLASS_BASE, &e), E_IO, &e, "nowhere");
    assert_fails(lora_save_peft("", g.m, a, LORA_CLASS_BASE, &e), E_ARG, &e, "without a name");
    gemma_adapter_free(a);
    assert_ok(gemma_adapter_new(&a, g.m, 0, &e), &e);
    assert_fails(lora_save_peft(in_dir("empty"), g.m, a, LORA_CLASS_BASE, &e), E_ARG, &e, "no terms");
    assert_false(file_exists(in_dir("empty")));
    gemma_adapter_free(a);
    golden_close(&g);
}

/* Each allocation fails once: an error, and neither a file nor memory is left. */
static void every_allocation_fails_once(void **state)
{
    (void)state;
    golden g;
    int failed = 0;
    json_use_mem();
    gemma_adapter *a = load_golden(&g, "26b-odd");
    for (int64_t n = 0;; n++) {
        err e = { 0 };
        size_t before = mem_now();
        mem_fail_at(n);
        status st = n % 2 ? lora_save_gguf(in_dir("x"), g.m, a, &e) : lora_save_peft(in_dir("x"), g.m, a, LORA_CLASS_BASE, &e);
        bool hit = mem_fail_hit();
        mem_fail_at(-1);
        assert_int_equal(mem_now(), before);
        if (st != OK) {
            assert_true(hit && st == E_NOMEM && e.what[0]);
            assert_int_equal(folder_count(dir), 0);
            failed++;
        } else if (n % 2) {
            unlink(in_dir("x"));
        } else {
            dir_remove(in_dir("x"));
            if (!hit) break;
        }
    }
    assert_true(failed > 20);
    gemma_adapter_free(a);
    golden_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(peft_and_back, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(the_same_tensors_as_peft, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(configuration, make_dir, remove_dir),
        cmocka_unit_test(class_of_the_base),
        cmocka_unit_test_setup_teardown(other_terms, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(gguf_and_back, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(factors_are_in_b, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(what_llamacpp_leaves_out, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(into_a_folder, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(every_allocation_fails_once, make_dir, remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
