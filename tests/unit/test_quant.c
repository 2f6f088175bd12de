/* Models in other number types: what is kept to the bit, what is rounded and by how much, what is refused. */
#include <math.h>
#include <sys/stat.h>

#include "base/bits.h"
#include "os/file.h"
#include "quant/quant.h"
#include "support/folder.h"
#include "support/model.h"
#include "support/tiny.h"
#include "text/tok.h"

static char dir[] = "/tmp/facet-quant-XXXXXX";

static const char *in_dir(const char *name, char out[128])
{
    snprintf(out, 128, "%s/%s", dir, name);
    return out;
}

static const quant_opts plain = { .type = DTYPE_F32, .embedding = DTYPE_COUNT, .ple = DTYPE_COUNT, .threads = 1, .force = true };

static quant_opts to_type(dtype t)
{
    quant_opts o = plain;
    o.type = t;
    return o;
}

static void quantize(const char *in, const char *out, const quant_opts *o, quant_report *r)
{
    err e = { 0 };
    quant_report none;
    assert_ok(quant_file(in, out, o, r ? r : &none, &e), &e);
}

static gguf_file *opened(const char *path)
{
    err e = { 0 };
    gguf_file *g = NULL;
    assert_ok(gguf_open(&g, path, &e), &e);
    return g;
}

static int64_t elements(const gguf_tensor *t) { return t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3]; }

static float *decoded(const gguf_tensor *t)
{
    float *x = malloc(sizeof *x * (size_t)elements(t));
    assert_non_null(x);
    dtype_of(t->type)->decode(t->data, x, elements(t));
    return x;
}

static void copy_keys(gguf_writer *w, const gguf_file *g)
{
    err e = { 0 };
    for (uint64_t i = 0; i < gguf_value_count(g); i++) assert_ok(gguf_put_value(w, gguf_value_at(g, i), &e), &e);
}

/* Declares a tensor as another file has it, with another type. */
static void put_like(gguf_writer *w, const gguf_tensor *t, dtype type)
{
    err e = { 0 };
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.p);
    assert_ok(gguf_put_tensor(w, name, type, t->n_dims, t->ne, &e), &e);
}

static bool named(const gguf_tensor *t, const char *part) { return str_find(t->name, str_from(part)) < t->name.n; }

/* ---- folders ------------------------------------------------------------------------------------- */

static float *logits_of(const gemma *m, const golden *g)
{
    float *y = malloc(sizeof *y * (size_t)g->T * (size_t)g->V);
    gemma_ctx_opts o = model_opts(true);
    gemma_ctx *x = model_ctx(m, &o);
    assert_non_null(y);
    model_run(x, model_seq(x), g->tokens, g->T, g->T, y, g->V);
    gemma_ctx_free(x);
    return y;
}

/* Every field but the name's place, which is the folder's. */
static void same_config(const gemma_config *a, const gemma_config *b)
{
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->layer_count, b->layer_count);
    assert_true(a->hidden == b->hidden && a->vocab == b->vocab && a->context == b->context && a->window == b->window && a->ple == b->ple);
    assert_true(a->expert_count == b->expert_count && a->expert_used == b->expert_used && a->expert_ff == b->expert_ff && a->kv_layers == b->kv_layers);
    assert_true(a->eps == b->eps && a->softcap == b->softcap && (float)a->theta_full == (float)b->theta_full && (float)a->theta_sliding == (float)b->theta_sliding);
    assert_true(a->untied == b->untied && a->temperature == b->temperature && a->top_p == b->top_p && a->top_k == b->top_k);
    assert_int_equal(a->suppress_count, b->suppress_count);
    for (int32_t i = 0; i < a->layer_count; i++) {
        const gemma_layer_config *x = &a->layers[i], *y = &b->layers[i];
        assert_true(x->full == y->full && x->k_eq_v == y->k_eq_v && x->nq == y->nq && x->nkv == y->nkv && x->d == y->d && x->ff == y->ff && x->kv_source == y->kv_source);
    }
}

