#include "text/masks.h"

#include "base/bits.h"
#include "base/hash.h"
#include "text/pattern_walk.h"

enum { KEPT = 24, UNLIMITED = TRIE_DEPTH_MAX /* code points: longer than any token */ };

typedef struct kept { uint64_t hash, used; const automaton *of; int32_t count; automaton_thread *threads; uint64_t *mask; } kept;

struct masks {
    const tok *tok;
    const trie *trie;
    kept kept[KEPT];
    uint64_t clock;
    uint64_t *room;
    automaton_state now, others;                   /* the state in question; its threads that need a walk through all pieces */
    automaton_state stack[TRIE_DEPTH_MAX + 1];     /* at each depth of a tree */
    automaton_bytes sets[TRIE_DEPTH_MAX + 1];      /* bytes worth a step from each of them */
};

status masks_new(masks **out, const tok *t, const trie *x, err *e)
{
    status st = OK;
    masks *m = mem_alloc(sizeof *m, MEM_TEXT);
    if (!m || !(m->room = mem_array(x->words, sizeof *m->room, MEM_TEXT))) FAIL(e, E_NOMEM, "could not constrain an answer\nout of memory");
    for (int i = 0; i < KEPT; i++) {
        m->kept[i].mask = mem_array(x->words, sizeof *m->room, MEM_TEXT);
        m->kept[i].threads = mem_array(AUTOMATON_THREADS_MAX, sizeof *m->kept[i].threads, MEM_TEXT);
        if (!m->kept[i].mask || !m->kept[i].threads) FAIL(e, E_NOMEM, "could not constrain an answer\nout of memory");
    }
    m->tok = t;
    m->trie = x;
    *out = m;
    m = NULL;
out:
    masks_free(m);
    return st;
}

void masks_free(masks *m)
{
    if (!m) return;
    for (int i = 0; i < KEPT; i++) {
        mem_free(m->kept[i].mask);
        mem_free(m->kept[i].threads);
    }
    mem_free(m->room);
    mem_free(m);
}

void masks_forget(masks *m)
{
    for (int i = 0; i < KEPT; i++) m->kept[i].used = 0;
}

static void set(uint64_t *bits, int32_t id) { bits[id / 64] |= (uint64_t)1 << (id % 64); }

static void add(const masks *m, uint64_t *bits, const uint64_t *more)
{
    for (size_t i = 0; i < m->trie->words; i++) bits[i] |= more[i];
}

/* ---- walking a tree ------------------------------------------------------------------------------------------ */

/* Which of the tokens that fit are wanted. */
typedef struct wanted {
    const uint8_t *before;       /* [ids] code points of each before the part that is in the tree; NULL: all are wanted */
    uint32_t least, most;        /* of those */
    bool inside;                 /* only while the thread stays what it is: inside a string */
} wanted;

static const wanted everything = { 0 };

static bool in_set(const automaton_bytes *set, unsigned char b) { return set->bits[b / 64] >> (b % 64) & 1; }

/* Nodes i .. end of a tree, the subtree of one first byte. */
static void walk_branch(masks *m, automaton *a, const trie_tree *t, uint32_t i, const wanted *w, uint64_t *bits)
{
    for (uint32_t end = t->nodes[i].skip; i < end;) {
        const trie_node *n = &t->nodes[i];
        automaton_state *next = &m->stack[n->depth + 1];
        if (!in_set(&m->sets[n->depth], n->byte)) { i = n->skip; continue; }
        automaton_step(a, &m->stack[n->depth], n->byte, next);
        if (next->count == 0 || (w->inside && next->threads[0].mode != m->stack[0].threads[0].mode)) { i = n->skip; continue; }
        for (uint32_t k = n->first; k < n->first + n->count; k++)
            if (!w->before || (w->before[k] >= w->least && w->before[k] <= w->most)) set(bits, t->ids[k]);
        if (n->skip > i + 1) automaton_first(a, next, &m->sets[n->depth + 1]);
        i++;
    }
}

/* Sets the tokens of the tree that stack[0] lets through whole. */
static void walk(masks *m, automaton *a, const trie_tree *t, const wanted *w, uint64_t *bits)
{
    uint32_t mark = automaton_mark(a);
    automaton_first(a, &m->stack[0], &m->sets[0]);
    for (int k = 0; k < 4; k++)
        for (uint64_t left = m->sets[0].bits[k]; left; left &= left - 1) {
            uint32_t i = t->roots[k * 64 + __builtin_ctzll(left)];
            if (i < t->count) walk_branch(m, a, t, i, w, bits);
        }
    automaton_reset(a, mark);
}

