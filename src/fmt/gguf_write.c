/* The writer: keys and the directory are collected in memory and go out with the first byte of tensor data. */
#include <inttypes.h>

#include "base/bits.h"
#include "base/hash.h"
#include "fmt/gguf_int.h"

typedef struct pending { char *name; size_t bytes; } pending;

struct gguf_writer {
    file_out file;
    buf keys, directory;
    uint64_t key_count;
    pending *tensors;        /* in order of declaration, which is the order of the data */
    uint64_t tensor_count, tensor_cap;
    uint64_t offset;         /* of the next tensor to be declared */
    hash_table names;        /* keys and tensors, with a byte in front that keeps them apart */
    char **owned;            /* the strings of that table */
    uint64_t owned_count, owned_cap;
    bool header_written;
    uint64_t current;        /* tensor whose data is being written */
    size_t current_done;     /* its bytes so far */
};

enum { HEADER_BYTES_MAX = 1 << 30 };

status gguf_writer_new(gguf_writer **out, const char *path, err *e)
{
    status st = OK;
    gguf_writer *w = mem_alloc(sizeof *w, MEM_IO);
    if (!w) FAIL(e, E_NOMEM, "could not write \"%s\"\nout of memory", path);
    buf_init(&w->keys, HEADER_BYTES_MAX);
    buf_init(&w->directory, HEADER_BYTES_MAX);
    w->file.fd = -1;
    TRY(file_out_begin(&w->file, path, e));
    *out = w;
    w = NULL;
out:
    gguf_writer_free(w);
    return st;
}

void gguf_writer_free(gguf_writer *w)
{
    if (!w) return;
    file_out_abort(&w->file);
    buf_done(&w->keys);
    buf_done(&w->directory);
    hash_done(&w->names);
    for (uint64_t i = 0; i < w->owned_count; i++) mem_free(w->owned[i]);
    mem_free(w->owned);
    mem_free(w->tensors);
    mem_free(w);
}

/* ---- names ------------------------------------------------------------------------------------ */

/* Remembers a key ('k') or a tensor ('t'); each may be declared once.  *copy: owned by the writer. */
static status remember(gguf_writer *w, char kind, str name, char **copy, err *e)
{
    status st = OK;
    int32_t old;
    char *text = NULL;
    if (w->owned_count == w->owned_cap) {
        char **more = mem_resize(w->owned, (w->owned_cap + 64) * 2 * sizeof *more, MEM_IO);
        if (!more) FAIL(e, E_NOMEM, "could not write the file\nout of memory");
        w->owned = more;
        w->owned_cap = (w->owned_cap + 64) * 2;
    }
    text = mem_alloc(name.n + 2, MEM_IO);
    if (!text) FAIL(e, E_NOMEM, "could not write the file\nout of memory");
    text[0] = kind;
    memcpy(text + 1, name.p, name.n);
    TRY(hash_put(&w->names, (str){ text, name.n + 1 }, 0, &old, e));
    if (old >= 0) FAIL(e, E_ARG, "cannot write the %s \"%s\" twice", kind == 'k' ? "key" : "tensor", text + 1);
    w->owned[w->owned_count++] = text;
    *copy = text + 1;
    text = NULL;
out:
    mem_free(text);
    return st;
}

/* ---- keys ------------------------------------------------------------------------------------- */

static status add_u32(buf *b, uint32_t v, err *e) { return buf_add(b, &v, sizeof v, e); }
static status add_u64(buf *b, uint64_t v, err *e) { return buf_add(b, &v, sizeof v, e); }

static status add_str(buf *b, str s, err *e)
{
    status st = add_u64(b, s.n, e);
    return st == OK ? buf_add(b, s.p, s.n, e) : st;
}

static status put_head(gguf_writer *w, str key, gguf_type type, err *e)
{
    status st = OK;
    char *copy;
    if (w->header_written) FAIL(e, E_INTERNAL, "key \"%.*s\" comes after tensor data", (int)MIN(key.n, 120u), key.p);
    if (key.n == 0 || key.n > GGUF_KEY_MAX) FAIL(e, E_ARG, "cannot write a key with a name of %zu bytes", key.n);
    TRY(remember(w, 'k', key, &copy, e));
    TRY(add_str(&w->keys, key, e));
    TRY(add_u32(&w->keys, (uint32_t)type, e));
    w->key_count++;
out:
    return st;
}

