/* Commands and their options: one table per command drives parsing, help and docs/cli.
 *
 *     static const opt options[] = {
 *         { "tensors", 0, OPT_FLAG, .group = "Output", .help = "List every tensor." },
 *         { "limit", 'n', OPT_INT, .argument = "N", .value = "10", .min = 1, .max = 1000, .group = "Output", .help = "..." },
 *         { 0 } };
 *     static status run(args *a, err *e) { if (args_flag(a, "tensors")) ... }
 *     const cmd cmd_inspect = { .name = "inspect", .summary = "show what is in a file", .operands = "FILE",
 *         .operand_min = 1, .operand_max = 1, .options = { options, opt_output }, .run = run,
 *         .examples = { { "facet inspect gemma.gguf", "sizes and types" } } };
 *
 * and one line CMD(inspect) in commands.inc make a command. */
#ifndef FC_CMD_OPT_H
#define FC_CMD_OPT_H

#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"

typedef enum opt_kind {
    OPT_FLAG,      /* --x, --no-x */
    OPT_INT,       /* whole number in [min, max] */
    OPT_REAL,      /* number in [min, max] */
    OPT_TEXT,
    OPT_BYTES,     /* 512, 64K, 1.5G */
    OPT_CHOICE     /* one of the words in .argument, separated by '|' */
} opt_kind;

typedef struct opt {
    const char *name;        /* long form without dashes; NULL ends a table */
    char letter;             /* short form, or 0 */
    opt_kind kind;
    const char *argument;    /* "FILE", "N", "f32|f16"; NULL for flags */
    const char *value;       /* default, read like a given one; NULL: not set */
    const char *unset;       /* what happens when it is not set, for the help: "from the file" */
    double min, max;         /* OPT_INT, OPT_REAL */
    bool many;               /* may be given several times */
    const char *group;       /* heading in the help */
    const char *help;        /* one sentence */
} opt;

enum { CMD_TABLES_MAX = 8, CMD_EXAMPLES_MAX = 8 };

typedef struct args args;

typedef struct cmd {
    const char *name;
    const char *summary;     /* lower case, no full stop: "answer a prompt" */
    const char *operands;    /* "[PROMPT]", or NULL */
    int operand_min, operand_max;
    const char *details;     /* paragraphs for --help, or NULL */
    const opt *options[CMD_TABLES_MAX];
    struct { const char *line, *what; } examples[CMD_EXAMPLES_MAX];
    status (*run)(args *a, err *e);
} cmd;

/* ---- a parsed command line ------------------------------------------------------------------ */

/* Reads argv (without "facet" and the command's name; must outlive *out).  --help gives args_help, whatever else is
 * there.  *out owned: args_free.  A mistake gives E_ARG with args_usage set; *out is then set too. */
status args_parse(args **out, const cmd *c, int argc, char **argv, err *e);
void   args_free(args *a);
const cmd *args_cmd(const args *a);
bool   args_help(const args *a);
/* True after a mistake in the command line: exit code 2 and a pointer to --help. */
bool   args_usage(const args *a);
/* A command's own check of its options failed ("--tokens and --text exclude each other"): fills *e and returns E_ARG. */
status args_mistake(args *a, err *e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The value of an option by its long name, which must be in the command's tables. */
bool        args_given(const args *a, const char *name);         /* on the command line, not by default */
bool        args_flag(const args *a, const char *name);
int64_t     args_int(const args *a, const char *name);           /* 0 when not set */
double      args_real(const args *a, const char *name);          /* 0 when not set */
const char *args_text(const args *a, const char *name);          /* NULL when not set; also for choices */
uint64_t    args_bytes(const args *a, const char *name);         /* 0 when not set */
int         args_count(const args *a, const char *name);         /* of an option with .many */
const char *args_nth(const args *a, const char *name, int i);
/* Operands: what is left. */
int         args_operands(const args *a);
const char *args_operand(const args *a, int i);

/* ---- help ----------------------------------------------------------------------------------- */

status opt_help(const cmd *c, buf *out, err *e);       /* for a terminal */
status opt_markdown(const cmd *c, buf *out, err *e);   /* docs/cli/<name>.md */
/* The nearest of n names to a mistyped word (edit distance of at most a third), or NULL. */
const char *opt_nearest(const char *word, const char *const *names, size_t n);

/* ---- tables that several commands share ------------------------------------------------------ */

extern const opt opt_model[];      /* -m */
extern const opt opt_adapter[];    /* --adapter --lora-b-layout */
extern const opt opt_adapters[];   /* the same, with names */
extern const opt opt_machine[];    /* --threads --isa --exact */
extern const opt opt_context[], opt_disk[];    /* --ctx --kv --chunk */
extern const opt opt_sampling[];   /* --temp ... --stop --seed */
extern const opt opt_output[];     /* -q -v */

/* All commands, in the order of the help; NULL at the end (main.c). */
extern const cmd *const cmd_all[];
const cmd *cmd_find(const char *name);    /* NULL when there is none */

#define CMD(name) extern const cmd cmd_##name;
#include "cmd/commands.inc"
#undef CMD

#endif
