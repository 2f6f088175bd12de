/* POST /tokenize and /detokenize, as llama.cpp's server has them. */
#include "base/mem.h"
#include "serve/server.h"

/* An id, or { "id", "piece" }; NULL when out of memory. */
static json_t *one_token(const server *s, int32_t id, bool with_piece)
{
    char *piece = NULL;
    size_t n = 0;
    if (!with_piece) return json_integer(id);
    if (facet_detokenize(s->model, &id, 1, true, &piece, &n, NULL) != FACET_OK) return NULL;
    json_t *o = json_pack("{s:i, s:s%}", "id", (int)id, "piece", piece, n);
    facet_free(piece);
    return o;
}

static bool tokenize(server *s, const json_t *body, json_t **out, refusal *r)
{
    const char *text = NULL;
    bool special = false, bos = false, pieces = false;
    int32_t *ids = NULL;
    size_t n = 0;
    err e = { 0 };
    if (!field_text(body, "content", &text, r) || (!text && !field_text(body, "prompt", &text, r)) || !field_bool(body, "add_special", &bos, r) ||
        !field_bool(body, "parse_special", &special, r) || !field_bool(body, "with_pieces", &pieces, r)) return false;
    if (!text) return field_refuse(r, 400, NULL, "content", "\"content\" is missing: the text to take apart");
    if (facet_tokenize(s->model, text, strlen(text), special, &ids, &n, &e) != FACET_OK) return field_refuse_err(r, &e);
    json_t *list = json_array();
    bool ok = list && (!bos || s->info.bos < 0 || json_array_append_new(list, json_integer(s->info.bos)) == 0);
    for (size_t i = 0; ok && i < n; i++) ok = json_array_append_new(list, one_token(s, ids[i], pieces)) == 0;
    facet_free(ids);
    *out = ok ? json_pack("{s:O}", "tokens", list) : NULL;       /* NULL: answered as out of memory */
    json_decref(list);
    return true;
}

static bool detokenize(server *s, const json_t *body, json_t **out, refusal *r)
{
    const json_t *list = NULL;
    size_t i, n = 0;
    json_t *id;
    err e = { 0 };
    char *text = NULL;
    if (!field_list(body, "tokens", FIELD_NODES_MAX, &list, r)) return false;
    if (!list) return field_refuse(r, 400, NULL, "tokens", "\"tokens\" is missing: a list of token ids");
    int32_t *ids = mem_array(json_array_size(list), sizeof *ids, MEM_IO);
    if (!ids) return field_refuse(r, 503, NULL, NULL, "out of memory");
    json_array_foreach(list, i, id) {
        json_int_t v = json_integer_value(id);
        if (json_is_integer(id) && v >= 0 && v < s->info.vocab) { ids[i] = (int32_t)v; continue; }
        mem_free(ids);
        return field_refuse(r, 400, NULL, "tokens", "entry %zu of \"tokens\" is no token: ids are from 0 to %d", i, s->info.vocab - 1);
    }
    status st = facet_detokenize(s->model, ids, json_array_size(list), true, &text, &n, &e);
    mem_free(ids);
    if (st != OK) return field_refuse_err(r, &e);
    *out = json_pack("{s:s%}", "content", text, n);
    facet_free(text);
    return true;
}

static void answer(server *s, http_call *c, bool (*fn)(server *, const json_t *, json_t **, refusal *))
{
    refusal r = { 0 };
    json_t *body = NULL, *out = NULL;
    if (field_parse(&body, http_body(c), &r) && fn(s, body, &out, &r)) server_reply_json(c, 200, out);
    else server_refuse_openai(c, &r);
    json_decref(body);
}

void tokens_tokenize(server *s, http_call *c) { answer(s, c, tokenize); }
void tokens_detokenize(server *s, http_call *c) { answer(s, c, detokenize); }
