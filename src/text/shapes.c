#include "text/shapes.h"

#include <stdlib.h>

#include "base/bits.h"
#include "base/mem.h"
#include "base/utf8.h"

enum { MANY = 1000 /* ids that are set faster all at once */ };

const uint32_t shapes_spaces[SHAPES_SPACES] = { 0xA0, 0x1680, 0x2000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008, 0x2009, 0x200A,
    0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0xFEFF };

static status no_memory(err *e) { return err_set(e, E_NOMEM, "could not prepare the vocabulary for constrained answers\nout of memory"); }

void shapes_done(shapes *x)
{
    trie_tree_done(&x->tree);
    mem_free(x->mask_of);
    mem_free(x->is_word);
    mem_free(x->masks);
    mem_free(x->short_words);
    *x = (shapes){ 0 };
}

static unsigned char kind_of(uint32_t cp)
{
    if (cp >= 'a' && cp <= 'z') return SHAPES_SMALL;
    if (cp >= 'A' && cp <= 'Z') return SHAPES_CAPITAL;
    if (cp >= '0' && cp <= '9') return SHAPES_DIGIT;
    if (cp < 128) return (unsigned char)cp;
    for (unsigned i = 0; i < SHAPES_SPACES; i++)
        if (shapes_spaces[i] == cp) return (unsigned char)(SHAPES_SPACE + i);
    return SHAPES_OTHER;
}

/* The pieces with their kinds in place of their bytes, in order; texts and out have room for all of them. */
static size_t translate(const trie_tree_piece *p, size_t n, int class, char *texts, trie_tree_piece *out)
{
    size_t count = 0, used = 0;
    for (size_t i = 0; i < n; i++) {
        if (!(p[i].plain >> class & 1)) continue;
        str to = { texts + used, 0 };
        for (size_t at = 0; at < p[i].s.n;) {
            uint32_t cp;
            at += (size_t)MAX(utf8_decode(p[i].s.p + at, p[i].s.n - at, &cp), 1);
            texts[used++] = (char)kind_of(cp);
            to.n++;
        }
        out[count++] = (trie_tree_piece){ .s = to, .id = p[i].id };
    }
    qsort(out, count, sizeof *out, trie_tree_order);
    return count;
}

static bool is_word_kind(unsigned char k) { return k == SHAPES_SMALL || k == SHAPES_CAPITAL || k == SHAPES_DIGIT; }

static void set(uint64_t *mask, int32_t id) { mask[id / 64] |= (uint64_t)1 << (id % 64); }

static status masks(shapes *x, size_t words, err *e)
{
    const trie_tree *t = &x->tree;
    uint32_t many = 0, on_path[TRIE_LENGTH_MAX + 1];
    x->mask_of = mem_array((size_t)t->count + 1, sizeof *x->mask_of, MEM_TEXT);
    x->is_word = mem_array((size_t)t->count + 1, sizeof *x->is_word, MEM_TEXT);
    x->short_words = mem_array((TRIE_LENGTH_MAX + 1) * words, sizeof *x->short_words, MEM_TEXT);
    if (!x->mask_of || !x->is_word || !x->short_words) return no_memory(e);
    for (uint32_t i = 0; i < t->count; i++)
        if (t->nodes[i + 1].first - t->nodes[i].first > MANY) x->mask_of[i] = ++many;
    x->masks = mem_array(many * words + 1, sizeof *x->masks, MEM_TEXT);
    if (!x->masks) return no_memory(e);
    for (uint32_t i = 0; i < t->count; i++) {
        const trie_node *n = &t->nodes[i];
        on_path[n->depth] = i;
        x->is_word[i] = is_word_kind(n->byte) && (n->depth == 0 || x->is_word[on_path[n->depth - 1]]);
        for (uint32_t k = n->first; k < n[1].first; k++) {
            if (x->mask_of[i]) set(x->masks + (x->mask_of[i] - 1) * words, t->ids[k]);
            if (x->is_word[i]) set(x->short_words + (size_t)(n->depth + 1) * words, t->ids[k]);
        }
    }
    for (size_t i = words; i < (TRIE_LENGTH_MAX + 1) * words; i++) x->short_words[i] |= x->short_words[i - words];
    return OK;
}

status shapes_init(shapes *x, const trie_tree_piece *p, size_t n, int class, size_t words, err *e)
{
    status st = OK;
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) bytes += p[i].s.n;
    char *texts = mem_alloc(bytes + 1, MEM_TEXT);
    trie_tree_piece *kinds = mem_array(n + 1, sizeof *kinds, MEM_TEXT);
    if (!texts || !kinds) FAIL(e, E_NOMEM, "could not prepare the vocabulary for constrained answers\nout of memory");
    TRY(trie_tree_build(&x->tree, kinds, translate(p, n, class, texts, kinds), -1, e));
    TRY(masks(x, words, e));
out:
    mem_free(texts);
    mem_free(kinds);
    return st;
}
