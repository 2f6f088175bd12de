#include "text/automaton.h"

#include "base/bits.h"
#include "base/hash.h"
#include "text/trie.h"

enum { HEADS = 1 << 14 };
#define NO_FRAME UINT32_MAX

typedef automaton_thread thread;
typedef automaton_state state;

status automaton_init(automaton *a, const schema *s, err *e)
{
    a->s = s;
    a->frames = mem_array(AUTOMATON_FRAMES_MAX, sizeof *a->frames, MEM_TEXT);
    a->next = mem_array(AUTOMATON_FRAMES_MAX, sizeof *a->next, MEM_TEXT);
    a->heads = mem_array(HEADS, sizeof *a->heads, MEM_TEXT);
    if (!a->frames || !a->next || !a->heads) {
        automaton_done(a);
        return err_set(e, E_NOMEM, "could not constrain an answer\nout of memory");
    }
    a->frame_count = 1;
    a->frames[0].node = SCHEMA_NONE;
    return OK;
}

void automaton_done(automaton *a)
{
    mem_free(a->frames);
    mem_free(a->next);
    mem_free(a->heads);
    *a = (automaton){ 0 };
}

/* ---- frames ---------------------------------------------------------------------------------------------- */

static uint32_t bucket(const automaton_frame *f) { return (uint32_t)hash_bytes(f, sizeof *f, 3) & (HEADS - 1); }

/* The number of an equal frame, made when there is none; NO_FRAME: there is no more room. */
static uint32_t frame(automaton *a, automaton_frame f)
{
    uint32_t b = bucket(&f);
    for (uint32_t i = a->heads[b]; i; i = a->next[i])
        if (memcmp(&a->frames[i], &f, sizeof f) == 0) return i;
    if (a->frame_count == AUTOMATON_FRAMES_MAX) return NO_FRAME;
    uint32_t i = a->frame_count++;
    a->frames[i] = f;
    a->next[i] = a->heads[b];
    a->heads[b] = i;
    return i;
}

void automaton_reset(automaton *a, uint32_t mark)
{
    while (a->frame_count > mark) {
        uint32_t i = --a->frame_count;
        a->heads[bucket(&a->frames[i])] = a->next[i];      /* the newest stands first in its list */
    }
}

void automaton_collect(automaton *a, state **states, int32_t n)
{
    uint32_t count = 1, *to = a->next;      /* the lists are made again anyway */
    memset(to, 0, a->frame_count * sizeof *to);
    for (int32_t i = 0; i < n; i++)
        for (int32_t k = 0; k < states[i]->count; k++) to[states[i]->threads[k].frame] = 1;
    for (uint32_t i = a->frame_count; i-- > 1;)
        if (to[i]) to[a->frames[i].parent] = 1;
    to[0] = 0;
    for (uint32_t i = 1; i < a->frame_count; i++) {
        if (!to[i]) continue;
        automaton_frame f = a->frames[i];
        f.parent = to[f.parent];
        a->frames[count] = f;
        to[i] = count++;
    }
    for (int32_t i = 0; i < n; i++)
        for (int32_t k = 0; k < states[i]->count; k++) states[i]->threads[k].frame = to[states[i]->threads[k].frame];
    a->frame_count = count;
    memset(a->heads, 0, HEADS * sizeof *a->heads);
    for (uint32_t i = 1; i < count; i++) {
        uint32_t b = bucket(&a->frames[i]);
        a->next[i] = a->heads[b];
        a->heads[b] = i;
    }
}

/* ---- small questions --------------------------------------------------------------------------------------- */

static bool lives(const automaton *a, int32_t node, uint32_t depth)
{
    return a->s->nodes[node].height + (int32_t)depth <= SCHEMA_DEPTH_MAX;
}

/* May property i of the object still come? */
static bool may_come(const automaton *a, const automaton_frame *f, const schema_node *x, int32_t i)
{
    if (!lives(a, a->s->props[x->first + i].node, f->depth)) return false;
    if (x->kind == SCHEMA_CALLS) return true;
    if (x->any_order) return !(f->used[i / 64] >> (i % 64) & 1);
    return (uint32_t)i >= f->count && (f->count >= (uint32_t)x->count || i <= a->s->next_required[x->first + (int32_t)f->count]);
}

