#include <unistd.h>

#include "base/bits.h"
#include "model/gemma.h"
#include "num/half.h"
#include "support/test.h"
#include "support/tiny.h"

static char path[] = "/tmp/facet-weights-XXXXXX";

static gemma *open_shape(const tiny_shape *s, dtype type)
{
    err e;
    gemma *m = NULL;
    assert_ok(tiny_write_shape(path, s, type, 1, &e), &e);
    assert_ok(gemma_open(&m, path, &e), &e);
    return m;
}

static void all_five_kinds_open(void **state)
{
    (void)state;
    static const dtype types[] = { DTYPE_F32, DTYPE_Q8_0, DTYPE_Q4_0 };
    size_t before = mem_now();
    for (int k = 0; k < TINY_KINDS; k++) {
        for (size_t t = 0; t < COUNT_OF(types); t++) {
            tiny_shape s = tiny_shape_of((tiny_kind)k);
            gemma *m = open_shape(&s, types[t]);
            const layer_weights *l = &m->weights.layers[s.layers - 1];
            assert_int_equal(m->weights.embed.type, types[t]);
            assert_int_equal(m->weights.embed.rows, TINY_VOCAB);
            assert_ptr_equal(m->weights.head.data, m->weights.embed.data);
            assert_int_equal(l->q.rows, s.nq * s.d_full);
            assert_int_equal(l->q.row_bytes, dtype_row_bytes(types[t], s.hidden));
            assert_int_equal(weight_has(&l->k), s.shared == 0);
            assert_int_equal(weight_has(&l->v), s.shared == 0 && !s.k_eq_v);
            assert_int_equal(l->k_norm != NULL, s.shared == 0);
            assert_int_equal(l->gate.rows, s.wide ? 2 * s.ff : s.ff);
            assert_int_equal(weight_has(&l->router), s.experts > 0);
            assert_int_equal(weight_has(&l->ple_gate), s.ple > 0);
            assert_int_equal(weight_has(&m->weights.ple_embed), s.ple > 0);
            assert_true(m->config.rope_factors[0] == 1.0f && m->config.rope_factors[s.d_full / 2 - 1] == 1e30f);
            gemma_close(m);
        }
    }
    assert_int_equal(mem_now(), before);
}

static void same_seed_same_file(void **state)
{
    (void)state;
    err e;
    gguf_file *a, *b;
    char second[64];
    snprintf(second, sizeof second, "%s-2", path);
    assert_ok(tiny_write_gguf(path, TINY_E4B, DTYPE_Q4_0, 7, &e), &e);
    assert_ok(tiny_write_gguf(second, TINY_E4B, DTYPE_Q4_0, 7, &e), &e);
    assert_ok(gguf_open(&a, path, &e), &e);
    assert_ok(gguf_open(&b, second, &e), &e);
    for (uint64_t i = 0; i < gguf_tensor_count(a); i++) assert_memory_equal(gguf_tensor_at(a, i)->data, gguf_tensor_at(b, i)->data, gguf_tensor_at(a, i)->bytes);
    assert_memory_not_equal(gguf_tensor_find(a, "blk.0.attn_q.weight")->data, gguf_tensor_find(a, "blk.1.attn_q.weight")->data, 1000);
    gguf_close(a);
    gguf_close(b);
    unlink(second);
}

/* Fused: gate in rows 0..Fe-1 of each expert, up after it. */
static void fused_experts_are_views(void **state)
{
    (void)state;
    err e;
    tiny_shape s = tiny_shape_of(TINY_26B);
    gemma *m = open_shape(&s, DTYPE_Q8_0);
    const layer_weights *l;
    expert_weights x;
    const gguf_tensor *t = gguf_tensor_find(m->gguf, "blk.2.ffn_gate_up_exps.weight");
    const gguf_tensor *down = gguf_tensor_find(m->gguf, "blk.2.ffn_down_exps.weight");
    size_t row = dtype_row_bytes(DTYPE_Q8_0, s.hidden), Fe = (size_t)s.expert_ff;
    assert_ok(weights_take(&m->weights, 2, &l, &e), &e);
    assert_int_equal(l->gate_exps.mats, s.experts);
    assert_int_equal(l->gate_exps.rows, s.expert_ff);
    assert_ptr_equal(weight_row(&l->gate_exps, 3, 5), t->data + (3 * 2 * Fe + 5) * row);
    assert_ptr_equal(weight_row(&l->up_exps, 3, 5), t->data + (3 * 2 * Fe + Fe + 5) * row);
    assert_ok(weights_take_expert(&m->weights, 2, 3, &x, &e), &e);
    assert_ptr_equal(weight_row(&x.up, 0, 5), weight_row(&l->up_exps, 3, 5));
    assert_ptr_equal(x.down.data, down->data + 3 * (down->bytes / (size_t)s.experts));
    assert_int_equal(x.gate.mats, 1);
    weights_give_expert(&m->weights, 2, 3);
    weights_give(&m->weights, 2);
    gemma_close(m);
}

