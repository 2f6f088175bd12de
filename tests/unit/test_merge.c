/* Adapters that became weights: the same answers as beside the model, nothing else changed, and what few bits make of them. */
#include <math.h>
#include <sys/stat.h>

#include "base/bits.h"
#include "lora/lora_save.h"
#include "os/dir.h"
#include "os/file.h"
#include "quant/merge.h"
#include "support/model.h"
#include "support/tiny.h"

static const char *const cases[] = { "e2b", "e4b", "12b", "26b", "26b-odd", "31b" };
enum { CASES = 6, PATH = 160 };

static char dir[] = "/tmp/facet-merge-XXXXXX";

static const char *in_dir(const char *name, char out[PATH])
{
    snprintf(out, PATH, "%s/%s", dir, name);
    return out;
}

static merge_opts own_types(void) { return (merge_opts){ .type = DTYPE_COUNT, .force = true, .threads = 2, .exact = true }; }

static void golden_paths(const char *name, char model[PATH], lora_part *part, char adapter[PATH])
{
    snprintf(model, PATH, "tests/golden/%s/model", name);
    snprintf(adapter, PATH, "tests/golden/lora/%s/adapter", name);
    *part = (lora_part){ .path = adapter, .scale = 1 };
}

static void merge(const char *model, const lora_part *part, const char *out, const merge_opts *o, merge_report *r)
{
    err e = { 0 };
    assert_ok(merge_model(model, part, 1, out, o, r, &e), &e);
}

/* Logits of the golden's prompt on the exact path; a: an adapter beside the model, taken over, or NULL.  Owned: free. */
static float *logits_of(const gemma *m, const golden *g, gemma_adapter *a)
{
    static gemma_row rows[512];
    err e = { 0 };
    gemma_ctx_opts o = model_opts(true);
    gemma_ctx *x = model_ctx(m, &o);
    float *y = malloc(sizeof *y * (size_t)g->T * (size_t)g->V);
    int32_t seq = model_seq(x);
    if (a) assert_ok(gemma_adapter_attach(x, 1, a, &e), &e);
    for (int32_t t = 0; t < g->T; t++) rows[t] = (gemma_row){ .seq = seq, .pos = t, .token = g->tokens[t], .adapter = a != NULL, .want_logits = true };
    assert_ok(gemma_step(x, rows, g->T, y, &e), &e);
    gemma_ctx_free(x);
    return y;
}

/* ---- the same answers ---------------------------------------------------------------------------- */

/* What PEFT answers, and how far from it rounding in 32 bits may lead: four times the reference's own error. */
typedef struct peft { st_file *file; const int32_t *rows; const float *logits; int64_t count; double bound; } peft;

static void peft_open(peft *p, const char *name)
{
    err e = { 0 };
    char path[PATH];
    json_error_t je;
    snprintf(path, sizeof path, "tests/golden/lora/%s/golden.json", name);
    json_t *j = json_load_file(path, 0, &je);
    assert_non_null(j);
    p->bound = json_number_value(json_object_get(j, "bound"));
    json_decref(j);
    snprintf(path, sizeof path, "tests/golden/lora/%s/expect.safetensors", name);
    assert_ok(st_open(&p->file, path, &e), &e);
    const st_tensor *rows = st_find(p->file, STR("rows"));
    p->rows = (const void *)rows->data;
    p->count = rows->shape[0];
    p->logits = (const void *)st_find(p->file, STR("logits"))->data;
}

static void check_merged(const char *name, const char *out)
{
    golden g;
    peft p;
    err e = { 0 };
    gemma *merged = NULL;
    gemma_adapter *a = NULL;
    char model[PATH], adapter[PATH];
    lora_part part;
    int64_t at;
    golden_paths(name, model, &part, adapter);
    golden_open(&g, name);
    peft_open(&p, name);
    assert_ok(gemma_open(&merged, out, &e), &e);
    assert_ok(lora_load(&a, g.m, &part, 1, &e), &e);
    float *beside = logits_of(g.m, &g, a), *within = logits_of(merged, &g, NULL);
    for (int64_t i = 0; i < p.count; i++)
        assert_true(model_diff(within + (int64_t)p.rows[i] * g.V, p.logits + i * g.V, g.V, &at) <= p.bound);
    /* each of the two may be that far off */
    assert_true(model_diff(within, beside, (int64_t)g.T * g.V, &at) <= 2 * p.bound);
    assert_true(model_diff(within, g.logits, (int64_t)g.T * g.V, &at) > 100 * p.bound);
    free(beside);
    free(within);
    gemma_close(merged);
    st_close(p.file);
    golden_close(&g);
}

