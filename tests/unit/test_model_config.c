#include <unistd.h>

#include "base/bits.h"
#include "base/buf.h"
#include "fmt/gguf.h"
#include "model/gemma_config.h"
#include "os/file.h"
#include "support/test.h"

/* Parameters of the five sizes as published (architecture section 11e). */
static const struct { const char *size, *published, *saved; int64_t total, embed, ple, experts, active, inner; } sizes[] = {
    { "E2B", "E2B-it", "E2B-saved", 4628569379, 402653184, 2348810240, 0, 2279759139, 1877105955 },
    { "E4B", "E4B-published", "E4B-saved", 7463013418, 671088640, 2818572288, 0, 4644441130, 3973352490 },
    { "12B", "12B-published", "12B-saved", 11907350320, 1006632960, 0, 0, 11907350320, 10900717360 },
    { "26B-A4B", "26B-A4B-published", "26B-A4B-saved", 25233141790, 738197504, 0, 22837985280, 3822530590, 3084333086 },
    { "31B", "31B-published", "31B-saved", 30697345340, 1409286144, 0, 0, 30697345340, 29288059196 },
};

static json_t *load(const char *name)
{
    char path[128];
    err e;
    json_t *j = NULL;
    buf b;
    buf_init(&b, 1 << 20);
    snprintf(path, sizeof path, "tests/data/config/%s.json", name);
    assert_ok(file_read_all(&b, path, &e), &e);
    assert_ok(json_parse(&j, (str){ b.data, b.len }, path, true, &e), &e);
    buf_done(&b);
    return j;
}

static void read_hf(gemma_config *c, const char *name)
{
    err e;
    json_t *j = load(name);
    assert_ok(gemma_config_from_hf(c, j, NULL, name, &e), &e);
    json_decref(j);
}

static void parameters_are_the_published_ones(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        const char *const forms[] = { sizes[i].published, sizes[i].saved };
        for (int k = 0; k < 2; k++) {
            gemma_config c;
            gemma_parameters p;
            char name[64];
            read_hf(&c, forms[k]);
            gemma_config_parameters(&c, &p);
            assert_string_equal(gemma_config_size_name(&c, name, sizeof name), sizes[i].size);
            assert_int_equal(p.total, sizes[i].total);
            assert_int_equal(p.embed, sizes[i].embed);
            assert_int_equal(p.ple_embed, sizes[i].ple);
            assert_int_equal(p.experts, sizes[i].experts);
            assert_int_equal(p.active, sizes[i].active);
            assert_int_equal(p.active_inner, sizes[i].inner);
            gemma_config_done(&c);
        }
    }
}

static void assert_same(const gemma_config *a, const gemma_config *b)
{
    assert_int_equal(a->layer_count, b->layer_count);
    for (int32_t i = 0; i < a->layer_count; i++) {
        const gemma_layer_config *x = &a->layers[i], *y = &b->layers[i];
        assert_int_equal(x->full, y->full);
        assert_int_equal(x->k_eq_v, y->k_eq_v);
        assert_int_equal(x->nq, y->nq);
        assert_int_equal(x->nkv, y->nkv);
        assert_int_equal(x->d, y->d);
        assert_int_equal(x->ff, y->ff);
        assert_int_equal(x->kv_source, y->kv_source);
    }
    assert_int_equal(a->hidden, b->hidden);
    assert_int_equal(a->vocab, b->vocab);
    assert_int_equal(a->context, b->context);
    assert_int_equal(a->window, b->window);
    assert_int_equal(a->ple, b->ple);
    assert_int_equal(a->expert_count, b->expert_count);
    assert_int_equal(a->expert_used, b->expert_used);
    assert_int_equal(a->expert_ff, b->expert_ff);
    assert_int_equal(a->kv_layers, b->kv_layers);
    assert_int_equal(a->vision_blocks, b->vision_blocks);
    assert_int_equal(a->rope_pairs_full, b->rope_pairs_full);
    assert_true(a->eps == b->eps && a->softcap == b->softcap && a->theta_full == b->theta_full && a->theta_sliding == b->theta_sliding);
}

static void both_forms_of_config_json_are_the_same_model(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        gemma_config a, b;
        read_hf(&a, sizes[i].published);
        read_hf(&b, sizes[i].saved);
        assert_same(&a, &b);
        gemma_config_done(&a);
        gemma_config_done(&b);
    }
}

