#include "text/chat_value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/utf8.h"
#include "text/chat_unicode.h"

/* ---- reading ---------------------------------------------------------------------------------- */

enum { SAFE_DIGITS = 18, DIGITS_MAX = 4300 /* where Python stops, too */ };

/* Length of the string literal at p, quotes included; *nul: it has an escaped NUL character. */
static size_t string_length(str s, bool *nul)
{
    size_t i = 1;
    for (; i < s.n && s.p[i] != '"'; i++) {
        if (s.p[i] != '\\') continue;
        *nul = *nul || str_starts(str_skip(s, i), "\\u0000");
        i++;
    }
    return MIN(i + 1, s.n);
}

/* Length of the number at p; *large: an integer that may not fit 64 bits. */
static size_t number_length(str s, bool *large)
{
    size_t i = s.p[0] == '-', digits = i;
    while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9') i++;
    digits = i - digits;
    *large = digits > SAFE_DIGITS && (i == s.n || !strchr(".eE", s.p[i]));
    while (i < s.n && s.p[i] && strchr("0123456789.eE+-", s.p[i])) i++;
    return MAX(i, (size_t)1);
}

/* Copies the text; large integers become "\u0000digits". */
static status quote_large(buf *out, str s, const char *what, err *e)
{
    status st = OK;
    while (s.n) {
        bool nul = false, large = false;
        size_t n = 1;
        if (s.p[0] == '"') n = string_length(s, &nul);
        else if (s.p[0] == '-' || (s.p[0] >= '0' && s.p[0] <= '9')) n = number_length(s, &large);
        if (nul) FAIL(e, E_ARG, "cannot use %s\na string in it has a NUL character", what);
        if (large && n > DIGITS_MAX) FAIL(e, E_ARG, "cannot use %s\na number in it has more than %d digits", what, (int)DIGITS_MAX);
        if (large) TRY(buf_add_str(out, "\"\\u0000", e));
        TRY(buf_add(out, s.p, n, e));
        if (large) TRY(buf_add_str(out, "\"", e));
        s = str_skip(s, n);
    }
out:
    return st;
}

status chat_value_read(json_t **out, str text, const char *what, err *e)
{
    status st = OK;
    buf b;
    buf_init(&b, SIZE_MAX / 4);
    TRY(quote_large(&b, text, what, e));
    TRY(json_parse(out, (str){ buf_text(&b), b.len }, what, false, e));
out:
    buf_done(&b);
    return st;
}

/* The digits of a large integer, or an empty text. */
static str large_integer(const json_t *v)
{
    const char *p = json_string_value(v);
    size_t n = p ? json_string_length(v) : 0, i = 1;
    if (n < SAFE_DIGITS + 2 || p[0] != 0) return (str){ "", 0 };
    for (i += p[1] == '-'; i < n; i++)
        if (p[i] < '0' || p[i] > '9') return (str){ "", 0 };
    return (str){ p + 1, n - 1 };
}

/* ---- looking ---------------------------------------------------------------------------------- */

bool chat_value_is_text(const json_t *v) { return json_is_string(v) && !large_integer(v).n; }

str chat_value_text(const json_t *v)
{
    return chat_value_is_text(v) ? (str){ json_string_value(v), json_string_length(v) } : (str){ "", 0 };
}

bool chat_value_is(const json_t *v, const char *text) { return chat_value_is_text(v) && str_is(chat_value_text(v), text); }

bool chat_value_true(const json_t *v)
{
    if (!v) return false;
    switch (json_typeof(v)) {
    case JSON_OBJECT:  return json_object_size(v) > 0;
    case JSON_ARRAY:   return json_array_size(v) > 0;
    case JSON_STRING:  return json_string_length(v) > 0;
    case JSON_INTEGER: return json_integer_value(v) != 0;
    case JSON_REAL:    return json_real_value(v) != 0;
    case JSON_TRUE:    return true;
    default:           return false;
    }
}

status chat_value_item(const json_t *v, const char *key, const char *what, const json_t **out, err *e)
{
    if (!v) return err_set(e, E_ARG, "cannot render the conversation\n%s is missing, so it has no \"%s\"", what, key);
    *out = json_object_get(v, key);      /* undefined for whatever is no object */
    return OK;
}

