/* Any JSON as a conversation: refused with a reason, or rendered so that the spans cover the text and only structure
 * has special tokens. */
#include <stdlib.h>

#include "support/vocab.h"
#include "text/chat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const tok *vocabulary;

static void need(bool ok)
{
    if (!ok) abort();
}

static size_t specials_in(const tok_ids *ids)
{
    size_t count = 0;
    for (size_t i = 0; i < ids->len; i++) count += tok_is_special(vocabulary, ids->data[i]);
    return count;
}

static void check_spans(const chat_prompt *p)
{
    tok_ids whole = { 0 };
    size_t at = 0, wanted = 0;
    for (size_t i = 0; i < p->span_count; i++) {
        need(p->spans[i].begin == at && p->spans[i].end > at);
        if (p->spans[i].structure) {
            tok_ids part = { 0 };
            need(tok_encode(vocabulary, (str){ p->text.data + at, p->spans[i].end - at }, true, &part, NULL) == OK);
            wanted += specials_in(&part);
            tok_ids_done(&part);
        }
        at = p->spans[i].end;
    }
    need(at == p->text.len);
    need(chat_encode(vocabulary, p, &whole, NULL) == OK);
    need(specials_in(&whole) == wanted);
    tok_ids_done(&whole);
}

static void render(const json_t *c, chat_variant variant)
{
    chat_prompt p = { 0 };
    err e = { 0 };
    if (chat_render_conversation(&p, c, variant, &e) == OK) {
        need(str_starts((str){ buf_text(&p.text), p.text.len }, "<bos>"));
        check_spans(&p);
        need(chat_open_turn(&p, &(chat_opts){ .variant = variant }, NULL) == OK);
    } else {
        need(e.what[0] && e.why[0]);
    }
    chat_prompt_done(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    json_t *c = NULL, *normal = NULL;
    err e = { 0 };
    if (!vocabulary) vocabulary = vocab_small();
    if (chat_read(&c, (str){ (const char *)data, n }, "fuzz", &e) != OK) {
        need(e.what[0] != 0);
        return 0;
    }
    render(c, CHAT_LARGE);
    render(c, CHAT_EDGE);
    if (chat_normalise(&normal, json_object_get(c, "messages"), &e) == OK) {
        json_object_set(c, "messages", normal);
        render(c, CHAT_EDGE);
    }
    json_decref(normal);
    json_decref(c);
    return 0;
}
