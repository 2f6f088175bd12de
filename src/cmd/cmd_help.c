/* facet help: the list of commands, or one command; --markdown prints docs/cli. */
#include <stdio.h>
#include <string.h>

#include "cmd/opt.h"

static status overview(buf *out, err *e)
{
    status st = OK;
    TRY(buf_add_str(out, "facet: run Gemma 4 models\n\nUsage: facet COMMAND [options]\n\nCommands\n", e));
    for (size_t i = 0; cmd_all[i]; i++) TRY(buf_addf(out, e, "  %-10s %s\n", cmd_all[i]->name, cmd_all[i]->summary));
    TRY(buf_add_str(out, "\n\"facet help COMMAND\" or \"facet COMMAND --help\" says more.\n", e));
out:
    return st;
}

static status overview_md(buf *out, err *e)
{
    status st = OK;
    TRY(buf_add_str(out, "# Commands of facet\n\nPrinted by `facet help --markdown`; `tools/gen-cli-docs.sh` renews this folder.\n\n"
                         "| command | what it does |\n|---|---|\n", e));
    for (size_t i = 0; cmd_all[i]; i++)
        TRY(buf_addf(out, e, "| [%s](%s.md) | %s |\n", cmd_all[i]->name, cmd_all[i]->name, cmd_all[i]->summary));
    TRY(buf_add_str(out, "\nExit codes: 0 done, 1 error, 2 mistake in the command line, 130 interrupted.\n", e));
out:
    return st;
}

static status help(args *a, err *e)
{
    status st = OK;
    bool md = args_flag(a, "markdown");
    buf b;
    buf_init(&b, 1 << 20);
    if (args_operands(a) == 0) {
        TRY(md ? overview_md(&b, e) : overview(&b, e));
    } else {
        const cmd *c = cmd_find(args_operand(a, 0));
        if (!c) {
            st = args_mistake(a, e, "unknown command \"%s\"", args_operand(a, 0));
            goto out;
        }
        TRY(md ? opt_markdown(c, &b, e) : opt_help(c, &b, e));
    }
    fputs(buf_text(&b), stdout);
out:
    buf_done(&b);
    return st;
}

static const opt options[] = {
    { "markdown", 0, OPT_FLAG, .group = "Output", .help = "Print the page of docs/cli." },
    { 0 } };

const cmd cmd_help = {
    .name = "help", .summary = "say how to use facet, or one of its commands", .operands = "[COMMAND]", .operand_max = 1,
    .options = { options }, .run = help,
    .examples = { { "facet help run", "the options of \"facet run\"" } } };
