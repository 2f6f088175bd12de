#include "support/tiny.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "fmt/gguf.h"
#include "model/weight_names.h"

/* Head sizes, windows and depths are small; widths are multiples of 256, so that every type fits somewhere. */
static const tiny_shape shapes[TINY_KINDS] = {
    [TINY_E2B] = { .name = "E2B", .layers = 10, .hidden = 256, .ff = 256, .nq = 4, .nkv = 1, .nkv_full = 1, .d = 64, .d_full = 128,
                   .period = 5, .window = 24, .shared = 5, .ple = 32, .wide = true, .dead_kv = true },
    [TINY_E4B] = { .name = "E4B", .layers = 9, .hidden = 256, .ff = 512, .nq = 4, .nkv = 2, .nkv_full = 2, .d = 64, .d_full = 128,
                   .period = 3, .window = 20, .shared = 3, .ple = 32 },
    [TINY_12B] = { .name = "12B", .layers = 6, .hidden = 256, .ff = 512, .nq = 4, .nkv = 2, .nkv_full = 1, .d = 64, .d_full = 128,
                   .period = 3, .window = 32, .k_eq_v = true },
    [TINY_26B] = { .name = "26B", .layers = 6, .hidden = 256, .ff = 160, .nq = 4, .nkv = 2, .nkv_full = 1, .d = 64, .d_full = 128,
                   .period = 3, .window = 32, .experts = 16, .used = 4, .expert_ff = 96, .k_eq_v = true },
    [TINY_31B] = { .name = "31B", .layers = 6, .hidden = 512, .ff = 1024, .nq = 8, .nkv = 4, .nkv_full = 2, .d = 64, .d_full = 128,
                   .period = 6, .window = 32, .k_eq_v = true },
};

tiny_shape tiny_shape_of(tiny_kind kind) { return shapes[kind]; }
const char *tiny_name(tiny_kind kind) { return shapes[kind].name; }

/* ---- random numbers --------------------------------------------------------------------------- */

/* Four nearly normal numbers (sums of four bytes), from integers alone: no mathematics library has a say in it. */
static void normals(uint64_t key, uint64_t counter, float out[4])
{
    uint32_t r[4];
    rng_philox(key, counter, r);
    for (int i = 0; i < 4; i++) {
        int sum = (int)(r[i] & 255) + (int)(r[i] >> 8 & 255) + (int)(r[i] >> 16 & 255) + (int)(r[i] >> 24);
        out[i] = (float)(sum - 510) * (1.0f / 147.8f);
    }
}

/* ---- writing ---------------------------------------------------------------------------------- */

/* All tensors are walked twice in the same order: declared first, then filled. */
typedef struct maker {
    gguf_writer *w;
    const tiny_shape *s;
    dtype type;
    uint64_t seed, tensor;
    bool fill;
    int layer;
    err *e;
} maker;

static dtype fitting(dtype wanted, int64_t cols)
{
    if (cols % dtype_of(wanted)->block == 0) return wanted;
    return cols % 32 == 0 ? DTYPE_Q8_0 : DTYPE_F16;
}

/* Rows of random numbers, encoded: value = mean + spread * normal. */
static status fill_rows(maker *m, dtype type, int64_t rows, int64_t cols, float mean, float spread)
{
    status st = OK;
    uint64_t key = m->seed * 1000003 + m->tensor;
    size_t bytes = dtype_row_bytes(type, cols);
    const dtype_info *d = dtype_of(type);
    float *x = mem_array((size_t)cols, sizeof *x, MEM_OTHER);
    void *row = mem_alloc(bytes, MEM_OTHER);
    if (!x || !row) FAIL(m->e, E_NOMEM, "could not make a tiny model\nout of memory");
    if (!d->encode) FAIL(m->e, E_ARG, "type %s has no encoder", d->name);
    for (int64_t r = 0; r < rows; r++) {
        float z[4];
        for (int64_t i = 0; i < cols; i++) {
            if (i % 4 == 0) normals(key, (uint64_t)(r * cols + i), z);
            x[i] = mean + spread * z[i % 4];
        }
        d->encode(x, row, cols, NULL);
        TRY(gguf_write_data(m->w, row, bytes, m->e));
    }
out:
    mem_free(x);
    mem_free(row);
    return st;
}