/* Nine folders of all five architectures become GGUF files in F32: the configuration is the same, and not one bit of the logits differs. */
static void folders_to_f32(void **state)
{
    (void)state;
    for (int i = 0; i < GOLDEN_FOLDERS; i++) {
        err e = { 0 };
        golden g;
        gemma *m = NULL;
        char in[128], out[128];
        quant_report r;
        snprintf(in, sizeof in, "tests/golden/%s/model", golden_names[i]);
        quantize(in, in_dir("f32.gguf", out), &plain, &r);
        golden_open(&g, golden_names[i]);
        assert_ok(gemma_open(&m, out, &e), &e);
        same_config(&g.m->config, &m->config);
        float *want = logits_of(g.m, &g), *got = logits_of(m, &g);
        assert_memory_equal(want, got, sizeof *got * (size_t)g.T * (size_t)g.V);
        for (int p = 0; p <= WEIGHT_PLACES; p++) assert_true(r.kinds[p].error == 0);
        assert_int_equal(r.file_after, file_size(out));
        free(want);
        free(got);
        gemma_close(m);
        golden_close(&g);
    }
}

static const char few[] = "{\"added_tokens\": [{\"id\": 0, \"content\": \"<bos>\", \"special\": true}, {\"id\": 1, \"content\": \"<eos>\", \"special\": true}, "
                          "{\"id\": 2, \"content\": \"<|turn>\", \"special\": true}, {\"id\": 3, \"content\": \"<turn|>\", \"special\": true}], "
                          "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 4, \"b\": 5, \"ab\": 6}, \"merges\": [[\"a\", \"b\"]]}}";

/* A folder with a vocabulary and a template: both are in the file. */
static void folder_with_text(void **state)
{
    (void)state;
    static const char *const files[] = { "config.json", "generation_config.json", "model.safetensors" };
    err e = { 0 };
    char folder[128], name[160], from[160], out[128], cwd[512];
    file_out f;
    str text;
    assert_int_equal(mkdir(in_dir("text", folder), 0777), 0);
    assert_non_null(getcwd(cwd, sizeof cwd));
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        char target[700];
        snprintf(target, sizeof target, "%s/tests/golden/e2b/model/%s", cwd, files[i]);
        snprintf(name, sizeof name, "%s/%s", folder, files[i]);
        assert_int_equal(symlink(target, name), 0);
    }
    for (int round = 0; round < 3; round++) {
        static const struct { const char *file, *content, *want; } more[] = {
            { "tokenizer.json", few, "" }, { "tokenizer_config.json", "{\"chat_template\": \"in the configuration\"}", "in the configuration" },
            { "chat_template.jinja", "{{ of its own }}\n", "{{ of its own }}\n" } };
        snprintf(from, sizeof from, "%s/%s", folder, more[round].file);
        assert_ok(file_out_begin(&f, from, &e), &e);
        assert_ok(file_out_write(&f, more[round].content, strlen(more[round].content), &e), &e);
        assert_ok(file_out_commit(&f, &e), &e);
        quant_opts o = to_type(DTYPE_Q8_0);
        quantize(folder, in_dir("text.gguf", out), &o, NULL);
        gguf_file *g = opened(out);
        tok *t = NULL;
        tok_ids ids = { 0 };
        assert_ok(tok_from_gguf(&t, g, &e), &e);
        assert_ok(gguf_str_or(g, "tokenizer.chat_template", STR(""), &text, &e), &e);
        assert_true(str_is(text, more[round].want));
        assert_ok(tok_encode(t, STR("<|turn>abb"), true, &ids, &e), &e);
        assert_true(ids.len == 3 && ids.data[0] == 2 && ids.data[1] == 6 && ids.data[2] == 5);
        assert_int_equal(tok_specials(t)->turn_end, 3);
        tok_ids_done(&ids);
        tok_free(t);
        gguf_close(g);
    }
}

/* ---- types --------------------------------------------------------------------------------------- */