static void split_experts_and_old_names(void **state)
{
    (void)state;
    tiny_shape s = tiny_shape_of(TINY_26B);
    s.split_experts = s.old_names = s.untied = true;
    gemma *m = open_shape(&s, DTYPE_F16);
    const layer_weights *l = &m->weights.layers[1];
    assert_ptr_equal(weight_row(&l->gate_exps, 2, 1), gguf_tensor_find(m->gguf, "blk.1.ffn_gate_exps.weight")->data + (2 * (size_t)s.expert_ff + 1) * 2 * (size_t)s.hidden);
    assert_ptr_equal(l->up_exps.data, gguf_tensor_find(m->gguf, "blk.1.ffn_up_exps.weight")->data);
    assert_true(l->expert_scale[5] == load_f32(gguf_tensor_find(m->gguf, "blk.1.ffn_gate_inp.per_expert_scale")->data + 20));
    assert_ptr_not_equal(m->weights.head.data, m->weights.embed.data);
    assert_true(m->config.untied);
    gemma_close(m);
}

/* Files with and without the unused K and V of shared layers are the same model. */
static void dead_kv_makes_no_difference(void **state)
{
    (void)state;
    tiny_shape s = tiny_shape_of(TINY_E2B);
    for (int dead = 0; dead < 2; dead++) {
        s.dead_kv = dead;
        gemma *m = open_shape(&s, DTYPE_Q4_0);
        assert_int_equal(gguf_tensor_count(m->gguf), dead ? 176 : 161);
        assert_false(weight_has(&m->weights.layers[s.layers - 1].k));
        assert_int_equal(m->config.layers[s.layers - 1].kv_source, 4);
        assert_int_equal(m->config.layers[s.layers - 2].kv_source, 3);
        gemma_close(m);
    }
}

static void odd_sizes_are_fine(void **state)
{
    (void)state;
    tiny_shape s = { .name = "odd", .layers = 3, .hidden = 70, .ff = 33, .nq = 3, .nkv = 3, .nkv_full = 1, .d = 10, .d_full = 22, .period = 3, .window = 5,
                     .experts = 5, .used = 2, .expert_ff = 13, .k_eq_v = true };
    gemma *m = open_shape(&s, DTYPE_F32);
    assert_int_equal(m->weights.layers[2].down_exps.cols, 13);
    assert_int_equal(m->config.layers[2].nkv, 1);
    gemma_close(m);
}

/* ---- files edited: every tensor and key copied, except for one ---------------------------------------- */

typedef struct edit {
    const char *drop;              /* tensor or key to leave out */
    const char *add; dtype type; int64_t ne[2];   /* tensor to add, filled with f32 ones or zero bytes */
    const char *set; const char *to;              /* string key to replace */
} edit;

static bool named(str s, const char *name) { return name && str_is(s, name); }

static void copy_edited(const char *to, const gguf_file *g, const edit *x)
{
    err e;
    gguf_writer *w;
    char name[64];
    static const uint8_t zeros[1 << 20];
    assert_ok(gguf_writer_new(&w, to, &e), &e);
    for (uint64_t i = 0; i < gguf_value_count(g); i++) {
        const gguf_value *v = gguf_value_at(g, i);
        if (!named(v->key, x->drop) && !named(v->key, x->set)) assert_ok(gguf_put_value(w, v, &e), &e);
    }
    if (x->set) assert_ok(gguf_put_str(w, x->set, str_from(x->to), &e), &e);
    for (uint64_t i = 0; i < gguf_tensor_count(g); i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);
        snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.p);
        if (!named(t->name, x->drop)) assert_ok(gguf_put_tensor(w, name, t->type, t->n_dims, t->ne, &e), &e);
    }
    if (x->add) assert_ok(gguf_put_tensor(w, x->add, x->type, 2, x->ne, &e), &e);
    for (uint64_t i = 0; i < gguf_tensor_count(g); i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);
        if (!named(t->name, x->drop)) assert_ok(gguf_write_data(w, t->data, t->bytes, &e), &e);
    }
    if (x->add) assert_ok(gguf_write_data(w, zeros, dtype_row_bytes(x->type, x->ne[0]) * (size_t)x->ne[1], &e), &e);
    assert_ok(gguf_writer_end(w, &e), &e);
    gguf_writer_free(w);
}

