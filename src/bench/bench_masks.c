#include "bench/bench_masks.h"

#include <string.h>
#include <time.h>

#include "base/bits.h"
#include "base/rng.h"
#include "text/grammar.h"

enum { TEXTS_MAX = 4, TOKENS_MAX = 400, LONG = 60 /* tokens after which a drawn answer makes for its end */, NAMES = 600 };

/* A schema, or the parameters of a function f; answers in JSON, or calls with | for the quote token. */
typedef struct subject { const char *what; bool call; const char *schema, *texts[TEXTS_MAX]; } subject;

#define ORDER "{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"integer\"},\"customer\":{\"type\":\"string\"},\"paid\":{\"type\":\"boolean\"}," \
    "\"total\":{\"type\":\"number\"},\"note\":{\"type\":[\"string\",\"null\"]}},\"required\":[\"id\",\"customer\",\"paid\",\"total\",\"note\"],\"additionalProperties\":false}"

static const subject subjects[] = {
    { "flat object", false, ORDER, { "{\"id\":10423,\"customer\":\"Ana Souza, Porto Alegre\",\"paid\":true,\"total\":129.9,\"note\":\"Leave the parcel with the neighbour \\\"on the left\\\".\"}",
                                     "{\"id\":7,\"customer\":\"M\xC3\xBCller & S\xC3\xB6hne\",\"paid\":false,\"total\":0.5,\"note\":null}" } },
    { "nested arrays", false, "{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"number\"},\"y\":{\"type\":\"number\"},"
      "\"tags\":{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"maxItems\":3}},\"required\":[\"x\",\"y\"]},\"minItems\":1}}",
      { "[[{\"x\":1.5,\"y\":-2},{\"x\":0,\"y\":3e-4,\"tags\":[\"corner\",\"left\"]}],[{\"x\":12,\"y\":12.75,\"tags\":[]}]]" } },
    { "enum of 600", false, NULL, { "{\"city\":\"city number 17 of the list\",\"other\":\"city number 599 of the list\"}" } },
    { "patterns", false, "{\"type\":\"object\",\"properties\":{\"sku\":{\"type\":\"string\",\"pattern\":\"^[A-Z]{3}-[0-9]{4,6}$\"},\"phone\":{\"type\":\"string\",\"pattern\":\"^\\\\+?[0-9][0-9 ]{5,14}$\"},"
      "\"slug\":{\"type\":\"string\",\"pattern\":\"^[a-z0-9]+(-[a-z0-9]+)*$\"},\"word\":{\"type\":\"string\",\"pattern\":\"ing\"}},\"required\":[\"sku\",\"phone\",\"slug\",\"word\"]}",
      { "{\"sku\":\"ABC-12345\",\"phone\":\"+49 170 1234567\",\"slug\":\"how-to-read-a-map\",\"word\":\"the meaning of it\"}" } },
    { "formats", false, "{\"type\":\"object\",\"properties\":{\"when\":{\"type\":\"string\",\"format\":\"date-time\"},\"day\":{\"type\":\"string\",\"format\":\"date\"},\"mail\":{\"type\":\"string\",\"format\":\"email\"},"
      "\"ip\":{\"type\":\"string\",\"format\":\"ipv4\"},\"id\":{\"type\":\"string\",\"format\":\"uuid\"},\"link\":{\"type\":\"string\",\"format\":\"uri\"}},\"required\":[\"when\",\"day\",\"mail\",\"ip\",\"id\",\"link\"]}",
      { "{\"when\":\"2026-02-28T17:05:09+01:00\",\"day\":\"2024-02-29\",\"mail\":\"ana.souza@example.com\",\"ip\":\"192.168.10.254\",\"id\":\"123e4567-e89b-12d3-a456-426614174000\","
        "\"link\":\"https://example.com/a/b?c=d#e\"}" } },
    { "bounds", false, "{\"type\":\"object\",\"properties\":{\"month\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":12},\"share\":{\"type\":\"number\",\"minimum\":0,\"maximum\":1},"
      "\"step\":{\"type\":\"integer\",\"multipleOf\":25,\"minimum\":-1000,\"maximum\":1000},\"code\":{\"type\":\"string\",\"minLength\":3,\"maxLength\":12}},\"required\":[\"month\",\"share\",\"step\",\"code\"]}",
      { "{\"month\":12,\"share\":0.325,\"step\":-975,\"code\":\"Q3 totals\"}", "{\"month\":7,\"share\":1,\"step\":0,\"code\":\"abc\"}" } },
    { "recursion", false, "{\"$defs\":{\"node\":{\"type\":\"object\",\"properties\":{\"op\":{\"enum\":[\"and\",\"or\",\"not\"]},\"of\":{\"type\":\"array\",\"items\":{\"anyOf\":[{\"$ref\":\"#/$defs/node\"},{\"type\":\"string\"}]}}},"
      "\"required\":[\"op\",\"of\"]}},\"$ref\":\"#/$defs/node\"}",
      { "{\"op\":\"and\",\"of\":[\"red\",{\"op\":\"or\",\"of\":[{\"op\":\"not\",\"of\":[\"round\"]},\"small and light\"]}]}" } },
    { "alternatives", false, "{\"anyOf\":[{\"type\":\"object\",\"properties\":{\"kind\":{\"const\":\"mail\"},\"to\":{\"type\":\"string\"},\"text\":{\"type\":\"string\"}},\"required\":[\"kind\",\"to\",\"text\"]},"
      "{\"type\":\"object\",\"properties\":{\"kind\":{\"const\":\"call\"},\"to\":{\"type\":\"string\",\"maxLength\":40},\"minutes\":{\"type\":\"integer\"}},\"required\":[\"kind\",\"to\"]},"
      "{\"type\":\"object\",\"properties\":{\"kind\":{\"type\":\"string\"},\"to\":{\"type\":\"null\"}},\"required\":[\"kind\"]}]}",
      { "{\"kind\":\"mail\",\"to\":\"Ana\",\"text\":\"See you at noon.\"}", "{\"kind\":\"other thing\",\"to\":null}" } },
    { "any JSON", false, "{\"type\":\"object\"}", { "{\"title\":\"Notes\",\"list\":[1,2.5,{\"a\":null,\"b\":[true,false]}],\"text\":\"line one\\nline two\"}" } },
    { "free text", false, "{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\"}},\"required\":[\"text\"]}",
      { "{\"text\":\"The three of them had walked since dawn, and nobody spoke: \\\"not yet\\\", said the eldest. Caf\xC3\xA9, \xE6\x9D\xB1\xE4\xBA\xAC, \xF0\x9F\x99\x82.\"}" } },
    { "tool call", true, ORDER, { "call:f{id:10423,customer:|Ana Souza, Porto Alegre|,paid:true,total:129.9,note:|Leave it {with} the \"neighbour\".|}", "call:f{note:null,paid:false,id:7,total:0.5,customer:||}" } },
    { "tool call, nested", true, "{\"type\":\"object\",\"properties\":{\"todos\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"content\":{\"type\":\"string\",\"minLength\":1},"
      "\"status\":{\"type\":\"string\",\"enum\":[\"pending\",\"in_progress\",\"completed\"]},\"due\":{\"type\":\"string\",\"format\":\"date\"},\"meta\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\",\"maxLength\":30}}},"
      "\"required\":[\"content\",\"status\"],\"additionalProperties\":false}}},\"required\":[\"todos\"]}",
      { "call:f{todos:[{content:|Read src/main.c|,status:|in_progress|},{status:|pending|,due:|2026-03-01|,meta:{owner:|ana|,|why not|:|no time|},content:|Write the test|}]}" } },
};

