/* Whole model files that are right but for what they say about text: tokenizer, special ids, defaults for drawing, and the
 * things that only Ollama's files have.  Each is written by the GGUF writer, opened through facet.h and, when it opens, made to
 * read, answer and write: a mistake is told by name, nothing crashes, and a vocabulary that is of no use leaves the numbers. */
#include <math.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/json.h"
#include "fmt/gguf.h"
#include "support/test.h"
#include "support/tiny.h"

enum { V = TINY_VOCAB };

static char good[] = "/tmp/facet-vocab-XXXXXX", twisted[] = "/tmp/facet-twist-XXXXXX";

/* ---- what is put in the place of keys ------------------------------------------------------------------- */

#define TOKENS "tokenizer.ggml.tokens"
#define TYPES  "tokenizer.ggml.token_type"
#define MERGES "tokenizer.ggml.merges"
#define SCORES "tokenizer.ggml.scores"

typedef status (*put_fn)(gguf_writer *w, const char *key, err *e);

static status nothing(gguf_writer *w, const char *key, err *e) { (void)w; (void)key; (void)e; return OK; }
static status number(gguf_writer *w, const char *key, err *e) { return gguf_put_u32(w, key, 7, e); }
static status huge(gguf_writer *w, const char *key, err *e) { return gguf_put_u32(w, key, UINT32_MAX, e); }
static status negative(gguf_writer *w, const char *key, err *e) { return gguf_put_i32(w, key, -5, e); }
static status not_a_number(gguf_writer *w, const char *key, err *e) { return gguf_put_f32(w, key, NAN, e); }
static status text(gguf_writer *w, const char *key, err *e) { return gguf_put_str(w, key, STR("a b"), e); }
static status bert(gguf_writer *w, const char *key, err *e) { return gguf_put_str(w, key, STR("bert"), e); }

static status strings(gguf_writer *w, const char *key, uint64_t n, err *e)
{
    static str s[2 * V];
    static char names[2 * V][8];
    for (uint64_t i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "t%d", (int)i);
        s[i] = str_from(names[i]);
    }
    return gguf_put_strs(w, key, s, n, e);
}
static status no_strings(gguf_writer *w, const char *key, err *e) { return strings(w, key, 0, e); }
static status fewer_strings(gguf_writer *w, const char *key, err *e) { return strings(w, key, V - 1, e); }
static status more_strings(gguf_writer *w, const char *key, err *e) { return strings(w, key, V + 1, e); }

/* As many as there should be, none of which is a piece of text. */
static status wild_strings(gguf_writer *w, const char *key, err *e)
{
    static str s[V];
    static char longest[70000];
    memset(longest, 'x', sizeof longest);
    for (int i = 0; i < V; i++) s[i] = i % 3 == 0 ? STR("same") : i % 3 == 1 ? STR("") : (str){ "\xff\xfe\0\xc3", 4 };
    s[7] = (str){ longest, sizeof longest };
    return gguf_put_strs(w, key, s, V, e);
}
static status wild_merges(gguf_writer *w, const char *key, err *e)
{
    const str s[] = { STR(""), STR(" "), STR("  "), STR("a"), STR("a "), STR(" a"), STR("a b c"), STR("nobody knows"), STR("<0x41> <0x42>"), STR("\xff \xfe") };
    return gguf_put_strs(w, key, s, COUNT_OF(s), e);
}
static status i32s(gguf_writer *w, const char *key, int32_t value, uint64_t n, err *e)
{
    static int32_t v[4 * V];
    for (uint64_t i = 0; i < n; i++) v[i] = value;
    return gguf_put_i32s(w, key, v, n, e);
}
static status few_numbers(gguf_writer *w, const char *key, err *e) { return i32s(w, key, 1, 9, e); }
static status zeros(gguf_writer *w, const char *key, err *e) { return i32s(w, key, 0, V, e); }
static status sevens(gguf_writer *w, const char *key, err *e) { return i32s(w, key, 7, V, e); }
static status all_control(gguf_writer *w, const char *key, err *e) { return i32s(w, key, 3, V, e); }
static status all_bytes(gguf_writer *w, const char *key, err *e) { return i32s(w, key, 6, V, e); }
static status large_ids(gguf_writer *w, const char *key, err *e) { return i32s(w, key, INT32_MAX, 3, e); }
static status negative_ids(gguf_writer *w, const char *key, err *e) { return i32s(w, key, INT32_MIN, 3, e); }
static status floats(gguf_writer *w, const char *key, float value, err *e)
{
    static float v[V];
    for (int i = 0; i < V; i++) v[i] = value;
    return gguf_put_f32s(w, key, v, V, e);
}
static status halves(gguf_writer *w, const char *key, err *e) { return floats(w, key, 1.5f, e); }
static status nans(gguf_writer *w, const char *key, err *e) { return floats(w, key, NAN, e); }
static status every_id(gguf_writer *w, const char *key, err *e)
{
    int32_t v[V];
    for (int i = 0; i < V; i++) v[i] = i;
    return gguf_put_i32s(w, key, v, V, e);
}

