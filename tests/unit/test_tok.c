/* The tokenizer against the reference vectors and against the package `tokenizers` on random texts.
 *
 *     test_tok [TEXTS]     also compares a file of texts, as tests/oracle/tok_random.py writes it */
#include <unistd.h>

#include "support/test.h"

#include "base/bits.h"
#include "base/utf8.h"
#include "support/packed.h"
#include "support/vocab.h"
#include "text/tok_int.h"

static const char *extra;          /* from the command line */
static buf file;                   /* the vocabulary's GGUF */
static gguf_file *gguf;
static tok *from_gguf, *from_json, *rewritten, *small;     /* rewritten: the keys that tok_write_gguf makes of the tokenizer.json */

static bool same_ids(const tok_ids *a, const int32_t *b, size_t n)
{
    return a->len == n && (n == 0 || memcmp(a->data, b, n * sizeof *b) == 0);
}

/* All three tokenizers must give exactly these ids. */
static void check(str text, bool special, const tok_ids *want, const char *name)
{
    const tok *const toks[] = { from_gguf, from_json, rewritten };
    for (size_t i = 0; i < COUNT_OF(toks); i++) {
        tok_ids got = { 0 };
        err e = { 0 };
        assert_ok(tok_encode(toks[i], text, special, &got, &e), &e);
        if (!same_ids(&got, want->data, want->len)) {
            for (size_t k = 0; k < MAX(got.len, want->len); k++)
                if (k >= got.len || k >= want->len || got.data[k] != want->data[k]) {
                    print_error("token %zu: %d, expected %d\n", k, k < got.len ? got.data[k] : -1, k < want->len ? want->data[k] : -1);
                    break;
                }
            fail_msg("%s (%s): \"%.*s\"", name, i == 0 ? "GGUF" : i == 1 ? "tokenizer.json" : "GGUF from tokenizer.json", (int)MIN(text.n, 300), text.p);
        }
        tok_ids_done(&got);
    }
}

/* Numbers separated by anything else. */
static void read_ids(str line, tok_ids *ids)
{
    for (size_t i = 0; i < line.n;) {
        int32_t id = 0;
        if (line.p[i] < '0' || line.p[i] > '9') {
            i++;
            continue;
        }
        for (; i < line.n && line.p[i] >= '0' && line.p[i] <= '9'; i++) id = id * 10 + line.p[i] - '0';
        assert_int_equal(tok_ids_add(ids, id, NULL), OK);
    }
}

static void llama_cpp_vectors(void **state)
{
    (void)state;
    buf in, out;
    packed_read(&in, "tests/data/tokenizer/llama.cpp.inp");
    packed_read(&out, "tests/data/tokenizer/llama.cpp.out");
    str texts = { in.data, in.len }, lines = { out.data, out.len }, line;
    const str between = STR("\n__ggml_vocab_test__\n");
    size_t n = 0;
    while (texts.n) {
        size_t end = str_find(texts, between);
        tok_ids want = { 0 };
        assert_true(str_split(&lines, '\n', &line));
        read_ids(line, &want);
        check((str){ texts.p, end }, false, &want, "llama.cpp");
        tok_ids_done(&want);
        texts = str_skip(texts, MIN(end + between.n, texts.n));
        n++;
    }
    assert_int_equal(n, 46);
    buf_done(&in);
    buf_done(&out);
}

/* \n, \s and \x of the kitoken files. */
static void unescape(str line, buf *out)
{
    buf_clear(out);
    for (size_t i = 0; i < line.n; i++) {
        char next = i + 1 < line.n ? line.p[i + 1] : 0;
        if (line.p[i] == '\\' && (next == 'n' || next == 's' || next == 'x')) {
            if (next != 'x') buf_add(out, next == 'n' ? "\n" : " ", 1, NULL);
            i++;
        } else {
            buf_add(out, line.p + i, 1, NULL);
        }
    }
}

