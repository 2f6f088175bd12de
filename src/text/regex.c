#include "text/regex.h"

#include <stdlib.h>

#include "base/bits.h"
#include "base/hash.h"
#include "base/mem.h"
#include "text/regex_int.h"

enum { CLASSES_MAX = 4096, NEVER = UINT16_MAX, PARSE_COST = 2, RANGE_COST = 16 /* steps for each part of a pattern, each of its ranges */ };

static status no_memory(err *e) { return err_set(e, E_NOMEM, "could not make a pattern's automaton\nout of memory"); }
static status too_large(err *e) { return err_set(e, E_UNSUPPORTED, "cannot use a pattern\nit needs more than %d states, or too long to compile", REGEX_STATES_MAX); }

void regex_free(regex *r)
{
    if (!r) return;
    mem_free(r->bounds);
    mem_free(r->next);
    mem_free(r->left);
    mem_free(r->safe);
    mem_free(r->all);
    mem_free(r);
}

bool regex_empty(const regex *r) { return r->left[REGEX_START] == NEVER; }

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Takes bounds (n of them, any order, with repeats) over; the ends are added by the caller. */
static uint32_t tidy_bounds(uint32_t *b, uint32_t n)
{
    uint32_t k = 0;
    qsort(b, n, sizeof *b, by_value);
    for (uint32_t i = 0; i < n; i++)
        if (k == 0 || b[k - 1] != b[i]) b[k++] = b[i];
    return k;
}

static status begin(regex **out, uint32_t *bounds, uint32_t n, uint32_t states, err *e)
{
    regex *r = mem_alloc(sizeof *r, MEM_TEXT);
    if (r) {
        r->bounds = bounds;
        r->classes = tidy_bounds(bounds, n) - 1;
        r->next = mem_array((size_t)states * r->classes, sizeof *r->next, MEM_TEXT);
    }
    if (!r || !r->next || r->classes > CLASSES_MAX) {
        status st = r && r->classes > CLASSES_MAX ? too_large(e) : no_memory(e);
        if (r) regex_free(r); else mem_free(bounds);
        return st;
    }
    for (uint32_t cp = 0, c = 0; cp < 128; cp++) {
        while (r->bounds[c + 1] <= cp) c++;
        r->ascii[cp] = (uint16_t)c;
    }
    *out = r;
    return OK;
}

/* Gives back the room of states that there are not. */
static void shrink(regex *r)
{
    uint16_t *p = mem_resize(r->next, (size_t)r->states * r->classes * sizeof *p, MEM_TEXT);
    if (p) r->next = p;
}

/* ---- what every automaton ends with: ways to a match, dead ends cut away -------------------------------- */

/* For each state the states with an edge to it, each once: [at[s] .. at[s + 1]) of from. */
typedef struct edges { uint32_t *at, *from, *queue; } edges;

static void edges_done(edges *x)
{
    mem_free(x->at);
    mem_free(x->from);
    mem_free(x->queue);
}

static status edges_make(edges *x, const regex *r, err *e)
{
    uint32_t n = r->states, *last;
    x->at = mem_array((size_t)n + 2, sizeof *x->at, MEM_TEXT);
    x->queue = last = mem_array(n, sizeof *last, MEM_TEXT);
    if (!x->at || !last) return no_memory(e);
    for (int pass = 0; pass < 2; pass++) {
        memset(last, 0, n * sizeof *last);
        for (uint32_t s = 0; s < n; s++)
            for (uint32_t c = 0; c < r->classes; c++) {
                uint32_t to = r->next[s * r->classes + c];
                if (last[to] == s + 1) continue;
                last[to] = s + 1;
                if (pass == 0) x->at[to + 2]++; else x->from[x->at[to + 1]++] = s;
            }
        if (pass == 1) break;
        for (uint32_t s = 2; s < n + 2; s++) x->at[s] += x->at[s - 1];
        x->from = mem_array((size_t)x->at[n + 1] + 1, sizeof *x->from, MEM_TEXT);
        if (!x->from) return no_memory(e);
    }
    return OK;
}

