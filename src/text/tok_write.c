/* A tokenizer.json as the keys of a GGUF file (section 4.1): read back, they make the same tokenizer. */
#include "base/bits.h"
#include "text/tok_int.h"

enum { TEXT_MAX = 1 << 30 };

/* Texts that grow in one buffer; their addresses hold once all are there. */
typedef struct texts { buf all; size_t *ends; str *list; uint64_t count; } texts;

static status texts_init(texts *t, uint64_t room, err *e)
{
    *t = (texts){ .ends = mem_array((size_t)room, sizeof *t->ends, MEM_TEXT), .list = mem_array((size_t)room, sizeof *t->list, MEM_TEXT) };
    buf_init(&t->all, TEXT_MAX);
    return t->ends && t->list ? OK : err_set(e, E_NOMEM, "could not write the tokenizer\nout of memory");
}

static void texts_done(texts *t)
{
    buf_done(&t->all);
    mem_free(t->ends);
    mem_free(t->list);
}

static void texts_end(texts *t) { t->ends[t->count++] = t->all.len; }

static status texts_put(texts *t, gguf_writer *w, const char *key, err *e)
{
    for (uint64_t i = 0; i < t->count; i++) {
        size_t begin = i ? t->ends[i - 1] : 0;
        t->list[i] = (str){ buf_text(&t->all) + begin, t->ends[i] - begin };
    }
    return gguf_put_strs(w, key, t->list, t->count, e);
}

/* ---- pieces ------------------------------------------------------------------------------------- */

/* Ids that the vocabulary leaves out get a name of their own, as other converters give them one: no reader has to take an empty piece. */
static status add_piece(texts *out, const tok *t, int32_t id, err *e)
{
    str piece = tok_piece(t, id);
    status st = piece.n ? buf_add(&out->all, piece.p, piece.n, e) : buf_addf(&out->all, e, "[PAD%d]", id);
    if (st == OK) texts_end(out);
    return st;
}

static status put_pieces(const tok *t, int32_t count, gguf_writer *w, err *e)
{
    status st = OK;
    texts pieces = { 0 };
    int32_t *types = mem_array((size_t)count, sizeof *types, MEM_TEXT);
    float *scores = mem_array((size_t)count, sizeof *scores, MEM_TEXT);
    if (!types || !scores) FAIL(e, E_NOMEM, "could not write the tokenizer\nout of memory");
    TRY(texts_init(&pieces, (uint64_t)count, e));
    for (int32_t id = 0; id < count; id++) {
        TRY(add_piece(&pieces, t, id, e));
        types[id] = tok_piece(t, id).n ? t->kind[id] : TOK_UNUSED;
        scores[id] = -1000;      /* nobody reads them: merges have an order of their own */
    }
    TRY(texts_put(&pieces, w, "tokenizer.ggml.tokens", e));
    TRY(gguf_put_f32s(w, "tokenizer.ggml.scores", scores, (uint64_t)count, e));
    TRY(gguf_put_i32s(w, "tokenizer.ggml.token_type", types, (uint64_t)count, e));
out:
    texts_done(&pieces);
    mem_free(types);
    mem_free(scores);
    return st;
}

/* ---- merges ------------------------------------------------------------------------------------- */

/* The two halves are told apart by the first space behind the first byte.  A left half with a space there cannot be written, and never
 * meets a text: spaces are U+2581 before anything is merged. */
static status add_merge(texts *out, const json_t *v, err *e)
{
    const json_t *left = json_array_get(v, 0), *right = json_array_get(v, 1);
    status st;
    if (json_is_string(v)) {
        st = buf_add(&out->all, json_string_value(v), json_string_length(v), e);
    } else {
        size_t n = json_string_length(left);
        if (n > 1 && memchr(json_string_value(left) + 1, ' ', n - 1)) return OK;
        st = buf_addf(&out->all, e, "%s %s", json_string_value(left), json_string_value(right));
    }
    if (st == OK) texts_end(out);
    return st;
}

/* Without any the key is there all the same: a reader would make merges of the pieces otherwise. */
static status put_merges(const json_t *merges, gguf_writer *w, err *e)
{
    status st = OK;
    texts all = { 0 };
    const json_t *v;
    size_t i;
    TRY(texts_init(&all, json_array_size(merges), e));
    json_array_foreach(merges, i, v) TRY(add_merge(&all, v, e));
    TRY(texts_put(&all, w, "tokenizer.ggml.merges", e));
out:
    texts_done(&all);
    return st;
}

/* ---- ids ---------------------------------------------------------------------------------------- */

static status put_id(gguf_writer *w, const char *key, int32_t id, err *e) { return id < 0 ? OK : gguf_put_u32(w, key, (uint32_t)id, e); }

static status put_ids(const tok_special *s, const int32_t *eos, int32_t eos_count, gguf_writer *w, err *e)
{
    status st = OK;
    int32_t end = eos_count ? eos[0] : s->eos;
    for (int32_t i = 0; i < eos_count; i++)
        if (eos[i] == s->turn_end && s->turn_end >= 0) end = s->turn_end;      /* what a model made for conversations says last */
    TRY(put_id(w, "tokenizer.ggml.bos_token_id", s->bos, e));
    TRY(put_id(w, "tokenizer.ggml.eos_token_id", end, e));
    TRY(put_id(w, "tokenizer.ggml.unknown_token_id", s->unk, e));
    TRY(put_id(w, "tokenizer.ggml.padding_token_id", s->pad, e));
    TRY(put_id(w, "tokenizer.ggml.mask_token_id", s->mask, e));
    if (eos_count > 1) TRY(gguf_put_i32s(w, "tokenizer.ggml.eos_token_ids", eos, (uint64_t)eos_count, e));
out:
    return st;
}

status tok_write_gguf(gguf_writer *w, const json_t *j, int32_t count, const int32_t *eos, int32_t eos_count, err *e)
{
    status st = OK;
    tok *t = NULL;
    TRY(tok_from_json(&t, j, e));
    if (t->count > count)
        FAIL(e, E_FORMAT, "cannot use this tokenizer.json\nits ids reach %d, the model knows %d tokens", t->count - 1, count);
    TRY(gguf_put_str(w, "tokenizer.ggml.model", STR("gemma4"), e));
    TRY(put_pieces(t, count, w, e));
    TRY(put_merges(json_object_get(json_object_get(j, "model"), "merges"), w, e));
    TRY(put_ids(&t->special, eos, eos_count, w, e));
    TRY(gguf_put_bool(w, "tokenizer.ggml.add_space_prefix", false, e));
    TRY(gguf_put_bool(w, "tokenizer.ggml.add_bos_token", true, e));
out:
    tok_free(t);
    return st;
}