static size_t kitoken_lines(const char *input, const char *tokens)
{
    buf in, out, text;
    packed_read(&in, input);
    packed_read(&out, tokens);
    buf_init(&text, 1u << 20);
    str lines = { in.data, in.len }, ids = { out.data, out.len }, line, id_line;
    size_t n = 0;
    while (packed_line(&lines, &line)) {
        if (!line.n) continue;
        tok_ids want = { 0 };
        assert_true(packed_line(&ids, &id_line));
        read_ids(id_line, &want);
        unescape(line, &text);
        check((str){ buf_text(&text), text.len }, true, &want, input);
        tok_ids_done(&want);
        n++;
    }
    buf_done(&in);
    buf_done(&out);
    buf_done(&text);
    return n;
}

static void kitoken_vectors(void **state)
{
    (void)state;
    assert_int_equal(kitoken_lines("tests/data/tokenizer/kitoken-small_input.txt", "tests/data/tokenizer/kitoken-small_tokens.txt"), 20);
    assert_int_equal(kitoken_lines("tests/data/tokenizer/kitoken-mixed_input.txt", "tests/data/tokenizer/kitoken-mixed_tokens.txt"), 120);
    buf in, out;
    tok_ids want = { 0 };
    packed_read(&in, "tests/data/tokenizer/kitoken-utf8_input.txt");
    packed_read(&out, "tests/data/tokenizer/kitoken-utf8_tokens.txt");
    read_ids((str){ out.data, out.len }, &want);
    assert_int_equal(want.len, 5087);
    check((str){ in.data, in.len }, true, &want, "utf8");
    tok_ids_done(&want);
    buf_done(&in);
    buf_done(&out);
}

static void compare_file(const char *path, size_t at_least)
{
    buf b;
    packed_read(&b, path);
    str rest = { b.data, b.len }, line;
    size_t n = 0;
    for (; packed_line(&rest, &line); n++) {
        json_t *c = NULL, *v;
        size_t i;
        tok_ids want = { 0 };
        err e = { 0 };
        assert_ok(json_parse(&c, line, "a case", false, &e), &e);
        const json_t *text = json_object_get(c, "t");
        json_array_foreach(json_object_get(c, "i"), i, v) tok_ids_add(&want, (int32_t)json_integer_value(v), NULL);
        check((str){ json_string_value(text), json_string_length(text) }, json_is_true(json_object_get(c, "s")), &want, path);
        tok_ids_done(&want);
        json_decref(c);
    }
    print_message("%s: %zu texts\n", path, n);
    assert_true(n >= at_least);
    buf_done(&b);
}

static void random_texts(void **state)
{
    (void)state;
    compare_file("tests/data/tokenizer/random.jsonl.xz", 4000);
    if (extra) compare_file(extra, 1);
}

static void decode_all(const tok *t, const tok_ids *ids, bool special, buf *out)
{
    tok_decoder d = { .special = special };
    buf_init(out, 1u << 30);
    for (size_t i = 0; i < ids->len; i++) {
        size_t before = out->len;
        assert_int_equal(tok_decode(t, &d, ids->data[i], out, NULL), OK);
        /* never half a character */
        assert_true(utf8_valid(buf_text(out) + before, out->len - before));
    }
    assert_int_equal(tok_decode_end(&d, out, NULL), OK);
}

