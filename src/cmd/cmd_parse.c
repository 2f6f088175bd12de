/* facet parse: a model's output as thought, answer and tool calls. */
#include "base/bits.h"
#include "cmd/text.h"
#include "text/parse.h"

typedef struct parts { buf thought, answer, calls; } parts;

static status collect(void *user, const parse_event *ev, err *e)
{
    status st = OK;
    parts *p = user;
    if (ev->kind == PARSE_THOUGHT) return buf_add(&p->thought, ev->text.p, ev->text.n, e);
    if (ev->kind == PARSE_ANSWER) return buf_add(&p->answer, ev->text.p, ev->text.n, e);
    TRY(buf_add_str(&p->calls, ev->index ? ",{\"name\":" : "{\"name\":", e));
    TRY(json_quote(&p->calls, ev->name, e));
    TRY(buf_add_str(&p->calls, ",\"arguments\":", e));
    TRY(buf_add(&p->calls, ev->json.p, ev->json.n, e));
    TRY(buf_add_str(&p->calls, "}", e));
out:
    return st;
}

static status print(const parts *p, parse_finish finish, err *e)
{
    status st = OK;
    buf out;
    buf_init(&out, SIZE_MAX / 4);
    TRY(buf_add_str(&out, "{\"reasoning\":", e));
    TRY(json_quote(&out, (str){ buf_text(&p->thought), p->thought.len }, e));
    TRY(buf_add_str(&out, ",\"content\":", e));
    TRY(json_quote(&out, (str){ buf_text(&p->answer), p->answer.len }, e));
    TRY(buf_add_str(&out, ",\"tool_calls\":[", e));
    TRY(buf_add(&out, buf_text(&p->calls), p->calls.len, e));
    TRY(buf_addf(&out, e, "],\"finish\":\"%s\"}\n", parse_finish_name(finish)));
    fwrite(buf_text(&out), 1, out.len, stdout);
out:
    buf_done(&out);
    return st;
}

static status parse(const args *a, const tok *t, const tok_ids *ids, parts *p, parse_finish *finish, err *e)
{
    status st = OK;
    parser *q = NULL;
    const char *tools[64];
    size_t n = 0;
    while (n < COUNT_OF(tools) && n < (size_t)args_count(a, "tool")) { tools[n] = args_nth(a, "tool", (int)n); n++; }
    TRY(parser_new(&q, t, &(parser_opts){ .in_thought = args_flag(a, "in-thought"), .tools = tools, .tool_count = n }, collect, p, e));
    for (size_t i = 0; i < ids->len; i++) TRY(parser_token(q, ids->data[i], e));
    TRY(parser_end(q, args_flag(a, "cut"), finish, e));
    if (parser_warning(q) && !args_flag(a, "quiet")) fprintf(stderr, "facet: %s\n", parser_warning(q));
out:
    parser_free(q);
    return st;
}

static status run(args *a, err *e)
{
    status st = OK;
    text_model m = { 0 };
    tok_ids ids = { 0 };
    parts p;
    parse_finish finish = PARSE_OPEN;
    buf text;
    buf_init(&text, 0);
    buf_init(&p.thought, SIZE_MAX / 4);
    buf_init(&p.answer, SIZE_MAX / 4);
    buf_init(&p.calls, SIZE_MAX / 4);
    TRY(text_open(a, &m, e));
    TRY(text_input(&text, e));
    TRY(tok_encode(m.tok, (str){ buf_text(&text), text.len }, true, &ids, e));
    TRY(parse(a, m.tok, &ids, &p, &finish, e));
    TRY(print(&p, finish, e));
out:
    buf_done(&p.thought);
    buf_done(&p.answer);
    buf_done(&p.calls);
    buf_done(&text);
    tok_ids_done(&ids);
    text_model_done(&m);
    return st;
}

static const opt options[] = {
    { "cut", 0, OPT_FLAG, .group = "Input", .help = "The output was cut by a limit: without an end token the finish is \"length\"." },
    { "in-thought", 0, OPT_FLAG, .group = "Input", .help = "The prompt ended inside an open thought." },
    { "tool", 0, OPT_TEXT, .argument = "NAME", .many = true, .group = "Input", .help = "Name of a declared tool, at most 64; helps with malformed calls." },
    { 0 } };

const cmd cmd_parse = {
    .name = "parse", .summary = "split a model's output into thought, answer and tool calls",
    .details = "Reads standard input, where special tokens such as <|tool_call> are recognised, and prints one JSON object with \"reasoning\", \"content\", "
               "\"tool_calls\" and \"finish\" (stop, tool_calls or length). A call that cannot be read stays in the content.",
    .options = { opt_model, options, opt_output }, .run = run,
    .examples = { { "facet parse -m gemma.gguf < output.txt", "what an output means" } } };
