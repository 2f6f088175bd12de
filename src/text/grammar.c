#include "text/grammar.h"

#include "base/bits.h"
#include "text/loop.h"
#include "text/masks.h"
#include "text/parse_call.h"

enum {
    WINDOW = 64, FEW = 3,        /* of a string */
    WINDOW_OUTSIDE = 512,        /* lists of equal numbers are more often meant than strings of equal words */
    CLOSING_MAX = 1 << 16
};

typedef enum phase {
    BEGIN,                       /* of the answer */
    THOUGHT, TEXT, JSON, CALL,
    CALLED,                      /* behind a call */
    OVER
} phase;

/* Everything that a token changes. */
typedef struct moment {
    phase phase;
    bool thought;                /* there was one */
    bool closing, closed;        /* a loop is being ended, has been ended */
    bool stirred;                /* the first loop of this value was broken up: the next one ends it */
    int32_t avoid[FEW], avoid_count;     /* tokens that would go on with the loop: not the next one */
    size_t closing_at;
    automaton_state state;       /* JSON, CALL */
    loop loop;                   /* of the tokens in this value */
} moment;

struct grammar {
    grammar_opts o;
    int32_t *ends, end_count;
    schema *calls; int32_t calls_node;
    automaton json, call;
    moment now, past[GRAMMAR_ROLLBACK_MAX];
    uint32_t past_at, past_count;
    masks *masks;
    uint64_t *spare;             /* a mask */
    automaton_state next[2];     /* while bytes are read */
    char *closing; size_t closing_len;      /* [CLOSING_MAX] */
};

/* ---- making ---------------------------------------------------------------------------------------------- */

static status check_name(const char *name, err *e)
{
    if (!name || !*name) return err_set(e, E_ARG, "cannot use the tools\na function has no name");
    if (strlen(name) > PARSE_NAME_MAX) return err_set(e, E_ARG, "cannot use the function \"%.60s...\"\nits name is longer than %d bytes", name, PARSE_NAME_MAX);
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p <= ' ' || strchr("{}[]()\"'`", *p))
            return err_set(e, E_ARG, "cannot use the function \"%.200s\"\nits name has white space, a bracket or a quote in it", name);
    return OK;
}

/* A function with a schema that cannot be used takes any arguments, unless it is strict; that is said. */
static status take_any(grammar *g, const char *name, int32_t node_count, int32_t *node, err *e)
{
    status st = OK;
    buf *b = &g->calls->unenforced;
    json_t *any = json_pack("{s:s}", "type", "object");
    g->calls->node_count = node_count;
    if (!any) FAIL(e, E_NOMEM, "could not set up the declared functions\nout of memory");
    schema_allow_more(g->calls);
    TRY(schema_add(g->calls, any, true, node, e));
    if (b->len < 1024) TRY(buf_addf(b, e, "%sparameters of %.60s", b->len ? ", " : "", name));
out:
    json_decref(any);
    return st;
}

static status compile_tool(grammar *g, const json_t *tool, str *name, int32_t *node, err *e)
{
    status st = OK;
    const json_t *f = json_object_get(tool, "function"), *p = json_object_get(f, "parameters");
    const char *text = json_string_value(json_object_get(f, "name"));
    json_t *none = NULL;
    bool strict = json_is_true(json_object_get(f, "strict"));
    size_t before = g->calls->unenforced.len;
    int32_t node_count = g->calls->node_count;
    TRY(check_name(text, e));
    *name = str_from(text);
    if (!p || json_is_null(p)) {
        p = none = json_pack("{s:s, s:{}}", "type", "object", "properties");
        if (!p) FAIL(e, E_NOMEM, "could not set up the declared functions\nout of memory");
    }
    st = schema_add(g->calls, p, true, node, e);
    if (!strict && (st == E_ARG || st == E_UNSUPPORTED)) st = take_any(g, text, node_count, node, e);
    if (st != OK) {
        err_wrap(e, "function \"%.60s\"", text);
        goto out;
    }
    if (strict && g->calls->unenforced.len > before)
        FAIL(e, E_ARG, "cannot use the function \"%.60s\" as strict\nits schema has keywords that are not enforced: %s", text, schema_unenforced(g->calls));
out:
    json_decref(none);
    return st;
}

