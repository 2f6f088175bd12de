/* The program: finds the command, maps its status to an exit code. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/json.h"
#include "cmd/opt.h"

enum { EXIT_FINE = 0, EXIT_ERROR = 1, EXIT_USAGE = 2, EXIT_INTERRUPT = 130, EXIT_PIPE = 141 };

#define CMD(name) &cmd_##name,
const cmd *const cmd_all[] = {
#include "cmd/commands.inc"
    NULL };
#undef CMD

const cmd *cmd_find(const char *name)
{
    for (size_t i = 0; cmd_all[i]; i++)
        if (strcmp(cmd_all[i]->name, name) == 0) return cmd_all[i];
    return NULL;
}

/* "facet: what: why", then the hint. */
static void print_error(const err *e)
{
    fprintf(stderr, "facet: %s%s%s\n", e->what[0] ? e->what : "failed without saying why", e->why[0] ? ": " : "", e->why);
    if (e->hint[0]) fprintf(stderr, "  %s\n", e->hint);
}

/* Whoever read our output has seen enough ("facet run ... | head"): we end as other programs do, by SIGPIPE (141 in a
 * shell), without a word.  The signal is ignored until here, so that what a command began is cleaned up first. */
static int end_by_pipe(void)
{
    signal(SIGPIPE, SIG_DFL);
    raise(SIGPIPE);
    return EXIT_PIPE;                  /* when the signal is blocked */
}

static int finish(status st, const args *a, const err *e)
{
    if (st == OK) return EXIT_FINE;
    if (st == E_CANCELLED) return EXIT_INTERRUPT;
    if (st == E_IO && e->os_errno == EPIPE) return end_by_pipe();
    print_error(e);
    if (!a || !args_usage(a)) return EXIT_ERROR;
    fprintf(stderr, "  see facet %s --help\n", args_cmd(a)->name);
    return EXIT_USAGE;
}

static status print_help(const cmd *c, err *e)
{
    buf b;
    buf_init(&b, 1 << 20);
    status st = opt_help(c, &b, e);
    if (st == OK) fputs(buf_text(&b), stdout);
    buf_done(&b);
    return st;
}

static bool reader_gone(void)
{
    struct pollfd p = { .fd = STDOUT_FILENO, .events = POLLOUT };
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLERR | POLLHUP));
}

/* What was printed counts only when it arrived: a full disk is an error even for --help. */
static status flush_output(err *e)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) return OK;
    if (errno == 0) errno = reader_gone() ? EPIPE : EIO;    /* an earlier write failed; stdio has forgotten why */
    return err_set(e, E_IO, "could not write to standard output\n%s", strerror(errno));
}

static int unknown_command(const char *name)
{
    const char *names[64];
    size_t n = 0;
    while (cmd_all[n] && n < COUNT_OF(names)) { names[n] = cmd_all[n]->name; n++; }
    const char *near = opt_nearest(name, names, n);
    fprintf(stderr, "facet: unknown command \"%s\"", name);
    if (near) fprintf(stderr, ": did you mean \"facet %s\"?", near);
    fprintf(stderr, "\n  see facet --help\n");
    return EXIT_USAGE;
}

static int run(const cmd *c, int argc, char **argv)
{
    err e = { 0 };
    args *a = NULL;
    status st = args_parse(&a, c, argc, argv, &e);
    if (st == OK) st = args_help(a) ? print_help(c, &e) : c->run(a, &e);
    if (st == OK) st = flush_output(&e);
    else fflush(stdout);
    int code = finish(st, a, &e);
    args_free(a);
    return code;
}

/* A descriptor that the caller has closed would be given to the next file that is opened, and texts would land in it. */
static void keep_closed_streams(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd ? O_RDONLY : O_WRONLY) < 0) return;     /* wrong way round: use still fails */
}

int main(int argc, char **argv)
{
    keep_closed_streams();
    signal(SIGPIPE, SIG_IGN);
    json_use_mem();
    const char *name = argc > 1 ? argv[1] : "help";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) name = "help";
    if (strcmp(name, "--version") == 0) name = "version";
    const cmd *c = cmd_find(name);
    if (!c) return unknown_command(name);
    return run(c, argc > 2 ? argc - 2 : 0, argv + MIN(argc, 2));
}