/* Dense and with experts, in 32 bits: a folder, and with experts a GGUF file too. */
static void as_beside_the_model(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++)
        for (int folder = 0; folder < 2; folder++) {
            if (!folder && strcmp(cases[i], "26b") != 0) continue;
            merge_opts o = own_types();
            merge_report r;
            lora_part part;
            char model[PATH], adapter[PATH], out[PATH];
            o.type = DTYPE_F32;
            golden_paths(cases[i], model, &part, adapter);
            merge(model, &part, in_dir(folder ? "merged" : "merged.gguf", out), &o, &r);
            check_merged(cases[i], out);
            assert_true(r.terms > 0 && r.tokens > 8);
            assert_true(fabs(r.all.kept / r.all.delta - 1) < 1e-5 && r.all.error < 1e-10 * r.all.delta);
            assert_true(r.kl < 1e-6 && r.kl_without > 1e-3);
            dir_remove(out);
            remove(out);
        }
}

/* ---- nothing else --------------------------------------------------------------------------------- */

static void same_file(const char *a, const char *b, const char *name)
{
    char path[2][2 * PATH];
    buf text[2];
    err e = { 0 };
    snprintf(path[0], sizeof path[0], "%s/%s", a, name);
    snprintf(path[1], sizeof path[1], "%s/%s", b, name);
    for (int i = 0; i < 2; i++) {
        buf_init(&text[i], 1 << 24);
        assert_ok(file_read_all(&text[i], path[i], &e), &e);
    }
    assert_int_equal(text[0].len, text[1].len);
    assert_memory_equal(text[0].data, text[1].data, text[0].len);
    for (int i = 0; i < 2; i++) buf_done(&text[i]);
}

/* A folder keeps its types, its files, and every tensor without terms; the others are rounded once. */
static void folder_in_its_types(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        merge_opts o = own_types();
        merge_report r;
        lora_part part;
        char model[PATH], adapter[PATH], out[PATH];
        st_file *a = NULL, *b = NULL;
        err e = { 0 };
        uint64_t changed = 0;
        golden_paths(cases[i], model, &part, adapter);
        merge(model, &part, in_dir("merged", out), &o, &r);
        same_file(model, out, "config.json");
        same_file(model, out, "generation_config.json");
        assert_ok(st_open_dir(&a, model, &e), &e);
        assert_ok(st_open_dir(&b, out, &e), &e);
        assert_int_equal(st_count(a), st_count(b));
        for (uint64_t k = 0; k < st_count(a); k++) {
            const st_tensor *x = st_at(a, k), *y = st_find(b, x->name);
            assert_true(y && y->type == x->type && y->n_dims == x->n_dims && y->bytes == x->bytes);
            assert_memory_equal(x->shape, y->shape, sizeof *x->shape * (size_t)x->n_dims);
            changed += memcmp(x->data, y->data, x->bytes) != 0;
        }
        assert_int_equal(changed, r.all.tensors);
        /* bf16 keeps 8 bits of a weight: its error is 2^-9 of it at most, and root of a third of that in the mean */
        assert_true(sqrt(r.all.error / r.all.power) < 0x1p-9);
        st_close(a);
        st_close(b);
        dir_remove(out);
    }
}