/* far[s]: fewest code points from s to a state where it is 0 already; the others come in as NEVER. */
static void spread(const edges *x, uint32_t states, uint16_t *far)
{
    uint32_t n = 0;
    for (uint32_t s = 0; s < states; s++)
        if (far[s] == 0) x->queue[n++] = s;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t to = x->queue[i];
        for (uint32_t k = x->at[to]; k < x->at[to + 1]; k++)
            if (far[x->from[k]] == NEVER) {
                far[x->from[k]] = (uint16_t)(far[to] + 1);
                x->queue[n++] = x->from[k];
            }
    }
}

static void cut_dead_ends(regex *r)
{
    for (size_t i = 0; i < (size_t)r->states * r->classes; i++)
        if (r->left[r->next[i]] == NEVER) r->next[i] = REGEX_DEAD;
}

static status finish(regex *r, const bool *match, err *e)
{
    status st = OK;
    edges x = { 0 };
    uint16_t *far = mem_array(r->states, sizeof *far, MEM_TEXT);
    r->left = mem_array(r->states, sizeof *r->left, MEM_TEXT);
    r->safe = mem_array(r->states, sizeof *r->safe, MEM_TEXT);
    r->all = mem_array(r->states, sizeof *r->all, MEM_TEXT);
    if (!r->left || !r->safe || !r->all || !far) FAIL(e, E_NOMEM, "could not make a pattern's automaton\nout of memory");
    TRY(edges_make(&x, r, e));
    for (uint32_t s = 0; s < r->states; s++) r->left[s] = s && match[s] ? 0 : NEVER;
    spread(&x, r->states, r->left);
    for (uint32_t s = 0; s < r->states; s++) {
        r->safe[s] = r->left[s] == NEVER ? 0 : NEVER;
        far[s] = r->left[s] == 0 ? NEVER : 0;
    }
    spread(&x, r->states, r->safe);
    spread(&x, r->states, far);
    for (uint32_t s = 0; s < r->states; s++) {
        r->all[s] = far[s] == NEVER;
        if (r->safe[s] != NEVER && r->safe[s]) r->safe[s]--;
    }
    cut_dead_ends(r);
out:
    edges_done(&x);
    mem_free(far);
    return st;
}

/* ---- from the graph of a pattern ------------------------------------------------------------------------ */

/* Sets of graph nodes, each a state; sorted lists one after the other. */
typedef struct maker {
    const regex_graph *g;
    regex *r;
    int32_t *items; size_t item_count, item_cap;
    size_t at[REGEX_STATES_MAX + 1];       /* state s: items[at[s] .. at[s + 1]) */
    uint32_t count;
    uint32_t *buckets;                   /* hash -> state; 0 empty */
    bool *match;
    uint32_t *mark, now;                 /* nodes seen in the present closure */
    int32_t *stack;
    int64_t work;
} maker;

enum { BUCKETS = 1 << 16 };

static status room(maker *m, err *e)
{
    if (m->item_count + (size_t)m->g->node_count + 1 <= m->item_cap) return OK;
    size_t cap = m->item_cap * 2 + (size_t)m->g->node_count + 64;
    int32_t *p = mem_resize(m->items, cap * sizeof *p, MEM_TEXT);
    if (!p) return no_memory(e);
    m->items = p;
    m->item_cap = cap;
    return OK;
}

/* Adds what is reached from node n without reading; sets, ends and the match stay in the list. */
static void close_over(maker *m, int32_t n, bool at_begin)
{
    int32_t depth = 0;
    if (n >= 0 && m->mark[n] != m->now) { m->mark[n] = m->now; m->stack[depth++] = n; }
    while (depth) {
        int32_t at = m->stack[--depth];
        const regex_node *x = &m->g->nodes[at];
        m->work--;
        if (x->kind != REGEX_SPLIT && x->kind != REGEX_BEGIN) m->items[m->item_count++] = at;
        if (x->kind != REGEX_SPLIT && !(x->kind == REGEX_BEGIN && at_begin)) continue;
        int32_t to[] = { x->a, x->kind == REGEX_SPLIT ? x->b : -1 };
        for (int k = 0; k < 2; k++)
            if (to[k] >= 0 && m->mark[to[k]] != m->now) { m->mark[to[k]] = m->now; m->stack[depth++] = to[k]; }
    }
}

