#include "text/trie.h"

#include <stdlib.h>

#include "base/bits.h"
#include "base/mem.h"
#include "base/utf8.h"

typedef trie_tree_piece piece;

bool trie_is_bare(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-' || c == '.' || c == '$' || c == '/';
}

void trie_free(trie *x)
{
    if (!x) return;
    trie_tree_done(&x->all);
    trie_tree_done(&x->closing);
    trie_tree_done(&x->quoting);
    trie_tree_done(&x->odd);
    trie_tree_done(&x->escaped);
    trie_tree_done(&x->colon);
    mem_free(x->closing_before);
    mem_free(x->colon_before);
    for (int i = 0; i < TRIE_CLASS_COUNT; i++) {
        trie_tree_done(&x->rest[i]);
        mem_free(x->plain[i]);
    }
    mem_free(x->text);
    mem_free(x->short_json);
    mem_free(x->short_call);
    shapes_done(&x->shapes);
    pattern_store_free(x->patterns);
    mem_free(x);
}

/* Bits of the classes in which the piece is plain. */
static uint8_t classify(piece *p)
{
    bool json = true, bare = p->s.n > 0;
    p->length = 0;
    if (!utf8_valid(p->s.p, p->s.n) || memchr(p->s.p, 0, p->s.n)) return 0;
    for (size_t i = 0; i < p->s.n; i++) {
        unsigned char c = (unsigned char)p->s.p[i];
        p->length += (c & 0xC0) != 0x80;
        json = json && c >= ' ' && c != '"' && c != '\\';
        bare = bare && trie_is_bare(c);
    }
    return (uint8_t)((json << TRIE_JSON) | (1 << TRIE_CALL) | (bare << TRIE_BARE));
}

/* Tokens that are text and that a model needs: not the byte token of a character that has a piece. */
static size_t collect(const tok *t, piece *out)
{
    size_t n = 0;
    int32_t single[256];
    for (int b = 0; b < 256; b++) single[b] = -1;
    for (int pass = 0; pass < 2; pass++)
        for (int32_t id = 0; id < tok_count(t); id++) {
            str s = tok_bytes(t, id), name = tok_piece(t, id);
            if (tok_is_special(t, id) || tok_is_control(t, id) || s.n == 0 || s.n > TRIE_DEPTH_MAX || (unsigned char)s.p[0] >= 0xF8) continue;
            bool byte = s.n == 1 && name.n == 6 && str_starts(name, "<0x");
            if (pass == 0 && s.n == 1 && !byte) single[(unsigned char)s.p[0]] = id;
            if (pass == 1 && !(byte && single[(unsigned char)s.p[0]] >= 0)) out[n++] = (piece){ .s = s, .id = id };
        }
    return n;
}

/* Where the quote stands that ends a JSON string behind plain characters only; the length when none does. */
static size_t closing_quote(const piece *p)
{
    size_t at = 0;
    while (at < p->s.n && (unsigned char)p->s.p[at] >= ' ' && p->s.p[at] != '"' && p->s.p[at] != '\\') at++;
    return at < p->s.n && p->s.p[at] == '"' && at <= TRIE_LENGTH_MAX && utf8_valid(p->s.p, at) ? at : p->s.n;
}

/* Where the colon stands behind a bare key. */
static size_t closing_colon(const piece *p)
{
    size_t at = 0;
    while (at < p->s.n && trie_is_bare((unsigned char)p->s.p[at])) at++;
    return at < p->s.n && p->s.p[at] == ':' ? at : p->s.n;
}

/* Behind a backslash, the piece ends the string. */
static bool ends_escaped(const piece *p)
{
    size_t at = 1;
    while (at < p->s.n && p->s.p[at] != '"') at += p->s.p[at] == '\\' ? 2 : 1;
    return at < p->s.n;
}

/* A tree of what pieces are from `end` on, where they have that, and how many characters stand before it.  room: of n. */
static status build_ends(trie_tree *t, uint8_t **before, const piece *p, size_t n, size_t (*end)(const piece *), piece *room, err *e)
{
    status st = OK;
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        size_t at = end(&p[i]);
        if (at == p[i].s.n) continue;
        room[count] = p[i];
        room[count].length = 0;
        for (size_t k = 0; k < at; k++) room[count].length += ((unsigned char)p[i].s.p[k] & 0xC0) != 0x80;
        room[count++].s = str_skip(p[i].s, at);
    }
    qsort(room, count, sizeof *room, trie_tree_order);
    *before = mem_alloc(count + 1, MEM_TEXT);
    if (!*before) FAIL(e, E_NOMEM, "could not prepare the vocabulary for constrained answers\nout of memory");
    for (size_t i = 0; i < count; i++) (*before)[i] = (uint8_t)room[i].length;      /* ids of a tree stand in this order */
    TRY(trie_tree_build(t, room, count, -1, e));