/* Largest relative error of normal weights, a tenth above what each type is known for. */
static double error_bound(dtype t)
{
    switch (t) {
    case DTYPE_F32: return 0;
    case DTYPE_F16: return 3e-4;
    case DTYPE_BF16: return 2e-3;
    case DTYPE_Q8_0: return 0.006;
    case DTYPE_Q6_K: return 0.0195;
    case DTYPE_Q5_K: return 0.04;
    case DTYPE_Q5_0: case DTYPE_Q5_1: return 0.0445;
    case DTYPE_Q4_K: return 0.079;
    case DTYPE_Q4_0: case DTYPE_Q4_1: return 0.09;
    case DTYPE_MXFP4: return 0.127;
    default: return 0;
    }
}

/* What the file holds against what the source holds: within the type's error, which is what the report says. */
static void compare_tensors(const gguf_file *a, const gguf_file *b, const quant_report *r)
{
    double error[WEIGHT_PLACES] = { 0 }, power[WEIGHT_PLACES] = { 0 };
    assert_int_equal(gguf_tensor_count(a), gguf_tensor_count(b));
    for (uint64_t i = 0; i < gguf_tensor_count(a); i++) {
        const gguf_tensor *s = gguf_tensor_at(a, i), *d = gguf_tensor_at(b, i);
        int32_t layer;
        weight_place p = weight_names_place(s->name, &layer);
        assert_true(str_eq(s->name, d->name) && s->n_dims == d->n_dims);
        assert_memory_equal(s->ne, d->ne, sizeof s->ne);
        float *x = decoded(s), *y = decoded(d);
        double sum = 0, all = 0;
        for (int64_t k = 0; k < elements(s); k++) sum += ((double)x[k] - (double)y[k]) * ((double)x[k] - (double)y[k]), all += (double)x[k] * (double)x[k];
        if (s->type == d->type) assert_memory_equal(s->data, d->data, s->bytes);
        else assert_true(sqrt(sum / all) <= error_bound(d->type));
        error[p] += sum;
        power[p] += s->type == d->type ? 0 : all;
        free(x);
        free(y);
    }
    for (int p = 0; p < WEIGHT_PLACES; p++) {
        assert_true(fabs(error[p] - r->kinds[p].error) <= 1e-9 * error[p]);
        assert_true(fabs(power[p] - r->kinds[p].power) <= 1e-9 * power[p]);
    }
}

static dtype type_of(const gguf_file *g, const char *name) { return gguf_tensor_find(g, name)->type; }

static void every_type(void **state)
{
    (void)state;
    static const tiny_kind kinds[] = { TINY_26B, TINY_E2B };
    char in[128], out[128];
    err e = { 0 };
    for (size_t k = 0; k < COUNT_OF(kinds); k++) {
        assert_ok(tiny_write_gguf(in_dir("in.gguf", in), kinds[k], DTYPE_F32, 3, &e), &e);
        gguf_file *a = opened(in);
        for (const dtype *t = quant_types_written; *t != DTYPE_COUNT; t++) {
            if (k > 0 && *t != DTYPE_Q5_K && *t != DTYPE_Q4_0) continue;
            quant_opts o = to_type(*t);
            quant_report r;
            gemma *m = NULL;
            int64_t number;
            quantize(in, in_dir("out.gguf", out), &o, &r);
            gguf_file *b = opened(out);
            compare_tensors(a, b, &r);
            assert_int_equal(type_of(b, "blk.0.attn_q.weight"), *t);
            assert_int_equal(type_of(b, "blk.0.attn_norm.weight"), DTYPE_F32);
            if (kinds[k] == TINY_26B) assert_int_equal(type_of(b, "blk.0.ffn_gate_inp.weight"), DTYPE_F32);
            assert_ok(gguf_i64(b, "general.file_type", 0, 2000, &number, &e), &e);
            assert_int_equal(number, quant_types_file(*t));
            assert_ok(gemma_open(&m, out, &e), &e);
            gemma_close(m);
            gguf_close(b);
        }
        gguf_close(a);
    }
}

