/* facet render: a conversation as the prompt that the model sees. */
#include "cmd/text.h"
#include "os/file.h"

static status run(args *a, err *e)
{
    status st = OK;
    text_model m = { 0 };
    tok_ids ids = { 0 };
    chat_prompt prompt = { 0 };
    json_t *conversation = NULL;
    const char *path = args_operand(a, 0);
    buf text;
    buf_init(&text, 1u << 30);
    TRY(text_open(a, &m, e));
    TRY(file_read_all(&text, path, e));
    TRY(chat_read(&conversation, (str){ buf_text(&text), text.len }, path, e));
    TRY(chat_render_conversation(&prompt, conversation, m.variant, e));
    if (args_flag(a, "ids")) {
        TRY(chat_encode(m.tok, &prompt, &ids, e));
        text_print_ids(&ids);
    } else {
        fwrite(buf_text(&prompt.text), 1, prompt.text.len, stdout);
    }
out:
    json_decref(conversation);
    chat_prompt_done(&prompt);
    buf_done(&text);
    tok_ids_done(&ids);
    text_model_done(&m);
    return st;
}

static const opt options[] = {
    { "ids", 0, OPT_FLAG, .group = "Output", .help = "Print token ids on one line instead of text; text of the conversation never becomes a special token." },
    { 0 } };

const cmd cmd_render = {
    .name = "render", .summary = "print a conversation as the model's prompt", .operands = "CONVERSATION.json", .operand_min = 1, .operand_max = 1,
    .details = "The file (or \"-\") is a JSON object with \"messages\" and, if wanted, \"tools\", \"enable_thinking\", \"preserve_thinking\" and "
               "\"add_generation_prompt\". The result is what the official chat template prints, nothing is added to it.",
    .options = { opt_model, options, opt_output }, .run = run,
    .examples = { { "facet render -m gemma.gguf talk.json", "the prompt" }, { "facet render -m gemma.gguf --ids talk.json", "its token ids" } } };
