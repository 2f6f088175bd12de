/* A conversation as documents: for each trained answer the prompt that inference would build, then the answer's own tokens. */
#include "base/bits.h"
#include "text/chat_value.h"
#include "text/parse.h"
#include "tune/data_int.h"

typedef struct render {
    data_builder *b;
    const data_talk *t;
    chat_opts o;
    json_t *messages;              /* owned */
    size_t count, first;           /* messages[first] is the first behind the system message */
    size_t *starts, start_count;   /* where turns begin: at first and at each user message behind it */
    size_t drop;                   /* turns left out of what is rendered now */
    tok_ids ids;                   /* the open document, its targets, and what it lost */
    buf target;
    size_t cut;
    tok_ids prompt, own;           /* of the answer at hand */
    bool in_thought;               /* its prompt ends inside a thought */
} render;

static json_t *message_at(const render *r, size_t i) { return json_array_get(r->messages, i); }

static status no_memory(err *e) { return err_set(e, E_NOMEM, "could not render a row\nout of memory"); }

static status append(tok_ids *to, const int32_t *ids, size_t n, err *e)
{
    status st = OK;
    for (size_t i = 0; i < n; i++) TRY(tok_ids_add(to, ids[i], e));
out:
    return st;
}

static bool is_answer(const json_t *m) { return chat_value_is(json_object_get(m, "role"), "assistant"); }

static bool is_trained(const data_talk *t, const json_t *messages, size_t i)
{
    const json_t *m = json_array_get(messages, i);
    return is_answer(m) && !json_is_false(json_object_get(m, "train")) && (!t->last_only || i + 1 == json_array_size(messages));
}

/* ---- set-up ------------------------------------------------------------------------------------------------ */

bool data_render_thinks(const data_talk *t, data_think think)
{
    bool any = false;
    if (t->think >= 0) return t->think;
    for (size_t i = 0; i < json_array_size(t->messages); i++)
        any = any || (is_trained(t, t->messages, i) && json_object_get(json_array_get(t->messages, i), "reasoning"));
    return think == DATA_THINK_ON || (think == DATA_THINK_AUTO && any);
}

/* Without thinking no thought would ever have been there: the messages without them. */
static status drop_thoughts(render *r, err *e)
{
    json_t *m;
    size_t i;
    r->messages = json_array();
    if (!r->messages) return no_memory(e);
    json_array_foreach(r->t->messages, i, m) {
        bool thinks = json_object_get(m, "reasoning");
        json_t *copy = thinks ? data_talk_copy(m) : json_incref(m);
        if (thinks && copy) json_object_del(copy, "reasoning");
        r->b->report->thoughts_dropped += thinks;
        if (json_array_append_new(r->messages, copy) != 0) return no_memory(e);
    }
    return OK;
}

static status begin(render *r, err *e)
{
    status st = OK;
    if (r->o.think) r->messages = json_incref(r->t->messages);
    else TRY(drop_thoughts(r, e));
    r->count = json_array_size(r->messages);
    r->first = chat_value_is(json_object_get(message_at(r, 0), "role"), "system");
    r->starts = mem_array(r->count + 1, sizeof *r->starts, MEM_TEXT);
    if (!r->starts) FAIL(e, E_NOMEM, "could not render a row\nout of memory");
    for (size_t i = r->first; i < r->count; i++)
        if (i == r->first || chat_value_is(json_object_get(message_at(r, i), "role"), "user")) r->starts[r->start_count++] = i;
    buf_init(&r->target, SIZE_MAX / 4);
out:
    return st;
}

static void end(render *r)
{
    json_decref(r->messages);
    mem_free(r->starts);
    tok_ids_done(&r->ids);
    buf_done(&r->target);
    tok_ids_done(&r->prompt);
    tok_ids_done(&r->own);
}

/* ---- one answer -------------------------------------------------------------------------------------------- */

/* The prompt for answer j, without the first `drop` turns: the same three calls that a request makes. */
static status make_prompt(render *r, size_t j, size_t drop, err *e)
{
    status st = OK;
    chat_prompt p = { 0 };
    json_t *list = json_array();
    chat_opts o = r->o;
    o.generation_prompt = true;
    r->drop = drop;
    r->prompt.len = 0;
    if (!list || (r->first && json_array_append(list, message_at(r, 0)) != 0)) FAIL(e, E_NOMEM, "could not render a row\nout of memory");
    for (size_t i = r->starts[drop]; i < j; i++)
        if (json_array_append(list, message_at(r, i)) != 0) FAIL(e, E_NOMEM, "could not render a row\nout of memory");
    TRY(chat_render(&p, list, r->t->tools, &o, e));
    TRY(chat_open_turn(&p, &o, e));
    TRY(chat_encode(r->b->tok, &p, &r->prompt, e));
    r->in_thought = parse_prompt_opens_thought(r->b->tok, r->prompt.data, r->prompt.len);
out:
    json_decref(list);
    chat_prompt_done(&p);
    return st;
}

