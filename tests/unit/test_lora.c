/* Adapters from files against what PEFT and the reference answer with them (tests/golden/lora), in every form in which they occur. */
#include <stdlib.h>

#include "lora/lora_int.h"
#include "support/model.h"

static const char *const cases[] = { "e2b", "e4b", "12b", "26b", "26b-odd", "31b" };
enum { CASES = 6, ROWS = 6 };

typedef struct lora_case {
    golden g;                    /* the model, and its prompt */
    char path[64];               /* of the adapter */
    st_file *expect, *adapter;
    const int32_t *rows;         /* [ROWS] */
    const float *logits;         /* [ROWS, V] */
    double bound;
} lora_case;

static void case_open(lora_case *c, const char *name)
{
    err e = { 0 };
    char path[128];
    json_error_t je;
    golden_open(&c->g, name);
    snprintf(path, sizeof path, "tests/golden/lora/%s/golden.json", name);
    json_t *j = json_load_file(path, 0, &je);
    assert_non_null(j);
    c->bound = json_number_value(json_object_get(j, "bound"));
    json_decref(j);
    assert_true(c->bound > 0 && c->bound <= 3e-3);
    snprintf(path, sizeof path, "tests/golden/lora/%s/expect.safetensors", name);
    assert_ok(st_open(&c->expect, path, &e), &e);
    c->rows = (const void *)st_find(c->expect, STR("rows"))->data;
    c->logits = (const void *)st_find(c->expect, STR("logits"))->data;
    snprintf(c->path, sizeof c->path, "tests/golden/lora/%s/adapter", name);
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", c->path);
    assert_ok(st_open(&c->adapter, path, &e), &e);
}

static void case_close(lora_case *c)
{
    st_close(c->expect);
    st_close(c->adapter);
    golden_close(&c->g);
}

/* Logits of the whole prompt with an adapter, which is freed; owned: free. */
static float *run_with(const golden *g, gemma_adapter *a, int32_t chunk, int threads, bool exact)
{
    static gemma_row rows[512];
    err e = { 0 };
    gemma_ctx_opts o = model_opts(exact);
    o.threads = threads;
    o.rank_max = LORA_RANK_MAX;
    gemma_ctx *x = model_ctx(g->m, &o);
    float *y = malloc(sizeof *y * (size_t)g->T * (size_t)g->V);
    int32_t seq = model_seq(x);
    assert_ok(gemma_adapter_attach(x, 3, a, &e), &e);
    for (int32_t at = 0; at < g->T; at += chunk) {
        int32_t T = g->T - at < chunk ? g->T - at : chunk;
        for (int32_t t = 0; t < T; t++) rows[t] = (gemma_row){ .seq = seq, .pos = at + t, .token = g->tokens[at + t], .adapter = 3, .want_logits = true };
        assert_ok(gemma_step(x, rows, T, y + (int64_t)at * g->V, &e), &e);
    }
    gemma_ctx_free(x);
    return y;
}

static gemma_adapter *load(const lora_case *c)
{
    err e = { 0 };
    gemma_adapter *a = NULL;
    uint64_t bytes = 0;
    lora_part part = { .path = c->path, .scale = 1 };
    assert_ok(lora_measure(&bytes, c->g.m, &part, 1, &e), &e);
    assert_ok(lora_load(&a, c->g.m, &part, 1, &e), &e);
    assert_true(bytes > 0 && bytes == gemma_adapter_bytes(a));       /* the plan is what is taken */
    return a;
}

/* The reference's logits, on the exact path; and not the base model's. */
static void as_peft_computes(void **state)
{
    int bad = 0;
    (void)state;
    for (int i = 0; i < CASES; i++) {
        lora_case c;
        int64_t at;
        case_open(&c, cases[i]);
        float *y = run_with(&c.g, load(&c), c.g.T, 1, true);
        double most = 0;
        for (int r = 0; r < ROWS; r++) {
            double d = model_diff(y + (int64_t)c.rows[r] * c.g.V, c.logits + (int64_t)r * c.g.V, c.g.V, &at);
            if (d > most) most = d;
        }
        print_message("%-8s off by %.2e, bound %.2e\n", cases[i], most, c.bound);
        if (!(most <= c.bound)) bad++;
        assert_true(model_diff(y, c.g.logits, (int64_t)c.g.T * c.g.V, &at) > 100 * c.bound);
        free(y);
        case_close(&c);
    }
    assert_int_equal(bad, 0);
}