static status open_edited(tiny_kind kind, const edit *x, gemma **m, err *e)
{
    gguf_file *g;
    char edited[64];
    snprintf(edited, sizeof edited, "%s-edited", path);
    assert_ok(tiny_write_gguf(path, kind, DTYPE_Q4_0, 1, e), e);
    assert_ok(gguf_open(&g, path, e), e);
    copy_edited(edited, g, x);
    gguf_close(g);
    memset(e, 0, sizeof *e);
    status st = gemma_open(m, edited, e);
    unlink(edited);
    return st;
}

static void wrong_files_are_named(void **state)
{
    (void)state;
    static const struct { tiny_kind kind; edit x; status st; const char *text; } cases[] = {
        { TINY_12B, { .set = "general.architecture", .to = "clip" }, E_UNSUPPORTED, "mmproj" },
        { TINY_12B, { .set = "general.architecture", .to = "llama" }, E_UNSUPPORTED, "\"llama\"" },
        { TINY_12B, { .set = "general.architecture", .to = "gemma3" }, E_UNSUPPORTED, "\"gemma3\"" },
        { TINY_12B, { .set = "general.architecture", .to = "gemma4-assistant" }, E_UNSUPPORTED, "drafter" },
        { TINY_12B, { .set = "general.type", .to = "adapter" }, E_UNSUPPORTED, "adapter" },
        { TINY_12B, { .set = "general.type", .to = "mmproj" }, E_UNSUPPORTED, "mmproj" },
        { TINY_12B, { .set = "gemma4.rope.scaling.type", .to = "yarn" }, E_UNSUPPORTED, "\"yarn\"" },
        { TINY_12B, { .drop = "general.architecture" }, E_FORMAT, "general.architecture" },
        { TINY_12B, { .drop = "gemma4.block_count" }, E_FORMAT, "\"gemma4.block_count\" is missing" },
        { TINY_12B, { .drop = "gemma4.attention.sliding_window_pattern" }, E_FORMAT, "sliding_window_pattern" },
        { TINY_12B, { .set = "gemma4.embedding_length", .to = "x" }, E_FORMAT, "gemma4.embedding_length" },
        { TINY_12B, { .drop = "blk.1.ffn_up.weight" }, E_FORMAT, "\"blk.1.ffn_up.weight\" is missing" },
        { TINY_12B, { .drop = "blk.1.attn_k_norm.weight" }, E_FORMAT, "\"blk.1.attn_k_norm.weight\" is missing" },
        { TINY_12B, { .drop = "output_norm.weight" }, E_FORMAT, "\"output_norm.weight\" is missing" },
        { TINY_12B, { .drop = "blk.1.ffn_up.weight", .add = "blk.1.ffn_up.weight", .type = DTYPE_F32, .ne = { 256, 511 } }, E_FORMAT, "{256, 511, 1, 1}" },
        { TINY_12B, { .drop = "token_embd.weight", .add = "token_embd.weight", .type = DTYPE_F16, .ne = { 256, 511 } }, E_FORMAT, "512 tokens" },
        { TINY_12B, { .add = "blk.1.attn_q.bias", .type = DTYPE_F32, .ne = { 256, 1 } }, E_UNSUPPORTED, "blk.1.attn_q.bias" },
        { TINY_26B, { .drop = "gemma4.expert_used_count" }, E_FORMAT, "expert_used_count" },
        { TINY_26B, { .drop = "blk.3.ffn_down_exps.weight" }, E_FORMAT, "blk.3.ffn_down_exps.weight" },
        { TINY_26B, { .drop = "blk.3.ffn_gate_up_exps.weight" }, E_FORMAT, "blk.3.ffn_gate_exps.weight" },
        { TINY_E4B, { .drop = "per_layer_token_embd.weight" }, E_FORMAT, "per_layer_token_embd.weight" },
        { TINY_E4B, { .drop = "blk.0.proj.weight" }, E_FORMAT, "blk.0.proj.weight" } };
    size_t before = mem_now();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        err e;
        gemma *m = NULL;
        assert_fails(open_edited(cases[i].kind, &cases[i].x, &m, &e), cases[i].st, &e, cases[i].text);
        assert_null(m);
        assert_non_null(strstr(e.what, "-edited"));   /* says which file */
    }
    assert_int_equal(mem_now(), before);
}

