#include "text/parse.h"

#include "base/bits.h"
#include "text/chat_value.h"
#include "text/parse_call.h"

typedef enum parse_state {
    AT_START,        /* nothing yet: a "<|turn>model\n" is still the prompt's */
    IN_TURN,         /* after that <|turn>, up to the newline */
    IN_ANSWER,
    IN_HEADER,       /* after <|channel>: is it "thought\n"? */
    IN_THOUGHT,
    MAYBE_CALL,      /* right after <channel|>: "call:NAME{" of a declared name without <|tool_call> is a call */
    IN_CALL,
    AT_END
} parse_state;

struct parser {
    const tok *t;
    parser_opts o;
    parse_fn fn;
    void *user;
    parse_state state;
    tok_decoder decoder;
    buf text;                /* whole characters of one token */
    buf held;                /* text whose place is not known yet: a header, white space, a call */
    buf json;                /* arguments of one call */
    bool fresh;              /* the answer has had no character but white space since the last structure */
    bool answered;           /* ... since the start */
    bool thought;            /* there was a thought */
    bool implicit;           /* the call had no <|tool_call> */
    int32_t calls;
    size_t call_tokens;      /* of the call being collected */
    bool stopped;            /* by an end token */
    const char *warning;
    parse_counts counts;
};

static const char HEADER[] = "thought\n";

status parser_new(parser **out, const tok *t, const parser_opts *o, parse_fn fn, void *user, err *e)
{
    parser *p = mem_alloc(sizeof *p, MEM_TEXT);
    if (!p) return err_set(e, E_NOMEM, "could not start reading the answer\nout of memory");
    p->t = t;
    if (o) p->o = *o;
    p->fn = fn;
    p->user = user;
    p->state = p->o.in_thought ? IN_THOUGHT : AT_START;
    p->fresh = true;
    p->thought = p->o.in_thought;
    buf_init(&p->text, SIZE_MAX / 4);
    buf_init(&p->held, SIZE_MAX / 4);
    buf_init(&p->json, SIZE_MAX / 4);
    *out = p;
    return OK;
}

void parser_free(parser *p)
{
    if (!p) return;
    buf_done(&p->text);
    buf_done(&p->held);
    buf_done(&p->json);
    mem_free(p);
}

bool parser_in_thought(const parser *p) { return p->state == IN_THOUGHT; }
bool parser_had_thought(const parser *p) { return p->thought; }
const char *parser_warning(const parser *p) { return p->warning; }
const parse_counts *parser_counts(const parser *p) { return &p->counts; }

const char *parse_finish_name(parse_finish f)
{
    static const char *const names[] = { "open", "stop", "tool_calls", "length" };
    return names[f];
}

static str held(const parser *p) { return (str){ buf_text(&p->held), p->held.len }; }

/* Length of s without white space at its end. */
static size_t inked(str s)
{
    while (s.n && strchr(" \n\t\r", s.p[s.n - 1]) && s.p[s.n - 1]) s.n--;
    return s.n;
}

static status emit(parser *p, parse_event_kind kind, str text, err *e)
{
    parse_event ev = { .kind = kind, .text = text, .index = -1 };
    return text.n ? p->fn(p->user, &ev, e) : OK;
}

/* White space between two structures waits: only text gives it a meaning. */
static status add_answer(parser *p, str text, err *e)
{
    status st = OK;
    if (p->fresh) {
        TRY(buf_add(&p->held, text.p, text.n, e));
        if (inked(text) == 0) return OK;      /* so is all that waits: one look at each character */
        p->fresh = false;
        p->answered = true;
        TRY(emit(p, PARSE_ANSWER, held(p), e));
        buf_clear(&p->held);
    } else {
        TRY(emit(p, PARSE_ANSWER, text, e));
    }
out:
    return st;
}

/* White space at the end of a thought waits: the template prints its own before <channel|>. */
static status add_thought(parser *p, str text, err *e)
{
    status st = OK;
    size_t n = inked(text);
    if (n) {
        TRY(emit(p, PARSE_THOUGHT, held(p), e));
        buf_clear(&p->held);
        TRY(emit(p, PARSE_THOUGHT, (str){ text.p, n }, e));
    }
    TRY(buf_add(&p->held, text.p + n, text.n - n, e));
out:
    return st;
}

