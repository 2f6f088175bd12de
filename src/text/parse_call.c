/* Values are kept in JSON objects, so that of two equal keys the last one counts, but a number as a string that begins
 * with a NUL character: so it is printed as the model wrote it.  (The text has no NUL characters.) */
#include "text/parse_call.h"

#include <math.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/json.h"
#include "base/utf8.h"

#define NO_MEMORY(e) err_set((e), E_NOMEM, "could not read a tool call\nout of memory")

typedef struct reader {
    str s;
    size_t i;
    bool bad;                /* it is no call; unwinds everything */
    bool round;              /* call:f(...) */
    bool spent;              /* out of memory; unwinds, too */
    err *e;
    /* What lies ahead of i, so that looking for it again costs nothing. */
    size_t quote;            /* the next PARSE_QUOTE, or s.n */
    bool quote_closes;       /* it ends a value that had no opening one */
    size_t key;              /* the next ",key:" */
    bool ahead_known, key_known;
    size_t none_from[2][128];    /* for values and for keys, per quote character: from here on none closes; 0: not known */
} reader;

static char at(const reader *r, size_t i) { return i < r->s.n ? r->s.p[i] : 0; }

static bool is_blank(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

static size_t skip_blank(const reader *r, size_t i)
{
    while (is_blank(at(r, i))) i++;
    return i;
}

static bool is_closer(const reader *r, char c) { return c == '}' || c == ']' || (c == ')' && r->round); }

static str trim(str s)
{
    while (s.n && is_blank(s.p[0])) s = str_skip(s, 1);
    while (s.n && is_blank(s.p[s.n - 1])) s.n--;
    return s;
}

status parse_call_spell(buf *out, str s, err *e)
{
    status st = OK;
    for (size_t n; s.n; s = str_skip(s, n)) {
        const char *q = memchr(s.p, PARSE_QUOTE, s.n);
        n = q ? (size_t)(q - s.p) + 1 : s.n;
        TRY(buf_add(out, s.p, n - (q != NULL), e));
        if (q) TRY(buf_add_str(out, "<|\"|>", e));
    }
out:
    return st;
}

/* ---- leaves --------------------------------------------------------------------------------------- */

/* A JSON string of the text; a quote token in it is spelled out. */
static json_t *string_of(reader *r, str s)
{
    buf b;
    json_t *v = NULL;
    buf_init(&b, SIZE_MAX / 4);
    if (parse_call_spell(&b, s, r->e) == OK) v = json_stringn(buf_text(&b), b.len);
    buf_done(&b);
    return v;
}

static size_t digits(str s, size_t i)
{
    while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9') i++;
    return i;
}

/* A number as JSON writes it, and within what a double can hold. */
static bool is_number(str s)
{
    char text[512];
    size_t i = s.n && s.p[0] == '-', start = i;
    i = digits(s, i);
    if (i == start || (i - start > 1 && s.p[start] == '0')) return false;
    if (i < s.n && s.p[i] == '.') {
        start = ++i;
        if ((i = digits(s, i)) == start) return false;
    }
    if (i < s.n && (s.p[i] == 'e' || s.p[i] == 'E')) {
        i++;
        if (i < s.n && (s.p[i] == '+' || s.p[i] == '-')) i++;
        start = i;
        if ((i = digits(s, i)) == start) return false;
    }
    if (i != s.n || s.n >= sizeof text) return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    return isfinite(strtod(text, NULL));
}

/* true, false, null or a number; NULL for anything else. */
static json_t *literal(reader *r, str s)
{
    char marked[513] = { 0 };
    if (str_is(s, "true")) return json_true();
    if (str_is(s, "false")) return json_false();
    if (str_is(s, "null")) return json_null();
    if (!is_number(s)) return NULL;
    memcpy(marked + 1, s.p, s.n);
    json_t *v = json_stringn(marked, s.n + 1);
    r->spent = !v;
    return v;
}

static json_t *wrong(reader *r)
{
    r->bad = true;
    return NULL;
}

/* Between two quote tokens; everything in it is the string. */
static json_t *native_string(reader *r)
{
    size_t begin = r->i + 1, end = begin;
    while (end < r->s.n && r->s.p[end] != PARSE_QUOTE) end++;
    if (end == r->s.n) return wrong(r);
    r->i = end + 1;
    return string_of(r, (str){ r->s.p + begin, end - begin });
}

/* Position of the quote character that ends the value (or key) begun at r->i, or 0: it stands before what can follow
 * one (or at the end) and behind no backslash. */
static size_t closing_quote(reader *r, bool key)
{
    char q = r->s.p[r->i];
    const char *after = key ? ":=" : r->round ? ",}])" : ",}]";
    size_t i = r->i + 1, slashes = 0, *none_from = &r->none_from[key][(int)q];
    if (*none_from && r->i >= *none_from) return 0;
    for (; i < r->s.n; i++) {
        if (r->s.p[i] == '\\') {
            slashes++;
            continue;
        }
        if (r->s.p[i] == q && slashes % 2 == 0) {
            char next = at(r, skip_blank(r, i + 1));
            if (!next || strchr(after, next)) return i;
        }
        slashes = 0;
    }
    *none_from = r->i;
    return 0;
}

static int hex4(str s)
{
    int v = 0;
    for (size_t i = 0; i < 4; i++) {
        const char *digits = "0123456789abcdef0123456789ABCDEF", *p = i < s.n && s.p[i] ? strchr(digits, s.p[i]) : NULL;
        if (!p) return -1;
        v = v * 16 + (int)(p - digits) % 16;
    }
    return v;
}

/* One escape of JSON at s (after the backslash): its characters; 0 when it is none.  *used: bytes of s. */
static size_t escape(str s, char out[4], size_t *used)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *p = s.n && s.p[0] ? strchr(from, s.p[0]) : NULL;
    *used = 1;
    if (p) {
        out[0] = to[p - from];
        return 1;
    }
    int v = s.n && s.p[0] == 'u' ? hex4(str_skip(s, 1)) : -1, low = -1;
    *used = 5;
    if (v >= 0xD800 && v < 0xDC00 && str_starts(str_skip(s, 5), "\\u")) low = hex4(str_skip(s, 7));
    if (low >= 0xDC00 && low < 0xE000) {
        *used = 11;
        v = 0x10000 + ((v - 0xD800) << 10) + (low - 0xDC00);
    }
    return v > 0 ? (size_t)utf8_encode((uint32_t)v, out) : 0;
}

