/* facet run: one prompt, one answer. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cmd/interrupt.h"
#include "cmd/setup.h"
#include "cmd/show.h"
#include "os/file.h"
#include "os/tty.h"

enum { PROMPT_MAX = 1 << 30 };

/* A turn without words: nothing was asked, and the model would answer something.  Raw text may begin from nothing, when
 * that is said. */
static status check_prompt(args *a, const buf *text, err *e)
{
    bool said = args_operands(a) && strcmp(args_operand(a, 0), "-") != 0;
    if (args_flag(a, "raw") ? said || text->len : strspn(buf_text(text), " \t\r\n") < text->len) return OK;
    return args_mistake(a, e, "the prompt is empty\n%s\nGive a text: facet run \"What is 12 + 30?\"",
                        said ? "PROMPT has no words in it" : "standard input has nothing in it");
}

/* The operand, or standard input. */
static status read_prompt(args *a, buf *out, err *e)
{
    status st = OK;
    const char *text = args_operands(a) ? args_operand(a, 0) : "-";
    if (args_operands(a) == 0 && tty_is(STDIN_FILENO)) return args_mistake(a, e, "PROMPT is missing");
    if (strcmp(text, "-") != 0) TRY(buf_add_str(out, text, e));
    else {
        TRY(file_read_all(out, "-", e));
        /* the newline that ends the last line of a file or of echo is not part of what is asked */
        if (!args_flag(a, "raw") && out->len && out->data[out->len - 1] == '\n') out->data[--out->len] = '\0';
    }
    TRY(check_prompt(a, out, e));
out:
    return st;
}

static status check_options(args *a, err *e)
{
    if (args_given(a, "logprobs") && !args_flag(a, "json")) return args_mistake(a, e, "--logprobs needs --json");
    if (args_given(a, "json-schema") && args_flag(a, "json-object")) return args_mistake(a, e, "--json-schema and --json-object exclude each other");
    if (args_flag(a, "raw") && (args_given(a, "system") || args_flag(a, "think") || args_given(a, "think-budget") || args_given(a, "chat")))
        return args_mistake(a, e, "--raw goes on with a text as it is\n--system, --think, --think-budget and --chat belong to conversations");
    if (args_given(a, "chat") && (args_given(a, "system") || args_operands(a)))
        return args_mistake(a, e, "--chat takes the whole conversation from a file\nneither --system nor a prompt goes with it");
    return OK;
}

/* input: what was read from the prompt or, with --chat, from its file. */
static status build(args *a, const buf *input, facet_request *r, err *e)
{
    status st = OK;
    const char *system = args_text(a, "system");
    if (args_flag(a, "think")) facet_request_think(r, true);
    if (args_given(a, "think-budget")) facet_request_think_budget(r, (int32_t)args_int(a, "think-budget"));
    if (args_given(a, "chat")) return facet_request_conversation(r, buf_text(input), input->len, e);
    if (args_flag(a, "raw")) return facet_request_text(r, buf_text(input), input->len, args_flag(a, "special"), e);
    if (system) TRY(facet_request_message(r, FACET_SYSTEM, system, strlen(system), e));
    TRY(facet_request_message(r, FACET_USER, buf_text(input), input->len, e));
out:
    return st;
}

/* --json-schema: a text that begins like a schema, else a file. */
static status constrain(args *a, facet_request *r, err *e)
{
    status st = OK;
    const char *given = args_text(a, "json-schema");
    buf schema;
    buf_init(&schema, 1 << 20);
    if (args_flag(a, "json-object")) return facet_request_format(r, NULL, 0, false, e);
    if (!given) return OK;
    if (given[strspn(given, " \t\r\n")] == '{') TRY(buf_add_str(&schema, given, e));
    else TRY(file_read_all(&schema, given, e));
    TRY(facet_request_format(r, buf_text(&schema), schema.len, false, e));
    const char *names = facet_request_unenforced(r);
    if (*names && !args_flag(a, "quiet")) fprintf(stderr, "facet: the schema's keywords %s are not enforced\n", names);
out:
    buf_done(&schema);
    return st;
}