static bool missing_required(const automaton *a, const automaton_frame *f, const schema_node *x)
{
    if (!x->any_order) return f->count < (uint32_t)x->count && a->s->next_required[x->first + (int32_t)f->count] < x->count;
    for (int32_t i = 0; i < x->count; i++)
        if (a->s->props[x->first + i].required && !(f->used[i / 64] >> (i % 64) & 1)) return true;
    return false;
}

/* Keys that nobody declared may come; in order they stand behind all others. */
static bool others_may_come(const automaton *a, const automaton_frame *f, const schema_node *x)
{
    return x->rest != SCHEMA_NONE && lives(a, x->rest, f->depth) && (x->any_order || !missing_required(a, f, x));
}

static bool any_key(const automaton *a, const automaton_frame *f, const schema_node *x)
{
    if (others_may_come(a, f, x)) return true;
    for (int32_t i = x->any_order ? 0 : (int32_t)f->count; i < x->count; i++)
        if (may_come(a, f, x, i)) return true;
    return false;
}

static int32_t item_node(const automaton *a, const schema_node *x, uint32_t i)
{
    return i < (uint32_t)x->count ? a->s->kids[x->first + (int32_t)i] : x->rest;
}

static bool item_may_come(const automaton *a, const automaton_frame *f, const schema_node *x)
{
    return f->count < x->max && lives(a, item_node(a, x, f->count), f->depth);
}

/* The last key or text of sorted ones lo .. hi that has byte b at place `at`: narrows both ends. */
static void narrow(const automaton *a, const schema_node *x, int list, uint32_t *lo, uint32_t *hi, uint32_t at, unsigned char b)
{
    const schema *s = a->s;
    for (int end = 0; end < 2; end++) {
        uint32_t l = *lo, h = *hi;
        while (l < h) {
            uint32_t mid = (l + h) / 2;
            str t = list == 0 ? s->texts[x->first + (int32_t)mid] : list == 1 ? s->props[x->first + s->by_text[x->first + (int32_t)mid]].text
                                                                            : s->props[x->first + s->by_name[x->first + (int32_t)mid]].name;
            int c = at < t.n ? (unsigned char)t.p[at] : -1;
            if (c < (int)b + end) l = mid + 1; else h = mid;
        }
        if (end == 0) *lo = l; else *hi = l;
    }
}

/* ---- threads ------------------------------------------------------------------------------------------------- */

static void emit(state *out, const thread *t)
{
    for (int32_t i = 0; i < out->count; i++)
        if (memcmp(&out->threads[i], t, sizeof *t) == 0) return;
    /* a way too many is left out: each of the others can be completed without it */
    if (out->count < AUTOMATON_THREADS_MAX) out->threads[out->count++] = *t;
}

static void emit_after(state *out, uint32_t f)
{
    emit(out, &(thread){ .mode = AUTOMATON_AFTER, .frame = f, .node = SCHEMA_NONE });
}

static void emit_value(state *out, uint32_t f, int32_t node)
{
    emit(out, &(thread){ .mode = AUTOMATON_VALUE, .frame = f, .node = node });
}

static void after(automaton *a, uint32_t f, unsigned char b, state *out);

static void literal(automaton *a, const thread *t, unsigned char b, state *out)
{
    const schema_node *x = &a->s->nodes[t->node];
    thread n = *t;
    narrow(a, x, 0, &n.lo, &n.hi, n.at, b);
    n.at++;
    if (n.lo < n.hi) emit(out, &n);
    else if (a->s->texts[x->first + (int32_t)t->lo].n == t->at) after(a, t->frame, b, out);
}

static void open_object(automaton *a, int32_t node, uint32_t parent, state *out)
{
    const schema_node *x = &a->s->nodes[node];
    automaton_frame f = { .parent = parent, .node = node, .depth = a->frames[parent].depth + 1 };
    uint32_t i = frame(a, f);
    if (i == NO_FRAME) return;
    if (!missing_required(a, &f, x)) emit(out, &(thread){ .mode = AUTOMATON_CLOSE, .frame = i, .node = SCHEMA_NONE });
    if (any_key(a, &f, x)) emit(out, &(thread){ .mode = AUTOMATON_KEY, .frame = i, .node = SCHEMA_NONE });
}