/* The same bits in any chunks and with any threads, on both paths. */
static void the_same_bits(void **state)
{
    (void)state;
    static const char *const some[] = { "e2b", "26b" };
    for (int i = 0; i < 2; i++)
        for (int exact = 0; exact < 2; exact++) {
            lora_case c;
            case_open(&c, some[i]);
            size_t n = sizeof(float) * (size_t)c.g.T * (size_t)c.g.V;
            float *whole = run_with(&c.g, load(&c), c.g.T, 1, exact), *pieces = run_with(&c.g, load(&c), 7, 3, exact), *single = run_with(&c.g, load(&c), 1, 2, exact);
            assert_memory_equal(whole, pieces, n);
            assert_memory_equal(whole, single, n);
            free(whole);
            free(pieces);
            free(single);
            case_close(&c);
        }
}

/* ---- other forms of the same adapter -------------------------------------------------------------- */

/* A safetensors file of F32 tensors, made tensor by tensor, and its configuration. */
typedef struct maker { json_t *header, *config; uint8_t *data; size_t n, cap; } maker;

static void maker_init(maker *k, const lora_case *c)
{
    char path[128];
    json_error_t je;
    snprintf(path, sizeof path, "%s/adapter_config.json", c->path);
    *k = (maker){ .header = json_object(), .config = json_load_file(path, 0, &je), .cap = 4 << 20 };
    k->data = calloc(1, k->cap);
    assert_non_null(k->config);
}

static float *put(maker *k, const char *name, int64_t rows, int64_t cols)
{
    size_t at = k->n, n = (size_t)(rows * cols) * sizeof(float);
    assert_true(at + n <= k->cap);
    k->n += n;
    assert_int_equal(json_object_set_new(k->header, name, json_pack("{s:s, s:[I, I], s:[I, I]}", "dtype", "F32", "shape", (json_int_t)rows, (json_int_t)cols,
                                                                  "data_offsets", (json_int_t)at, (json_int_t)(at + n))), 0);
    return (float *)(void *)(k->data + at);
}

/* Tensors as f32; owned: free. */
static float *numbers(const st_tensor *t)
{
    int64_t n = t->shape[0] * t->shape[1];
    float *v = malloc(sizeof *v * (size_t)n);
    dtype_of(t->type == ST_F32 ? DTYPE_F32 : t->type == ST_BF16 ? DTYPE_BF16 : DTYPE_F16)->decode(t->data, v, n);
    return v;
}

static void copy(maker *k, const char *name, const st_tensor *t)
{
    float *v = numbers(t);
    memcpy(put(k, name, t->shape[0], t->shape[1]), v, sizeof *v * (size_t)(t->shape[0] * t->shape[1]));
    free(v);
}

/* Opens what was made; the maker is used up. */
static status maker_load(maker *k, const gemma *m, lora_order order, gemma_adapter **out, err *e)
{
    status st = OK;
    lora_peft *p = NULL;
    gemma_adapter *a = NULL;
    char *text = json_dumps(k->header, JSON_COMPACT);
    uint64_t head = strlen(text);
    uint8_t *file = malloc(8 + head + k->n);
    memcpy(file, &head, 8);
    memcpy(file + 8, text, head);
    memcpy(file + 8 + head, k->data, k->n);
    TRY(lora_peft_open_memory(&p, m, k->config, (str){ (const char *)file, 8 + head + k->n }, order, e));
    for (size_t pass = 0, bytes = 0; pass < 2; pass++) {
        gemma_adapter_free(a);
        a = NULL;
        TRY(gemma_adapter_new(&a, m, bytes, e));
        TRY(lora_peft_fill(p, a, 1, e));
        bytes = gemma_adapter_bytes(a);
    }
    *out = a;
    a = NULL;
out:
    gemma_adapter_free(a);
    lora_peft_close(p);
    free(file);
    free(text);
    free(k->data);
    json_decref(k->header);
    json_decref(k->config);
    return st;
}

