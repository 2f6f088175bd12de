/* See gguf_twin.h. */
#include "support/gguf_twin.h"

#include "model/weight_names.h"
#include "num/dtype.h"
#include "support/test.h"

static void put_keys(gguf_writer *w, const gemma_config *c)
{
    err e = { 0 };
    enum { LAYERS = 64 };
    int32_t ff[LAYERS], nkv[LAYERS];
    bool sliding[LAYERS];
    const gemma_layer_config *full = NULL, *slide = NULL;
    assert_true(c->layer_count <= LAYERS);
    for (int32_t i = 0; i < c->layer_count; i++) {
        const gemma_layer_config *l = &c->layers[i];
        ff[i] = l->ff, nkv[i] = l->nkv, sliding[i] = !l->full;
        if (l->full) full = l; else slide = l;
    }
    assert_true(full && slide);
    uint64_t n = (uint64_t)c->layer_count;
#define U32(key, v) assert_ok(gguf_put_u32(w, key, (uint32_t)(v), &e), &e)
#define F32(key, v) assert_ok(gguf_put_f32(w, key, (float)(v), &e), &e)
    assert_ok(gguf_put_str(w, "general.architecture", STR("gemma4"), &e), &e);
    U32("gemma4.block_count", c->layer_count);
    U32("gemma4.context_length", c->context);
    U32("gemma4.embedding_length", c->hidden);
    U32("gemma4.vocab_size", c->vocab);
    assert_ok(gguf_put_i32s(w, "gemma4.feed_forward_length", ff, n, &e), &e);
    U32("gemma4.attention.head_count", full->nq);
    assert_ok(gguf_put_i32s(w, "gemma4.attention.head_count_kv", nkv, n, &e), &e);
    U32("gemma4.attention.key_length", full->d);
    U32("gemma4.attention.value_length", full->d);
    U32("gemma4.attention.key_length_swa", slide->d);
    U32("gemma4.attention.value_length_swa", slide->d);
    F32("gemma4.attention.layer_norm_rms_epsilon", c->eps);
    U32("gemma4.attention.sliding_window", c->window);
    assert_ok(gguf_put_bools(w, "gemma4.attention.sliding_window_pattern", sliding, n, &e), &e);
    U32("gemma4.attention.shared_kv_layers", c->layer_count - c->kv_layers);
    U32("gemma4.embedding_length_per_layer_input", c->ple);
    F32("gemma4.rope.freq_base", c->theta_full);
    F32("gemma4.rope.freq_base_swa", c->theta_sliding);
    U32("gemma4.rope.dimension_count", full->d);
    U32("gemma4.rope.dimension_count_swa", slide->d);
    F32("gemma4.final_logit_softcapping", c->softcap);
    if (c->expert_count) {
        U32("gemma4.expert_count", c->expert_count);
        U32("gemma4.expert_used_count", c->expert_used);
        U32("gemma4.expert_feed_forward_length", c->expert_ff);
    }
#undef U32
#undef F32
}

static dtype type_of(const st_tensor *t)
{
    switch (t->type) {
    case ST_F32:  return DTYPE_F32;
    case ST_F16:  return DTYPE_F16;
    case ST_BF16: return DTYPE_BF16;
    default: fail_msg("type %s has no place in this test", t->type_name);
    }
    return DTYPE_COUNT;
}

/* Declares the tensor, or writes its data: vectors as F32, matrices as they are or all as F32. */
static void put_tensor(gguf_writer *w, const st_tensor *t, const char *name, bool f32, bool data)
{
    err e = { 0 };
    dtype from = type_of(t), to = f32 || t->n_dims < 2 ? DTYPE_F32 : from;
    int64_t ne[4] = { 1, 1, 1, 1 }, n = 1;
    assert_in_range(t->n_dims, 1, 3);
    for (int i = 0; i < t->n_dims; i++) ne[i] = t->shape[t->n_dims - 1 - i], n *= ne[i];
    if (!data) {
        assert_ok(gguf_put_tensor(w, name, to, t->n_dims, ne, &e), &e);
    } else if (to == from) {
        assert_ok(gguf_write_data(w, t->data, t->bytes, &e), &e);
    } else {
        float *x = malloc((size_t)n * sizeof *x);
        assert_non_null(x);
        dtype_of(from)->decode(t->data, x, n);
        assert_ok(gguf_write_data(w, x, (size_t)n * sizeof *x, &e), &e);
        free(x);
    }
}

static void put_tensors(gguf_writer *w, const gemma *m, bool f32, bool data)
{
    err e = { 0 };
    float factors[GEMMA_HEAD_MAX / 2];
    int64_t ne[4] = { 0, 1, 1, 1 };
    for (int32_t i = 0; i < m->config.layer_count; i++)
        if (m->config.layers[i].full) ne[0] = m->config.layers[i].d / 2;
    for (int64_t i = 0; i < ne[0]; i++) factors[i] = i < m->config.rope_pairs_full ? 1.0f : 1e30f;
    if (data) assert_ok(gguf_write_data(w, factors, (size_t)ne[0] * sizeof *factors, &e), &e);
    else assert_ok(gguf_put_tensor(w, "rope_freqs.weight", DTYPE_F32, 1, ne, &e), &e);
    for (uint64_t i = 0; i < st_count(m->safetensors); i++) {
        char name[WEIGHT_NAME_CAP];
        int32_t layer;
        const st_tensor *t = st_at(m->safetensors, i);
        weight_place place = weight_names_place(t->name, &layer);
        if (place == WEIGHT_PLACES) continue;      /* towers */
        weight_names_gguf(place, layer, name);
        put_tensor(w, t, name, f32, data);
    }
}

void gguf_twin_write(const gemma *m, const char *path, bool f32)
{
    err e = { 0 };
    gguf_writer *w = NULL;
    assert_ok(gguf_writer_new(&w, path, &e), &e);
    put_keys(w, &m->config);
    put_tensors(w, m, f32, false);
    put_tensors(w, m, f32, true);
    assert_ok(gguf_writer_end(w, &e), &e);
    gguf_writer_free(w);
}
