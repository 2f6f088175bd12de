#include "bench/bench_plot.h"

#include <stdio.h>

#include "base/bits.h"

enum { WIDTH = 900, LEFT = 250, BAR = 440, ROW = 26, TOP = 78, GAP = 44 };

static const char style[] =
    "<style>text{font-family:system-ui,sans-serif;font-size:13px;fill:#222}.t{font-size:18px;font-weight:600}.h{font-weight:600}"
    ".s{fill:#666;font-size:12px}.r{text-anchor:end}</style>\n";

/* Text between tags: file names may hold anything. */
static status escaped(buf *out, const char *text, err *e)
{
    status st = OK;
    for (const char *p = text; *p; p++) {
        if (*p == '&') TRY(buf_add_str(out, "&amp;", e));
        else if (*p == '<') TRY(buf_add_str(out, "&lt;", e));
        else if (*p == '>') TRY(buf_add_str(out, "&gt;", e));
        else if ((unsigned char)*p >= ' ' || *p == '\t') TRY(buf_add(out, p, 1, e));
    }
out:
    return st;
}

static status text(buf *out, int x, int y, const char *class, const char *words, err *e)
{
    status st = OK;
    TRY(buf_addf(out, e, "<text x=\"%d\" y=\"%d\" class=\"%s\">", x, y, class));
    TRY(escaped(out, words, e));
    TRY(buf_add_str(out, "</text>\n", e));
out:
    return st;
}

static int count_of(const bench_report *r, bool decode)
{
    int n = 0;
    for (int i = 0; i < r->count; i++) n += r->results[i].decode == decode;
    return n;
}

static status bar(buf *out, const bench_result *t, double scale, int y, err *e)
{
    status st = OK;
    char words[160];
    double wide = t->tok_s.median * scale, low = t->tok_s.q1 * scale, high = t->tok_s.q3 * scale, limit = t->roofline_tok_s * scale;
    snprintf(words, sizeof words, "%d tokens, depth %d, batch %d", t->tokens, t->depth, t->batch);
    TRY(text(out, LEFT - 12, y + 15, "r", words, e));
    if (limit > 0) TRY(buf_addf(out, e, "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"20\" fill=\"#e6e9ee\"/>\n", LEFT, y, limit));
    TRY(buf_addf(out, e, "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"20\" fill=\"%s\"/>\n", LEFT, y, wide, t->decode ? "#d9822b" : "#3b7dd8"));
    TRY(buf_addf(out, e, "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"#222\" stroke-width=\"2\"/>\n", LEFT + low, y + 10, LEFT + high, y + 10));
    int n = snprintf(words, sizeof words, "%.4g tok/s", t->tok_s.median);
    if (limit > 0) snprintf(words + n, sizeof words - (size_t)n, ", %.0f %% of memory, %.0f %% of arithmetic", 100 * t->bandwidth_share, 100 * t->peak_share);
    TRY(text(out, LEFT + 6 + (int)MAX(wide, MIN(limit, (double)BAR) * (limit > 0 && limit < BAR / 2.0)), y + 15, "s", words, e));
out:
    return st;
}

/* The longest bar or limit fills the width; what would pass three times the longest bar is cut by the picture's edge. */
static status panel(buf *out, const bench_report *r, bool decode, int *y, err *e)
{
    status st = OK;
    double longest = 0;
    if (!count_of(r, decode)) return OK;
    TRY(text(out, LEFT, *y - 8, "h", decode ? "Decode" : "Prefill", e));
    for (int i = 0; i < r->count; i++)
        if (r->results[i].decode == decode) longest = MAX(longest, MAX(r->results[i].tok_s.q3, r->results[i].roofline_tok_s));
    for (int i = 0; i < r->count; i++) {
        if (r->results[i].decode != decode) continue;
        TRY(bar(out, &r->results[i], longest > 0 ? BAR / longest : 0, *y, e));
        *y += ROW;
    }
    *y += GAP;
out:
    return st;
}

status bench_plot(buf *out, const bench_report *r, const char *machine, err *e)
{
    status st = OK;
    char words[512];
    int prefills = count_of(r, false), decodes = count_of(r, true), y = TOP + 20;
    int height = TOP + 20 + (prefills + decodes) * ROW + ((prefills > 0) + (decodes > 0)) * GAP + 10;
    TRY(buf_addf(out, e, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n", WIDTH, height, WIDTH, height));
    TRY(buf_add_str(out, style, e));
    TRY(buf_addf(out, e, "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n", WIDTH, height));
    snprintf(words, sizeof words, "%s: tokens a second, %d thread%s", r->name[0] ? r->name : r->size, r->threads, r->threads == 1 ? "" : "s");
    TRY(text(out, 20, 30, "t", words, e));
    TRY(text(out, 20, 52, "s", machine, e));
    TRY(panel(out, r, false, &y, e));
    TRY(panel(out, r, true, &y, e));
    if (r->machine.count) TRY(text(out, 20, height - 12, "s", "grey: what measured memory bandwidth or arithmetic allow, the lower of both; black: the middle half of the samples", e));
    TRY(buf_add_str(out, "</svg>\n", e));
out:
    return st;
}
