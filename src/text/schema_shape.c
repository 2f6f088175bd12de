/* A set of schemas without $ref, allOf and alternatives: which values it leaves, by type. */
#include <math.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/hash.h"
#include "text/schema_int.h"

enum { T_NULL = 1, T_BOOL = 2, T_INTEGER = 4, T_NUMBER = 8, T_STRING = 16, T_ARRAY = 32, T_OBJECT = 64, T_ALL = 127, LIMIT_MAX = 1 << 30 };

typedef struct shape {
    schema_compiler *c;
    const schema_part *parts;
    int32_t n;
    unsigned types;
} shape;

static const schema_node fresh = { .rest = SCHEMA_NONE, .pattern = SCHEMA_NONE, .height = SCHEMA_NEVER_HEIGHT, .max = UINT32_MAX };

static status wrong(shape *s, const char *keyword, const char *why)
{
    return err_set(s->c->e, E_ARG, "cannot use the JSON schema\n\"%s\" %s", keyword, why);
}

static const json_t *part(const shape *s, int32_t i, const char *keyword) { return json_object_get(s->parts[i].json, keyword); }

/* ---- types ---------------------------------------------------------------------------------------------- */

static status type_of(shape *s, const json_t *t, unsigned *bits)
{
    static const struct { const char *name; unsigned bits; } types[] = {
        { "null", T_NULL }, { "boolean", T_BOOL }, { "integer", T_INTEGER }, { "number", T_INTEGER | T_NUMBER },
        { "string", T_STRING }, { "array", T_ARRAY }, { "object", T_OBJECT } };
    for (size_t i = 0; json_is_string(t) && i < COUNT_OF(types); i++)
        if (strcmp(json_string_value(t), types[i].name) == 0) {
            *bits |= types[i].bits;
            return OK;
        }
    return wrong(s, "type", "names no type of JSON");
}

static status read_types(shape *s)
{
    status st = OK;
    s->types = T_ALL;
    for (int32_t i = 0; i < s->n; i++) {
        const json_t *t = part(s, i, "type");
        unsigned bits = 0;
        if (!t) continue;
        if (json_is_array(t)) {
            for (size_t k = 0; k < json_array_size(t); k++) TRY(type_of(s, json_array_get(t, k), &bits));
        } else TRY(type_of(s, t, &bits));
        s->types &= bits;
    }
out:
    return st;
}

static unsigned type_of_value(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_NULL: return T_NULL;
    case JSON_TRUE: case JSON_FALSE: return T_BOOL;
    case JSON_INTEGER: return T_INTEGER;
    case JSON_REAL: return trunc(json_real_value(v)) == json_real_value(v) ? T_INTEGER : T_NUMBER;
    case JSON_STRING: return T_STRING;
    case JSON_ARRAY: return T_ARRAY;
    default: return T_OBJECT;
    }
}

/* ---- numbers of the schema ------------------------------------------------------------------------------ */

/* A length: not negative, without fraction.  *v is left alone when the keyword is absent. */
static status read_length(shape *s, int32_t i, const char *keyword, bool most, uint32_t *v)
{
    const json_t *j = part(s, i, keyword);
    if (!j) return OK;
    double d = json_number_value(j);
    if (!json_is_number(j) || d < 0 || trunc(d) != d) return wrong(s, keyword, "is no whole number from 0 on");
    uint32_t x = (uint32_t)fmin(d, LIMIT_MAX);
    *v = most ? MIN(*v, x) : MAX(*v, x);
    return OK;
}

static status read_bound(shape *s, int32_t i, const char *keyword, digits_range *r, void (*narrow)(digits_range *, const json_t *, bool), const char *exclusive)
{
    const json_t *v = part(s, i, keyword), *x = part(s, i, exclusive);
    if (v && !json_is_number(v)) return wrong(s, keyword, "is no number");
    if (v) narrow(r, v, json_is_true(x));            /* draft 4: exclusiveMinimum is a boolean beside minimum */
    if (x && !json_is_boolean(x) && !json_is_number(x)) return wrong(s, exclusive, "is no number");
    if (json_is_number(x)) narrow(r, x, true);
    return OK;
}

