/* The writer: the header is collected in memory and goes out with the first byte of data. */
#include <inttypes.h>

#include "base/bits.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "fmt/safetensors_int.h"
#include "os/file.h"

enum { DIMS_MAX = 8, HEADER_BYTES_MAX = 100000000 };

struct st_writer {
    file_out file;
    json_t *header;          /* in order of declaration, which is the order of the data */
    uint64_t declared;       /* bytes of data that the tensors have */
    uint64_t written;        /* of these */
    bool header_written;
};

status st_writer_new(st_writer **out, const char *path, err *e)
{
    status st = OK;
    st_writer *w = mem_alloc(sizeof *w, MEM_IO);
    if (!w) FAIL(e, E_NOMEM, "could not write \"%s\"\nout of memory", path);
    w->file.fd = -1;
    w->header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    if (!w->header) FAIL(e, E_NOMEM, "could not write \"%s\"\nout of memory", path);
    TRY(file_out_begin(&w->file, path, e));
    *out = w;
    w = NULL;
out:
    st_writer_free(w);
    return st;
}

void st_writer_free(st_writer *w)
{
    if (!w) return;
    file_out_abort(&w->file);
    json_decref(w->header);
    mem_free(w);
}

/* [d, ...]; NULL when out of memory. */
static json_t *shape_json(int n_dims, const int64_t *shape)
{
    json_t *a = json_array();
    for (int i = 0; a && i < n_dims; i++)
        if (json_array_append_new(a, json_integer(shape[i])) != 0) {
            json_decref(a);
            return NULL;
        }
    return a;
}

status st_put_tensor(st_writer *w, const char *name, st_dtype type, int n_dims, const int64_t *shape, err *e)
{
    status st = OK;
    int bits = 0;
    int64_t n = 1, total;
    const char *type_name = st_dtype_find(type, &bits);
    if (w->header_written) FAIL(e, E_INTERNAL, "tensor \"%s\" is declared after tensor data", name);
    if (!type_name || n_dims < 0 || n_dims > DIMS_MAX) FAIL(e, E_ARG, "cannot write tensor \"%s\"\nits type or its %d dimensions are not possible", name, n_dims);
    for (int i = 0; i < n_dims; i++)
        if (shape[i] < 0 || !mul_i64(n, shape[i], &n)) FAIL(e, E_ARG, "cannot write tensor \"%s\"\nits shape is impossible", name);
    if (!mul_i64(n, bits / 8, &total) || (uint64_t)total > INT64_MAX - w->declared) FAIL(e, E_ARG, "cannot write tensor \"%s\"\nits size is impossible", name);
    if (json_object_get(w->header, name)) FAIL(e, E_ARG, "cannot write the tensor \"%s\" twice", name);
    json_t *j = json_pack("{s:s, s:o, s:[I, I]}", "dtype", type_name, "shape", shape_json(n_dims, shape), "data_offsets", (json_int_t)w->declared,
                          (json_int_t)(w->declared + (uint64_t)total));
    if (!j || json_object_set_new(w->header, name, j) != 0) FAIL(e, E_NOMEM, "could not write tensor \"%s\"\nout of memory, or its name is no text", name);
    w->declared += (uint64_t)total;
out:
    return st;
}

/* The length, the header, and spaces so that the data begins at a multiple of 8. */
static status write_header(st_writer *w, err *e)
{
    status st = OK;
    uint8_t head[8];
    buf text;
    buf_init(&text, HEADER_BYTES_MAX);
    if (w->header_written) goto out;
    TRY(json_print(&text, w->header, JSON_COMPACT, e));
    TRY(buf_add(&text, "       ", align_up(text.len, 8) - text.len, e));
    store_u64(head, text.len);
    TRY(file_out_write(&w->file, head, sizeof head, e));
    TRY(file_out_write(&w->file, text.data, text.len, e));
    w->header_written = true;
out:
    buf_done(&text);
    return st;
}

status st_write_data(st_writer *w, const void *p, size_t n, err *e)
{
    status st = OK;
    TRY(write_header(w, e));
    if (n > w->declared - w->written) FAIL(e, E_INTERNAL, "too much data for the tensors that were declared");
    TRY(file_out_write(&w->file, p, n, e));
    w->written += n;
out:
    return st;
}

status st_writer_end(st_writer *w, err *e)
{
    status st = OK;
    TRY(write_header(w, e));
    if (w->written != w->declared)
        FAIL(e, E_INTERNAL, "%" PRIu64 " bytes of data are missing", w->declared - w->written);
    TRY(file_out_commit(&w->file, e));
out:
    return st;
}