/* The rounded weight is the nearest to the exact sum: one row of Q against the terms in 64 bits. */
static void sums_in_full(void **state)
{
    (void)state;
    merge_opts o = own_types();
    merge_report r;
    lora_part part;
    char model[PATH], adapter[PATH], out[PATH];
    err e = { 0 };
    gemma *before = NULL, *after = NULL;
    st_file *terms = NULL;
    golden_paths("31b", model, &part, adapter);
    part.scale = 0.5;
    o.type = DTYPE_F32;
    merge(model, &part, in_dir("sum.gguf", out), &o, &r);
    assert_ok(gemma_open(&before, model, &e), &e);
    assert_ok(gemma_open(&after, out, &e), &e);
    char path[2 * PATH];
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", adapter);
    assert_ok(st_open(&terms, path, &e), &e);
    const st_tensor *A = NULL, *B = NULL;
    for (uint64_t i = 0; i < st_count(terms); i++) {
        const st_tensor *t = st_at(terms, i);
        if (str_find(t->name, STR("layers.0.self_attn.q_proj.lora_A")) < t->name.n) A = t;
        if (str_find(t->name, STR("layers.0.self_attn.q_proj.lora_B")) < t->name.n) B = t;
    }
    assert_true(A && B && A->type == ST_F32 && B->type == ST_F32);
    const weight *w = &before->weights.layers[0].q, *v = &after->weights.layers[0].q;
    int64_t rank = A->shape[0], n = w->cols;
    float *x = malloc(sizeof *x * (size_t)n), *y = malloc(sizeof *y * (size_t)n);
    double ratio = 0;      /* the adapter's own scale, from the first element; then it must hold everywhere */
    for (int64_t row = 0; row < w->rows; row++) {
        dtype_of(w->type)->decode(weight_row(w, 0, row), x, n);
        dtype_of(v->type)->decode(weight_row(v, 0, row), y, n);
        for (int64_t c = 0; c < n; c++) {
            double sum = 0, all = fabs((double)x[c]);
            for (int64_t k = 0; k < rank; k++) {
                double term = (double)load_f32(B->data + 4 * (row * rank + k)) * (double)load_f32(A->data + 4 * (k * n + c));
                sum += term;
                all += fabs(term);
            }
            if (ratio == 0 && fabs(sum) > 1e-3) ratio = round(((double)y[c] - (double)x[c]) / sum * 1024) / 1024;
            if (ratio != 0) assert_true(fabs((double)x[c] + ratio * sum - (double)y[c]) <= (double)(rank + 3) * 0x1p-24 * MAX(1, fabs(ratio)) * all);
        }
    }
    assert_true(ratio != 0);
    free(x);
    free(y);
    st_close(terms);
    gemma_close(before);
    gemma_close(after);
}

/* ---- few bits ------------------------------------------------------------------------------------ */

/* An adapter of random terms of this size for Q and the experts' down of every layer, but for expert 0. */
static void random_adapter(const char *model, float size, const char *out)
{
    err e = { 0 };
    gemma *m = NULL;
    gemma_adapter *a = NULL;
    size_t bytes = 0;
    uint32_t seed = 7;
    assert_ok(gemma_open(&m, model, &e), &e);
    for (int pass = 0; pass < 2; pass++) {
        assert_ok(gemma_adapter_new(&a, m, bytes, &e), &e);
        for (int32_t l = 0; l < m->config.layer_count; l++)
            for (int32_t k = -1; k < m->config.expert_count; k++) {
                gemma_linear which = k < 0 ? GEMMA_Q : GEMMA_EXPERT_DOWN;
                const weight *w = gemma_adapter_weight(m, l, which);
                float *down, *up;
                assert_ok(gemma_adapter_matrix(a, 2, w->cols, &down, &e), &e);
                assert_ok(gemma_adapter_matrix(a, w->rows, 2, &up, &e), &e);
                for (int64_t i = 0; down && i < 2 * w->cols; i++) down[i] = size * (float)((int32_t)((seed = seed * 1664525u + 1013904223u) >> 16) - 32768) / 32768;
                for (int64_t i = 0; up && i < 2 * w->rows && k != 0; i++) up[i] = (float)((int32_t)((seed = seed * 1664525u + 1013904223u) >> 16) - 32768) / 32768;
                assert_ok(gemma_adapter_add(a, l, which, k, down, up, 2, 1, &e), &e);
            }
        bytes = gemma_adapter_bytes(a);
        if (pass) assert_ok(lora_save_gguf(out, m, a, &e), &e);
        gemma_adapter_free(a);
    }
    gemma_close(m);
}