static void next_item(automaton *a, automaton_frame f, const schema_node *x, state *out)
{
    int32_t node = item_node(a, x, f.count);
    /* beyond what the schema counts, all items are alike */
    if (f.count < MAX(x->min, (uint32_t)x->count) || x->max != UINT32_MAX) f.count++;
    uint32_t i = frame(a, f);
    if (i != NO_FRAME) emit_value(out, i, node);
}

static void open_array(automaton *a, int32_t node, uint32_t parent, state *out)
{
    const schema_node *x = &a->s->nodes[node];
    automaton_frame f = { .parent = parent, .node = node, .depth = a->frames[parent].depth + 1 };
    uint32_t i = frame(a, f);
    if (i == NO_FRAME) return;
    if (x->min == 0) emit(out, &(thread){ .mode = AUTOMATON_CLOSE, .frame = i, .node = SCHEMA_NONE });
    if (item_may_come(a, &f, x)) next_item(a, f, x, out);
}

static void value(automaton *a, uint32_t f, int32_t node, unsigned char b, state *out)
{
    const schema_node *x = &a->s->nodes[node];
    thread t = { .frame = f, .node = node };
    a->steps++;
    if (!lives(a, node, a->frames[f].depth)) return;
    switch (x->kind) {
    case SCHEMA_UNION:
        for (int32_t i = 0; i < x->count; i++) value(a, f, a->s->kids[x->first + i], b, out);
        return;
    case SCHEMA_LITERALS:
        t.mode = AUTOMATON_LITERAL;
        t.hi = (uint32_t)x->count;
        literal(a, &t, b, out);
        return;
    case SCHEMA_STRING:
        t.mode = AUTOMATON_STRING;
        t.lo = REGEX_START;
        if (b == (a->s->syntax == SCHEMA_JSON ? '"' : (unsigned char)SCHEMA_QUOTE)) emit(out, &t);
        return;
    case SCHEMA_NUMBER:
        t.mode = AUTOMATON_NUMBER;
        if (digits_step(&x->range, &t.number, (char)b)) emit(out, &t);
        return;
    case SCHEMA_ARRAY:  if (b == '[') open_array(a, node, f, out); return;
    case SCHEMA_OBJECT: if (b == '{') open_object(a, node, f, out); return;
    case SCHEMA_CALLS: break;      /* stands where a value may begin, never in one */
    }
}

/* Behind a value of frame f. */
static void after(automaton *a, uint32_t i, unsigned char b, state *out)
{
    if (i == 0) return;
    automaton_frame f = a->frames[i];
    const schema_node *x = &a->s->nodes[f.node];
    if (x->kind == SCHEMA_OBJECT) {
        if (b == '}' && !missing_required(a, &f, x)) emit_after(out, f.parent);
        if (b == ',' && any_key(a, &f, x)) emit(out, &(thread){ .mode = AUTOMATON_KEY, .frame = i, .node = SCHEMA_NONE });
    } else {
        if (b == ']' && f.count >= x->min) emit_after(out, f.parent);
        if (b == ',' && item_may_come(a, &f, x)) next_item(a, f, x, out);
    }
}

/* ---- characters of strings and keys --------------------------------------------------------------------------- */

static uint32_t min_code(int size) { return size == 2 ? 0x80 : size == 3 ? 0x800 : size == 4 ? 0x10000 : 0; }

/* Code points that a string may have next: those that its pattern and length leave, of lo .. hi. */
static bool may_have(const automaton *a, const thread *t, uint32_t lo, uint32_t hi)
{
    if (t->mode != AUTOMATON_STRING) return true;
    const schema_node *x = &a->s->nodes[t->node];
    if (x->pattern != SCHEMA_NONE) return regex_step_any(a->s->patterns[x->pattern], t->lo, lo, hi);
    return t->at < x->max;
}

