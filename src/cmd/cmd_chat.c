/* facet chat: turns at the terminal, or one answer per line of a pipe. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "cmd/edit.h"
#include "cmd/interrupt.h"
#include "cmd/setup.h"
#include "cmd/show.h"
#include "os/file.h"
#include "os/tty.h"

enum { LINE_MAX_BYTES = 1 << 26 };

typedef struct chat {
    facet_engine *engine;
    facet_sampling sampling;
    json_t *messages;          /* system (perhaps), user, assistant, ... */
    bool think, quiet, terminal;
    int32_t think_budget;      /* most tokens of a thought, -1: no limit */
    bool over;
} chat;

static status no_memory(err *e) { return err_set(e, E_NOMEM, "could not keep the conversation\nout of memory"); }

static status append(chat *c, const char *role, const char *text, size_t n, err *e)
{
    if (!utf8_valid(text, n)) return err_set(e, E_ARG, "cannot use the text\nit is not valid UTF-8");
    json_t *m = json_pack("{s:s, s:s%}", "role", role, "content", text, n);
    return m && json_array_append_new(c->messages, m) == 0 ? OK : no_memory(e);
}

static bool has_system(const chat *c)
{
    const char *role = json_string_value(json_object_get(json_array_get(c->messages, 0), "role"));
    return role && strcmp(role, "system") == 0;
}

static void drop_last(chat *c) { json_array_remove(c->messages, json_array_size(c->messages) - 1); }

/* The conversation as "facet render" and "facet run --chat" take it; owned (facet_free is not for it: buf_done). */
static status write_conversation(const chat *c, buf *out, bool indent, err *e)
{
    status st = OK;
    json_t *o = json_pack("{s:O, s:b}", "messages", c->messages, "enable_thinking", (int)c->think);
    if (!o) return no_memory(e);
    size_t n = json_dumpb(o, NULL, 0, indent ? JSON_INDENT(2) : JSON_COMPACT);
    char *text = n ? mem_alloc(n, MEM_TEXT) : NULL;
    if (!text || json_dumpb(o, text, n, indent ? JSON_INDENT(2) : JSON_COMPACT) != n) st = no_memory(e);
    if (st == OK) st = buf_add(out, text, n, e);
    if (st == OK && indent) st = buf_add_str(out, "\n", e);
    mem_free(text);
    json_decref(o);
    return st;
}

/* ---- one turn ------------------------------------------------------------------------------------- */

static status ask(chat *c, facet_request *r, show *s, err *e)
{
    status st = OK;
    buf text;
    buf_init(&text, LINE_MAX_BYTES * 16);
    TRY(write_conversation(c, &text, false, e));
    TRY(facet_request_conversation(r, buf_text(&text), text.len, e));
    facet_request_think_budget(r, c->think_budget);
    interrupt_watch(r);
    st = facet_request_submit(r, show_event, s, e);
    if (st == OK) st = facet_request_wait(r, NULL, e);
    interrupt_done();
    if (st == E_CONTEXT && json_array_size(c->messages) > 1 + (size_t)has_system(c))
        snprintf(e->hint, sizeof e->hint, "Forget the conversation with /clear, or start the chat with a larger --ctx.");
out:
    buf_done(&text);
    return st;
}

/* A turn that fails leaves the conversation as it was; an interrupted one keeps what was said. */
static status turn(chat *c, const buf *line, err *e)
{
    status st = OK;
    facet_request *r = NULL;
    show s = { 0 };
    bool asked = false;
    TRY(facet_request_new(&r, c->engine, &c->sampling, e));
    TRY(show_init(&s, r, c->quiet, false, e));
    TRY(append(c, "user", buf_text(line), line->len, e));
    asked = true;
    st = ask(c, r, &s, e);
    if (st != OK && st != E_CANCELLED) goto out;
    TRY(show_finish(&s, e));
    TRY(append(c, "assistant", buf_text(&s.answer), s.answer.len, e));
    asked = false;
    c->sampling.seed++;        /* the same question twice may have two answers */
    if (!c->quiet) show_figures(&s);
out:
    if (asked) drop_last(c);
    show_done(&s);
    facet_request_free(r);
    return st;
}

/* ---- commands of the chat --------------------------------------------------------------------------- */

static status set_system(chat *c, const char *text, err *e)
{
    if (has_system(c)) json_array_remove(c->messages, 0);
    if (!text[0]) return OK;
    if (!utf8_valid(text, strlen(text))) return err_set(e, E_ARG, "cannot use the text\nit is not valid UTF-8");
    json_t *m = json_pack("{s:s, s:s}", "role", "system", "content", text);
    return m && json_array_insert_new(c->messages, 0, m) == 0 ? OK : no_memory(e);
}

