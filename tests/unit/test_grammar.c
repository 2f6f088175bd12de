/* Constrained answers: what schemas let through is valid and what is valid is let through, in JSON and in calls; masks
 * against every token one by one; phases, tool choice, loops, rollback; hostile schemas. */
#include "base/rng.h"
#include "base/utf8.h"
#include "support/test.h"
#include "support/vocab.h"
#include "text/grammar.h"
#include "text/parse.h"

enum { STEPS_MAX = 400 };

static tok *small, *real;
static trie *small_trie, *real_trie;

typedef struct fixture { schema *s; int32_t node; grammar *g; json_t *tools; } fixture;

static const int32_t *ends_of(const tok *t)
{
    static int32_t ends[3];
    ends[0] = tok_specials(t)->turn_end;
    ends[1] = tok_specials(t)->eos;
    ends[2] = tok_specials(t)->tool_response;
    return ends;
}

static json_t *json_of(const char *text)
{
    json_error_t why;
    json_t *j = json_loads(text, JSON_DECODE_ANY, &why);
    if (!j) fail_msg("%s: %s", why.text, text);
    return j;
}

static grammar_opts opts_of(const tok *t)
{
    return (grammar_opts){ .tok = t, .trie = t == real ? real_trie : small_trie, .ends = ends_of(t), .end_count = 3 };
}

static void open_json(fixture *f, const tok *t, const char *text)
{
    err e;
    json_t *j = json_of(text);
    grammar_opts o = opts_of(t);
    *f = (fixture){ 0 };
    assert_ok(schema_new(&f->s, SCHEMA_JSON, &e), &e);
    assert_ok(schema_add(f->s, j, false, &f->node, &e), &e);
    json_decref(j);
    o.format = f->s;
    o.format_node = f->node;
    assert_ok(grammar_new(&f->g, &o, &e), &e);
}

static void open_tools(fixture *f, const tok *t, const char *text, grammar_opts o)
{
    err e;
    *f = (fixture){ .tools = json_of(text) };
    grammar_opts base = opts_of(t);
    o.tok = base.tok;
    o.trie = base.trie;
    o.ends = base.ends;
    o.end_count = base.end_count;
    o.tools = f->tools;
    assert_ok(grammar_new(&f->g, &o, &e), &e);
}

static void close_fixture(fixture *f)
{
    grammar_free(f->g);
    schema_free(f->s);
    json_decref(f->tools);
}

static bool allows(grammar *g, const trie *x, int32_t id)
{
    uint64_t *bits = mem_array(x->words, sizeof *bits, MEM_TEXT);
    grammar_mask(g, bits);
    bool on = bits[id / 64] >> (id % 64) & 1;
    mem_free(bits);
    return on;
}

/* The whole text, in the tokenizer's own tokens or byte by byte; every token must be in its mask too. */
static bool takes(fixture *f, const tok *t, const char *text, bool bytes)
{
    const trie *x = t == real ? real_trie : small_trie;
    tok_ids ids = { 0 };
    bool ok = true;
    if (!bytes) tok_encode(t, str_from(text), false, &ids, NULL);
    for (const char *p = text; bytes && *p; p++) {
        char name[2] = { *p, 0 }, hex[8];
        snprintf(hex, sizeof hex, "<0x%02X>", (unsigned char)*p);
        int32_t id = tok_find(t, str_from(*p == ' ' ? "\xE2\x96\x81" : name));
        tok_ids_add(&ids, (unsigned char)*p < 0x80 && id >= 0 ? id : tok_find(t, str_from(hex)), NULL);
    }
    for (size_t i = 0; i < ids.len && ok; i++) {
        bool in_mask = allows(f->g, x, ids.data[i]);
        ok = grammar_accept(f->g, ids.data[i], NULL) == OK;
        if (ok != in_mask) fail_msg("mask and accept differ at token %zu of %s", i, text);
    }
    tok_ids_done(&ids);
    return ok && grammar_can_end(f->g);
}

/* ---- documents -------------------------------------------------------------------------------------- */

