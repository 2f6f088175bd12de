/* The help and docs/cli, printed from the same tables that parse. */
#include <string.h>

#include "base/bits.h"
#include "base/str.h"
#include "cmd/opt.h"

enum { LEFT = 28, WIDTH = 100, OPTIONS_MAX = 96 };

/* Options of all tables of a command, in order. */
static size_t collect(const cmd *c, const opt **out)
{
    size_t n = 0;
    for (int t = 0; t < CMD_TABLES_MAX && c->options[t]; t++)
        for (const opt *o = c->options[t]; o->name && n < OPTIONS_MAX; o++) out[n++] = o;
    return n;
}

/* "A sentence." + "Default: 10." */
static void describe(const opt *o, char *out, size_t cap)
{
    if (o->value) snprintf(out, cap, "%s Default: %s.", o->help, o->value);
    else if (o->unset) snprintf(out, cap, "%s Default: %s.", o->help, o->unset);
    else snprintf(out, cap, "%s", o->help);
}

/* "-n, --tokens N" */
static void spell(const opt *o, char *out, size_t cap)
{
    char head[8] = "    ";
    if (o->letter) snprintf(head, sizeof head, "-%c, ", o->letter);
    snprintf(out, cap, "%s--%s%s%s", head, o->name, o->argument ? " " : "", o->argument ? o->argument : "");
}

/* Text in columns [indent, WIDTH), broken at spaces. */
static status wrap(buf *out, const char *text, size_t indent, size_t at, err *e)
{
    status st = OK;
    str rest = str_from(text), word;
    bool first = true;
    while (str_split(&rest, ' ', &word)) {
        if (!first && at + 1 + word.n > WIDTH) {
            TRY(buf_addf(out, e, "\n%*s", (int)indent, ""));
            at = indent;
        } else if (!first) {
            TRY(buf_add_str(out, " ", e));
            at++;
        }
        TRY(buf_add(out, word.p, word.n, e));
        at += word.n;
        first = false;
    }
    TRY(buf_add_str(out, "\n", e));
out:
    return st;
}

static status option_line(buf *out, const opt *o, err *e)
{
    status st = OK;
    char left[128], text[1024];
    spell(o, left, sizeof left);
    describe(o, text, sizeof text);
    TRY(buf_addf(out, e, "  %-*s", LEFT - 2, left));
    if (strlen(left) > LEFT - 4) TRY(buf_addf(out, e, "\n%*s", LEFT, ""));
    TRY(wrap(out, text, LEFT, LEFT, e));
out:
    return st;
}

/* Calls one of two printers for each group heading and option, groups in order of first appearance. */
static status each_option(const cmd *c, buf *out, status (*heading)(buf *, const char *, err *),
                          status (*line)(buf *, const opt *, err *), err *e)
{
    status st = OK;
    const opt *all[OPTIONS_MAX];
    size_t n = collect(c, all);
    bool done[OPTIONS_MAX] = { false };
    for (size_t i = 0; i < n; i++) {
        if (done[i]) continue;
        TRY(heading(out, all[i]->group, e));
        for (size_t j = i; j < n; j++) {
            if (done[j] || strcmp(all[j]->group, all[i]->group) != 0) continue;
            TRY(line(out, all[j], e));
            done[j] = true;
        }
    }
out:
    return st;
}

static status heading_text(buf *out, const char *group, err *e) { return buf_addf(out, e, "\n%s\n", group); }
static status heading_md(buf *out, const char *group, err *e) { return buf_addf(out, e, "\n| %s | |\n|---|---|\n", group); }

static status option_md(buf *out, const opt *o, err *e)
{
    char left[128], text[1024];
    spell(o, left, sizeof left);
    describe(o, text, sizeof text);
    status st = buf_add_str(out, "| `", e);
    for (const char *p = left + (o->letter ? 0 : 4); st == OK && *p; p++)
        st = *p == '|' ? buf_add_str(out, "\\|", e) : buf_add(out, p, 1, e);
    return st == OK ? buf_addf(out, e, "` | %s |\n", text) : st;
}

static status usage_line(const cmd *c, buf *out, err *e)
{
    return buf_addf(out, e, "facet %s%s%s%s\n", c->name, c->options[0] ? " [options]" : "", c->operands ? " " : "",
                    c->operands ? c->operands : "");
}

/* Paragraphs are separated by newlines in the table. */
static status details(const cmd *c, buf *out, bool markdown, err *e)
{
    status st = OK;
    str rest = str_from(c->details), para;
    while (c->details && str_split(&rest, '\n', &para)) {
        char text[2048];
        snprintf(text, sizeof text, "%.*s", (int)para.n, para.p);
        TRY(buf_add_str(out, "\n", e));
        TRY(markdown ? buf_addf(out, e, "%s\n", text) : wrap(out, text, 0, 0, e));
    }
out:
    return st;
}

status opt_help(const cmd *c, buf *out, err *e)
{
    status st = OK;
    TRY(buf_addf(out, e, "facet %s: %s\n\nUsage: ", c->name, c->summary));
    TRY(usage_line(c, out, e));
    TRY(details(c, out, false, e));
    TRY(each_option(c, out, heading_text, option_line, e));
    if (c->examples[0].line) TRY(buf_add_str(out, "\nExamples\n", e));
    for (int i = 0; i < CMD_EXAMPLES_MAX && c->examples[i].line; i++)
        TRY(buf_addf(out, e, "  %s\n      %s\n", c->examples[i].line, c->examples[i].what));
out:
    return st;
}

status opt_markdown(const cmd *c, buf *out, err *e)
{
    status st = OK;
    TRY(buf_addf(out, e, "# facet %s\n\n%c%s.\n\n```\n", c->name, c->summary[0] - 'a' + 'A', c->summary + 1));
    TRY(usage_line(c, out, e));
    TRY(buf_add_str(out, "```\n", e));
    TRY(details(c, out, true, e));
    TRY(each_option(c, out, heading_md, option_md, e));
    if (c->examples[0].line) TRY(buf_add_str(out, "\n## Examples\n\n```sh\n", e));
    for (int i = 0; i < CMD_EXAMPLES_MAX && c->examples[i].line; i++)
        TRY(buf_addf(out, e, "%s# %s\n%s\n", i ? "\n" : "", c->examples[i].what, c->examples[i].line));
    if (c->examples[0].line) TRY(buf_add_str(out, "```\n", e));
out:
    return st;
}