static status compile_tools(grammar *g, err *e)
{
    status st = OK;
    const tok_special *sp = tok_specials(g->o.tok);
    size_t n = json_array_size(g->o.tools);
    str *names = mem_array(n + 1, sizeof *names, MEM_TEXT);
    int32_t *nodes = mem_array(n + 1, sizeof *nodes, MEM_TEXT), count = 0;
    if (!names || !nodes) FAIL(e, E_NOMEM, "could not set up the declared functions\nout of memory");
    if (n > GRAMMAR_TOOLS_MAX) FAIL(e, E_ARG, "cannot use %zu functions\nat most %d", n, GRAMMAR_TOOLS_MAX);
    if (sp->tool_call < 0 || sp->tool_call_end < 0 || sp->quote < 0)
        FAIL(e, E_UNSUPPORTED, "cannot call functions\nthe model's vocabulary lacks the tokens of tool calls");
    TRY(schema_new(&g->calls, SCHEMA_CALL, e));
    for (size_t i = 0; i < n; i++) {
        const json_t *tool = json_array_get(g->o.tools, i);
        const char *name = json_string_value(json_object_get(json_object_get(tool, "function"), "name"));
        if (g->o.named && (!name || strcmp(name, g->o.named) != 0)) continue;
        TRY(compile_tool(g, tool, &names[count], &nodes[count], e));
        count++;
    }
    if (count == 0) FAIL(e, E_ARG, "cannot call the function \"%.60s\"\nit is not declared", g->o.named ? g->o.named : "");
    TRY(schema_add_calls(g->calls, names, nodes, count, &g->calls_node, e));
    TRY(automaton_init(&g->call, g->calls, e));
out:
    mem_free(names);
    mem_free(nodes);
    return st;
}

status grammar_new(grammar **out, const grammar_opts *o, err *e)
{
    status st = OK;
    grammar *g = mem_alloc(sizeof *g, MEM_TEXT);
    if (!g) return err_set(e, E_NOMEM, "could not constrain an answer\nout of memory");
    g->o = *o;
    g->now.phase = o->in_thought ? THOUGHT : BEGIN;
    g->ends = mem_array((size_t)o->end_count + 2, sizeof *g->ends, MEM_TEXT);
    if (!g->ends) FAIL(e, E_NOMEM, "could not constrain an answer\nout of memory");
    for (int32_t i = 0; i < o->end_count; i++) g->ends[g->end_count++] = o->ends[i];
    if (g->end_count == 0) {
        const tok_special *sp = tok_specials(o->tok);
        if (sp->turn_end >= 0) g->ends[g->end_count++] = sp->turn_end;
        if (sp->eos >= 0) g->ends[g->end_count++] = sp->eos;
    }
    if (o->choice != GRAMMAR_NONE && json_array_size(o->tools)) TRY(compile_tools(g, e));
    if (o->choice == GRAMMAR_REQUIRED && !g->calls) FAIL(e, E_ARG, "cannot require a call\nno functions are declared");
    if (o->format) TRY(automaton_init(&g->json, o->format, e));
    TRY(masks_new(&g->masks, o->tok, o->trie, e));
    g->closing = mem_alloc(CLOSING_MAX, MEM_TEXT);
    g->spare = mem_array(o->trie->words, sizeof *g->spare, MEM_TEXT);
    if (!g->closing || !g->spare) FAIL(e, E_NOMEM, "could not constrain an answer\nout of memory");
    g->o.tools = NULL;
    g->o.named = NULL;
    *out = g;
    g = NULL;
out:
    grammar_free(g);
    return st;
}

void grammar_free(grammar *g)
{
    if (!g) return;
    automaton_done(&g->json);
    automaton_done(&g->call);
    schema_free(g->calls);
    masks_free(g->masks);
    mem_free(g->spare);
    mem_free(g->ends);
    mem_free(g->closing);
    mem_free(g);
}

const char *grammar_unenforced(const grammar *g) { return g->calls ? schema_unenforced(g->calls) : ""; }

const char *grammar_warning(const grammar *g)
{
    return g->now.closed || g->now.closing ? "the answer repeated itself without end and was closed early" : NULL;
}

/* ---- masks ---------------------------------------------------------------------------------------------------- */

static void set(const grammar *g, uint64_t *bits, int32_t id)
{
    if (id >= 0 && id < g->o.trie->vocab) bits[id / 64] |= (uint64_t)1 << (id % 64);
}

static void add(const grammar *g, uint64_t *bits, const uint64_t *more)
{
    for (size_t i = 0; i < g->o.trie->words; i++) bits[i] |= more[i];
}

static void add_ends(const grammar *g, bool called, uint64_t *bits)
{
    for (int32_t i = 0; i < g->end_count; i++)
        if (called || g->ends[i] != tok_specials(g->o.tok)->tool_response) set(g, bits, g->ends[i]);
}