static status print_json(const show *s, uint64_t seed, err *e)
{
    const facet_result *r = &s->result;
    json_t *o = json_pack("{s:s%, s:s%, s:O, s:s, s:i, s:i, s:i, s:i, s:f, s:f, s:I}", "reasoning", buf_text(&s->thought), s->thought.len,
                          "content", buf_text(&s->answer), s->answer.len, "tool_calls", s->calls, "finish", show_finish_name(r->finish),
                          "prompt_tokens", (int)r->prompt_tokens, "cached_tokens", (int)r->cached_tokens, "answer_tokens", (int)r->answer_tokens,
                          "thought_tokens", (int)r->thought_tokens,
                          "prompt_seconds", r->prompt_seconds, "answer_seconds", r->answer_seconds, "seed", (json_int_t)seed);
    if (!o || (json_array_size(s->logprobs) && json_object_set(o, "logprobs", s->logprobs) != 0)) {
        json_decref(o);
        return err_set(e, E_NOMEM, "could not print the answer\nout of memory");
    }
    json_dumpf(o, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(o);
    return OK;
}

/* Submits, shows, waits. */
static status answer(args *a, facet_request *r, uint64_t seed, err *e)
{
    status st = OK;
    show s = { 0 };
    bool json = args_flag(a, "json"), quiet = args_flag(a, "quiet");
    TRY(show_init(&s, r, quiet, json, e));
    interrupt_watch(r);
    st = facet_request_submit(r, show_event, &s, e);
    if (st == OK) st = facet_request_wait(r, NULL, e);
    interrupt_done();
    if (st != OK && st != E_CANCELLED) goto out;
    status shown = show_finish(&s, e);
    if (shown != OK) { st = shown; goto out; }
    if (json) TRY(print_json(&s, seed, e));
    if (!quiet) show_figures(&s);
out:
    show_done(&s);
    return st;
}

static status run(args *a, err *e)
{
    status st = OK;
    facet_model *m = NULL;
    facet_engine *g = NULL;
    facet_request *r = NULL;
    facet_engine_opts engine;
    setup_sampling sampling = { 0 };
    setup_adapters adapters = { 0 };
    buf input;
    buf_init(&input, PROMPT_MAX);
    setup_log(a);
    TRY(check_options(a, e));
    TRY(setup_engine(a, &engine, e));
    setup_disk(a, &engine);
    TRY(setup_adapters_read(a, false, &adapters, &engine, e));
    TRY(args_given(a, "chat") ? file_read_all(&input, args_text(a, "chat"), e) : read_prompt(a, &input, e));
    TRY(setup_model(a, &m, e));
    TRY(setup_sampling_read(a, m, &sampling, e));
    sampling.s.logprobs = args_given(a, "logprobs");
    sampling.s.top_logprobs = (int32_t)args_int(a, "logprobs");
    TRY(facet_engine_start(&g, m, &engine, e));
    TRY(facet_request_new(&r, g, &sampling.s, e));
    if (engine.adapter_count) TRY(facet_request_adapter(r, SETUP_ADAPTER, e));
    TRY(build(a, &input, r, e));
    TRY(constrain(a, r, e));
    TRY(answer(a, r, sampling.s.seed, e));
out:
    facet_request_free(r);
    facet_engine_stop(g);
    facet_model_close(m);
    setup_sampling_done(&sampling);
    setup_adapters_done(&adapters);
    buf_done(&input);
    return st;
}

static const opt options[] = {
    { "system", 'S', OPT_TEXT, .argument = "TEXT", .group = "Prompt", .help = "Instructions that stand before the conversation." },
    { "think", 0, OPT_FLAG, .group = "Prompt", .help = "Let the model think before it answers." },
    { "think-budget", 0, OPT_INT, .argument = "N", .unset = "no limit", .max = INT32_MAX, .group = "Prompt",
      .help = "Most tokens of a thought: one that gets there is closed, and the answer begins." },
    { "chat", 0, OPT_TEXT, .argument = "FILE", .group = "Prompt",
      .help = "Answer this conversation: JSON with messages and tools, as \"facet render\" takes it; - is standard input." },
    { "raw", 0, OPT_FLAG, .group = "Prompt", .help = "Go on with the text as it is, without turns: for base models." },
    { "special", 0, OPT_FLAG, .group = "Prompt", .help = "With --raw: spellings of special tokens in the text become those tokens." },
    { "json", 0, OPT_FLAG, .group = "Output", .help = "One JSON object at the end instead of text." },
    { "json-schema", 0, OPT_TEXT, .argument = "FILE|TEXT", .group = "Output",
      .help = "The answer is JSON that this schema describes; what begins with { is the schema itself." },
    { "json-object", 0, OPT_FLAG, .group = "Output", .help = "The answer is a JSON object, any one." },
    { "logprobs", 0, OPT_INT, .argument = "N", .min = 0, .max = 20, .group = "Output",
      .help = "With --json: log-probability of each token and of the N likeliest." },
    { 0 } };

const cmd cmd_run = {
    .name = "run", .summary = "answer a prompt", .operands = "[PROMPT]", .operand_max = 1,
    .details = "The prompt is the operand, or standard input when there is none or it is -; an empty one is refused. The answer goes to standard output as it "
               "comes, thoughts dimmed (to standard error when standard output is no terminal), figures to standard error. Ctrl-C stops "
               "the answer.",
    .options = { opt_model, opt_adapter, options, opt_sampling, opt_context, opt_disk, opt_machine, opt_output }, .run = run,
    .examples = { { "facet run \"What is 12 + 30?\"", "ask the bundled miniature" },
                  { "facet run -m gemma-4-E2B-it-Q4_0.gguf --think \"Why is the sky blue?\"", "a real model, thinking first" },
                  { "facet run -m e2b --temp 0 -n 200 < question.txt", "always the same answer, of at most 200 tokens" },
                  { "facet run -m e2b-base --raw \"Once upon a time\"", "let a base model go on with a text" },
                  { "facet run -m e2b --chat conversation.json --json", "a conversation with tools, for a program" } } };
