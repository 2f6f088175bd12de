/* Any JSON as a tokenizer.json: refused with a reason, or usable with every id in range. */
#include <stdlib.h>

#include "text/tok_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void need(bool ok)
{
    if (!ok) abort();
}

static void use(const tok *t, str text, bool special)
{
    tok_ids ids = { 0 };
    tok_decoder d = { 0 };
    err e = { 0 };
    buf out;
    buf_init(&out, 1u << 26);
    if (tok_encode(t, text, special, &ids, &e) != OK) need(e.what[0] != 0);
    for (size_t i = 0; i < ids.len; i++) {
        need(ids.data[i] >= 0 && ids.data[i] < tok_count(t));
        need(tok_decode(t, &d, ids.data[i], &out, NULL) == OK);
    }
    tok_ids_done(&ids);
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    str text = { (const char *)data, n };
    json_t *j = NULL;
    tok *t = NULL;
    err e = { 0 };
    if (json_parse(&j, text, "fuzz", false, NULL) == OK) {
        if (tok_from_json(&t, j, &e) == OK) {
            use(t, text, true);
            use(t, STR("aaaa bbab  \n\n\n<bos>\xE2\x82\xAC"), false);
            for (int32_t id = -1; id <= tok_count(t) && id < 1000; id++) need(tok_bytes(t, id).n <= TOK_PIECE_MAX && (tok_is_special(t, id) || !tok_is_control(t, id)));
            tok_free(t);
            t = NULL;
            /* the same vocabulary with merges made from its pieces */
            json_object_del(json_object_get(j, "model"), "merges");
            if (tok_from_json(&t, j, &e) == OK && tok_merges_regenerate(t, NULL, &e) == OK) use(t, text, false);
        } else {
            need(e.what[0] != 0);
        }
    }
    tok_free(t);
    json_decref(j);
    return 0;
}
