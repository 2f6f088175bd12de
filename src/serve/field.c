#include "serve/field.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/buf.h"
#include "base/utf8.h"

bool field_refuse(refusal *r, int http, const char *code, const char *field, const char *fmt, ...)
{
    char text[sizeof r->text];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    *r = (refusal){ .status = http, .code = code };
    utf8_plain(r->text, sizeof r->text, text, strlen(text));      /* a cut text may end inside a character */
    utf8_plain(r->field, sizeof r->field, field ? field : "", field ? strlen(field) : 0);
    return false;
}

bool field_refuse_err(refusal *r, const err *e)
{
    int http = e->code == E_ARG || e->code == E_FORMAT || e->code == E_UNSUPPORTED || e->code == E_CONTEXT ? 400 : e->code == E_BUSY ? 429
               : e->code == E_NOMEM || e->code == E_CANCELLED ? 503 : 500;
    return field_refuse(r, http, NULL, NULL, "%s%s%s", e->what, e->why[0] ? ": " : "", e->why);
}

/* ---- the body ----------------------------------------------------------------------------------- */

size_t field_count(str body)
{
    size_t n = 1;
    bool in_string = false, opened = false;
    for (size_t i = 0; i < body.n; i++) {
        char c = body.p[i];
        if (in_string) {
            if (c == '\\') i++;
            else in_string = c != '"';
            continue;
        }
        if (strchr(" \t\r\n", c) && c) continue;
        n += (opened && c != ']' && c != '}') + (c == ',');
        opened = c == '[' || c == '{';
        in_string = c == '"';
    }
    return n;
}

static bool check_text(const char *p, size_t n, refusal *r)
{
    return !memchr(p, 0, n) || field_refuse(r, 400, NULL, NULL, "the body has a text with a NUL character in it");
}

static bool check_shape(const json_t *v, int depth, refusal *r)
{
    size_t i;
    const char *key;
    json_t *item;
    if (depth > FIELD_DEPTH_MAX) return field_refuse(r, 400, NULL, NULL, "the body is nested deeper than %d levels", FIELD_DEPTH_MAX);
    if (json_is_string(v)) return check_text(json_string_value(v), json_string_length(v), r);
    if (json_is_array(v)) {
        json_array_foreach(v, i, item)
            if (!check_shape(item, depth + 1, r)) return false;
    } else if (json_is_object(v)) {
        json_object_foreach((json_t *)v, key, item)
            if (!check_shape(item, depth + 1, r)) return false;
    }
    return true;
}

bool field_parse(json_t **out, str body, refusal *r)
{
    err e = { 0 };
    json_t *v = NULL;
    if (body.n == 0) return field_refuse(r, 400, NULL, NULL, "the body is empty: a JSON object is needed");
    if (field_count(body) > FIELD_NODES_MAX) return field_refuse(r, 400, NULL, NULL, "the body has more than %d values", FIELD_NODES_MAX);
    if (json_parse(&v, body, "the body", false, &e) != OK) return field_refuse_err(r, &e);
    if (!json_is_object(v)) field_refuse(r, 400, NULL, NULL, "the body must be a JSON object; it is %s", field_kind(v));
    else if (check_shape(v, 1, r)) { *out = v; return true; }
    json_decref(v);
    return false;
}

/* ---- fields --------------------------------------------------------------------------------------- */

const json_t *field_find(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return v && !json_is_null(v) ? v : NULL;
}

const char *field_kind(const json_t *v)
{
    static const char *const names[] = { "an object", "a list", "a string", "an integer", "a number", "true", "false", "null" };
    return v ? names[json_typeof(v)] : "missing";
}

static bool wrong_kind(const json_t *v, const char *key, const char *wanted, refusal *r)
{
    return field_refuse(r, 400, NULL, key, "\"%s\" must be %s; it is %s", key, wanted, field_kind(v));
}

bool field_int(const json_t *o, const char *key, int64_t min, int64_t max, int64_t *out, refusal *r)
{
    const json_t *v = field_find(o, key);
    double d = json_real_value(v);
    int64_t n = json_integer_value(v);
    if (!v) return true;
    if (json_is_real(v) && d > -0x1p53 && d < 0x1p53 && d == (double)(int64_t)d) n = (int64_t)d;     /* 64.0 */
    else if (!json_is_integer(v)) return wrong_kind(v, key, "an integer", r);
    if (n < min || n > max)
        return field_refuse(r, 400, NULL, key, "\"%s\" is %lld; it must be from %lld to %lld", key, (long long)n, (long long)min, (long long)max);
    *out = n;
    return true;
}

bool field_real(const json_t *o, const char *key, double min, double max, float *out, refusal *r)
{
    const json_t *v = field_find(o, key);
    double d = json_number_value(v);
    if (!v) return true;
    if (!json_is_number(v)) return wrong_kind(v, key, "a number", r);
    if (!(d >= min && d <= max)) return field_refuse(r, 400, NULL, key, "\"%s\" is %g; it must be from %g to %g", key, d, min, max);
    *out = (float)d;
    return true;
}

bool field_bool(const json_t *o, const char *key, bool *out, refusal *r)
{
    const json_t *v = field_find(o, key);
    if (!v) return true;
    if (!json_is_boolean(v)) return wrong_kind(v, key, "true or false", r);
    *out = json_is_true(v);
    return true;
}

bool field_text(const json_t *o, const char *key, const char **out, refusal *r)
{
    const json_t *v = field_find(o, key);
    if (!v) return true;
    if (!json_is_string(v)) return wrong_kind(v, key, "a string", r);
    *out = json_string_value(v);
    return true;
}

bool field_list(const json_t *o, const char *key, size_t max, const json_t **out, refusal *r)
{
    const json_t *v = field_find(o, key);
    if (!v) return true;
    if (!json_is_array(v)) return wrong_kind(v, key, "a list", r);
    if (json_array_size(v) > max) return field_refuse(r, 400, NULL, key, "\"%s\" has %zu entries; at most %zu are taken", key, json_array_size(v), max);
    *out = v;
    return true;
}

bool field_object(const json_t *o, const char *key, const json_t **out, refusal *r)
{
    const json_t *v = field_find(o, key);
    if (!v) return true;
    if (!json_is_object(v)) return wrong_kind(v, key, "an object", r);
    *out = v;
    return true;
}

bool field_put(json_t *o, const char *key, json_t *v) { return json_object_set_new(o, key, v) == 0; }

json_t *field_copy(const json_t *v)
{
    json_t *copy = json_is_array(v) ? json_array() : json_object();
    int failed = json_is_array(v) ? json_array_extend(copy, (json_t *)v) : json_object_update(copy, (json_t *)v);
    if (failed == 0) return copy;
    json_decref(copy);
    return NULL;
}

typedef struct printing { buf *out; bool failed; } printing;

/* jansson goes on after a key that could not be written: what fails once has failed. */
static int append(const char *p, size_t n, void *user)
{
    printing *x = user;
    x->failed = x->failed || buf_add(x->out, p, n, NULL) != OK;
    return x->failed ? -1 : 0;
}

bool field_print(buf *b, const json_t *v)
{
    printing x = { b, false };
    return v && json_dump_callback(v, append, &x, JSON_COMPACT | JSON_ENCODE_ANY) == 0 && !x.failed;
}