/* The thread has read a whole character. */
static bool take(const automaton *a, thread *t, uint32_t cp)
{
    if (!may_have(a, t, cp, cp)) return false;
    t->inside = AUTOMATON_PLAIN;
    t->size = 0;
    t->code = t->high = 0;
    if (t->mode != AUTOMATON_STRING) return true;
    const schema_node *x = &a->s->nodes[t->node];
    if (x->pattern != SCHEMA_NONE) t->lo = regex_step(a->s->patterns[x->pattern], t->lo, cp);
    else if (t->at < MAX(x->min, x->max == UINT32_MAX ? 0 : x->max)) t->at++;      /* beyond that all are alike */
    return true;
}

/* One byte of a character as it stands in the text. */
static bool raw_byte(const automaton *a, thread *t, unsigned char b)
{
    if (t->inside == AUTOMATON_PLAIN) {
        if (b < 0x80) return take(a, t, b);
        int size = b >= 0xC2 && b < 0xE0 ? 2 : b >= 0xE0 && b < 0xF0 ? 3 : b >= 0xF0 && b < 0xF5 ? 4 : 0;
        if (!size) return false;
        t->size = (uint8_t)size;
        t->inside = (uint8_t)(AUTOMATON_UTF8 + size - 1);
        t->code = b & (0xFFu >> (size + 1));
    } else {
        if ((b & 0xC0) != 0x80) return false;
        t->inside--;
        t->code = t->code << 6 | (b & 0x3F);
    }
    int missing = t->inside - AUTOMATON_UTF8;
    uint32_t lo = t->code << (6 * missing), hi = lo | ((1u << (6 * missing)) - 1);
    lo = MAX(lo, min_code(t->size));
    hi = MIN(hi, 0x10FFFF);
    if (lo >= 0xD800 && lo <= 0xDFFF) lo = 0xE000;
    if (hi >= 0xD800 && hi <= 0xDFFF) hi = 0xD7FF;
    if (lo > hi) return false;
    return missing == 0 ? take(a, t, t->code) : may_have(a, t, lo, hi);
}

static int hex_value(unsigned char b)
{
    return b >= '0' && b <= '9' ? b - '0' : (b | 32) >= 'a' && (b | 32) <= 'f' ? (b | 32) - 'a' + 10 : -1;
}

/* Where only some characters may come, \u is for control characters alone: they have no other spelling. */
static bool is_free(const automaton *a, const thread *t)
{
    return t->mode != AUTOMATON_STRING || a->s->nodes[t->node].pattern == SCHEMA_NONE || a->s->patterns[a->s->nodes[t->node].pattern]->all[t->lo];
}

static bool hex_digit(const automaton *a, thread *t, unsigned char b)
{
    int v = hex_value(b), read = t->inside - AUTOMATON_HEX;
    if (v < 0) return false;
    t->code = t->code * 16 + (uint32_t)v;
    t->inside++;
    int missing = 3 - read;
    uint32_t lo = t->code << (4 * missing), hi = lo | ((1u << (4 * missing)) - 1);
    if (!is_free(a, t)) {
        hi = MIN(hi, 0x1F);
        lo = MAX(lo, 1);
        return lo <= hi && (missing ? may_have(a, t, lo, hi) : take(a, t, t->code));
    }
    if (missing) return lo < 0xDC00 || lo > 0xDFFF || hi > 0xDFFF;
    if (t->code == 0 || (t->code >= 0xDC00 && t->code <= 0xDFFF)) return false;
    if (t->code < 0xD800 || t->code > 0xDFFF) return take(a, t, t->code);
    t->high = t->code;
    t->code = 0;
    t->inside = AUTOMATON_PAIR;
    return true;
}

