/* Sets of schemas: their nodes, $ref and allOf, alternatives. */
#include "text/schema.h"

#include <stdlib.h>

#include "base/bits.h"
#include "base/hash.h"
#include "text/schema_int.h"

static status no_memory(err *e) { return err_set(e, E_NOMEM, "could not compile a JSON schema\nout of memory"); }

status schema_grow(void *array, int32_t n, int32_t *cap, size_t size, err *e)
{
    void *old;
    if (n < *cap) return OK;
    memcpy(&old, array, sizeof old);
    int32_t want = *cap ? *cap * 2 : 64;
    void *p = mem_resize(old, (size_t)want * size, MEM_TEXT);
    if (!p) return no_memory(e);
    memcpy(array, &p, sizeof p);
    *cap = want;
    return OK;
}

status schema_new(schema **out, schema_syntax syntax, err *e)
{
    schema *s = mem_alloc(sizeof *s, MEM_TEXT);
    if (!s) return no_memory(e);
    s->syntax = syntax;
    buf_init(&s->unenforced, 1 << 16);
    *out = s;
    return OK;
}

void schema_free(schema *s)
{
    if (!s) return;
    for (int32_t i = 0; i < s->pattern_count; i++) regex_free(s->patterns[i]);
    for (int32_t i = 0; i < s->owned_count; i++) mem_free(s->owned[i]);
    mem_free(s->nodes);
    mem_free(s->kids);
    mem_free(s->texts);
    mem_free(s->props);
    mem_free(s->by_text);
    mem_free(s->by_name);
    mem_free(s->next_required);
    mem_free(s->patterns);
    mem_free(s->owned);
    buf_done(&s->unenforced);
    mem_free(s);
}

const char *schema_unenforced(const schema *s) { return buf_text(&s->unenforced); }

status schema_note(schema_compiler *c, const char *keyword)
{
    status st = OK;
    buf *b = &c->s->unenforced;
    char name[64];
    if (b->len > 1024) return OK;      /* enough to see what is the matter */
    snprintf(name, sizeof name, "%s", keyword);
    for (str rest = { buf_text(b), b->len }, part; rest.n;) {
        if (!str_split(&rest, ',', &part)) { part = rest; rest.n = 0; }
        while (part.n && *part.p == ' ') part = str_skip(part, 1);
        if (str_is(part, name)) return OK;
    }
    if (b->len) TRY(buf_add_str(b, ", ", c->e));
    TRY(buf_add_str(b, name, c->e));
out:
    return st;
}

status schema_spend(schema_compiler *c, int64_t steps)
{
    c->s->work += steps;
    if (c->s->work <= SCHEMA_WORK_MAX) return OK;
    return err_set(c->e, E_UNSUPPORTED, "cannot use the JSON schema\nits alternatives, lists of values or patterns take too long to compile\nUse fewer or smaller ones.");
}

void schema_allow_more(schema *s) { s->work = MIN(s->work, SCHEMA_WORK_MAX - 2000); }

status schema_keep(schema_compiler *c, str text, str *out)
{
    status st = OK;
    char *copy = NULL;
    TRY(schema_grow(&c->s->owned, c->s->owned_count, &c->s->owned_cap, sizeof *c->s->owned, c->e));
    copy = mem_strdup(text.p, text.n, MEM_TEXT);
    if (!copy) return no_memory(c->e);
    c->s->owned[c->s->owned_count++] = copy;
    *out = (str){ copy, text.n };
out:
    return st;
}

status schema_kid(schema_compiler *c, int32_t kid)
{
    schema *s = c->s;
    status st = schema_grow(&s->kids, s->kid_count, &s->kid_cap, sizeof *s->kids, c->e);
    if (st == OK) s->kids[s->kid_count++] = kid;
    return st;
}

status schema_text(schema_compiler *c, str text)
{
    schema *s = c->s;
    status st = schema_grow(&s->texts, s->text_count, &s->text_cap, sizeof *s->texts, c->e);
    if (st == OK) s->texts[s->text_count++] = text;
    return st;
}