static const struct { const char *schema, *good[8], *bad[8]; } documents[] = {
    { "{}", { "1", "\"a\\n\\u00e9\\ud83d\\ude00\"", "{\"a\":[1,{\"b\":null}],\"c\":-0.5e-3}", "[]", "{}", "true" }, { "01", "tru", "[1,]", "{\"a\"}", "\"\\ud83d\"", "+1", "1." } },
    { "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"age\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":150}},\"required\":[\"name\"]}",
      { "{\"name\":\"x\"}", "{\"name\":\"\",\"age\":150}", "{\"name\":\"\\\"}\",\"age\":0}" },
      { "{}", "{\"age\":1}", "{\"name\":\"x\",\"age\":151}", "{\"name\":\"x\",\"age\":-1}", "{\"name\":\"x\",\"age\":1.5}", "{\"name\":\"x\",\"b\":1}", "{\"name\":1}" } },
    { "{\"type\":\"object\",\"properties\":{\"a\":{\"const\":1}},\"additionalProperties\":{\"type\":\"boolean\"}}",
      { "{}", "{\"a\":1,\"b\":true,\"aa\":false}", "{\"\":true}" }, { "{\"b\":true,\"a\":false}", "{\"b\":1}", "{\"a\":true}" } },
    { "{\"enum\":[\"red\",\"redder\",3,null,{\"a\":[1.5]}]}", { "\"red\"", "\"redder\"", "3", "null", "{\"a\":[1.5]}" }, { "\"re\"", "\"reddest\"", "33", "{}" } },
    { "{\"type\":\"array\",\"prefixItems\":[{\"type\":\"integer\"},{\"type\":\"string\"}],\"items\":{\"type\":\"null\"},\"minItems\":1,\"maxItems\":3}",
      { "[1]", "[1,\"a\"]", "[1,\"a\",null]" }, { "[]", "[\"a\"]", "[1,\"a\",null,null]", "[1,null]" } },
    { "{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}", { "\"ab\"", "\"\xC3\xA9\xC3\xA9\xC3\xA9\"", "\"a\\n\\u0041\"" }, { "\"a\"", "\"abcd\"", "\"\"" } },
    { "{\"type\":\"string\",\"pattern\":\"^[a-z]+(-[0-9]{2})?$\"}", { "\"abc\"", "\"z-09\"" }, { "\"\"", "\"a-1\"", "\"A\"", "\"a-123\"" } },
    { "{\"type\":\"string\",\"pattern\":\"o+b\",\"maxLength\":5}", { "\"foob\"", "\"ob\"", "\"xobyy\"" }, { "\"fo\"", "\"foobar\"" } },
    { "{\"type\":\"string\",\"format\":\"date-time\"}", { "\"2024-02-29T23:59:59Z\"", "\"2023-12-31T00:00:00.5+01:00\"" }, { "\"2023-02-29T00:00:00Z\"", "\"2023-01-01\"", "\"2023-13-01T00:00:00Z\"" } },
    { "{\"type\":\"string\",\"format\":\"ipv4\"}", { "\"127.0.0.1\"", "\"255.255.255.255\"" }, { "\"256.0.0.1\"", "\"1.2.3\"" } },
    { "{\"type\":\"string\",\"format\":\"uuid\"}", { "\"123e4567-e89b-12d3-a456-426614174000\"" }, { "\"123e4567\"" } },
    { "{\"type\":\"number\",\"minimum\":-1.5,\"exclusiveMaximum\":2}", { "-1.5", "0", "1.999", "-0.25" }, { "-1.6", "2", "2.0", "20" } },
    { "{\"type\":\"number\",\"multipleOf\":0.25,\"minimum\":0}", { "0.75", "1.5", "3" }, { "0.3", "0.1", "-0.25" } },
    { "{\"type\":\"integer\",\"multipleOf\":7,\"minimum\":10,\"maximum\":100}", { "14", "98", "21" }, { "7", "15", "105", "1" } },
    { "{\"type\":\"integer\",\"exclusiveMinimum\":-3,\"exclusiveMaximum\":12}", { "-2", "0", "11" }, { "-3", "12", "-20" } },
    { "{\"anyOf\":[{\"type\":\"object\",\"properties\":{\"t\":{\"const\":\"a\"},\"x\":{\"type\":\"integer\"}},\"required\":[\"t\",\"x\"]},"
      "{\"type\":\"object\",\"properties\":{\"t\":{\"const\":\"b\"},\"y\":{\"type\":\"string\"}},\"required\":[\"t\",\"y\"]},{\"type\":\"null\"}]}",
      { "{\"t\":\"a\",\"x\":1}", "{\"t\":\"b\",\"y\":\"\"}", "null" }, { "{\"t\":\"a\",\"y\":\"\"}", "{\"t\":\"b\",\"x\":1}", "{\"t\":\"b\"}" } },
    { "{\"$defs\":{\"tree\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"integer\"},\"kids\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/tree\"}}},\"required\":[\"v\"]}},\"$ref\":\"#/$defs/tree\"}",
      { "{\"v\":1}", "{\"v\":1,\"kids\":[{\"v\":2,\"kids\":[]},{\"v\":3}]}" }, { "{\"v\":1,\"kids\":[{}]}", "{\"v\":\"1\"}" } },
    { "{\"allOf\":[{\"type\":\"object\",\"properties\":{\"a\":{\"minimum\":3}}},{\"properties\":{\"a\":{\"type\":\"integer\",\"maximum\":5}},\"required\":[\"a\"]}]}",
      { "{\"a\":3}", "{\"a\":5}" }, { "{\"a\":2}", "{\"a\":6}", "{\"a\":4.5}", "{}" } },
    { "{\"type\":[\"boolean\",\"null\"],\"title\":\"t\",\"default\":true}", { "true", "false", "null" }, { "0", "\"true\"", "[]" } },
    { "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"number\"}},\"additionalProperties\":false,\"required\":[\"a\"]}",
      { "{\"a\":-1.5}", "{\"a\":1}" }, { "{\"a\":1,\"b\":2}", "{\"a\":\"1\"}", "{}" } },
    { "{\"type\":\"array\",\"items\":{\"const\":\"a, b\"},\"minItems\":2}", { "[\"a, b\",\"a, b\"]" }, { "[\"a, b\"]", "[]", "[\"a, b\",\"a\"]" } },
    { "{\"oneOf\":[{\"type\":\"string\",\"maxLength\":2},{\"type\":\"array\",\"items\":{\"type\":\"null\"}}]}", { "\"ab\"", "[]", "[null,null]" }, { "\"abc\"", "[1]", "1" } },
    { "{\"type\":\"object\",\"properties\":{\"next\":{\"$ref\":\"#/$defs/n\",\"description\":\"d\"}},\"$defs\":{\"n\":{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"object\","
      "\"properties\":{\"next\":{\"$ref\":\"#/$defs/n\"}},\"required\":[\"next\"]}]}},\"required\":[\"next\"]}",
      { "{\"next\":null}", "{\"next\":{\"next\":{\"next\":null}}}" }, { "{\"next\":{}}", "{}", "{\"next\":1}" } },
    { "{\"enum\":[{\"b\":1,\"a\":\"x\"},{\"a\":2}],\"properties\":{\"a\":{\"type\":\"string\"},\"b\":{\"type\":\"integer\"}}}", { "{\"b\":1,\"a\":\"x\"}" }, { "{\"a\":2}", "{}" } },
    { "{\"type\":\"string\",\"format\":\"date\"}", { "\"2024-02-29\"", "\"1999-11-30\"" }, { "\"2023-02-29\"", "\"2023-11-31\"", "\"2023-1-1\"" } },
    { "{\"type\":\"string\",\"format\":\"time\"}", { "\"00:00:00Z\"", "\"23:59:59.25-08:00\"" }, { "\"24:00:00Z\"", "\"12:00Z\"", "\"12:00:00\"" } },
    { "{\"type\":\"string\",\"format\":\"duration\"}", { "\"P4DT12H30M5S\"", "\"PT36H\"", "\"P2W\"" }, { "\"P\"", "\"PT\"", "\"P1\"", "\"P1S\"" } },
    { "{\"type\":\"string\",\"format\":\"email\"}", { "\"joe.bloggs@example.com\"" }, { "\"2962\"", "\".a@b.c\"", "\"a@\"", "\"a b@c.d\"" } },
    { "{\"type\":\"string\",\"format\":\"hostname\"}", { "\"www.example.com\"", "\"a\"" }, { "\"-a.com\"", "\"a-.com\"", "\"a_b\"", "\"\"" } },
    { "{\"type\":\"string\",\"format\":\"ipv6\"}", { "\"::1\"", "\"2001:db8::ff00:42:8329\"", "\"1:2:3:4:5:6:7:8\"" }, { "\":1\"", "\"1::2::3\"", "\"12345::\"" } },
    { "{\"type\":\"string\",\"format\":\"uri\"}", { "\"https://example.com:80/a?b=c#d\"", "\"mailto:joe@example.com\"" }, { "\"//example.com\"", "\"a b\"", "\"http:// x\"" } },
    { "{\"type\":[\"string\",\"null\"],\"enum\":[\"a\",\"bcd\",null,4],\"maxLength\":2}", { "\"a\"", "null" }, { "\"bcd\"", "4" } },
};

static void test_documents(void **x)
{
    (void)x;
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++)
        for (int k = 0; k < 16; k++) {
            const char *text = k < 8 ? documents[i].good[k] : documents[i].bad[k - 8];
            for (int way = 0; text && way < 4; way++) {
                const tok *t = way & 1 ? real : small;
                fixture f;
                open_json(&f, t, documents[i].schema);
                if (takes(&f, t, text, way & 2) != (k < 8)) fail_msg("%s is %s by %s (way %d)", text, k < 8 ? "refused" : "taken", documents[i].schema, way);
                assert_string_equal(schema_unenforced(f.s), "");
                close_fixture(&f);
            }
        }
}