/* The second half of a pair: \uDC00 .. \uDFFF. */
static bool pair(const automaton *a, thread *t, unsigned char b)
{
    if (t->inside == AUTOMATON_PAIR || t->inside == AUTOMATON_PAIR_U) {
        if (b != (t->inside == AUTOMATON_PAIR ? '\\' : 'u')) return false;
        t->inside++;
        return true;
    }
    int v = hex_value(b), read = t->inside - AUTOMATON_PAIR_HEX;
    if (v < 0 || (read == 0 && v != 13) || (read == 1 && v < 12)) return false;
    t->code = t->code * 16 + (uint32_t)v;
    t->inside++;
    return read < 3 || take(a, t, 0x10000 + ((t->high - 0xD800) << 10) + (t->code - 0xDC00));
}

static bool escape(const automaton *a, thread *t, unsigned char b)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *p = b ? strchr(from, b) : NULL;
    if (p) return take(a, t, (unsigned char)to[p - from]);
    if (b != 'u') return false;
    t->inside = AUTOMATON_HEX;
    t->code = 0;
    return is_free(a, t) ? may_have(a, t, 0, 0x10FFFF) : may_have(a, t, 1, 0x1F);
}

static bool may_escape(const automaton *a, const thread *t)
{
    static const char plain[] = "\"\\/";
    bool ok = may_have(a, t, 1, 0x1F);
    for (int i = 0; i < 3; i++) ok = ok || may_have(a, t, (unsigned char)plain[i], (unsigned char)plain[i]);
    return ok;
}

/* A byte inside a quoted text that does not end it. */
static bool quoted_byte(const automaton *a, thread *t, unsigned char b, bool escapes)
{
    if (t->inside >= AUTOMATON_PAIR) return pair(a, t, b);
    if (t->inside >= AUTOMATON_HEX) return hex_digit(a, t, b);
    if (t->inside == AUTOMATON_ESCAPE) return escape(a, t, b);
    if (a->s->syntax == SCHEMA_CALL) return b != 0 && raw_byte(a, t, b);
    if (t->inside == AUTOMATON_PLAIN && b == '\\') {
        if (!escapes || !may_escape(a, t)) return false;
        t->inside = AUTOMATON_ESCAPE;
        return true;
    }
    return b >= ' ' && b != '"' && raw_byte(a, t, b);
}

static bool string_may_end(const automaton *a, const thread *t)
{
    const schema_node *x = &a->s->nodes[t->node];
    if (t->inside != AUTOMATON_PLAIN) return false;
    return x->pattern != SCHEMA_NONE ? a->s->patterns[x->pattern]->left[t->lo] == 0 : t->at >= x->min;
}

static unsigned char quote_of(const automaton *a) { return a->s->syntax == SCHEMA_JSON ? '"' : (unsigned char)SCHEMA_QUOTE; }

static void string(automaton *a, const thread *t, unsigned char b, state *out)
{
    thread n = *t;
    if (t->inside == AUTOMATON_PLAIN && b >= ' ' && b < 0x80 && b != '"' && b != '\\') {      /* the usual characters */
        if (take(a, &n, b)) emit(out, &n);
        return;
    }
    if (b == quote_of(a) && t->inside == AUTOMATON_PLAIN) {
        if (string_may_end(a, t)) emit_after(out, t->frame);
    } else if (quoted_byte(a, &n, b, true)) emit(out, &n);
}

/* ---- keys ------------------------------------------------------------------------------------------------------- */

static void property_value(automaton *a, const thread *t, int32_t index, state *out)
{
    automaton_frame f = a->frames[t->frame];
    const schema_node *x = &a->s->nodes[f.node];
    if (x->kind == SCHEMA_CALLS) {
        emit_value(out, 0, a->s->props[x->first + index].node);
        return;
    }
    if (x->any_order) f.used[index / 64] |= (uint64_t)1 << (index % 64);
    else f.count = (uint32_t)index + 1;
    uint32_t i = frame(a, f);
    if (i != NO_FRAME) emit_value(out, i, a->s->props[x->first + index].node);
}