/* Small changes do not outlive the steps of 4 bits, do so in 8 and all the more in 16; the report says so, and the answers show it. */
static void few_bits(void **state)
{
    (void)state;
    char model[PATH], adapter[PATH], out[PATH];
    err e = { 0 };
    static const dtype types[] = { DTYPE_Q4_0, DTYPE_COUNT, DTYPE_Q8_0, DTYPE_BF16, DTYPE_F32 };
    double of_change[5], kl[5];
    assert_ok(tiny_write_gguf(in_dir("model.gguf", model), TINY_26B, DTYPE_Q4_0, 3, &e), &e);
    random_adapter(model, 5e-3f, in_dir("adapter.gguf", adapter));
    for (int i = 0; i < 5; i++) {
        merge_opts o = own_types();
        merge_report r;
        lora_part part = { .path = adapter, .scale = 1 };
        o.type = types[i];
        merge(model, &part, in_dir("merged.gguf", out), &o, &r);
        of_change[i] = sqrt(r.all.error / r.all.delta);
        kl[i] = r.kl;
        print_message("%-5s rounding is %.4f of the change, kept %.3f, divergence %.2e (without the adapter %.2e)\n",
                      types[i] == DTYPE_COUNT ? "own" : dtype_of(types[i])->name, of_change[i], r.all.kept / r.all.delta, r.kl, r.kl_without);
        assert_int_equal(r.kinds[WEIGHT_Q].tensors + r.kinds[WEIGHT_DOWN_EXPS].tensors, r.all.tensors);
        assert_int_equal(r.terms, 6 * 17);
    }
    assert_true(of_change[0] > 0.9 && of_change[1] > 0.9 && of_change[2] < 0.5 * of_change[0] && of_change[3] < of_change[2] && of_change[4] < 1e-3);
    assert_true(kl[4] < 1e-6 && kl[3] < kl[0] && kl[2] < kl[0]);
}

/* Own types: a tensor without terms, and the rows of an expert whose B is zero, keep their bits, though the tensor is stored anew. */
static void untouched_rows(void **state)
{
    (void)state;
    char model[PATH], adapter[PATH], out[PATH];
    err e = { 0 };
    gguf_file *a = NULL, *b = NULL;
    merge_opts o = own_types();
    o.text = "Twelve miles.";      /* few tokens: the comparison is not what this is about */
    merge_report r;
    assert_ok(tiny_write_gguf(in_dir("model.gguf", model), TINY_26B, DTYPE_Q8_0, 3, &e), &e);
    random_adapter(model, 0.1f, in_dir("adapter.gguf", adapter));
    lora_part part = { .path = adapter, .scale = 1 };
    merge(model, &part, in_dir("merged.gguf", out), &o, &r);
    assert_ok(gguf_open(&a, model, &e), &e);
    assert_ok(gguf_open(&b, out, &e), &e);
    for (uint64_t i = 0; i < gguf_tensor_count(a); i++) {
        const gguf_tensor *x = gguf_tensor_at(a, i), *y = gguf_tensor_at(b, i);
        bool q = str_ends(x->name, "attn_q.weight"), down = str_ends(x->name, "ffn_down_exps.weight");
        assert_true(str_eq(x->name, y->name) && x->type == y->type && x->bytes == y->bytes);
        size_t one = x->bytes / 16;
        if (!q && !down) assert_memory_equal(x->data, y->data, x->bytes);
        if (!down) continue;
        assert_memory_equal(x->data, y->data, one);
        for (size_t k = 1; k < 16; k++) assert_true(memcmp(x->data + k * one, y->data + k * one, one) != 0);
    }
    gguf_close(a);
    gguf_close(b);
}

/* ---- refused -------------------------------------------------------------------------------------- */

static void refused(void **state)
{
    (void)state;
    char model[PATH], adapter[PATH], out[PATH], inside[2 * PATH];
    err e = { 0 };
    merge_report r;
    lora_part part;
    merge_opts o = own_types();
    golden_paths("26b", model, &part, adapter);
    in_dir("refused", out);
    o.type = DTYPE_Q4_0;
    assert_fails(merge_model(model, &part, 1, out, &o, &r, &e), E_ARG, &e, ".gguf");
    o.type = DTYPE_IQ4_NL;
    assert_fails(merge_model(model, &part, 1, in_dir("x.gguf", inside), &o, &r, &e), E_ARG, &e, "iq4_nl");
    o = own_types();
    assert_fails(merge_model(model, &part, 1, model, &o, &r, &e), E_ARG, &e, "not empty");
    assert_int_equal(mkdir(out, 0777), 0);
    merge(model, &part, out, &o, &r);                 /* an empty folder may be filled */
    assert_fails(merge_model(model, &part, 1, out, &o, &r, &e), E_ARG, &e, "remove it first");
    part.path = "tests/golden/lora/e2b/adapter";
    assert_fails(merge_model(model, &part, 1, in_dir("y", inside), &o, &r, &e), E_FORMAT, &e, "e2b/adapter");
    assert_false(file_exists(inside));
    part.path = adapter;
    assert_fails(merge_model(model, &part, 1, "/dev/full.gguf/x.gguf", &o, &r, &e), E_IO, &e, "could not");
    o.text = "no tokenizer";
    assert_fails(merge_model(model, &part, 1, in_dir("z.gguf", inside), &o, &r, &e), E_UNSUPPORTED, &e, "no tokenizer");
    assert_false(file_exists(inside));
    assert_ok(tiny_write_gguf(in_dir("model.gguf", inside), TINY_26B, DTYPE_F32, 3, &e), &e);
    random_adapter(inside, 0.1f, in_dir("adapter.gguf", adapter));
    o = own_types();
    assert_fails(merge_model(inside, &part, 1, inside, &o, &r, &e), E_ARG, &e, "the model that is read");
    o.force = false;
    assert_fails(merge_model(inside, &part, 1, adapter, &o, &r, &e), E_ARG, &e, "--force");
}