/* Whatever is valid UTF-8 and has no U+2581 in it comes back, special tokens recognised or not. */
static void texts_come_back(void **state)
{
    (void)state;
    buf b;
    size_t n = 0;
    packed_read(&b, "tests/data/tokenizer/random.jsonl.xz");
    str rest = { b.data, b.len }, line;
    while (packed_line(&rest, &line)) {
        json_t *c = NULL;
        buf out;
        tok_ids ids = { 0 };
        json_parse(&c, line, "a case", false, NULL);
        str text = { json_string_value(json_object_get(c, "t")), json_string_length(json_object_get(c, "t")) };
        bool special = n % 2;
        assert_int_equal(tok_encode(from_gguf, text, special, &ids, NULL), OK);
        decode_all(from_gguf, &ids, true, &out);
        if (str_find(text, STR("\xE2\x96\x81")) == text.n) {
            n++;
            assert_true(str_eq(text, (str){ buf_text(&out), out.len }));
        }
        for (size_t i = 0; i < ids.len && !special; i++) assert_false(tok_is_special(from_gguf, ids.data[i]));
        buf_done(&out);
        tok_ids_done(&ids);
        json_decref(c);
    }
    assert_true(n > 3000);
    buf_done(&b);
}

static void special_tokens(void **state)
{
    (void)state;
    const tok_special *s = tok_specials(from_gguf), *j = tok_specials(from_json);
    assert_memory_equal(s, j, sizeof *s);
    assert_int_equal(s->pad, 0); assert_int_equal(s->eos, 1); assert_int_equal(s->bos, 2); assert_int_equal(s->unk, 3); assert_int_equal(s->mask, 4);
    assert_int_equal(s->tool, 46); assert_int_equal(s->tool_end, 47); assert_int_equal(s->tool_call, 48); assert_int_equal(s->tool_call_end, 49);
    assert_int_equal(s->tool_response, 50); assert_int_equal(s->tool_response_end, 51); assert_int_equal(s->quote, 52); assert_int_equal(s->think, 98);
    assert_int_equal(s->channel, 100); assert_int_equal(s->channel_end, 101); assert_int_equal(s->turn, 105); assert_int_equal(s->turn_end, 106);
    assert_int_equal(s->image_begin, 255999); assert_int_equal(s->audio_begin, 256000); assert_int_equal(s->image, 258880);
    assert_int_equal(s->audio, 258881); assert_int_equal(s->image_end, 258882); assert_int_equal(s->audio_end, 258883); assert_int_equal(s->video, 258884);
    size_t n = 0;
    for (int32_t id = 0; id < tok_count(from_gguf); id++) {
        assert_int_equal(tok_is_special(from_gguf, id), tok_is_special(from_json, id));
        assert_int_equal(tok_is_control(from_gguf, id), tok_is_control(from_json, id));
        assert_true(str_eq(tok_bytes(from_gguf, id), tok_bytes(from_json, id)));
        n += tok_is_special(from_gguf, id);
        assert_int_equal(tok_is_end(from_gguf, id), id == 1 || id == 106 || id == 50);
    }
    assert_int_equal(n, 24);
    assert_false(tok_is_special(from_gguf, -1) || tok_is_special(from_gguf, tok_count(from_gguf)));
    assert_int_equal(tok_piece(from_gguf, -1).n, 0);
    assert_true(str_is(tok_piece(from_gguf, 236743), "\xE2\x96\x81") && str_is(tok_bytes(from_gguf, 236743), " "));
    assert_true(str_is(tok_bytes(from_gguf, 238 + 'A'), "A"));
}

/* Text of a user beside the structure of a turn: merged as one text, but no token of it is special. */
static void ranges_limit_special_tokens(void **state)
{
    (void)state;
    str text = STR("<|turn>user\n<turn|>x <|turn> the<turn|>\n");
    tok_range all[] = { { 0, 12 }, { text.n - 8, text.n } };
    tok_ids ids = { 0 }, plain = { 0 };
    assert_int_equal(tok_encode_ranges(from_gguf, text, all, 2, &ids, NULL), OK);
    size_t turns = 0, ends = 0;
    for (size_t i = 0; i < ids.len; i++) turns += ids.data[i] == 105, ends += ids.data[i] == 106;
    assert_int_equal(turns, 1);
    assert_int_equal(ends, 1);
    assert_int_equal(ids.data[0], 105);
    assert_int_equal(ids.data[ids.len - 2], 106);
    /* a border inside a word changes nothing */
    tok_range half[] = { { 0, 14 }, { 14, 15 }, { 15, 16 } };
    tok_ids_done(&ids);
    assert_int_equal(tok_encode_ranges(from_gguf, STR("internationalis"), half, 2, &ids, NULL), OK);
    assert_int_equal(tok_encode(from_gguf, STR("internationalis"), false, &plain, NULL), OK);
    assert_true(same_ids(&ids, plain.data, plain.len));
    /* a token that only half lies in a range is text */
    tok_ids_done(&ids);
    assert_int_equal(tok_encode_ranges(from_gguf, STR("<bos>"), &(tok_range){ 0, 4 }, 1, &ids, NULL), OK);
    assert_true(ids.len > 1);
    tok_ids_done(&ids);
    tok_ids_done(&plain);
}