/* One tensor of the adapter in another form; t2: B when t is an A. */
typedef void (*form_fn)(maker *k, const gemma *m, const char *name, const st_tensor *t);

static gemma_adapter *in_form(const lora_case *c, form_fn form, const char *set, const char *value, lora_order order)
{
    err e = { 0 };
    maker k;
    gemma_adapter *a = NULL;
    maker_init(&k, c);
    if (set) json_object_set_new(k.config, set, json_string(value));
    for (uint64_t i = 0; i < st_count(c->adapter); i++) {
        char name[256];
        const st_tensor *t = st_at(c->adapter, i);
        snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.p);
        form(&k, c->g.m, name, t);
    }
    assert_ok(maker_load(&k, c->g.m, order, &a, &e), &e);
    return a;
}

static void plain(maker *k, const gemma *m, const char *name, const st_tensor *t) { (void)m; copy(k, name, t); }

/* "model.layers" <-> "model.language_model.layers" */
static void other_class(maker *k, const gemma *m, const char *name, const st_tensor *t)
{
    char other[300];
    static const char text[] = "base_model.model.model.", multi[] = "language_model.";
    const char *rest = name + strlen(text);
    (void)m;
    assert_true(strncmp(name, text, strlen(text)) == 0);
    bool is_multi = strncmp(rest, multi, strlen(multi)) == 0;
    snprintf(other, sizeof other, "%s%s%s", text, is_multi ? "" : multi, is_multi ? rest + strlen(multi) : rest);
    copy(k, other, t);
}

static bool is_fused(const char *name, const char *end)
{
    return strstr(name, ".experts.") && strlen(name) > strlen(end) && strcmp(name + strlen(name) - strlen(end), end) == 0;
}

/* Columns e r + k instead of k E + e. */
static void by_expert(maker *k, const gemma *m, const char *name, const st_tensor *t)
{
    int64_t E = m->config.expert_count, cols = t->shape[1], r = cols / E;
    if (!is_fused(name, ".lora_B.weight")) { copy(k, name, t); return; }
    float *v = numbers(t), *to = put(k, name, t->shape[0], cols);
    for (int64_t o = 0; o < t->shape[0]; o++)
        for (int64_t c = 0; c < cols; c++) to[o * cols + c % E * r + c / E] = v[o * cols + c];
    free(v);
}

/* A carries the outputs, B the inputs. */
static void old_way(maker *k, const gemma *m, const char *name, const st_tensor *t)
{
    char other[300];
    int64_t E = m->config.expert_count;
    bool a = is_fused(name, ".lora_A.weight");
    if (!a && !is_fused(name, ".lora_B.weight")) { copy(k, name, t); return; }
    snprintf(other, sizeof other, "%.*s.lora_%c.weight", (int)(strlen(name) - strlen(".lora_A.weight")), name, a ? 'B' : 'A');
    int64_t r = t->shape[a ? 0 : 1] / E, wide = t->shape[a ? 1 : 0];
    float *v = numbers(t), *to = a ? put(k, other, wide, r * E) : put(k, other, r * E, wide);
    for (int64_t e = 0; e < E; e++)
        for (int64_t i = 0; i < r; i++)
            for (int64_t w = 0; w < wide; w++) {
                if (a) to[w * r * E + i * E + e] = v[(e * r + i) * wide + w];
                else to[(e * r + i) * wide + w] = v[w * r * E + i * E + e];
            }
    free(v);
}