static void declared_key(automaton *a, const thread *t, unsigned char b, state *out)
{
    const automaton_frame *f = &a->frames[t->frame];
    const schema_node *x = &a->s->nodes[f->node];
    thread n = *t;
    bool some = false;
    narrow(a, x, 1, &n.lo, &n.hi, n.at, b);
    n.at++;
    for (uint32_t i = n.lo; i < n.hi && !some; i++) some = may_come(a, f, x, a->s->by_text[x->first + (int32_t)i]);
    if (!some) return;
    int32_t index = a->s->by_text[x->first + (int32_t)n.lo];
    bool whole = a->s->props[x->first + index].text.n == n.at;
    if (whole) property_value(a, &n, index, out);
    n.lo += whole;      /* a longer name may begin like this one */
    if (n.lo < n.hi) emit(out, &n);
}

/* The key that was read is a declared one, so it is not another. */
static bool is_declared(const automaton *a, const thread *t, const schema_node *x)
{
    return t->lo < t->hi && a->s->props[x->first + a->s->by_name[x->first + (int32_t)t->lo]].name.n == t->at;
}

static void other_key(automaton *a, const thread *t, unsigned char b, state *out)
{
    const schema_node *x = &a->s->nodes[a->frames[t->frame].node];
    thread n = *t;
    if (b == quote_of(a) && t->inside == AUTOMATON_PLAIN) {
        if (!is_declared(a, t, x)) emit(out, &(thread){ .mode = AUTOMATON_COLON, .frame = t->frame, .node = SCHEMA_NONE });
        return;
    }
    if (!quoted_byte(a, &n, b, x->count == 0)) return;
    narrow(a, x, 2, &n.lo, &n.hi, n.at, b);
    n.at += n.lo < n.hi;      /* counted as long as it may still be a declared one */
    if (n.lo >= n.hi) n.lo = n.hi = n.at = 0;
    emit(out, &n);
}

static void other_value(automaton *a, uint32_t i, state *out)
{
    automaton_frame f = a->frames[i];
    const schema_node *x = &a->s->nodes[f.node];
    if (!x->any_order) f.count = (uint32_t)x->count;
    i = frame(a, f);
    if (i != NO_FRAME) emit_value(out, i, x->rest);
}

static void bare_key(automaton *a, const thread *t, unsigned char b, state *out)
{
    const schema_node *x = &a->s->nodes[a->frames[t->frame].node];
    thread n = *t;
    if (b == ':') {
        if (!is_declared(a, t, x)) other_value(a, t->frame, out);
        return;
    }
    if (!trie_is_bare(b)) return;
    narrow(a, x, 2, &n.lo, &n.hi, n.at, b);
    n.at += n.lo < n.hi;
    if (n.lo >= n.hi) n.lo = n.hi = n.at = 0;
    emit(out, &n);
}

bool automaton_key_is_open(const automaton *a, const thread *t)
{
    const automaton_frame *f = &a->frames[t->frame];
    const schema_node *x = &a->s->nodes[f->node];
    return t->mode == AUTOMATON_KEY && x->kind == SCHEMA_OBJECT && others_may_come(a, f, x);
}

static void key(automaton *a, const thread *t, unsigned char b, state *out)
{
    const automaton_frame *f = &a->frames[t->frame];
    const schema_node *x = &a->s->nodes[f->node];
    thread n = { .frame = t->frame, .node = SCHEMA_NONE, .mode = AUTOMATON_DECLARED, .hi = (uint32_t)x->count };
    bool others = others_may_come(a, f, x);
    declared_key(a, &n, b, out);
    if (!others) return;
    n.mode = AUTOMATON_OTHER_KEY;
    if (b == quote_of(a)) emit(out, &n);
    n.mode = AUTOMATON_BARE_KEY;
    if (a->s->syntax == SCHEMA_CALL && trie_is_bare(b)) bare_key(a, &n, b, out);
}

/* ---- all -------------------------------------------------------------------------------------------------------- */