static void walk_thread(masks *m, automaton *a, const automaton_thread *t, const trie_tree *tree, const wanted *w, uint64_t *bits)
{
    m->stack[0].count = 1;
    m->stack[0].threads[0] = *t;
    walk(m, a, tree, w, bits);
}

/* ---- strings and keys ------------------------------------------------------------------------------------------ */

/* Tokens that stay inside a string whose pattern is in this state. */
static void add_pattern(masks *m, automaton *a, const automaton_thread *t, const regex *r, trie_class class, uint64_t *bits)
{
    pattern_store *store = m->trie->patterns;
    if (!pattern_store_find(store, r->name, t->lo, bits)) {
        memset(m->room, 0, m->trie->words * sizeof *m->room);
        pattern_walk(m->trie, m->tok, r, t->lo, class == TRIE_JSON, m->room);
        pattern_store_keep(store, r->name, t->lo, m->room);
        add(m, bits, m->room);
    }
    walk_thread(m, a, t, &m->trie->rest[class], &everything, bits);
}

/* Tokens of the tree after which the string still goes on: the same for every string of which so many code points may come. */
static void add_inside(masks *m, automaton *a, const automaton_thread *t, str name, const trie_tree *tree, uint32_t left, uint64_t *bits)
{
    pattern_store *store = m->trie->patterns;
    left = MIN(left, UNLIMITED);
    if (pattern_store_find(store, name, left, bits)) return;
    memset(m->room, 0, m->trie->words * sizeof *m->room);
    walk_thread(m, a, t, tree, &(wanted){ .inside = true }, m->room);
    pattern_store_keep(store, name, left, m->room);
    add(m, bits, m->room);
}

/* In a JSON string without a pattern, least to most code points before it may end: of a piece that ends it behind plain characters
 * only their number matters, and what begins with the quote. */
static void add_text(masks *m, automaton *a, const automaton_thread *t, uint32_t least, uint32_t most, uint64_t *bits)
{
    const trie *x = m->trie;
    automaton_thread end = *t;
    if (t->mode == AUTOMATON_STRING) end.at = a->s->nodes[t->node].min;
    add(m, bits, most < (uint32_t)x->longest ? x->short_json + most * x->words : x->plain[TRIE_JSON]);
    add_inside(m, a, t, STR("odd"), &x->odd, most, bits);
    walk_thread(m, a, &end, &x->closing, &(wanted){ x->closing_before, least, most, false }, bits);
    walk_thread(m, a, t, &x->quoting, &everything, bits);
}

/* The same behind a backslash. */
static void add_escaped(masks *m, automaton *a, const automaton_thread *t, uint32_t most, uint64_t *bits)
{
    add_inside(m, a, t, STR("escaped"), &m->trie->all, most, bits);
    walk_thread(m, a, t, &m->trie->escaped, &everything, bits);
}

/* In JSON, a thread inside of a text that nothing but its length limits; false: it is no such thread. */
static bool add_json(masks *m, automaton *a, const automaton_thread *t, uint64_t *bits)
{
    uint32_t least = 0, most = UINT32_MAX;
    if (t->mode == AUTOMATON_STRING) {
        const schema_node *n = &a->s->nodes[t->node];
        if (n->pattern == SCHEMA_NONE) {
            least = t->at < n->min ? n->min - t->at : 0;
            most = n->max == UINT32_MAX ? n->max : n->max - t->at;
        } else if (!a->s->patterns[n->pattern]->all[t->lo]) return false;
    } else if (t->mode != AUTOMATON_OTHER_KEY || a->s->nodes[a->frames[t->frame].node].count) return false;
    if (t->inside == AUTOMATON_PLAIN) add_text(m, a, t, least, most, bits);
    else if (t->inside == AUTOMATON_ESCAPE) add_escaped(m, a, t, most, bits);
    else return false;
    return true;
}

/* In calls: a key without quotes comes or goes on. */
static void add_bare(masks *m, automaton *a, const automaton_thread *t, uint64_t *bits)
{
    const trie *x = m->trie;
    automaton_thread key = *t;
    add(m, bits, x->plain[TRIE_BARE]);
    if (a->s->nodes[a->frames[t->frame].node].count) {
        walk_thread(m, a, t, &x->rest[TRIE_BARE], &everything, bits);
        return;
    }
    key.mode = AUTOMATON_BARE_KEY;      /* any name: only what comes from its colon on matters */
    walk_thread(m, a, &key, &x->colon, &(wanted){ x->colon_before, t->mode == AUTOMATON_KEY, UINT32_MAX, false }, bits);
}