/* Appends the text of a JSON string; *is_json false: something in it is no JSON. */
static status unescape(buf *out, str s, bool *is_json, err *e)
{
    status st = OK;
    char c[4];
    *is_json = true;
    for (size_t used; s.n && *is_json; s = str_skip(s, used)) {
        size_t n = used = 1;
        if (s.p[0] == '\\') {
            n = escape(str_skip(s, 1), c, &used);
            used++;
            *is_json = n > 0;
        } else {
            c[0] = s.p[0];
            *is_json = (unsigned char)c[0] >= ' ';
        }
        TRY(buf_add(out, c, n, e));
    }
out:
    return st;
}

/* JSON's escapes in "...", only the escaped quote itself in '...' and `...` (they are often regular expressions). */
static json_t *unescaped(reader *r, str s, char q)
{
    status st = OK;
    bool is_json = false;
    json_t *v = NULL;
    buf b;
    buf_init(&b, SIZE_MAX / 4);
    if (q == '"') st = unescape(&b, s, &is_json, r->e);
    if (!is_json) buf_clear(&b);
    for (size_t i = 0; i < s.n && st == OK && !is_json; i++) {
        if (s.p[i] == '\\' && i + 1 < s.n && s.p[i + 1] == q) i++;
        st = buf_add(&b, s.p + i, 1, r->e);
    }
    if (st == OK) v = string_of(r, (str){ buf_text(&b), b.len });
    buf_done(&b);
    return v;
}

static json_t *quoted_string(reader *r, size_t end)
{
    char q = r->s.p[r->i];
    str s = { r->s.p + r->i + 1, end - r->i - 1 };
    r->i = end + 1;
    return unescaped(r, s, q);
}