/* Tables get six bits at least, unless somebody asks for less; rows of 96 and 160 fill no block of 256, and rows of 6 none at all. */
static void types_by_place(void **state)
{
    (void)state;
    char in[128], out[128];
    err e = { 0 };
    quant_report r;
    quant_opts o = to_type(DTYPE_Q4_K);
    assert_ok(tiny_write_gguf(in_dir("in.gguf", in), TINY_E2B, DTYPE_BF16, 3, &e), &e);
    quantize(in, in_dir("out.gguf", out), &o, &r);
    gguf_file *g = opened(out);
    assert_int_equal(type_of(g, "token_embd.weight"), DTYPE_Q6_K);
    assert_int_equal(type_of(g, "per_layer_token_embd.weight"), DTYPE_Q8_0);       /* rows of 320 */
    assert_int_equal(type_of(g, "per_layer_model_proj.weight"), DTYPE_BF16);
    assert_int_equal(type_of(g, "blk.0.proj.weight"), DTYPE_Q5_0);                 /* rows of 32 */
    assert_true(r.kinds[WEIGHT_PLE_PROJ].fell == 10 && r.kinds[WEIGHT_PLE_PROJ].fell_cols == 32 && r.kinds[WEIGHT_PLE_PROJ].fell_to == DTYPE_Q5_0);
    assert_true(r.kinds[WEIGHT_Q].fell == 0);
    gguf_close(g);
    o.embedding = DTYPE_Q4_0;
    o.ple = DTYPE_Q5_1;
    quantize(in, out, &o, &r);
    g = opened(out);
    assert_int_equal(type_of(g, "token_embd.weight"), DTYPE_Q4_0);
    assert_int_equal(type_of(g, "per_layer_token_embd.weight"), DTYPE_Q5_1);
    gguf_close(g);
    assert_ok(tiny_write_gguf(in, TINY_26B, DTYPE_F32, 3, &e), &e);
    o = to_type(DTYPE_Q6_K);
    quantize(in, out, &o, &r);
    g = opened(out);
    assert_int_equal(type_of(g, "blk.0.ffn_down_exps.weight"), DTYPE_Q8_0);
    assert_int_equal(type_of(g, "blk.0.ffn_gate_up_exps.weight"), DTYPE_Q6_K);
    gguf_close(g);
    o = to_type(DTYPE_Q4_0);
    quantize("tests/golden/26b-odd/model", out, &o, &r);
    g = opened(out);
    assert_int_equal(type_of(g, "blk.0.ffn_down_exps.weight"), DTYPE_BF16);        /* nothing is lost where nothing can be gained */
    assert_true(r.kinds[WEIGHT_DOWN_EXPS].fell > 0 && r.kinds[WEIGHT_DOWN_EXPS].error == 0);
    gguf_close(g);
}

/* Weights that lie on a grid of 4 bits, as quantization-aware training leaves them, stay there, whatever the largest code is. */
static void grids_stay(void **state)
{
    (void)state;
    char in[128], out[128];
    err e = { 0 };
    quant_report r;
    gguf_writer *w = NULL;
    assert_ok(tiny_write_gguf(in_dir("in.gguf", in), TINY_31B, DTYPE_F32, 3, &e), &e);
    gguf_file *g = opened(in);
    assert_ok(gguf_writer_new(&w, in_dir("grid.gguf", out), &e), &e);
    copy_keys(w, g);
    for (uint64_t i = 0; i < gguf_tensor_count(g); i++) put_like(w, gguf_tensor_at(g, i), gguf_tensor_at(g, i)->type);
    for (uint64_t i = 0; i < gguf_tensor_count(g); i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);
        float *x = decoded(t);
        for (int64_t k = 0; k < elements(t) && named(t, "ffn_"); k++) {
            int code = (int)lrintf(x[k] * 100);
            float step = 0.0625f + 0.0078125f * (float)(k / 32 % 5);
            if (t->n_dims > 1) x[k] = step * (float)(k % 32 == 0 ? 7 : MAX(MIN(code, 7), -7));
        }
        assert_ok(gguf_write_data(w, x, t->bytes, &e), &e);
        free(x);
    }
    assert_ok(gguf_writer_end(w, &e), &e);
    gguf_writer_free(w);
    gguf_close(g);
    quant_opts o = to_type(DTYPE_Q4_0);
    char last[128];
    quantize(out, in_dir("out.gguf", last), &o, &r);
    const quant_kind *k = &r.kinds[WEIGHT_DOWN];
    assert_true(k->power > 0 && sqrt(k->error / k->power) < 1e-3);
    assert_true(sqrt(r.kinds[WEIGHT_Q].error / r.kinds[WEIGHT_Q].power) > 0.05);
}

