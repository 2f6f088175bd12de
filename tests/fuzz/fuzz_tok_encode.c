/* Text to ids and back: every byte comes through, and the ids are those of the plainest way to merge, which looks
 * at the whole text again for every merge. */
#include <stdlib.h>

#include "base/utf8.h"
#include "support/vocab.h"
#include "text/tok_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void need(bool ok)
{
    if (!ok) abort();
}

/* Merges ids[0..n) in place. */
static size_t merge_plainly(const tok *t, int32_t *ids, size_t n)
{
    for (;;) {
        size_t best = n;
        uint32_t rank = UINT32_MAX;
        for (size_t i = 0; i + 1 < n; i++) {
            uint32_t r = ids[i] < 0 || ids[i + 1] < 0 ? UINT32_MAX : tok_merge_rank(t, ids[i], ids[i + 1]);
            if (r < rank) best = i, rank = r;
        }
        if (best == n) return n;
        ids[best] = (int32_t)t->result[rank];
        memmove(ids + best + 1, ids + best + 2, (n - best - 2) * sizeof *ids);
        n--;
    }
}

/* Without special tokens.  Bytes of unknown characters are -1 - id while merging. */
static size_t encode_plainly(const tok *t, const char *p, size_t n, int32_t *ids)
{
    size_t count = 0;
    uint32_t cp;
    for (size_t i = 0; i < n;) {
        int len = utf8_decode(p + i, n - i, &cp);
        str c = { p + i, len ? (size_t)len : 1 };
        bool space = c.p[0] == ' ';
        int32_t id = !len ? -1 : tok_find(t, space ? STR("\xE2\x96\x81") : c);
        if (id >= 0) ids[count++] = id;
        for (size_t k = 0; id < 0 && k < c.n; k++) ids[count++] = -1 - t->byte[(unsigned char)c.p[k]];
        i += c.n;
    }
    count = merge_plainly(t, ids, count);
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0) ids[i] = -1 - ids[i];
    return count;
}

static void round_trip(const tok *t, str text, const tok_ids *ids)
{
    tok_decoder d = { .special = true };
    buf out;
    buf_init(&out, 1u << 26);
    for (size_t i = 0; i < ids->len; i++) {
        size_t before = out.len;
        need(tok_decode(t, &d, ids->data[i], &out, NULL) == OK);
        need(utf8_valid(buf_text(&out) + before, out.len - before));
    }
    need(tok_decode_end(&d, &out, NULL) == OK);
    if (utf8_valid(text.p, text.n) && str_find(text, STR("\xE2\x96\x81")) == text.n) need(str_eq(text, (str){ buf_text(&out), out.len }));
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static tok *t;
    static int32_t plain[2000];
    str text = { (const char *)data, n };
    tok_ids ids = { 0 }, special = { 0 };
    if (!t) t = vocab_small();
    need(tok_encode(t, text, false, &ids, NULL) == OK);
    for (size_t i = 0; i < ids.len; i++) need(!tok_is_special(t, ids.data[i]));
    round_trip(t, text, &ids);
    if (n <= 500) {
        size_t count = encode_plainly(t, text.p, n, plain);
        need(count == ids.len && (count == 0 || memcmp(plain, ids.data, count * sizeof *plain) == 0));
    }
    need(tok_encode(t, text, true, &special, NULL) == OK);
    round_trip(t, text, &special);
    need(special.len <= ids.len);
    tok_ids_done(&ids);
    tok_ids_done(&special);
    return 0;
}