/* ---- values without quotes ------------------------------------------------------------------------ */

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

/* ",key:" or ",key=" at i */
static bool key_at(const reader *r, size_t i)
{
    size_t begin = skip_blank(r, i + 1), end = begin;
    while (is_word(at(r, end))) end++;
    char c = at(r, skip_blank(r, end));
    return end > begin && (c == ':' || c == '=');
}

/* The next quote token: does it close a value whose opening one is missing, or open the next one? */
static void look_ahead(reader *r)
{
    if (!r->ahead_known || r->quote < r->i) {
        size_t q = r->i, before;
        while (q < r->s.n && r->s.p[q] != PARSE_QUOTE) q++;
        for (before = q; before > r->i && is_blank(r->s.p[before - 1]);) before--;
        char next = at(r, skip_blank(r, q + 1)), last = before > r->i ? r->s.p[before - 1] : ':';
        r->quote = q;
        r->quote_closes = q < r->s.n && (!next || next == ',' || is_closer(r, next)) && !strchr(":=,[{(", last);
        r->ahead_known = true;
    }
    if (r->quote_closes && (!r->key_known || r->key < r->i)) {
        size_t k = r->i;
        while (k < r->s.n && !(r->s.p[k] == ',' && key_at(r, k))) k++;
        r->key = k;
        r->key_known = true;
    }
}

static json_t *bare_value(reader *r)
{
    size_t end = r->i;
    while (end < r->s.n && r->s.p[end] != ',' && r->s.p[end] != PARSE_QUOTE && !is_closer(r, r->s.p[end])) end++;
    str s = trim((str){ r->s.p + r->i, end - r->i });
    json_t *v = at(r, end) == PARSE_QUOTE ? NULL : literal(r, s);
    if (v || r->spent) {
        r->i = end;
        return v;
    }
    look_ahead(r);
    if (r->quote_closes && r->key > r->quote) {
        s = (str){ r->s.p + r->i, r->quote - r->i };
        r->i = r->quote + 1;
        return string_of(r, s);
    }
    if (s.n == 0 || at(r, end) == PARSE_QUOTE || end == r->s.n) return wrong(r);
    r->i = end;
    return string_of(r, s);
}

/* ---- objects and lists ---------------------------------------------------------------------------- */

static json_t *read_value(reader *r, int depth);

/* The key and its ":" (or "=").  NULL: there is none, or out of memory. */
static json_t *read_key(reader *r)
{
    json_t *key = NULL;
    size_t end;
    char c = at(r, r->i);
    if (c == PARSE_QUOTE) {
        key = native_string(r);
    } else if ((c == '"' || c == '\'' || c == '`') && (end = closing_quote(r, true)) > 0) {
        key = quoted_string(r, end);
    } else {
        for (end = r->i; end < r->s.n && !strchr(":=,{}[]", r->s.p[end]) && r->s.p[end] != PARSE_QUOTE;) end++;
        str s = trim((str){ r->s.p + r->i, end - r->i });
        r->i = end;
        key = s.n ? string_of(r, s) : wrong(r);
    }
    if (!key) return NULL;
    r->i = skip_blank(r, r->i);
    bool usable = strlen(json_string_value(key)) == json_string_length(key);
    if (usable && (at(r, r->i) == ':' || at(r, r->i) == '=')) {
        r->i++;
        return key;
    }
    json_decref(key);
    return wrong(r);
}

/* Adds one "key:value" or one value; false when that failed. */
static bool read_member(reader *r, json_t *into, int depth)
{
    json_t *key = json_is_object(into) ? read_key(r) : NULL, *v = NULL;
    bool ok = json_is_array(into) || key;
    if (ok) ok = (v = read_value(r, depth)) != NULL;
    if (ok && (key ? json_object_set(into, json_string_value(key), v) : json_array_append(into, v)) != 0) ok = false;
    json_decref(key);
    json_decref(v);
    return ok;
}