/* A head that shares its tensor with the token table cannot have a term of its own. */
static void tied_head(void **state)
{
    (void)state;
    char model[PATH], adapter[PATH], out[PATH];
    err e = { 0 };
    merge_report r;
    for (int untied = 0; untied < 2; untied++) {
        tiny_shape s = tiny_shape_of(TINY_12B);
        s.untied = untied;
        gemma *m = NULL;
        gemma_adapter *a = NULL;
        size_t bytes = 0;
        assert_ok(tiny_write_shape(in_dir("head.gguf", model), &s, DTYPE_F32, 3, &e), &e);
        assert_ok(gemma_open(&m, model, &e), &e);
        for (int pass = 0; pass < 2; pass++) {
            float *down, *up;
            const weight *w = gemma_adapter_weight(m, -1, GEMMA_HEAD);
            assert_ok(gemma_adapter_new(&a, m, bytes, &e), &e);
            assert_ok(gemma_adapter_matrix(a, 1, w->cols, &down, &e), &e);
            assert_ok(gemma_adapter_matrix(a, w->rows, 1, &up, &e), &e);
            for (int64_t i = 0; down && i < w->cols; i++) down[i] = 0.01f;
            for (int64_t i = 0; up && i < w->rows; i++) up[i] = (float)(i % 7) - 3;
            assert_ok(gemma_adapter_add(a, -1, GEMMA_HEAD, -1, down, up, 1, 1, &e), &e);
            bytes = gemma_adapter_bytes(a);
            if (pass) assert_ok(lora_save_peft(in_dir("head-adapter", adapter), m, a, LORA_CLASS_TEXT, &e), &e);
            gemma_adapter_free(a);
        }
        gemma_close(m);
        lora_part part = { .path = adapter, .scale = 1 };
        merge_opts o = own_types();
        o.text = "Twelve miles.";
        in_dir("head-merged.gguf", out);
        if (untied) merge(model, &part, out, &o, &r);
        else assert_fails(merge_model(model, &part, 1, out, &o, &r, &e), E_UNSUPPORTED, &e, "one tensor");
        assert_int_equal(file_exists(out), untied);
    }
    assert_true(r.kinds[WEIGHT_HEAD].tensors == 1 && r.kl < 1e-6);
}

/* A type that is only read stays where no term is; where one is, somebody has to say what it should become. */
static void types_that_are_only_read(void **state)
{
    (void)state;
    static const char model[] = "tests/golden/26b-types/model.gguf";
    char adapter[PATH], out[PATH];
    err e = { 0 };
    merge_report r;
    merge_opts o = own_types();
    o.text = "Twelve miles.";
    random_adapter(model, 0.1f, in_dir("types.gguf", adapter));
    lora_part part = { .path = adapter, .scale = 1 };
    assert_fails(merge_model(model, &part, 1, in_dir("types-merged.gguf", out), &o, &r, &e), E_UNSUPPORTED, &e, "only reads");
    assert_non_null(strstr(e.hint, "--type"));
    o.type = DTYPE_F32;
    merge(model, &part, out, &o, &r);
    assert_true(r.kl < 1e-6);
}

static int begin(void **state)
{
    (void)state;
    json_use_mem();
    return mkdtemp(dir) ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    dir_remove(dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_beside_the_model), cmocka_unit_test(folder_in_its_types), cmocka_unit_test(sums_in_full), cmocka_unit_test(few_bits),
        cmocka_unit_test(untouched_rows), cmocka_unit_test(refused), cmocka_unit_test(tied_head), cmocka_unit_test(types_that_are_only_read),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
