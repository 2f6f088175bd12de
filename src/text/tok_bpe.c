/* Text to ids (section 4.4).
 *
 * Merges join two neighbours only, so text falls apart wherever the two characters at a border are joined by no
 * merge: each stretch between such borders is worked on alone.  Short ones by looking for the lowest rank again and
 * again, long ones with a heap of (rank, position): O(n log n) whatever the text. */
#include "base/bits.h"
#include "base/utf8.h"
#include "text/tok_int.h"

enum { SHORT_MAX = 24, NONE = -1 };

typedef struct bpe {
    const tok *t;
    tok_ids *out;
    tok_ids syms;              /* the current stretch: one id per character */
    uint32_t last;             /* code point of the last symbol */
    int32_t *prev, *next;      /* [room] neighbours in a long stretch, NONE at its ends */
    uint64_t *heap; size_t heap_n;
    size_t room;
    bool after_unknown;        /* neighbouring unknown characters become one <unk> */
} bpe;

static void bpe_done(bpe *b)
{
    tok_ids_done(&b->syms);
    mem_free(b->prev);
    mem_free(b->next);
    mem_free(b->heap);
}

/* ---- merging one stretch ------------------------------------------------------------------------ */

static size_t merge_short(const tok *t, int32_t *id, size_t n)
{
    uint32_t rank[SHORT_MAX];
    for (size_t i = 0; i + 1 < n; i++) rank[i] = tok_merge_rank(t, id[i], id[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best]) best = i;
        if (rank[best] == UINT32_MAX) break;
        id[best] = (int32_t)t->result[rank[best]];
        n--;
        memmove(id + best + 1, id + best + 2, (n - best - 1) * sizeof *id);
        memmove(rank + best, rank + best + 1, (n - best - 1) * sizeof *rank);
        if (best > 0) rank[best - 1] = tok_merge_rank(t, id[best - 1], id[best]);
        if (best + 1 < n) rank[best] = tok_merge_rank(t, id[best], id[best + 1]);
    }
    return n;
}

static void heap_push(bpe *b, uint64_t key)
{
    size_t i = b->heap_n++;
    for (; i > 0 && b->heap[(i - 1) / 2] > key; i = (i - 1) / 2) b->heap[i] = b->heap[(i - 1) / 2];
    b->heap[i] = key;
}

static uint64_t heap_pop(bpe *b)
{
    uint64_t top = b->heap[0], key = b->heap[--b->heap_n];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < b->heap_n; i = child) {
        if (child + 1 < b->heap_n && b->heap[child + 1] < b->heap[child]) child++;
        if (b->heap[child] >= key) break;
        b->heap[i] = b->heap[child];
    }
    b->heap[i] = key;
    return top;
}

/* The pair that begins at symbol i joins the heap when it can be merged. */
static void offer(bpe *b, int32_t i)
{
    if (i == NONE || b->next[i] == NONE) return;
    uint32_t rank = tok_merge_rank(b->t, b->syms.data[i], b->syms.data[b->next[i]]);
    if (rank != UINT32_MAX) heap_push(b, (uint64_t)rank << 32 | (uint32_t)i);
}

/* Every merge takes one entry and adds at most two, n - 1 merges at most: 3 n entries are room enough. */
static status reserve(bpe *b, size_t n, err *e)
{
    if (n <= b->room) return OK;
    if (n > INT32_MAX / 4) return err_set(e, E_ARG, "could not tokenize the text\na stretch of it has %zu characters", n);
    mem_free(b->prev);
    mem_free(b->next);
    mem_free(b->heap);
    b->room = 0;
    b->prev = mem_array(n, sizeof *b->prev, MEM_TEXT);
    b->next = mem_array(n, sizeof *b->next, MEM_TEXT);
    b->heap = mem_array(3 * n, sizeof *b->heap, MEM_TEXT);
    if (!b->prev || !b->next || !b->heap) return err_set(e, E_NOMEM, "could not tokenize the text\nout of memory");
    b->room = n;
    return OK;
}

static status merge_long(bpe *b, err *e)
{
    status st = OK;
    int32_t n = (int32_t)b->syms.len, *id = b->syms.data;
    TRY(reserve(b, b->syms.len, e));
    b->heap_n = 0;
    for (int32_t i = 0; i < n; i++) {
        b->prev[i] = i - 1;
        b->next[i] = i + 1 < n ? i + 1 : NONE;
    }
    for (int32_t i = 0; i < n; i++) offer(b, i);
    while (b->heap_n) {
        uint64_t key = heap_pop(b);
        int32_t i = (int32_t)(uint32_t)key, gone = id[i] == NONE ? NONE : b->next[i];
        /* An entry whose pair has changed since is stale: a rank belongs to one pair of ids. */
        if (gone == NONE || tok_merge_rank(b->t, id[i], id[gone]) != key >> 32) continue;
        id[i] = (int32_t)b->t->result[key >> 32];
        id[gone] = NONE;
        b->next[i] = b->next[gone];
        if (b->next[i] != NONE) b->prev[b->next[i]] = i;
        offer(b, b->prev[i]);
        offer(b, i);
    }
    size_t kept = 0;
    for (int32_t i = 0; i < n; i++)
        if (id[i] != NONE) id[kept++] = id[i];
    b->syms.len = kept;
out:
    return st;
}

