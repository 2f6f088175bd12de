/* A pattern to a nondeterministic automaton (Thompson's construction). */
#include <stdlib.h>

#include "base/bits.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/regex_int.h"

enum { DEPTH_MAX = 64, STEPS_MAX = 100000, REPEAT_MAX = 4096 };

/* A piece of the automaton: from begin to the node `end`, whose edge a is still open. */
typedef struct piece { int32_t begin, end; } piece;

typedef struct reader {
    regex_graph *g;
    str s;
    size_t i;
    int depth, steps;
    err *e;
} reader;

void regex_graph_done(regex_graph *g)
{
    mem_free(g->nodes);
    mem_free(g->ranges);
    *g = (regex_graph){ 0 };
}

static status bad(reader *r, const char *why)
{
    return err_set(r->e, E_ARG, "cannot use the pattern \"%.*s\"\n%s at byte %zu", (int)MIN(r->s.n, 100), r->s.p, why, r->i);
}

static status missing(reader *r, const char *what)
{
    return err_set(r->e, E_UNSUPPORTED, "cannot use the pattern \"%.*s\"\n%s cannot be enforced", (int)MIN(r->s.n, 100), r->s.p, what);
}

static status too_large(reader *r)
{
    return err_set(r->e, E_UNSUPPORTED, "cannot use the pattern \"%.*s\"\nit needs too many states", (int)MIN(r->s.n, 100), r->s.p);
}

static status node(reader *r, regex_node n, int32_t *out)
{
    regex_graph *g = r->g;
    if (g->node_count == REGEX_NODES_MAX || ++r->steps > STEPS_MAX) return too_large(r);
    if (g->node_count == g->node_cap) {
        int32_t cap = g->node_cap ? g->node_cap * 2 : 64;
        regex_node *p = mem_resize(g->nodes, (size_t)cap * sizeof *p, MEM_TEXT);
        if (!p) return err_set(r->e, E_NOMEM, "could not read a pattern\nout of memory");
        g->nodes = p;
        g->node_cap = cap;
    }
    g->nodes[g->node_count] = n;
    *out = g->node_count++;
    return OK;
}

/* A node that only leads on. */
static status empty(reader *r, piece *out)
{
    status st = node(r, (regex_node){ .kind = REGEX_SPLIT, .a = -1, .b = -1 }, &out->begin);
    out->end = out->begin;
    return st;
}

static void join(reader *r, piece *a, piece b)
{
    r->g->nodes[a->end].a = b.begin;
    a->end = b.end;
}

/* ---- sets of code points ---------------------------------------------------------------------------- */

static status add_range(reader *r, uint32_t lo, uint32_t hi)
{
    regex_graph *g = r->g;
    if (g->range_count == REGEX_RANGES_MAX) return too_large(r);
    if (g->range_count == g->range_cap) {
        uint32_t cap = g->range_cap ? g->range_cap * 2 : 64;
        regex_range *p = mem_resize(g->ranges, cap * sizeof *p, MEM_TEXT);
        if (!p) return err_set(r->e, E_NOMEM, "could not read a pattern\nout of memory");
        g->ranges = p;
        g->range_cap = cap;
    }
    g->ranges[g->range_count++] = (regex_range){ lo, hi };
    return OK;
}

static int by_lo(const void *a, const void *b)
{
    const regex_range *x = a, *y = b;
    return x->lo < y->lo ? -1 : x->lo > y->lo;
}

/* Ranges from `first` on: sorted, joined and, when asked for, turned into those that are missing. */
static status settle(reader *r, uint32_t first, bool negate)
{
    status st = OK;
    regex_graph *g = r->g;
    uint32_t n = first, at = 0;
    qsort(g->ranges + first, g->range_count - first, sizeof *g->ranges, by_lo);
    for (uint32_t i = first; i < g->range_count; i++) {
        regex_range x = g->ranges[i];
        if (n > first && x.lo <= g->ranges[n - 1].hi + 1) g->ranges[n - 1].hi = MAX(g->ranges[n - 1].hi, x.hi);
        else g->ranges[n++] = x;
    }
    g->range_count = n;
    if (!negate) return OK;
    for (uint32_t i = first; i < n; i++) {
        regex_range x = g->ranges[i];
        if (x.lo > at) TRY(add_range(r, at, x.lo - 1));
        at = x.hi + 1;
    }
    if (at < CODE_POINTS) TRY(add_range(r, at, CODE_POINTS - 1));
    memmove(g->ranges + first, g->ranges + n, (g->range_count - n) * sizeof *g->ranges);
    g->range_count -= n - first;
out:
    return st;
}