static status numbers(shape *s, int32_t *node)
{
    status st = OK;
    schema_node x = fresh;
    x.kind = SCHEMA_NUMBER;
    digits_range_init(&x.range, !(s->types & T_NUMBER));
    for (int32_t i = 0; i < s->n; i++) {
        const json_t *m = part(s, i, "multipleOf");
        TRY(read_bound(s, i, "minimum", &x.range, digits_at_least, "exclusiveMinimum"));
        TRY(read_bound(s, i, "maximum", &x.range, digits_at_most, "exclusiveMaximum"));
        if (m && (!json_is_number(m) || json_number_value(m) <= 0)) return wrong(s, "multipleOf", "is no number above 0");
        if (m && !digits_multiple_of(&x.range, m)) TRY(schema_note(s->c, "multipleOf"));
    }
    TRY(schema_node_new(s->c, x, node));
out:
    return st;
}

/* ---- strings --------------------------------------------------------------------------------------------- */

/* What one pattern may take. */
static int64_t pattern_steps(const shape *s) { return MIN(SCHEMA_WORK_MAX / 2, SCHEMA_WORK_MAX - s->c->s->work); }

/* After a pattern was made with the result st: r (taken) replaces *out; one that is too large is named. */
static status spent(shape *s, status st, int64_t steps, regex *r, regex **out, const char *keyword)
{
    status all = schema_spend(s->c, SCHEMA_COST_PATTERN + steps);
    if (all != OK || st != OK) {
        regex_free(r);
        return all != OK && (st == OK || st == E_UNSUPPORTED) ? all : st == E_UNSUPPORTED ? schema_note(s->c, keyword) : st;
    }
    regex_free(*out);
    *out = r;
    return OK;
}

/* Joins one more pattern to those before; *all may be NULL.  Takes r. */
static status both(shape *s, regex **all, regex *r, const char *keyword)
{
    status st = OK;
    regex *joined = NULL;
    if (!*all) { *all = r; return OK; }
    int64_t most = pattern_steps(s), left = most;
    st = regex_and(&joined, *all, r, &left, s->c->e);
    regex_free(r);
    return spent(s, st, most - left, joined, all, keyword);
}

static status add_pattern(shape *s, regex **all, str text, const char *keyword)
{
    regex *r = NULL, *one = NULL;
    int64_t most = pattern_steps(s), left = most;
    status st = regex_new(&r, text, &left, s->c->e);
    TRY(spent(s, st, most - left, r, &one, keyword));
    if (one) TRY(both(s, all, one, keyword));
out:
    return st;
}

static status all_patterns(shape *s, regex **all)
{
    status st = OK;
    for (int32_t i = 0; i < s->n; i++) {
        const json_t *p = part(s, i, "pattern"), *f = part(s, i, "format");
        if (p && !json_is_string(p)) return wrong(s, "pattern", "is no text");
        if (f && !json_is_string(f)) return wrong(s, "format", "is no text");
        if (p) TRY(add_pattern(s, all, (str){ json_string_value(p), json_string_length(p) }, "pattern"));
        if (!f) continue;
        const char *known = schema_format(json_string_value(f));
        char name[64];
        snprintf(name, sizeof name, "format %s", json_string_value(f));
        if (known) TRY(add_pattern(s, all, str_from(known), name));
        else TRY(schema_note(s->c, name));
    }
out:
    return st;
}

/* What the strings' automaton is made from, so that equal ones are made once. */
static status pattern_key(shape *s, const schema_node *x, buf *key)
{
    status st = OK;
    for (int32_t i = 0; i < s->n; i++)
        for (int k = 0; k < 2; k++) {
            const json_t *v = part(s, i, k ? "format" : "pattern");
            if (json_is_string(v)) TRY(buf_addf(key, s->c->e, "%d %zu %s\n", k, json_string_length(v), json_string_value(v)));
        }
    if (key->len) TRY(buf_addf(key, s->c->e, "%u %u %d", x->min, x->max, (int)s->c->s->syntax));
out:
    return st;
}

