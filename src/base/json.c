#include "base/json.h"

#include <pthread.h>

#include "base/bits.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"

/* While it parses, jansson reports a failed allocation as a syntax error, loses keys without a word, or (growing an object
 * in 2.14) writes out of bounds.  So there a failure is remembered, the request repeated, and the result thrown away
 * afterwards.  Whoever builds values sees each failed call and gets no second try. */
static _Thread_local bool parsing, starved;

static void *json_malloc(size_t n)
{
    void *p = mem_small_alloc(n, MEM_TEXT);
    if (p || !parsing) return p;
    starved = true;
    return mem_small_alloc(n, MEM_TEXT);
}

static void use_mem(void) { json_set_alloc_funcs(json_malloc, mem_small_free); }

void json_use_mem(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, use_mem);
}

/* Position of byte `at` as a line and a column, both from 1; columns count bytes. */
static void line_column(str text, size_t at, size_t *line, size_t *column)
{
    *line = *column = 1;
    for (size_t i = 0; i < at && i < text.n; i++) {
        (*column)++;
        if (text.p[i] == '\n') ++*line, *column = 1;
    }
}

/* jansson recurses up to 2048 deep; our bound is lower and is checked before anything is allocated. */
static status check_depth(str text, const char *what, err *e)
{
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (in_string) {
            if (c == '\\') i++;
            else if (c == '"') in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth <= JSON_DEPTH_MAX) continue;
            size_t line, column;
            line_column(text, i, &line, &column);
            return err_set(e, E_FORMAT, "%s is not usable JSON\nline %zu, column %zu: nested deeper than %d levels", what, line, column,
                           (int)JSON_DEPTH_MAX);
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    return OK;
}

status json_parse(json_t **out, str text, const char *what, bool strict, err *e)
{
    json_error_t je;
    if (text.n > JSON_BYTES_MAX)
        return err_set(e, E_FORMAT, "%s is not usable JSON\nit has %zu bytes, more than the limit of %zu", what, text.n, (size_t)JSON_BYTES_MAX);
    status st = check_depth(text, what, e);
    if (st != OK) return st;
    size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL | (strict ? JSON_REJECT_DUPLICATES : 0);
    starved = false;
    parsing = true;
    json_t *j = json_loadb(text.p ? text.p : "", text.n, flags, &je);
    parsing = false;
    if (starved || (!j && json_error_code(&je) == json_error_out_of_memory)) {
        json_decref(j);
        return err_set(e, E_NOMEM, "could not read %s\nout of memory", what);
    }
    if (!j) return err_set(e, E_FORMAT, "%s is not valid JSON\nline %d, column %d: %s", what, je.line, je.column, je.text);
    *out = j;
    return OK;
}

static const char *type_name(const json_t *v)
{
    static const char *const names[] = { "an object", "an array", "a string", "an integer", "a number", "true", "false", "null" };
    return names[json_typeof(v)];
}

/* The value at key; NULL when it is absent or null. */
static const json_t *value_at(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return v && !json_is_null(v) ? v : NULL;
}

static status wrong_type(const json_t *v, const char *key, const char *where, const char *wanted, err *e)
{
    return err_set(e, E_FORMAT, "%s: \"%s\" must be %s\nit is %s", where, key, wanted, type_name(v));
}

static status read_i64(const json_t *v, const char *key, const char *where, int64_t min, int64_t max, int64_t *out, err *e)
{
    double d = json_real_value(v);
    int64_t n = 0;
    if (json_is_integer(v)) n = json_integer_value(v);
    else if (json_is_real(v) && d > -0x1p63 && d < 0x1p63 && d == (double)(int64_t)d) n = (int64_t)d;   /* 1e6, 64.0 */
    else return wrong_type(v, key, where, "an integer", e);
    if (n < min || n > max)
        return err_set(e, E_FORMAT, "%s: \"%s\" is %lld\nit must be from %lld to %lld", where, key, (long long)n, (long long)min, (long long)max);
    *out = n;
    return OK;
}