static void step(automaton *a, const thread *t, unsigned char b, state *out)
{
    const automaton_frame *f = &a->frames[t->frame];
    switch ((automaton_mode)t->mode) {
    case AUTOMATON_VALUE:     value(a, t->frame, t->node, b, out); return;
    case AUTOMATON_LITERAL:   literal(a, t, b, out); return;
    case AUTOMATON_STRING:    string(a, t, b, out); return;
    case AUTOMATON_KEY:       key(a, t, b, out); return;
    case AUTOMATON_DECLARED:  declared_key(a, t, b, out); return;
    case AUTOMATON_OTHER_KEY: other_key(a, t, b, out); return;
    case AUTOMATON_BARE_KEY:  bare_key(a, t, b, out); return;
    case AUTOMATON_COLON:     if (b == ':') other_value(a, t->frame, out); return;
    case AUTOMATON_AFTER:     after(a, t->frame, b, out); return;
    case AUTOMATON_CLOSE:
        if (b == (a->s->nodes[f->node].kind == SCHEMA_OBJECT ? '}' : ']')) emit_after(out, f->parent);
        return;
    case AUTOMATON_NUMBER: {
        const digits_range *r = &a->s->nodes[t->node].range;
        thread n = *t;
        if (digits_step(r, &n.number, (char)b)) emit(out, &n);
        else if (digits_complete(r, &t->number)) after(a, t->frame, b, out);
    }
    }
}

void automaton_step(automaton *a, const state *in, unsigned char b, state *out)
{
    out->count = 0;
    a->steps += in->count;
    for (int32_t i = 0; i < in->count; i++) step(a, &in->threads[i], b, out);
}

void automaton_begin(automaton *a, int32_t node, state *out)
{
    out->count = 0;
    if (a->s->nodes[node].kind != SCHEMA_CALLS) emit_value(out, 0, node);
    else emit(out, &(thread){ .mode = AUTOMATON_KEY, .frame = frame(a, (automaton_frame){ .node = node }), .node = SCHEMA_NONE });
}

static bool ended(const automaton *a, const thread *t)
{
    if (t->frame != 0) return false;
    if (t->mode == AUTOMATON_NUMBER) return digits_complete(&a->s->nodes[t->node].range, &t->number);
    if (t->mode == AUTOMATON_LITERAL) return a->s->texts[a->s->nodes[t->node].first + (int32_t)t->lo].n == t->at;
    return t->mode == AUTOMATON_AFTER;
}

bool automaton_complete(const automaton *a, const state *x)
{
    for (int32_t i = 0; i < x->count; i++)
        if (ended(a, &x->threads[i])) return true;
    return false;
}

bool automaton_accepts(automaton *a, int32_t node, str text, int64_t *left)
{
    state x[2];
    int now = 0;
    uint32_t mark = automaton_mark(a);
    int64_t before = a->steps, most = left ? *left : INT64_MAX;
    automaton_begin(a, node, &x[0]);
    for (size_t i = 0; i < text.n && x[now].count && a->steps - before <= most; i++, now = !now) automaton_step(a, &x[now], (unsigned char)text.p[i], &x[!now]);
    bool ok = automaton_complete(a, &x[now]) && a->steps - before <= most;
    if (left) *left -= a->steps - before;
    automaton_reset(a, mark);
    return ok;
}

/* ---- the shortest way out --------------------------------------------------------------------------------------- */

static unsigned char value_byte(const automaton *a, const thread *t, int32_t node)
{
    const schema_node *x = &a->s->nodes[node];
    if (x->kind == SCHEMA_UNION) {
        int32_t best = -1;
        for (int32_t i = 0; i < x->count; i++) {
            int32_t k = a->s->kids[x->first + i];
            if (best < 0 || a->s->nodes[k].height < a->s->nodes[best].height) best = k;
        }
        return value_byte(a, t, best);
    }
    if (x->kind == SCHEMA_LITERALS) return (unsigned char)a->s->texts[x->first].p[0];
    if (x->kind == SCHEMA_STRING) return quote_of(a);
    if (x->kind == SCHEMA_ARRAY) return '[';
    if (x->kind == SCHEMA_OBJECT) return '{';
    digits d = { 0 };
    for (const char *p = "0123456789-"; *p; p++)
        if (digits_step(&x->range, &d, *p)) return (unsigned char)*p;
    return 0;
}

static unsigned char number_byte(const automaton *a, const thread *t)
{
    const digits_range *r = &a->s->nodes[t->node].range;
    if (digits_complete(r, &t->number)) return 0;
    for (const char *p = "0123456789.-"; *p; p++) {
        digits d = t->number;
        if (digits_step(r, &d, *p)) return (unsigned char)*p;
    }
    return 0;
}