static status make_pattern(shape *s, schema_node *x, str key)
{
    status st = OK;
    schema_compiler *c = s->c;
    regex *all = NULL, *lengths = NULL;
    TRY(all_patterns(s, &all));
    if (!all) goto out;
    if (x->min > 0 || x->max != UINT32_MAX) {
        st = regex_new_length(&lengths, x->min, x->max, c->e);
        if (st == E_UNSUPPORTED) st = schema_note(c, x->max != UINT32_MAX ? "maxLength with pattern" : "minLength with pattern");
        else if (st == OK) st = both(s, &all, lengths, "minLength or maxLength with pattern");
        if (st != OK) goto out;
    }
    TRY(schema_grow(&c->s->patterns, c->s->pattern_count, &c->s->pattern_cap, sizeof *c->s->patterns, c->e));
    TRY(schema_keep(c, key, &all->name));
    c->s->pattern_bytes += (int64_t)all->states * all->classes * (int64_t)sizeof *all->next;
    if (c->s->pattern_bytes > SCHEMA_PATTERN_BYTES_MAX) FAIL(c->e, E_UNSUPPORTED, "cannot use the JSON schema\nits patterns are too large");
    x->pattern = c->s->pattern_count;
    c->s->patterns[c->s->pattern_count++] = all;
    all = NULL;
out:
    regex_free(all);
    return st;
}

static status strings(shape *s, int32_t *node)
{
    status st = OK;
    schema_compiler *c = s->c;
    schema_node x = fresh;
    buf key;
    buf_init(&key, 1 << 20);
    x.kind = SCHEMA_STRING;
    for (int32_t i = 0; i < s->n; i++) {
        TRY(read_length(s, i, "minLength", false, &x.min));
        TRY(read_length(s, i, "maxLength", true, &x.max));
    }
    TRY(pattern_key(s, &x, &key));
    if (key.len) TRY(schema_spend(c, c->s->pattern_count));
    for (int32_t i = 0; key.len && i < c->s->pattern_count; i++)
        if (str_eq(c->s->patterns[i]->name, (str){ buf_text(&key), key.len })) x.pattern = i;
    if (key.len && x.pattern == SCHEMA_NONE && x.min <= x.max) TRY(make_pattern(s, &x, (str){ buf_text(&key), key.len }));
    TRY(schema_node_new(c, x, node));
out:
    buf_done(&key);
    return st;
}

/* ---- arrays ------------------------------------------------------------------------------------------------ */

/* Items that one part gives places of their own, and the schema of those behind them (NULL: none). */
static status items_of(shape *s, int32_t i, const json_t **prefix, const json_t **rest)
{
    const json_t *items = part(s, i, "items");
    *prefix = part(s, i, "prefixItems");
    *rest = items;
    if (*prefix && !json_is_array(*prefix)) return wrong(s, "prefixItems", "is no list");
    if (json_is_array(items)) {       /* until draft 2019-09 */
        *prefix = items;
        *rest = part(s, i, "additionalItems");
    }
    return OK;
}

static status item_set(shape *s, size_t k, bool behind, int32_t *node)
{
    status st = schema_spend(s->c, SCHEMA_COST_PART * s->n);
    if (st != OK) return st;
    schema_part parts[SCHEMA_SET_MAX];
    int32_t n = 0;
    for (int32_t i = 0; i < s->n; i++) {
        const json_t *prefix, *rest, *v;
        TRY(items_of(s, i, &prefix, &rest));
        v = !behind && k < json_array_size(prefix) ? json_array_get(prefix, k) : rest;
        if (v) parts[n++] = (schema_part){ v, 0 };
    }
    TRY(schema_want(s->c, parts, n, node));
out:
    return st;
}

static status arrays(shape *s, int32_t *node)
{
    status st = OK;
    schema_node x = fresh;
    size_t places = 0;
    int32_t first, kid;
    x.kind = SCHEMA_ARRAY;
    for (int32_t i = 0; i < s->n; i++) {
        const json_t *prefix, *rest;
        TRY(read_length(s, i, "minItems", false, &x.min));
        TRY(read_length(s, i, "maxItems", true, &x.max));
        TRY(items_of(s, i, &prefix, &rest));
        places = MAX(places, json_array_size(prefix));
    }
    first = s->c->s->kid_count;
    for (size_t k = 0; k < places; k++) {
        TRY(item_set(s, k, false, &kid));
        TRY(schema_kid(s->c, kid));
    }
    x.first = first;
    x.count = (int32_t)places;
    TRY(item_set(s, 0, true, &x.rest));
    TRY(schema_node_new(s->c, x, node));
out:
    return st;
}