/* Every format that a file may hold is read: in F32 the file answers as before. */
static void from_any_type(void **state)
{
    (void)state;
    for (int i = GOLDEN_FOLDERS; i < GOLDEN_COUNT; i++) {
        golden g;
        gemma *m = NULL;
        err e = { 0 };
        int64_t at;
        char in[128], out[128];
        snprintf(in, sizeof in, "tests/golden/%s/model.gguf", golden_names[i]);
        quantize(in, in_dir("any.gguf", out), &plain, NULL);
        golden_open(&g, golden_names[i]);
        assert_ok(gemma_open(&m, out, &e), &e);
        float *y = logits_of(m, &g);
        assert_true(model_diff(y, g.logits, (int64_t)g.T * g.V, &at) <= g.bound);
        free(y);
        gemma_close(m);
        golden_close(&g);
    }
}

/* NVFP4 keeps a factor of a whole matrix, or of each expert's, beside it: it is in the numbers afterwards, and its tensor is gone. */
static void factors_beside(void **state)
{
    (void)state;
    char in[128], odd[128], out[128];
    err e = { 0 };
    gguf_writer *w = NULL;
    float factors[16];
    for (int i = 0; i < 16; i++) factors[i] = 0.5f + (float)i;
    assert_ok(tiny_write_gguf(in_dir("in.gguf", in), TINY_26B, DTYPE_F32, 5, &e), &e);
    gguf_file *g = opened(in);
    assert_ok(gguf_writer_new(&w, in_dir("odd.gguf", odd), &e), &e);
    copy_keys(w, g);
    for (uint64_t i = 0; i < gguf_tensor_count(g); i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);
        bool q = str_is(t->name, "blk.0.attn_q.weight"), both = str_is(t->name, "blk.0.ffn_gate_up_exps.weight");
        put_like(w, t, q || both ? DTYPE_NVFP4 : t->type);
        if (q) assert_ok(gguf_put_tensor(w, "blk.0.attn_q.scale", DTYPE_F32, 1, (int64_t[]){ 1 }, &e), &e);
        if (q) assert_ok(gguf_put_tensor(w, "blk.0.attn_q.input_scale", DTYPE_F32, 1, (int64_t[]){ 1 }, &e), &e);
        if (both) assert_ok(gguf_put_tensor(w, "blk.0.ffn_gate_up_exps.scale", DTYPE_F32, 1, (int64_t[]){ 16 }, &e), &e);
    }
    for (uint64_t i = 0; i < gguf_tensor_count(g); i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);
        bool q = str_is(t->name, "blk.0.attn_q.weight"), both = str_is(t->name, "blk.0.ffn_gate_up_exps.weight");
        size_t bytes = q || both ? (size_t)elements(t) / 64 * 36 : t->bytes;
        uint8_t *x = malloc(bytes);
        assert_non_null(x);
        for (size_t k = 0; k < bytes; k++) x[k] = q || both ? (uint8_t)(k % 36 < 4 ? 40 + k % 17 : k * 37) : t->data[k];
        assert_ok(gguf_write_data(w, x, bytes, &e), &e);
        free(x);
        if (q) for (int k = 3; k < 5; k++) assert_ok(gguf_write_data(w, &factors[k], sizeof *factors, &e), &e);
        if (both) assert_ok(gguf_write_data(w, factors, sizeof factors, &e), &e);
    }
    assert_ok(gguf_writer_end(w, &e), &e);
    gguf_writer_free(w);
    quantize(odd, in_dir("out.gguf", out), &plain, NULL);
    gguf_file *a = opened(odd), *b = opened(out);
    assert_int_equal(gguf_tensor_count(b), gguf_tensor_count(g));
    assert_null(gguf_tensor_find(b, "blk.0.attn_q.scale"));
    assert_non_null(gguf_tensor_find(b, "blk.0.ffn_down_exps.scale"));             /* the experts' own, which is no such factor */
    static const char *const names[] = { "blk.0.attn_q.weight", "blk.0.ffn_gate_up_exps.weight" };
    for (int i = 0; i < 2; i++) {
        const gguf_tensor *s = gguf_tensor_find(a, names[i]), *d = gguf_tensor_find(b, names[i]);
        float *x = decoded(s), *y = decoded(d);
        int64_t matrix = s->ne[0] * s->ne[1];
        for (int64_t k = 0; k < elements(s); k++) assert_true(y[k] == x[k] * factors[i ? k / matrix : 3]);
        free(x);
        free(y);
    }
    gguf_close(a);
    gguf_close(b);
    gguf_close(g);
}