/* The same values as the only argument of a call; | stands for the quote token. */
static bool takes_call(const tok *t, const char *schema_text, const json_t *v)
{
    fixture f;
    tok_ids ids = { 0 };
    buf b;
    bool ok = true;
    const trie *x = t == real ? real_trie : small_trie;
    json_t *s = json_of(schema_text), *defs = json_object_get(s, "$defs");
    json_t *tools = json_pack("[{s:s, s:{s:s, s:{s:s, s:{s:O}, s:[s], s:O*}}}]", "type", "function", "function", "name", "f", "parameters", "type", "object", "properties", "v", s,
                              "required", "v", "$defs", defs);
    char *text = json_dumps(tools, 0);
    open_tools(&f, t, text, (grammar_opts){ .choice = GRAMMAR_REQUIRED });
    buf_init(&b, 1 << 20);
    buf_add_str(&b, "call:f{v:", NULL);
    assert_int_equal(schema_print(&b, SCHEMA_CALL, v, NULL), OK);
    buf_add_str(&b, "}", NULL);
    tok_ids_add(&ids, tok_specials(t)->tool_call, NULL);
    for (str rest = { buf_text(&b), b.len }, part; rest.n; rest = str_skip(rest, part.n < rest.n ? part.n + 1 : part.n)) {
        part = (str){ rest.p, str_find(rest, STR("\xFF")) };
        tok_encode(t, part, false, &ids, NULL);
        if (part.n < rest.n) tok_ids_add(&ids, tok_specials(t)->quote, NULL);
    }
    tok_ids_add(&ids, tok_specials(t)->tool_call_end, NULL);
    for (size_t i = 0; i < ids.len && ok; i++) {
        bool in_mask = allows(f.g, x, ids.data[i]);
        ok = grammar_accept(f.g, ids.data[i], NULL) == OK;
        if (ok != in_mask) fail_msg("mask and accept differ at token %zu of %s", i, buf_text(&b));
    }
    free(text);
    tok_ids_done(&ids);
    buf_done(&b);
    json_decref(tools);
    json_decref(s);
    close_fixture(&f);
    return ok;
}

static void test_documents_as_calls(void **x)
{
    (void)x;
    int taken = 0;
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++)
        for (int k = 0; k < 16; k++) {
            const char *text = k < 8 ? documents[i].good[k] : documents[i].bad[k - 8];
            json_t *v = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;      /* some of the bad ones are no values */
            for (int way = 0; v && way < 2; way++, taken++)
                if (takes_call(way ? real : small, documents[i].schema, v) != (k < 8)) fail_msg("%s is %s in a call by %s", text, k < 8 ? "refused" : "taken", documents[i].schema);
            json_decref(v);
        }
    assert_true(taken > 300);
}

/* ---- a small validator of its own ----------------------------------------------------------------------- */

static double number_at(const json_t *s, const char *key, double otherwise)
{
    const json_t *v = json_object_get(s, key);
    return v ? json_number_value(v) : otherwise;
}

static bool has_type(const json_t *v, const char *t)
{
    if (strcmp(t, "integer") == 0) return json_is_integer(v);
    if (strcmp(t, "number") == 0) return json_is_number(v);
    if (strcmp(t, "boolean") == 0) return json_is_boolean(v);
    if (strcmp(t, "null") == 0) return json_is_null(v);
    return strcmp(t, "string") == 0 ? json_is_string(v) : strcmp(t, "array") == 0 ? json_is_array(v) : json_is_object(v);
}

static bool valid(const json_t *root, const json_t *s, const json_t *v)
{
    const json_t *k, *item;
    const char *key;
    size_t i;
    bool ok = true, some = false;
    if (json_is_boolean(s)) return json_is_true(s);
    if ((k = json_object_get(s, "$ref"))) ok = valid(root, strcmp(json_string_value(k), "#") == 0 ? root : json_object_get(json_object_get(root, "$defs"), json_string_value(k) + 8), v);
    if (json_is_string(k = json_object_get(s, "type"))) ok = ok && has_type(v, json_string_value(k));
    if (json_is_array(k)) {
        json_array_foreach(k, i, item) some |= has_type(v, json_string_value(item));
        ok = ok && some;
    }
    if ((k = json_object_get(s, "const"))) ok = ok && json_equal(k, v);
    if ((k = json_object_get(s, "enum"))) {
        some = false;
        json_array_foreach(k, i, item) some |= json_equal(item, v);
        ok = ok && some;
    }
    if ((k = json_object_get(s, "anyOf"))) {
        some = false;
        json_array_foreach(k, i, item) some |= valid(root, item, v);
        ok = ok && some;
    }
    json_array_foreach(json_object_get(s, "allOf"), i, item) ok = ok && valid(root, item, v);
    if (json_is_number(v)) {
        double d = json_number_value(v);
        ok = ok && d >= number_at(s, "minimum", -1e300) && d <= number_at(s, "maximum", 1e300) && d > number_at(s, "exclusiveMinimum", -1e301) && d < number_at(s, "exclusiveMaximum", 1e301);
        double m = number_at(s, "multipleOf", 0), q = m ? d / m : 0;
        ok = ok && (double)(int64_t)(q + (q < 0 ? -0.5 : 0.5)) - q < 1e-9 && q - (double)(int64_t)(q + (q < 0 ? -0.5 : 0.5)) < 1e-9;
    }
    if (json_is_string(v)) {
        double n = 0;
        for (const char *p = json_string_value(v), *end = p + json_string_length(v); p < end; p++) n += (*p & 0xC0) != 0x80;
        ok = ok && n >= number_at(s, "minLength", 0) && n <= number_at(s, "maxLength", 1e9);
    }
    if (json_is_array(v)) {
        const json_t *prefix = json_object_get(s, "prefixItems"), *rest = json_object_get(s, "items");
        ok = ok && (double)json_array_size(v) >= number_at(s, "minItems", 0) && (double)json_array_size(v) <= number_at(s, "maxItems", 1e9);
        json_array_foreach(v, i, item) {
            const json_t *each = i < json_array_size(prefix) ? json_array_get(prefix, i) : rest;
            ok = ok && (!each || valid(root, each, item));
        }
    }
    if (json_is_object(v)) {
        const json_t *props = json_object_get(s, "properties"), *more = json_object_get(s, "additionalProperties");
        json_array_foreach(json_object_get(s, "required"), i, item) ok = ok && json_object_get(v, json_string_value(item));
        json_object_foreach((json_t *)v, key, item) {
            const json_t *each = json_object_get(props, key);
            ok = ok && valid(root, each ? each : more ? more : json_true(), item);
        }
    }
    return ok;
}

/* Any allowed token, mostly short ones, and the end as soon as it may come now and then. */
static int32_t draw(const uint64_t *bits, const trie *x, const tok *t, uint64_t seed, uint64_t n)
{
    int32_t chosen = -1;
    uint64_t seen = 0;
    if (n > 60 || n % 7 == 6)
        for (int i = 0; i < 3; i++) {
            int32_t id = i < 2 ? ends_of(t)[i] : tok_specials(t)->tool_call_end;
            if (bits[id / 64] >> (id % 64) & 1) return id;
        }
    const char *out = n > 40 ? "\"]}" : "";      /* an answer that is long enough goes for closing characters */
    for (const char *p = out; *p; p++) {
        int32_t id = tok_find(t, (str){ p, 1 });
        if (bits[id / 64] >> (id % 64) & 1) return id;
    }
    if (n > 40 && bits[tok_specials(t)->quote / 64] >> (tok_specials(t)->quote % 64) & 1) return tok_specials(t)->quote;
    for (size_t w = 0; w < x->words; w++)
        for (uint64_t left = bits[w]; left; left &= left - 1)
            if (seen++, rng_uniform(seed, n * 1000003 + seen) * (double)seen < 1) chosen = (int32_t)(w * 64) + __builtin_ctzll(left);
    return chosen;
}