/* The held text was a thought's beginning and no header (or a header and more). */
static status leave_header(parser *p, size_t skip, err *e)
{
    status st = OK;
    buf b = p->held;
    buf_init(&p->held, SIZE_MAX / 4);
    p->state = IN_THOUGHT;
    TRY(add_thought(p, str_skip((str){ buf_text(&b), b.len }, skip), e));
out:
    buf_done(&b);
    return st;
}

static status add_header(parser *p, str text, err *e)
{
    status st = OK;
    size_t n = sizeof HEADER - 1;
    TRY(buf_add(&p->held, text.p, text.n, e));
    str h = held(p);
    if (str_starts(h, HEADER)) TRY(leave_header(p, n, e));
    else if (h.n >= n || memcmp(h.p, HEADER, h.n) != 0) TRY(leave_header(p, 0, e));
out:
    return st;
}

/* ---- calls ----------------------------------------------------------------------------------------- */

/* What follows the last ':' or '.' or '/'. */
static str last_segment(str name)
{
    for (size_t i = name.n; i > 0; i--)
        if (strchr(":./", name.p[i - 1])) return str_skip(name, i);
    return name;
}

/* The declared name that is meant: the name itself, or the only one with the same last segment. */
static str declared(const parser *p, str name)
{
    str found = name, last = last_segment(name);
    size_t n = 0;
    for (size_t i = 0; i < p->o.tool_count; i++) {
        str tool = str_from(p->o.tools[i]);
        if (str_eq(tool, name)) return name;
        if (last.n && str_eq(last_segment(tool), last)) n++, found = tool;
    }
    return n == 1 ? found : name;
}

static status emit_call(parser *p, str name, err *e)
{
    status st = OK;
    json_t *arguments = NULL;
    str json = { buf_text(&p->json), p->json.len };
    st = chat_value_read(&arguments, json, "the arguments of a tool call", e);
    /* we wrote it, so it is JSON: jansson takes a lack of memory for a mistake in the text */
    if (st != OK) FAIL(e, E_NOMEM, "could not read a tool call\nout of memory");
    parse_event ev = { .kind = PARSE_CALL, .name = declared(p, name), .json = json, .arguments = arguments, .index = p->calls };
    TRY(p->fn(p->user, &ev, e));
    p->calls++;
out:
    json_decref(arguments);
    return st;
}

/* What looked like a call is none: its text is answer, as the model wrote it. */
static status emit_raw(parser *p, bool closed, err *e)
{
    status st = OK;
    buf raw;
    buf_init(&raw, SIZE_MAX / 4);
    if (!p->implicit) TRY(buf_add_str(&raw, "<|tool_call>", e));
    TRY(parse_call_spell(&raw, held(p), e));
    if (closed) TRY(buf_add_str(&raw, "<tool_call|>", e));
    buf_clear(&p->held);
    p->fresh = false;
    p->answered = p->answered || raw.len;
    p->counts.answer += p->call_tokens;
    p->call_tokens = 0;
    TRY(emit(p, PARSE_ANSWER, (str){ buf_text(&raw), raw.len }, e));
out:
    buf_done(&raw);
    return st;
}

static status finish_call(parser *p, bool closed, err *e)
{
    status st = OK;
    bool ok;
    str name = { NULL, 0 };
    TRY(parse_call_read(held(p), &name, &p->json, &ok, e));
    p->state = IN_ANSWER;
    if (ok) {
        p->counts.call += p->call_tokens;
        p->call_tokens = 0;
        TRY(emit_call(p, name, e));
        buf_clear(&p->held);
        p->fresh = true;
    } else {
        p->warning = closed ? "a tool call could not be read and is part of the answer" : "an unfinished tool call is part of the answer";
        TRY(emit_raw(p, closed, e));
    }
out:
    return st;
}

