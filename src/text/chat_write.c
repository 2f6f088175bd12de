/* Spans and values of a prompt. */
#include "base/bits.h"
#include "text/chat_int.h"

enum { TEXT_MAX = 1 << 30 };

void chat_prompt_done(chat_prompt *p)
{
    buf_done(&p->text);
    mem_free(p->spans);
    *p = (chat_prompt){ 0 };
}

/* The text since `begin` is of one kind; neighbours of the same kind are one span. */
static status mark(chat_prompt *p, size_t begin, bool structure, err *e)
{
    chat_span *last = p->span_count ? &p->spans[p->span_count - 1] : NULL;
    if (p->text.len == begin) return OK;
    if (last && last->structure == structure) {
        last->end = p->text.len;
        return OK;
    }
    if (p->span_count == p->span_cap) {
        size_t cap = MAX(p->span_cap * 2, (size_t)32);
        chat_span *spans = mem_resize(p->spans, cap * sizeof *spans, MEM_TEXT);
        if (!spans) return err_set(e, E_NOMEM, "could not render the conversation\nout of memory");
        p->spans = spans;
        p->span_cap = cap;
    }
    p->spans[p->span_count++] = (chat_span){ begin, p->text.len, structure };
    return OK;
}

static status add(chat_prompt *p, str text, bool structure, err *e)
{
    size_t begin = p->text.len;
    if (!p->text.max) p->text.max = TEXT_MAX;
    status st = buf_add(&p->text, text.p, text.n, e);
    return st == OK ? mark(p, begin, structure, e) : st;
}

status chat_write_text(chat_prompt *p, const char *text, err *e) { return add(p, str_from(text), true, e); }
status chat_write_data(chat_prompt *p, str text, err *e) { return add(p, text, false, e); }

status chat_write_value(chat_prompt *p, const json_t *v, err *e)
{
    size_t begin = p->text.len;
    if (!p->text.max) p->text.max = TEXT_MAX;
    status st = chat_value_print(&p->text, v, e);
    return st == OK ? mark(p, begin, false, e) : st;
}

status chat_write_upper(chat_prompt *p, const json_t *v, err *e)
{
    size_t begin = p->text.len;
    if (!p->text.max) p->text.max = TEXT_MAX;
    status st = chat_value_upper(&p->text, v, e);
    return st == OK ? mark(p, begin, false, e) : st;
}

static status quoted(chat_prompt *p, str text, err *e)
{
    status st = OK;
    TRY(chat_write_text(p, "<|\"|>", e));
    TRY(chat_write_data(p, text, e));
    TRY(chat_write_text(p, "<|\"|>", e));
out:
    return st;
}

static status write_entries(chat_prompt *p, const json_t *object, bool quote_keys, int depth, err *e)
{
    status st = OK;
    chat_sorted s = { 0 };
    TRY(chat_value_sort(&s, object, e));
    for (size_t i = 0; i < s.count; i++) {
        str key = str_from(s.entries[i].key);
        if (i) TRY(chat_write_text(p, ",", e));
        if (quote_keys) TRY(quoted(p, key, e));
        else TRY(chat_write_data(p, key, e));
        TRY(chat_write_text(p, ":", e));
        TRY(chat_write_argument(p, s.entries[i].value, quote_keys, depth, e));
    }
out:
    chat_value_sort_done(&s);
    return st;
}

static status write_list(chat_prompt *p, const json_t *list, bool quote_keys, int depth, err *e)
{
    status st = OK;
    const json_t *item;
    size_t i;
    json_array_foreach(list, i, item) {
        if (i) TRY(chat_write_text(p, ",", e));
        TRY(chat_write_argument(p, item, quote_keys, depth, e));
    }
out:
    return st;
}

status chat_write_argument(chat_prompt *p, const json_t *v, bool quote_keys, int depth, err *e)
{
    status st = OK;
    if (depth > CHAT_DEPTH_MAX)
        FAIL(e, E_ARG, "cannot render the conversation\na value in it is nested deeper than %d levels", (int)CHAT_DEPTH_MAX);
    if (json_is_null(v)) return chat_write_text(p, "null", e);
    if (json_is_boolean(v)) return chat_write_text(p, json_is_true(v) ? "true" : "false", e);
    if (chat_value_is_text(v)) return quoted(p, chat_value_text(v), e);
    if (json_is_object(v)) {
        TRY(chat_write_text(p, "{", e));
        TRY(write_entries(p, v, quote_keys, depth + 1, e));
        TRY(chat_write_text(p, "}", e));
    } else if (!v || json_is_array(v)) {         /* Jinja's undefined is an empty sequence */
        TRY(chat_write_text(p, "[", e));
        TRY(write_list(p, v, quote_keys, depth + 1, e));
        TRY(chat_write_text(p, "]", e));
    } else {
        TRY(chat_write_value(p, v, e));
    }
out:
    return st;
}

status chat_write_fields(chat_prompt *p, const json_t *object, err *e) { return write_entries(p, object, false, 0, e); }

status chat_encode_part(const tok *t, const chat_prompt *p, size_t begin, size_t end, tok_ids *out, err *e)
{
    status st = OK;
    tok_range *ranges = mem_array(p->span_count, sizeof *ranges, MEM_TEXT);
    size_t n = 0;
    if (!ranges) FAIL(e, E_NOMEM, "could not tokenize the prompt\nout of memory");
    for (size_t i = 0; i < p->span_count; i++) {
        size_t from = MAX(p->spans[i].begin, begin), to = MIN(p->spans[i].end, end);
        if (p->spans[i].structure && from < to) ranges[n++] = (tok_range){ from - begin, to - begin };
    }
    TRY(tok_encode_ranges(t, (str){ buf_text(&p->text) + begin, end - begin }, ranges, n, out, e));
out:
    mem_free(ranges);
    return st;
}

status chat_encode(const tok *t, const chat_prompt *p, tok_ids *out, err *e) { return chat_encode_part(t, p, 0, p->text.len, out, e); }