static status tensor(maker *m, weight_place p, dtype type, int64_t cols, int64_t rows, int64_t mats, float mean, float spread)
{
    char name[WEIGHT_NAME_CAP];
    weight_names_gguf(p, m->layer, name);
    m->tensor++;
    if (m->fill) return fill_rows(m, type, rows * mats, cols, mean, spread);
    int64_t ne[3] = { cols, rows, mats };
    return gguf_put_tensor(m->w, name, type, mats > 1 ? 3 : rows > 1 ? 2 : 1, ne, m->e);
}

static status vector(maker *m, weight_place p, int64_t n, float mean, float spread) { return tensor(m, p, DTYPE_F32, n, 1, 1, mean, spread); }

/* Standard deviation gain / sqrt(inputs): products keep the size of their inputs. */
static status matrix(maker *m, weight_place p, int64_t cols, int64_t rows, int64_t mats, float gain)
{
    return tensor(m, p, fitting(m->type, cols), cols, rows, mats, 0, gain / sqrtf((float)cols));
}

static bool is_full(const tiny_shape *s, int layer) { return (layer + 1) % s->period == 0; }

static status attention(maker *m)
{
    status st = OK;
    const tiny_shape *s = m->s;
    bool full = is_full(s, m->layer), own = m->layer < s->layers - s->shared;
    int d = full ? s->d_full : s->d, nkv = full ? s->nkv_full : s->nkv;
    TRY(vector(m, WEIGHT_ATTN_NORM, s->hidden, 1, 0.2f));
    TRY(matrix(m, WEIGHT_Q, s->hidden, s->nq * d, 1, 1));
    if (own || s->dead_kv) {
        TRY(matrix(m, WEIGHT_K, s->hidden, nkv * d, 1, 1));
        if (!full || !s->k_eq_v) TRY(matrix(m, WEIGHT_V, s->hidden, nkv * d, 1, 1));
        TRY(vector(m, WEIGHT_K_NORM, d, 1.5f / sqrtf((float)d), 0.3f / sqrtf((float)d)));   /* scores near 1.5 */
    }
    TRY(matrix(m, WEIGHT_O, s->nq * d, s->hidden, 1, 1));
    TRY(vector(m, WEIGHT_Q_NORM, d, 1, 0.2f));
    TRY(vector(m, WEIGHT_POST_ATTN_NORM, s->hidden, 0.75f, 0.12f));
out:
    return st;
}

static status experts(maker *m)
{
    status st = OK;
    const tiny_shape *s = m->s;
    if (!s->experts) goto out;
    TRY(tensor(m, WEIGHT_ROUTER, DTYPE_F32, s->hidden, s->experts, 1, 0, 1.5f));   /* its input is divided by sqrt(H) */
    TRY(vector(m, WEIGHT_ROUTER_SCALE, s->hidden, 1, 0.2f));
    TRY(vector(m, WEIGHT_FFN_NORM_2, s->hidden, 1, 0.2f));
    TRY(vector(m, WEIGHT_POST_FFN_NORM_1, s->hidden, 0.75f, 0.12f));
    TRY(vector(m, WEIGHT_POST_FFN_NORM_2, s->hidden, 0.75f, 0.12f));
    if (s->split_experts) {
        TRY(matrix(m, WEIGHT_GATE_EXPS, s->hidden, s->expert_ff, s->experts, 1));
        TRY(matrix(m, WEIGHT_UP_EXPS, s->hidden, s->expert_ff, s->experts, 1));
    } else {
        TRY(matrix(m, WEIGHT_GATE_UP_EXPS, s->hidden, 2 * s->expert_ff, s->experts, 1));
    }
    TRY(matrix(m, WEIGHT_DOWN_EXPS, s->expert_ff, s->hidden, s->experts, 1));
    TRY(vector(m, s->old_names ? WEIGHT_EXPERT_SCALE_OLD : WEIGHT_EXPERT_SCALE, s->experts, 1, 0.2f));
out:
    return st;
}

