#include "text/pattern_walk.h"

#include "base/bits.h"

enum { KINDS = 256, OTHERS_MAX = 64 /* classes beyond ASCII */, FEW = 512 /* pieces that are looked at one by one */ };
#define MIXED UINT32_MAX

/* Classes of the pattern that the characters of a kind are in; none: the kind cannot come. */
typedef struct kind { uint16_t first, count; } kind;

typedef struct walker {
    const trie *x;
    const tok *t;
    const regex *r;
    uint32_t state;
    bool json;
    uint64_t *bits;
    kind kinds[KINDS];
    uint16_t classes[128 + SHAPES_SPACES + OTHERS_MAX + 1];
} walker;

static void set(const walker *w, int32_t id) { w->bits[id / 64] |= (uint64_t)1 << (id % 64); }

static void add(const walker *w, const uint64_t *mask)
{
    for (size_t i = 0; i < w->x->words; i++) w->bits[i] |= mask[i];
}

/* ---- byte by byte ------------------------------------------------------------------------------------------ */

/* At each depth: the state, and of an unfinished character its bits and how many bytes are missing. */
typedef struct place { uint32_t state, code; uint8_t missing; } place;

static bool forbidden(bool json, unsigned char b) { return json ? b < ' ' || b == '"' || b == '\\' : b == 0; }

/* One more byte of a plain piece; false: the pattern does not go on with it. */
static bool byte(const walker *w, const place *from, unsigned char b, place *to)
{
    const regex *r = w->r;
    *to = *from;
    if (from->missing) {
        if ((b & 0xC0) != 0x80) return false;
        to->code = from->code << 6 | (b & 0x3F);
        if (--to->missing) return true;
        to->state = regex_step(r, from->state, to->code);
    } else if (b < 0x80) {
        if (forbidden(w->json, b)) return false;
        to->state = r->next[from->state * r->classes + r->ascii[b]];
    } else {
        int size = b >= 0xC2 && b < 0xE0 ? 2 : b >= 0xE0 && b < 0xF0 ? 3 : b >= 0xF0 && b < 0xF5 ? 4 : 0;
        if (!size) return false;
        to->code = b & (0xFFu >> (size + 1));
        to->missing = (uint8_t)(size - 1);
        uint32_t lo = to->code << (6 * to->missing);
        return regex_step_any(r, from->state, MAX(lo, 0x80), lo | ((1u << (6 * to->missing)) - 1));
    }
    return to->state != REGEX_DEAD;
}

/* The pieces that begin with one of the bytes lo .. hi. */
static void walk_bytes(const walker *w, int lo, int hi)
{
    const trie_tree *t = &w->x->all;
    place at[TRIE_DEPTH_MAX + 1];
    at[0] = (place){ .state = w->state };
    for (int b = lo; b <= hi; b++) {
        uint32_t i = t->roots[b];
        for (uint32_t end = i < t->count ? t->nodes[i].skip : i; i < end;) {
            const trie_node *n = &t->nodes[i];
            place *to = &at[n->depth + 1];
            if (!byte(w, &at[n->depth], n->byte, to)) { i = n->skip; continue; }
            for (uint32_t k = 0; !to->missing && k < n->count; k++) set(w, t->ids[n->first + k]);
            i++;
        }
    }
}

static void one_piece(const walker *w, int32_t id)
{
    str s = tok_bytes(w->t, id);
    place at = { .state = w->state }, to;
    for (size_t i = 0; i < s.n; i++, at = to)
        if (!byte(w, &at, (unsigned char)s.p[i], &to)) return;
    set(w, id);
}

/* ---- kind by kind ------------------------------------------------------------------------------------------ */

static void put(walker *w, kind *k, uint32_t class)
{
    for (uint16_t i = k->first; i < k->first + k->count; i++)
        if (w->classes[i] == class) return;
    w->classes[k->first + k->count++] = (uint16_t)class;
}

/* Characters lo .. hi are of one kind; k: where its classes begin. */
static uint16_t put_range(walker *w, unsigned char name, int lo, int hi, uint16_t first)
{
    kind *k = &w->kinds[name];
    k->first = first;
    for (int c = lo; c <= hi; c++)
        if (!forbidden(w->json, (unsigned char)c)) put(w, k, w->r->ascii[c]);
    return (uint16_t)(first + k->count);
}

/* Code points of lo .. hi that are white space with a kind of its own. */
static uint32_t spaces_between(uint32_t lo, uint32_t hi)
{
    uint32_t n = 0;
    for (int i = 0; i < SHAPES_SPACES; i++) n += shapes_spaces[i] >= lo && shapes_spaces[i] <= hi;
    return n;
}