static status put_scalar(gguf_writer *w, const char *key, gguf_type type, const void *v, size_t n, err *e)
{
    status st = put_head(w, str_from(key), type, e);
    return st == OK ? buf_add(&w->keys, v, n, e) : st;
}

static status put_array(gguf_writer *w, str key, gguf_type item, const void *v, uint64_t n, size_t bytes, err *e)
{
    status st = OK;
    TRY(put_head(w, key, GGUF_ARRAY, e));
    TRY(add_u32(&w->keys, (uint32_t)item, e));
    TRY(add_u64(&w->keys, n, e));
    TRY(buf_add(&w->keys, v, bytes, e));
out:
    return st;
}

status gguf_put_u32(gguf_writer *w, const char *key, uint32_t v, err *e) { return put_scalar(w, key, GGUF_U32, &v, sizeof v, e); }
status gguf_put_i32(gguf_writer *w, const char *key, int32_t v, err *e) { return put_scalar(w, key, GGUF_I32, &v, sizeof v, e); }
status gguf_put_f32(gguf_writer *w, const char *key, float v, err *e) { return put_scalar(w, key, GGUF_F32, &v, sizeof v, e); }

status gguf_put_bool(gguf_writer *w, const char *key, bool v, err *e)
{
    uint8_t byte = v;
    return put_scalar(w, key, GGUF_BOOL, &byte, 1, e);
}

status gguf_put_str(gguf_writer *w, const char *key, str v, err *e)
{
    status st = put_head(w, str_from(key), GGUF_STRING, e);
    return st == OK ? add_str(&w->keys, v, e) : st;
}

status gguf_put_i32s(gguf_writer *w, const char *key, const int32_t *v, uint64_t n, err *e)
{
    return put_array(w, str_from(key), GGUF_I32, v, n, (size_t)n * sizeof *v, e);
}

status gguf_put_f32s(gguf_writer *w, const char *key, const float *v, uint64_t n, err *e)
{
    return put_array(w, str_from(key), GGUF_F32, v, n, (size_t)n * sizeof *v, e);
}

status gguf_put_bools(gguf_writer *w, const char *key, const bool *v, uint64_t n, err *e)
{
    status st = put_array(w, str_from(key), GGUF_BOOL, NULL, n, 0, e);
    for (uint64_t i = 0; st == OK && i < n; i++) {
        uint8_t byte = v[i];
        st = buf_add(&w->keys, &byte, 1, e);
    }
    return st;
}

status gguf_put_strs(gguf_writer *w, const char *key, const str *v, uint64_t n, err *e)
{
    status st = put_array(w, str_from(key), GGUF_STRING, NULL, n, 0, e);
    for (uint64_t i = 0; st == OK && i < n; i++) st = add_str(&w->keys, v[i], e);
    return st;
}

static status sum_bytes(void *user, uint64_t i, str s, err *e)
{
    (void)i;
    (void)e;
    *(size_t *)user += 8 + s.n;
    return OK;
}

status gguf_put_value(gguf_writer *w, const gguf_value *v, err *e)
{
    status st = OK;
    size_t bytes = gguf_type_bytes(v->item) * (size_t)v->count;
    if (v->item == GGUF_STRING) TRY(gguf_each_str(v, sum_bytes, &bytes, e));
    if (v->type == GGUF_ARRAY) {
        TRY(put_array(w, v->key, v->item, v->data, v->count, bytes, e));
    } else {
        TRY(put_head(w, v->key, v->type, e));
        TRY(buf_add(&w->keys, v->data, bytes, e));
    }
out:
    return st;
}

/* ---- tensors ---------------------------------------------------------------------------------- */

