#include "text/trie.h"

#include <stdlib.h>

#include "base/bits.h"
#include "base/mem.h"
#include "base/utf8.h"

/* A piece in order of its bytes. */
typedef struct piece { str s; int32_t id; uint8_t plain; int32_t length; } piece;

bool trie_is_bare(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-' || c == '.' || c == '$' || c == '/';
}

static void tree_done(trie_tree *t)
{
    mem_free(t->nodes);
    mem_free(t->ids);
}

void trie_free(trie *x)
{
    if (!x) return;
    tree_done(&x->all);
    for (int i = 0; i < TRIE_CLASS_COUNT; i++) {
        tree_done(&x->rest[i]);
        mem_free(x->plain[i]);
    }
    mem_free(x->text);
    mem_free(x->short_json);
    mem_free(x->short_call);
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

static int by_bytes(const void *a, const void *b)
{
    const piece *x = a, *y = b;
    int c = memcmp(x->s.p, y->s.p, MIN(x->s.n, y->s.n));
    return c ? c : x->s.n != y->s.n ? (x->s.n < y->s.n ? -1 : 1) : (x->id > y->id) - (x->id < y->id);
}

/* Pieces of which bit `skip` is not set (-1: all) as a tree. */
static status build(trie_tree *t, const piece *p, size_t n, int skip, err *e)
{
    size_t nodes = 0, ids = 0;
    const piece *last = NULL;
    uint32_t open[TRIE_DEPTH_MAX];
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1) {
            t->nodes = mem_array(nodes + 1, sizeof *t->nodes, MEM_TEXT);
            t->ids = mem_array(ids + 1, sizeof *t->ids, MEM_TEXT);
            if (!t->nodes || !t->ids) return err_set(e, E_NOMEM, "could not prepare the vocabulary for constrained answers\nout of memory");
        }
        nodes = ids = 0;
        last = NULL;
        for (size_t i = 0; i < n; i++) {
            if (skip >= 0 && (p[i].plain >> skip & 1)) continue;
            size_t same = 0;
            while (last && same < last->s.n && same < p[i].s.n && last->s.p[same] == p[i].s.p[same]) same++;
            if (pass == 1) {
                for (size_t d = same; last && d < last->s.n; d++) t->nodes[open[d]].skip = (uint32_t)nodes;
                for (size_t d = same; d < p[i].s.n; d++) {
                    open[d] = (uint32_t)(nodes + d - same);
                    t->nodes[open[d]] = (trie_node){ .byte = (uint8_t)p[i].s.p[d], .depth = (uint8_t)d, .first = (uint32_t)ids };
                }
                t->nodes[open[p[i].s.n - 1]].count++;
                t->ids[ids] = p[i].id;
            }
            nodes += p[i].s.n - same;
            ids++;
            last = &p[i];
        }
        for (size_t d = 0; pass == 1 && last && d < last->s.n; d++) t->nodes[open[d]].skip = (uint32_t)nodes;
    }
    t->count = (uint32_t)nodes;
    return OK;
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

static void set(uint64_t *mask, int32_t id) { mask[id / 64] |= (uint64_t)1 << (id % 64); }

static status masks(trie *x, const piece *p, size_t n, err *e)
{
    size_t w = x->words;
    for (int i = 0; i < TRIE_CLASS_COUNT; i++) x->plain[i] = mem_array(w, sizeof **x->plain, MEM_TEXT);
    x->text = mem_array(w, sizeof *x->text, MEM_TEXT);
    x->short_json = mem_array(w * (TRIE_LENGTH_MAX + 1), sizeof *x->short_json, MEM_TEXT);
    x->short_call = mem_array(w * (TRIE_LENGTH_MAX + 1), sizeof *x->short_call, MEM_TEXT);
    if (!x->plain[TRIE_JSON] || !x->plain[TRIE_CALL] || !x->plain[TRIE_BARE] || !x->text || !x->short_json || !x->short_call)
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
        if (p[i].length > TRIE_LENGTH_MAX) p[i].plain = 0, p[i].length = 0;
    }
    qsort(p, n, sizeof *p, by_bytes);
    TRY(masks(x, p, n, e));
    TRY(build(&x->all, p, n, -1, e));
    for (int k = 0; k < TRIE_CLASS_COUNT; k++) TRY(build(&x->rest[k], p, n, k, e));
    *out = x;
    x = NULL;
out:
    mem_free(p);
    trie_free(x);
    return st;
}
