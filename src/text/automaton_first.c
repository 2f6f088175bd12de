/* Which bytes are worth a step: most of a tree's branches need no look at all. */
#include <string.h>

#include "base/bits.h"
#include "text/automaton.h"

static void add(automaton_bytes *set, unsigned char b) { set->bits[b / 64] |= (uint64_t)1 << (b % 64); }

static void add_all(automaton_bytes *set) { memset(set, 0xFF, sizeof *set); }

static void add_text(automaton_bytes *set, const char *bytes)
{
    for (; *bytes; bytes++) add(set, (unsigned char)*bytes);
}

static void add_quote(const automaton *a, automaton_bytes *set) { add(set, a->s->syntax == SCHEMA_JSON ? '"' : (unsigned char)SCHEMA_QUOTE); }

/* Behind a value of frame f. */
static void add_after(const automaton *a, uint32_t f, automaton_bytes *set)
{
    if (f) add_text(set, a->s->nodes[a->frames[f].node].kind == SCHEMA_OBJECT ? ",}" : ",]");
}

/* Text i of sorted ones: literals, or keys. */
static str text_at(const automaton *a, const schema_node *x, bool keys, uint32_t i)
{
    return keys ? a->s->props[x->first + a->s->by_text[x->first + (int32_t)i]].text : a->s->texts[x->first + (int32_t)i];
}

/* The bytes at place `at` of sorted texts lo .. hi that are equal before it: one look for each different byte. */
static void add_texts(const automaton *a, const schema_node *x, bool keys, uint32_t lo, uint32_t hi, uint32_t at, automaton_bytes *set)
{
    while (lo < hi) {
        str s = text_at(a, x, keys, lo);
        if (at >= s.n) { lo++; continue; }
        unsigned char b = (unsigned char)s.p[at];
        add(set, b);
        for (uint32_t top = hi, mid; lo < top;) {      /* lo becomes the first with a greater byte */
            mid = (lo + top) / 2;
            if ((unsigned char)text_at(a, x, keys, mid).p[at] > b) top = mid; else lo = mid + 1;
        }
    }
}

static void add_literals(const automaton *a, const automaton_thread *t, int32_t node, uint32_t lo, uint32_t hi, uint32_t at, automaton_bytes *set)
{
    const schema_node *x = &a->s->nodes[node];
    add_texts(a, x, false, lo, hi, at, set);
    if (lo < hi && a->s->texts[x->first + (int32_t)lo].n == at) add_after(a, t->frame, set);
}

static void add_value(const automaton *a, const automaton_thread *t, int32_t node, automaton_bytes *set)
{
    const schema_node *x = &a->s->nodes[node];
    switch (x->kind) {
    case SCHEMA_UNION:
        for (int32_t i = 0; i < x->count; i++) add_value(a, t, a->s->kids[x->first + i], set);
        return;
    case SCHEMA_LITERALS: add_literals(a, t, node, 0, (uint32_t)x->count, 0, set); return;
    case SCHEMA_STRING:   add_quote(a, set); return;
    case SCHEMA_NUMBER:   add_text(set, "-0123456789"); return;
    case SCHEMA_ARRAY:    add(set, '['); return;
    case SCHEMA_OBJECT:   add(set, '{'); return;
    case SCHEMA_CALLS:    add_all(set); return;
    }
}

static void add_thread(const automaton *a, const automaton_thread *t, automaton_bytes *set)
{
    const automaton_frame *f = &a->frames[t->frame];
    const schema_node *x = f->node == SCHEMA_NONE ? NULL : &a->s->nodes[f->node];
    switch ((automaton_mode)t->mode) {
    case AUTOMATON_VALUE:    add_value(a, t, t->node, set); return;
    case AUTOMATON_LITERAL:  add_literals(a, t, t->node, t->lo, t->hi, t->at, set); return;
    case AUTOMATON_NUMBER:
        add_text(set, "-+.eE0123456789");
        add_after(a, t->frame, set);
        return;
    case AUTOMATON_DECLARED: add_texts(a, x, true, t->lo, t->hi, t->at, set); return;
    case AUTOMATON_KEY:
        if (x->rest != SCHEMA_NONE && a->s->syntax == SCHEMA_CALL) add_all(set);
        else if (x->rest != SCHEMA_NONE) add_quote(a, set);
        add_texts(a, x, true, 0, (uint32_t)x->count, 0, set);
        return;
    case AUTOMATON_COLON: add(set, ':'); return;
    case AUTOMATON_AFTER: add_after(a, t->frame, set); return;
    case AUTOMATON_CLOSE: add_text(set, "}]"); return;
    case AUTOMATON_STRING: case AUTOMATON_OTHER_KEY: case AUTOMATON_BARE_KEY: add_all(set); return;
    }
}

void automaton_first(const automaton *a, const automaton_state *x, automaton_bytes *set)
{
    memset(set, 0, sizeof *set);
    for (int32_t i = 0; i < x->count; i++) add_thread(a, &x->threads[i], set);
}