static const regex_range digit[] = { { '0', '9' } }, word[] = { { '0', '9' }, { 'A', 'Z' }, { '_', '_' }, { 'a', 'z' } },
    space[] = { { 9, 13 }, { 32, 32 }, { 0xA0, 0xA0 }, { 0x1680, 0x1680 }, { 0x2000, 0x200A }, { 0x2028, 0x2029 },
                { 0x202F, 0x202F }, { 0x205F, 0x205F }, { 0x3000, 0x3000 }, { 0xFEFF, 0xFEFF } },
    line_end[] = { { 10, 10 }, { 13, 13 }, { 0x2028, 0x2029 } };

static status add_named(reader *r, const regex_range *p, size_t n, bool negate)
{
    status st = OK;
    uint32_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (!negate) TRY(add_range(r, p[i].lo, p[i].hi));
        else if (p[i].lo > at) TRY(add_range(r, at, p[i].lo - 1));
        at = p[i].hi + 1;
    }
    if (negate) TRY(add_range(r, at, CODE_POINTS - 1));
out:
    return st;
}

/* \d \w \s and their opposites. */
static status named(reader *r, char c, bool *found)
{
    *found = true;
    switch (c) {
    case 'd': case 'D': return add_named(r, digit, COUNT_OF(digit), c == 'D');
    case 'w': case 'W': return add_named(r, word, COUNT_OF(word), c == 'W');
    case 's': case 'S': return add_named(r, space, COUNT_OF(space), c == 'S');
    default: *found = false; return OK;
    }
}

static char peek(const reader *r) { return r->i < r->s.n ? r->s.p[r->i] : 0; }
static bool more(const reader *r) { return r->i < r->s.n; }

static status hex(reader *r, size_t n, uint32_t *cp)
{
    *cp = 0;
    for (size_t k = 0; k < n; k++, r->i++) {
        const char *all = "0123456789abcdef0123456789ABCDEF", *p = more(r) && peek(r) ? strchr(all, peek(r)) : NULL;
        if (!p) return bad(r, "a hexadecimal digit is missing");
        *cp = *cp * 16 + (uint32_t)(p - all) % 16;
    }
    return OK;
}

static status unicode_escape(reader *r, uint32_t *cp)
{
    status st = OK;
    if (peek(r) == '{') {
        r->i++;
        for (*cp = 0; more(r) && peek(r) != '}';) {
            uint32_t d;
            TRY(hex(r, 1, &d));
            *cp = *cp * 16 + d;
            if (*cp >= CODE_POINTS) return bad(r, "a code point is too large");
        }
        if (!more(r)) return bad(r, "a } is missing");
        r->i++;
        return OK;
    }
    uint32_t low;
    TRY(hex(r, 4, cp));
    if (*cp >= 0xD800 && *cp < 0xDC00 && str_starts(str_skip(r->s, r->i), "\\u")) {
        r->i += 2;
        TRY(hex(r, 4, &low));
        *cp = 0x10000 + ((*cp - 0xD800) << 10) + ((low - 0xDC00) & 0x3FF);
    }
out:
    return st;
}

/* One character of the pattern, an escape too. */
static status character(reader *r, bool in_class, uint32_t *cp)
{
    static const char from[] = "tnrvf0", to[] = "\t\n\r\v\f";
    if (peek(r) != '\\') {
        int n = utf8_decode(r->s.p + r->i, r->s.n - r->i, cp);
        if (n == 0) return bad(r, "it is not valid UTF-8");
        r->i += (size_t)n;
        return OK;
    }
    r->i++;
    if (!more(r)) return bad(r, "it ends with a backslash");
    char c = r->s.p[r->i++];
    const char *p = c ? strchr(from, c) : NULL;
    if (p) { *cp = (unsigned char)to[p - from]; return OK; }
    if (c == 'b' && in_class) { *cp = 8; return OK; }
    if (c == 'x') return hex(r, 2, cp);
    if (c == 'u') return unicode_escape(r, cp);
    if (c == 'c' && ((peek(r) | 32) >= 'a' && (peek(r) | 32) <= 'z')) { *cp = (uint32_t)r->s.p[r->i++] & 31; return OK; }
    if (c == 'b' || c == 'B') return missing(r, "a word border");
    if (c == 'p' || c == 'P') return missing(r, "a Unicode property");
    if (c == 'k' || (c >= '1' && c <= '9')) return missing(r, "a back reference");
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return bad(r, "there is an unknown escape");
    r->i--;
    int n = utf8_decode(r->s.p + r->i, r->s.n - r->i, cp);
    if (n == 0) return bad(r, "it is not valid UTF-8");
    r->i += (size_t)n;
    return OK;
}