/* One pair for each expert and each of gate, up and down. */
static void one_by_one(maker *k, const gemma *m, const char *name, const st_tensor *t)
{
    static const char *const parts[] = { "gate_proj", "up_proj", "down_proj" };
    char other[300];
    bool a = is_fused(name, ".lora_A.weight"), inner = strstr(name, ".base_layer.") != NULL;
    if (!a && !is_fused(name, ".lora_B.weight")) { copy(k, name, t); return; }
    int64_t E = m->config.expert_count, r = t->shape[a ? 0 : 1] / E, wide = t->shape[a ? 1 : 0], rows = inner && !a ? wide / 2 : wide;
    float *v = numbers(t);
    for (int64_t e = 0; e < E; e++)
        for (int h = inner ? 0 : 2; h < (inner ? 2 : 3); h++) {
            snprintf(other, sizeof other, "%.*s.moe.experts.%d.%s.lora_%c.weight", (int)(strstr(name, ".experts.") - name), name, (int)e, parts[h], a ? 'A' : 'B');
            float *to = a ? put(k, other, r, wide) : put(k, other, rows, r);
            for (int64_t i = 0; a && i < r * wide; i++) to[i] = v[e * r * wide + i];
            for (int64_t i = 0; !a && i < rows * r; i++) to[i] = v[((h == 1 ? rows : 0) + i / r) * r * E + i % r * E + e];
        }
    free(v);
}

/* PEFT's own alpha_pattern names the parameter; for the single experts it is a module. */
static void rename_alpha(json_t *config)
{
    json_t *p = json_object_get(config, "alpha_pattern");
    if (json_object_size(p)) json_object_set_new(p, "experts\\.\\d+\\.down_proj", json_real(1.5));
}

static void the_same_in_other_forms(void **state)
{
    (void)state;
    static const struct { const char *golden; form_fn form; const char *set, *value; lora_order order; bool differs; } forms[] = {
        { "26b", plain, NULL, NULL, LORA_ORDER_FILE, false },
        { "26b", other_class, NULL, NULL, LORA_ORDER_FILE, false },
        { "12b", other_class, NULL, NULL, LORA_ORDER_FILE, false },
        { "26b", by_expert, "lora_B_layout", "grouped_by_expert", LORA_ORDER_FILE, false },
        { "26b", by_expert, NULL, NULL, LORA_ORDER_EXPERT, false },
        { "26b", by_expert, "lora_B_layout", "rank_major", LORA_ORDER_FILE, true },
        { "26b", by_expert, NULL, NULL, LORA_ORDER_FILE, true },
        { "26b", plain, "lora_B_layout", "grouped_by_expert", LORA_ORDER_RANK, false },      /* the option is stronger */
        { "26b", old_way, "peft_version", "0.18.1", LORA_ORDER_FILE, false },
        { "26b", old_way, NULL, NULL, LORA_ORDER_FILE, false },                                /* the shapes show it */
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        lora_case c;
        int64_t at;
        case_open(&c, forms[i].golden);
        float *want = run_with(&c.g, load(&c), c.g.T, 1, true);
        float *got = run_with(&c.g, in_form(&c, forms[i].form, forms[i].set, forms[i].value, forms[i].order), c.g.T, 1, true);
        if (forms[i].differs) assert_true(model_diff(want, got, (int64_t)c.g.T * c.g.V, &at) > 100 * c.bound);
        else if (model_diff(want, got, (int64_t)c.g.T * c.g.V, &at) != 0) fail_msg("form %d differs", (int)i);
        free(want);
        free(got);
        case_close(&c);
    }
}

static void single_experts(void **state)
{
    (void)state;
    err e = { 0 };
    lora_case c;
    maker k;
    int64_t at;
    gemma_adapter *a = NULL;
    case_open(&c, "26b");
    maker_init(&k, &c);
    rename_alpha(k.config);
    for (uint64_t i = 0; i < st_count(c.adapter); i++) {
        char name[256];
        const st_tensor *t = st_at(c.adapter, i);
        snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.p);
        one_by_one(&k, c.g.m, name, t);
    }
    assert_ok(maker_load(&k, c.g.m, LORA_ORDER_FILE, &a, &e), &e);
    float *want = run_with(&c.g, load(&c), c.g.T, 1, true), *got = run_with(&c.g, a, c.g.T, 1, true);
    assert_true(model_diff(want, got, (int64_t)c.g.T * c.g.V, &at) == 0);
    free(want);
    free(got);
    case_close(&c);
}