/* The longest token that the closing text begins with. */
static void add_closing(const grammar *g, uint64_t *bits)
{
    const trie_tree *t = &g->o.trie->all;
    str rest = { g->closing + g->now.closing_at, g->closing_len - g->now.closing_at };
    int32_t best = tok_specials(g->o.tok)->quote;
    if (rest.p[0] != SCHEMA_QUOTE)
        for (uint32_t i = 0, end = t->count, d = 0; i < end && d < rest.n;) {
            const trie_node *n = &t->nodes[i];
            if (n->byte != (unsigned char)rest.p[d]) { i = n->skip; continue; }
            if (n->count) best = t->ids[n->first];
            end = n->skip;
            i++;
            d++;
        }
    set(g, bits, best);
}

static void add_begin(grammar *g, uint64_t *bits)
{
    const tok_special *sp = tok_specials(g->o.tok);
    if (g->o.think && !g->now.thought) set(g, bits, sp->channel);
    if (g->calls) set(g, bits, sp->tool_call);
    if (g->o.choice == GRAMMAR_REQUIRED) return;
    if (g->o.format) {
        automaton_begin(&g->json, g->o.format_node, &g->next[0]);
        masks_add(g->masks, &g->json, &g->next[0], bits);
    } else {
        add(g, bits, g->o.trie->text);
        add_ends(g, false, bits);
    }
}

/* Without what would go on with a loop, unless that is all there is. */
static void leave_out(const grammar *g, uint64_t *bits)
{
    const moment *m = &g->now;
    uint64_t kept[FEW], any = 0;
    for (int32_t i = 0; i < m->avoid_count; i++) {
        kept[i] = bits[m->avoid[i] / 64];
        bits[m->avoid[i] / 64] &= ~((uint64_t)1 << (m->avoid[i] % 64));
    }
    for (size_t w = 0; m->avoid_count && !any && w < g->o.trie->words; w++) any = bits[w];
    for (int32_t i = any ? 0 : m->avoid_count; i-- > 0;) bits[m->avoid[i] / 64] = kept[i];
}

void grammar_mask(grammar *g, uint64_t *bits)
{
    const tok_special *sp = tok_specials(g->o.tok);
    moment *m = &g->now;
    memset(bits, 0, g->o.trie->words * sizeof *bits);
    if (m->closing) {
        add_closing(g, bits);
        return;
    }
    switch (m->phase) {
    case BEGIN:   add_begin(g, bits); break;
    case THOUGHT: add(g, bits, g->o.trie->text); set(g, bits, sp->channel_end); break;
    case TEXT:
        add(g, bits, g->o.trie->text);
        if (g->calls) set(g, bits, sp->tool_call);
        add_ends(g, false, bits);
        break;
    case JSON:
        if (automaton_complete(&g->json, &m->state)) add_ends(g, false, bits);
        if (!m->closed) masks_add(g->masks, &g->json, &m->state, bits);
        leave_out(g, bits);
        break;
    case CALL:
        if (automaton_complete(&g->call, &m->state)) set(g, bits, sp->tool_call_end);
        else masks_add(g->masks, &g->call, &m->state, bits);
        leave_out(g, bits);
        break;
    case CALLED:
        if (!g->o.one_call && !m->closed) set(g, bits, sp->tool_call);
        add_ends(g, true, bits);
        break;
    case OVER: add_ends(g, true, bits); break;
    }
}

/* ---- loops ---------------------------------------------------------------------------------------------------- */

static bool in_text(const automaton_state *s)
{
    for (int32_t i = 0; i < s->count; i++) {
        automaton_mode mode = (automaton_mode)s->threads[i].mode;
        if (mode == AUTOMATON_STRING || mode == AUTOMATON_OTHER_KEY || mode == AUTOMATON_BARE_KEY) return true;
    }
    return false;
}

/* The newest tokens are of FEW kinds at most: those are what is to be avoided. */
static bool few_different(moment *m)
{
    int32_t seen[FEW];
    int n = 0, k;
    if (m->loop.count < WINDOW) return false;
    for (uint32_t i = 1; i <= WINDOW; i++) {
        int32_t id = loop_before(&m->loop, i);
        for (k = 0; k < n && seen[k] != id; k++) {}
        if (k < n) continue;
        if (n == FEW) return false;
        seen[n++] = id;
    }
    memcpy(m->avoid, seen, (size_t)n * sizeof *seen);
    m->avoid_count = n;
    return true;
}