static status tensor_bytes(const char *name, dtype type, int n_dims, const int64_t *ne, size_t *out, err *e)
{
    const dtype_info *d = dtype_of(type);
    int64_t bytes;
    if (!d) return err_set(e, E_ARG, "cannot write tensor \"%s\"\nthere is no type %d", name, (int)type);
    if (n_dims < 1 || n_dims > 4 || ne[0] < 1 || ne[0] % d->block)
        return err_set(e, E_ARG, "cannot write tensor \"%s\" as %s\nits rows must be a multiple of %d", name, d->name, d->block);
    bool fits = mul_i64(ne[0] / d->block, d->bytes, &bytes);
    for (int i = 1; i < n_dims; i++) fits = fits && ne[i] > 0 && mul_i64(bytes, ne[i], &bytes);
    if (!fits || bytes > INT64_MAX / 2) return err_set(e, E_ARG, "cannot write tensor \"%s\"\nits size is impossible", name);
    *out = (size_t)bytes;
    return OK;
}

static status grow_tensors(gguf_writer *w, err *e)
{
    if (w->tensor_count < w->tensor_cap) return OK;
    pending *more = mem_resize(w->tensors, (w->tensor_cap + 64) * 2 * sizeof *more, MEM_IO);
    if (!more) return err_set(e, E_NOMEM, "could not write the file\nout of memory");
    w->tensors = more;
    w->tensor_cap = (w->tensor_cap + 64) * 2;
    return OK;
}

status gguf_put_tensor(gguf_writer *w, const char *name, dtype type, int n_dims, const int64_t *ne, err *e)
{
    status st = OK;
    pending t = { 0 };
    if (w->header_written) FAIL(e, E_INTERNAL, "tensor \"%s\" is declared after tensor data", name);
    if (!name[0] || strlen(name) > GGUF_NAME_MAX) FAIL(e, E_ARG, "cannot write a tensor with a name of %zu bytes", strlen(name));
    TRY(tensor_bytes(name, type, n_dims, ne, &t.bytes, e));
    TRY(grow_tensors(w, e));
    TRY(remember(w, 't', str_from(name), &t.name, e));
    TRY(add_str(&w->directory, str_from(name), e));
    TRY(add_u32(&w->directory, (uint32_t)n_dims, e));
    for (int i = 0; i < n_dims; i++) TRY(add_u64(&w->directory, (uint64_t)ne[i], e));
    TRY(add_u32(&w->directory, (uint32_t)type, e));
    TRY(add_u64(&w->directory, w->offset, e));
    w->tensors[w->tensor_count++] = t;
    w->offset += align_up(t.bytes, GGUF_ALIGNMENT);
out:
    return st;
}

/* Zeros up to the next multiple of the alignment. */
static status pad(gguf_writer *w, err *e)
{
    static const uint8_t zeros[GGUF_ALIGNMENT];
    return file_out_write(&w->file, zeros, (size_t)(-w->file.written & (GGUF_ALIGNMENT - 1)), e);
}

static status write_header(gguf_writer *w, err *e)
{
    status st = OK;
    uint8_t head[24] = "GGUF";
    if (w->header_written) goto out;
    store_u32(head + 4, 3);
    store_u64(head + 8, w->tensor_count);
    store_u64(head + 16, w->key_count);
    TRY(file_out_write(&w->file, head, sizeof head, e));
    TRY(file_out_write(&w->file, buf_text(&w->keys), w->keys.len, e));
    TRY(file_out_write(&w->file, buf_text(&w->directory), w->directory.len, e));
    TRY(pad(w, e));
    w->header_written = true;
out:
    return st;
}

status gguf_write_data(gguf_writer *w, const void *p, size_t n, err *e)
{
    status st = OK;
    TRY(write_header(w, e));
    if (w->current == w->tensor_count) FAIL(e, E_INTERNAL, "data after the last tensor");
    const pending *t = &w->tensors[w->current];
    if (n > t->bytes - w->current_done) FAIL(e, E_INTERNAL, "too much data for tensor \"%s\"", t->name);
    TRY(file_out_write(&w->file, p, n, e));
    w->current_done += n;
    if (w->current_done < t->bytes) goto out;
    TRY(pad(w, e));
    w->current++;
    w->current_done = 0;
out:
    return st;
}

status gguf_writer_end(gguf_writer *w, err *e)
{
    status st = OK;
    TRY(write_header(w, e));
    if (w->current != w->tensor_count) FAIL(e, E_INTERNAL, "data of tensor \"%s\" is missing", w->tensors[w->current].name);
    TRY(file_out_commit(&w->file, e));
out:
    return st;
}