/* ---- GGUF ------------------------------------------------------------------------------------------ */

/* The adapter of "26b" under llama.cpp's names, its own scale within B, B of down multiplied by the expert's factor. */
typedef struct gguf_item { char name[WEIGHT_NAME_CAP + 8]; int dims; int64_t ne[3]; float *data; } gguf_item;

static int64_t item_size(const gguf_item *x) { return x->ne[0] * x->ne[1] * (x->dims == 3 ? x->ne[2] : 1); }

static void to_gguf_item(const golden *g, const st_tensor *t, double alpha_down, double alpha, gguf_item *x)
{
    char name[256];
    int32_t layer;
    bool a = str_ends(t->name, ".lora_A.weight"), fused = false, down = false;
    int n = snprintf(name, sizeof name, "%.*s", (int)(t->name.n - strlen("base_model.model.") - strlen(".lora_A.weight")), t->name.p + strlen("base_model.model."));
    char *experts = strstr(name, ".experts");
    if (experts) {
        fused = true;
        down = !strstr(name, ".base_layer");
        strcpy(experts, down ? ".experts.down_proj" : ".experts.gate_up_proj");
    } else strcpy(name + n, ".weight");
    weight_place place = weight_names_place(str_from(name), &layer);
    assert_true(place != WEIGHT_PLACES);
    weight_names_gguf(place, layer, x->name);
    strcat(x->name, a ? ".lora_a" : ".lora_b");
    int64_t E = fused ? g->m->config.expert_count : 1, rows = t->shape[0], cols = t->shape[1], r = (a ? rows : cols) / E;
    x->dims = fused ? 3 : 2;
    x->ne[0] = a ? cols : r;
    x->ne[1] = a ? r : rows;
    x->ne[2] = E;
    float *v = numbers(t);
    x->data = malloc(sizeof *x->data * (size_t)(rows * cols));
    for (int64_t e = 0; e < E; e++)
        for (int64_t o = 0; o < (a ? r : rows); o++)
            for (int64_t i = 0; i < x->ne[0]; i++) {
                double s = a ? 1 : (down ? alpha_down * (double)g->m->weights.layers[layer].expert_scale[e] : alpha) / (double)r;
                float f = a ? v[(e * r + o) * cols + i] : v[o * cols + i * E + e];
                x->data[(e * x->ne[1] + o) * x->ne[0] + i] = (float)(s * (double)f);
            }
    free(v);
}

static void gguf_of_the_same(void **state)
{
    (void)state;
    static gguf_item items[512];
    err e = { 0 };
    lora_case c;
    int64_t at;
    char path[] = "/tmp/facet-lora-gguf-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    case_open(&c, "26b");
    gguf_writer *w;
    size_t n = st_count(c.adapter);
    assert_true(n <= sizeof items / sizeof *items);
    assert_ok(gguf_writer_new(&w, path, &e), &e);
    assert_ok(gguf_put_str(w, "general.type", STR("adapter"), &e), &e);
    assert_ok(gguf_put_str(w, "general.architecture", STR("gemma4"), &e), &e);
    assert_ok(gguf_put_str(w, "adapter.type", STR("lora"), &e), &e);
    assert_ok(gguf_put_f32(w, "adapter.lora.alpha", 0, &e), &e);
    for (size_t i = 0; i < n; i++) to_gguf_item(&c.g, st_at(c.adapter, i), 1.5, 3, &items[i]);
    for (size_t i = 0; i < n; i++) assert_ok(gguf_put_tensor(w, items[i].name, DTYPE_F32, items[i].dims, items[i].ne, &e), &e);
    for (size_t i = 0; i < n; i++) assert_ok(gguf_write_data(w, items[i].data, sizeof(float) * (size_t)item_size(&items[i]), &e), &e);
    assert_ok(gguf_writer_end(w, &e), &e);
    gguf_writer_free(w);
    gemma_adapter *a = NULL;
    lora_part part = { .path = path, .scale = 1 };
    assert_ok(lora_load(&a, c.g.m, &part, 1, &e), &e);
    float *got = run_with(&c.g, a, c.g.T, 1, true);
    for (int r = 0; r < ROWS; r++) assert_true(model_diff(got + (int64_t)c.rows[r] * c.g.V, c.logits + (int64_t)r * c.g.V, c.g.V, &at) <= c.bound);
    free(got);
    for (size_t i = 0; i < n; i++) free(items[i].data);
    unlink(path);
    case_close(&c);
}