/* ---- what comes along ---------------------------------------------------------------------------- */

static bool same_value(const gguf_value *a, const gguf_value *b)
{
    if (!b || a->type != b->type || a->item != b->item || a->count != b->count) return false;
    size_t n = a->type == GGUF_STRING || a->item == GGUF_STRING ? 8 : 1;
    return memcmp(a->data, b->data, n) == 0;
}

/* A second time nothing changes: all tensors are copied, and the file is the same to the byte, for any number of threads. */
static void same_bytes(void **state)
{
    (void)state;
    char in[128], out[3][128];
    buf file[3];
    err e = { 0 };
    assert_ok(tiny_write_gguf(in_dir("in.gguf", in), TINY_E4B, DTYPE_F32, 5, &e), &e);
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d.gguf", i);
        quant_opts o = to_type(DTYPE_Q4_0);
        o.threads = i == 1 ? 3 : 1;
        quantize(i == 2 ? out[0] : in, in_dir(name, out[i]), &o, NULL);
        buf_init(&file[i], 1 << 28);
        assert_ok(file_read_all(&file[i], out[i], &e), &e);
        assert_int_equal(file[i].len, file[0].len);
        assert_memory_equal(file[i].data, file[0].data, file[0].len);
    }
    gguf_file *a = opened(in), *b = opened(out[0]);
    for (uint64_t i = 0; i < gguf_value_count(a); i++) {
        const gguf_value *v = gguf_value_at(a, i);
        char key[128];
        snprintf(key, sizeof key, "%.*s", (int)v->key.n, v->key.p);
        assert_true(same_value(v, gguf_find(b, key)));
    }
    gguf_close(a);
    gguf_close(b);
    for (int i = 0; i < 3; i++) buf_done(&file[i]);
}