/* ---- objects ------------------------------------------------------------------------------------------------ */

status schema_print_key(buf *out, schema_syntax syntax, str name, err *e)
{
    status st = OK;
    bool bare = name.n > 0 && name.p[0] != ' ' && name.p[name.n - 1] != ' ';
    for (size_t i = 0; i < name.n; i++) bare = bare && (unsigned char)name.p[i] >= ' ' && !strchr(":=,{}[]()\"'`", name.p[i]);
    if (syntax == SCHEMA_JSON) TRY(json_quote(out, name, e));
    else if (bare) TRY(buf_add(out, name.p, name.n, e));
    else TRY(buf_addf(out, e, "%c%.*s%c", SCHEMA_QUOTE, (int)name.n, name.p, SCHEMA_QUOTE));
    TRY(buf_add_str(out, ":", e));
out:
    return st;
}

static status key_text(schema_compiler *c, str name, str *out)
{
    status st = OK;
    buf b;
    buf_init(&b, 1 << 20);
    TRY(schema_print_key(&b, c->s->syntax, name, c->e));
    TRY(schema_keep(c, (str){ buf_text(&b), b.len }, out));
out:
    buf_done(&b);
    return st;
}

/* What the set says about a property; name NULL: about one that no part declares. */
static status property_set(shape *s, const char *name, int32_t *node)
{
    schema_part parts[SCHEMA_SET_MAX];
    int32_t n = 0;
    for (int32_t i = 0; i < s->n; i++) {
        const json_t *v = name ? json_object_get(part(s, i, "properties"), name) : NULL;
        if (!v) v = part(s, i, "additionalProperties");
        if (v) parts[n++] = (schema_part){ v, 0 };
    }
    return schema_want(s->c, parts, n, node);
}

/* The property of the object that begins at `first`; made when it is new. */
static status property(shape *s, hash_table *known, int32_t first, const char *name, int32_t *index)
{
    status st = OK;
    schema *x = s->c->s;
    TRY(schema_spend(s->c, SCHEMA_COST_PART));
    *index = hash_find(known, str_from(name));
    if (*index >= 0) return OK;
    TRY(schema_spend(s->c, SCHEMA_COST_PROPERTY + SCHEMA_COST_PART * s->n));
    schema_property p = { 0 };
    TRY(schema_keep(s->c, str_from(name), &p.name));
    TRY(key_text(s->c, p.name, &p.text));
    TRY(property_set(s, name, &p.node));
    TRY(schema_grow(&x->props, x->prop_count, &x->prop_cap, sizeof *x->props, s->c->e));
    *index = x->prop_count - first;
    x->props[x->prop_count++] = p;
    TRY(hash_put(known, p.name, *index, NULL, s->c->e));
out:
    return st;
}

static status declared(shape *s, hash_table *known, schema_node *x)
{
    status st = OK;
    int32_t index;
    const char *key;
    json_t *v;
    for (int32_t i = 0; i < s->n; i++) {
        const json_t *props = part(s, i, "properties");
        if (props && !json_is_object(props)) return wrong(s, "properties", "is no object");
        json_object_foreach((json_t *)props, key, v) TRY(property(s, known, x->first, key, &index));
    }
    for (int32_t i = 0; i < s->n; i++) {
        const json_t *list = part(s, i, "required");
        if (list && !json_is_array(list) && !json_is_boolean(list)) return wrong(s, "required", "is no list");
        for (size_t k = 0; k < json_array_size(list); k++) {
            const char *name = json_string_value(json_array_get(list, k));
            if (!name) return wrong(s, "required", "is no list of names");
            TRY(property(s, known, x->first, name, &index));
            s->c->s->props[x->first + index].required = true;
        }
    }
out:
    return st;
}