static status say_system(chat *c, const char *text, err *e)
{
    status st = set_system(c, text, e);
    if (st == OK) fprintf(stderr, text[0] ? "The system instructions are set.\n" : "There are no system instructions now.\n");
    return st;
}

static status set_think(chat *c, const char *text, err *e)
{
    if (text[0] && strcmp(text, "on") != 0 && strcmp(text, "off") != 0)
        return err_set(e, E_ARG, "/think cannot be \"%s\"\nit is on or off", text);
    c->think = text[0] ? strcmp(text, "on") == 0 : !c->think;
    fprintf(stderr, "Thinking is %s.\n", c->think ? "on" : "off");
    return OK;
}

static status clear(chat *c, const char *text, err *e)
{
    size_t keep = has_system(c) ? 1 : 0;
    (void)text;
    (void)e;
    while (json_array_size(c->messages) > keep) drop_last(c);
    fprintf(stderr, "The conversation is empty%s.\n", keep ? "; the system instructions stay" : "");
    return OK;
}

static status save(chat *c, const char *path, err *e)
{
    status st = OK;
    file_out f = { .fd = -1 };
    buf text;
    buf_init(&text, LINE_MAX_BYTES * 16);
    if (!path[0]) FAIL(e, E_ARG, "/save needs the name of a file");
    TRY(write_conversation(c, &text, true, e));
    TRY(file_out_begin(&f, path, e));
    TRY(file_out_write(&f, buf_text(&text), text.len, e));
    TRY(file_out_commit(&f, e));
    fprintf(stderr, "Saved; \"facet run --chat %s\" answers it again.\n", path);
out:
    file_out_abort(&f);
    buf_done(&text);
    return st;
}

static status quit(chat *c, const char *text, err *e)
{
    (void)text;
    (void)e;
    c->over = true;
    return OK;
}

static status help(chat *c, const char *text, err *e);

static const struct { const char *name, *argument, *help; status (*run)(chat *, const char *, err *); } verbs[] = {
    { "/system", "[TEXT]",   "set the system instructions, or remove them", say_system },
    { "/think",  "[on|off]", "let the model think before it answers", set_think },
    { "/clear",  "",         "forget the conversation", clear },
    { "/save",   "FILE",     "write the conversation as JSON", save },
    { "/help",   "",         "this list", help },
    { "/quit",   "",         "end (Ctrl-D does, too)", quit },
};

static status help(chat *c, const char *text, err *e)
{
    (void)c;
    (void)text;
    (void)e;
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        fprintf(stderr, "  %s %-*s %s\n", verbs[i].name, (int)(18 - strlen(verbs[i].name)), verbs[i].argument, verbs[i].help);
    fprintf(stderr, "A line that ends with \\ goes on with the next one. Ctrl-C stops an answer.\n");
    return OK;
}

/* A mistyped verb, as "/claer", and not "/etc/passwd is what?": letters after a slash, then a space or the end. */
static bool looks_like_verb(const char *line)
{
    if (line[0] != '/') return false;
    size_t n = strspn(line + 1, "abcdefghijklmnopqrstuvwxyz");
    return n > 0 && (line[n + 1] == 0 || line[n + 1] == ' ');
}

static status unknown_verb(const char *line, err *e)
{
    return err_set(e, E_ARG, "unknown command \"%.*s\"\n\n/help lists the commands. A line that begins with a space is said to the model.", (int)strcspn(line, " "), line);
}

/* A line that begins with a verb. */
static bool is_verb(const char *line, size_t *which, const char **rest)
{
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        size_t n = strlen(verbs[i].name);
        if (strncmp(line, verbs[i].name, n) != 0 || (line[n] && line[n] != ' ')) continue;
        *which = i;
        *rest = line + n + strspn(line + n, " ");
        return true;
    }
    return false;
}

/* ---- the loop ---------------------------------------------------------------------------------------- */

/* A message: one line, or several joined by a backslash at their ends. */
static status read_message(edit *in, buf *message, bool *end, err *e)
{
    status st = OK;
    bool broken = false;
    buf line;
    buf_init(&line, LINE_MAX_BYTES);
    buf_clear(message);
    for (;;) {
        TRY(edit_line(in, &line, end, &broken, e));
        if (broken) buf_clear(message);
        if (broken || *end) break;
        bool more = line.len && line.data[line.len - 1] == '\\';
        TRY(buf_add(message, buf_text(&line), line.len - more, e));
        if (!more) break;
        TRY(buf_add_str(message, "\n", e));
    }
    if (message->len) *end = false;      /* the last line of a file may lack its newline */
out:
    buf_done(&line);
    return st;
}

