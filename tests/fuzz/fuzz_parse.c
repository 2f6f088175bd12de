/* Any tokens as a model's output: never an error, the same result when every text token comes as single bytes, and
 * arguments that are JSON. */
#include <stdlib.h>

#include "support/vocab.h"
#include "text/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const tok *vocabulary;

static void need(bool ok)
{
    if (!ok) abort();
}

/* Texts without borders between events of one kind, so that chunks do not matter. */
static status note(void *user, const parse_event *ev, err *e)
{
    buf *out = user;
    if (ev->kind != PARSE_CALL) return buf_add(&out[ev->kind], ev->text.p, ev->text.n, e);
    need(ev->name.n > 0 && json_is_object(ev->arguments));
    return buf_addf(&out[PARSE_CALL], e, "%d %.*s %.*s\n", ev->index, (int)ev->name.n, ev->name.p, (int)ev->json.n, ev->json.p);
}

static parse_finish run(const tok_ids *ids, const parser_opts *o, bool cut, buf out[3])
{
    parser *p = NULL;
    parse_finish finish = PARSE_OPEN;
    for (int i = 0; i < 3; i++) buf_init(&out[i], 1u << 28);
    need(parser_new(&p, vocabulary, o, note, out, NULL) == OK);
    for (size_t i = 0; i < ids->len; i++) need(parser_token(p, ids->data[i], NULL) == OK);
    need(parser_end(p, cut, &finish, NULL) == OK);
    const parse_counts *c = parser_counts(p);
    need(c->answer + c->thought + c->call + c->structure == ids->len);
    parser_free(p);
    return finish;
}

/* One byte of input is one token: special ones, ids that do not exist, pieces, single bytes. */
static int32_t token_of(uint8_t b)
{
    char name[8];
    if (b < 32) return b < 20 ? b : b == 20 ? -1 : b == 21 ? tok_count(vocabulary) : b == 22 ? tok_find(vocabulary, STR("call:")) : tok_count(vocabulary) - 1 - (b - 23);
    if (b == 127) return tok_find(vocabulary, STR("\n"));
    snprintf(name, sizeof name, "<0x%02X>", b);
    return tok_find(vocabulary, str_from(name));
}

static void add_bytes(tok_ids *out, int32_t id)
{
    str s = tok_bytes(vocabulary, id);
    if (tok_is_special(vocabulary, id) || s.n == 0) {
        tok_ids_add(out, id, NULL);
        return;
    }
    for (size_t i = 0; i < s.n; i++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (unsigned char)s.p[i]);
        tok_ids_add(out, tok_find(vocabulary, str_from(name)), NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const tools[] = { "f", "ns:g" };
    tok_ids ids = { 0 }, bytes = { 0 };
    buf a[3], b[3];
    if (!vocabulary) vocabulary = vocab_small();
    if (n == 0) return 0;
    parser_opts o = { .in_thought = data[0] & 1, .tools = tools, .tool_count = data[0] & 2 };
    for (size_t i = 1; i < n; i++) {
        tok_ids_add(&ids, token_of(data[i]), NULL);
        add_bytes(&bytes, token_of(data[i]));
    }
    parse_finish fa = run(&ids, &o, data[0] & 4, a), fb = run(&bytes, &o, data[0] & 4, b);
    need(fa == fb);
    for (int i = 0; i < 3; i++) {
        need(a[i].len == b[i].len && strcmp(buf_text(&a[i]), buf_text(&b[i])) == 0);
        buf_done(&a[i]);
        buf_done(&b[i]);
    }
    tok_ids_done(&ids);
    tok_ids_done(&bytes);
    return 0;
}
