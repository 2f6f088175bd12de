/* Produced tokens to events: thought, answer and calls of a conversation; plain text of a raw one. */
#include <string.h>

#include "run/run_int.h"

enum { PIECE_MAX = 1 << 30 };

void output_emit(facet_request *r, const facet_event *ev)
{
    facet_event said = *ev;
    said.answer_tokens = r->result.answer_tokens;
    if (r->fn) r->fn(r->user, &said);
}

static void emit_text(facet_request *r, facet_event_kind kind, const char *text, size_t n)
{
    if (n) output_emit(r, &(facet_event){ .kind = kind, .text = text, .n = n });
}

/* Answer text goes past the stop texts first. */
static status answer(facet_request *r, const char *text, size_t n, err *e)
{
    buf_clear(&r->piece);
    status st = stop_add(&r->stop, text, n, &r->piece, e);
    if (st == OK) emit_text(r, FACET_ANSWER, buf_text(&r->piece), r->piece.len);
    return st;
}

/* What was held back was no stop text, because something else follows it. */
static status flush_answer(facet_request *r, err *e)
{
    buf_clear(&r->piece);
    status st = stop_flush(&r->stop, &r->piece, e);
    if (st == OK) emit_text(r, FACET_ANSWER, buf_text(&r->piece), r->piece.len);
    return st;
}

static status emit_call(facet_request *r, const parse_event *ev, err *e)
{
    status st = OK;
    char name[512];
    buf_clear(&r->piece);
    if (ev->name.n >= sizeof name) FAIL(e, E_FORMAT, "the model called a function with a name of %zu bytes", ev->name.n);
    memcpy(name, ev->name.p, ev->name.n);
    name[ev->name.n] = '\0';
    TRY(buf_add(&r->piece, ev->json.p, ev->json.n, e));   /* numbers as the model wrote them */
    output_emit(r, &(facet_event){ .kind = FACET_CALL, .name = name, .arguments = buf_text(&r->piece), .index = ev->index });
out:
    return st;
}

static status on_parsed(void *user, const parse_event *ev, err *e)
{
    facet_request *r = user;
    status st = OK;
    if (r->stop.hit >= 0) return OK;      /* nothing is said after a stop text */
    if (ev->kind == PARSE_ANSWER) return answer(r, ev->text.p, ev->text.n, e);
    TRY(flush_answer(r, e));
    if (ev->kind == PARSE_CALL) TRY(emit_call(r, ev, e));
    else {
        buf_clear(&r->piece);
        TRY(buf_add(&r->piece, ev->text.p, ev->text.n, e));
        emit_text(r, FACET_THOUGHT, buf_text(&r->piece), r->piece.len);
    }
out:
    return st;
}

status output_begin(facet_request *r, err *e)
{
    status st = OK;
    size_t count = 0;
    buf_init(&r->text, PIECE_MAX);
    buf_init(&r->piece, PIECE_MAX);
    if (r->raw) return OK;
    TRY(request_tool_names(r, &r->tool_names, &count, e));
    parser_opts o = { .in_thought = r->in_thought, .tools = r->tools ? r->tool_names : NULL, .tool_count = count };
    TRY(parser_new(&r->parser, r->model->tok, &o, on_parsed, r, e));
out:
    return st;
}

/* What is in the thought counts as thought, but for what the limit puts behind it. */
static status parse_token(facet_request *r, int32_t id, err *e)
{
    bool inside = parser_in_thought(r->parser), full = r->think_budget >= 0 && r->result.thought_tokens >= r->think_budget;
    status st = parser_token(r->parser, id, e);
    if (inside && !full && parser_in_thought(r->parser)) thought_token(r, id);
    return st;
}

status output_token(facet_request *r, int32_t id, err *e)
{
    if (r->parser) return parse_token(r, id, e);
    if (!r->model->tok) return OK;          /* a file without a vocabulary: ids are all there is */
    buf_clear(&r->text);
    status st = tok_decode(r->model->tok, &r->decoder, id, &r->text, e);
    return st == OK ? answer(r, buf_text(&r->text), r->text.len, e) : st;
}

status output_end(facet_request *r, bool cut, bool *calls, err *e)
{
    status st = OK;
    *calls = false;
    if (r->parser) {
        parse_finish f = PARSE_OPEN;
        TRY(parser_end(r->parser, cut, &f, e));
        *calls = f == PARSE_TOOL_CALLS;
        const char *w = parser_warning(r->parser);
        if (w) strncpy(r->result.warning, w, sizeof r->result.warning - 1);
    } else if (r->model->tok) {
        buf_clear(&r->text);
        TRY(tok_decode_end(&r->decoder, &r->text, e));
        TRY(answer(r, buf_text(&r->text), r->text.len, e));
    }
    TRY(flush_answer(r, e));
    const char *w = r->grammar ? grammar_warning(r->grammar) : NULL;
    if (!w && r->looped) w = "the thought repeated itself without end and was closed";
    if (w) strncpy(r->result.warning, w, sizeof r->result.warning - 1);
out:
    return st;
}