/* ---- what is refused ------------------------------------------------------------------------------- */

#define Q "base_model.model.model.layers.0.self_attn.q_proj"

typedef struct wrong {
    const char *set, *value;     /* JSON of one key of the configuration */
    const char *a, *b;           /* names of the two tensors; NULL: q_proj's of layer 0 */
    int rows, cols, b_rows, b_cols;      /* 0: as they should be, rank 2 */
    double fill;
    status st;
    const char *text;
} wrong;

static status load_wrong(const lora_case *c, const wrong *w, err *e)
{
    maker k;
    gemma_adapter *a = NULL;
    const weight *q = gemma_adapter_weight(c->g.m, 0, GEMMA_Q);
    maker_init(&k, c);
    json_object_set_new(k.config, "alpha_pattern", json_object());
    if (w->set) json_object_set_new(k.config, w->set, json_loads(w->value, JSON_DECODE_ANY, NULL));
    int64_t rows = w->rows ? w->rows : 2, cols = w->cols ? w->cols : q->cols, b_rows = w->b_rows ? w->b_rows : q->rows, b_cols = w->b_cols ? w->b_cols : 2;
    float *v = put(&k, w->a ? w->a : Q ".lora_A.weight", rows, cols);
    for (int64_t i = 0; i < rows * cols; i++) v[i] = (float)w->fill;
    v = put(&k, w->b ? w->b : Q ".lora_B.weight", b_rows, b_cols);
    for (int64_t i = 0; i < b_rows * b_cols; i++) v[i] = 1;
    status st = maker_load(&k, c->g.m, LORA_ORDER_FILE, &a, e);
    gemma_adapter_free(a);
    return st;
}