/* Keys that say something of the old file are left behind, what no place of the network asks for is copied. */
static void keys_of_the_old_file(void **state)
{
    (void)state;
    char in[128], more[128], out[128];
    err e = { 0 };
    gguf_writer *w = NULL;
    uint8_t tower[34 * 4];
    for (size_t i = 0; i < sizeof tower; i++) tower[i] = (uint8_t)(i * 7);
    assert_ok(tiny_write_gguf(in_dir("in.gguf", in), TINY_12B, DTYPE_F16, 5, &e), &e);
    gguf_file *g = opened(in);
    assert_ok(gguf_writer_new(&w, in_dir("more.gguf", more), &e), &e);
    copy_keys(w, g);
    assert_ok(gguf_put_u32(w, "general.file_type", 1, &e), &e);
    assert_ok(gguf_put_u32(w, "general.alignment", 32, &e), &e);
    assert_ok(gguf_put_str(w, "quantize.imatrix.file", STR("some.dat"), &e), &e);
    assert_ok(gguf_put_str(w, "somebody.own", STR("kept"), &e), &e);
    for (int pass = 0; pass < 2; pass++) {
        for (uint64_t i = 0; i < gguf_tensor_count(g); i++) {
            const gguf_tensor *t = gguf_tensor_at(g, i);
            if (pass) assert_ok(gguf_write_data(w, t->data, t->bytes, &e), &e);
            else put_like(w, t, t->type);
        }
        assert_ok(pass ? gguf_write_data(w, tower, sizeof tower, &e) : gguf_put_tensor(w, "v.blk.0.attn_q.weight", DTYPE_Q8_0, 2, (int64_t[]){ 32, 4 }, &e), &e);
    }
    assert_ok(gguf_writer_end(w, &e), &e);
    gguf_writer_free(w);
    gguf_close(g);
    quant_opts o = to_type(DTYPE_Q4_0);
    quant_report r;
    quantize(more, in_dir("out.gguf", out), &o, &r);
    g = opened(out);
    int64_t number;
    str text;
    assert_ok(gguf_i64(g, "general.file_type", 0, 99, &number, &e), &e);
    assert_int_equal(number, 2);
    assert_null(gguf_find(g, "general.alignment"));
    assert_null(gguf_find(g, "quantize.imatrix.file"));
    assert_ok(gguf_str_or(g, "somebody.own", STR(""), &text, &e), &e);
    assert_true(str_is(text, "kept"));
    const gguf_tensor *t = gguf_tensor_find(g, "v.blk.0.attn_q.weight");
    assert_true(t && t->type == DTYPE_Q8_0 && memcmp(t->data, tower, sizeof tower) == 0);
    assert_true(r.kinds[WEIGHT_PLACES].tensors == 1 && r.kinds[WEIGHT_PLACES].before == sizeof tower);
    gguf_close(g);
}

/* ---- refused ------------------------------------------------------------------------------------- */

static void refused_places(void **state)
{
    (void)state;
    char in[128], out[128], link_name[128];
    err e = { 0 };
    quant_report r;
    quant_opts o = to_type(DTYPE_Q8_0);
    assert_ok(tiny_write_gguf(in_dir("in.gguf", in), TINY_12B, DTYPE_F32, 5, &e), &e);
    assert_fails(quant_file(in, in, &o, &r, &e), E_ARG, &e, "the model that is read");
    unlink(in_dir("hard.gguf", link_name));
    assert_int_equal(link(in, link_name), 0);
    assert_fails(quant_file(in, link_name, &o, &r, &e), E_ARG, &e, "the model that is read");
    unlink(link_name);
    assert_int_equal(symlink(in, link_name), 0);
    assert_fails(quant_file(in, link_name, &o, &r, &e), E_ARG, &e, "the model that is read");
    unlink(link_name);
    assert_fails(quant_file("tests/golden/e2b/model", "tests/golden/e2b/model/model.safetensors", &o, &r, &e), E_ARG, &e, "the model that is read");
    assert_fails(quant_file(in, dir, &o, &r, &e), E_ARG, &e, "folder");
    assert_fails(quant_file(in, in_dir("no/such.gguf", out), &o, &r, &e), E_IO, &e, "No such file");
    assert_fails(quant_file(in, "/dev/full", &o, &r, &e), E_IO, &e, "Free some space");
    quantize(in, in_dir("out.gguf", out), &o, NULL);
    o.force = false;
    assert_fails(quant_file(in, out, &o, &r, &e), E_ARG, &e, "--force");
    o.force = true;
    o.type = DTYPE_IQ4_NL;
    assert_fails(quant_file(in, out, &o, &r, &e), E_ARG, &e, "iq4_nl");
    o = to_type(DTYPE_Q8_0);
    o.embedding = DTYPE_Q2_K;
    assert_fails(quant_file(in, out, &o, &r, &e), E_ARG, &e, "q2_K");
}