static bool is_end(const tok *t, int32_t id) { return id == ends_of(t)[0] || id == ends_of(t)[1] || id == ends_of(t)[2]; }

/* Draws an answer; true when it came to its end.  ids gets it without the end. */
static bool sample(grammar *g, const tok *t, uint64_t seed, tok_ids *ids)
{
    const trie *x = t == real ? real_trie : small_trie;
    uint64_t *bits = mem_array(x->words, sizeof *bits, MEM_TEXT);
    bool over = false;
    for (uint64_t n = 0; n < STEPS_MAX && !over; n++) {
        err e = { 0 };
        grammar_mask(g, bits);
        int32_t id = draw(bits, x, t, seed, n);
        if (id < 0) fail_msg("nothing may come after %zu tokens, %d drawn", ids->len, (int)n);
        assert_ok(grammar_accept(g, id, &e), &e);
        over = is_end(t, id);
        if (!over) tok_ids_add(ids, id, NULL);
    }
    mem_free(bits);
    return over;
}

static void test_random(void **x)
{
    (void)x;
    int ended = 0, all = 0;
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
        json_t *s = json_of(documents[i].schema);
        for (uint64_t seed = 0; seed < 40; seed++, all++) {
            fixture f;
            tok_ids ids = { 0 };
            tok_decoder d = { 0 };
            buf b;
            buf_init(&b, 1 << 20);
            const tok *t = seed % 8 ? small : real;
            open_json(&f, t, documents[i].schema);
            if (sample(f.g, t, seed, &ids)) {
                ended++;
                for (size_t k = 0; k < ids.len; k++) tok_decode(t, &d, ids.data[k], &b, NULL);
                json_t *v = json_loadb(buf_text(&b), b.len, JSON_DECODE_ANY, NULL);
                if (!v || !valid(s, s, v)) fail_msg("%s does not fit %s", buf_text(&b), documents[i].schema);
                json_decref(v);
            }
            buf_done(&b);
            tok_ids_done(&ids);
            close_fixture(&f);
        }
        json_decref(s);
    }
    assert_true(ended > all * 9 / 10);
}

/* ---- masks, one token after the other ---------------------------------------------------------------------- */

/* Byte tokens whose character has a piece are left out of masks on purpose; accepting them is harmless. */
static bool is_double(const tok *t, int32_t id)
{
    str name = tok_piece(t, id), s = tok_bytes(t, id);
    char piece[4] = { s.n == 1 ? s.p[0] : 0, 0 };
    return name.n == 6 && str_starts(name, "<0x") && piece[0] > 0 && tok_find(t, str_from(piece[0] == ' ' ? "\xE2\x96\x81" : piece)) >= 0;
}

/* bits: room for a mask, which is there afterwards. */
static void compare_mask(grammar *g, const tok *t, uint64_t *bits, const char *where)
{
    grammar_mask(g, bits);
    for (int32_t id = 0; id < tok_count(t); id++) {
        bool on = bits[id / 64] >> (id % 64) & 1, ok = grammar_accept(g, id, NULL) == OK;
        if (ok) assert_true(grammar_rollback(g, 1));
        if (on != ok && !(ok && is_double(t, id))) fail_msg("token %d after %s: mask %d, accept %d", id, where, on, ok);
    }
}

static void compare_masks(grammar *g, uint64_t seed)
{
    const trie *x = small_trie;
    uint64_t *bits = mem_array(x->words, sizeof *bits, MEM_TEXT);
    for (uint64_t n = 0; n < 60; n++) {
        char where[16];
        snprintf(where, sizeof where, "%d tokens", (int)n);
        compare_mask(g, small, bits, where);
        int32_t id = draw(bits, x, small, seed, n);
        assert_int_equal(grammar_accept(g, id, NULL), OK);
        if (is_end(small, id)) break;
    }
    mem_free(bits);
}

static const char tools_text[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"get\",\"parameters\":{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\",\"maxLength\":6},"
    "\"n\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":31},\"unit\":{\"enum\":[\"c\",\"f:}\"]}},\"required\":[\"city\",\"n\"]}}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"get.time-now/x:y\",\"parameters\":{\"type\":\"object\",\"properties\":{\"a:b\":{\"type\":\"array\",\"items\":{\"type\":\"boolean\"}},"
    "\"m\":{\"type\":\"object\",\"additionalProperties\":{\"type\":[\"number\",\"null\"]}}},\"required\":[\"a:b\",\"m\"]}}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"none\"}}]";

static void test_masks(void **x)
{
    (void)x;
    fixture f;
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++)
        for (uint64_t seed = 0; seed < 3; seed++) {
            open_json(&f, small, documents[i].schema);
            compare_masks(f.g, seed + 100);
            close_fixture(&f);
        }
    for (uint64_t seed = 0; seed < 12; seed++) {
        open_tools(&f, small, tools_text, (grammar_opts){ .choice = GRAMMAR_REQUIRED, .think = seed & 1 });
        compare_masks(f.g, seed);
        close_fixture(&f);
    }
}

/* The same over Gemma 4's vocabulary, where masks are put together from those of ends, escapes, lengths and kinds. */
static void test_masks_in_text(void **x)
{
    static const struct { const char *schema, *text; } places[] = {
        { "{\"type\":\"string\"}", "\"a\\" },
        { "{\"type\":\"string\",\"minLength\":2,\"maxLength\":5}", "\"" },
        { "{\"type\":\"string\",\"minLength\":2,\"maxLength\":5}", "\"abcd\\" },
        { "{\"type\":\"string\",\"minLength\":9}", "\"abcdef" },
        { "{\"type\":\"object\"}", "{\"a key" },
        { "{\"type\":\"object\"}", "{\"a key\\" },
        { "{\"type\":\"string\",\"pattern\":\"ing\"}", "\"how\\n" },
        { "{\"type\":\"string\",\"pattern\":\"ing$\"}", "\"doing" },
    };
    (void)x;
    uint64_t *bits = mem_array(real_trie->words, sizeof *bits, MEM_TEXT);
    fixture f;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        open_json(&f, real, places[i].schema);
        assert_false(takes(&f, real, places[i].text, true));      /* it is no end */
        compare_mask(f.g, real, bits, places[i].text);
        close_fixture(&f);
    }
    static const char *const arguments[] = { "call:f{", "call:f{na", "call:g{", "call:g{n" };
    for (size_t i = 0; i < sizeof arguments / sizeof *arguments; i++) {
        open_tools(&f, real, "[{\"function\":{\"name\":\"f\"}},{\"function\":{\"name\":\"g\",\"parameters\":{\"type\":\"object\",\"properties\":{\"name\":{},\"why not\":{}},"
                             "\"additionalProperties\":{\"type\":\"integer\"}}}},{\"function\":{\"name\":\"h\"}}]", (grammar_opts){ .choice = GRAMMAR_REQUIRED });
        assert_int_equal(grammar_accept(f.g, tok_specials(real)->tool_call, NULL), OK);
        assert_false(takes(&f, real, arguments[i], true));
        compare_mask(f.g, real, bits, arguments[i]);
        close_fixture(&f);
    }
    mem_free(bits);
}