/* In calls. */
static bool add_call(masks *m, automaton *a, const automaton_thread *t, uint64_t *bits)
{
    const trie *x = m->trie;
    uint32_t most = UINT32_MAX;
    if (t->mode == AUTOMATON_BARE_KEY || (t->mode == AUTOMATON_KEY && automaton_key_is_open(a, t))) {
        add_bare(m, a, t, bits);
        return true;
    }
    if (t->inside != AUTOMATON_PLAIN || (t->mode != AUTOMATON_STRING && t->mode != AUTOMATON_OTHER_KEY)) return false;
    if (t->mode == AUTOMATON_STRING) {
        const schema_node *n = &a->s->nodes[t->node];
        if (n->pattern == SCHEMA_NONE && n->max != UINT32_MAX) most = n->max - t->at;
    }
    add(m, bits, most < (uint32_t)x->longest ? x->short_call + most * x->words : x->plain[TRIE_CALL]);
    walk_thread(m, a, t, &x->rest[TRIE_CALL], &everything, bits);
    return true;
}

/* Inside a string or key, most tokens need no walk; false: this thread does. */
static bool add_thread(masks *m, automaton *a, const automaton_thread *t, uint64_t *bits)
{
    bool json = a->s->syntax == SCHEMA_JSON;
    if (t->mode == AUTOMATON_STRING && t->inside == AUTOMATON_PLAIN) {
        int32_t pattern = a->s->nodes[t->node].pattern;
        const regex *r = pattern == SCHEMA_NONE ? NULL : a->s->patterns[pattern];
        if (r && !r->all[t->lo]) {
            add_pattern(m, a, t, r, json ? TRIE_JSON : TRIE_CALL, bits);
            return true;
        }
    }
    if (!json) return add_call(m, a, t, bits);
    if (add_json(m, a, t, bits)) return true;
    if (t->mode != AUTOMATON_OTHER_KEY || t->inside != AUTOMATON_PLAIN) return false;
    add(m, bits, m->trie->plain[TRIE_JSON]);      /* a key that may still be a declared one */
    walk_thread(m, a, t, &m->trie->rest[TRIE_JSON], &everything, bits);
    return true;
}

/* ---- states ---------------------------------------------------------------------------------------------------- */

/* Counts that make no difference for one token become equal, so that masks are found again. */
static void simplify(const automaton *a, automaton_state *s)
{
    for (int32_t i = 0; i < s->count; i++) {
        automaton_thread *t = &s->threads[i];
        if (t->mode != AUTOMATON_STRING) continue;
        const schema_node *n = &a->s->nodes[t->node];
        if (n->pattern != SCHEMA_NONE || (n->max != UINT32_MAX && n->max - t->at < TRIE_DEPTH_MAX)) continue;
        if (t->at >= n->min) t->at = n->min;
        else if (n->min - t->at > TRIE_DEPTH_MAX) t->at = 0;
    }
}

static void compute(masks *m, automaton *a, uint64_t *bits)
{
    const automaton_state *s = &m->now;
    m->others.count = 0;
    for (int32_t i = 0; i < s->count; i++)
        if (!add_thread(m, a, &s->threads[i], bits)) m->others.threads[m->others.count++] = s->threads[i];
    if (m->others.count) {
        m->stack[0] = m->others;
        walk(m, a, &m->trie->all, &everything, bits);
    }
    if (a->s->syntax == SCHEMA_CALL) {
        uint32_t mark = automaton_mark(a);
        int32_t quote = tok_specials(m->tok)->quote;
        automaton_step(a, s, (unsigned char)SCHEMA_QUOTE, &m->stack[0]);
        if (m->stack[0].count && quote >= 0) set(bits, quote);
        automaton_reset(a, mark);
    }
}

void masks_add(masks *m, automaton *a, const automaton_state *s, uint64_t *bits)
{
    size_t bytes = (size_t)s->count * sizeof *s->threads;
    kept *oldest = &m->kept[0];
    m->now.count = s->count;
    memcpy(m->now.threads, s->threads, bytes);
    simplify(a, &m->now);
    uint64_t hash = hash_bytes(m->now.threads, bytes, 0);
    m->clock++;
    for (int i = 0; i < KEPT; i++) {
        kept *k = &m->kept[i];
        if (k->used && k->hash == hash && k->of == a && k->count == s->count && memcmp(k->threads, m->now.threads, bytes) == 0) {
            k->used = m->clock;
            add(m, bits, k->mask);
            return;
        }
        if (k->used < oldest->used) oldest = k;
    }
    memset(oldest->mask, 0, m->trie->words * sizeof *bits);
    compute(m, a, oldest->mask);
    oldest->hash = hash;
    oldest->used = m->clock;
    oldest->of = a;
    oldest->count = s->count;
    memcpy(oldest->threads, m->now.threads, bytes);
    add(m, bits, oldest->mask);
}
