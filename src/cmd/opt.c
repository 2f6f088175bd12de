#include "cmd/opt.h"

#include <assert.h>
#include <stdarg.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "base/str.h"

typedef struct value {
    const opt *o;
    bool given, set;
    bool flag;
    int64_t i;               /* OPT_INT, OPT_BYTES */
    double r;
    const char **texts;      /* borrowed from argv or the table; the last one counts unless .many */
    int count, cap;
} value;

struct args {
    const cmd *c;
    value *values;
    size_t value_count;
    const char **operands;
    int operand_count;
    bool help, usage;
};

static size_t count_options(const cmd *c)
{
    size_t n = 0;
    for (int t = 0; t < CMD_TABLES_MAX && c->options[t]; t++)
        for (const opt *o = c->options[t]; o->name; o++) n++;
    return n;
}

static value *find(const args *a, const char *name, size_t n)
{
    for (size_t i = 0; i < a->value_count; i++)
        if (str_eq(str_from(a->values[i].o->name), (str){ name, n })) return &a->values[i];
    return NULL;
}

static const value *need(const args *a, const char *name)
{
    const value *v = find(a, name, strlen(name));
    assert(v && "the option is in no table of this command");
    return v;
}

status args_mistake(args *a, err *e, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    a->usage = true;
    return err_set(e, E_ARG, "%s", text);
}

/* ---- did you mean ----------------------------------------------------------------------------- */

enum { WORD_MAX = 64 };