out:
    return st;
}

/* Trees for the ends of strings and keys. */
static status build_inside(trie *x, const piece *p, size_t n, err *e)
{
    enum { QUOTING, ODD, ESCAPED };
    status st = OK;
    piece *room = mem_array(n + 1, sizeof *room, MEM_TEXT);
    if (!room) FAIL(e, E_NOMEM, "could not prepare the vocabulary for constrained answers\nout of memory");
    TRY(build_ends(&x->closing, &x->closing_before, p, n, closing_quote, room, e));
    TRY(build_ends(&x->colon, &x->colon_before, p, n, closing_colon, room, e));
    for (size_t i = 0; i < n; i++) {
        bool other = !(p[i].plain >> TRIE_JSON & 1) && closing_quote(&p[i]) == p[i].s.n, quote = memchr(p[i].s.p, '"', p[i].s.n) != NULL;
        room[i] = p[i];
        /* a tree leaves out the pieces that have its bit */
        room[i].plain = (uint8_t)~((other && quote) << QUOTING | (other && !quote) << ODD | ends_escaped(&p[i]) << ESCAPED);
    }
    TRY(trie_tree_build(&x->quoting, room, n, QUOTING, e));
    TRY(trie_tree_build(&x->odd, room, n, ODD, e));
    TRY(trie_tree_build(&x->escaped, room, n, ESCAPED, e));
out:
    mem_free(room);
    return st;
}

static void set(uint64_t *mask, int32_t id) { mask[id / 64] |= (uint64_t)1 << (id % 64); }

static status masks(trie *x, const piece *p, size_t n, err *e)
{
    size_t w = x->words;
    for (int i = 0; i < TRIE_CLASS_COUNT; i++) x->plain[i] = mem_array(w, sizeof **x->plain, MEM_TEXT);
    x->text = mem_array(w, sizeof *x->text, MEM_TEXT);
    x->short_json = mem_array(w * (TRIE_LENGTH_MAX + 1), sizeof *x->short_json, MEM_TEXT);
    x->patterns = pattern_store_new(w);
    x->short_call = mem_array(w * (TRIE_LENGTH_MAX + 1), sizeof *x->short_call, MEM_TEXT);
    if (!x->plain[TRIE_JSON] || !x->plain[TRIE_CALL] || !x->plain[TRIE_BARE] || !x->text || !x->short_json || !x->short_call || !x->patterns)
        return err_set(e, E_NOMEM, "could not prepare the vocabulary for constrained answers\nout of memory");
    for (size_t i = 0; i < n; i++) {
        set(x->text, p[i].id);
        for (int k = 0; k < TRIE_CLASS_COUNT; k++)
            if (p[i].plain >> k & 1) set(x->plain[k], p[i].id);
        int32_t length = MIN(p[i].length, TRIE_LENGTH_MAX);
        if (p[i].plain >> TRIE_JSON & 1) set(x->short_json + w * (size_t)length, p[i].id);
        if (p[i].plain >> TRIE_CALL & 1) set(x->short_call + w * (size_t)length, p[i].id);
        x->longest = MAX(x->longest, p[i].length);
    }
    for (size_t i = w; i < w * (TRIE_LENGTH_MAX + 1); i++) {
        x->short_json[i] |= x->short_json[i - w];
        x->short_call[i] |= x->short_call[i - w];
    }
    return OK;
}

status trie_new(trie **out, const tok *t, err *e)
{
    status st = OK;
    trie *x = mem_alloc(sizeof *x, MEM_TEXT);
    piece *p = mem_array((size_t)tok_count(t) + 1, sizeof *p, MEM_TEXT);
    if (!x || !p) FAIL(e, E_NOMEM, "could not prepare the vocabulary for constrained answers\nout of memory");
    x->vocab = tok_count(t);
    x->words = ((size_t)x->vocab + 63) / 64;
    size_t n = collect(t, p);
    for (size_t i = 0; i < n; i++) {
        p[i].plain = classify(&p[i]);
        /* a piece longer than the table of lengths is treated like a rare one */
        if (p[i].length > TRIE_LENGTH_MAX) p[i].plain &= 1 << TRIE_BARE, p[i].length = 0;
    }
    qsort(p, n, sizeof *p, trie_tree_order);
    TRY(masks(x, p, n, e));
    TRY(trie_tree_build(&x->all, p, n, -1, e));
    for (int k = 0; k < TRIE_CLASS_COUNT; k++) TRY(trie_tree_build(&x->rest[k], p, n, k, e));
    TRY(shapes_init(&x->shapes, p, n, TRIE_CALL, x->words, e));
    TRY(build_inside(x, p, n, e));
    *out = x;
    x = NULL;
out:
    mem_free(p);
    trie_free(x);
    return st;
}