/* At the terminal an error is told and the chat goes on; in a pipe it ends the program. */
static status converse(chat *c, edit *in, err *e)
{
    status st = OK;
    buf message;
    buf_init(&message, LINE_MAX_BYTES);
    for (bool end = false; !c->over;) {
        size_t verb;
        const char *rest;
        TRY(read_message(in, &message, &end, e));
        if (end) break;
        if (message.len == 0 || strspn(message.data, " \t") == message.len) continue;
        if (is_verb(message.data, &verb, &rest)) st = verbs[verb].run(c, rest, e);
        else st = looks_like_verb(message.data) ? unknown_verb(message.data, e) : turn(c, &message, e);
        if (st == E_IO && e->os_errno == EPIPE) goto out;       /* nobody reads the answers any more */
        if (st == E_CANCELLED && !c->terminal) goto out;
        if (st != OK && st != E_CANCELLED) {
            if (!c->terminal) goto out;
            fprintf(stderr, "facet: %s%s%s\n", e->what, e->why[0] ? ": " : "", e->why);
            if (e->hint[0]) fprintf(stderr, "  %s\n", e->hint);
        }
        st = OK;
    }
    if (c->terminal && !c->over) putchar('\n');
out:
    buf_done(&message);
    return st;
}

static void greet(const facet_model *m, const facet_engine *g)
{
    facet_model_info info;
    facet_engine_opts o;
    char name[256];
    facet_model_read_info(m, &info);
    facet_engine_read_opts(g, &o);
    fprintf(stderr, "%s (%s), context %d tokens, %d threads. /help lists what you can do; Ctrl-D ends.\n", utf8_plain(name, sizeof name, info.name, strlen(info.name)), info.size_name, o.ctx, o.threads);
}

static status run(args *a, err *e)
{
    status st = OK;
    facet_model *m = NULL;
    edit *in = NULL;
    facet_engine_opts engine;
    setup_sampling sampling = { 0 };
    chat c = { .messages = json_array(), .terminal = tty_is(STDIN_FILENO), .think = args_flag(a, "think"),
               .think_budget = args_given(a, "think-budget") ? (int32_t)args_int(a, "think-budget") : -1, .quiet = args_flag(a, "quiet") };
    setup_log(a);
    if (!c.messages) FAIL(e, E_NOMEM, "could not start a conversation\nout of memory");
    TRY(set_system(&c, args_text(a, "system") ? args_text(a, "system") : "", e));
    TRY(setup_engine(a, &engine, e));
    engine.cache = 0;
    setup_disk(a, &engine);
    TRY(setup_model(a, &m, e));
    TRY(setup_sampling_read(a, m, &sampling, e));
    c.sampling = sampling.s;
    TRY(facet_engine_start(&c.engine, m, &engine, e));
    if (c.terminal && !c.quiet) greet(m, c.engine);
    TRY(edit_open(&in, "> ", e));
    TRY(converse(&c, in, e));
out:
    edit_close(in);
    facet_engine_stop(c.engine);
    facet_model_close(m);
    setup_sampling_done(&sampling);
    json_decref(c.messages);
    return st;
}

static const opt options[] = {
    { "system", 'S', OPT_TEXT, .argument = "TEXT", .group = "Conversation", .help = "Instructions that stand before the conversation." },
    { "think", 0, OPT_FLAG, .group = "Conversation", .help = "Let the model think before it answers." },
    { "think-budget", 0, OPT_INT, .argument = "N", .unset = "no limit", .max = INT32_MAX, .group = "Conversation",
      .help = "Most tokens of a thought: one that gets there is closed, and the answer begins." },
    { 0 } };

const cmd cmd_chat = {
    .name = "chat", .summary = "talk with a model, turn by turn",
    .details = "At a terminal: type a line, read the answer. Ctrl-C stops an answer, Ctrl-D ends. /system, /think, /clear, /save, /help and "
               "/quit are commands. When standard input is no terminal, each line of it is answered, with the earlier ones as context.",
    .options = { opt_model, options, opt_sampling, opt_context, opt_disk, opt_machine, opt_output }, .run = run,
    .examples = { { "facet chat", "talk with the bundled miniature" },
                  { "facet chat -m gemma-4-E2B-it-Q4_0.gguf --system \"Answer in French.\"", "a real model, with instructions" },
                  { "printf '%s\\n' 'What is 2 + 3?' 'And times 4?' | facet chat -q", "two turns from a script" } } };