/* NUL characters would end names and keys early. */
static status add_call(parser *p, str text, err *e)
{
    status st = OK;
    for (size_t n; text.n; text = str_skip(text, n)) {
        const char *nul = memchr(text.p, 0, text.n);
        n = nul ? (size_t)(nul - text.p) + 1 : text.n;
        TRY(buf_add(&p->held, text.p, n - (nul != NULL), e));
        if (nul) TRY(buf_add_str(&p->held, "\xEF\xBF\xBD", e));
    }
out:
    return st;
}

/* How far the text agrees with "call:NAME{" for a declared name. */
typedef enum agreement { DIFFERS, BEGINS, COMPLETE } agreement;
static agreement agree(const parser *p, str s)
{
    agreement best = DIFFERS;
    for (size_t i = 0; i < p->o.tool_count; i++) {
        const char *parts[] = { "call:", p->o.tools[i], "{" };
        str rest = s;
        for (size_t k = 0; k < 3; k++) {
            size_t n = strlen(parts[k]), m = MIN(n, rest.n);
            if (memcmp(rest.p, parts[k], m) != 0) break;
            rest = str_skip(rest, m);
            if (k == 2 && m == n) return COMPLETE;
            if (rest.n == 0) {
                best = BEGINS;
                break;
            }
        }
    }
    return best;
}

static status release_maybe(parser *p, err *e)
{
    status st = OK;
    buf b = p->held;
    buf_init(&p->held, SIZE_MAX / 4);
    p->state = IN_ANSWER;
    TRY(add_answer(p, (str){ buf_text(&b), b.len }, e));
out:
    buf_done(&b);
    return st;
}

static status add_maybe(parser *p, str text, err *e)
{
    status st = OK;
    TRY(add_call(p, text, e));
    agreement a = agree(p, held(p));
    if (a == DIFFERS) TRY(release_maybe(p, e));
    if (a != COMPLETE) return OK;
    p->state = IN_CALL;
    p->implicit = true;
out:
    return st;
}

/* ---- tokens ---------------------------------------------------------------------------------------- */

static status add_turn(parser *p, str text, err *e)
{
    status st = OK;
    TRY(buf_add(&p->held, text.p, text.n, e));
    str h = held(p), role = STR("model\n");
    if (h.n < role.n && memcmp(h.p, role.p, h.n) == 0) return OK;
    buf b = p->held;
    buf_init(&p->held, SIZE_MAX / 4);
    p->state = IN_ANSWER;
    st = add_answer(p, str_skip((str){ buf_text(&b), b.len }, str_starts(h, "model\n") ? role.n : 0), e);
    buf_done(&b);
out:
    return st;
}

/* Whole characters of ordinary text. */
static status add_text(parser *p, str text, err *e)
{
    if (text.n == 0) return OK;
    if (p->state == AT_START) p->state = IN_ANSWER;
    switch (p->state) {
    case IN_TURN:    return add_turn(p, text, e);
    case IN_HEADER:  return add_header(p, text, e);
    case IN_THOUGHT: return add_thought(p, text, e);
    case MAYBE_CALL: return add_maybe(p, text, e);
    case IN_CALL:    return add_call(p, text, e);
    default:         return add_answer(p, text, e);
    }
}

/* A structure begins: the half character before it will not be completed. */
static status flush_decoder(parser *p, err *e)
{
    buf_clear(&p->text);
    status st = tok_decode_end(&p->decoder, &p->text, e);
    return st == OK ? add_text(p, (str){ buf_text(&p->text), p->text.len }, e) : st;
}

/* Leaves the present state for IN_ANSWER.  last: the output ends here, nothing closed a thought. */
static status leave(parser *p, bool last, err *e)
{
    status st = OK;
    str h = held(p);
    switch (p->state) {
    case IN_CALL:    return finish_call(p, false, e);
    case MAYBE_CALL: TRY(release_maybe(p, e)); break;
    case IN_HEADER:
        if (str_is(h, "thought")) buf_clear(&p->held);
        else TRY(leave_header(p, 0, e));
        break;
    case IN_THOUGHT: break;
    case IN_TURN:    p->state = IN_ANSWER; TRY(emit(p, PARSE_ANSWER, h, e)); buf_clear(&p->held); return OK;
    default:         break;
    }
    if (p->state == IN_THOUGHT) {
        if (last) TRY(emit(p, PARSE_THOUGHT, held(p), e));
        buf_clear(&p->held);
    }
    /* White space is dropped beside thoughts and calls, but it may be all there is. */
    if (p->state != IN_THOUGHT && last && !p->answered && !p->thought && p->calls == 0) TRY(emit(p, PARSE_ANSWER, held(p), e));
    buf_clear(&p->held);
    p->state = IN_ANSWER;
    p->fresh = true;
out:
    return st;
}

