#include "os/tty.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "os/clock.h"

static double shown_at;   /* the one thread that talks to the terminal */
static bool shown;

bool tty_is(int fd) { return isatty(fd) == 1; }

bool tty_colors(int fd)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    bool dumb = term && term[0] == 'd' && term[1] == 'u' && term[2] == 'm' && term[3] == 'b' && !term[4];
    return tty_is(fd) && !(no && no[0]) && !dumb;
}

int tty_width(void)
{
    struct winsize w;
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
        if (ioctl(fd, TIOCGWINSZ, &w) == 0 && w.ws_col > 0) return w.ws_col;
    return 80;
}

/* One write, so that the line never appears in halves; through the descriptor, not stdio. */
static void put(const char *text, int n)
{
    if (n > 0) (void)!write(STDERR_FILENO, text, (size_t)n);
}

void tty_progress(const char *what, double fraction, const char *detail)
{
    double now = clock_seconds();
    if (!tty_is(STDERR_FILENO) || (shown && now - shown_at < 0.1)) return;
    char line[256];
    int limit = tty_width() - 1;
    char percent[16] = "";
    if (fraction >= 0) snprintf(percent, sizeof percent, " %3.0f %%", fraction > 1 ? 100 : 100 * fraction);
    int n = snprintf(line, sizeof line, "\r\033[K%s%s%s%s", what, percent, detail ? "  " : "", detail ? detail : "");
    int cap = limit + 4 < (int)sizeof line - 1 ? limit + 4 : (int)sizeof line - 1;   /* 4: the control bytes */
    put(line, n < cap ? n : cap);
    shown = true;
    shown_at = now;
}

void tty_progress_done(void)
{
    if (shown) put("\r\033[K", 4);
    shown = false;
}
