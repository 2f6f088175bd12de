/* A document as people can read it. */
#include "base/bits.h"
#include "tune/data_int.h"

void data_shown_done(data_shown *s)
{
    buf_done(&s->text);
    mem_free(s->pieces);
    *s = (data_shown){ 0 };
}

status data_show(data_shown *out, const data_set *d, int64_t doc, const tok *t, err *e)
{
    status st = OK;
    const int32_t *ids = data_ids(d, doc), n = d->docs[doc].n;
    const uint8_t *target = data_target(d, doc);
    data_shown s = { 0 };
    tok_decoder decoder = { .special = true };
    int64_t cap = 0, count = 0;
    buf_init(&s.text, SIZE_MAX / 4);
    for (int32_t i = 0; i < n; i++) {
        if (i == 0 || target[i] != target[i - 1]) {
            TRY(data_reserve(&s.pieces, &cap, count, 1, sizeof *s.pieces, e));
            TRY(tok_decode_end(&decoder, &s.text, e));
            if (count) s.pieces[count - 1].end = s.text.len;
            s.pieces[count++] = (data_piece){ .begin = s.text.len, .trained = target[i] };
        }
        TRY(tok_decode(t, &decoder, ids[i], &s.text, e));
    }
    TRY(tok_decode_end(&decoder, &s.text, e));
    s.pieces[count - 1].end = s.text.len;
    s.count = (size_t)count;
    *out = s;
    s = (data_shown){ 0 };
out:
    data_shown_done(&s);
    return st;
}