static void find_kinds(walker *w)
{
    const regex *r = w->r;
    uint16_t at = 0;
    for (int c = 0; c < 128; c++) {
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'), digit = c >= '0' && c <= '9';
        if (!letter && !digit) at = put_range(w, (unsigned char)c, c, c, at);
    }
    at = put_range(w, SHAPES_SMALL, 'a', 'z', at);
    at = put_range(w, SHAPES_CAPITAL, 'A', 'Z', at);
    at = put_range(w, SHAPES_DIGIT, '0', '9', at);
    for (int i = 0; i < SHAPES_SPACES; i++, at++) {
        w->kinds[SHAPES_SPACE + i] = (kind){ at, 0 };
        put(w, &w->kinds[SHAPES_SPACE + i], regex_class(r, shapes_spaces[i]));
    }
    kind *other = &w->kinds[SHAPES_OTHER];
    other->first = at;
    for (uint32_t c = regex_class(r, 0x80); c < r->classes && other->count <= OTHERS_MAX; c++) {
        uint32_t lo = MAX(r->bounds[c], 0x80), hi = r->bounds[c + 1] - 1;
        if (hi - lo + 1 > spaces_between(lo, hi)) put(w, other, c);
    }
}

/* Where all characters of the kind lead; MIXED: not all to one state. */
static uint32_t target(const walker *w, uint32_t state, unsigned char name)
{
    const kind *k = &w->kinds[name];
    const uint16_t *row = w->r->next + state * w->r->classes, *c = w->classes + k->first;
    if (k->count == 0) return REGEX_DEAD;
    if (k->count > OTHERS_MAX) return MIXED;
    for (uint16_t i = 1; i < k->count; i++)
        if (row[c[i]] != row[c[0]]) return MIXED;
    return row[c[0]];
}

/* So many letters and digits may come, whichever they are. */
static uint32_t free_word(const walker *w)
{
    uint32_t n = 0;
    for (uint32_t s = w->state; n < TRIE_LENGTH_MAX; n++) {
        uint32_t to = target(w, s, SHAPES_SMALL);
        if (to == REGEX_DEAD || to == MIXED || to != target(w, s, SHAPES_CAPITAL) || to != target(w, s, SHAPES_DIGIT)) break;
        s = to;
    }
    return n;
}

/* The pieces of a root of the tree of kinds, but for those of at most `words` letters and digits alone.  False: the pattern tells
 * too many of them apart. */
static bool walk_kind(const walker *w, uint32_t root, uint32_t words)
{
    const shapes *x = &w->x->shapes;
    const trie_tree *t = &x->tree;
    uint32_t at[TRIE_LENGTH_MAX + 1] = { w->state };
    for (uint32_t i = root, end = t->nodes[root].skip; i < end;) {
        const trie_node *n = &t->nodes[i];
        uint32_t to = target(w, at[n->depth], n->byte), ids = t->nodes[n->skip].first;
        if (to == MIXED) {
            if (ids - n->first > FEW) return false;
            for (uint32_t k = n->first; k < ids; k++) one_piece(w, t->ids[k]);
        }
        if (to == REGEX_DEAD || to == MIXED) { i = n->skip; continue; }
        at[n->depth + 1] = to;
        if (x->is_word[i] && n->depth < words) {}
        else if (x->mask_of[i]) add(w, x->masks + (x->mask_of[i] - 1) * w->x->words);
        else for (uint32_t k = n->first; k < n[1].first; k++) set(w, t->ids[k]);
        i++;
    }
    return true;
}

/* All pieces whose first character is of the kind. */
static void walk_first(const walker *w, unsigned char name, uint32_t words, bool *beyond)
{
    uint32_t root = w->x->shapes.tree.roots[name];
    if (root == w->x->shapes.tree.count || walk_kind(w, root, words)) return;
    switch (name) {
    case SHAPES_SMALL:   walk_bytes(w, 'a', 'z'); return;
    case SHAPES_CAPITAL: walk_bytes(w, 'A', 'Z'); return;
    case SHAPES_DIGIT:   walk_bytes(w, '0', '9'); return;
    default:
        if (name < 0x80) walk_bytes(w, name, name);
        else if (!*beyond) walk_bytes(w, 0x80, 0xFF);
        *beyond |= name >= 0x80;
    }
}

void pattern_walk(const trie *x, const tok *t, const regex *r, uint32_t state, bool json, uint64_t *bits)
{
    walker w = { .x = x, .t = t, .r = r, .state = state, .json = json, .bits = bits };
    bool beyond = false;
    if (r->safe[state] >= x->longest) {
        add(&w, x->plain[json ? TRIE_JSON : TRIE_CALL]);
        return;
    }
    find_kinds(&w);
    uint32_t words = free_word(&w);
    if (words) add(&w, x->shapes.short_words + words * x->words);
    for (int k = 0; k < KINDS; k++) walk_first(&w, (unsigned char)k, words, &beyond);
}