/* An object that names its properties and is silent about others has no others: nobody asked for them. */
static status objects(shape *s, int32_t *node)
{
    status st = OK;
    schema_node x = fresh;
    hash_table known = { 0 };
    bool named = false, said = false, closed = false;
    x.kind = SCHEMA_OBJECT;
    x.first = s->c->s->prop_count;
    TRY(hash_init(&known, 16, s->c->e));
    for (int32_t i = 0; i < s->n; i++) {
        const json_t *more = part(s, i, "additionalProperties");
        named |= part(s, i, "properties") != NULL;
        said |= more != NULL;
        closed |= json_is_false(more);
    }
    TRY(declared(s, &known, &x));
    x.count = s->c->s->prop_count - x.first;
    if (!closed && (said || !named)) TRY(property_set(s, NULL, &x.rest));
    TRY(schema_node_new(s->c, x, node));
out:
    hash_done(&known);
    return st;
}

/* ---- literals ------------------------------------------------------------------------------------------------ */

static status print_object(buf *out, schema_syntax syntax, const json_t *v, err *e)
{
    status st = OK;
    const char *key;
    json_t *item;
    bool more = false;
    TRY(buf_add_str(out, "{", e));
    json_object_foreach((json_t *)v, key, item) {
        if (more) TRY(buf_add_str(out, ",", e));
        more = true;
        TRY(schema_print_key(out, syntax, str_from(key), e));
        TRY(schema_print(out, syntax, item, e));
    }
    TRY(buf_add_str(out, "}", e));
out:
    return st;
}

static status print_number(buf *out, const json_t *v, err *e)
{
    char text[32];
    double d = json_number_value(v);
    if (json_is_integer(v)) return buf_addf(out, e, "%lld", (long long)json_integer_value(v));
    if (trunc(d) == d && fabs(d) < 1e15) return buf_addf(out, e, "%.0f", d);
    digits_print(d, text);
    return buf_add_str(out, text, e);
}

status schema_print(buf *out, schema_syntax syntax, const json_t *v, err *e)
{
    status st = OK;
    str s = { json_string_value(v), json_string_length(v) };
    switch (json_typeof(v)) {
    case JSON_NULL:    return buf_add_str(out, "null", e);
    case JSON_TRUE:    return buf_add_str(out, "true", e);
    case JSON_FALSE:   return buf_add_str(out, "false", e);
    case JSON_INTEGER: case JSON_REAL: return print_number(out, v, e);
    case JSON_OBJECT:  return print_object(out, syntax, v, e);
    case JSON_STRING:
        if (syntax == SCHEMA_JSON) return json_quote(out, s, e);
        TRY(buf_addf(out, e, "%c", SCHEMA_QUOTE));
        TRY(buf_add(out, s.p, s.n, e));
        return buf_addf(out, e, "%c", SCHEMA_QUOTE);
    case JSON_ARRAY:
        TRY(buf_add_str(out, "[", e));
        for (size_t i = 0; i < json_array_size(v); i++) {
            if (i) TRY(buf_add_str(out, ",", e));
            TRY(schema_print(out, syntax, json_array_get(v, i), e));
        }
        return buf_add_str(out, "]", e);
    }
out:
    return st;
}

static status literal(schema_compiler *c, const json_t *v)
{
    status st = OK;
    str kept;
    buf b;
    buf_init(&b, SCHEMA_TEXT_MAX);
    TRY(schema_print(&b, c->s->syntax, v, c->e));
    TRY(schema_spend(c, SCHEMA_COST_TEXT + (int64_t)b.len));
    TRY(schema_keep(c, (str){ buf_text(&b), b.len }, &kept));
    TRY(schema_text(c, kept));
out:
    buf_done(&b);
    return st;
}

/* v, which may come from a list itself, is what enum and const of every part allow.  *steps grows by what that took. */
static bool listed(const shape *s, const json_t *v, const json_t *from, int64_t *steps)
{
    for (int32_t i = 0; i < s->n; i++) {
        const json_t *one = part(s, i, "const"), *list = part(s, i, "enum");
        bool found = !list || list == from;
        for (size_t k = 0; !found && k < json_array_size(list); k++) found = schema_equal(v, json_array_get(list, k), steps);
        if (!found || (one && !schema_equal(v, one, steps))) return false;
    }
    return true;
}