static status feed_forward(maker *m)
{
    status st = OK;
    const tiny_shape *s = m->s;
    int F = s->wide && m->layer >= s->layers - s->shared ? 2 * s->ff : s->ff;
    TRY(vector(m, WEIGHT_FFN_NORM, s->hidden, 1, 0.2f));
    TRY(matrix(m, WEIGHT_GATE, s->hidden, F, 1, 1));
    TRY(matrix(m, WEIGHT_UP, s->hidden, F, 1, 1));
    TRY(matrix(m, WEIGHT_DOWN, F, s->hidden, 1, 1));
    TRY(vector(m, WEIGHT_POST_FFN_NORM, s->hidden, 0.75f, 0.12f));
    TRY(experts(m));
out:
    return st;
}

static status rope_factors(maker *m)
{
    status st = OK;
    int pairs = m->s->d_full / 2;
    if (!m->fill) return tensor(m, WEIGHT_ROPE_FACTORS, DTYPE_F32, pairs, 1, 1, 0, 0);
    m->tensor++;
    for (int i = 0; i < pairs; i++) {
        float x = i < pairs / 4 ? 1.0f : 1e30f;
        TRY(gguf_write_data(m->w, &x, sizeof x, m->e));
    }
out:
    return st;
}

static status tensors(maker *m, bool fill)
{
    status st = OK;
    const tiny_shape *s = m->s;
    m->fill = fill;
    m->tensor = 0;
    m->layer = -1;
    TRY(matrix(m, WEIGHT_EMBED, s->hidden, TINY_VOCAB, 1, 1.2f));
    if (s->untied) TRY(matrix(m, WEIGHT_HEAD, s->hidden, TINY_VOCAB, 1, 1.2f));
    TRY(vector(m, WEIGHT_OUT_NORM, s->hidden, 8, 1));
    TRY(rope_factors(m));
    if (s->ple) {
        TRY(matrix(m, WEIGHT_PLE_EMBED, s->ple * s->layers, TINY_VOCAB, 1, sqrtf((float)s->layers)));
        TRY(matrix(m, WEIGHT_PLE_MODEL_PROJ, s->hidden, s->ple * s->layers, 1, 1));
        TRY(vector(m, WEIGHT_PLE_PROJ_NORM, s->ple, 1, 0.2f));
    }
    for (m->layer = 0; m->layer < s->layers; m->layer++) {
        TRY(attention(m));
        TRY(feed_forward(m));
        TRY(vector(m, WEIGHT_LAYER_SCALAR, 1, 0.9f, 0.1f));
        if (!s->ple) continue;
        TRY(matrix(m, WEIGHT_PLE_GATE, s->hidden, s->ple, 1, 1));
        TRY(matrix(m, WEIGHT_PLE_PROJ, s->ple, s->hidden, 1, 1));
        TRY(vector(m, WEIGHT_PLE_NORM, s->hidden, 0.75f, 0.12f));
    }
out:
    return st;
}

/* ---- the toy vocabulary ------------------------------------------------------------------------ */

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, BYTE = 6 };