/* Message j alone, as the end of a conversation. */
static status print_answer(render *r, size_t j, chat_prompt *p, err *e)
{
    status st = OK;
    chat_opts o = r->o;
    json_t *m = message_at(r, j), *copy = NULL, *list = json_array();
    if (json_object_get(m, "tool_responses")) {
        copy = data_talk_copy(m);
        if (!copy) FAIL(e, E_NOMEM, "could not render a row\nout of memory");
        json_object_del(copy, "tool_responses");
        m = copy;
    }
    o.generation_prompt = false;
    if (!list || json_array_append(list, m) != 0) FAIL(e, E_NOMEM, "could not render a row\nout of memory");
    TRY(chat_render(p, list, NULL, &o, e));
out:
    json_decref(copy);
    json_decref(list);
    return st;
}

/* What the model says behind the prompt, up to the token that ends it. */
static status make_own(render *r, size_t j, err *e)
{
    status st = OK;
    chat_prompt p = { 0 };
    const str opener = STR("<|channel>thought\n"), turn_end = STR("<turn|>\n");
    bool thinks = chat_value_true(json_object_get(message_at(r, j), "reasoning"));
    r->own.len = 0;
    TRY(print_answer(r, j, &p, e));
    size_t from = p.last, to = p.text.len;
    if (str_ends((str){ p.text.data, to }, turn_end.p)) to--;          /* the line break belongs to what follows */
    if (r->in_thought && thinks) from += opener.n;                     /* the prompt has it already */
    if (r->in_thought && !thinks) TRY(tok_ids_add(&r->own, tok_specials(r->b->tok)->channel_end, e));
    TRY(chat_encode_part(r->b->tok, &p, from, to, &r->own, e));
out:
    chat_prompt_done(&p);
    return st;
}

/* Tokens of own that are its thought. */
static size_t thought_tokens(const render *r)
{
    const tok_special *s = tok_specials(r->b->tok);
    size_t n = 0;
    if (!r->own.len || (!r->in_thought && r->own.data[0] != s->channel)) return 0;
    while (n < r->own.len && r->own.data[n] != s->channel_end) n++;
    return MIN(n + 1, r->own.len);
}

/* ---- documents ----------------------------------------------------------------------------------------------- */

static status flush(render *r, err *e)
{
    status st = OK;
    if (r->ids.len) TRY(data_add_doc(r->b, r->ids.data, (const uint8_t *)r->target.data, r->ids.len, r->t->side, (int32_t)r->cut, e));
    r->ids.len = 0;
    buf_clear(&r->target);
out:
    return st;
}

static bool goes_on(const render *r)
{
    return r->ids.len && r->prompt.len >= r->ids.len && memcmp(r->ids.data, r->prompt.data, r->ids.len * sizeof *r->ids.data) == 0;
}

static status extend(render *r, err *e)
{
    status st = OK;
    size_t known = r->ids.len, thought = r->b->set->opts.thoughts_are_context ? thought_tokens(r) : 0;
    if (!known) r->cut = r->drop;
    TRY(append(&r->ids, r->prompt.data + known, r->prompt.len - known, e));
    TRY(append(&r->ids, r->own.data, r->own.len, e));
    while (r->target.len < r->ids.len) {
        char trained = r->target.len >= r->prompt.len + thought;
        TRY(buf_add(&r->target, &trained, 1, e));
    }
out:
    return st;
}

static bool fits(const render *r, int32_t limit) { return r->prompt.len + r->own.len <= (size_t)limit; }

/* Leaves out as few turns from the start, but at least `low`, as make prompt and answer fit; *fitted false when even the last turn is too long. */
static status drop_turns(render *r, size_t j, size_t low, int32_t limit, bool *fitted, err *e)
{
    status st = OK;
    size_t high = low;
    while (high + 1 < r->start_count && r->starts[high + 1] < j) high++;
    TRY(make_prompt(r, j, high, e));
    *fitted = fits(r, limit);
    if (!*fitted) goto out;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        TRY(make_prompt(r, j, middle, e));
        if (fits(r, limit)) high = middle;
        else low = middle + 1;
    }
    TRY(make_prompt(r, j, high, e));
out:
    return st;
}

/* A new document for answer j.  Where further answers could join it, it starts with half a document of history, so that they have room. */
static status start_over(render *r, size_t j, bool joins, err *e)
{
    status st = OK;
    int32_t most = r->b->set->opts.max_length;
    size_t low = r->drop;
    bool fitted = false;
    TRY(flush(r, e));
    if (joins) TRY(drop_turns(r, j, low, most / 2, &fitted, e));
    if (!fitted) TRY(drop_turns(r, j, low, most, &fitted, e));
    if (!fitted)
        FAIL(e, E_FORMAT, "message %zu and the turn that it answers are too long\nthey have %zu tokens, a document holds %d", j,
             r->prompt.len + r->own.len, most);
out:
    return st;
}