status schema_node_new(schema_compiler *c, schema_node n, int32_t *node)
{
    status st = OK;
    schema *s = c->s;
    if (s->node_count >= SCHEMA_NODES_MAX)
        FAIL(c->e, E_UNSUPPORTED, "cannot use the JSON schema\nit needs more than %d parts", SCHEMA_NODES_MAX);
    TRY(schema_grow(&s->nodes, s->node_count, &s->node_cap, sizeof *s->nodes, c->e));
    while (s->node_count - c->base >= c->set_cap) {
        int32_t before = c->set_cap;
        TRY(schema_grow(&c->sets, c->set_cap, &c->set_cap, sizeof *c->sets, c->e));
        memset(c->sets + before, 0, (size_t)(c->set_cap - before) * sizeof *c->sets);
    }
    *node = s->node_count++;
    s->nodes[*node] = n;
out:
    return st;
}

/* ---- sets ------------------------------------------------------------------------------------------- */

static int by_part(const void *a, const void *b)
{
    const schema_part *x = a, *y = b;
    return x->json != y->json ? (x->json < y->json ? -1 : 1) : x->flags - y->flags;
}

status schema_want(schema_compiler *c, const schema_part *parts, int32_t n, int32_t *node)
{
    status st = OK;
    schema_part *copy = mem_array((size_t)n + 1, sizeof *copy, MEM_TEXT);
    int32_t k = 0;
    if (!copy) return no_memory(c->e);
    for (int32_t i = 0; i < n; i++)       /* what is always true says nothing */
        if (!json_is_true(parts[i].json) && !(json_is_object(parts[i].json) && json_object_size(parts[i].json) == 0)) copy[k++] = parts[i];
    TRY(schema_spend(c, SCHEMA_COST_SET + SCHEMA_COST_PART * n));
    qsort(copy, (size_t)k, sizeof *copy, by_part);
    n = 0;
    for (int32_t i = 0; i < k; i++)
        if (n == 0 || by_part(&copy[n - 1], &copy[i]) != 0) copy[n++] = copy[i];
    if (n > SCHEMA_SET_MAX)
        FAIL(c->e, E_UNSUPPORTED, "cannot use the JSON schema\nits combinations are too many");
    uint32_t h = (uint32_t)hash_bytes(copy, (size_t)n * sizeof *copy, 7) & (uint32_t)c->index_mask;
    for (; c->index[h]; h = (h + 1) & (uint32_t)c->index_mask) {
        const schema_set *old = &c->sets[c->index[h] - 1 - c->base];
        if (old->count != n || memcmp(old->parts, copy, (size_t)n * sizeof *copy) != 0) continue;
        *node = c->index[h] - 1;
        goto out;
    }
    TRY(schema_node_new(c, (schema_node){ .kind = SCHEMA_UNION, .rest = SCHEMA_NONE, .pattern = SCHEMA_NONE, .height = SCHEMA_NEVER_HEIGHT }, node));
    c->sets[*node - c->base] = (schema_set){ copy, n };
    c->index[h] = *node + 1;
    copy = NULL;
out:
    mem_free(copy);
    return st;
}

/* ---- $ref -------------------------------------------------------------------------------------------- */

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* One step of a pointer, with %XX, ~1 and ~0 undone. */
static status unescape(buf *out, str s, err *e)
{
    status st = OK;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%' && i + 2 < s.n && hex(s.p[i + 1]) >= 0 && hex(s.p[i + 2]) >= 0) {
            c = (char)(hex(s.p[i + 1]) * 16 + hex(s.p[i + 2]));
            i += 2;
        }
        if (c == '~' && i + 1 < s.n && (s.p[i + 1] == '0' || s.p[i + 1] == '1')) c = s.p[++i] == '0' ? '~' : '/';
        if (c == 0) return OK;
        TRY(buf_add(out, &c, 1, e));
    }
out:
    return st;
}

/* *out NULL: it points somewhere else than into this document. */
static status resolve(schema_compiler *c, const char *ref, const json_t **out)
{
    status st = OK;
    const json_t *at = c->root;
    buf key;
    buf_init(&key, SCHEMA_BYTES_MAX);
    *out = NULL;
    if (ref[0] != '#' || (ref[1] && ref[1] != '/')) goto out;
    TRY(schema_spend(c, (int64_t)strlen(ref)));
    for (str rest = str_from(ref + 1), part; rest.n && at;) {
        TRY(schema_spend(c, SCHEMA_COST_PART));
        rest = str_skip(rest, 1);
        size_t n = str_find(rest, STR("/"));
        part = (str){ rest.p, n };
        rest = str_skip(rest, n);
        buf_clear(&key);
        TRY(unescape(&key, part, c->e));
        const char *k = buf_text(&key);
        at = json_is_array(at) ? (key.len && strspn(k, "0123456789") == key.len && key.len < 7 ? json_array_get(at, (size_t)atoi(k)) : NULL) : json_object_get(at, k);
    }
    if (!at) FAIL(c->e, E_ARG, "cannot use the JSON schema\n\"$ref\" to \"%.100s\" leads nowhere", ref);
    *out = at;
out:
    buf_done(&key);
    return st;
}