/* One more token of a value; true: it goes round in circles, and m->avoid is what would go on with it. */
static bool loops(moment *m, int32_t id)
{
    bool text = in_text(&m->state);
    uint32_t found = text ? loop_add(&m->loop, id, WINDOW, 4) : loop_add(&m->loop, id, WINDOW_OUTSIDE, 8);
    if (!found) return text && few_different(m);
    m->avoid[0] = loop_before(&m->loop, found);
    m->avoid_count = 1;
    return true;
}

/* The first loop in a string of the value: what would go on with it may not come next, and often that is enough. */
static bool stir(moment *m)
{
    if (m->stirred || !in_text(&m->state)) return false;
    loop_begin(&m->loop);
    return m->stirred = true;
}

static bool is_avoided(const moment *m, int32_t id)
{
    for (int32_t i = 0; i < m->avoid_count; i++)
        if (m->avoid[i] == id) return true;
    return false;
}

/* The text that ends the value from here; false: it would be too long, so the value goes on. */
static bool make_closing(grammar *g, automaton *a)
{
    uint32_t mark = automaton_mark(a);
    unsigned char b;
    bool ok = true;
    automaton_state *x = g->next;
    g->closing_len = 0;
    x[0] = (automaton_state){ .count = 1, .threads = { g->now.state.threads[0] } };
    while (ok && (b = automaton_closing_byte(a, &x[0].threads[0])) != 0) {
        automaton_step(a, &x[0], b, &x[1]);
        int32_t best = 0;
        for (int32_t i = 0; i < x[1].count; i++)
            if (x[1].threads[i].mode == AUTOMATON_CLOSE || x[1].threads[i].mode == AUTOMATON_AFTER) best = i;
        ok = x[1].count > 0 && g->closing_len < CLOSING_MAX;
        if (ok) g->closing[g->closing_len++] = (char)b;
        x[0] = (automaton_state){ .count = 1, .threads = { x[1].threads[best] } };
    }
    automaton_reset(a, mark);
    return ok && g->closing_len > 0;
}

/* ---- tokens --------------------------------------------------------------------------------------------------- */

/* Bytes from 0xF8 on are never text: in the automaton they stand for special tokens. */
static bool is_text(const grammar *g, int32_t id)
{
    str s = tok_bytes(g->o.tok, id);
    return s.n > 0 && !tok_is_special(g->o.tok, id) && (unsigned char)s.p[0] < 0xF8;
}

/* What the automaton reads for a token; empty: it is neither text nor the quote. */
static str bytes_of(const grammar *g, int32_t id)
{
    return id >= 0 && id == tok_specials(g->o.tok)->quote ? STR("\xFF") : is_text(g, id) ? tok_bytes(g->o.tok, id) : (str){ NULL, 0 };
}

/* The bytes of a token through the automaton; false: they do not fit. */
static bool consume(grammar *g, automaton *a, int32_t id)
{
    str s = bytes_of(g, id);
    automaton_state *x = g->next;
    int at = 0;
    if (s.n == 0) return false;
    x[0] = g->now.state;
    for (size_t i = 0; i < s.n && x[at].count; i++, at = !at) automaton_step(a, &x[at], (unsigned char)s.p[i], &x[!at]);
    if (x[at].count == 0) return false;
    g->now.state = x[at];
    return true;
}

static bool is_end(const grammar *g, int32_t id, bool called)
{
    for (int32_t i = 0; i < g->end_count; i++)
        if (g->ends[i] == id) return called || id != tok_specials(g->o.tok)->tool_response;
    return false;
}

static void begin_value(grammar *g, phase p)
{
    moment *m = &g->now;
    m->phase = p;
    m->stirred = false;
    m->avoid_count = 0;
    loop_begin(&m->loop);
    automaton_begin(p == JSON ? &g->json : &g->call, p == JSON ? g->o.format_node : g->calls_node, &m->state);
}

static bool is_closing(const grammar *g, int32_t id)
{
    str s = bytes_of(g, id);
    return s.n > 0 && s.n <= g->closing_len - g->now.closing_at && memcmp(s.p, g->closing + g->now.closing_at, s.n) == 0;
}

/* It does not go on with a loop, or nothing else may come. */
static bool may_come(grammar *g, int32_t id)
{
    if (!is_avoided(&g->now, id)) return true;
    grammar_mask(g, g->spare);
    return g->spare[id / 64] >> (id % 64) & 1;
}