/* ---- cases ------------------------------------------------------------------------------------------------ */

typedef enum outcome {
    REFUSED,       /* the file does not open, and `says` tells why */
    MUTE,          /* it opens; ids work, text is refused with `says` */
    SPEAKS         /* all of it works */
} outcome;

static const struct { const char *key; put_fn put; outcome want; const char *says; } cases[] = {
    { "tokenizer.ggml.model", nothing, MUTE, "\"tokenizer.ggml.model\" is missing" },
    { "tokenizer.ggml.model", bert, MUTE, "its kind is \"bert\"" },
    { "tokenizer.ggml.model", number, MUTE, "must be a string" },
    { "tokenizer.ggml.pre", number, MUTE, "must be a string" },
    { TOKENS, nothing, MUTE, "\"tokenizer.ggml.tokens\" is missing" },
    { TOKENS, number, REFUSED, "tokens" },
    { TOKENS, text, REFUSED, "1 tokens" },
    { TOKENS, zeros, REFUSED, "array of strings" },
    { TOKENS, no_strings, REFUSED, "0 tokens" },
    { TOKENS, fewer_strings, REFUSED, "the tokenizer has 511 tokens" },
    { TOKENS, more_strings, REFUSED, "the tokenizer has 513 tokens" },
    { TOKENS, wild_strings, MUTE, "" },
    { TYPES, nothing, SPEAKS, "" },
    { TYPES, number, MUTE, "no array of numbers" },
    { TYPES, fewer_strings, MUTE, "no array of numbers" },
    { TYPES, few_numbers, MUTE, "512 tokens but 9 token types" },
    { TYPES, zeros, MUTE, "token 0 has type 0" },
    { TYPES, sevens, MUTE, "token 0 has type 7" },
    { TYPES, halves, MUTE, "must be an integer" },
    { TYPES, all_control, SPEAKS, "" },
    { TYPES, all_bytes, SPEAKS, "" },
    { MERGES, nothing, SPEAKS, "" },
    { MERGES, no_strings, SPEAKS, "" },
    { MERGES, text, MUTE, "no array of strings" },
    { MERGES, zeros, MUTE, "no array of strings" },
    { MERGES, wild_merges, SPEAKS, "" },
    { SCORES, few_numbers, SPEAKS, "" },
    { SCORES, fewer_strings, SPEAKS, "" },        /* not looked at where merges are */
    { SCORES, nans, SPEAKS, "" },
    { "tokenizer.ggml.bos_token_id", huge, SPEAKS, "" },      /* the spelling says which token begins a text */
    { "tokenizer.ggml.bos_token_id", text, SPEAKS, "" },
    { "tokenizer.ggml.eos_token_id", huge, SPEAKS, "" },
    { "tokenizer.ggml.eos_token_id", negative, SPEAKS, "" },
    { "tokenizer.ggml.eos_token_id", text, REFUSED, "must be an integer" },
    { "tokenizer.ggml.eos_token_ids", large_ids, SPEAKS, "" },
    { "tokenizer.ggml.eos_token_ids", negative_ids, SPEAKS, "" },
    { "tokenizer.ggml.eos_token_ids", fewer_strings, REFUSED, "must be an integer" },
    { "tokenizer.ggml.eos_token_ids", every_id, SPEAKS, "" },
    { "tokenizer.ggml.suppress_tokens", every_id, SPEAKS, "" },
    { "tokenizer.ggml.suppress_tokens", large_ids, SPEAKS, "" },
    { "tokenizer.ggml.suppress_tokens", negative_ids, SPEAKS, "" },
    { "tokenizer.ggml.suppress_tokens", text, REFUSED, "must be an integer" },
    { "tokenizer.chat_template", number, REFUSED, "/tmp/facet-twist-" },
    { "tokenizer.chat_template", text, SPEAKS, "" },
    { "general.sampling.temp", not_a_number, SPEAKS, "" },    /* defaults for drawing are a convenience: nonsense is replaced */
    { "general.sampling.temp", negative, SPEAKS, "" },
    { "general.sampling.top_p", not_a_number, SPEAKS, "" },
    { "general.sampling.top_p", number, SPEAKS, "" },
    { "general.sampling.top_k", negative, SPEAKS, "" },
    { "general.sampling.top_k", text, REFUSED, "must be an integer" },
    { "general.name", number, REFUSED, "must be a string" },
};

