#include "cmd/edit.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef FC_HAVE_LIBEDIT
#include <histedit.h>
#include <locale.h>
#endif

#include "base/mem.h"
#include "os/tty.h"

struct edit {
    const char *prompt;
    bool terminal;
    char *line;                /* of getline */
    size_t cap;
#ifdef FC_HAVE_LIBEDIT
    EditLine *el;              /* NULL: plain reading */
    History *history;
#endif
};

static volatile sig_atomic_t interrupted;
static void on_interrupt(int number) { interrupted = number; }

/* Without SA_RESTART, so that a read in progress ends. */
static void watch(struct sigaction *old)
{
    struct sigaction act = { .sa_handler = on_interrupt };
    sigemptyset(&act.sa_mask);
    interrupted = 0;
    sigaction(SIGINT, &act, old);
}

#ifdef FC_HAVE_LIBEDIT
static const char *prompt_of(EditLine *el)
{
    edit *x = NULL;
    el_get(el, EL_CLIENTDATA, &x);
    return x->prompt;
}

static void open_editor(edit *x)
{
    HistEvent ev;
    setlocale(LC_CTYPE, "");    /* libedit measures characters with the locale's encoding */
    x->history = history_init();
    x->el = x->history ? el_init("facet", stdin, stdout, stderr) : NULL;
    if (!x->el) return;
    history(x->history, &ev, H_SETSIZE, 500);
    el_set(x->el, EL_CLIENTDATA, x);
    el_set(x->el, EL_PROMPT, prompt_of);
    el_set(x->el, EL_EDITOR, "emacs");
    el_set(x->el, EL_HIST, history, x->history);
    el_set(x->el, EL_SIGNAL, 0);
    el_source(x->el, NULL);     /* the person's own ~/.editrc */
}

static const char *editor_line(edit *x, int *n)
{
    const char *text = el_gets(x->el, n);
    HistEvent ev;
    if (text && *n > 1) history(x->history, &ev, H_ENTER, text);
    return text;
}
#endif

status edit_open(edit **out, const char *prompt, err *e)
{
    edit *x = mem_alloc(sizeof *x, MEM_OTHER);
    if (!x) return err_set(e, E_NOMEM, "could not read lines\nout of memory");
    x->prompt = prompt;
    x->terminal = tty_is(STDIN_FILENO);
#ifdef FC_HAVE_LIBEDIT
    if (x->terminal) open_editor(x);
#endif
    *out = x;
    return OK;
}

void edit_close(edit *x)
{
    if (!x) return;
#ifdef FC_HAVE_LIBEDIT
    if (x->el) el_end(x->el);
    if (x->history) history_end(x->history);
#endif
    free(x->line);
    mem_free(x);
}

/* Borrowed until the next call; NULL at the end or after an error (errno). */
static const char *next(edit *x, int *n)
{
#ifdef FC_HAVE_LIBEDIT
    if (x->el) return editor_line(x, n);
#endif
    if (x->terminal) {
        fputs(x->prompt, stdout);
        fflush(stdout);
    }
    ssize_t got = getline(&x->line, &x->cap, stdin);
    *n = (int)got;
    return got < 0 ? NULL : x->line;
}

status edit_line(edit *x, buf *line, bool *end, bool *broken, err *e)
{
    struct sigaction old;
    int n = 0;
    status st = OK;
    buf_clear(line);
    *end = *broken = false;
    if (x->terminal) watch(&old);
    errno = 0;
    const char *text = next(x, &n);
    int number = errno;
    if (x->terminal) sigaction(SIGINT, &old, NULL);
    if (x->terminal && interrupted) {
        *broken = true;
        clearerr(stdin);
        putchar('\n');
    } else if (!text) {
        *end = true;
        if (ferror(stdin)) st = err_set(e, E_IO, "could not read standard input\n%s", strerror(number));
    } else {
        if (n > 0 && text[n - 1] == '\n') n--;
        if (n > 0 && text[n - 1] == '\r') n--;
        st = buf_add(line, text, (size_t)n, e);
    }
    return st;
}