/* A token of a JSON value or a call. */
static bool value_token(grammar *g, int32_t id)
{
    moment *m = &g->now;
    automaton *a = m->phase == JSON ? &g->json : &g->call;
    if (m->closed || (m->closing && !is_closing(g, id)) || !may_come(g, id) || !consume(g, a, id)) return false;
    m->avoid_count = 0;
    if (m->closing) {
        m->closing_at += bytes_of(g, id).n;
        m->closed = m->closing_at >= g->closing_len;
        m->closing = !m->closed;
    } else if (loops(m, id) && !stir(m)) {
        m->avoid_count = 0;
        m->closing = make_closing(g, a);
        m->closing_at = 0;
    }
    return true;
}

static bool begin_token(grammar *g, int32_t id)
{
    const tok_special *sp = tok_specials(g->o.tok);
    moment *m = &g->now;
    if (id >= 0 && id == sp->channel && g->o.think && !m->thought) m->phase = THOUGHT;
    else if (id >= 0 && id == sp->tool_call && g->calls) begin_value(g, CALL);
    else if (g->o.choice == GRAMMAR_REQUIRED) return false;
    else if (g->o.format) {
        begin_value(g, JSON);
        return value_token(g, id);
    } else if (is_end(g, id, false)) m->phase = OVER;
    else if (is_text(g, id)) m->phase = TEXT;
    else return false;
    return true;
}

static bool token(grammar *g, int32_t id)
{
    const tok_special *sp = tok_specials(g->o.tok);
    moment *m = &g->now;
    switch (m->phase) {
    case BEGIN: return begin_token(g, id);
    case THOUGHT:
        if (id >= 0 && id == sp->channel_end) {
            m->phase = BEGIN;
            m->thought = true;
            return true;
        }
        return is_text(g, id);
    case TEXT:
        if (id >= 0 && id == sp->tool_call && g->calls) begin_value(g, CALL);
        else if (is_end(g, id, false)) m->phase = OVER;
        else return is_text(g, id);
        return true;
    case JSON:
        if (!m->closing && is_end(g, id, false) && automaton_complete(&g->json, &m->state)) {
            m->phase = OVER;
            return true;
        }
        return value_token(g, id);
    case CALL:
        if (id >= 0 && id == sp->tool_call_end && automaton_complete(&g->call, &m->state)) {
            m->phase = CALLED;
            return true;
        }
        return value_token(g, id);
    case CALLED:
        if (id >= 0 && id == sp->tool_call && !g->o.one_call && !m->closed) begin_value(g, CALL);
        else if (is_end(g, id, true)) m->phase = OVER;
        else return false;
        return true;
    default: return is_end(g, id, true);
    }
}

/* Frames are used up by long answers: those that nothing needs any more go, and the masks that name them. */
static void collect(grammar *g, automaton *a, phase p)
{
    automaton_state *states[GRAMMAR_ROLLBACK_MAX + 1];
    int32_t n = 0;
    if (!a->s || a->frame_count < AUTOMATON_FRAMES_MAX / 2) return;
    if (g->now.phase == p) states[n++] = &g->now.state;
    for (uint32_t i = 0; i < g->past_count; i++) {
        moment *m = &g->past[(g->past_at + GRAMMAR_ROLLBACK_MAX - 1 - i) % GRAMMAR_ROLLBACK_MAX];
        if (m->phase == p) states[n++] = &m->state;
    }
    automaton_collect(a, states, n);
    masks_forget(g->masks);
}

status grammar_accept(grammar *g, int32_t id, err *e)
{
    g->past[g->past_at] = g->now;
    if (!token(g, id)) {
        g->now = g->past[g->past_at];
        return err_set(e, E_ARG, "cannot go on with token %d\nthe answer's grammar does not allow it here", id);
    }
    g->past_at = (g->past_at + 1) % GRAMMAR_ROLLBACK_MAX;
    g->past_count = MIN(g->past_count + 1, GRAMMAR_ROLLBACK_MAX);
    collect(g, &g->json, JSON);
    collect(g, &g->call, CALL);
    return OK;
}

bool grammar_rollback(grammar *g, int32_t n)
{
    if (n < 0 || (uint32_t)n > g->past_count) return false;
    if (n == 0) return true;
    g->past_at = (g->past_at + GRAMMAR_ROLLBACK_MAX - (uint32_t)n) % GRAMMAR_ROLLBACK_MAX;
    g->past_count -= (uint32_t)n;
    g->now = g->past[g->past_at];
    return true;
}

bool grammar_can_end(const grammar *g)
{
    switch (g->now.phase) {
    case BEGIN: return !g->o.format && g->o.choice != GRAMMAR_REQUIRED;
    case JSON:  return !g->now.closing && automaton_complete(&g->json, &g->now.state);
    case TEXT: case CALLED: case OVER: return true;
    default: return false;
    }
}