static void e2b_in_detail(void **state)
{
    (void)state;
    err e;
    gemma_config c;
    json_t *j = load("E2B-it"), *g = load("E2B-it.generation");
    assert_ok(gemma_config_from_hf(&c, j, g, "E2B", &e), &e);
    assert_int_equal(c.layer_count, 35);
    assert_int_equal(c.kv_layers, 15);
    assert_int_equal(c.window, 512);
    assert_int_equal(c.context, 131072);
    assert_int_equal(c.rope_pairs_full, 64);
    assert_false(c.vision_blocks);
    assert_false(c.untied);
    assert_int_equal(c.layers[14].kv_source, 14);
    assert_int_equal(c.layers[15].kv_source, 13);   /* sliding */
    assert_int_equal(c.layers[19].kv_source, 14);   /* full */
    assert_int_equal(c.layers[34].kv_source, 14);
    assert_int_equal(c.layers[14].ff, 6144);
    assert_int_equal(c.layers[15].ff, 12288);
    assert_int_equal(c.layers[4].d, 512);
    assert_int_equal(c.layers[5].d, 256);
    assert_int_equal(c.eos_count, 3);
    assert_int_equal(c.eos[2], 50);
    assert_true(c.temperature == 1.0f && c.top_k == 64 && c.top_p == 0.95f);
    gemma_config_done(&c);
    /* without generation_config.json the stop tokens of the real vocabulary are known all the same */
    assert_ok(gemma_config_from_hf(&c, j, NULL, "E2B", &e), &e);
    assert_int_equal(c.eos_count, 3);
    gemma_config_done(&c);
    json_decref(j);
    json_decref(g);
}

/* ---- the same from GGUF keys ---------------------------------------------------------------------- */

static void write_keys(const char *path, const gemma_config *c)
{
    err e;
    gguf_writer *w;
    int32_t ff[64], nkv[64];
    bool sliding[64];
    const gemma_layer_config *full = &c->layers[c->layer_count - 1], *first = &c->layers[0];
    for (int32_t i = 0; i < c->layer_count; i++) {
        ff[i] = c->layers[i].ff;
        nkv[i] = c->layers[i].nkv;
        sliding[i] = !c->layers[i].full;
    }
    const struct { const char *key; int64_t v; } numbers[] = {
        { "gemma4.block_count", c->layer_count }, { "gemma4.context_length", c->context }, { "gemma4.embedding_length", c->hidden },
        { "gemma4.attention.head_count", first->nq }, { "gemma4.attention.key_length", full->d }, { "gemma4.attention.value_length", full->d },
        { "gemma4.attention.key_length_swa", first->d }, { "gemma4.attention.value_length_swa", first->d }, { "gemma4.attention.sliding_window", c->window },
        { "gemma4.attention.shared_kv_layers", c->layer_count - c->kv_layers }, { "gemma4.embedding_length_per_layer_input", c->ple },
        { "gemma4.expert_count", c->expert_count }, { "gemma4.vocab_size", c->vocab } };
    assert_ok(gguf_writer_new(&w, path, &e), &e);
    assert_ok(gguf_put_str(w, "general.architecture", STR("gemma4"), &e), &e);
    for (size_t i = 0; i < COUNT_OF(numbers); i++) assert_ok(gguf_put_u32(w, numbers[i].key, (uint32_t)numbers[i].v, &e), &e);
    if (c->expert_count) {
        assert_ok(gguf_put_u32(w, "gemma4.expert_used_count", (uint32_t)c->expert_used, &e), &e);
        assert_ok(gguf_put_u32(w, "gemma4.expert_feed_forward_length", (uint32_t)c->expert_ff, &e), &e);
    }
    assert_ok(gguf_put_i32s(w, "gemma4.feed_forward_length", ff, (uint64_t)c->layer_count, &e), &e);
    assert_ok(gguf_put_i32s(w, "gemma4.attention.head_count_kv", nkv, (uint64_t)c->layer_count, &e), &e);
    assert_ok(gguf_put_bools(w, "gemma4.attention.sliding_window_pattern", sliding, (uint64_t)c->layer_count, &e), &e);
    assert_ok(gguf_put_f32(w, "gemma4.attention.layer_norm_rms_epsilon", c->eps, &e), &e);
    assert_ok(gguf_put_f32(w, "gemma4.final_logit_softcapping", c->softcap, &e), &e);
    assert_ok(gguf_writer_end(w, &e), &e);
    gguf_writer_free(w);
}

