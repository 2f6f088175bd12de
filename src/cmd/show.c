#include "cmd/show.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/utf8.h"
#include "os/tty.h"

enum { TEXT_MAX = 1 << 30, PROGRESS_FROM = 64 /* prompts shorter than this are over before one can read it */ };

status show_init(show *s, facet_request *r, bool quiet, bool silent, err *e)
{
    *s = (show){ .request = r, .quiet = quiet, .silent = silent, .terminal = tty_is(STDOUT_FILENO),
                 .color = tty_colors(STDOUT_FILENO), .calls = json_array(), .logprobs = json_array(), .last = '\n' };
    buf_init(&s->thought, TEXT_MAX);
    buf_init(&s->answer, TEXT_MAX);
    if (s->calls && s->logprobs) return OK;
    show_done(s);
    return err_set(e, E_NOMEM, "could not prepare for an answer\nout of memory");
}

void show_done(show *s)
{
    buf_done(&s->thought);
    buf_done(&s->answer);
    json_decref(s->calls);
    json_decref(s->logprobs);
    s->calls = s->logprobs = NULL;
}

/* A full disk or a closed pipe ends the answer, too: nobody would read it. */
static void put(show *s, FILE *f, const char *p, size_t n)
{
    if (n == 0 || s->write_errno) return;
    if (f == stdout) s->last = p[n - 1];
    if (fwrite(p, 1, n, f) == n && fflush(f) == 0) return;
    s->write_errno = errno ? errno : EIO;
    facet_request_cancel(s->request);
}

/* A model can be made to write escape sequences; a terminal would obey them. */
static void put_safely(show *s, FILE *f, const char *p, size_t n)
{
    size_t from = 0;
    uint32_t cp;
    if (!tty_is(fileno(f))) { put(s, f, p, n); return; }
    for (size_t i = 0; i < n;) {
        int len = utf8_decode(p + i, n - i, &cp);
        bool bad = len == 0 || (cp < 0x20 && cp != '\n' && cp != '\t') || (cp >= 0x7f && cp < 0xa0);
        if (bad) {
            put(s, f, p + from, i - from);
            put(s, f, "?", 1);
            from = i + (size_t)(len ? len : 1);
        }
        i += (size_t)(len ? len : 1);
    }
    put(s, f, p + from, n - from);
}

/* Thoughts stand before the answer, dimmed; into a file or a pipe goes the answer alone. */
static void thinking(show *s, bool on)
{
    FILE *f = s->terminal ? stdout : stderr;
    if (s->thinking == on || (f == stderr && s->quiet)) return;
    s->thinking = on;
    if (on && s->color) put(s, f, "\033[2m", 4);
    if (!on) put(s, f, s->color ? "\033[0m\n" : "\n", s->color ? 5 : 1);
}

static void show_progress(show *s, const facet_event *ev)
{
    char detail[64];
    int32_t total = ev->prompt_total, done = ev->prompt_done;
    if (s->quiet || total < PROGRESS_FROM) return;
    s->progress = done < total;
    snprintf(detail, sizeof detail, "%d of %d tokens", done, total);
    if (s->progress) tty_progress("reading the prompt", (double)done / total, detail);
    else tty_progress_done();
}

static void show_text(show *s, const facet_event *ev)
{
    bool thought = ev->kind == FACET_THOUGHT;
    FILE *f = !thought || s->terminal ? stdout : stderr;
    if (buf_add(thought ? &s->thought : &s->answer, ev->text, ev->n, NULL) != OK) s->no_memory = true;
    if (s->silent) return;
    thinking(s, thought);
    if (f == stdout || !s->quiet) put_safely(s, f, ev->text, ev->n);
}

static void show_call(show *s, const facet_event *ev)
{
    json_t *call = json_pack("{s:s, s:o}", "name", ev->name, "arguments", json_loads(ev->arguments, JSON_DECODE_ANY, NULL));
    if (!call || json_array_append_new(s->calls, call) != 0) s->no_memory = true;
    if (s->silent) return;
    buf line;
    buf_init(&line, TEXT_MAX);
    thinking(s, false);
    if (buf_addf(&line, NULL, "%s{\"name\":", s->last == '\n' ? "" : "\n") != OK || json_quote(&line, str_from(ev->name), NULL) != OK ||
        buf_addf(&line, NULL, ",\"arguments\":%s}\n", ev->arguments) != OK)
        s->no_memory = true;
    put_safely(s, stdout, buf_text(&line), line.len);
    buf_done(&line);
}

static json_t *pair(facet_logprob p)
{
    return json_pack("{s:i, s:f}", "token", (int)p.id, "logprob", (double)p.logprob);
}

static void keep_logprobs(show *s, const facet_event *ev)
{
    json_t *o = pair(ev->token), *top = json_array();
    for (int32_t i = 0; top && i < ev->top_count; i++)
        if (json_array_append_new(top, pair(ev->top[i])) != 0) s->no_memory = true;
    if (!o || json_object_set_new(o, "top", top) != 0 || json_array_append(s->logprobs, o) != 0) s->no_memory = true;
    json_decref(o);
}

void show_event(void *user, const facet_event *ev)
{
    show *s = user;
    if (s->progress && ev->kind != FACET_PROGRESS) {
        tty_progress_done();
        s->progress = false;
    }
    switch (ev->kind) {
    case FACET_PROGRESS: show_progress(s, ev); break;
    case FACET_TOKEN:    keep_logprobs(s, ev); break;
    case FACET_THOUGHT:
    case FACET_ANSWER:   show_text(s, ev); break;
    case FACET_CALL:     show_call(s, ev); break;
    case FACET_DONE:     s->result = *ev->result; break;
    }
}

status show_finish(show *s, err *e)
{
    if (!s->silent) {
        thinking(s, false);
        if (s->last != '\n') put(s, stdout, "\n", 1);
    }
    if (s->write_errno) {
        errno = s->write_errno;
        return err_set(e, E_IO, "could not write the answer\n%s", strerror(s->write_errno));
    }
    return s->no_memory ? err_set(e, E_NOMEM, "could not keep the answer\nout of memory") : OK;
}

static double rate(int32_t n, double seconds) { return seconds > 0 ? n / seconds : 0; }

void show_figures(const show *s)
{
    const facet_result *r = &s->result;
    int32_t read = r->prompt_tokens - r->cached_tokens, after_first = r->answer_tokens > 0 ? r->answer_tokens - 1 : 0;
    if (r->warning[0]) fprintf(stderr, "facet: the output was malformed: %s\n", r->warning);
    fprintf(stderr, "[prompt %d tokens", r->prompt_tokens);
    if (r->cached_tokens) fprintf(stderr, ", %d of them cached", r->cached_tokens);
    fprintf(stderr, ", %.2f s, %.1f/s; answer %d tokens, %.2f s, %.1f/s%s]\n", r->prompt_seconds, rate(read, r->prompt_seconds),
            r->answer_tokens, r->answer_seconds, rate(after_first, r->answer_seconds),
            r->finish == FACET_FINISH_LENGTH ? "; cut by the limit" : r->finish == FACET_FINISH_CANCELLED ? "; interrupted" : "");
}

const char *show_finish_name(facet_finish f)
{
    static const char *const names[] = { "stop", "stop", "length", "tool_calls", "cancelled", "error" };
    return (unsigned)f < sizeof names / sizeof *names ? names[f] : "error";
}