/* Merges are a function of the pieces: regenerated ones give the same ids. */
static void merges_can_be_regenerated(void **state)
{
    (void)state;
    tok *t = NULL;
    err e = { 0 };
    assert_ok(tok_begin(&t, (uint64_t)tok_count(from_gguf), &e), &e);
    for (int32_t id = 0; id < tok_count(from_gguf); id++) assert_ok(tok_set(t, id, tok_piece(from_gguf, id), from_gguf->kind[id], &e), &e);
    assert_ok(tok_seal(t, &e), &e);
    assert_ok(tok_merges_regenerate(t, NULL, &e), &e);
    assert_int_equal(t->merge_count, 514906);
    assert_int_equal(from_gguf->merge_count, 514906);
    /* The order is the file's, but for the first piece of two letters, which stands among the runs of blanks there. */
    size_t differ = 0;
    for (uint32_t i = 0; i < t->merge_count; i++) differ += t->result[i] != from_gguf->result[i];
    assert_true(differ < 40);
    tok *kept = from_gguf;
    from_gguf = t;
    compare_file("tests/data/tokenizer/random.jsonl.xz", 4000);
    llama_cpp_vectors(NULL);
    kitoken_vectors(NULL);
    from_gguf = kept;
    tok_free(t);
}

static void long_runs_come_to_an_end(void **state)
{
    (void)state;
    static const char *const units[] = { "a", " ", "\n", "\t", "é", "1", "ab", "the ", "\xF0\x9F\x98\x80", "\xFF", "=-", "<", "<|", "in" };
    for (size_t k = 0; k < COUNT_OF(units); k++) {
        buf b, out;
        tok_ids ids = { 0 };
        buf_init(&b, 1u << 24);
        while (b.len < 1000000) buf_add_str(&b, units[k], NULL);
        assert_int_equal(tok_encode(from_gguf, (str){ b.data, b.len }, true, &ids, NULL), OK);
        decode_all(from_gguf, &ids, true, &out);
        if (utf8_valid(b.data, b.len)) assert_true(b.len == out.len && memcmp(b.data, out.data, b.len) == 0);
        buf_done(&b);
        buf_done(&out);
        tok_ids_done(&ids);
    }
}