static const struct { int id; const char *text; int type; } specials[] = {
    { 0, "<pad>", CONTROL }, { 1, "<eos>", CONTROL }, { 2, "<bos>", CONTROL }, { 3, "<unk>", UNKNOWN }, { 4, "<mask>", CONTROL },
    { 46, "<|tool>", CONTROL }, { 47, "<tool|>", CONTROL }, { 48, "<|tool_call>", USER_DEFINED }, { 49, "<tool_call|>", USER_DEFINED },
    { 50, "<|tool_response>", USER_DEFINED }, { 51, "<tool_response|>", USER_DEFINED }, { 52, "<|\"|>", USER_DEFINED },
    { 98, "<|think|>", CONTROL }, { 100, "<|channel>", USER_DEFINED }, { 101, "<channel|>", USER_DEFINED }, { 105, "<|turn>", CONTROL },
    { 106, "<turn|>", CONTROL }, { 107, "\n", NORMAL }, { 108, "\n\n", NORMAL }, { 203, "\xE2\x96\x81", NORMAL }, { 204, "th", NORMAL },
    { 205, "the", NORMAL }, { 206, "in", NORMAL }, { 207, "er", NORMAL }, { 208, "an", NORMAL }, { 209, "<|image>", CONTROL },
    { 210, "<|audio>", CONTROL }, { 211, "<|image|>", CONTROL }, { 212, "<|audio|>", CONTROL }, { 213, "<image|>", CONTROL },
    { 214, "<audio|>", CONTROL }, { 215, "<|video|>", CONTROL },
};
static const str merges[] = { { "\n \n", 3 }, { "t h", 3 }, { "th e", 4 }, { "i n", 3 }, { "e r", 3 }, { "a n", 3 } };

static status vocabulary(maker *m)
{
    enum { TEXT_CAP = 24, FIRST_CHAR = 109, FIRST_BYTE = 238 };
    status st = OK;
    char texts[TINY_VOCAB][TEXT_CAP];
    int32_t types[TINY_VOCAB];
    str tokens[TINY_VOCAB];
    for (int i = 0; i < TINY_VOCAB; i++) {
        types[i] = i >= FIRST_BYTE && i < FIRST_BYTE + 256 ? BYTE : NORMAL;
        if (types[i] == BYTE) snprintf(texts[i], TEXT_CAP, "<0x%02X>", i - FIRST_BYTE);
        else if (i >= FIRST_CHAR && i < FIRST_CHAR + 94) snprintf(texts[i], TEXT_CAP, "%c", 0x21 + i - FIRST_CHAR);
        else snprintf(texts[i], TEXT_CAP, "<unused%d>", i);
    }
    for (size_t i = 0; i < sizeof specials / sizeof *specials; i++) {
        snprintf(texts[specials[i].id], TEXT_CAP, "%s", specials[i].text);
        types[specials[i].id] = specials[i].type;
    }
    for (int i = 0; i < TINY_VOCAB; i++) tokens[i] = str_from(texts[i]);
    TRY(gguf_put_str(m->w, "tokenizer.ggml.model", STR("gemma4"), m->e));
    TRY(gguf_put_strs(m->w, "tokenizer.ggml.tokens", tokens, TINY_VOCAB, m->e));
    TRY(gguf_put_i32s(m->w, "tokenizer.ggml.token_type", types, TINY_VOCAB, m->e));
    TRY(gguf_put_strs(m->w, "tokenizer.ggml.merges", merges, sizeof merges / sizeof *merges, m->e));
    TRY(gguf_put_u32(m->w, "tokenizer.ggml.bos_token_id", 2, m->e));
    TRY(gguf_put_u32(m->w, "tokenizer.ggml.eos_token_id", 106, m->e));
    TRY(gguf_put_u32(m->w, "tokenizer.ggml.unknown_token_id", 3, m->e));
    TRY(gguf_put_u32(m->w, "tokenizer.ggml.padding_token_id", 0, m->e));
    TRY(gguf_put_bool(m->w, "tokenizer.ggml.add_space_prefix", false, m->e));
    TRY(gguf_put_bool(m->w, "tokenizer.ggml.add_bos_token", true, m->e));
out:
    return st;
}

/* ---- keys -------------------------------------------------------------------------------------- */

