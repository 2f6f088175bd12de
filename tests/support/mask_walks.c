#include "support/mask_walks.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/hash.h"
#include "base/rng.h"
#include "support/must.h"
#include "support/packed.h"
#include "support/vocab.h"

enum { DRAWN = 2 /* walks of each schema besides those of its texts */, LONG = 18, STEPS_MAX = 60 };

json_t *mask_walks_schemas(void)
{
    err e = { 0 };
    buf b;
    json_t *j = NULL;
    packed_read(&b, MASK_WALKS_SCHEMAS);
    must(json_parse(&j, (str){ buf_text(&b), b.len }, MASK_WALKS_SCHEMAS, true, &e), &e);
    buf_done(&b);
    return j;
}

void mask_walks_compile(const json_t *schemas, size_t i, schema **s, int32_t *node)
{
    err e = { 0 };
    must(schema_new(s, SCHEMA_JSON, &e), &e);
    must(schema_add(*s, json_object_get(json_array_get(schemas, i), "schema"), false, node, &e), &e);
}

static bool has(const uint64_t *bits, int32_t id) { return id >= 0 && (bits[id / 64] >> (id % 64) & 1); }

/* Half of the tokens are any that may come, half of them short ones, which lead through more of a schema; a long answer makes for
 * its end. */
static int32_t draw(const tok *t, const uint64_t *bits, size_t words, uint64_t seed, uint64_t n)
{
    static const char out[] = "\"]}", some[] = ",:]}\"{[-0123456789.eabt\\";
    uint64_t seen = 0, coin = (uint64_t)(rng_uniform(seed, 2 * n) * 2 * (sizeof some - 1));
    bool ends = has(bits, tok_specials(t)->turn_end);
    if (ends && (n > LONG || coin % 3 == 0)) return -1;
    for (const char *p = n > LONG ? out : ""; *p; p++)
        if (has(bits, tok_find(t, (str){ p, 1 }))) return tok_find(t, (str){ p, 1 });
    for (size_t k = 0; coin < sizeof some - 1 && k < sizeof some - 1; k++) {
        int32_t id = tok_find(t, (str){ &some[(coin + k) % (sizeof some - 1)], 1 });
        if (has(bits, id)) return id;
    }
    for (size_t w = 0; w < words; w++) seen += (uint64_t)__builtin_popcountll(bits[w]);
    uint64_t want = (uint64_t)(rng_uniform(seed, 2 * n + 1) * (double)seen);
    for (size_t w = 0; w < words; w++)
        for (uint64_t left = bits[w]; left; left &= left - 1)
            if (want-- == 0) {
                int32_t id = (int32_t)(w * 64) + __builtin_ctzll(left);
                return tok_is_end(t, id) ? -1 : id;
            }
    return -1;
}

/* ids NULL: drawn ones. */
static void walk(grammar *g, const tok *t, mask_walks_step s, uint64_t *bits, const tok_ids *ids, void (*seen)(void *, const mask_walks_step *), void *user)
{
    err e = { 0 };
    uint64_t seed = (uint64_t)s.schema * 64 + (uint64_t)s.walk;
    s.bits = bits;
    for (s.id = 0; s.id >= 0; s.step++) {
        grammar_mask(g, bits);
        if (ids) s.id = (size_t)s.step < ids->len ? ids->data[s.step] : -1;
        else s.id = s.step < STEPS_MAX ? draw(t, bits, s.words, seed, (uint64_t)s.step) : -1;
        seen(user, &s);
        if (s.id >= 0) must(grammar_accept(g, s.id, &e), &e);
    }
}

void mask_walks_run(const json_t *schemas, const tok *t, const trie *x, void (*seen)(void *user, const mask_walks_step *), void *user)
{
    err e = { 0 };
    uint64_t *bits = mem_array(x->words, sizeof *bits, MEM_OTHER);
    int32_t ends[] = { tok_specials(t)->turn_end };
    if (!bits) must(err_set(&e, E_NOMEM, "could not walk\nout of memory"), &e);
    for (size_t i = 0; i < json_array_size(schemas); i++) {
        const json_t *texts = json_object_get(json_array_get(schemas, i), "texts");
        schema *s;
        grammar_opts o = { .tok = t, .trie = x, .ends = ends, .end_count = 1 };
        mask_walks_compile(schemas, i, &s, &o.format_node);
        o.format = s;
        for (size_t k = 0; k < json_array_size(texts) + DRAWN; k++) {
            grammar *g;
            tok_ids ids = { 0 };
            const char *text = json_string_value(json_array_get(texts, k));
            must(grammar_new(&g, &o, &e), &e);
            if (text) must(tok_encode(t, str_from(text), false, &ids, &e), &e);
            walk(g, t, (mask_walks_step){ .schema = (int32_t)i, .walk = (int32_t)k, .words = x->words }, bits, text ? &ids : NULL, seen, user);
            grammar_free(g);
            tok_ids_done(&ids);
        }
        schema_free(s);
    }
    mem_free(bits);
}

typedef struct golden { buf *out; uint64_t hash; } golden;

static void add_step(void *user, const mask_walks_step *s)
{
    err e = { 0 };
    golden *g = user;
    int count = 0;
    for (size_t w = 0; w < s->words; w++) count += __builtin_popcountll(s->bits[w]);
    if (s->step == 0) {
        g->hash = 1;
        must(buf_addf(g->out, &e, "%d.%d", s->schema, s->walk), &e);
    }
    g->hash = hash_bytes(s->bits, s->words * sizeof *s->bits, g->hash);
    g->hash = hash_bytes(&s->id, sizeof s->id, g->hash);
    must(buf_addf(g->out, &e, " %d", count), &e);
    if (s->id < 0) must(buf_addf(g->out, &e, " %016llx\n", (unsigned long long)g->hash), &e);
}

void mask_walks_golden(buf *out)
{
    err e = { 0 };
    trie *x;
    json_t *schemas = mask_walks_schemas();
    tok *t = vocab_real();
    buf_init(out, 1 << 26);
    must(trie_new(&x, t, &e), &e);
    mask_walks_run(schemas, t, x, add_step, &(golden){ .out = out });
    trie_free(x);
    tok_free(t);
    json_decref(schemas);
}