/* The stretch is complete: merge it and hand its ids over. */
static status flush(bpe *b, err *e)
{
    status st = OK;
    if (b->syms.len > SHORT_MAX) TRY(merge_long(b, e));
    else if (b->syms.len > 1) b->syms.len = merge_short(b->t, b->syms.data, b->syms.len);
    for (size_t i = 0; i < b->syms.len; i++) TRY(tok_ids_add(b->out, b->syms.data[i], e));
    if (b->syms.len) b->after_unknown = false;
out:
    b->syms.len = 0;
    return st;
}

/* ---- text to characters --------------------------------------------------------------------------- */

/* A character outside the vocabulary: its bytes, or <unk> when the vocabulary lacks one of them. */
static status add_unknown(bpe *b, str c, err *e)
{
    status st = OK;
    const tok *t = b->t;
    bool all = true;
    TRY(flush(b, e));
    for (size_t i = 0; i < c.n; i++) all = all && t->byte[(unsigned char)c.p[i]] >= 0;
    if (!all && t->special.unk < 0)
        FAIL(e, E_FORMAT, "could not tokenize the text\nthe vocabulary has neither a token for byte 0x%02X nor \"<unk>\"", (unsigned char)c.p[0]);
    for (size_t i = 0; all && i < c.n; i++) TRY(tok_ids_add(b->out, t->byte[(unsigned char)c.p[i]], e));
    if (!all && !b->after_unknown) TRY(tok_ids_add(b->out, t->special.unk, e));
    b->after_unknown = !all;
out:
    return st;
}

/* Newlines are never merged with anything else; a run that is a token is that token. */
static status add_newlines(bpe *b, str run, err *e)
{
    status st = OK;
    TRY(flush(b, e));
    int32_t whole = run.n <= TOK_PIECE_MAX ? tok_find(b->t, run) : NONE, one = b->t->ascii['\n'];
    for (size_t i = 0; i < (whole >= 0 ? 1 : run.n); i++) {
        if (whole >= 0 || one >= 0) TRY(tok_ids_add(&b->syms, whole >= 0 ? whole : one, e));
        else TRY(add_unknown(b, STR("\n"), e));
    }
    TRY(flush(b, e));
out:
    return st;
}

static int32_t char_id(const tok *t, str c)
{
    int32_t id = (unsigned char)c.p[0] < 128 ? t->ascii[(int)c.p[0]] : tok_find(t, c);
    return tok_is_special(t, id) ? NONE : id;
}

static bool joined(const tok *t, uint32_t a, uint32_t b)
{
    uint64_t bit, *word = tok_pair_word(t, a, b, &bit);
    return (*word & bit) != 0;
}

static status encode_plain(bpe *b, str s, err *e)
{
    status st = OK;
    while (s.n) {
        if (s.p[0] == '\n') {
            size_t run = 1;
            while (run < s.n && s.p[run] == '\n') run++;
            TRY(add_newlines(b, (str){ s.p, run }, e));
            s = str_skip(s, run);
            continue;
        }
        uint32_t cp = 0xFFFFFFFF;
        int n = utf8_decode(s.p, s.n, &cp);
        str c = { s.p, n ? (size_t)n : 1 };
        if (cp == ' ') cp = 0x2581, c = STR("\xE2\x96\x81");
        int32_t id = n ? char_id(b->t, c) : NONE;
        if (id < 0) {
            TRY(add_unknown(b, c, e));
        } else {
            if (b->syms.len && !joined(b->t, b->last, cp)) TRY(flush(b, e));
            TRY(tok_ids_add(&b->syms, id, e));
            b->last = cp;
        }
        s = str_skip(s, n ? (size_t)n : 1);
    }
    TRY(flush(b, e));
    b->after_unknown = false;
out:
    return st;
}

/* ---- special tokens ------------------------------------------------------------------------------- */

/* The longest special token at the start of s, or -1. */
static int32_t special_at(const tok *t, str s)
{
    if (!t->special_first[(unsigned char)s.p[0]]) return NONE;
    for (int i = 0; i < t->special_lengths; i++) {
        if (t->special_n[i] > s.n) continue;
        int32_t id = tok_find(t, (str){ s.p, t->special_n[i] });
        if (id >= 0 && tok_is_special(t, id)) return id;
    }
    return NONE;
}

status tok_encode_ranges(const tok *t, str text, const tok_range *special, size_t n, tok_ids *out, err *e)
{
    status st = OK;
    bpe b = { .t = t, .out = out };
    size_t plain = 0;              /* start of the text that is not encoded yet */
    for (size_t r = 0; r < n; r++) {
        for (size_t i = special[r].begin; i < special[r].end;) {
            int32_t id = special_at(t, (str){ text.p + i, special[r].end - i });
            if (id < 0) {
                i++;
                continue;
            }
            TRY(encode_plain(&b, (str){ text.p + plain, i - plain }, e));
            TRY(tok_ids_add(out, id, e));
            i += t->piece_n[id];
            plain = i;
        }
    }
    TRY(encode_plain(&b, str_skip(text, plain), e));
out:
    bpe_done(&b);
    return st;
}

status tok_encode(const tok *t, str text, bool special, tok_ids *out, err *e)
{
    tok_range whole = { 0, text.n };
    return tok_encode_ranges(t, text, &whole, special ? 1 : 0, out, e);
}