/* ---- calls -------------------------------------------------------------------------------------------------- */

typedef struct heard { int calls, answers; json_t *tools; } heard;

static status hear(void *user, const parse_event *ev, err *e)
{
    heard *h = user;
    (void)e;
    if (ev->kind == PARSE_ANSWER) h->answers++;
    if (ev->kind != PARSE_CALL) return OK;
    h->calls++;
    size_t i;
    json_t *tool, *found = NULL;
    json_array_foreach(h->tools, i, tool) {
        json_t *fn = json_object_get(tool, "function");
        if (str_is(ev->name, json_string_value(json_object_get(fn, "name")))) found = fn;
    }
    assert_non_null(found);
    json_t *s = json_object_get(found, "parameters"), *v = json_loadb(ev->json.p, ev->json.n, 0, NULL);
    if (!v || (s ? !valid(s, s, v) : json_object_size(v) > 0)) fail_msg("%.*s%.*s does not fit", (int)ev->name.n, ev->name.p, (int)ev->json.n, ev->json.p);
    json_decref(v);
    return OK;
}

/* What the grammar lets through, the parser reads as calls of declared functions with valid arguments. */
static void test_calls_random(void **x)
{
    (void)x;
    int ended = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        const tok *t = seed % 10 ? small : real;
        fixture f;
        tok_ids ids = { 0 };
        parser *p = NULL;
        parse_finish how;
        open_tools(&f, t, tools_text, (grammar_opts){ .choice = GRAMMAR_REQUIRED, .one_call = seed & 1 });
        heard h = { .tools = f.tools };
        const char *names[] = { "get", "get.time-now/x:y", "none" };
        if (sample(f.g, t, seed, &ids)) {
            ended++;
            assert_int_equal(parser_new(&p, t, &(parser_opts){ .tools = names, .tool_count = 3 }, hear, &h, NULL), OK);
            for (size_t i = 0; i < ids.len; i++) assert_int_equal(parser_token(p, ids.data[i], NULL), OK);
            assert_int_equal(parser_end(p, false, &how, NULL), OK);
            assert_null(parser_warning(p));
            assert_int_equal(h.answers, 0);
            assert_true(h.calls >= 1 && (h.calls == 1 || !(seed & 1)));
            parser_free(p);
        }
        tok_ids_done(&ids);
        close_fixture(&f);
    }
    assert_true(ended > 150);
}

/* Text with | for the quote token, from <|tool_call> on. */
static bool calls(const tok *t, grammar_opts o, const char *text)
{
    fixture f;
    bool ok;
    tok_ids ids = { 0 };
    open_tools(&f, t, tools_text, o);
    ok = grammar_accept(f.g, tok_specials(t)->tool_call, NULL) == OK;
    for (str rest = str_from(text), part; rest.n;) {
        size_t n = str_find(rest, STR("|"));
        part = (str){ rest.p, n };
        tok_encode(t, part, false, &ids, NULL);
        if (n < rest.n) tok_ids_add(&ids, tok_specials(t)->quote, NULL);
        rest = str_skip(rest, n < rest.n ? n + 1 : n);
    }
    tok_ids_add(&ids, tok_specials(t)->tool_call_end, NULL);
    for (size_t i = 0; i < ids.len && ok; i++) ok = grammar_accept(f.g, ids.data[i], NULL) == OK;
    tok_ids_done(&ids);
    close_fixture(&f);
    return ok;
}

static void test_calls(void **x)
{
    (void)x;
    const tok *vocabularies[] = { small, real };
    for (int i = 0; i < 2; i++) {
        const tok *t = vocabularies[i];
        grammar_opts any = { .choice = GRAMMAR_AUTO }, named = { .choice = GRAMMAR_REQUIRED, .named = "none" };
        assert_true(calls(t, any, "call:get{city:|Paris|,n:31}"));
        assert_true(calls(t, any, "call:get{n:7,unit:|f:}|,city:|a\"}{|}"));      /* any order, brackets and quotes in strings */
        assert_true(calls(t, any, "call:get.time-now/x:y{|a:b|:[true,false],m:{x:1.5,|k y|:null}}"));
        assert_true(calls(t, any, "call:none{}"));
        assert_true(calls(t, named, "call:none{}"));
        assert_false(calls(t, named, "call:get{city:|Paris|,n:31}"));
        assert_false(calls(t, any, "call:get{city:|Paris|}"));                    /* n is required */
        assert_false(calls(t, any, "call:get{city:|Parisss|,n:1}"));              /* too long */
        assert_false(calls(t, any, "call:get{city:|a|,n:32}"));
        assert_false(calls(t, any, "call:get{city:|a|,n:1,city:|b|}"));           /* twice */
        assert_false(calls(t, any, "call:get{city:|a|,n:1,unit:|k|}"));
        assert_false(calls(t, any, "call:gets{}"));
        assert_false(calls(t, any, "call:none{a:1}"));
    }
}

static void test_phases(void **x)
{
    (void)x;
    const tok_special *sp = tok_specials(small);
    int32_t text = tok_find(small, STR("the"));
    if (text < 0) text = tok_find(small, STR("a"));
    fixture f;
    open_tools(&f, small, tools_text, (grammar_opts){ .choice = GRAMMAR_AUTO, .think = true });
    assert_true(allows(f.g, small_trie, sp->channel));
    assert_true(allows(f.g, small_trie, sp->tool_call));
    assert_true(allows(f.g, small_trie, text));
    assert_int_equal(grammar_accept(f.g, sp->channel, NULL), OK);
    assert_false(allows(f.g, small_trie, sp->turn_end));
    assert_false(allows(f.g, small_trie, sp->tool_response));
    assert_int_equal(grammar_accept(f.g, text, NULL), OK);
    assert_int_equal(grammar_accept(f.g, sp->channel_end, NULL), OK);
    assert_false(allows(f.g, small_trie, sp->channel));             /* one thought */
    assert_int_equal(grammar_accept(f.g, text, NULL), OK);
    assert_false(allows(f.g, small_trie, sp->tool_response));       /* nothing was called */
    assert_true(allows(f.g, small_trie, sp->turn_end));
    assert_true(grammar_rollback(f.g, 4));
    assert_true(allows(f.g, small_trie, sp->channel));
    assert_false(grammar_rollback(f.g, 1));
    close_fixture(&f);
    open_tools(&f, small, tools_text, (grammar_opts){ .choice = GRAMMAR_NONE });
    assert_false(allows(f.g, small_trie, sp->tool_call));
    assert_false(allows(f.g, small_trie, sp->channel));
    close_fixture(&f);
    open_tools(&f, small, tools_text, (grammar_opts){ .choice = GRAMMAR_REQUIRED, .in_thought = true });
    assert_int_equal(grammar_accept(f.g, sp->channel_end, NULL), OK);
    assert_false(allows(f.g, small_trie, text));
    assert_true(allows(f.g, small_trie, sp->tool_call));
    close_fixture(&f);
}