/* ---- flattening ------------------------------------------------------------------------------------------ */

static const char *const enforced[] = { "type", "enum", "const", "properties", "required", "items", "additionalItems", "prefixItems", "minItems", "maxItems",
    "additionalProperties", "anyOf", "oneOf", "allOf", "$ref", "$defs", "definitions", "minLength", "maxLength", "pattern", "format",
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
    "description", "title", "default", "examples", "example", "$schema", "$comment", "readOnly", "writeOnly", "readonly", "deprecated",
    "nullable", "contentEncoding", "contentMediaType", "contentSchema" };

/* Keywords that say nothing with this value. */
static bool is_idle(const char *key, const json_t *v)
{
    if (strcmp(key, "uniqueItems") == 0) return json_is_false(v);
    if (strcmp(key, "minProperties") == 0 || strcmp(key, "minContains") == 0) return json_integer_value(v) == 0 && json_is_integer(v);
    if (strcmp(key, "patternProperties") == 0 || strcmp(key, "dependentRequired") == 0 || strcmp(key, "dependentSchemas") == 0 || strcmp(key, "dependencies") == 0)
        return json_is_object(v) && json_object_size(v) == 0;
    if (strcmp(key, "unevaluatedProperties") == 0 || strcmp(key, "unevaluatedItems") == 0 || strcmp(key, "propertyNames") == 0) return json_is_true(v);
    return strcmp(key, "then") == 0 || strcmp(key, "else") == 0;      /* "if" is named */
}

static status note_keywords(schema_compiler *c, const json_t *json)
{
    status st = OK;
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)json, key, v) {
        bool known = is_idle(key, v) || (strcmp(key, "$id") == 0 && json == c->root);
        for (size_t i = 0; !known && i < COUNT_OF(enforced); i++) known = strcmp(key, enforced[i]) == 0;
        TRY(schema_spend(c, SCHEMA_COST_KEYWORD + (known || c->s->unenforced.len > 1024 ? 0 : SCHEMA_COST_UNKNOWN)));
        if (!known) TRY(schema_note(c, key));
    }
out:
    return st;
}

typedef struct flat { schema_part parts[SCHEMA_SET_MAX]; int32_t count; bool never; } flat;

static status add_part(schema_compiler *c, flat *f, const json_t *json, int flags)
{
    if (json_is_true(json)) return OK;
    if (json_is_false(json)) f->never = true;
    else if (!json_is_object(json)) return err_set(c->e, E_ARG, "cannot use the JSON schema\na schema in it is neither an object nor true or false");
    for (int32_t i = 0; i < f->count; i++)
        if (f->parts[i].json == json) {
            /* an alternative that leads back to the choice it is part of says nothing new: it is no alternative */
            if (!flags && (f->parts[i].flags & (SCHEMA_ANYOF_DONE | SCHEMA_ONEOF_DONE))) f->never = true;
            f->parts[i].flags |= flags;
            return OK;
        }
    if (f->count == SCHEMA_SET_MAX) return err_set(c->e, E_UNSUPPORTED, "cannot use the JSON schema\nits combinations are too many");
    f->parts[f->count++] = (schema_part){ json, flags };
    return schema_spend(c, SCHEMA_COST_PART + f->count / 8);
}

/* Adds what $ref and allOf of the parts name, until nothing new comes. */
static status flatten(schema_compiler *c, flat *f)
{
    status st = OK;
    for (int32_t i = 0; i < f->count && !f->never; i++) {
        const json_t *json = f->parts[i].json, *ref, *all, *target;
        if (f->parts[i].flags & SCHEMA_FLAT) continue;
        f->parts[i].flags |= SCHEMA_FLAT;
        TRY(note_keywords(c, json));
        ref = json_object_get(json, "$ref");
        all = json_object_get(json, "allOf");
        if (ref) {
            if (!json_is_string(ref)) FAIL(c->e, E_ARG, "cannot use the JSON schema\n\"$ref\" is not a text");
            TRY(resolve(c, json_string_value(ref), &target));
            if (target) TRY(add_part(c, f, target, 0));
            else TRY(schema_note(c, "$ref"));
        }
        if (all && !json_is_array(all)) FAIL(c->e, E_ARG, "cannot use the JSON schema\n\"allOf\" is not a list");
        for (size_t k = 0; k < json_array_size(all); k++) TRY(add_part(c, f, json_array_get(all, k), 0));
    }
out:
    return st;
}

