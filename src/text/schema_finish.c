/* When all nodes are there: order of keys and literals, what has no value, which literals break another rule. */
#include <stdlib.h>

#include "base/bits.h"
#include "text/automaton.h"
#include "text/schema_int.h"

enum { PASSES_MAX = 200 };

static int32_t never_from(int32_t h) { return h > SCHEMA_DEPTH_MAX ? SCHEMA_NEVER_HEIGHT : h; }

static int32_t array_height(const schema *s, const schema_node *x)
{
    int32_t h = 0;
    if (x->min > x->max) return SCHEMA_NEVER_HEIGHT;
    for (uint32_t i = 0; i < MIN(x->min, (uint32_t)x->count); i++) h = MAX(h, s->nodes[s->kids[x->first + (int32_t)i]].height);
    if (x->min > (uint32_t)x->count) h = MAX(h, s->nodes[x->rest].height);
    return never_from(h + 1);
}

static int32_t object_height(const schema *s, const schema_node *x)
{
    int32_t h = 0;
    for (int32_t i = x->first; i < x->first + x->count; i++)
        if (s->props[i].required) h = MAX(h, s->nodes[s->props[i].node].height);
    return never_from(h + 1);
}

static int32_t height_of(const schema *s, const schema_node *x)
{
    int32_t h = SCHEMA_NEVER_HEIGHT;
    switch (x->kind) {
    case SCHEMA_UNION:
        for (int32_t i = 0; i < x->count; i++) h = MIN(h, s->nodes[s->kids[x->first + i]].height);
        return h;
    case SCHEMA_LITERALS: return x->count ? 0 : h;
    case SCHEMA_STRING:   return x->min > x->max || (x->pattern != SCHEMA_NONE && regex_empty(s->patterns[x->pattern])) ? h : 0;
    case SCHEMA_NUMBER:   return digits_possible(&x->range) ? 0 : h;
    case SCHEMA_ARRAY:    return array_height(s, x);
    default:              return object_height(s, x);
    }
}

/* Smallest heights: from the leaves up, until nothing changes. */
static status find_heights(schema_compiler *c)
{
    status st = OK;
    schema *s = c->s;
    int32_t base = c->base;
    bool changed = true;
    for (int32_t i = base; i < s->node_count; i++) s->nodes[i].height = SCHEMA_NEVER_HEIGHT;
    for (int pass = 0; changed && pass < PASSES_MAX; pass++) {
        changed = false;
        TRY(schema_spend(c, (s->node_count - base) + (s->kid_count - c->kid_base + s->prop_count - c->prop_base) / 4));
        for (int32_t i = s->node_count; i-- > base;) {
            int32_t h = height_of(s, &s->nodes[i]);
            changed |= h != s->nodes[i].height;
            s->nodes[i].height = h;
        }
    }
out:
    return st;
}

static int by_text(const void *a, const void *b)
{
    const str *x = a, *y = b;
    int c = memcmp(x->p, y->p, MIN(x->n, y->n));
    return c ? c : (x->n > y->n) - (x->n < y->n);
}

static void sort_literals(schema *s, schema_node *x)
{
    if (x->count == 0) return;      /* perhaps no node has texts at all */
    str *t = s->texts + x->first;
    int32_t n = 0;
    qsort(t, (size_t)x->count, sizeof *t, by_text);
    for (int32_t i = 0; i < x->count; i++)
        if (n == 0 || !str_eq(t[n - 1], t[i])) t[n++] = t[i];
    x->count = n;
}

/* Literals that another keyword beside enum or const forbids go. */
static status filter_literals(schema_compiler *c, automaton *a, schema_node *x)
{
    status st = OK;
    schema *s = c->s;
    int32_t n = 0;
    for (int32_t i = 0; i < x->count; i++) {
        str t = s->texts[x->first + i];
        int64_t most = (SCHEMA_WORK_MAX - s->work) / SCHEMA_COST_THREAD, left = most;
        if (automaton_accepts(a, x->rest, t, &left)) s->texts[x->first + n++] = t;
        TRY(schema_spend(c, (most - left) * SCHEMA_COST_THREAD));
    }
    x->count = n;
out:
    return st;
}

/* Keys in any order, where they can be counted. */
static void any_order(schema_compiler *c, bool on)
{
    for (int32_t i = c->base; i < c->s->node_count; i++) {
        schema_node *x = &c->s->nodes[i];
        x->any_order = x->kind == SCHEMA_OBJECT && on && x->count <= SCHEMA_ANY_ORDER_MAX;
    }
}