/* Goes round and round; how many tokens it takes until one may not come. */
static int go_round(grammar *g, const trie *x, const int32_t *period, int length, tok_ids *ids)
{
    int n = 0;
    while (grammar_accept(g, period[n % length], NULL) == OK) {
        tok_ids_add(ids, period[n % length], NULL);
        assert_true(++n < 4000);
    }
    assert_false(allows(g, x, period[n % length]));          /* the mask says the same */
    return n;
}

static void open_loop(fixture *f, tok_ids *ids)
{
    open_json(f, real, "{\"type\":\"object\",\"properties\":{\"s\":{\"type\":\"string\"},\"n\":{\"type\":\"integer\",\"minimum\":12,\"maximum\":13},"
                       "\"l\":{\"type\":\"array\",\"items\":{\"enum\":[\"x\",\"y\"]},\"minItems\":2}},\"required\":[\"s\",\"n\",\"l\"]}");
    tok_encode(real, STR("{\"s\":\""), false, ids, NULL);
    for (size_t i = 0; i < ids->len; i++) assert_int_equal(grammar_accept(f->g, ids->data[i], NULL), OK);
}

/* A string that repeats itself may once not go on so, and is closed into a value that the schema accepts when it does it again. */
static void test_loops(void **x)
{
    (void)x;
    fixture f;
    tok_ids ids = { 0 };
    tok_decoder d = { 0 };
    buf b;
    buf_init(&b, 1 << 20);
    open_loop(&f, &ids);
    int32_t word = tok_find(real, STR("\xE2\x96\x81the")), other = tok_find(real, STR("\xE2\x96\x81" "a"));
    assert_in_range(go_round(f.g, real_trie, &word, 1, &ids), 60, 70);
    assert_null(grammar_warning(f.g));
    assert_true(allows(f.g, real_trie, other));
    assert_true(grammar_rollback(f.g, 1));                   /* back before the loop was seen: not avoided, then again */
    assert_true(allows(f.g, real_trie, word));
    assert_int_equal(grammar_accept(f.g, word, NULL), OK);
    assert_false(allows(f.g, real_trie, word));
    assert_int_equal(grammar_accept(f.g, other, NULL), OK);
    tok_ids_add(&ids, other, NULL);
    assert_true(allows(f.g, real_trie, word));               /* elsewhere it is a word like any other */
    assert_in_range(go_round(f.g, real_trie, &word, 1, &ids), 60, 70);
    assert_true(sample(f.g, real, 1, &ids));
    for (size_t i = 0; i < ids.len; i++) tok_decode(real, &d, ids.data[i], &b, NULL);
    assert_non_null(strstr(buf_text(&b), "the\",\"n\":12,\"l\":[\"x\",\"x\"]}"));
    assert_non_null(grammar_warning(f.g));
    buf_done(&b);
    tok_ids_done(&ids);
    close_fixture(&f);
}

/* Letters alone: it ends no string. */
static bool is_word(int32_t id)
{
    str s = tok_bytes(real, id);
    for (size_t i = 0; i < s.n; i++)
        if ((s.p[i] | 32) < 'a' || (s.p[i] | 32) > 'z') return false;
    return s.n > 0 && !tok_is_special(real, id);
}

/* Whole paragraphs that come again are loops too, after fewer rounds; what comes three times is none, and neither are few kinds of words among
 * others. */
static void test_long_loops(void **x)
{
    (void)x;
    static const int lengths[] = { 17, 40, 128 };
    for (int k = 0; k < 3; k++) {
        fixture f;
        tok_ids ids = { 0 };
        int32_t period[128];
        int n = 0, length = lengths[k];
        open_loop(&f, &ids);
        for (int32_t id = 1000; n < length; id += 7)
            if (is_word(id)) period[n++] = id;
        n = go_round(f.g, real_trie, period, length, &ids);
        assert_in_range(n, 4 * length, 4 * length + 2);
        assert_null(grammar_warning(f.g));
        assert_int_equal(grammar_accept(f.g, period[(n + 1) % length], NULL), OK);
        for (int i = n + 2; grammar_accept(f.g, period[i % length], NULL) == OK; i++) assert_true(i < n + 6 * length);
        assert_non_null(grammar_warning(f.g));
        tok_ids_done(&ids);
        close_fixture(&f);
    }
    fixture f;
    tok_ids ids = { 0 };
    open_loop(&f, &ids);
    for (int i = 0; i < 1200; i++) {                         /* three rounds of each, then others */
        int32_t id = 1000 + i % 40 + 40 * (i / 120);
        if (is_word(id)) assert_int_equal(grammar_accept(f.g, id, NULL), OK);
    }
    assert_null(grammar_warning(f.g));
    tok_ids_done(&ids);
    close_fixture(&f);
}

/* Where nothing else may come, a loop goes on. */
static void test_loops_that_must_be(void **x)
{
    (void)x;
    fixture f;
    tok_ids ids = { 0 };
    open_json(&f, real, "{\"type\":\"string\",\"pattern\":\"^(ab){400}$\"}");
    assert_true(sample(f.g, real, 1, &ids));
    assert_true(ids.len > 100);
    tok_ids_done(&ids);
    close_fixture(&f);
}

/* Draws like sample(), but goes on with what was `period` tokens ago wherever that may come, up to the end or the limit. */
static bool sample_loop(grammar *g, const tok *t, uint64_t seed, tok_ids *ids)
{
    const trie *x = small_trie;
    uint64_t *bits = mem_array(x->words, sizeof *bits, MEM_TEXT);
    size_t start = 1 + seed % 23, period = 1 + seed % 5 * 3;
    bool over = false;
    for (uint64_t n = 0; n < 4000 && !over; n++) {
        err e = { 0 };
        grammar_mask(g, bits);
        int32_t again = ids->len >= start + period ? ids->data[ids->len - period] : -1;
        int32_t id = again >= 0 && (bits[again / 64] >> (again % 64) & 1) ? again : draw(bits, x, t, seed, grammar_warning(g) ? n : n % 6);
        if (id < 0) fail_msg("nothing may come after %zu tokens", ids->len);
        assert_ok(grammar_accept(g, id, &e), &e);
        over = is_end(t, id);
        if (!over) tok_ids_add(ids, id, NULL);
    }
    mem_free(bits);
    return over;
}