static void optional_and_foreign_tensors(void **state)
{
    (void)state;
    static const edit fine[] = {
        { .drop = "blk.1.layer_output_scale.weight" }, { .drop = "rope_freqs.weight" }, { .drop = "blk.1.ffn_down_exps.scale" },
        { .drop = "blk.1.attn_v.weight" }, { .add = "v.patch_embd.weight", .type = DTYPE_F32, .ne = { 4, 4 } },
        { .add = "mm.input_projection.weight", .type = DTYPE_F16, .ne = { 4, 4 } }, { .add = "a.conv1d.0.weight", .type = DTYPE_I8, .ne = { 4, 4 } } };
    for (size_t i = 0; i < COUNT_OF(fine); i++) {
        err e;
        gemma *m = NULL;
        assert_ok(open_edited(TINY_26B, &fine[i], &m, &e), &e);
        const layer_weights *l = &m->weights.layers[1];
        assert_int_equal(l->layer_scalar == 1.0f, i == 0);
        assert_int_equal(m->config.rope_factors == NULL, i == 1);
        assert_int_equal(m->config.rope_pairs_full, 16);
        if (i == 2) assert_true(l->expert_scale[0] == 1.0f && l->expert_scale[15] == 1.0f);
        assert_int_equal(m->config.layers[1].k_eq_v, i == 3);
        gemma_close(m);
    }
}

/* NVFP4 sources: one scale beside a matrix, or one for each expert. */
static void scales_beside_matrices(void **state)
{
    (void)state;
    err e;
    gemma *m = NULL;
    assert_ok(open_edited(TINY_26B, &(edit){ .add = "blk.1.attn_q.scale", .type = DTYPE_F32, .ne = { 1, 1 } }, &m, &e), &e);
    assert_true(m->weights.layers[1].q.scale == 0.0f);   /* the added tensor holds zeros */
    assert_true(m->weights.layers[0].q.scale == 1.0f);
    assert_true(m->weights.layers[1].router.scale == 1.0f);   /* ffn_gate_inp.scale is something else */
    gemma_close(m);
    assert_ok(open_edited(TINY_26B, &(edit){ .add = "blk.1.ffn_gate_up_exps.scale", .type = DTYPE_F32, .ne = { 16, 1 } }, &m, &e), &e);
    assert_non_null(m->weights.layers[1].gate_exps.scales);
    assert_non_null(m->weights.layers[1].up_exps.scales);
    assert_true(weight_scale(&m->weights.layers[1].up_exps, 3) == 0.0f);
    assert_null(m->weights.layers[1].down_exps.scales);
    gemma_close(m);
}

/* The norms of an F16 or BF16 file become the same floats as the format says. */
static void norms_are_decoded(void **state)
{
    (void)state;
    err e;
    gemma *m = NULL;
    assert_ok(gemma_open(&m, "tests/golden/31b-f16/model", &e), &e);
    const st_tensor *t = st_find(m->safetensors, STR("model.norm.weight"));
    assert_int_equal(t->type, ST_F16);
    for (int32_t i = 0; i < m->config.hidden; i++) assert_true(m->weights.out_norm[i] == half_f16_to_f32(load_u16(t->data + 2 * i)));
    gemma_close(m);
    assert_ok(gemma_open(&m, "tests/golden/31b/model/", &e), &e);
    t = st_find(m->safetensors, STR("model.language_model.norm.weight"));
    assert_int_equal(t->type, ST_BF16);
    for (int32_t i = 0; i < m->config.hidden; i++) assert_true(m->weights.out_norm[i] == half_bf16_to_f32(load_u16(t->data + 2 * i)));
    assert_string_equal(m->config.name, "model");
    gemma_close(m);
}

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_five_kinds_open), cmocka_unit_test(same_seed_same_file), cmocka_unit_test(fused_experts_are_views),
        cmocka_unit_test(split_experts_and_old_names), cmocka_unit_test(dead_kv_makes_no_difference), cmocka_unit_test(odd_sizes_are_fine),
        cmocka_unit_test(wrong_files_are_named), cmocka_unit_test(optional_and_foreign_tensors), cmocka_unit_test(scales_beside_matrices),
        cmocka_unit_test(norms_are_decoded) };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