status chat_value_list(const json_t *v, const char *what, json_t **out, err *e)
{
    status st = OK;
    int bad = 0;
    if (json_is_array(v)) {
        *out = json_incref((json_t *)v);
        return OK;
    }
    if (v && !json_is_object(v) && !chat_value_is_text(v)) return err_set(e, E_ARG, "cannot render the conversation\n%s is no list", what);
    json_t *list = json_array();
    if (!list) FAIL(e, E_NOMEM, "could not render the conversation\nout of memory");
    for (void *it = json_object_iter((json_t *)v); it && !bad; it = json_object_iter_next((json_t *)v, it))
        bad = json_array_append_new(list, json_string(json_object_iter_key(it)));
    str s = chat_value_text(v);
    for (uint32_t cp; s.n && !bad;) {
        int n = utf8_decode(s.p, s.n, &cp);
        bad = json_array_append_new(list, json_stringn(s.p, n ? (size_t)n : 1));
        s = str_skip(s, n ? (size_t)n : 1);
    }
    if (bad) FAIL(e, E_NOMEM, "could not render the conversation\nout of memory");
    *out = list;
    list = NULL;
out:
    json_decref(list);
    return st;
}

/* ---- sorting ---------------------------------------------------------------------------------- */

static int by_lower(const void *pa, const void *pb, void *lower)
{
    const chat_entry *a = pa, *b = pb;
    int c = strcmp((const char *)lower + a->lower, (const char *)lower + b->lower);   /* UTF-8 sorts like code points */
    return c ? c : (a->order > b->order) - (a->order < b->order);
}

status chat_value_sort(chat_sorted *out, const json_t *object, err *e)
{
    status st = OK;
    size_t n = json_object_size(object), i = 0;
    chat_sorted s = { 0 };
    buf_init(&s.lower, SIZE_MAX / 4);
    s.entries = mem_array(n, sizeof *s.entries, MEM_TEXT);
    if (!s.entries) FAIL(e, E_NOMEM, "could not render the conversation\nout of memory");
    for (void *it = json_object_iter((json_t *)object); it && i < n; it = json_object_iter_next((json_t *)object, it), i++) {
        s.entries[i] = (chat_entry){ json_object_iter_key(it), json_object_iter_value(it), s.lower.len, i };
        TRY(chat_unicode_lower(&s.lower, str_from(s.entries[i].key), e));
        TRY(buf_add(&s.lower, "", 1, e));
    }
    s.count = i;
    qsort_r(s.entries, s.count, sizeof *s.entries, by_lower, s.lower.data);
    *out = s;
    s = (chat_sorted){ 0 };
out:
    chat_value_sort_done(&s);
    return st;
}

void chat_value_sort_done(chat_sorted *s)
{
    mem_free(s->entries);
    buf_done(&s->lower);
    *s = (chat_sorted){ 0 };
}

/* ---- printing --------------------------------------------------------------------------------- */

/* The next larger text of as many digits ("1.239e-04" -> "1.240e-04"); false when all are nines. */
static bool next_digits(char *s)
{
    char *end = strchr(s, 'e');
    for (char *p = end - 1; p >= s; p--) {
        if (*p < '0' || *p > '9') continue;
        if (*p != '9') return ++*p, true;
        *p = '0';
    }
    return false;
}

/* The shortest decimal that reads back as x > 0, in the form d.ddde+XX.  Below a power of two neighbours are closer
 * than above, so there the nearest decimal may miss while the next one up still reads back. */
static void shortest(double x, char s[40])
{
    int exponent;
    bool power = frexp(x, &exponent) == 0.5;
    for (int n = 0; n < 17; n++) {
        snprintf(s, 40, "%.*e", n, x);
        if (strtod(s, NULL) == x) return;
        if (power && next_digits(s) && strtod(s, NULL) == x) return;
    }
}

/* repr(float): plain from 1e-4 up to 1e16, else with an exponent of at least two digits. */
static status print_real(buf *out, double x, err *e)
{
    status st = OK;
    char s[40] = "0e0", digits[20];
    if (x != 0) shortest(fabs(x), s);
    int n = 0, exponent = atoi(strchr(s, 'e') + 1);
    for (const char *p = s; *p != 'e'; p++)
        if (*p >= '0' && *p <= '9') digits[n++] = *p;
    while (n > 1 && digits[n - 1] == '0') n--;
    if (signbit(x)) TRY(buf_add(out, "-", 1, e));
    if (exponent < -4 || exponent >= 16) {
        TRY(buf_add(out, digits, 1, e));
        if (n > 1) TRY(buf_addf(out, e, ".%.*s", n - 1, digits + 1));
        TRY(buf_addf(out, e, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent)));
    } else if (exponent < 0) {
        TRY(buf_addf(out, e, "0.%.*s%.*s", -exponent - 1, "000", n, digits));
    } else {
        int whole = MIN(n, exponent + 1);
        TRY(buf_add(out, digits, (size_t)whole, e));
        for (int i = n; i <= exponent; i++) TRY(buf_add(out, "0", 1, e));
        TRY(buf_addf(out, e, ".%.*s", MAX(n - whole, 1), n > whole ? digits + whole : "0"));
    }