static const char *const endless[] = {
    "{}",
    "{\"type\":\"array\",\"items\":{\"type\":\"integer\",\"minimum\":3},\"minItems\":3}",
    "{\"type\":\"object\",\"additionalProperties\":{\"type\":\"array\",\"items\":{\"type\":\"boolean\"},\"minItems\":1}}",
    "{\"type\":\"object\",\"properties\":{\"s\":{\"type\":\"string\",\"minLength\":900},\"n\":{\"type\":\"number\",\"exclusiveMinimum\":0.5,\"maximum\":0.75}},\"required\":[\"s\",\"n\"]}",
    "{\"type\":\"object\",\"properties\":{\"s\":{\"type\":\"string\",\"pattern\":\"^[a-z ]+(-[0-9]{3})?$\"},\"d\":{\"type\":\"string\",\"format\":\"date\"}},\"required\":[\"s\",\"d\"]}",
    ("{\"anyOf\":[{\"type\":\"object\",\"properties\":{\"t\":{\"const\":\"a\"},\"x\":{\"type\":\"string\"}},\"required\":[\"t\",\"x\"]},"
     "{\"type\":\"array\",\"items\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]},\"minItems\":2}]}"),
    "{\"$ref\":\"#/$defs/t\",\"$defs\":{\"t\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"string\"},\"k\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/t\"}}},\"required\":[\"v\",\"k\"]}}}",
};

/* An answer that goes round in circles, wherever it is: what is made of it fits the schema. */
static void test_loops_random(void **x)
{
    (void)x;
    int closed = 0;
    for (size_t i = 0; i < sizeof endless / sizeof *endless; i++) {
        json_t *s = json_of(endless[i]);
        for (uint64_t seed = 0; seed < 60; seed++) {
            fixture f;
            tok_ids ids = { 0 };
            tok_decoder d = { 0 };
            buf b;
            buf_init(&b, 1 << 20);
            open_json(&f, small, endless[i]);
            bool over = sample_loop(f.g, small, seed, &ids);
            if (grammar_warning(f.g)) {
                closed++;
                for (size_t k = 0; k < ids.len; k++) tok_decode(small, &d, ids.data[k], &b, NULL);
                json_t *v = json_loadb(buf_text(&b), b.len, JSON_DECODE_ANY, NULL);
                if (!over || !v || !valid(s, s, v)) fail_msg("%.400s ... %s does not fit %s", buf_text(&b), b.len > 100 ? buf_text(&b) + b.len - 100 : "", endless[i]);
                json_decref(v);
            }
            buf_done(&b);
            tok_ids_done(&ids);
            close_fixture(&f);
        }
        json_decref(s);
    }
    assert_true(closed > 150);
}

/* The same in calls: the parser reads them, with arguments that fit. */
static void test_loops_in_calls(void **x)
{
    (void)x;
    int closed = 0;
    const char *names[] = { "f" };
    for (size_t i = 1; i < sizeof endless / sizeof *endless; i++)
        for (uint64_t seed = 0; seed < 30; seed++) {
            fixture f;
            tok_ids ids = { 0 };
            parser *p = NULL;
            parse_finish how;
            json_t *s = json_of(endless[i]), *defs = json_object_get(s, "$defs");
            json_t *tools = json_pack("[{s:s, s:{s:s, s:{s:s, s:{s:O}, s:[s], s:O*}}}]", "type", "function", "function", "name", "f", "parameters", "type", "object", "properties", "v", s,
                                      "required", "v", "$defs", defs);
            char *text = json_dumps(tools, 0);
            open_tools(&f, small, text, (grammar_opts){ .choice = GRAMMAR_REQUIRED, .one_call = true });
            bool over = sample_loop(f.g, small, seed, &ids);
            if (grammar_warning(f.g)) {
                heard h = { .tools = f.tools };
                closed++;
                assert_true(over);
                assert_int_equal(parser_new(&p, small, &(parser_opts){ .tools = names, .tool_count = 1 }, hear, &h, NULL), OK);
                for (size_t k = 0; k < ids.len; k++) assert_int_equal(parser_token(p, ids.data[k], NULL), OK);
                assert_int_equal(parser_end(p, false, &how, NULL), OK);
                assert_null(parser_warning(p));
                assert_int_equal(h.answers, 0);
                assert_int_equal(h.calls, 1);
                parser_free(p);
            }
            free(text);
            json_decref(tools);
            json_decref(s);
            tok_ids_done(&ids);
            close_fixture(&f);
        }
    assert_true(closed > 60);
}

/* ---- kept masks of patterns ---------------------------------------------------------------------------------- */

static void test_pattern_store(void **x)
{
    (void)x;
    enum { N = PATTERN_STORE_MASKS };
    pattern_store *p = pattern_store_new(2);
    uint64_t bits[2] = { 0 };
    assert_false(pattern_store_find(p, STR("a"), 1, bits));
    for (uint32_t i = 0; i < N; i++) pattern_store_keep(p, STR("a"), i, (uint64_t[]){ i, ~(uint64_t)i });
    pattern_store_keep(p, STR("a"), 5, (uint64_t[]){ 77, 77 });       /* it is there already */
    for (uint32_t i = 0; i < N; i++) {
        bits[0] = (uint64_t)1 << 63;
        bits[1] = 0;
        assert_true(pattern_store_find(p, STR("a"), i, bits));
        assert_true(bits[0] == (i | (uint64_t)1 << 63) && bits[1] == ~(uint64_t)i);
    }
    assert_false(pattern_store_find(p, STR("b"), 1, bits));
    assert_false(pattern_store_find(p, STR("a\0b"), 1, bits));
    for (uint32_t i = 0; i < N / 2; i++) pattern_store_keep(p, STR("b"), i, (uint64_t[]){ 1, 2 });
    for (uint32_t i = 0; i < N; i++) assert_int_equal(pattern_store_find(p, STR("a"), i, bits), i >= N / 2);      /* the oldest are gone */
    for (uint32_t i = 0; i < N / 2; i++) assert_true(pattern_store_find(p, STR("b"), i, bits));
    /* what is too long for a key is not kept */
    char text[PATTERN_STORE_KEY_MAX + 1];
    memset(text, 'x', sizeof text);
    pattern_store_keep(p, (str){ text, sizeof text }, 0, bits);
    assert_false(pattern_store_find(p, (str){ text, sizeof text }, 0, bits));
    pattern_store_keep(p, (str){ text, sizeof text - 1 }, 0, bits);
    assert_true(pattern_store_find(p, (str){ text, sizeof text - 1 }, 0, bits));
    pattern_store_free(p);
}

/* Between two tokens nothing is allocated: patterns seen for the first time, more of them than are kept, a loop that is closed. */
static void test_nothing_is_allocated(void **x)
{
    static const char *const schemas[] = {
        "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"pattern\":\"^[a-z]{1,300}$\"},\"minItems\":900}",
        ("{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"d\":{\"type\":\"string\",\"format\":\"date-time\"},\"u\":{\"type\":\"string\",\"format\":\"uri\"},"
        "\"n\":{\"type\":\"number\"},\"s\":{\"type\":\"string\",\"maxLength\":40}},\"required\":[\"d\",\"u\",\"n\",\"s\"]},\"minItems\":900}"),
        "{\"type\":\"object\",\"properties\":{\"s\":{\"type\":\"string\",\"minLength\":30000}}}",
    };
    (void)x;
    uint64_t *bits = mem_array(real_trie->words, sizeof *bits, MEM_TEXT);
    int closed = 0;
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
        fixture f;
        mem_stats before, after;
        int32_t id = -1;
        open_json(&f, real, schemas[i]);
        mem_stats_read(&before);
        for (uint64_t n = 0; n < 700; n++) {
            grammar_mask(f.g, bits);
            bool again = n > 400 && id >= 0 && (bits[id / 64] >> (id % 64) & 1);
            if (!again) id = draw(bits, real_trie, real, i + 1, n % 50);
            assert_int_equal(grammar_accept(f.g, id, NULL), OK);
        }
        mem_stats_read(&after);
        assert_int_equal(after.calls, before.calls);
        closed += grammar_warning(f.g) != NULL;
        close_fixture(&f);
    }
    assert_true(closed > 0);
    mem_free(bits);
}