static bool has_limits(const shape *s)
{
    static const char *const limits[] = { "properties", "required", "additionalProperties", "items", "prefixItems", "additionalItems", "minItems", "maxItems",
        "minLength", "maxLength", "pattern", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf" };
    for (int32_t i = 0; i < s->n; i++)
        for (size_t k = 0; k < COUNT_OF(limits); k++)
            if (part(s, i, limits[k])) return true;
    return false;
}

/* The values of `list` (or the one) that nothing forbids; other limits are looked at when all nodes are there. */
static status literals(shape *s, const json_t *list, const json_t *one, int32_t *node)
{
    status st = OK;
    schema_node x = fresh;
    schema_part parts[SCHEMA_SET_MAX];
    x.kind = SCHEMA_LITERALS;
    x.first = s->c->s->text_count;
    for (size_t k = 0; k < (one ? 1 : json_array_size(list)); k++) {
        const json_t *v = one ? one : json_array_get(list, k);
        int64_t steps = SCHEMA_COST_PART * s->n;
        bool fits = (s->types & type_of_value(v)) && listed(s, v, one ? NULL : list, &steps);
        TRY(schema_spend(s->c, steps));
        if (fits) TRY(literal(s->c, v));
    }
    x.count = s->c->s->text_count - x.first;
    if (has_limits(s)) {
        for (int32_t i = 0; i < s->n; i++) parts[i] = (schema_part){ s->parts[i].json, s->parts[i].flags | SCHEMA_ENUM_DONE };
        TRY(schema_want(s->c, parts, s->n, &x.rest));
    }
    TRY(schema_node_new(s->c, x, node));
out:
    return st;
}

static status words(shape *s, const char *a, const char *b, int32_t *node)
{
    status st = OK;
    schema_node x = fresh;
    x.kind = SCHEMA_LITERALS;
    x.first = s->c->s->text_count;
    x.count = b ? 2 : 1;
    TRY(schema_text(s->c, str_from(a)));
    if (b) TRY(schema_text(s->c, str_from(b)));
    TRY(schema_node_new(s->c, x, node));
out:
    return st;
}

/* ---- all of it ------------------------------------------------------------------------------------------------- */

static status by_type(shape *s, int32_t *kids, int32_t *n)
{
    status st = OK;
    if (s->types & T_NULL) TRY(words(s, "null", NULL, &kids[(*n)++]));
    if (s->types & T_BOOL) TRY(words(s, "false", "true", &kids[(*n)++]));
    if (s->types & (T_INTEGER | T_NUMBER)) TRY(numbers(s, &kids[(*n)++]));
    if (s->types & T_STRING) TRY(strings(s, &kids[(*n)++]));
    if (s->types & T_ARRAY) TRY(arrays(s, &kids[(*n)++]));
    if (s->types & T_OBJECT) TRY(objects(s, &kids[(*n)++]));
out:
    return st;
}

status schema_shape(schema_compiler *c, int32_t node, const schema_part *parts, int32_t n)
{
    status st = OK;
    shape s = { .c = c, .parts = parts, .n = n };
    const json_t *list = NULL, *one = NULL;
    int32_t kids[8], count = 0;
    TRY(schema_spend(c, 10 * SCHEMA_COST_PART * n));
    TRY(read_types(&s));
    for (int32_t i = 0; i < n && !list && !one; i++) {
        if (parts[i].flags & SCHEMA_ENUM_DONE) continue;
        list = part(&s, i, "enum");
        one = part(&s, i, "const");
        if (list && !json_is_array(list)) return wrong(&s, "enum", "is no list");
    }
    if (list || one) TRY(literals(&s, list, one, &kids[count++]));
    else TRY(by_type(&s, kids, &count));
    c->s->nodes[node].first = c->s->kid_count;
    c->s->nodes[node].count = count;
    for (int32_t i = 0; i < count; i++) TRY(schema_kid(c, kids[i]));
    if (count == 1) c->s->nodes[node] = c->s->nodes[kids[0]];
out:
    return st;
}