static void gguf_keys_are_the_same_model(void **state)
{
    (void)state;
    char path[] = "/tmp/facet-config-XXXXXX";
    close(mkstemp(path));
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        err e;
        gguf_file *g;
        gemma_config a, b;
        read_hf(&a, sizes[i].published);
        write_keys(path, &a);
        assert_ok(gguf_open(&g, path, &e), &e);
        assert_ok(gemma_config_from_gguf(&b, g, &e), &e);
        assert_same(&a, &b);
        gguf_close(g);
        gemma_config_done(&a);
        gemma_config_done(&b);
    }
    unlink(path);
}

/* ---- what is refused ------------------------------------------------------------------------------- */

/* The E2B configuration with one value of text_config (or of the top level, key "/x") replaced; NULL removes it. */
static status with(const char *key, const char *value, err *e)
{
    gemma_config c;
    json_t *j = load("E2B-it"), *t = json_object_get(j, "text_config");
    json_t *o = key[0] == '/' ? j : t;
    if (key[0] == '/') key++;
    if (value) json_object_set_new(o, key, json_loads(value, JSON_DECODE_ANY, NULL));
    else json_object_del(o, key);
    status st = gemma_config_from_hf(&c, j, NULL, "x", e);
    if (st == OK) gemma_config_done(&c);
    json_decref(j);
    return st;
}

static void bad_configurations_are_named(void **state)
{
    (void)state;
    static const struct { const char *key, *value; status st; const char *text; } cases[] = {
        { "/model_type", "\"llama\"", E_UNSUPPORTED, "\"llama\"" }, { "/model_type", "\"gemma4_assistant\"", E_UNSUPPORTED, "drafter" },
        { "/model_type", NULL, E_FORMAT, "\"model_type\" is missing" }, { "/quantization_config", "{\"quant_method\":\"compressed-tensors\"}", E_UNSUPPORTED, "compressed-tensors" },
        { "hidden_activation", "\"silu\"", E_UNSUPPORTED, "silu" }, { "attention_bias", "true", E_UNSUPPORTED, "biases" },
        { "use_bidirectional_attention", "\"all\"", E_UNSUPPORTED, "\"all\"" }, { "num_hidden_layers", "0", E_FORMAT, "num_hidden_layers" },
        { "num_hidden_layers", "513", E_FORMAT, "num_hidden_layers" }, { "num_hidden_layers", "34", E_FORMAT, "35 elements" },
        { "hidden_size", NULL, E_FORMAT, "\"hidden_size\" is missing" }, { "hidden_size", "\"1536\"", E_FORMAT, "hidden_size" },
        { "hidden_size", "99999999999", E_FORMAT, "hidden_size" }, { "head_dim", "255", E_FORMAT, "even" }, { "head_dim", "1026", E_FORMAT, "head_dim" },
        { "num_key_value_heads", "3", E_FORMAT, "multiple" }, { "num_kv_shared_layers", "35", E_FORMAT, "num_kv_shared_layers" },
        { "num_kv_shared_layers", "33", E_FORMAT, "no earlier full layer" }, { "sliding_window", "0", E_FORMAT, "sliding_window" },
        { "layer_types", "{}", E_FORMAT, "0 elements" }, { "rms_norm_eps", "-1", E_FORMAT, "impossible numbers" },
        { "final_logit_softcapping", "-30", E_FORMAT, "impossible numbers" }, { "vocab_size", "0", E_FORMAT, "vocab_size" },
        { "enable_moe_block", "true", E_FORMAT, "\"num_experts\" is missing" }, { "per_layer_config", "{\"35\":{\"head_dim\":512}}", E_FORMAT, "per_layer_config" },
        { "per_layer_config", "{\"x\":{}}", E_FORMAT, "per_layer_config" }, { "per_layer_config", "{\"04\":7}", E_FORMAT, "per_layer_config.04" },
        { "rope_parameters", "{\"full_attention\":{\"rope_type\":\"yarn\"}}", E_UNSUPPORTED, "yarn" },
        { "rope_parameters", "{\"full_attention\":{\"rope_type\":\"proportional\",\"partial_rotary_factor\":2}}", E_FORMAT, "partial_rotary_factor" },
        { "rope_parameters", "{\"full_attention\":{\"rope_type\":\"proportional\",\"factor\":8}}", E_UNSUPPORTED, "factor" },
        { "rope_parameters", "{\"sliding_attention\":{\"rope_theta\":0}}", E_FORMAT, "impossible numbers" } };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        err e;
        assert_fails(with(cases[i].key, cases[i].value, &e), cases[i].st, &e, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_the_published_ones), cmocka_unit_test(both_forms_of_config_json_are_the_same_model), cmocka_unit_test(e2b_in_detail),
        cmocka_unit_test(gguf_keys_are_the_same_model), cmocka_unit_test(bad_configurations_are_named) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