/* \d and the like at the reader's place; *found tells. */
static status shorthand(reader *r, bool *found)
{
    *found = false;
    if (peek(r) != '\\' || r->i + 1 >= r->s.n) return OK;
    status st = named(r, r->s.p[r->i + 1], found);
    if (*found) r->i += 2;
    return st;
}

static status set_node(reader *r, uint32_t first, bool negate, piece *out)
{
    status st = OK;
    TRY(settle(r, first, negate));
    TRY(node(r, (regex_node){ .kind = REGEX_SET, .a = -1, .b = -1, .first = first, .count = r->g->range_count - first }, &out->begin));
    out->end = out->begin;
out:
    return st;
}

/* After "[" */
static status class(reader *r, piece *out)
{
    status st = OK;
    uint32_t first = r->g->range_count;
    bool negate = peek(r) == '^', found, is_set;
    r->i += negate;
    while (more(r) && peek(r) != ']') {
        uint32_t lo, hi;
        TRY(shorthand(r, &found));
        if (found) continue;
        TRY(character(r, true, &lo));
        hi = lo;
        is_set = r->i + 2 < r->s.n && r->s.p[r->i + 1] == '\\' && r->s.p[r->i + 2] && strchr("dDwWsS", r->s.p[r->i + 2]);
        if (peek(r) == '-' && r->i + 1 < r->s.n && r->s.p[r->i + 1] != ']' && !is_set) {
            r->i++;
            TRY(character(r, true, &hi));
            if (hi < lo) return bad(r, "a range runs backwards");
        }
        TRY(add_range(r, lo, hi));
    }
    if (!more(r)) return bad(r, "a ] is missing");
    r->i++;
    TRY(set_node(r, first, negate, out));
out:
    return st;
}

/* ---- structure ---------------------------------------------------------------------------------------- */

static status alternatives(reader *r, piece *out);

/* After "(" */
static status group(reader *r, piece *out)
{
    status st = OK;
    str rest = str_skip(r->s, r->i);
    if (str_starts(rest, "?=") || str_starts(rest, "?!") || str_starts(rest, "?<=") || str_starts(rest, "?<!")) return missing(r, "look-around");
    if (str_starts(rest, "?:")) r->i += 2;
    else if (str_starts(rest, "?<")) {
        while (more(r) && peek(r) != '>') r->i++;
        r->i += more(r);
    } else if (str_starts(rest, "?")) return bad(r, "there is an unknown kind of group");
    if (++r->depth > DEPTH_MAX) return too_large(r);
    TRY(alternatives(r, out));
    r->depth--;
    if (peek(r) != ')') return bad(r, "a ) is missing");
    r->i++;
out:
    return st;
}

static status atom(reader *r, piece *out)
{
    status st = OK;
    uint32_t first = r->g->range_count, cp;
    bool found;
    char c = peek(r);
    if (++r->steps > STEPS_MAX) return too_large(r);
    if (c == '(') { r->i++; return group(r, out); }
    if (c == '[') { r->i++; return class(r, out); }
    if (c == '^' || c == '$') {
        r->i++;
        st = node(r, (regex_node){ .kind = c == '^' ? REGEX_BEGIN : REGEX_END, .a = -1, .b = -1 }, &out->begin);
        out->end = out->begin;
        return st;
    }
    if (c == '.') {
        r->i++;
        TRY(add_named(r, line_end, COUNT_OF(line_end), true));
        return set_node(r, first, false, out);
    }
    if (c == '*' || c == '+' || c == '?') return bad(r, "there is nothing to repeat");
    TRY(shorthand(r, &found));
    if (!found) {
        TRY(character(r, false, &cp));
        TRY(add_range(r, cp, cp));
    }
    TRY(set_node(r, first, false, out));
out:
    return st;
}

/* "{2}", "{2,}", "{2,5}"; false: it is plain text. */
static bool braces(reader *r, int *min, int *max)
{
    size_t i = r->i + 1, start = i;
    int v[2] = { 0, -1 };
    for (; i < r->s.n && r->s.p[i] >= '0' && r->s.p[i] <= '9'; i++) v[0] = MIN(v[0] * 10 + (r->s.p[i] - '0'), REPEAT_MAX + 1);
    if (i == start) return false;
    if (i < r->s.n && r->s.p[i] == ',') {
        start = ++i;
        for (; i < r->s.n && r->s.p[i] >= '0' && r->s.p[i] <= '9'; i++) v[1] = MIN(MAX(v[1], 0) * 10 + (r->s.p[i] - '0'), REPEAT_MAX + 1);
    } else v[1] = v[0];
    if (i >= r->s.n || r->s.p[i] != '}') return false;
    *min = v[0];
    *max = v[1];
    r->i = i + 1;
    return true;
}