/* A document of its own has as many turns of history as fit. */
static status take_turns_back(render *r, size_t j, err *e)
{
    status st = OK;
    while (r->drop > r->t->least_cut && fits(r, r->b->set->opts.max_length)) {
        TRY(make_prompt(r, j, r->drop - 1, e));
        if (fits(r, r->b->set->opts.max_length)) continue;
        TRY(make_prompt(r, j, r->drop + 1, e));
        break;
    }
out:
    return st;
}

static status add_answer(render *r, size_t j, err *e)
{
    status st = OK;
    TRY(make_prompt(r, j, r->drop, e));
    TRY(make_own(r, j, e));
    bool joins = goes_on(r);
    if (!joins) TRY(take_turns_back(r, j, e));
    if (!fits(r, r->b->set->opts.max_length)) TRY(start_over(r, j, joins, e));
    else if (!joins) TRY(flush(r, e));
    TRY(extend(r, e));
out:
    return st;
}

static status render_messages(data_builder *b, const data_talk *t, err *e)
{
    status st = OK;
    render r = { .b = b, .t = t, .drop = t->least_cut };
    bool any = false;
    r.o = (chat_opts){ .variant = b->set->opts.variant, .think = data_render_thinks(t, b->set->opts.think), .preserve_thinking = t->preserve_thinking };
    TRY(begin(&r, e));
    for (size_t j = r.first; j < r.count; j++) {
        if (!is_trained(t, r.messages, j)) continue;
        TRY(add_answer(&r, j, e));
        any = true;
    }
    if (!any) FAIL(e, E_FORMAT, "nothing in it is trained\nit has no answer, or its answers are switched off");
    TRY(flush(&r, e));
out:
    end(&r);
    return st;
}

/* ---- texts ----------------------------------------------------------------------------------------------------- */

/* A long text without anything before it: pieces, each of them with <bos> in front, that train every token once. */
static status add_pieces(data_builder *b, const tok_ids *ids, size_t context, data_side side, err *e)
{
    status st = OK;
    size_t most = (size_t)b->set->opts.max_length, at = context;
    tok_ids piece = { 0 };
    buf target;
    buf_init(&target, SIZE_MAX / 4);
    while (at < ids->len) {
        size_t n = MIN(ids->len - at, most - context);
        if (at > context) TRY(data_add_example(b, e));
        piece.len = 0;
        buf_clear(&target);
        TRY(append(&piece, ids->data, context, e));
        TRY(append(&piece, ids->data + at, n, e));
        while (target.len < piece.len) TRY(buf_add(&target, target.len < context ? "\0" : "\1", 1, e));
        TRY(data_add_doc(b, piece.data, (const uint8_t *)target.data, piece.len, side, 0, e));
        at += n;
    }
    b->report->texts_split += ids->len > most;
out:
    tok_ids_done(&piece);
    buf_done(&target);
    return st;
}

static status render_text(data_builder *b, const data_talk *t, err *e)
{
    status st = OK;
    const tok_special *s = tok_specials(b->tok);
    int32_t most = b->set->opts.max_length;
    tok_ids ids = { 0 }, start = { 0 };
    if (!chat_value_text(t->text).n) FAIL(e, E_FORMAT, "its text is empty");
    TRY(tok_encode(b->tok, chat_value_text(t->before ? t->before : t->text), true, &start, e));
    if (s->bos >= 0 && (!start.len || start.data[0] != s->bos)) TRY(tok_ids_add(&ids, s->bos, e));
    size_t context = MAX(ids.len, (size_t)1);                          /* nothing stands before the first token */
    TRY(append(&ids, start.data, start.len, e));
    if (t->before) {
        context = MAX(ids.len, (size_t)1);
        TRY(tok_encode(b->tok, chat_value_text(t->text), true, &ids, e));
    }
    if (s->eos >= 0 && ids.data[ids.len - 1] != s->eos) TRY(tok_ids_add(&ids, s->eos, e));
    if ((t->before || t->side) && ids.len > (size_t)most) FAIL(e, E_FORMAT, "prompt and answer are too long\nthey have %zu tokens, a document holds %d", ids.len, most);
    if (ids.len <= context) FAIL(e, E_FORMAT, "nothing in it is trained");
    TRY(add_pieces(b, &ids, context, t->side, e));
out:
    tok_ids_done(&ids);
    tok_ids_done(&start);
    return st;
}

status data_render_talk(data_builder *b, const data_talk *t, err *e) { return t->messages ? render_messages(b, t, e) : render_text(b, t, e); }