/* A literal is written as its author wrote it: the order of its keys breaks no rule. */
static status filter(schema_compiler *c)
{
    status st = OK;
    automaton a = { 0 };
    any_order(c, true);
    for (int32_t i = c->base; i < c->s->node_count; i++) {
        schema_node *x = &c->s->nodes[i];
        if (x->kind != SCHEMA_LITERALS) continue;
        sort_literals(c->s, x);
        if (x->rest == SCHEMA_NONE) continue;
        if (!a.s) TRY(automaton_init(&a, c->s, c->e));
        TRY(filter_literals(c, &a, x));
        x->rest = SCHEMA_NONE;
    }
out:
    any_order(c, c->s->syntax == SCHEMA_CALL);
    automaton_done(&a);
    return st;
}

/* A property of an object, for sorting. */
typedef struct entry { str key; int32_t index; } entry;

static int by_key(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    return by_text(&x->key, &y->key);
}

static void sort_keys(schema *s, const schema_node *x, entry *room)
{
    for (int k = 0; k < 2; k++) {
        for (int32_t i = 0; i < x->count; i++)
            room[i] = (entry){ k ? s->props[x->first + i].name : s->props[x->first + i].text, i };
        qsort(room, (size_t)x->count, sizeof *room, by_key);
        for (int32_t i = 0; i < x->count; i++) (k ? s->by_name : s->by_text)[x->first + i] = room[i].index;
    }
    for (int32_t i = x->count, next = x->count; i-- > 0;) {
        if (s->props[x->first + i].required) next = i;
        s->next_required[x->first + i] = next;
    }
}

static status order_keys(schema_compiler *c)
{
    status st = OK;
    schema *s = c->s;
    size_t n = (size_t)s->prop_count + 1;
    entry *room = NULL;
    int32_t **lists[] = { &s->by_text, &s->by_name, &s->next_required };
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        int32_t *p = mem_resize(*lists[i], n * sizeof *p, MEM_TEXT);
        if (!p) FAIL(c->e, E_NOMEM, "could not compile a JSON schema\nout of memory");
        *lists[i] = p;
    }
    room = mem_array(n, sizeof *room, MEM_TEXT);
    if (!room) FAIL(c->e, E_NOMEM, "could not compile a JSON schema\nout of memory");
    for (int32_t i = c->base; i < s->node_count; i++)
        if (s->nodes[i].kind == SCHEMA_OBJECT || s->nodes[i].kind == SCHEMA_CALLS) sort_keys(s, &s->nodes[i], room);
out:
    mem_free(room);
    return st;
}

/* Items that cannot exist end an array. */
static void limit_arrays(schema *s, int32_t base)
{
    for (int32_t i = base; i < s->node_count; i++) {
        schema_node *x = &s->nodes[i];
        if (x->kind != SCHEMA_ARRAY) continue;
        for (int32_t k = 0; k < x->count; k++)
            if (s->nodes[s->kids[x->first + k]].height == SCHEMA_NEVER_HEIGHT) x->max = MIN(x->max, (uint32_t)k);
        if (s->nodes[x->rest].height == SCHEMA_NEVER_HEIGHT) x->max = MIN(x->max, (uint32_t)x->count);
    }
}

status schema_finish(schema_compiler *c, int32_t root)
{
    status st = OK;
    TRY(order_keys(c));
    TRY(find_heights(c));
    TRY(filter(c));
    TRY(find_heights(c));
    limit_arrays(c->s, c->base);
    if (c->s->nodes[root].height == SCHEMA_NEVER_HEIGHT)
        FAIL(c->e, E_ARG, "cannot use the JSON schema\nno value fits it");
out:
    return st;
}

status schema_add_calls(schema *s, const str *names, const int32_t *arguments, int32_t n, int32_t *node, err *e)
{
    status st = OK;
    schema_compiler c = { .s = s, .base = s->node_count, .e = e };
    schema_node x = { .kind = SCHEMA_CALLS, .first = s->prop_count, .count = n, .rest = SCHEMA_NONE, .pattern = SCHEMA_NONE };
    buf b;
    buf_init(&b, 1 << 16);
    for (int32_t i = 0; i < n; i++) {
        schema_property p = { .node = arguments[i], .required = false };
        buf_clear(&b);
        TRY(buf_add_str(&b, "call:", e));
        TRY(buf_add(&b, names[i].p, names[i].n, e));
        TRY(schema_keep(&c, (str){ buf_text(&b), b.len }, &p.text));
        p.name = p.text;
        TRY(schema_grow(&s->props, s->prop_count, &s->prop_cap, sizeof *s->props, e));
        s->props[s->prop_count++] = p;
    }
    TRY(schema_node_new(&c, x, node));
    TRY(order_keys(&c));
out:
    buf_done(&b);
    mem_free(c.sets);
    return st;
}