typedef struct samples { double *at; size_t count, cap; } samples;

static status sample(samples *s, double v, err *e)
{
    if (s->count == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 1024;
        double *p = mem_resize(s->at, cap * sizeof *p, MEM_OTHER);
        if (!p) return err_set(e, E_NOMEM, "could not measure masks\nout of memory");
        s->at = p;
        s->cap = cap;
    }
    s->at[s->count++] = v;
    return OK;
}

typedef struct bench {
    const bench_masks_opts *o;
    trie *trie;
    uint64_t *bits;
    samples mask, accept, all_mask, all_accept;
    double slowest_compile;
} bench;

/* This thread's own time: other work does not count. */
static double own_seconds(void)
{
    struct timespec t = { 0 };
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The schema's grammar for a new request.  *s too is the caller's: schema_free after the grammar. */
static status begin(const bench *b, const subject *x, const json_t *json, schema **s, grammar **g, err *e)
{
    status st = OK;
    json_t *tools = NULL;
    grammar_opts o = { .tok = b->o->tok, .trie = b->trie };
    if (x->call) {
        o.tools = tools = json_pack("[{s:s, s:{s:s, s:O}}]", "type", "function", "function", "name", "f", "parameters", json);
        if (!tools) FAIL(e, E_NOMEM, "could not measure masks\nout of memory");
        o.choice = GRAMMAR_REQUIRED;
    } else {
        TRY(schema_new(s, SCHEMA_JSON, e));
        TRY(schema_add(*s, json, false, &o.format_node, e));
        o.format = *s;
    }
    TRY(grammar_new(g, &o, e));
    if (x->call) TRY(grammar_accept(*g, tok_specials(b->o->tok)->tool_call, e));
out:
    json_decref(tools);
    return st;
}

static bool has(const bench *b, int32_t id) { return id >= 0 && (b->bits[id / 64] >> (id % 64) & 1); }

/* One of the allowed tokens; -1: the answer is over. */
static int32_t draw(const bench *b, uint64_t seed, uint64_t n)
{
    const tok *t = b->o->tok;
    const tok_special *sp = tok_specials(t);
    int32_t chosen = -1, ends[] = { sp->turn_end, sp->eos, sp->tool_call_end };
    uint64_t seen = 0;
    for (size_t i = 0; i < COUNT_OF(ends); i++)
        if (has(b, ends[i])) return -1;
    if (n > LONG && has(b, sp->quote)) return sp->quote;
    for (const char *p = n > LONG ? "\"]}" : ""; *p; p++)
        if (has(b, tok_find(t, (str){ p, 1 }))) return tok_find(t, (str){ p, 1 });
    for (size_t w = 0; w < b->trie->words; w++) seen += (uint64_t)__builtin_popcountll(b->bits[w]);
    uint64_t want = (uint64_t)(rng_uniform(seed, n) * (double)seen);
    for (size_t w = 0; w < b->trie->words; w++)
        for (uint64_t left = b->bits[w]; left; left &= left - 1)
            if (want-- == 0) chosen = (int32_t)(w * 64) + __builtin_ctzll(left);
    return chosen;
}

/* Masks of one answer: of these ids, or drawn ones (ids NULL). */
static status answer(bench *b, grammar *g, const tok_ids *ids, uint64_t seed, err *e)
{
    status st = OK;
    for (size_t i = 0; ids ? i < ids->len : i < TOKENS_MAX; i++) {
        double t0 = own_seconds();
        grammar_mask(g, b->bits);
        TRY(sample(&b->mask, own_seconds() - t0, e));
        int32_t id = ids ? ids->data[i] : draw(b, seed, i);
        if (id < 0) return OK;
        if (!has(b, id)) FAIL(e, E_INTERNAL, "could not measure masks\ntoken %zu of a fitting answer is not in its mask", i);
        t0 = own_seconds();
        TRY(grammar_accept(g, id, e));
        TRY(sample(&b->accept, own_seconds() - t0, e));
    }
out:
    return st;
}

/* | in calls is the quote token. */
static status encode(const tok *t, const subject *x, const char *text, tok_ids *ids, err *e)
{
    status st = OK;
    for (str rest = str_from(text), part; rest.n; rest = str_skip(rest, MIN(part.n + 1, rest.n))) {
        part = (str){ rest.p, x->call ? str_find(rest, STR("|")) : rest.n };
        TRY(tok_encode(t, part, false, ids, e));
        if (part.n < rest.n) TRY(tok_ids_add(ids, tok_specials(t)->quote, e));
    }
out:
    return st;
}

static status one_answer(bench *b, const subject *x, const json_t *json, const char *text, uint64_t seed, double *compile_s, err *e)
{
    status st = OK;
    schema *s = NULL;
    grammar *g = NULL;
    tok_ids ids = { 0 };
    if (text) TRY(encode(b->o->tok, x, text, &ids, e));
    double t0 = own_seconds();
    TRY(begin(b, x, json, &s, &g, e));
    *compile_s = own_seconds() - t0;
    TRY(answer(b, g, text ? &ids : NULL, seed, e));
out:
    grammar_free(g);
    schema_free(s);
    tok_ids_done(&ids);
    return st;
}

/* {"city": one of many, "other": one of many} */
static status long_enum(buf *out, err *e)
{
    status st = OK;
    for (int k = 0; k < 2; k++) {
        TRY(buf_add_str(out, k ? "]},\"other\":{\"enum\":[" : "{\"type\":\"object\",\"required\":[\"city\",\"other\"],\"properties\":{\"city\":{\"enum\":[", e));
        for (int i = 0; i < NAMES; i++) TRY(buf_addf(out, e, "%s\"city number %d of the list\"", i ? "," : "", i));
    }
    TRY(buf_add_str(out, "]}}}", e));
out:
    return st;
}

static double p99(const samples *s) { return s->count ? s->at[(s->count - 1) * 99 / 100] : 0; }

static void report(const bench *b, const char *what, samples *mask, samples *accept, double compile_s)
{
    bench_masks m = { .what = what, .compile_s = compile_s, .mask = bench_stats_of(mask->at, mask->count), .accept = bench_stats_of(accept->at, accept->count) };
    m.mask_p99 = p99(mask);      /* sorted now */
    m.accept_p99 = p99(accept);
    b->o->row(b->o->user, &m);
}

static status measure(bench *b, const subject *x, err *e)
{
    status st = OK;
    json_t *json = NULL;
    buf text;
    double compile_s, all = 0;
    int n = 0;
    buf_init(&text, 1 << 20);
    if (!x->schema) TRY(long_enum(&text, e));
    TRY(json_parse(&json, str_from(x->schema ? x->schema : buf_text(&text)), "a schema", true, e));
    b->mask.count = b->accept.count = 0;
    for (; n < TEXTS_MAX && x->texts[n]; n++) {
        TRY(one_answer(b, x, json, x->texts[n], 0, &compile_s, e));
        all += compile_s;
    }
    for (int i = 0; i < b->o->answers; i++, n++) {
        TRY(one_answer(b, x, json, NULL, (uint64_t)i + 1, &compile_s, e));
        all += compile_s;
    }
    for (size_t i = 0; i < b->mask.count; i++) TRY(sample(&b->all_mask, b->mask.at[i], e));
    for (size_t i = 0; i < b->accept.count; i++) TRY(sample(&b->all_accept, b->accept.at[i], e));
    b->slowest_compile = MAX(b->slowest_compile, all / n);
    report(b, x->what, &b->mask, &b->accept, all / n);
out:
    buf_done(&text);
    json_decref(json);
    return st;
}

status bench_masks_run(const bench_masks_opts *o, err *e)
{
    status st = OK;
    bench b = { .o = o };
    TRY(trie_new(&b.trie, o->tok, e));
    b.bits = mem_array(b.trie->words, sizeof *b.bits, MEM_OTHER);
    if (!b.bits) FAIL(e, E_NOMEM, "could not measure masks\nout of memory");
    for (size_t i = 0; i < COUNT_OF(subjects); i++) TRY(measure(&b, &subjects[i], e));
    report(&b, "all", &b.all_mask, &b.all_accept, b.slowest_compile);
out:
    mem_free(b.bits);
    trie_free(b.trie);
    mem_free(b.mask.at);
    mem_free(b.accept.at);
    mem_free(b.all_mask.at);
    mem_free(b.all_accept.at);
    return st;
}