/* Writes one value somewhere into the first layer's Q. */
static void damage(const char *path, float value)
{
    gguf_file *g = opened(path);
    const gguf_tensor *t = gguf_tensor_find(g, "blk.0.attn_q.weight"), *first = gguf_tensor_at(g, 0);
    long back = 0;      /* from the end of the file: all tensors that follow, padded */
    for (uint64_t i = 0; i < gguf_tensor_count(g); i++)
        if (gguf_tensor_at(g, i)->data >= t->data) back += (long)align_up(gguf_tensor_at(g, i)->bytes, 32);
    assert_non_null(first);
    gguf_close(g);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, -back + 4 * 1000, SEEK_END), 0);
    assert_int_equal(fwrite(&value, sizeof value, 1, f), 1);
    assert_int_equal(fclose(f), 0);
}

/* Nothing is left of a file that could not be completed. */
static void refused_numbers(void **state)
{
    (void)state;
    char in[128], out[128];
    err e = { 0 };
    quant_report r;
    int before;
    assert_ok(tiny_write_gguf(in_dir("bad.gguf", in), TINY_12B, DTYPE_F32, 5, &e), &e);
    in_dir("never.gguf", out);
    before = folder_count(dir);
    quant_opts o = to_type(DTYPE_F16);
    damage(in, 1e6f);
    assert_fails(quant_file(in, out, &o, &r, &e), E_UNSUPPORTED, &e, "blk.0.attn_q.weight");
    assert_non_null(strstr(e.hint, "bf16"));
    o.type = DTYPE_BF16;
    quantize(in, out, &o, NULL);
    unlink(out);
    damage(in, 1e30f);
    o.type = DTYPE_Q8_0;
    assert_fails(quant_file(in, out, &o, &r, &e), E_UNSUPPORTED, &e, "too large");
    damage(in, NAN);
    for (const dtype *t = quant_types_written; *t != DTYPE_COUNT; t++) {
        o.type = *t;
        if (*t == DTYPE_F32) continue;      /* a copy is a copy */
        assert_fails(quant_file(in, out, &o, &r, &e), E_FORMAT, &e, "element 1000 ");
    }
    assert_int_equal(folder_count(dir), before);
    unlink(in);
}

static status stop_late(void *user, const char *tensor, double fraction, err *e)
{
    int *calls = user;
    assert_true(tensor[0] && fraction > 0 && fraction <= 1);
    return ++*calls == 20 ? err_set(e, E_CANCELLED, "stopped") : OK;
}

static void stopped(void **state)
{
    (void)state;
    char in[128], out[128];
    err e = { 0 };
    quant_report r;
    int calls = 0;
    assert_ok(tiny_write_gguf(in_dir("in.gguf", in), TINY_12B, DTYPE_F32, 5, &e), &e);
    in_dir("never.gguf", out);
    int before = folder_count(dir);
    quant_opts o = to_type(DTYPE_Q4_0);
    o.progress = stop_late;
    o.user = &calls;
    assert_int_equal(quant_file(in, out, &o, &r, &e), E_CANCELLED);
    assert_int_equal(calls, 20);
    assert_int_equal(folder_count(dir), before);
}

/* ---- fixture ------------------------------------------------------------------------------------- */

static int begin(void **state)
{
    (void)state;
    json_use_mem();
    return mkdtemp(dir) ? 0 : -1;
}

static status remove_entry(void *user, const char *name, bool is_dir, err *e)
{
    char path[512];
    (void)is_dir;
    snprintf(path, sizeof path, "%s/%s", (const char *)user, name);
    if (is_dir) file_list(path, remove_entry, path, e);
    remove(path);
    return OK;
}

static int end(void **state)
{
    err e = { 0 };
    (void)state;
    file_list(dir, remove_entry, dir, &e);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_to_f32), cmocka_unit_test(folder_with_text), cmocka_unit_test(every_type), cmocka_unit_test(types_by_place),
        cmocka_unit_test(grids_stay), cmocka_unit_test(from_any_type), cmocka_unit_test(factors_beside), cmocka_unit_test(same_bytes), cmocka_unit_test(keys_of_the_old_file),
        cmocka_unit_test(refused_places), cmocka_unit_test(refused_numbers), cmocka_unit_test(stopped),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