static int by_node(const void *a, const void *b) { return *(const int32_t *)a - *(const int32_t *)b; }

/* Does the set match when the text ends here? */
static bool matches(maker *m, size_t from, size_t to, bool at_begin)
{
    size_t keep = m->item_count;
    bool found = false;
    m->now++;
    for (size_t i = from; i < to; i++) {
        const regex_node *x = &m->g->nodes[m->items[i]];
        found |= x->kind == REGEX_MATCH;
        if (x->kind == REGEX_END) close_over(m, x->a, at_begin);
        for (size_t k = keep; k < m->item_count; k++) {
            const regex_node *y = &m->g->nodes[m->items[k]];
            found |= y->kind == REGEX_MATCH;
            if (y->kind == REGEX_END) close_over(m, y->a, at_begin);
        }
        m->item_count = keep;
    }
    return found;
}

/* The state of the set that lies behind the last one; a new one when it is new. */
static status intern(maker *m, bool at_begin, uint32_t *state, err *e)
{
    size_t from = m->at[m->count], n = m->item_count - from;
    if (n == 0) { *state = REGEX_DEAD; return OK; }
    for (size_t i = from; i < m->item_count; i++) {
        if (m->items[i] != m->g->rest_set) continue;      /* it has matched: nothing else matters any more */
        m->item_count = from;
        m->now++;
        close_over(m, m->g->rest, false);
        n = m->item_count - from;
        break;
    }
    qsort(m->items + from, n, sizeof *m->items, by_node);
    uint32_t h = (uint32_t)(hash_bytes(m->items + from, n * sizeof *m->items, 1) & (BUCKETS - 1));
    for (; m->buckets[h]; h = (h + 1) & (BUCKETS - 1)) {
        uint32_t s = m->buckets[h];
        if (m->at[s + 1] - m->at[s] != n || memcmp(m->items + m->at[s], m->items + from, n * sizeof *m->items) != 0) continue;
        m->item_count = from;
        *state = s;
        return OK;
    }
    m->work -= (int64_t)n;
    if (m->count == REGEX_STATES_MAX - 1 || m->work < 0) return too_large(e);
    status st = room(m, e);
    if (st != OK) return st;
    m->buckets[h] = *state = m->count++;
    m->at[m->count] = m->item_count;
    m->match[*state] = matches(m, from, m->item_count, at_begin);
    return OK;
}

static bool in_set(const regex_graph *g, const regex_node *x, uint32_t cp)
{
    uint32_t lo = x->first, hi = x->first + x->count;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (g->ranges[mid].hi < cp) lo = mid + 1; else hi = mid;
    }
    return lo < x->first + x->count && g->ranges[lo].lo <= cp;
}

static status follow(maker *m, uint32_t s, uint32_t c, err *e)
{
    status st = OK;
    uint32_t to;
    TRY(room(m, e));
    m->now++;
    for (size_t i = m->at[s]; i < m->at[s + 1]; i++) {
        const regex_node *x = &m->g->nodes[m->items[i]];
        m->work--;
        if (x->kind == REGEX_SET && in_set(m->g, x, m->r->bounds[c])) close_over(m, x->a, false);
    }
    if (m->work < 0) return too_large(e);
    TRY(intern(m, false, &to, e));
    m->r->next[s * m->r->classes + c] = (uint16_t)to;
out:
    return st;
}