/* From the opening bracket to the closing one. */
static json_t *read_members(reader *r, char close, int depth)
{
    json_t *into = close == ']' ? json_array() : json_object();
    bool ok = into && depth <= PARSE_DEPTH_MAX;
    if (into && !ok) r->bad = true;
    r->i = skip_blank(r, r->i + 1);
    while (ok && at(r, r->i) != close) {
        ok = read_member(r, into, depth);
        r->i = skip_blank(r, r->i);
        if (ok && at(r, r->i) == ',') r->i = skip_blank(r, r->i + 1);
        else if (ok && at(r, r->i) != close) {
            r->bad = true;
            ok = false;
        }
    }
    r->i++;
    if (ok) return into;
    json_decref(into);
    return NULL;
}

/* NULL: r->bad, or out of memory. */
static json_t *read_value(reader *r, int depth)
{
    size_t end;
    r->i = skip_blank(r, r->i);
    char c = at(r, r->i);
    if (c == PARSE_QUOTE) return native_string(r);
    if (c == '{') return read_members(r, '}', depth + 1);
    if (c == '[') return read_members(r, ']', depth + 1);
    if (c == '"' || c == '\'' || c == '`') {
        if ((end = closing_quote(r, false)) > 0) return quoted_string(r, end);
        if (c != '"') return wrong(r);
    }
    return bare_value(r);
}

/* ---- printing ------------------------------------------------------------------------------------- */

static status print(buf *out, const json_t *v, err *e)
{
    status st = OK;
    const json_t *item;
    size_t i;
    bool more = false;
    str s = { json_string_value(v), json_string_length(v) };
    switch (json_typeof(v)) {
    case JSON_STRING: return s.n && s.p[0] == 0 ? buf_add(out, s.p + 1, s.n - 1, e) : json_quote(out, s, e);
    case JSON_TRUE:   return buf_add_str(out, "true", e);
    case JSON_FALSE:  return buf_add_str(out, "false", e);
    case JSON_ARRAY:
        TRY(buf_add_str(out, "[", e));
        json_array_foreach(v, i, item) {
            if (i) TRY(buf_add_str(out, ",", e));
            TRY(print(out, item, e));
        }
        return buf_add_str(out, "]", e);
    case JSON_OBJECT:
        TRY(buf_add_str(out, "{", e));
        for (void *it = json_object_iter((json_t *)v); it; it = json_object_iter_next((json_t *)v, it), more = true) {
            if (more) TRY(buf_add_str(out, ",", e));
            TRY(json_quote(out, str_from(json_object_iter_key(it)), e));
            TRY(buf_add_str(out, ":", e));
            TRY(print(out, json_object_iter_value(it), e));
        }
        return buf_add_str(out, "}", e);
    default:          return buf_add_str(out, "null", e);
    }
out:
    return st;
}

/* [call][:]NAME up to the first bracket; a name has no white space. */
static bool read_name(reader *r, str *name)
{
    size_t end;
    if (str_starts(str_skip(r->s, r->i = skip_blank(r, 0)), "call:")) r->i += 5;
    else if (at(r, r->i) == ':') r->i++;
    for (end = r->i; end < r->s.n && r->s.p[end] != '{' && r->s.p[end] != '(';) end++;
    *name = trim((str){ r->s.p + r->i, end - r->i });
    if (end == r->s.n || name->n == 0 || name->n > PARSE_NAME_MAX) return false;
    for (size_t i = 0; i < name->n; i++)
        if ((unsigned char)name->p[i] <= ' ' || name->p[i] == PARSE_QUOTE) return false;
    r->round = r->s.p[end] == '(';
    r->i = end;
    return true;
}

status parse_call_read(str text, str *name, buf *json, bool *ok, err *e)
{
    reader r = { .s = text, .e = e };
    status st = OK;
    *ok = false;
    if (!read_name(&r, name)) return OK;
    json_t *arguments = read_members(&r, r.round ? ')' : '}', 1);
    if (!arguments) return r.bad ? OK : NO_MEMORY(e);
    while (r.i < text.n && (is_blank(text.p[r.i]) || is_closer(&r, text.p[r.i]))) r.i++;   /* one bracket too many */
    buf_clear(json);
    if (r.i == text.n) {
        TRY(print(json, arguments, e));
        *ok = true;
    }
out:
    json_decref(arguments);
    return st;
}