/* Some byte that goes on in a half-read character. */
static unsigned char half_byte(const automaton *a, const thread *t)
{
    static const char order[] = "nu\"\\/bfrt0123456789abcdefABCDEF";
    for (const char *p = order; *p; p++) {
        thread n = *t;
        if (t->inside >= AUTOMATON_ESCAPE && !(t->inside == AUTOMATON_ESCAPE && *p == 'u') && quoted_byte(a, &n, (unsigned char)*p, true)) return (unsigned char)*p;
    }
    for (int b = 0x80; b < 0xC0; b++) {
        thread n = *t;
        if (quoted_byte(a, &n, (unsigned char)b, true)) return (unsigned char)b;
    }
    return 'u';
}

static unsigned char string_byte(const automaton *a, const thread *t)
{
    const schema_node *x = &a->s->nodes[t->node];
    if (t->inside != AUTOMATON_PLAIN) return half_byte(a, t);
    if (string_may_end(a, t)) return quote_of(a);
    if (x->pattern == SCHEMA_NONE) return 'a';
    uint32_t cp = regex_shortest(a->s->patterns[x->pattern], t->lo);
    if (a->s->syntax == SCHEMA_JSON && (cp < ' ' || cp == '"' || cp == '\\')) return '\\';
    return (unsigned char)(cp < 0x80 ? cp : cp < 0x800 ? 0xC0 | cp >> 6 : cp < 0x10000 ? 0xE0 | cp >> 12 : 0xF0 | cp >> 18);
}

/* The next byte of a declared key that may come, a required one if there is. */
static unsigned char declared_byte(const automaton *a, const thread *t, uint32_t lo, uint32_t hi, uint32_t at)
{
    const automaton_frame *f = &a->frames[t->frame];
    const schema_node *x = &a->s->nodes[f->node];
    const schema_property *best = NULL;
    for (uint32_t i = lo; i < hi; i++) {
        int32_t index = a->s->by_text[x->first + (int32_t)i];
        const schema_property *p = &a->s->props[x->first + index];
        if (may_come(a, f, x, index) && (!best || (p->required && !best->required))) best = p;
    }
    return best ? (unsigned char)best->text.p[at] : a->s->syntax == SCHEMA_JSON ? '"' : 'x';
}

unsigned char automaton_closing_byte(const automaton *a, const thread *t)
{
    const automaton_frame *f = &a->frames[t->frame];
    const schema_node *x = f->node == SCHEMA_NONE ? NULL : &a->s->nodes[f->node];
    switch ((automaton_mode)t->mode) {
    case AUTOMATON_VALUE:  return value_byte(a, t, t->node);
    case AUTOMATON_STRING: return string_byte(a, t);
    case AUTOMATON_COLON:  return ':';
    case AUTOMATON_KEY:    return declared_byte(a, t, 0, (uint32_t)x->count, 0);
    case AUTOMATON_DECLARED:  return declared_byte(a, t, t->lo, t->hi, t->at);
    case AUTOMATON_OTHER_KEY: return t->inside != AUTOMATON_PLAIN ? half_byte(a, t) : is_declared(a, t, x) ? 'x' : quote_of(a);
    case AUTOMATON_BARE_KEY:  return is_declared(a, t, x) ? 'x' : ':';
    case AUTOMATON_CLOSE:     return x->kind == SCHEMA_OBJECT ? '}' : ']';
    case AUTOMATON_LITERAL: {
        str s = a->s->texts[a->s->nodes[t->node].first + (int32_t)t->lo];
        if (t->at < s.n) return (unsigned char)s.p[t->at];
        break;
    }
    case AUTOMATON_NUMBER: {
        unsigned char b = number_byte(a, t);
        if (b) return b;
        break;
    }
    case AUTOMATON_AFTER: break;
    }
    if (!x) return 0;
    if (x->kind == SCHEMA_OBJECT) return missing_required(a, f, x) ? ',' : '}';
    return f->count < x->min ? ',' : ']';
}
