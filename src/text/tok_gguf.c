/* A tokenizer from the keys of a GGUF file (section 4.1), Ollama's included (section 2.8). */
#include "base/bits.h"
#include "text/tok_int.h"

/* The kinds of tokenizer that hold Gemma 4's vocabulary. */
static status check_model(const gguf_file *g, err *e)
{
    status st = OK;
    str model, pre, arch;
    TRY(gguf_str_or(g, "tokenizer.ggml.model", STR(""), &model, e));
    TRY(gguf_str_or(g, "tokenizer.ggml.pre", STR(""), &pre, e));
    TRY(gguf_str_or(g, "general.architecture", STR(""), &arch, e));
    if (str_is(model, "gemma4")) return OK;
    if (str_is(model, "llama") && (str_is(pre, "gemma4") || str_starts(arch, "gemma4"))) return OK;
    if (!model.n)
        FAIL(e, E_FORMAT, "the file has no tokenizer\nthe key \"tokenizer.ggml.model\" is missing\n"
             "Use the main model file; files for images and audio (mmproj) have none.");
    FAIL(e, E_UNSUPPORTED, "cannot use this file's tokenizer\nits kind is \"%.*s\", only Gemma 4's is known", (int)model.n, model.p);
out:
    return st;
}

typedef struct filling { tok *t; const gguf_value *types; } filling;

static status add_token(void *user, uint64_t i, str s, err *e)
{
    filling *f = user;
    int64_t kind = TOK_NORMAL;
    if (f->types) {
        status st = gguf_item_i64(f->types, i, &kind, e);
        if (st != OK) return st;
    }
    if (kind < TOK_NORMAL || kind > TOK_BYTE)
        return err_set(e, E_FORMAT, "cannot use this vocabulary\ntoken %llu has type %lld, known are 1 to 6", (unsigned long long)i, (long long)kind);
    return tok_set(f->t, (int32_t)i, s, (tok_kind)kind, e);
}

/* "left right": cut at the first space after the first byte.  One without is skipped, as llama.cpp does. */
static status add_merge(void *user, uint64_t i, str s, err *e)
{
    (void)i;
    (void)e;
    if (s.n < 3) return OK;
    const char *space = memchr(s.p + 1, ' ', s.n - 1);
    if (!space) return OK;
    size_t n = (size_t)(space - s.p);
    tok_merge_add(user, (str){ s.p, n }, str_skip(s, n + 1));
    return OK;
}

/* The key's array with items of one kind, NULL when it is absent. */
static status array_or_null(const gguf_file *g, const char *key, bool strings, const gguf_value **out, err *e)
{
    const gguf_value *v = gguf_find(g, key);
    bool numbers = v && v->item != GGUF_STRING && v->item != GGUF_ARRAY;
    if (v && (v->type != GGUF_ARRAY || (strings ? v->item != GGUF_STRING : !numbers)))
        return err_set(e, E_FORMAT, "cannot use this vocabulary\nthe key \"%s\" is no array of %s", key, strings ? "strings" : "numbers");
    *out = v;
    return OK;
}

static status regenerate(tok *t, const gguf_file *g, err *e)
{
    status st = OK;
    float *scores = NULL;
    const gguf_value *v = NULL;
    TRY(array_or_null(g, "tokenizer.ggml.scores", false, &v, e));
    if (v && v->item == GGUF_F32 && v->count == (uint64_t)t->count) {
        scores = mem_array((size_t)t->count, sizeof *scores, MEM_TEXT);
        if (!scores) FAIL(e, E_NOMEM, "could not make the tokenizer\nout of memory");
        memcpy(scores, v->data, (size_t)t->count * sizeof *scores);
    }
    TRY(tok_merges_regenerate(t, scores, e));
out:
    mem_free(scores);
    return st;
}

status tok_from_gguf(tok **out, const gguf_file *g, err *e)
{
    status st = OK;
    tok *t = NULL;
    const gguf_value *tokens = NULL, *types = NULL, *merges = NULL;
    TRY(check_model(g, e));
    TRY(array_or_null(g, "tokenizer.ggml.tokens", true, &tokens, e));
    TRY(array_or_null(g, "tokenizer.ggml.token_type", false, &types, e));
    TRY(array_or_null(g, "tokenizer.ggml.merges", true, &merges, e));
    if (!tokens) FAIL(e, E_FORMAT, "the file has no vocabulary\nthe key \"tokenizer.ggml.tokens\" is missing");
    if (types && types->count != tokens->count)
        FAIL(e, E_FORMAT, "cannot use this vocabulary\nit has %llu tokens but %llu token types", (unsigned long long)tokens->count,
             (unsigned long long)types->count);
    TRY(tok_begin(&t, tokens->count, e));
    TRY(gguf_each_str(tokens, add_token, &(filling){ t, types }, e));
    TRY(tok_seal(t, e));
    if (merges) {
        TRY(tok_merges_begin(t, merges->count, e));
        TRY(gguf_each_str(merges, add_merge, t, e));
    } else {
        TRY(regenerate(t, g, e));
    }
    *out = t;
    t = NULL;
out:
    tok_free(t);
    return st;
}
