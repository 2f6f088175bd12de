/* facet tokenize: text to token ids. */
#include "cmd/text.h"

/* One token per line: its id and its piece as JSON, so that newlines can be seen. */
static status print_pieces(const tok *t, const tok_ids *ids, err *e)
{
    status st = OK;
    buf line;
    buf_init(&line, 1 << 16);
    for (size_t i = 0; i < ids->len; i++) {
        buf_clear(&line);
        TRY(json_quote(&line, tok_piece(t, ids->data[i]), e));
        printf("%d\t%s\n", ids->data[i], buf_text(&line));
    }
out:
    buf_done(&line);
    return st;
}

static status run(args *a, err *e)
{
    status st = OK;
    text_model m = { 0 };
    tok_ids ids = { 0 };
    buf text;
    buf_init(&text, 0);
    TRY(text_open(a, &m, e));
    TRY(text_input(&text, e));
    TRY(tok_encode(m.tok, (str){ buf_text(&text), text.len }, args_flag(a, "special"), &ids, e));
    if (args_flag(a, "ids")) text_print_ids(&ids);
    else TRY(print_pieces(m.tok, &ids, e));
out:
    buf_done(&text);
    tok_ids_done(&ids);
    text_model_done(&m);
    return st;
}

static const opt options[] = {
    { "ids", 0, OPT_FLAG, .group = "Output", .help = "Print the ids alone, on one line." },
    { "special", 0, OPT_FLAG, .group = "Input", .help = "Recognise special tokens such as <|turn> in the text." },
    { 0 } };

const cmd cmd_tokenize = {
    .name = "tokenize", .summary = "turn text into token ids",
    .details = "Reads standard input and prints one token per line: its id and its piece as a JSON string. \"\xE2\x96\x81\" in a piece is a space. "
               "Nothing is added to the text, no <bos> either.",
    .options = { opt_model, options, opt_output }, .run = run,
    .examples = { { "printf 'Hello world' | facet tokenize -m gemma.gguf", "id and piece of every token" },
                  { "facet tokenize -m gemma.gguf --ids --special < prompt.txt", "ids for \"facet logits --tokens\"" } } };