status json_need_i64(const json_t *o, const char *key, const char *where, int64_t min, int64_t max, int64_t *out, err *e)
{
    const json_t *v = value_at(o, key);
    if (!v) return err_set(e, E_FORMAT, "%s: \"%s\" is missing", where, key);
    return read_i64(v, key, where, min, max, out, e);
}

status json_i64_or(const json_t *o, const char *key, const char *where, int64_t min, int64_t max, int64_t fallback, int64_t *out, err *e)
{
    const json_t *v = value_at(o, key);
    if (v) return read_i64(v, key, where, min, max, out, e);
    *out = fallback;
    return OK;
}

status json_f64_or(const json_t *o, const char *key, const char *where, double fallback, double *out, err *e)
{
    const json_t *v = value_at(o, key);
    if (v && !json_is_number(v)) return wrong_type(v, key, where, "a number", e);
    *out = v ? json_number_value(v) : fallback;
    return OK;
}

status json_bool_or(const json_t *o, const char *key, const char *where, bool fallback, bool *out, err *e)
{
    const json_t *v = value_at(o, key);
    if (v && !json_is_boolean(v)) return wrong_type(v, key, where, "true or false", e);
    *out = v ? json_is_true(v) : fallback;
    return OK;
}

status json_str_or_null(const json_t *o, const char *key, const char *where, const char **out, err *e)
{
    const json_t *v = value_at(o, key);
    if (v && !json_is_string(v)) return wrong_type(v, key, where, "a string", e);
    if (v && strlen(json_string_value(v)) != json_string_length(v))
        return err_set(e, E_FORMAT, "%s: \"%s\" has a NUL character in it", where, key);
    *out = v ? json_string_value(v) : NULL;
    return OK;
}

typedef struct printing { buf *b; err *e; status st; } printing;

static int print_part(const char *text, size_t n, void *user)
{
    printing *p = user;
    if (p->st == OK) p->st = buf_add(p->b, text, n, p->e);
    return p->st == OK ? 0 : -1;
}

status json_print(buf *b, const json_t *j, size_t flags, err *e)
{
    printing p = { .b = b, .e = e, .st = OK };
    if (j && json_dump_callback(j, print_part, &p, flags) == 0) return OK;
    return p.st != OK ? p.st : err_set(e, E_NOMEM, "could not write JSON\nout of memory");
}

/* The two-character escape of c, or NULL. */
static const char *short_escape(char c)
{
    switch (c) {
    case '"':  return "\\\"";
    case '\\': return "\\\\";
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    case '\b': return "\\b";
    case '\f': return "\\f";
    default:   return NULL;
    }
}

/* Length of the run at p that can be copied as it is. */
static size_t plain_run(const char *p, size_t n)
{
    size_t i = 0;
    uint32_t cp;
    while (i < n) {
        int len = utf8_decode(p + i, n - i, &cp);
        if (len == 0 || cp < 0x20 || cp == '"' || cp == '\\' || cp == 0x7F) break;
        i += (size_t)len;
    }
    return i;
}

status json_quote(buf *b, str s, err *e)
{
    status st = OK;
    TRY(buf_add(b, "\"", 1, e));
    while (s.n) {
        size_t run = plain_run(s.p, s.n);
        TRY(buf_add(b, s.p, run, e));
        s = str_skip(s, run);
        if (!s.n) break;
        const char *esc = short_escape(s.p[0]);
        if (esc) TRY(buf_add_str(b, esc, e));
        else if ((unsigned char)s.p[0] < 0x80) TRY(buf_addf(b, e, "\\u%04x", (unsigned)(unsigned char)s.p[0]));
        else TRY(buf_add(b, "\xEF\xBF\xBD", 3, e));
        s = str_skip(s, 1);
    }
    TRY(buf_add(b, "\"", 1, e));
out:
    return st;
}