/* Damerau's distance with adjacent swaps: "--thraeds" is one step from "--threads". */
static int distance(const char *a, size_t na, const char *b, size_t nb)
{
    int row[3][WORD_MAX + 1];
    for (size_t j = 0; j <= nb; j++) row[0][j] = (int)j;
    for (size_t i = 1; i <= na; i++) {
        int *now = row[i % 3], *up = row[(i + 2) % 3], *upup = row[(i + 1) % 3];
        now[0] = (int)i;
        for (size_t j = 1; j <= nb; j++) {
            int d = MIN(MIN(now[j - 1], up[j]) + 1, up[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) d = MIN(d, upup[j - 2] + 1);
            now[j] = d;
        }
    }
    return row[na % 3][nb];
}

const char *opt_nearest(const char *word, const char *const *names, size_t n)
{
    size_t len = strlen(word);
    const char *best = NULL;
    int best_d = (int)(len / 3) + 1;
    if (len == 0 || len > WORD_MAX) return NULL;
    for (size_t i = 0; i < n; i++) {
        size_t m = strlen(names[i]);
        if (m > WORD_MAX) continue;
        int d = distance(word, len, names[i], m);
        /* the start of a name is a good guess too: "--thread" */
        if (d > best_d && len >= 3 && strncmp(names[i], word, len) == 0) d = best_d;
        if (d < best_d || (d == best_d && !best)) { best = names[i]; best_d = d; }
    }
    return best;
}

static status unknown_option(args *a, const char *word, err *e)
{
    const char *names[128];
    size_t n = 0;
    for (size_t i = 0; i < a->value_count && n < COUNT_OF(names); i++) names[n++] = a->values[i].o->name;
    const char *near = opt_nearest(word, names, n);
    return near ? args_mistake(a, e, "unknown option \"--%s\"\ndid you mean \"--%s\"?", word, near)
                : args_mistake(a, e, "unknown option \"--%s\"", word);
}

/* ---- values ------------------------------------------------------------------------------------ */

static bool is_choice(const char *choices, const char *text)
{
    str rest = str_from(choices), one;
    while (str_split(&rest, '|', &one))
        if (str_is(one, text)) return true;
    return false;
}

static status add_text(value *v, const char *text, err *e)
{
    if (!v->o->many) v->count = 0;
    if (v->count == v->cap) {
        int cap = v->cap ? 2 * v->cap : 1;
        const char **p = mem_resize(v->texts, (size_t)cap * sizeof *p, MEM_OTHER);
        if (!p) return err_set(e, E_NOMEM, "could not read the command line\nout of memory");
        v->texts = p;
        v->cap = cap;
    }
    v->texts[v->count++] = text;
    return OK;
}

/* Reads one argument of an option that takes one. */
static status set_value(args *a, value *v, const char *text, err *e)
{
    const opt *o = v->o;
    status st = OK;
    char what[64];
    uint64_t bytes = 0;
    snprintf(what, sizeof what, "--%s", o->name);
    switch (o->kind) {
    case OPT_INT:   st = str_to_i64(str_from(text), what, (int64_t)o->min, (int64_t)o->max, &v->i, e); break;
    case OPT_REAL:  st = str_to_f64(str_from(text), what, o->min, o->max, &v->r, e); break;
    case OPT_BYTES: st = str_to_bytes(str_from(text), what, &bytes, e); v->i = (int64_t)bytes; break;
    case OPT_CHOICE:
        if (!is_choice(o->argument, text)) st = err_set(e, E_ARG, "--%s cannot be \"%s\"\nit is one of %s", o->name, text, o->argument);
        break;
    default: break;
    }
    if (st != OK) { a->usage = true; return st; }
    v->set = true;
    return add_text(v, text, e);
}

static status set_flag(args *a, value *v, bool on, const char *attached, err *e)
{
    if (attached) return args_mistake(a, e, "--%s takes no argument\n\"=%s\" was given", v->o->name, attached);
    v->flag = on;
    v->set = v->given = true;
    return OK;
}

/* --name, --name=value, --no-name. */
static status parse_long(args *a, const char *word, int argc, char **argv, int *i, err *e)
{
    const char *eq = strchr(word, '=');
    size_t n = eq ? (size_t)(eq - word) : strlen(word);
    const char *attached = eq ? eq + 1 : NULL;
    char name[WORD_MAX + 1];
    snprintf(name, sizeof name, "%.*s", (int)MIN(n, (size_t)WORD_MAX), word);
    if (strcmp(name, "help") == 0) { a->help = true; return OK; }
    value *v = find(a, word, n);
    if (!v && n > 3 && strncmp(word, "no-", 3) == 0) {
        v = find(a, word + 3, n - 3);
        if (v && v->o->kind == OPT_FLAG) return set_flag(a, v, false, attached, e);
        v = NULL;
    }
    if (!v) return unknown_option(a, name, e);
    if (v->o->kind == OPT_FLAG) return set_flag(a, v, true, attached, e);
    if (!attached) {
        if (*i + 1 >= argc) return args_mistake(a, e, "--%s needs an argument\nit was the last word; expected %s", v->o->name, v->o->argument);
        attached = argv[++*i];
    }
    v->given = true;
    return set_value(a, v, attached, e);
}

/* -q, -qv, -n5, -n 5. */
static status parse_short(args *a, const char *word, int argc, char **argv, int *i, err *e)
{
    for (const char *p = word; *p; p++) {
        value *v = NULL;
        if (*p == 'h') { a->help = true; continue; }
        for (size_t k = 0; k < a->value_count && !v; k++)
            if (a->values[k].o->letter == *p) v = &a->values[k];
        if (!v) return args_mistake(a, e, "unknown option \"-%c\"", *p);
        if (v->o->kind == OPT_FLAG) {
            status st = set_flag(a, v, true, NULL, e);
            if (st != OK) return st;
            continue;
        }
        const char *text = p[1] ? p + 1 : *i + 1 < argc ? argv[++*i] : NULL;
        if (!text) return args_mistake(a, e, "-%c needs an argument\nit was the last word; expected %s", *p, v->o->argument);
        v->given = true;
        return set_value(a, v, text, e);
    }
    return OK;
}

static status check_operands(args *a, err *e)
{
    const cmd *c = a->c;
    if (a->operand_count > c->operand_max) {
        const char *extra = a->operands[c->operand_max];
        return c->operand_max == 0 ? args_mistake(a, e, "unexpected word \"%s\"\n\"facet %s\" takes options only", extra, c->name)
                                   : args_mistake(a, e, "unexpected word \"%s\"\n\"facet %s\" takes %s; put a text with spaces in quotes", extra, c->name, c->operands);
    }
    if (a->operand_count < c->operand_min) return args_mistake(a, e, "%s is missing", c->operands);
    return OK;
}

static status make_values(args *a, err *e)
{
    a->value_count = count_options(a->c);
    a->values = mem_array(a->value_count + 1, sizeof *a->values, MEM_OTHER);
    if (!a->values) return err_set(e, E_NOMEM, "could not read the command line\nout of memory");
    size_t n = 0;
    for (int t = 0; t < CMD_TABLES_MAX && a->c->options[t]; t++)
        for (const opt *o = a->c->options[t]; o->name; o++) {
            value *v = &a->values[n++];
            v->o = o;
            if (!o->value) continue;
            status st = set_value(a, v, o->value, e);
            if (st != OK) return st;
            if (o->many) v->count = 0;     /* given values replace a default */
        }
    return OK;
}

status args_parse(args **out, const cmd *c, int argc, char **argv, err *e)
{
    status st = OK;
    bool options_over = false;
    args *a = mem_alloc(sizeof *a, MEM_OTHER);
    *out = a;
    if (!a) FAIL(e, E_NOMEM, "could not read the command line\nout of memory");
    a->c = c;
    a->operands = mem_array((size_t)argc + 1, sizeof *a->operands, MEM_OTHER);
    if (!a->operands) FAIL(e, E_NOMEM, "could not read the command line\nout of memory");
    for (int i = 0; i < argc; i++)           /* help wins over every mistake before it */
        if (strcmp(argv[i], "--") == 0) break;
        else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) { a->help = true; goto out; }
    TRY(make_values(a, e));
    for (int i = 0; i < argc; i++) {
        const char *w = argv[i];
        if (options_over || w[0] != '-' || w[1] == '\0') a->operands[a->operand_count++] = w;
        else if (strcmp(w, "--") == 0) options_over = true;
        else if (w[1] == '-') TRY(parse_long(a, w + 2, argc, argv, &i, e));
        else TRY(parse_short(a, w + 1, argc, argv, &i, e));
    }
    if (!a->help) TRY(check_operands(a, e));
out:
    return st;
}

void args_free(args *a)
{
    if (!a) return;
    for (size_t i = 0; a->values && i < a->value_count; i++) mem_free(a->values[i].texts);
    mem_free(a->values);
    mem_free(a->operands);
    mem_free(a);
}

const cmd *args_cmd(const args *a) { return a->c; }
bool args_help(const args *a) { return a->help; }
bool args_usage(const args *a) { return a->usage; }
bool args_given(const args *a, const char *name) { return need(a, name)->given; }
bool args_flag(const args *a, const char *name) { return need(a, name)->flag; }
int64_t args_int(const args *a, const char *name) { return need(a, name)->i; }
double args_real(const args *a, const char *name) { return need(a, name)->r; }
uint64_t args_bytes(const args *a, const char *name) { return (uint64_t)need(a, name)->i; }
int args_count(const args *a, const char *name) { return need(a, name)->count; }
const char *args_nth(const args *a, const char *name, int i) { return need(a, name)->texts[i]; }
int args_operands(const args *a) { return a->operand_count; }
const char *args_operand(const args *a, int i) { return a->operands[i]; }

const char *args_text(const args *a, const char *name)
{
    const value *v = need(a, name);
    return v->count ? v->texts[v->count - 1] : NULL;
}
