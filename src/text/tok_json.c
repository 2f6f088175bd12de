/* A tokenizer from Hugging Face's tokenizer.json (section 4.6). */
#include "base/bits.h"
#include "base/log.h"
#include "text/tok_int.h"

#define WHERE "cannot use this tokenizer.json\n"

static str text_of(const json_t *v)
{
    return json_is_string(v) ? (str){ json_string_value(v), json_string_length(v) } : (str){ NULL, 0 };
}

static bool has_type(const json_t *o, const char *type) { return str_is(text_of(json_object_get(o, "type")), type); }

/* Gemma's normalizer turns spaces into U+2581 and nothing else; with another one every id would be wrong. */
static status check_kind(const json_t *j, const json_t *model, err *e)
{
    if (!json_is_object(model)) return err_set(e, E_FORMAT, WHERE "\"model\" is missing or no object");
    const json_t *type = json_object_get(model, "type"), *norm = json_object_get(j, "normalizer");
    if (type && !has_type(model, "BPE")) return err_set(e, E_UNSUPPORTED, WHERE "its \"model\" is not of type \"BPE\"");
    if (has_type(json_object_get(j, "pre_tokenizer"), "ByteLevel"))
        return err_set(e, E_UNSUPPORTED, WHERE "its pre-tokenizer is \"ByteLevel\", Gemma's is not");
    if (!json_is_object(norm) || (has_type(norm, "Replace") && str_is(text_of(json_object_get(norm, "content")), "\xE2\x96\x81"))) return OK;
    return err_set(e, E_UNSUPPORTED, WHERE "its normalizer is not Gemma's (\"Replace\" of spaces by U+2581)");
}

static status read_id(const json_t *v, const char *what, int64_t *out, err *e)
{
    int64_t id = json_integer_value(v);
    if (!json_is_integer(v) || id < 0 || id >= TOK_COUNT_MAX)
        return err_set(e, E_FORMAT, WHERE "the id of \"%.60s\" is no number from 0 to %d", what, (int)TOK_COUNT_MAX - 1);
    *out = id;
    return OK;
}

static const json_t *added_tokens(const json_t *j) { return json_object_get(j, "added_tokens"); }

/* Number of ids: one more than the largest. */
static status count_ids(const json_t *j, const json_t *vocab, uint64_t *out, err *e)
{
    status st = OK;
    int64_t id = 0, top = -1;
    const char *key;
    const json_t *v;
    size_t i;
    for (void *it = json_object_iter((json_t *)vocab); it; it = json_object_iter_next((json_t *)vocab, it)) {
        key = json_object_iter_key(it);
        TRY(read_id(json_object_iter_value(it), key, &id, e));
        top = MAX(top, id);
    }
    json_array_foreach(added_tokens(j), i, v) {
        str content = text_of(json_object_get(v, "content"));
        if (!content.n) FAIL(e, E_FORMAT, WHERE "\"added_tokens\" number %zu has no \"content\"", i);
        TRY(read_id(json_object_get(v, "id"), content.p, &id, e));
        top = MAX(top, id);
    }
    uint64_t entries = json_object_size(vocab) + json_array_size(added_tokens(j));
    if ((uint64_t)(top + 1) > 2 * entries + 1024)
        FAIL(e, E_FORMAT, WHERE "its ids reach %lld, but it has %llu tokens", (long long)top, (unsigned long long)entries);
    *out = (uint64_t)(top + 1);
out:
    return st;
}

static status add_vocab(tok *t, const json_t *vocab, err *e)
{
    status st = OK;
    for (int32_t id = 0; id < t->count; id++) t->kind[id] = TOK_UNUSED;
    for (void *it = json_object_iter((json_t *)vocab); it; it = json_object_iter_next((json_t *)vocab, it)) {
        const char *key = json_object_iter_key(it);
        int32_t id = (int32_t)json_integer_value(json_object_iter_value(it));
        if (t->piece_n[id]) FAIL(e, E_FORMAT, WHERE "id %d belongs to two tokens, one is \"%.60s\"", id, key);
        TRY(tok_set(t, id, str_from(key), TOK_NORMAL, e));
    }
out:
    return st;
}

/* Added tokens may repeat entries of the vocabulary or bring ids of their own. */
static status add_added(tok *t, const json_t *list, err *e)
{
    status st = OK;
    const json_t *v;
    size_t i;
    json_array_foreach(list, i, v) {
        str content = text_of(json_object_get(v, "content"));
        int32_t id = (int32_t)json_integer_value(json_object_get(v, "id"));
        tok_kind kind = json_is_true(json_object_get(v, "special")) ? TOK_CONTROL : TOK_USER_DEFINED;
        if (t->piece_n[id] && !str_eq(tok_piece(t, id), content))
            FAIL(e, E_FORMAT, WHERE "id %d is \"%.60s\" in \"added_tokens\" and another token in \"vocab\"", id, content.p);
        if (json_is_true(json_object_get(v, "lstrip")) || json_is_true(json_object_get(v, "rstrip")) ||
            json_is_true(json_object_get(v, "single_word")))
            log_print(LOG_WARN, "tokenizer.json: token \"%.60s\" asks for lstrip, rstrip or single_word, which Facet does not do", content.p);
        if (t->piece_n[id]) t->kind[id] = (uint8_t)kind;
        else TRY(tok_set(t, id, content, kind, e));
    }
out:
    return st;
}

/* ["left", "right"] or "left right". */
static status add_merges(tok *t, const json_t *merges, err *e)
{
    status st = OK;
    const json_t *v;
    size_t i;
    if (merges && !json_is_array(merges)) FAIL(e, E_FORMAT, WHERE "\"merges\" is no array");
    TRY(tok_merges_begin(t, json_array_size(merges), e));
    json_array_foreach(merges, i, v) {
        str left = text_of(json_array_get(v, 0)), right = text_of(json_array_get(v, 1)), both = text_of(v);
        const char *space = both.n > 1 ? memchr(both.p + 1, ' ', both.n - 1) : NULL;
        if (space) {
            left = (str){ both.p, (size_t)(space - both.p) };
            right = str_skip(both, left.n + 1);
        }
        if (!left.p || !right.p || (!space && json_array_size(v) != 2))
            FAIL(e, E_FORMAT, WHERE "merge number %zu is neither a pair of strings nor \"left right\"", i);
        tok_merge_add(t, left, right);
    }
out:
    return st;
}

status tok_from_json(tok **out, const json_t *j, err *e)
{
    status st = OK;
    tok *t = NULL;
    uint64_t count = 0;
    const json_t *model = json_object_get(j, "model"), *vocab = json_object_get(model, "vocab");
    if (!json_is_object(j)) FAIL(e, E_FORMAT, WHERE "it is no object");
    TRY(check_kind(j, model, e));
    if (!json_is_object(vocab)) FAIL(e, E_FORMAT, WHERE "\"model\" has no \"vocab\" object");
    TRY(count_ids(j, vocab, &count, e));
    TRY(tok_begin(&t, count, e));
    TRY(add_vocab(t, vocab, e));
    TRY(add_added(t, added_tokens(j), e));
    TRY(tok_seal(t, e));
    TRY(add_merges(t, json_object_get(model, "merges"), e));
    *out = t;
    t = NULL;
out:
    tok_free(t);
    return st;
}