static status determine(maker *m, err *e)
{
    status st = OK;
    uint32_t s, n = 0, *bounds = mem_array(2 * (size_t)m->g->range_count + 2, sizeof *bounds, MEM_TEXT);
    if (!bounds) return no_memory(e);
    bounds[n++] = 0;
    bounds[n++] = CODE_POINTS;
    for (uint32_t i = 0; i < m->g->range_count; i++) {
        bounds[n++] = m->g->ranges[i].lo;
        bounds[n++] = m->g->ranges[i].hi + 1;
    }
    TRY(begin(&m->r, bounds, n, REGEX_STATES_MAX, e));
    TRY(room(m, e));
    m->count = 1;
    m->now = 1;
    close_over(m, m->g->start, true);
    TRY(intern(m, true, &s, e));
    for (s = 1; s < m->count; s++)
        for (uint32_t c = 0; c < m->r->classes; c++) TRY(follow(m, s, c, e));
    m->r->states = MAX(m->count, 2);
    shrink(m->r);
    m->work -= (int64_t)m->r->states * m->r->classes;
    if (m->work < 0) FAIL(e, E_UNSUPPORTED, "cannot use a pattern\nits automaton is too large");
    TRY(finish(m->r, m->match, e));
out:
    return st;
}

status regex_new(regex **out, str pattern, int64_t *work, err *e)
{
    status st = OK;
    regex_graph g = { 0 };
    maker *m = mem_alloc(sizeof *m, MEM_TEXT);
    if (!m) return no_memory(e);
    m->g = &g;
    st = regex_parse(&g, pattern, e);
    m->work = *work - PARSE_COST * g.steps - RANGE_COST * (int64_t)g.range_count;
    if (st == OK && m->work < 0) st = too_large(e);
    if (st != OK) goto out;
    m->buckets = mem_array(BUCKETS, sizeof *m->buckets, MEM_TEXT);
    m->match = mem_array(REGEX_STATES_MAX, sizeof *m->match, MEM_TEXT);
    m->mark = mem_array((size_t)g.node_count, sizeof *m->mark, MEM_TEXT);
    m->stack = mem_array((size_t)g.node_count, sizeof *m->stack, MEM_TEXT);
    if (!m->buckets || !m->match || !m->mark || !m->stack) FAIL(e, E_NOMEM, "could not make a pattern's automaton\nout of memory");
    TRY(determine(m, e));
    *out = m->r;
    m->r = NULL;
out:
    *work = m->work;
    regex_graph_done(&g);
    regex_free(m->r);
    mem_free(m->items);
    mem_free(m->buckets);
    mem_free(m->match);
    mem_free(m->mark);
    mem_free(m->stack);
    mem_free(m);
    return st;
}

/* ---- lengths, and both of two ------------------------------------------------------------------------------ */

status regex_new_length(regex **out, uint32_t min, uint32_t max, err *e)
{
    status st = OK;
    regex *r = NULL;
    bool open = max == UINT32_MAX;
    uint32_t last = open ? min : max;
    if (last > REGEX_STATES_MAX - 2) return too_large(e);
    uint32_t n = last + 2, *bounds = mem_array(2, sizeof *bounds, MEM_TEXT);
    bool *match = mem_array(n, sizeof *match, MEM_TEXT);
    if (!bounds || !match) {
        mem_free(bounds);
        mem_free(match);
        return no_memory(e);
    }
    bounds[1] = CODE_POINTS;
    TRY(begin(&r, bounds, 2, n, e));
    r->states = n;
    for (uint32_t s = 1; s < n; s++) {
        match[s] = s - 1 >= min;
        r->next[s] = (uint16_t)(s + 1 < n ? s + 1 : open ? s : REGEX_DEAD);
    }
    TRY(finish(r, match, e));
    *out = r;
    r = NULL;
out:
    regex_free(r);
    mem_free(match);
    return st;
}

/* of[c]: the class of part that class c of r lies in. */
static void classes_in(const regex *r, const regex *part, uint16_t *of)
{
    for (uint32_t c = 0, k = 0; c < r->classes; c++) {
        while (part->bounds[k + 1] <= r->bounds[c]) k++;
        of[c] = (uint16_t)k;
    }
}