/* x* around the piece */
static status star(reader *r, piece *p)
{
    int32_t s;
    status st = node(r, (regex_node){ .kind = REGEX_SPLIT, .a = -1, .b = p->begin }, &s);
    if (st != OK) return st;
    r->g->nodes[p->end].a = s;
    *p = (piece){ s, s };
    return OK;
}

/* x? around the piece */
static status maybe(reader *r, piece *p)
{
    status st = OK;
    piece end;
    int32_t s;
    TRY(empty(r, &end));
    TRY(node(r, (regex_node){ .kind = REGEX_SPLIT, .a = end.begin, .b = p->begin }, &s));
    r->g->nodes[p->end].a = end.begin;
    *p = (piece){ s, end.end };
out:
    return st;
}

/* The atom at `at` again min to max times (max -1: without end); the pattern is read again for each copy. */
static status repeat(reader *r, size_t at, int min, int max, piece *out)
{
    status st = OK;
    size_t after = r->i;
    int depth = r->depth;
    piece p;
    if (max >= 0 && max < min) return bad(r, "a repetition runs backwards");
    if (min > REPEAT_MAX || max > REPEAT_MAX) return too_large(r);
    TRY(empty(r, out));
    for (int k = 0; k < (max < 0 ? min + 1 : max); k++) {
        r->i = at;
        r->depth = depth;
        TRY(atom(r, &p));
        if (k >= min) TRY(max < 0 ? star(r, &p) : maybe(r, &p));
        join(r, out, p);
    }
    r->i = after;
out:
    return st;
}

static status quantified(reader *r, piece *out)
{
    status st = OK;
    size_t at = r->i;
    int min = 1, max = 1;
    bool some = true;
    TRY(atom(r, out));
    char c = peek(r);
    if (c == '*' || c == '+' || c == '?') {
        min = c == '+';
        max = c == '?' ? 1 : -1;
        r->i++;
    } else some = c == '{' && braces(r, &min, &max);
    if (!some) return OK;
    if (peek(r) == '?') r->i++;      /* lazy: the same texts */
    TRY(repeat(r, at, min, max, out));
    c = peek(r);
    if (c == '*' || c == '+' || c == '?') return bad(r, "there is nothing to repeat");
out:
    return st;
}

static status sequence(reader *r, piece *out)
{
    status st = OK;
    piece p;
    TRY(empty(r, out));
    while (more(r) && peek(r) != '|' && peek(r) != ')') {
        TRY(quantified(r, &p));
        join(r, out, p);
    }
out:
    return st;
}

static status alternatives(reader *r, piece *out)
{
    status st = OK;
    piece p, end;
    TRY(sequence(r, out));
    while (peek(r) == '|') {
        int32_t s;
        r->i++;
        TRY(sequence(r, &p));
        TRY(empty(r, &end));
        TRY(node(r, (regex_node){ .kind = REGEX_SPLIT, .a = out->begin, .b = p.begin }, &s));
        r->g->nodes[out->end].a = end.begin;
        r->g->nodes[p.end].a = end.begin;
        *out = (piece){ s, end.end };
    }
out:
    return st;
}

/* Any text: stands before and behind a pattern, which may match anywhere. */
static status anything(reader *r, piece *out)
{
    status st = OK;
    uint32_t first = r->g->range_count;
    TRY(add_range(r, 0, CODE_POINTS - 1));
    TRY(set_node(r, first, false, out));
    r->g->rest_set = out->begin;
    TRY(star(r, out));
out:
    return st;
}

status regex_parse(regex_graph *g, str pattern, err *e)
{
    status st = OK;
    reader r = { .g = g, .s = pattern, .e = e };
    piece all, p;
    int32_t match;
    if (pattern.n > REGEX_PATTERN_MAX) return too_large(&r);
    TRY(anything(&r, &all));
    TRY(alternatives(&r, &p));
    if (more(&r)) return bad(&r, "there is a ) too many");
    join(&r, &all, p);
    TRY(anything(&r, &p));
    g->rest = p.begin;
    join(&r, &all, p);
    TRY(node(&r, (regex_node){ .kind = REGEX_MATCH, .a = -1, .b = -1 }, &match));
    g->nodes[all.end].a = match;
    g->start = all.begin;
out:
    g->steps = r.steps;
    return st;
}
