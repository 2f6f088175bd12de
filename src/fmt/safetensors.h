/* safetensors (file-formats section 6.1): one file, or a folder with model.safetensors(.index.json). */
#ifndef FC_FMT_SAFETENSORS_H
#define FC_FMT_SAFETENSORS_H

#include "base/err.h"
#include "base/str.h"

typedef enum st_dtype { ST_BOOL, ST_U8, ST_I8, ST_I16, ST_U16, ST_F16, ST_BF16, ST_I32, ST_U32, ST_F32, ST_I64, ST_U64, ST_F64,
                        ST_F8_E4M3, ST_F8_E5M2, ST_OTHER } st_dtype;

typedef struct st_tensor {
    str name;
    st_dtype type;
    char type_name[16];
    int n_dims;
    int64_t shape[8];        /* row-major, as PyTorch: the last is contiguous */
    const uint8_t *data;     /* maybe unaligned */
    size_t bytes;
} st_tensor;

typedef struct st_file st_file;
status st_open(st_file **out, const char *path, err *e);     /* a .safetensors file */
status st_open_dir(st_file **out, const char *dir, err *e);  /* single or sharded */
status st_open_memory(st_file **out, const void *p, size_t n, err *e);
void   st_close(st_file *s);
uint64_t st_count(const st_file *s);
const st_tensor *st_at(const st_file *s, uint64_t i);
const st_tensor *st_find(const st_file *s, str name);        /* NULL when absent */
uint64_t st_file_bytes(const st_file *s);
bool     st_has_file(const st_file *s, const char *path);      /* path is one of its files, under whatever name */
uint64_t st_file_changed(const st_file *s);     /* from the times of their last writing: another number when one was written to or replaced */

/* ---- writing (st_write.c): declare tensors, then give the data in the same order ---------- */

typedef struct st_writer st_writer;
status st_writer_new(st_writer **out, const char *path, err *e);
void   st_writer_free(st_writer *w);           /* without st_writer_end: the file is not created */
/* Each name once (E_ARG); type: any but ST_OTHER; shape as in st_tensor. */
status st_put_tensor(st_writer *w, const char *name, st_dtype type, int n_dims, const int64_t *shape, err *e);
/* The data of the next declared tensor, whole or in pieces. */
status st_write_data(st_writer *w, const void *p, size_t n, err *e);
status st_writer_end(st_writer *w, err *e);    /* every byte must have come: flushes and renames; free as well */

#endif
