/* GGUF files (file-formats section 1): a memory-mapped reader for one file or a sharded set, and a writer.
 *
 * Layout, little-endian: "GGUF", u32 version (2 or 3), i64 tensor count, i64 key count, the keys
 * { string key, u32 type, value }, the tensor directory { string name, u32 dims, i64 ne[], u32 type,
 * u64 offset }, padding to general.alignment, then the data.  Everything is bounds-checked before use:
 * the file is hostile. */
#ifndef FC_FMT_GGUF_H
#define FC_FMT_GGUF_H

#include "base/err.h"
#include "base/str.h"
#include "num/dtype.h"

typedef struct gguf_file gguf_file;

typedef enum gguf_type {
    GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32, GGUF_BOOL, GGUF_STRING, GGUF_ARRAY,
    GGUF_U64, GGUF_I64, GGUF_F64
} gguf_type;

typedef struct gguf_value {
    str key;
    gguf_type type;
    gguf_type item;          /* element type of an array */
    uint64_t count;          /* elements of an array, else 1 */
    const uint8_t *data;     /* the encoded value (for an array: its first element); unaligned */
} gguf_value;

typedef struct gguf_tensor {
    str name;                /* borrowed from the mapping, not terminated */
    dtype type;
    int n_dims;
    int64_t ne[4];           /* ne[0] is contiguous; unused dims are 1 */
    const uint8_t *data;     /* bytes long, inside the mapping */
    size_t bytes;
} gguf_tensor;

/* Opens path (and, when its name is <prefix>-00001-of-0000N.gguf, its siblings). *out owned: gguf_close. */
status gguf_open(gguf_file **out, const char *path, err *e);
/* The same from memory that outlives the result (fuzzing, tests). */
status gguf_open_memory(gguf_file **out, const void *p, size_t n, err *e);
void   gguf_close(gguf_file *g);

uint64_t gguf_value_count(const gguf_file *g);
const gguf_value *gguf_value_at(const gguf_file *g, uint64_t i);
const gguf_value *gguf_find(const gguf_file *g, const char *key);      /* NULL when absent */
uint64_t gguf_tensor_count(const gguf_file *g);
const gguf_tensor *gguf_tensor_at(const gguf_file *g, uint64_t i);
const gguf_tensor *gguf_tensor_find(const gguf_file *g, const char *name);   /* NULL when absent */
uint64_t gguf_file_bytes(const gguf_file *g);                          /* all shards */
bool     gguf_has_file(const gguf_file *g, const char *path);          /* path is one of its files, under whatever name */
uint64_t gguf_file_changed(const gguf_file *g);     /* from the times of their last writing: another number when one was written to or replaced */

/* Typed reading.  Any integer type (and bool) is accepted where it fits; errors name the key. */
status gguf_i64(const gguf_file *g, const char *key, int64_t min, int64_t max, int64_t *out, err *e);       /* missing: E_FORMAT */
status gguf_i64_or(const gguf_file *g, const char *key, int64_t min, int64_t max, int64_t fallback, int64_t *out, err *e);
status gguf_f64_or(const gguf_file *g, const char *key, double fallback, double *out, err *e);
status gguf_bool_or(const gguf_file *g, const char *key, bool fallback, bool *out, err *e);
status gguf_str_or(const gguf_file *g, const char *key, str fallback, str *out, err *e);
/* Element i of an integer/bool/float array (or the scalar itself when v is none). */
status gguf_item_i64(const gguf_value *v, uint64_t i, int64_t *out, err *e);
/* Calls fn for each string of an array of strings, in order. */
typedef status (*gguf_str_fn)(void *user, uint64_t i, str s, err *e);
status gguf_each_str(const gguf_value *v, gguf_str_fn fn, void *user, err *e);

/* ---- writing (gguf_write.c): declare keys and tensors, then give the data in the same order -------- */

typedef struct gguf_writer gguf_writer;
/* Version 3, alignment 32, tensors packed in order: what llama.cpp asks for.  Each key and tensor once (E_ARG). */
status gguf_writer_new(gguf_writer **out, const char *path, err *e);
void   gguf_writer_free(gguf_writer *w);       /* without gguf_writer_end: the file is not created */
status gguf_put_u32(gguf_writer *w, const char *key, uint32_t v, err *e);
status gguf_put_i32(gguf_writer *w, const char *key, int32_t v, err *e);
status gguf_put_f32(gguf_writer *w, const char *key, float v, err *e);
status gguf_put_bool(gguf_writer *w, const char *key, bool v, err *e);
status gguf_put_str(gguf_writer *w, const char *key, str v, err *e);
status gguf_put_i32s(gguf_writer *w, const char *key, const int32_t *v, uint64_t n, err *e);
status gguf_put_f32s(gguf_writer *w, const char *key, const float *v, uint64_t n, err *e);
status gguf_put_bools(gguf_writer *w, const char *key, const bool *v, uint64_t n, err *e);
status gguf_put_strs(gguf_writer *w, const char *key, const str *v, uint64_t n, err *e);
/* Copies a key from another file as it is. */
status gguf_put_value(gguf_writer *w, const gguf_value *v, err *e);
status gguf_put_tensor(gguf_writer *w, const char *name, dtype type, int n_dims, const int64_t *ne, err *e);
/* The data of the next declared tensor, whole or in pieces; exact length is checked. */
status gguf_write_data(gguf_writer *w, const void *p, size_t n, err *e);
status gguf_writer_end(gguf_writer *w, err *e);   /* every tensor must be complete: flushes and renames; free as well */

#endif