out:
    return st;
}

static status repr_char(buf *out, uint32_t cp, str c, char quote, err *e)
{
    if (cp == (uint32_t)quote || cp == '\\') return buf_addf(out, e, "\\%c", (int)cp);
    if (cp == '\n') return buf_add_str(out, "\\n", e);
    if (cp == '\r') return buf_add_str(out, "\\r", e);
    if (cp == '\t') return buf_add_str(out, "\\t", e);
    if (chat_unicode_printable(cp)) return buf_add(out, c.p, c.n, e);
    return buf_addf(out, e, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", cp);
}

static status repr_text(buf *out, str s, err *e)
{
    status st = OK;
    bool single = s.n && memchr(s.p, '\'', s.n), dbl = s.n && memchr(s.p, '"', s.n);
    char quote = single && !dbl ? '"' : '\'';
    TRY(buf_add(out, &quote, 1, e));
    for (uint32_t cp = 0; s.n;) {
        int n = utf8_decode(s.p, s.n, &cp);
        str c = { s.p, n ? (size_t)n : 1 };
        TRY(repr_char(out, n ? cp : 0xFFFD, n ? c : STR("\xEF\xBF\xBD"), quote, e));
        s = str_skip(s, c.n);
    }
    TRY(buf_add(out, &quote, 1, e));
out:
    return st;
}

static status repr(buf *out, const json_t *v, int depth, err *e);

static status repr_items(buf *out, const json_t *v, int depth, err *e)
{
    status st = OK;
    const json_t *item;
    size_t i;
    bool more = false;
    TRY(buf_add_str(out, json_is_array(v) ? "[" : "{", e));
    json_array_foreach(v, i, item) {
        if (i) TRY(buf_add_str(out, ", ", e));
        TRY(repr(out, item, depth, e));
    }
    for (void *it = json_object_iter((json_t *)v); it; it = json_object_iter_next((json_t *)v, it), more = true) {
        if (more) TRY(buf_add_str(out, ", ", e));
        TRY(repr_text(out, str_from(json_object_iter_key(it)), e));
        TRY(buf_add_str(out, ": ", e));
        TRY(repr(out, json_object_iter_value(it), depth, e));
    }
    TRY(buf_add_str(out, json_is_array(v) ? "]" : "}", e));
out:
    return st;
}

static status repr(buf *out, const json_t *v, int depth, err *e)
{
    if (depth > CHAT_DEPTH_MAX) return err_set(e, E_ARG, "cannot render the conversation\na value in it is nested deeper than %d levels", (int)CHAT_DEPTH_MAX);
    str large = large_integer(v);
    if (large.n) return buf_add(out, large.p, large.n, e);
    switch (json_typeof(v)) {
    case JSON_STRING:  return repr_text(out, chat_value_text(v), e);
    case JSON_INTEGER: return buf_addf(out, e, "%lld", (long long)json_integer_value(v));
    case JSON_REAL:    return print_real(out, json_real_value(v), e);
    case JSON_TRUE:    return buf_add_str(out, "True", e);
    case JSON_FALSE:   return buf_add_str(out, "False", e);
    case JSON_NULL:    return buf_add_str(out, "None", e);
    default:           return repr_items(out, v, depth + 1, e);
    }
}

status chat_value_print(buf *out, const json_t *v, err *e)
{
    if (!v) return OK;
    if (!chat_value_is_text(v)) return repr(out, v, 0, e);
    str s = chat_value_text(v);
    return buf_add(out, s.p, s.n, e);
}

status chat_value_upper(buf *out, const json_t *v, err *e)
{
    status st = OK;
    buf b;
    buf_init(&b, SIZE_MAX / 4);
    TRY(chat_value_print(&b, v, e));
    TRY(chat_unicode_upper(out, (str){ buf_text(&b), b.len }, e));
out:
    buf_done(&b);
    return st;
}
