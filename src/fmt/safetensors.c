#include "fmt/safetensors_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "os/file.h"

enum { HEADER_BYTES_MAX = 100000000, DIMS_MAX = 8, FILES_MAX = 10000 };

static const char CUT_HINT[] = "The file is incomplete or damaged: copy or download it again.";

typedef struct part {
    file_map map;            /* empty when the bytes are the caller's */
    size_t size;
    json_t *header;          /* owns the names */
    st_tensor *tensors;
    uint64_t count;
} part;

struct st_file {
    part *parts;
    int32_t part_count;
    st_tensor *tensors;
    uint64_t count;
    hash_table by_name;
};

static const struct { const char *name; st_dtype type; int bits; } types[] = {
    { "F32", ST_F32, 32 }, { "F16", ST_F16, 16 }, { "BF16", ST_BF16, 16 }, { "BOOL", ST_BOOL, 8 }, { "U8", ST_U8, 8 }, { "I8", ST_I8, 8 },
    { "I16", ST_I16, 16 }, { "U16", ST_U16, 16 }, { "I32", ST_I32, 32 }, { "U32", ST_U32, 32 }, { "I64", ST_I64, 64 }, { "U64", ST_U64, 64 },
    { "F64", ST_F64, 64 }, { "F8_E4M3", ST_F8_E4M3, 8 }, { "F8_E5M2", ST_F8_E5M2, 8 }, { "F8_E8M0", ST_OTHER, 8 }, { "F8_E4M3FNUZ", ST_OTHER, 8 },
    { "F8_E5M2FNUZ", ST_OTHER, 8 }, { "F6_E2M3", ST_OTHER, 6 }, { "F6_E3M2", ST_OTHER, 6 }, { "F4", ST_OTHER, 4 }, { "C64", ST_OTHER, 64 },
};

const char *st_dtype_find(st_dtype type, int *bits)
{
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (types[i].type != type || type == ST_OTHER) continue;
        *bits = types[i].bits;
        return types[i].name;
    }
    return NULL;
}

/* ---- one file --------------------------------------------------------------------------------- */

static status read_type(st_tensor *t, const char *name, int *bits, err *e)
{
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (strcmp(types[i].name, name) != 0) continue;
        t->type = types[i].type;
        strcpy(t->type_name, types[i].name);
        *bits = types[i].bits;
        return OK;
    }
    return err_set(e, E_UNSUPPORTED, "tensor \"%s\" has the unknown type \"%s\"", t->name.p, name);
}

static status read_shape(st_tensor *t, const json_t *shape, int64_t *elements, err *e)
{
    size_t n = json_array_size(shape);
    if (!json_is_array(shape)) return err_set(e, E_FORMAT, "tensor \"%s\" has no \"shape\"", t->name.p);
    if (n > DIMS_MAX) return err_set(e, E_UNSUPPORTED, "tensor \"%s\" has %zu dimensions\nthere are at most %d", t->name.p, n, DIMS_MAX);
    *elements = 1;
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(shape, i);
        int64_t d = json_is_integer(v) ? json_integer_value(v) : -1;
        if (d < 0 || !mul_i64(*elements, d, elements)) return err_set(e, E_FORMAT, "tensor \"%s\" has an impossible shape", t->name.p);
        t->shape[t->n_dims++] = d;
    }
    return OK;
}

static status read_range(st_tensor *t, const json_t *range, const uint8_t *data, size_t size, err *e)
{
    const json_t *b = json_array_get(range, 0), *end = json_array_get(range, 1);
    if (json_array_size(range) != 2 || !json_is_integer(b) || !json_is_integer(end))
        return err_set(e, E_FORMAT, "tensor \"%s\" has no \"data_offsets\"", t->name.p);
    int64_t from = json_integer_value(b), to = json_integer_value(end);
    if (from < 0 || to < from || (uint64_t)to > size)
        return err_set(e, E_FORMAT, "tensor \"%s\" lies outside the file\nit takes bytes %" PRId64 " to %" PRId64 " of %zu\n%s", t->name.p, from, to, size, CUT_HINT);
    t->data = data + from;
    t->bytes = (size_t)(to - from);
    return OK;
}