static void refused_by_name(void **state)
{
    (void)state;
    static const wrong list[] = {
        { .st = OK },
        { .set = "unheard_of", .value = "{\"x\": 1}", .st = OK },
        { .set = "peft_type", .value = "\"IA3\"", .st = E_UNSUPPORTED, .text = "IA3" },
        { .set = "use_dora", .value = "true", .st = E_UNSUPPORTED, .text = "use_dora" },
        { .set = "bias", .value = "\"all\"", .st = E_UNSUPPORTED, .text = "bias" },
        { .set = "modules_to_save", .value = "[\"lm_head\"]", .st = E_UNSUPPORTED, .text = "modules_to_save" },
        { .set = "layer_replication", .value = "[[0, 4]]", .st = E_UNSUPPORTED, .text = "layer_replication" },
        { .set = "trainable_token_indices", .value = "[5]", .st = E_UNSUPPORTED, .text = "trainable_token_indices" },
        { .set = "alora_invocation_tokens", .value = "[5]", .st = E_UNSUPPORTED, .text = "alora_invocation_tokens" },
        { .set = "fan_in_fan_out", .value = "true", .st = E_UNSUPPORTED, .text = "fan_in_fan_out" },
        { .set = "init_lora_weights", .value = "\"pissa_niter_4\"", .st = E_UNSUPPORTED, .text = "pissa" },
        { .set = "init_lora_weights", .value = "\"gaussian\"", .st = OK },
        { .set = "lora_alpha", .value = "\"x\"", .st = E_FORMAT, .text = "lora_alpha" },
        { .set = "lora_alpha", .value = "1e300", .st = E_FORMAT, .text = "alpha" },
        { .set = "alpha_pattern", .value = "{\"(\": 2}", .st = E_FORMAT, .text = "alpha_pattern" },
        { .set = "alpha_pattern", .value = "{\"a(?=b)\": 2}", .st = E_UNSUPPORTED, .text = "look" },
        { .set = "lora_B_layout", .value = "\"sideways\"", .st = E_UNSUPPORTED, .text = "sideways" },
        { .a = "base_model.model.model.layers.0.self_attn.z_proj.lora_A.weight", .b = "base_model.model.model.layers.0.self_attn.z_proj.lora_B.weight", .st = E_FORMAT, .text = "z_proj" },
        { .a = "base_model.model.model.layers.99.self_attn.q_proj.lora_A.weight", .b = "base_model.model.model.layers.99.self_attn.q_proj.lora_B.weight", .st = E_FORMAT, .text = "layers.99" },
        { .a = "base_model.model.model.layers.0.input_layernorm.lora_A.weight", .b = "base_model.model.model.layers.0.input_layernorm.lora_B.weight", .st = E_FORMAT, .text = "input_layernorm" },
        { .a = "base_model.model.model.vision_tower.encoder.layers.0.self_attn.q_proj.linear.lora_A.weight", .b = "base_model.model.model.vision_tower.encoder.layers.0.self_attn.q_proj.linear.lora_B.weight",
          .st = E_FORMAT, .text = "vision_tower" },
        { .a = "base_model.model.model.embed_tokens.lora_embedding_A", .b = "base_model.model.model.embed_tokens.lora_embedding_B", .st = E_UNSUPPORTED, .text = "lora_embedding_A" },
        { .a = Q ".lora_magnitude_vector", .st = E_UNSUPPORTED, .text = "DoRA" },
        { .a = "model.layers.0.self_attn.q_proj.lora_A.weight", .b = "model.layers.0.self_attn.q_proj.lora_B.weight", .st = E_FORMAT, .text = "q_proj" },
        { .a = Q ".lora_C.weight", .st = E_FORMAT, .text = "lora_C" },
        { .b = "base_model.model.model.layers.0.self_attn.k_proj.lora_B.weight", .st = E_FORMAT, .text = "other half" },
        { .a = "base_model.model.model.layers.0.experts.99.up_proj.lora_A.weight", .b = "base_model.model.model.layers.0.experts.99.up_proj.lora_B.weight", .st = E_FORMAT, .text = "experts.99" },
        { .a = "base_model.model.model.layers.0.experts.lora_A.weight", .b = "base_model.model.model.layers.0.experts.lora_B.weight", .st = E_FORMAT, .text = "for 20 experts" },
        { .cols = 7, .st = E_FORMAT, .text = "[r, 48]" },
        { .b_rows = 7, .st = E_FORMAT, .text = "[r, 48] and [48, r]" },
        { .rows = 3, .st = E_FORMAT, .text = "one rank" },
        { .rows = 600, .b_cols = 600, .st = E_UNSUPPORTED, .text = "rank is 600" },
        { .fill = __builtin_inf(), .st = E_FORMAT, .text = "infinity" },
        { .fill = __builtin_nan(""), .st = E_FORMAT, .text = "NaN" },
    };
    lora_case c;
    case_open(&c, "26b");
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        err e = { 0 };
        size_t before = mem_now();
        status st = load_wrong(&c, &list[i], &e);
        if (st != list[i].st) fail_msg("case %d: status %d, %s, %s", (int)i, (int)st, e.what, e.why);
        if (st != OK && !strstr(e.what, list[i].text) && !strstr(e.why, list[i].text)) fail_msg("case %d: \"%s\", \"%s\"", (int)i, e.what, e.why);
        assert_int_equal(mem_now(), before);
    }
    case_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_peft_computes),
        cmocka_unit_test(the_same_bits),
        cmocka_unit_test(the_same_in_other_forms),
        cmocka_unit_test(single_experts),
        cmocka_unit_test(gguf_of_the_same),
        cmocka_unit_test(refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