/* One of the tokens with a meaning here; *done false: it is none of them. */
static status structure(parser *p, int32_t id, bool *done, err *e)
{
    status st = OK;
    const tok_special *s = tok_specials(p->t);
    bool in_call = p->state == IN_CALL;
    *done = true;
    if (id == s->tool_call) {
        TRY(leave(p, false, e));
        p->state = IN_CALL;
        p->implicit = false;
    } else if (id == s->tool_call_end) {
        if (in_call) TRY(finish_call(p, true, e));
        else if (p->state == MAYBE_CALL) TRY(leave(p, false, e));
    } else if (id == s->channel) {
        TRY(leave(p, false, e));
        p->state = IN_HEADER;
        p->thought = true;
    } else if (id == s->channel_end) {
        if (in_call) return OK;          /* nothing that a call could mean by it */
        TRY(leave(p, false, e));
        p->state = p->o.tool_count ? MAYBE_CALL : IN_ANSWER;
    } else if (id == s->turn && p->state == AT_START) {
        p->state = IN_TURN;
    } else if (tok_is_end(p->t, id) || id == s->turn) {
        TRY(leave(p, true, e));
        p->state = AT_END;
        p->stopped = true;
    } else {
        *done = false;
    }
out:
    return st;
}

static size_t *counter(parser *p)
{
    switch (p->state) {
    case IN_THOUGHT: return &p->counts.thought;
    case IN_CALL:    return &p->call_tokens;
    case IN_ANSWER: case AT_START: case MAYBE_CALL: return &p->counts.answer;
    default:         return &p->counts.structure;
    }
}

status parser_token(parser *p, int32_t id, err *e)
{
    status st = OK;
    const tok_special *s = tok_specials(p->t);
    bool done = false;
    if (p->state == AT_END || id < 0 || id >= tok_count(p->t)) {
        p->counts.structure++;
        return OK;
    }
    if (tok_is_special(p->t, id)) {
        TRY(flush_decoder(p, e));
        TRY(structure(p, id, &done, e));
        /* Outside of calls a quote token is text: the model speaks about the format. */
        bool quote = id == s->quote;
        if (!done && p->state == IN_HEADER) TRY(leave_header(p, 0, e));      /* no header has one in it */
        ++*(done || !quote ? &p->counts.structure : counter(p));
        if (!quote) return OK;
        if (p->state == IN_CALL) return buf_add(&p->held, &(char){ PARSE_QUOTE }, 1, e);
        return add_text(p, tok_piece(p->t, id), e);
    }
    buf_clear(&p->text);
    TRY(tok_decode(p->t, &p->decoder, id, &p->text, e));
    ++*counter(p);
    TRY(add_text(p, (str){ buf_text(&p->text), p->text.len }, e));
out:
    return st;
}

status parser_end(parser *p, bool cut, parse_finish *finish, err *e)
{
    status st = OK;
    if (p->state != AT_END) {
        TRY(flush_decoder(p, e));
        TRY(leave(p, true, e));
        p->state = AT_END;
    }
    if (finish) *finish = cut && !p->stopped ? PARSE_LENGTH : p->calls > 0 ? PARSE_TOOL_CALLS : PARSE_STOP;
out:
    return st;
}

bool parse_prompt_opens_thought(const tok *t, const int32_t *ids, size_t n)
{
    const tok_special *s = tok_specials(t);
    for (size_t i = n; i-- > 0;) {
        if (ids[i] == s->channel) return s->channel >= 0;
        if (ids[i] == s->channel_end || ids[i] == s->turn || ids[i] == s->turn_end) return false;
    }
    return false;
}