static status read_tensor(st_tensor *t, const char *name, const json_t *j, const uint8_t *data, size_t size, err *e)
{
    status st = OK;
    int bits = 0;
    int64_t elements = 0, total;
    const char *type;
    *t = (st_tensor){ .name = str_from(name) };
    if (!json_is_object(j)) FAIL(e, E_FORMAT, "tensor \"%s\" is not described by an object", name);
    TRY(json_str_or_null(j, "dtype", name, &type, e));
    TRY(read_type(t, type ? type : "", &bits, e));
    TRY(read_shape(t, json_object_get(j, "shape"), &elements, e));
    TRY(read_range(t, json_object_get(j, "data_offsets"), data, size, e));
    if (!mul_i64(elements, bits, &total) || total % 8 || (uint64_t)total / 8 != t->bytes)
        FAIL(e, E_FORMAT, "tensor \"%s\" has %zu bytes\nits shape and its type %s ask for another number", name, t->bytes, t->type_name);
out:
    return st;
}

static int by_data(const void *a, const void *b)
{
    const st_tensor *x = *(const st_tensor *const *)a, *y = *(const st_tensor *const *)b;
    if (x->data != y->data) return x->data > y->data ? 1 : -1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* The format promises that the tensors fill the data without gap or overlap: anything else is damage. */
static status check_tiling(const part *p, const uint8_t *data, size_t size, err *e)
{
    status st = OK;
    const uint8_t *at = data;
    const st_tensor **order = mem_array((size_t)p->count, sizeof *order, MEM_OTHER);
    if (!order) FAIL(e, E_NOMEM, "could not read %" PRIu64 " tensors\nout of memory", p->count);
    for (uint64_t i = 0; i < p->count; i++) order[i] = &p->tensors[i];
    if (p->count) qsort(order, (size_t)p->count, sizeof *order, by_data);
    for (uint64_t i = 0; i < p->count; at += order[i]->bytes, i++)
        if (order[i]->data != at)
            FAIL(e, E_FORMAT, "the tensors do not fill the file\nthere is a gap or an overlap before \"%s\"\n%s", order[i]->name.p, CUT_HINT);
    if (at != data + size)
        FAIL(e, E_FORMAT, "the tensors do not fill the file\n%zu bytes at its end belong to none\n%s", (size_t)(data + size - at), CUT_HINT);
out:
    mem_free(order);
    return st;
}

static status read_entries(part *p, const uint8_t *data, size_t size, err *e)
{
    status st = OK;
    const char *name;
    json_t *j;
    p->tensors = mem_array(json_object_size(p->header), sizeof *p->tensors, MEM_OTHER);
    if (!p->tensors) FAIL(e, E_NOMEM, "could not read %zu tensors\nout of memory", json_object_size(p->header));
    json_object_foreach(p->header, name, j)
        if (strcmp(name, "__metadata__") != 0) TRY(read_tensor(&p->tensors[p->count++], name, j, data, size, e));
    TRY(check_tiling(p, data, size, e));
out:
    return st;
}

static void part_done(part *p)
{
    mem_free(p->tensors);
    json_decref(p->header);
    file_map_close(&p->map);
    *p = (part){ 0 };
}

static status part_parse(part *out, const uint8_t *data, size_t size, err *e)
{
    status st = OK;
    part p = { .size = size };
    if (size < 8) FAIL(e, E_FORMAT, "this is not a safetensors file\nit has only %zu bytes\n%s", size, CUT_HINT);
    uint64_t n = load_u64(data);
    if (n < 2 || n > HEADER_BYTES_MAX || size < 9 || data[8] != '{')
        FAIL(e, E_FORMAT, "this is not a safetensors file\nit does not begin with the length of a JSON header");
    if (n > size - 8) FAIL(e, E_FORMAT, "the file ends inside its header\n\n%s", CUT_HINT);
    TRY(json_parse(&p.header, (str){ (const char *)data + 8, (size_t)n }, "the header", true, e));
    if (!json_is_object(p.header)) FAIL(e, E_FORMAT, "the header is no JSON object");
    TRY(read_entries(&p, data + 8 + n, size - 8 - (size_t)n, e));
    *out = p;
    p = (part){ 0 };
out:
    part_done(&p);
    return st;
}

static status part_open(part *out, const char *path, err *e)
{
    status st = OK;
    file_map map = { 0 };
    TRY(file_map_open(&map, path, e));
    st = part_parse(out, map.data, map.size, e);
    if (st != OK) {
        err_wrap(e, "%s", path);
        goto out;
    }
    out->map = map;
    map = (file_map){ 0 };
out:
    file_map_close(&map);
    return st;
}

/* ---- one or several files ---------------------------------------------------------------------- */

static status file_new(st_file **out, int64_t parts, err *e)
{
    st_file *s = mem_alloc(sizeof *s, MEM_OTHER);
    part *p = s ? mem_array((size_t)parts, sizeof *p, MEM_OTHER) : NULL;
    if (!p) {
        mem_free(s);
        return err_set(e, E_NOMEM, "could not open the file\nout of memory");
    }
    s->parts = p;
    s->part_count = (int32_t)parts;
    *out = s;
    return OK;
}

/* Puts the tensors of all parts into one table.  files[i] is the name of part i; with a weight_map only the tensors
 * that it puts into that file count. */
static status join(st_file *s, const char *const *files, const json_t *weight_map, err *e)
{
    status st = OK;
    uint64_t all = 0;
    int32_t old;
    for (int32_t i = 0; i < s->part_count; i++) all += s->parts[i].count;
    s->tensors = mem_array((size_t)all, sizeof *s->tensors, MEM_OTHER);
    if (!s->tensors) FAIL(e, E_NOMEM, "could not read %" PRIu64 " tensors\nout of memory", all);
    TRY(hash_init(&s->by_name, (size_t)all, e));
    for (int32_t i = 0; i < s->part_count; i++) {
        for (uint64_t k = 0; k < s->parts[i].count; k++) {
            const st_tensor *t = &s->parts[i].tensors[k];
            const char *file = weight_map ? json_string_value(json_object_get(weight_map, t->name.p)) : NULL;
            if (weight_map && (!file || strcmp(file, files[i]) != 0)) continue;
            TRY(hash_put(&s->by_name, t->name, (int32_t)s->count, &old, e));
            s->tensors[s->count++] = *t;
        }
    }
out:
    return st;
}

static status open_single(st_file **out, const char *path, err *e)
{
    status st = OK;
    st_file *s = NULL;
    TRY(file_new(&s, 1, e));
    TRY(part_open(&s->parts[0], path, e));
    TRY(join(s, NULL, NULL, e));
    *out = s;
    s = NULL;
out:
    st_close(s);
    return st;
}

/* A name from an index may only mean a file of the same folder. */
static bool plain_name(const char *s)
{
    return s && s[0] && s[0] != '.' && !strchr(s, '/') && !strchr(s, '\\');
}

/* The different file names of a weight_map, in order of appearance; files: room for FILES_MAX. */
static status collect_files(const json_t *weight_map, const char **files, int64_t *count, err *e)
{
    status st = OK;
    const char *tensor;
    json_t *j;
    int32_t old;
    hash_table seen = { 0 };
    *count = 0;
    json_object_foreach((json_t *)(uintptr_t)weight_map, tensor, j) {
        const char *file = json_string_value(j);
        if (!plain_name(file)) FAIL(e, E_FORMAT, "tensor \"%s\" is said to be in the file \"%s\"\nonly files of the same folder are allowed", tensor, file ? file : "(no string)");
        TRY(hash_put(&seen, str_from(file), 0, &old, e));
        if (old >= 0) continue;
        if (*count == FILES_MAX) FAIL(e, E_FORMAT, "more than %d files", FILES_MAX);
        files[(*count)++] = file;
    }
    if (*count == 0) FAIL(e, E_FORMAT, "\"weight_map\" names no file");
out:
    hash_done(&seen);
    return st;
}

/* Opens files[which] of the `count` that an index names, in any order: people count them by name. */
static status open_named(part *out, const char *path, const char *const *files, int64_t which, int64_t count, err *e)
{
    err why = { 0 };
    int64_t no = 1;
    for (int64_t i = 0; i < count; i++) no += strcmp(files[i], files[which]) < 0;
    status st = part_open(out, path, &why);
    if (st != E_IO) {
        if (e && st != OK) *e = why;
        return st;
    }
    errno = why.os_errno;
    return err_set(e, E_IO, "could not open \"%s\"\nit is part %" PRId64 " of %" PRId64 " of the model, as its index says: %s\nPut all parts into the folder, with their original names.",
                   path, no, count, why.why);
}

static status open_parts(st_file **out, const char *dir, const json_t *weight_map, err *e)
{
    status st = OK;
    st_file *s = NULL;
    char *path = NULL;
    const char *tensor;
    json_t *j;
    int64_t count;
    const char **files = mem_array(FILES_MAX, sizeof *files, MEM_OTHER);
    if (!files) FAIL(e, E_NOMEM, "could not open \"%s\"\nout of memory", dir);
    TRY(collect_files(weight_map, files, &count, e));
    TRY(file_new(&s, count, e));
    for (int64_t i = 0; i < count; i++) {
        path = file_join(dir, files[i]);
        if (!path) FAIL(e, E_NOMEM, "could not open \"%s\"\nout of memory", dir);
        TRY(open_named(&s->parts[i], path, files, i, count, e));
        mem_free(path);
        path = NULL;
    }
    TRY(join(s, files, weight_map, e));
    json_object_foreach((json_t *)(uintptr_t)weight_map, tensor, j)
        if (!st_find(s, str_from(tensor))) FAIL(e, E_FORMAT, "tensor \"%s\" is not in \"%s\"\nthe index says that it is\n%s", tensor, json_string_value(j), CUT_HINT);
    *out = s;
    s = NULL;
out:
    mem_free(path);
    mem_free(files);
    st_close(s);
    return st;
}

static status open_index(st_file **out, const char *dir, const char *index, err *e)
{
    status st = OK;
    json_t *j = NULL;
    buf text;
    buf_init(&text, HEADER_BYTES_MAX);
    TRY(file_read_all(&text, index, e));
    TRY(json_parse(&j, (str){ buf_text(&text), text.len }, index, true, e));
    const json_t *map = json_object_get(j, "weight_map");
    if (!json_is_object(map)) FAIL(e, E_FORMAT, "%s: \"weight_map\" is missing", index);
    st = open_parts(out, dir, map, e);
    if (st == E_FORMAT) err_wrap(e, "%s", index);
out:
    json_decref(j);
    buf_done(&text);
    return st;
}

status st_open(st_file **out, const char *path, err *e) { return open_single(out, path, e); }

status st_open_dir(st_file **out, const char *dir, err *e)
{
    status st = OK;
    char *single = file_join(dir, "model.safetensors"), *index = file_join(dir, "model.safetensors.index.json");
    if (!single || !index) FAIL(e, E_NOMEM, "could not open \"%s\"\nout of memory", dir);
    if (file_exists(single)) TRY(open_single(out, single, e));
    else if (file_exists(index)) TRY(open_index(out, dir, index, e));
    else FAIL(e, E_IO, "could not find weights in \"%s\"\nit has neither model.safetensors nor model.safetensors.index.json\nGive a GGUF file, or a folder as Hugging Face publishes it.", dir);
out:
    mem_free(single);
    mem_free(index);
    return st;
}

status st_open_memory(st_file **out, const void *p, size_t n, err *e)
{
    status st = OK;
    st_file *s = NULL;
    TRY(file_new(&s, 1, e));
    TRY(part_parse(&s->parts[0], p, n, e));
    TRY(join(s, NULL, NULL, e));
    *out = s;
    s = NULL;
out:
    st_close(s);
    return st;
}

void st_close(st_file *s)
{
    if (!s) return;
    hash_done(&s->by_name);
    mem_free(s->tensors);
    for (int32_t i = 0; i < s->part_count; i++) part_done(&s->parts[i]);
    mem_free(s->parts);
    mem_free(s);
}

uint64_t st_count(const st_file *s) { return s->count; }
const st_tensor *st_at(const st_file *s, uint64_t i) { return &s->tensors[i]; }

const st_tensor *st_find(const st_file *s, str name)
{
    int32_t i = hash_find(&s->by_name, name);
    return i < 0 ? NULL : &s->tensors[i];
}

uint64_t st_file_bytes(const st_file *s)
{
    uint64_t n = 0;
    for (int32_t i = 0; i < s->part_count; i++) n += s->parts[i].size;
    return n;
}

bool st_has_file(const st_file *s, const char *path)
{
    for (int32_t i = 0; i < s->part_count; i++)
        if (file_map_is(&s->parts[i].map, path)) return true;
    return false;
}

uint64_t st_file_changed(const st_file *s)
{
    uint64_t h = 0;
    for (int32_t i = 0; i < s->part_count; i++) h = hash_bytes(&s->parts[i].map.changed, sizeof s->parts[i].map.changed, h);
    return h;
}