/* ---- writing ---------------------------------------------------------------------------------------------- */

/* The good file again, with one key changed; also without merges when drop_merges, and with what `more` adds. */
static void rewrite(const char *key, put_fn put, bool drop_merges, void (*more)(gguf_writer *w, bool data))
{
    err e = { 0 };
    gguf_file *g = NULL;
    gguf_writer *w = NULL;
    assert_ok(gguf_open(&g, good, &e), &e);
    assert_ok(gguf_writer_new(&w, twisted, &e), &e);
    for (uint64_t i = 0; i < gguf_value_count(g); i++) {
        const gguf_value *v = gguf_value_at(g, i);
        if ((key && str_is(v->key, key)) || (drop_merges && str_is(v->key, MERGES))) continue;
        assert_ok(gguf_put_value(w, v, &e), &e);
    }
    if (key) assert_ok(put(w, key, &e), &e);
    for (uint64_t i = 0; i < gguf_tensor_count(g); i++) {
        char name[128];
        const gguf_tensor *t = gguf_tensor_at(g, i);
        snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.p);
        assert_ok(gguf_put_tensor(w, name, t->type, t->n_dims, t->ne, &e), &e);
    }
    if (more) more(w, false);
    for (uint64_t i = 0; i < gguf_tensor_count(g); i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);
        assert_ok(gguf_write_data(w, t->data, t->bytes, &e), &e);
    }
    if (more) more(w, true);
    assert_ok(gguf_writer_end(w, &e), &e);
    gguf_writer_free(w);
    gguf_close(g);
}

/* ---- use --------------------------------------------------------------------------------------------------- */

static void answer(facet_engine *g, const facet_model *m, bool chat, status *st, err *e)
{
    facet_request *r = NULL;
    facet_sampling s;
    int32_t ids[] = { 1, 2, 3, V - 1 };
    facet_sampling_defaults(m, &s);
    assert_true(s.temperature == 1.0f && s.top_p == 0.95f && s.top_k == 64);
    s.seed = 3;
    s.max_tokens = 12;
    s.temperature = 5;
    assert_ok(facet_request_new(&r, g, &s, e), e);
    *st = chat ? facet_request_message(r, FACET_USER, "Hi <turn|>", 10, e) : facet_request_tokens(r, ids, COUNT_OF(ids), e);
    if (*st == OK) *st = facet_request_submit(r, NULL, NULL, e);
    if (*st == OK) *st = facet_request_wait(r, NULL, e);
    facet_request_free(r);
}

/* Text in, text out, an answer to ids, an answer to a message. */
static void use(const facet_model *m, outcome want, const char *says)
{
    err e = { 0 };
    facet_model_info info;
    int32_t *ids = NULL, all[V + 2];
    size_t count = 0, n = 0;
    char *out = NULL;
    facet_engine *g = NULL;
    status st;
    facet_model_read_info(m, &info);
    assert_int_equal(info.text, want == SPEAKS);
    st = facet_tokenize(m, "Hello <turn|> \xC3\xA9\xFF", 17, true, &ids, &count, &e);
    if (want == MUTE) {
        assert_int_not_equal(st, OK);
        if (!strstr(e.what, says) && !strstr(e.why, says)) fail_msg("\"%s\" is not in %s: %s", says, e.what, e.why);
    } else {
        assert_true(st == OK || e.what[0]);      /* a vocabulary without bytes cannot say everything */
        for (size_t i = 0; st == OK && i < count; i++) assert_in_range(ids[i], 0, V - 1);
        for (int i = 0; i < V; i++) all[i] = i;
        assert_ok(facet_detokenize(m, all, V, true, &out, &n, &e), &e);
        facet_free(out);
        all[0] = V;
        assert_fails(facet_detokenize(m, all, 1, true, &out, &n, &e), E_ARG, &e, "512 tokens");
    }
    facet_free(ids);
    assert_ok(facet_engine_start(&g, m, &(facet_engine_opts){ .ctx = 96, .threads = 1 }, &e), &e);
    e = (err){ 0 };
    answer(g, m, false, &st, &e);
    if (st != OK && !strstr(e.why, "no token has a finite score")) fail_msg("ids: %d, %s: %s", (int)st, e.what, e.why);
    e = (err){ 0 };
    answer(g, m, true, &st, &e);
    assert_true(st == OK || e.what[0]);
    if (want == MUTE) assert_int_not_equal(st, OK);
    facet_engine_stop(g);
}