/* ---- hostile ------------------------------------------------------------------------------------------------ */

static status compile(const char *text, char *unenforced, err *e)
{
    schema *s = NULL;
    int32_t node;
    json_t *j = json_of(text);
    status st = schema_new(&s, SCHEMA_JSON, e);
    if (st == OK) st = schema_add(s, j, false, &node, e);
    if (unenforced) strcpy(unenforced, s ? schema_unenforced(s) : "");
    schema_free(s);
    json_decref(j);
    return st;
}

static void test_refused(void **x)
{
    (void)x;
    err e = { 0 };
    char names[2048];
    assert_fails(compile("{\"type\":\"strin\"}", NULL, &e), E_ARG, &e, "type");
    assert_fails(compile("{\"$ref\":\"#/$defs/x\"}", NULL, &e), E_ARG, &e, "leads nowhere");
    assert_fails(compile("{\"$defs\":{\"a\":{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#/$defs/a\"}},\"required\":[\"a\"]}},\"$ref\":\"#/$defs/a\"}", NULL, &e), E_ARG, &e, "no value");
    assert_fails(compile("{\"type\":\"integer\",\"minimum\":3,\"maximum\":2}", NULL, &e), E_ARG, &e, "no value");
    assert_fails(compile("{\"type\":\"string\",\"pattern\":\"^a$\",\"minLength\":2}", NULL, &e), E_ARG, &e, "no value");
    assert_fails(compile("{\"type\":\"string\",\"pattern\":\"(\"}", NULL, &e), E_ARG, &e, "missing");
    assert_fails(compile("{\"anyOf\":[]}", NULL, &e), E_ARG, &e, "anyOf");
    assert_fails(compile("{\"properties\":[]}", NULL, &e), E_ARG, &e, "properties");
    assert_ok(compile("{\"type\":\"object\",\"not\":{},\"if\":{},\"uniqueItems\":true,\"patternProperties\":{\"a\":{}},\"x-y\":1,\"title\":\"t\"}", names, &e), &e);
    assert_string_equal(names, "not, if, uniqueItems, patternProperties, x-y");
    assert_ok(compile("{\"type\":\"string\",\"format\":\"iri\",\"pattern\":\"(?=a)b\"}", names, &e), &e);
    assert_string_equal(names, "pattern, format iri");
    assert_ok(compile("{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}", names, &e), &e);
    assert_string_equal(names, "");
    assert_ok(compile("{\"oneOf\":[{\"type\":\"string\"},{\"maxLength\":3}]}", names, &e), &e);
    assert_string_equal(names, "oneOf");
}

/* Each must come back soon, with an error or without; memory is bounded and given back. */
static void test_hostile(void **x)
{
    (void)x;
    err e = { 0 };
    buf b;
    size_t before = mem_now();
    static const char *const patterns[] = { "(a|b)*a(a|b){11}$", "((a{100}){100}){100}", "^(.{0,400}){1,9}$", "(x+x+)+y", "(((((((((a*)*)*)*)*)*)*)*)*)*", ".{4096}", "[^a]{3000}b" };
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        char text[256];
        snprintf(text, sizeof text, "{\"type\":\"string\",\"pattern\":\"%s\"}", patterns[i]);
        compile(text, NULL, &e);
    }
    buf_init(&b, 1 << 22);
    for (int i = 0; i < 100; i++) buf_add_str(&b, "{\"properties\":{\"a\":", NULL);
    buf_add_str(&b, "true", NULL);
    for (int i = 0; i < 100; i++) buf_add_str(&b, "}}", NULL);
    assert_ok(compile(buf_text(&b), NULL, &e), &e);
    buf_clear(&b);
    buf_add_str(&b, "{\"allOf\":[{}", NULL);       /* 2^20 combinations */
    for (int i = 0; i < 20; i++) buf_addf(&b, NULL, ",{\"anyOf\":[{\"minimum\":%d},{\"maxLength\":%d}]}", i, i);
    buf_add_str(&b, "]}", NULL);
    assert_fails(compile(buf_text(&b), NULL, &e), E_UNSUPPORTED, &e, "JSON schema");
    buf_clear(&b);
    buf_add_str(&b, "{\"enum\":[0", NULL);
    for (int i = 1; i < 20000; i++) buf_addf(&b, NULL, ",\"value %d\"", i);
    buf_add_str(&b, "]}", NULL);
    assert_ok(compile(buf_text(&b), NULL, &e), &e);
    for (int costly = 0; costly < 2; costly++) {      /* patterns without number, each of them allowed */
        buf_clear(&b);
        buf_add_str(&b, "{\"type\":\"object\",\"properties\":{\"z\":true", NULL);
        for (int i = 0; i < 3000; i++)
            buf_addf(&b, NULL, costly ? ",\"p%d\":{\"type\":\"string\",\"pattern\":\"^(a|b)*a(a|b){9}x%d$\"}" : ",\"p%d\":{\"type\":\"string\",\"pattern\":\"^[a-z]{0,400}x%d$\"}", i, i);
        buf_add_str(&b, "}}", NULL);
        assert_fails(compile(buf_text(&b), NULL, &e), E_UNSUPPORTED, &e, "too long to compile");
    }
    assert_ok(compile("{\"$ref\":\"#\"}", NULL, &e), &e);
    assert_fails(compile("{\"anyOf\":[{\"$ref\":\"#\"}]}", NULL, &e), E_ARG, &e, "no value");
    buf_done(&b);
    assert_int_equal(mem_now(), before);
}

static int setup(void **x)
{
    err e;
    (void)x;
    small = vocab_small();
    real = vocab_real();
    return trie_new(&small_trie, small, &e) != OK || trie_new(&real_trie, real, &e) != OK;
}

static int teardown(void **x)
{
    (void)x;
    trie_free(small_trie);
    trie_free(real_trie);
    tok_free(small);
    tok_free(real);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documents), cmocka_unit_test(test_documents_as_calls), cmocka_unit_test(test_refused), cmocka_unit_test(test_hostile), cmocka_unit_test(test_pattern_store), cmocka_unit_test(test_calls),
        cmocka_unit_test(test_phases), cmocka_unit_test(test_loops), cmocka_unit_test(test_long_loops), cmocka_unit_test(test_loops_that_must_be), cmocka_unit_test(test_loops_random), cmocka_unit_test(test_loops_in_calls), cmocka_unit_test(test_masks), cmocka_unit_test(test_masks_in_text), cmocka_unit_test(test_nothing_is_allocated), cmocka_unit_test(test_random), cmocka_unit_test(test_calls_random),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