static status layer_keys(maker *m)
{
    status st = OK;
    const tiny_shape *s = m->s;
    int32_t ff[64], nkv[64];
    bool sliding[64];
    for (int i = 0; i < s->layers; i++) {
        ff[i] = s->wide && i >= s->layers - s->shared ? 2 * s->ff : s->ff;
        nkv[i] = is_full(s, i) ? s->nkv_full : s->nkv;
        sliding[i] = !is_full(s, i);
    }
    uint64_t n = (uint64_t)s->layers;
    if (s->wide) TRY(gguf_put_i32s(m->w, "gemma4.feed_forward_length", ff, n, m->e));
    else TRY(gguf_put_u32(m->w, "gemma4.feed_forward_length", (uint32_t)s->ff, m->e));
    TRY(gguf_put_u32(m->w, "gemma4.attention.head_count", (uint32_t)s->nq, m->e));
    if (s->nkv != s->nkv_full) TRY(gguf_put_i32s(m->w, "gemma4.attention.head_count_kv", nkv, n, m->e));
    else TRY(gguf_put_u32(m->w, "gemma4.attention.head_count_kv", (uint32_t)s->nkv, m->e));
    TRY(gguf_put_bools(m->w, "gemma4.attention.sliding_window_pattern", sliding, n, m->e));
    TRY(gguf_put_u32(m->w, "gemma4.attention.shared_kv_layers", (uint32_t)s->shared, m->e));
out:
    return st;
}

static status keys(maker *m)
{
    const tiny_shape *s = m->s;
    const struct { const char *key; int value; } numbers[] = {
        { "gemma4.block_count", s->layers }, { "gemma4.context_length", 8192 }, { "gemma4.embedding_length", s->hidden },
        { "gemma4.attention.key_length", s->d_full }, { "gemma4.attention.value_length", s->d_full },
        { "gemma4.attention.key_length_swa", s->d }, { "gemma4.attention.value_length_swa", s->d },
        { "gemma4.rope.dimension_count", s->d_full }, { "gemma4.rope.dimension_count_swa", s->d },
        { "gemma4.attention.sliding_window", s->window }, { "gemma4.embedding_length_per_layer_input", s->ple },
        { "gemma4.expert_count", s->experts }, { "gemma4.expert_used_count", s->used },
        { "gemma4.expert_feed_forward_length", s->expert_ff } };
    status st = OK;
    char name[64];
    snprintf(name, sizeof name, "tiny %s", s->name);
    TRY(gguf_put_str(m->w, "general.architecture", STR("gemma4"), m->e));
    TRY(gguf_put_str(m->w, "general.type", STR("model"), m->e));
    TRY(gguf_put_str(m->w, "general.name", str_from(name), m->e));
    TRY(gguf_put_u32(m->w, "general.quantization_version", 2, m->e));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        bool moe = strstr(numbers[i].key, ".expert_") != NULL;
        if (!moe || s->experts) TRY(gguf_put_u32(m->w, numbers[i].key, (uint32_t)numbers[i].value, m->e));
    }
    TRY(gguf_put_f32(m->w, "gemma4.attention.layer_norm_rms_epsilon", 1e-6f, m->e));
    TRY(gguf_put_f32(m->w, "gemma4.rope.freq_base", 1e6f, m->e));
    TRY(gguf_put_f32(m->w, "gemma4.rope.freq_base_swa", 1e4f, m->e));
    TRY(gguf_put_f32(m->w, "gemma4.final_logit_softcapping", 30, m->e));
    TRY(layer_keys(m));
    TRY(vocabulary(m));
out:
    return st;
}

status tiny_write_shape(const char *path, const tiny_shape *s, dtype type, uint64_t seed, err *e)
{
    status st = OK;
    maker m = { .s = s, .type = type, .seed = seed, .e = e };
    TRY(gguf_writer_new(&m.w, path, e));
    TRY(keys(&m));
    TRY(tensors(&m, false));
    TRY(tensors(&m, true));
    TRY(gguf_writer_end(m.w, e));
out:
    gguf_writer_free(m.w);
    return st;
}

status tiny_write_gguf(const char *path, tiny_kind kind, dtype type, uint64_t seed, err *e)
{
    return tiny_write_shape(path, &shapes[kind], type, seed, e);
}
