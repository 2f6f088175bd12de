/* Any bytes up to the first NUL as a JSON schema, those behind it as choices among the tokens that its masks allow.  Something may
 * always come, what is allowed is accepted, and what is finished is JSON within the bounds that its root names, or a call that the
 * parser reads. */
#include <stdlib.h>

#include "base/bits.h"
#include "support/vocab.h"
#include "text/grammar.h"
#include "text/parse.h"

enum { TOKENS_MAX = 300, BYTES_MAX = 200 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const tok *vocabulary;
static trie *tree;

static void need(bool ok)
{
    if (!ok) abort();
}

static bool has(const uint64_t *bits, int32_t id) { return id >= 0 && (bits[id / 64] >> (id % 64) & 1); }

/* The allowed token number `choice` of all; late, one that leads to the end. */
static int32_t pick(const uint64_t *bits, uint32_t choice, bool late)
{
    const tok_special *sp = tok_specials(vocabulary);
    uint32_t count = 0;
    int32_t ends[] = { sp->turn_end, sp->tool_call_end, sp->quote };
    for (size_t i = 0; late && i < COUNT_OF(ends); i++)
        if (has(bits, ends[i])) return ends[i];
    for (const char *p = late ? "\"]}" : ""; *p; p++)
        if (has(bits, tok_find(vocabulary, (str){ p, 1 }))) return tok_find(vocabulary, (str){ p, 1 });
    for (size_t w = 0; w < tree->words; w++) count += (uint32_t)__builtin_popcountll(bits[w]);
    need(count > 0);
    choice %= count;
    for (size_t w = 0;; w++)
        for (uint64_t left = bits[w]; left; left &= left - 1)
            if (choice-- == 0) return (int32_t)(w * 64) + __builtin_ctzll(left);
}

static status note(void *user, const parse_event *ev, err *e)
{
    (void)e;
    need(ev->kind == PARSE_CALL && json_is_object(ev->arguments));
    ++*(int *)user;
    return OK;
}

/* What a reader with doubles must find true. */
static void check_bounds(const json_t *s, const json_t *v)
{
    const json_t *low = json_object_get(s, "exclusiveMinimum"), *high = json_object_get(s, "maximum"), *most = json_object_get(s, "maxItems");
    if (json_is_number(v) && json_is_number(low)) need(json_number_value(v) > json_number_value(low));
    if (json_is_number(v) && json_is_number(high)) need(json_number_value(v) <= json_number_value(high));
    if (json_is_array(v) && json_is_integer(most)) need((json_int_t)json_array_size(v) <= json_integer_value(most));
}

static void check_value(const json_t *s, const tok_ids *ids)
{
    tok_decoder d = { 0 };
    buf b;
    buf_init(&b, 1 << 24);
    for (size_t i = 0; i < ids->len; i++) need(tok_decode(vocabulary, &d, ids->data[i], &b, NULL) == OK);
    json_t *v = json_loadb(buf_text(&b), b.len, JSON_DECODE_ANY, NULL);
    need(v != NULL);
    check_bounds(s, v);
    json_decref(v);
    buf_done(&b);
}

static void check_call(const tok_ids *ids)
{
    const char *const names[] = { "f" };
    parser *p = NULL;
    parse_finish how;
    int calls = 0;
    need(parser_new(&p, vocabulary, &(parser_opts){ .tools = names, .tool_count = 1 }, note, &calls, NULL) == OK);
    for (size_t i = 0; i < ids->len; i++) need(parser_token(p, ids->data[i], NULL) == OK);
    need(parser_end(p, false, &how, NULL) == OK);
    need(calls == 1 && !parser_warning(p));
    parser_free(p);
}

static void walk(grammar *g, const json_t *s, bool call, const uint8_t *choices, size_t n)
{
    const tok_special *sp = tok_specials(vocabulary);
    tok_ids ids = { 0 };
    uint64_t *bits = mem_array(tree->words, sizeof *bits, MEM_TEXT);
    need(bits != NULL);
    for (size_t i = 0; i < 4 * TOKENS_MAX; i++) {
        grammar_mask(g, bits);
        uint32_t choice = n ? choices[i % n] * 7919u + (uint32_t)(i / n) : (uint32_t)i;
        int32_t id = pick(bits, choice, i >= MIN(n, TOKENS_MAX));
        need(grammar_accept(g, id, NULL) == OK);
        if (id == sp->turn_end || id == sp->eos || id == sp->tool_response) {
            if (call) check_call(&ids);
            else check_value(s, &ids);
            break;
        }
        need(tok_ids_add(&ids, id, NULL) == OK);
    }
    tok_ids_done(&ids);
    mem_free(bits);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!vocabulary) {
        vocabulary = vocab_small();
        need(trie_new(&tree, vocabulary, NULL) == OK);
    }
    const uint8_t *nul = n ? memchr(data, 0, n) : NULL;
    size_t text = nul ? (size_t)(nul - data) : n;
    json_t *json = NULL;
    if (text > SCHEMA_BYTES_MAX || json_parse(&json, (str){ (const char *)data, text }, "the schema", false, NULL) != OK) return 0;
    for (int call = 0; call < 2; call++) {
        schema *s = NULL;
        grammar *g = NULL;
        json_t *tools = NULL;
        grammar_opts o = { .tok = vocabulary, .trie = tree };
        status st = OK;
        if (call) {
            o.tools = tools = json_pack("[{s:s, s:{s:s, s:O}}]", "type", "function", "function", "name", "f", "parameters", json);
            o.choice = GRAMMAR_REQUIRED;
            o.one_call = true;
        } else {
            need(schema_new(&s, SCHEMA_JSON, NULL) == OK);
            st = schema_add(s, json, false, &o.format_node, NULL);
            o.format = s;
        }
        if (st == OK && grammar_new(&g, &o, NULL) == OK) walk(g, json, call, nul ? nul + 1 : data, nul ? n - text - 1 : 0);
        mem_stats now;
        mem_stats_read(&now);
        need(now.current < BYTES_MAX);
        grammar_free(g);
        schema_free(s);
        json_decref(tools);
    }
    json_decref(json);
    return 0;
}