/* Bytes that are no UTF-8: every one comes through encoding, and decoding shows U+FFFD. */
static void wrong_utf8(void **state)
{
    (void)state;
    static const struct { const char *bytes, *shown; } cases[] = {
        { "a\xFF" "b", "a\xEF\xBF\xBD" "b" }, { "\xE2\x82", "\xEF\xBF\xBD" }, { "\xF0\x9F\x98 x", "\xEF\xBF\xBD x" }, { "\xC0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD" },
        { "\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD" }, { "\xE2\x82\xAC\xE2\x82\xAC", "\xE2\x82\xAC\xE2\x82\xAC" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        tok_ids ids = { 0 };
        buf out;
        assert_int_equal(tok_encode(from_gguf, str_from(cases[i].bytes), false, &ids, NULL), OK);
        size_t n = 0;
        for (size_t k = 0; k < ids.len; k++) n += tok_bytes(from_gguf, ids.data[k]).n;
        assert_int_equal(n, strlen(cases[i].bytes));
        decode_all(from_gguf, &ids, false, &out);
        assert_string_equal(buf_text(&out), cases[i].shown);
        buf_done(&out);
        tok_ids_done(&ids);
    }
}

/* ---- small and hostile vocabularies ------------------------------------------------------------------ */

static void small_vocabulary(void **state)
{
    (void)state;
    static const struct { const char *text; bool special; const char *pieces; } cases[] = {
        { "the", false, "the|" }, { "  the the", false, "\xE2\x96\x81\xE2\x96\x81|the|\xE2\x96\x81the|" }, { "aaaaa", false, "aaaa|a|" },
        { "\n\n\n", false, "\n\n|\n|" }, { "call:{}", true, "call:|{}|" }, { "<bos>", true, "<bos>|" }, { "<bos>", false, "<|b|o|s|>|" },
        { "\xC3\xA9\xC3\xA9", false, "\xC3\xA9\xC3\xA9|" }, { "\xC3\xB1", false, "<0xC3>|<0xB1>|" }, { "", true, "" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        tok_ids ids = { 0 };
        buf b;
        buf_init(&b, 1000);
        assert_int_equal(tok_encode(small, str_from(cases[i].text), cases[i].special, &ids, NULL), OK);
        for (size_t k = 0; k < ids.len; k++) {
            str p = tok_piece(small, ids.data[k]);
            buf_addf(&b, NULL, "%.*s|", (int)p.n, p.p);
        }
        assert_string_equal(buf_text(&b), cases[i].pieces);
        buf_done(&b);
        tok_ids_done(&ids);
    }
    assert_int_equal(tok_specials(small)->turn, 4);
    assert_int_equal(tok_specials(small)->mask, -1);
}

static void json_variants(void **state)
{
    (void)state;
    static const struct { const char *json; status want; const char *says; } cases[] = {
        { "[]", E_FORMAT, "no object" }, { "{}", E_FORMAT, "model" }, { "{\"model\": {\"type\": \"Unigram\"}}", E_UNSUPPORTED, "BPE" },
        { "{\"model\": {\"vocab\": {\"a\": 0}}, \"pre_tokenizer\": {\"type\": \"ByteLevel\"}}", E_UNSUPPORTED, "ByteLevel" },
        { "{\"model\": {\"vocab\": {\"a\": 0}}, \"normalizer\": {\"type\": \"NFKC\"}}", E_UNSUPPORTED, "normalizer" },
        { "{\"model\": {\"type\": \"BPE\"}}", E_FORMAT, "vocab" }, { "{\"model\": {\"vocab\": {}}}", E_FORMAT, "0 tokens" },
        { "{\"model\": {\"vocab\": {\"a\": -1}}}", E_FORMAT, "id of" }, { "{\"model\": {\"vocab\": {\"a\": 4194304}}}", E_FORMAT, "id of" },
        { "{\"model\": {\"vocab\": {\"a\": 4194303}}}", E_FORMAT, "reach" }, { "{\"model\": {\"vocab\": {\"a\": 1.5}}}", E_FORMAT, "id of" },
        { "{\"model\": {\"vocab\": {\"a\": 0, \"b\": 0}}}", E_FORMAT, "two tokens" }, { "{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": {}}}", E_FORMAT, "merges" },
        { "{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [\"ab\"]}}", E_FORMAT, "merge number 0" },
        { "{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [[\"a\", \"b\", \"c\"]]}}", E_FORMAT, "merge number 0" },
        { "{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [[\"a\", 1]]}}", E_FORMAT, "merge number 0" },
        { "{\"model\": {\"vocab\": {\"a\": 0}}, \"added_tokens\": [{\"id\": 0, \"content\": \"b\"}]}", E_FORMAT, "another token" },
        { "{\"model\": {\"vocab\": {\"a\": 0}}, \"added_tokens\": [{\"id\": 1}]}", E_FORMAT, "content" },
        { "{\"model\": {\"vocab\": {\"a\": 0}}, \"added_tokens\": [{\"content\": \"b\"}]}", E_FORMAT, "id of" },
        /* skipped, not refused */
        { "{\"model\": {\"vocab\": {\"a\": 0, \"aa\": 5}, \"merges\": [\"a a\", [\"a\", \"a\"], [\"x\", \"y\"], \"a aa\"]}}", OK, "" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        json_t *j = NULL;
        tok *t = NULL;
        err e = { 0 };
        assert_ok(json_parse(&j, str_from(cases[i].json), "test", false, &e), &e);
        status st = tok_from_json(&t, j, &e);
        if (st != cases[i].want || (st != OK && !strstr(e.why, cases[i].says))) fail_msg("%s: %d, %s: %s", cases[i].json, (int)st, e.what, e.why);
        if (st == OK) assert_int_equal(t->merge_count, 1);
        tok_free(t);
        json_decref(j);
    }
}

/* Without byte tokens an unknown character is <unk>, several are one; without <unk> it is an error. */
static void vocabulary_without_bytes(void **state)
{
    (void)state;
    const char *const texts[] = { "{\"model\": {\"vocab\": {\"<unk>\": 0, \"a\": 1}}}", "{\"model\": {\"vocab\": {\"x\": 0, \"a\": 1}}}" };
    for (int i = 0; i < 2; i++) {
        json_t *j = NULL;
        tok *t = NULL;
        tok_ids ids = { 0 };
        err e = { 0 };
        json_parse(&j, str_from(texts[i]), "test", false, NULL);
        assert_ok(tok_from_json(&t, j, &e), &e);
        if (i == 0) {
            assert_ok(tok_encode(t, STR("a\xC3\xA9\xC3\xA9" "a\xC3\xA9"), false, &ids, &e), &e);
            assert_true(same_ids(&ids, (int32_t[]){ 1, 0, 1, 0 }, 4));
        } else {
            assert_fails(tok_encode(t, STR("a\xC3\xA9"), false, &ids, &e), E_FORMAT, &e, "0xC3");
        }
        tok_ids_done(&ids);
        tok_free(t);
        json_decref(j);
    }
}

/* ---- written as GGUF --------------------------------------------------------------------------------- */

enum { PADDED = 3 };       /* rows of the token table that the vocabulary has no tokens for */

/* A file with nothing but the keys; *g owned by the caller, who reads it after the file is gone. */
static tok *through_gguf(const json_t *j, int32_t count, gguf_file **g)
{
    char path[] = "/tmp/facet-tok-XXXXXX";
    const int32_t eos[] = { 1, 106, 50 };
    gguf_writer *w = NULL;
    tok *t = NULL;
    err e = { 0 };
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_ok(gguf_writer_new(&w, path, &e), &e);
    assert_ok(tok_write_gguf(w, j, count, eos, 3, &e), &e);
    assert_ok(gguf_writer_end(w, &e), &e);
    gguf_writer_free(w);
    assert_ok(gguf_open(g, path, &e), &e);
    assert_ok(tok_from_gguf(&t, *g, &e), &e);
    unlink(path);
    return t;
}

static void same_tokenizer(const tok *want, const tok *got)
{
    assert_int_equal(tok_count(got), tok_count(want) + PADDED);
    assert_memory_equal(&got->special, &want->special, sizeof want->special);
    for (int32_t id = 0; id < tok_count(want); id++) {
        assert_true(str_eq(tok_piece(got, id), tok_piece(want, id)));
        assert_true(str_eq(tok_bytes(got, id), tok_bytes(want, id)));
        assert_int_equal(got->kind[id], want->kind[id]);
    }
    assert_int_equal(got->merge_count, want->merge_count);
    assert_memory_equal(got->result, want->result, want->merge_count * sizeof *want->result);
}

static void written_as_gguf(void **state)
{
    (void)state;
    buf b;
    json_t *j = NULL;
    gguf_file *g = NULL;
    err e = { 0 };
    int64_t n;
    same_tokenizer(from_json, rewritten);
    for (int32_t id = tok_count(from_json); id < tok_count(rewritten); id++) assert_int_equal(rewritten->kind[id], TOK_UNUSED);
    vocab_small_json(&b);
    assert_ok(json_parse(&j, (str){ buf_text(&b), b.len }, "small", false, &e), &e);
    tok *t = through_gguf(j, tok_count(small) + PADDED, &g);
    same_tokenizer(small, t);
    assert_ok(gguf_i64(g, "tokenizer.ggml.eos_token_id", 0, 1000, &n, &e), &e);
    assert_int_equal(n, 1);                      /* this vocabulary's <turn|> is none of the ids that end an answer */
    assert_ok(gguf_i64(g, "tokenizer.ggml.bos_token_id", 0, 1000, &n, &e), &e);
    assert_int_equal(n, small->special.bos);
    tok_free(t);
    gguf_close(g);
    gguf_writer *w = NULL;
    assert_ok(gguf_writer_new(&w, "/dev/null", &e), &e);
    assert_fails(tok_write_gguf(w, j, tok_count(small) - 1, NULL, 0, &e), E_FORMAT, &e, "the model knows");
    gguf_writer_free(w);
    json_decref(j);
    buf_done(&b);
}

/* No merges at all are none afterwards, where a reader would make some; ids without a token get a piece; a merge that cannot be spelled is left out. */
static void written_as_gguf_oddities(void **state)
{
    (void)state;
    static const struct { const char *json; uint32_t merges; } cases[] = {
        { "{\"model\": {\"vocab\": {\"a\": 0, \"aa\": 5}}}", 0 },
        { "{\"model\": {\"vocab\": {\"a\": 0, \"b c\": 1, \"ab c\": 2, \"b ca\": 3, \"aa\": 4}, \"merges\": [[\"b c\", \"a\"], [\"a\", \"b c\"], \"a a\"]}}", 2 } };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        json_t *j = NULL;
        gguf_file *g = NULL;
        err e = { 0 };
        assert_ok(json_parse(&j, str_from(cases[i].json), "odd", false, &e), &e);
        tok *t = through_gguf(j, 8, &g);
        assert_int_equal(t->merge_count, cases[i].merges);
        for (int32_t id = 0; id < 8; id++) assert_true(tok_piece(t, id).n > 0);
        if (i == 0) assert_true(str_is(tok_piece(t, 3), "[PAD3]") && t->kind[3] == TOK_UNUSED);
        tok_free(t);
        gguf_close(g);
        json_decref(j);
    }
}

/* ---- fixtures ------------------------------------------------------------------------------------------ */

/* A tokenizer.json of the whole vocabulary, merges alternately as pairs and as strings; its tokenizer, and that of its keys. */
static tok *by_way_of_json(void)
{
    buf b;
    json_t *j = NULL;
    tok *t = NULL;
    err e = { 0 };
    buf_init(&b, 1u << 30);
    buf_add_str(&b, "{\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\xE2\x96\x81\"}, \"added_tokens\": [", NULL);
    bool more = false;
    for (int32_t id = 0; id < tok_count(from_gguf); id++) {
        if (!tok_is_special(from_gguf, id)) continue;
        buf_addf(&b, NULL, "%s{\"id\": %d, \"special\": true, \"content\": ", more ? ", " : "", id);
        json_quote(&b, tok_piece(from_gguf, id), NULL);
        buf_add_str(&b, "}", NULL);
        more = true;
    }
    buf_add_str(&b, "], \"model\": {\"type\": \"BPE\", \"vocab\": {", NULL);
    for (int32_t id = 0; id < tok_count(from_gguf); id++) {
        if (id) buf_add_str(&b, ", ", NULL);
        json_quote(&b, tok_piece(from_gguf, id), NULL);
        buf_addf(&b, NULL, ": %d", id);
    }
    buf_add_str(&b, "}, \"merges\": [", NULL);
    /* the halves of merge i: found in the table, as the ids alone do not tell them */
    for (uint32_t s = 0, n = 0; s <= from_gguf->merge_mask; s++) n += from_gguf->merges[s].left != 0, assert_true(n <= from_gguf->merge_count);
    tok_merge *by_rank = mem_array(from_gguf->merge_count, sizeof *by_rank, MEM_TEXT);
    for (uint32_t s = 0; s <= from_gguf->merge_mask; s++)
        if (from_gguf->merges[s].left) by_rank[from_gguf->merges[s].rank] = from_gguf->merges[s];
    for (uint32_t i = 0; i < from_gguf->merge_count; i++) {
        str left = tok_piece(from_gguf, (int32_t)by_rank[i].left - 1), right = tok_piece(from_gguf, (int32_t)by_rank[i].right);
        if (i) buf_add_str(&b, ", ", NULL);
        if (i % 2) {
            buf both;
            buf_init(&both, 4096);
            buf_addf(&both, NULL, "%.*s %.*s", (int)left.n, left.p, (int)right.n, right.p);
            json_quote(&b, (str){ both.data, both.len }, NULL);
            buf_done(&both);
        } else {
            buf_add_str(&b, "[", NULL);
            json_quote(&b, left, NULL);
            buf_add_str(&b, ", ", NULL);
            json_quote(&b, right, NULL);
            buf_add_str(&b, "]", NULL);
        }
    }
    mem_free(by_rank);
    buf_add_str(&b, "]}}", NULL);
    if (json_parse(&j, (str){ b.data, b.len }, "tokenizer.json", false, &e) != OK || tok_from_json(&t, j, &e) != OK)
        print_error("%s: %s\n", e.what, e.why);
    gguf_file *g = NULL;
    rewritten = through_gguf(j, tok_count(from_gguf) + PADDED, &g);
    gguf_close(g);
    json_decref(j);
    buf_done(&b);
    return t;
}

static int load(void **state)
{
    (void)state;
    err e = { 0 };
    packed_read(&file, "tests/data/tokenizer/gemma-4-vocab.gguf.xz");
    if (gguf_open_memory(&gguf, file.data, file.len, &e) != OK || tok_from_gguf(&from_gguf, gguf, &e) != OK) {
        print_error("%s: %s\n", e.what, e.why);
        return -1;
    }
    from_json = by_way_of_json();
    small = vocab_small();
    return from_json ? 0 : -1;
}

static int unload(void **state)
{
    (void)state;
    tok_free(from_gguf);
    tok_free(from_json);
    tok_free(rewritten);
    tok_free(small);
    gguf_close(gguf);
    buf_done(&file);
    return 0;
}

int main(int argc, char **argv)
{
    json_use_mem();
    extra = argc > 1 ? argv[1] : NULL;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_cpp_vectors),
        cmocka_unit_test(kitoken_vectors),
        cmocka_unit_test(random_texts),
        cmocka_unit_test(texts_come_back),
        cmocka_unit_test(special_tokens),
        cmocka_unit_test(ranges_limit_special_tokens),
        cmocka_unit_test(merges_can_be_regenerated),
        cmocka_unit_test(long_runs_come_to_an_end),
        cmocka_unit_test(wrong_utf8),
        cmocka_unit_test(small_vocabulary),
        cmocka_unit_test(json_variants),
        cmocka_unit_test(vocabulary_without_bytes),
        cmocka_unit_test(written_as_gguf),
        cmocka_unit_test(written_as_gguf_oddities),
    };
    return cmocka_run_group_tests_name("tok", tests, load, unload);
}