status regex_and(regex **out, const regex *a, const regex *b, int64_t *work, err *e)
{
    status st = OK;
    regex *r = NULL;
    uint32_t n = a->classes + b->classes + 2, *bounds = mem_array(n, sizeof *bounds, MEM_TEXT);
    uint32_t *pairs = mem_array(REGEX_STATES_MAX, sizeof *pairs, MEM_TEXT), count = 2;
    uint16_t *known = mem_array((size_t)a->states * b->states, sizeof *known, MEM_TEXT);
    bool *match = mem_array(REGEX_STATES_MAX, sizeof *match, MEM_TEXT);
    uint16_t *of_a = mem_array(2 * (size_t)n, sizeof *of_a, MEM_TEXT), *of_b = of_a + n;
    if (!bounds || !pairs || !known || !match || !of_a) {
        mem_free(bounds);
        FAIL(e, E_NOMEM, "could not make a pattern's automaton\nout of memory");
    }
    memcpy(bounds, a->bounds, (a->classes + 1) * sizeof *bounds);
    memcpy(bounds + a->classes + 1, b->bounds, (b->classes + 1) * sizeof *bounds);
    TRY(begin(&r, bounds, n, REGEX_STATES_MAX, e));
    classes_in(r, a, of_a);
    classes_in(r, b, of_b);
    *work -= (int64_t)n * RANGE_COST;
    pairs[1] = REGEX_START * b->states + REGEX_START;
    known[pairs[1]] = 1;
    for (uint32_t s = 1; s < count; s++) {
        uint32_t x = pairs[s] / b->states, y = pairs[s] % b->states;
        match[s] = a->left[x] == 0 && b->left[y] == 0;
        if ((*work -= 2 * r->classes) < 0) FAIL(e, E_UNSUPPORTED, "cannot use a pattern\nwith its other limits it takes too long to compile");
        for (uint32_t c = 0; c < r->classes; c++) {
            uint32_t p = a->next[x * a->classes + of_a[c]], q = b->next[y * b->classes + of_b[c]], to = p * b->states + q;
            if (p == REGEX_DEAD || q == REGEX_DEAD) continue;
            if (!known[to]) {
                if (count == REGEX_STATES_MAX) FAIL(e, E_UNSUPPORTED, "cannot use a pattern\nwith its other limits it needs too many states");
                pairs[count] = to;
                known[to] = (uint16_t)count++;
            }
            r->next[s * r->classes + c] = known[to];
        }
    }
    r->states = count;
    shrink(r);
    TRY(finish(r, match, e));
    *out = r;
    r = NULL;
out:
    regex_free(r);
    mem_free(pairs);
    mem_free(known);
    mem_free(match);
    mem_free(of_a);
    return st;
}

bool regex_step_any(const regex *r, uint32_t state, uint32_t lo, uint32_t hi)
{
    for (uint32_t c = regex_class(r, lo); c < r->classes && r->bounds[c] <= hi; c++)
        if (r->next[state * r->classes + c] != REGEX_DEAD) return true;
    return false;
}

uint32_t regex_shortest(const regex *r, uint32_t state)
{
    uint32_t best = 0;
    for (uint32_t c = 0; c < r->classes; c++) {
        uint32_t to = r->next[state * r->classes + c];
        if (to == REGEX_DEAD || r->left[to] + 1 != r->left[state]) continue;
        /* a plain character of the class where it has one */
        uint32_t cp = r->bounds[c] < 'a' && r->bounds[c + 1] > 'a' ? 'a' : r->bounds[c] < ' ' && r->bounds[c + 1] > ' ' ? ' ' : r->bounds[c];
        if (cp >= 0xD800 && cp < 0xE000) cp = r->bounds[c + 1] > 0xE000 ? 0xE000 : cp;
        if (best == 0 || (best < ' ' && cp >= ' ')) best = cp;
    }
    return best;
}
