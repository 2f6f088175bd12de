/* Typed reading of metadata.  Writers disagree about integer types, so any of them is taken where the number fits. */
#include <inttypes.h>

#include "base/bits.h"
#include "fmt/gguf_int.h"

static const char *type_name(const gguf_value *v)
{
    static const char *const names[] = { "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64" };
    return names[v->type];
}

static status wrong_type(const gguf_value *v, const char *wanted, err *e)
{
    return err_set(e, E_FORMAT, "key \"%.*s\" must be %s\nit is %s%s", (int)MIN(v->key.n, 120u), v->key.p, wanted, type_name(v),
                   v->type == GGUF_ARRAY && v->item == GGUF_STRING ? " of strings" : "");
}

/* A float that stands for a whole number (some writers store 64.0). */
static bool whole(double d, int64_t *out)
{
    if (!(d > -0x1p62 && d < 0x1p62) || d != (double)(int64_t)d) return false;
    *out = (int64_t)d;
    return true;
}

status gguf_item_i64(const gguf_value *v, uint64_t i, int64_t *out, err *e)
{
    if (i >= v->count) return err_set(e, E_FORMAT, "key \"%.*s\" has %" PRIu64 " elements\nelement %" PRIu64 " is needed", (int)MIN(v->key.n, 120u), v->key.p, v->count, i);
    const uint8_t *p = v->data + i * gguf_type_bytes(v->item);
    double d;
    switch (v->item) {
    case GGUF_U8: *out = *p; return OK;
    case GGUF_I8: *out = (int8_t)*p; return OK;
    case GGUF_BOOL: *out = *p != 0; return OK;
    case GGUF_U16: *out = load_u16(p); return OK;
    case GGUF_I16: *out = (int16_t)load_u16(p); return OK;
    case GGUF_U32: *out = load_u32(p); return OK;
    case GGUF_I32: *out = (int32_t)load_u32(p); return OK;
    case GGUF_I64: *out = (int64_t)load_u64(p); return OK;
    case GGUF_U64:
        if (load_u64(p) > INT64_MAX) return wrong_type(v, "a smaller integer", e);
        *out = (int64_t)load_u64(p);
        return OK;
    case GGUF_F32:
        return whole((double)load_f32(p), out) ? OK : wrong_type(v, "an integer", e);
    case GGUF_F64:
        memcpy(&d, p, sizeof d);
        return whole(d, out) ? OK : wrong_type(v, "an integer", e);
    default: return wrong_type(v, "an integer", e);
    }
}

status gguf_i64_or(const gguf_file *g, const char *key, int64_t min, int64_t max, int64_t fallback, int64_t *out, err *e)
{
    const gguf_value *v = gguf_find(g, key);
    int64_t n = fallback;
    if (v && v->type == GGUF_ARRAY) return wrong_type(v, "one integer", e);
    if (v) {
        status st = gguf_item_i64(v, 0, &n, e);
        if (st != OK) return st;
        if (n < min || n > max) return err_set(e, E_FORMAT, "key \"%s\" is %" PRId64 "\nit must be from %" PRId64 " to %" PRId64, key, n, min, max);
    }
    *out = n;
    return OK;
}

status gguf_i64(const gguf_file *g, const char *key, int64_t min, int64_t max, int64_t *out, err *e)
{
    if (!gguf_find(g, key)) return err_set(e, E_FORMAT, "key \"%s\" is missing", key);
    return gguf_i64_or(g, key, min, max, 0, out, e);
}

status gguf_f64_or(const gguf_file *g, const char *key, double fallback, double *out, err *e)
{
    const gguf_value *v = gguf_find(g, key);
    int64_t n;
    double d = fallback;
    if (v && v->type == GGUF_F32) d = (double)load_f32(v->data);
    else if (v && v->type == GGUF_F64) memcpy(&d, v->data, sizeof d);
    else if (v) {
        if (v->type == GGUF_ARRAY || v->type == GGUF_BOOL || gguf_item_i64(v, 0, &n, NULL) != OK) return wrong_type(v, "a number", e);
        d = (double)n;
    }
    *out = d;
    return OK;
}

status gguf_bool_or(const gguf_file *g, const char *key, bool fallback, bool *out, err *e)
{
    int64_t n = 0;
    status st = gguf_i64_or(g, key, 0, 1, fallback, &n, e);
    if (st == OK) *out = n != 0;
    return st;
}

status gguf_str_or(const gguf_file *g, const char *key, str fallback, str *out, err *e)
{
    const gguf_value *v = gguf_find(g, key);
    if (v && v->type != GGUF_STRING) return wrong_type(v, "a string", e);
    *out = v ? (str){ (const char *)v->data + 8, (size_t)load_u64(v->data) } : fallback;
    return OK;
}

status gguf_each_str(const gguf_value *v, gguf_str_fn fn, void *user, err *e)
{
    if (v->item != GGUF_STRING) return wrong_type(v, "an array of strings", e);
    const uint8_t *p = v->data;
    for (uint64_t i = 0; i < v->count; i++) {   /* lengths were checked when the file was opened */
        str s = { (const char *)p + 8, (size_t)load_u64(p) };
        status st = fn(user, i, s, e);
        if (st != OK) return st;
        p += 8 + s.n;
    }
    return OK;
}