/* ---- alternatives ------------------------------------------------------------------------------------------ */

static unsigned type_bit(const char *t)
{
    static const char *const names[] = { "null", "boolean", "integer", "number", "string", "array", "object" };
    for (unsigned i = 0; t && i < COUNT_OF(names); i++)
        if (strcmp(t, names[i]) == 0) return 1u << i;
    return 0;
}

bool schema_equal(const json_t *a, const json_t *b, int64_t *steps)
{
    const char *key;
    json_t *v;
    size_t i;
    *steps += 2;
    if (json_is_number(a) && json_is_number(b)) return json_number_value(a) == json_number_value(b);
    if (json_typeof(a) != json_typeof(b)) return false;
    if (json_is_string(a)) {
        *steps += (int64_t)json_string_length(a) / 64;
        return str_eq((str){ json_string_value(a), json_string_length(a) }, (str){ json_string_value(b), json_string_length(b) });
    }
    if (json_is_array(a)) {
        if (json_array_size(a) != json_array_size(b)) return false;
        json_array_foreach((json_t *)a, i, v)
            if (!schema_equal(v, json_array_get(b, i), steps)) return false;
    }
    if (json_is_object(a)) {
        if (json_object_size(a) != json_object_size(b)) return false;
        json_object_foreach((json_t *)a, key, v) {
            const json_t *w = json_object_get(b, key);
            *steps += SCHEMA_COST_PART;
            if (!w || !schema_equal(v, w, steps)) return false;
        }
    }
    return true;
}

/* Types of values that a schema can have, as far as its own "type", "const" or "enum" says. */
static unsigned types_of(const json_t *s, int64_t *steps)
{
    const json_t *t = json_object_get(s, "type"), *v = json_object_get(s, "const"), *list = json_object_get(s, "enum");
    unsigned bits = 0;
    *steps += 2 * SCHEMA_COST_PART + (int64_t)(json_array_size(t) + json_array_size(list));
    static const unsigned of_value[] = { [JSON_NULL] = 1, [JSON_TRUE] = 2, [JSON_FALSE] = 2, [JSON_INTEGER] = 12, [JSON_REAL] = 12,
                                         [JSON_STRING] = 16, [JSON_ARRAY] = 32, [JSON_OBJECT] = 64 };
    if (json_is_string(t)) bits = type_bit(json_string_value(t));
    for (size_t i = 0; i < json_array_size(t); i++) bits |= type_bit(json_string_value(json_array_get(t, i)));
    if (bits & 12) bits |= 12;
    if (!bits && v) bits = of_value[json_typeof(v)];
    for (size_t i = 0; !json_object_get(s, "type") && i < json_array_size(list); i++) bits |= of_value[json_typeof(json_array_get(list, i))];
    return bits ? bits : 127;
}

static bool in_list(const json_t *list, const char *key, int64_t *steps)
{
    *steps += (int64_t)json_array_size(list);
    for (size_t i = 0; i < json_array_size(list); i++)
        if (str_eq(str_from(json_string_value(json_array_get(list, i))), str_from(key))) return true;
    return false;
}

/* No value is in both: other types, other constants, or a required property with other constants.  *steps grows by what finding out
 * took; above 0 it was too much, and the answer is false. */
static bool disjoint(const json_t *a, const json_t *b, int depth, int64_t *steps)
{
    const json_t *x, *y, *p, *va, *vb, *need_a = json_object_get(a, "required"), *need_b = json_object_get(b, "required");
    const char *key;
    unsigned of_a = types_of(a, steps), of_b = types_of(b, steps);
    if (json_is_false(a) || json_is_false(b) || (of_a & of_b) == 0) return true;
    x = json_object_get(a, "const");
    y = json_object_get(b, "const");
    if (x && y) return !schema_equal(x, y, steps);
    p = json_object_get(a, "properties");
    if (depth > 0 || !json_is_object(p) || of_a != 64 || of_b != 64) return false;
    json_object_foreach((json_t *)p, key, va) {
        if ((*steps += SCHEMA_COST_PART) > 0) return false;
        vb = json_object_get(json_object_get(b, "properties"), key);
        if (vb && disjoint(va, vb, depth + 1, steps) && in_list(need_a, key, steps) && in_list(need_b, key, steps)) return true;
    }
    return false;
}