static void open_and_use(const char *name, outcome want, const char *says)
{
    err e = { 0 };
    facet_model *m = NULL;
    size_t before = mem_now();
    status st = facet_model_open(&m, &(facet_model_opts){ .path = twisted }, &e);
    if (want == REFUSED) {
        assert_int_equal(st, E_FORMAT);
        assert_null(m);
        if (!strstr(e.what, says) && !strstr(e.why, says)) fail_msg("%s: \"%s\" is not in %s: %s", name, says, e.what, e.why);
    } else {
        assert_ok(st, &e);
        use(m, want, says);
        facet_model_close(m);
    }
    assert_int_equal(mem_now(), before);
}

static void wrong_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        rewrite(cases[i].key, cases[i].put, false, NULL);
        open_and_use(cases[i].key, cases[i].want, cases[i].says);
    }
    /* scores count when merges have to be made from them */
    static const put_fn scores[] = { few_numbers, nans, halves, nothing };
    for (size_t i = 0; i < COUNT_OF(scores); i++) {
        rewrite(SCORES, scores[i], true, NULL);
        open_and_use("scores instead of merges", SPEAKS, "");
    }
    rewrite(SCORES, fewer_strings, true, NULL);
    open_and_use("strings as scores", MUTE, "no array of numbers");
}

/* ---- Ollama ------------------------------------------------------------------------------------------------ */

static status llama(gguf_writer *w, const char *key, err *e)
{
    static const int32_t eos[] = { 1, 106, 50 };
    status st = OK;
    TRY(gguf_put_str(w, key, STR("llama"), e));
    TRY(gguf_put_str(w, "tokenizer.ggml.pre", STR("gemma4"), e));
    TRY(gguf_put_i32s(w, "tokenizer.ggml.eos_token_ids", eos, 3, e));
    TRY(gguf_put_u32(w, "gemma4.vision.block_count", 16, e));
    TRY(gguf_put_f32(w, "gemma4.vision.attention.layer_norm_epsilon", 1e-6f, e));
    TRY(gguf_put_u32(w, "gemma4.audio.block_count", 12, e));
out:
    return st;
}

static void towers(gguf_writer *w, bool data)
{
    static const char *const names[] = { "v.blk.0.attn_q.weight", "v.clamp_data", "a.blk.0.ln1.weight", "mm.a.fc.weight", "mm.a.fc.bias" };
    static const float zeros32[32 * 4];
    static const int64_t ne[] = { 32, 4 };
    err e = { 0 };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (data) assert_ok(gguf_write_data(w, zeros32, sizeof zeros32, &e), &e);
        else assert_ok(gguf_put_tensor(w, names[i], DTYPE_F32, 2, ne, &e), &e);
}

/* Its one file for text, images and audio: the same ids and the same answer as the plain one. */
static void ollama_in_one_file(void **state)
{
    static const char words[] = "Hello <turn|> there, 12 + 30?";
    err e = { 0 };
    facet_model *m[2];
    int32_t *ids[2], next[2][6];
    size_t count[2];
    (void)state;
    rewrite("tokenizer.ggml.model", llama, false, towers);
    open_and_use("Ollama", SPEAKS, "");
    for (int i = 0; i < 2; i++) {
        assert_ok(facet_model_open(&m[i], &(facet_model_opts){ .path = i ? twisted : good }, &e), &e);
        assert_ok(facet_tokenize(m[i], words, sizeof words - 1, true, &ids[i], &count[i], &e), &e);
        facet_logits_opts o = { .engine = { .threads = 1 }, .greedy = 6, .greedy_out = next[i] };
        assert_ok(facet_logits(m[i], ids[i], count[i], &o, &e), &e);
    }
    assert_int_equal(count[0], count[1]);
    assert_memory_equal(ids[0], ids[1], count[0] * sizeof *ids[0]);
    assert_memory_equal(next[0], next[1], sizeof next[0]);
    for (int i = 0; i < 2; i++) {
        facet_free(ids[i]);
        facet_model_close(m[i]);
    }
}

static int begin(void **state)
{
    err e;
    (void)state;
    int a = mkstemp(good), b = mkstemp(twisted);
    if (a < 0 || b < 0) return -1;
    close(a);
    close(b);
    return tiny_write_gguf(good, TINY_12B, DTYPE_Q8_0, 1, &e) == OK ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    return unlink(good) | unlink(twisted);
}

int main(void)
{
    json_use_mem();
    const struct CMUnitTest tests[] = { cmocka_unit_test(wrong_keys), cmocka_unit_test(ollama_in_one_file) };
    return cmocka_run_group_tests(tests, begin, end);
}