/* False also when finding out would take a quarter of what is left to be done. */
static bool all_disjoint(schema_compiler *c, const json_t *list)
{
    size_t n = json_array_size(list);
    int64_t most = (SCHEMA_WORK_MAX - c->s->work) / 4, steps = -most;
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++)
        for (size_t k = 0; k < i && ok; k++) ok = disjoint(json_array_get(list, i), json_array_get(list, k), 0, &steps) && steps <= 0;
    c->s->work += most + steps;
    return ok;
}

/* The first part with alternatives that are not chosen yet becomes a union; *done tells. */
static status split(schema_compiler *c, int32_t node, flat *f, bool *done)
{
    status st = OK;
    *done = false;
    for (int32_t i = 0; i < f->count && !*done; i++)
        for (int k = 0; k < 2 && !*done; k++) {
            const char *key = k ? "oneOf" : "anyOf";
            int flag = k ? SCHEMA_ONEOF_DONE : SCHEMA_ANYOF_DONE;
            const json_t *list = json_object_get(f->parts[i].json, key);
            if (!list || (f->parts[i].flags & flag)) continue;
            if (!json_is_array(list) || json_array_size(list) == 0)
                FAIL(c->e, E_ARG, "cannot use the JSON schema\n\"%s\" is not a list of schemas", key);
            if (k && !all_disjoint(c, list)) TRY(schema_note(c, "oneOf"));
            f->parts[i].flags |= flag;
            if (f->count == SCHEMA_SET_MAX) FAIL(c->e, E_UNSUPPORTED, "cannot use the JSON schema\nits combinations are too many");
            int32_t *kids = mem_array(json_array_size(list), sizeof *kids, MEM_TEXT), n = 0;
            if (!kids) return no_memory(c->e);
            for (size_t a = 0; a < json_array_size(list) && st == OK; a++) {
                f->parts[f->count] = (schema_part){ json_array_get(list, a), 0 };
                st = schema_want(c, f->parts, f->count + 1, &kids[n++]);
            }
            c->s->nodes[node].first = c->s->kid_count;
            c->s->nodes[node].count = n;
            for (int32_t a = 0; a < n && st == OK; a++) st = schema_kid(c, kids[a]);
            mem_free(kids);
            if (st != OK) goto out;
            *done = true;
        }
out:
    return st;
}

static status compile(schema_compiler *c, int32_t node, flat *f)
{
    status st = OK;
    bool done;
    const schema_set *set = &c->sets[node - c->base];
    f->count = 0;
    f->never = false;
    for (int32_t i = 0; i < set->count; i++)
        if (set->parts[i].flags) TRY(add_part(c, f, set->parts[i].json, set->parts[i].flags));
    for (int32_t i = 0; i < set->count; i++)
        if (!set->parts[i].flags) TRY(add_part(c, f, set->parts[i].json, 0));
    TRY(flatten(c, f));
    if (f->never) return OK;      /* a union without alternatives */
    TRY(split(c, node, f, &done));
    if (!done) TRY(schema_shape(c, node, f->parts, f->count));
out:
    return st;
}

status schema_add(schema *s, const json_t *json, bool object, int32_t *node, err *e)
{
    status st = OK;
    schema_compiler c = { .s = s, .root = json, .base = s->node_count, .kid_base = s->kid_count, .prop_base = s->prop_count, .index_mask = (1 << 16) - 1, .e = e };
    json_t *is_object = NULL;
    flat *f = mem_alloc(sizeof *f, MEM_TEXT);
    schema_part parts[2] = { { json, 0 } };
    c.index = mem_array((size_t)c.index_mask + 1, sizeof *c.index, MEM_TEXT);
    is_object = json_pack("{s:s}", "type", "object");
    if (!f || !c.index || !is_object) FAIL(e, E_NOMEM, "could not compile a JSON schema\nout of memory");
    parts[1].json = is_object;
    TRY(schema_want(&c, parts, object ? 2 : 1, node));
    for (int32_t i = *node; i < s->node_count; i++)
        if (c.sets[i - c.base].parts) TRY(compile(&c, i, f));
    TRY(schema_finish(&c, *node));
out:
    for (int32_t i = 0; c.sets && i < c.set_cap; i++) mem_free(c.sets[i].parts);
    mem_free(c.sets);
    mem_free(c.index);
    mem_free(f);
    json_decref(is_object);
    return st;
}
