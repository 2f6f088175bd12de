/* A Hugging Face folder from a Hugging Face folder: the weights in one safetensors file, everything else as it lay there. */
#include <string.h>

#include "base/bits.h"
#include "os/dir.h"
#include "os/file.h"
#include "quant/merge_int.h"

enum { FILES_MAX = 256, FILE_BYTES_MAX = 256 << 20 };
static const char WEIGHTS[] = "model.safetensors", CONFIG[] = "config.json";

typedef struct folder {
    const gemma *m;
    const char *tmp;             /* where files go */
    const char *type_name;       /* "bfloat16", or NULL: as it was */
    char *names[FILES_MAX + 1];  /* of files that were written, NULL at the end; owned */
    size_t count;
} folder;

/* ---- files beside the weights --------------------------------------------------------------------- */

/* Weights in any form are left behind: they are what changes. */
static bool is_beside(str name)
{
    static const char *const left[] = { ".safetensors", ".index.json", ".gguf", ".bin", ".pt", ".pth", ".h5", ".msgpack", ".onnx" };
    for (size_t i = 0; i < COUNT_OF(left); i++)
        if (str_ends(name, left[i])) return false;
    return !str_starts(name, ".");
}

static status write_file(const folder *f, const char *name, str content, err *e)
{
    status st = OK;
    file_out out = { .fd = -1 };
    char *path = file_join(f->tmp, name);
    if (!path) FAIL(e, E_NOMEM, "could not write \"%s\"\nout of memory", name);
    TRY(file_out_begin(&out, path, e));
    TRY(file_out_write(&out, content.p, content.n, e));
    TRY(file_out_commit(&out, e));
out:
    file_out_abort(&out);
    mem_free(path);
    return st;
}

static status add_name(folder *f, const char *name, err *e)
{
    if (f->count == FILES_MAX) return err_set(e, E_UNSUPPORTED, "cannot copy the folder \"%s\"\nmore than %d files lie beside the weights", f->m->path, (int)FILES_MAX);
    f->names[f->count] = mem_strdup(name, strlen(name), MEM_IO);
    if (!f->names[f->count]) return err_set(e, E_NOMEM, "could not write \"%s\"\nout of memory", name);
    f->count++;
    return OK;
}

/* transformers reads the type of the numbers from here, under its present name or the older one. */
static void set_type(json_t *o, const char *type_name)
{
    static const char *const keys[] = { "dtype", "torch_dtype" };
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        if (json_object_get(o, keys[i])) json_object_set_new(o, keys[i], json_string(type_name));
}

static status write_config(folder *f, err *e)
{
    status st = OK;
    json_t *j = NULL;
    buf text;
    buf_init(&text, FILE_BYTES_MAX);
    TRY(gemma_folder_json(f->m, CONFIG, &j, e));
    set_type(j, f->type_name);
    set_type(json_object_get(j, "text_config"), f->type_name);
    TRY(json_print(&text, j, JSON_INDENT(2), e));
    TRY(write_file(f, CONFIG, (str){ buf_text(&text), text.len }, e));
    TRY(add_name(f, CONFIG, e));
out:
    json_decref(j);
    buf_done(&text);
    return st;
}

static status copy_beside(void *user, const char *name, bool is_dir, err *e)
{
    status st = OK;
    folder *f = user;
    buf content;
    char *path = NULL;
    buf_init(&content, FILE_BYTES_MAX);
    if (is_dir || !is_beside(str_from(name))) goto out;
    if (f->type_name && strcmp(name, CONFIG) == 0) return write_config(f, e);
    path = file_join(f->m->path, name);
    if (!path) FAIL(e, E_NOMEM, "could not read \"%s\"\nout of memory", name);
    if (!file_is_regular(path)) goto out;
    TRY(file_read_all(&content, path, e));
    TRY(write_file(f, name, (str){ buf_text(&content), content.len }, e));
    TRY(add_name(f, name, e));
out:
    mem_free(path);
    buf_done(&content);
    return st;
}

/* ---- weights -------------------------------------------------------------------------------------- */

static st_dtype type_of(dtype t, st_dtype raw)
{
    return t == DTYPE_F32 ? ST_F32 : t == DTYPE_F16 ? ST_F16 : t == DTYPE_BF16 ? ST_BF16 : raw;
}

static status to_safetensors(void *user, const void *p, size_t n, err *e) { return st_write_data(user, p, n, e); }

static status write_weights(folder *f, const quant_list *l, quant_stream *s, quant_note note, void *user, err *e)
{
    status st = OK;
    st_writer *w = NULL;
    char *path = file_join(f->tmp, WEIGHTS);
    if (!path) FAIL(e, E_NOMEM, "could not write \"%s\"\nout of memory", WEIGHTS);
    TRY(st_writer_new(&w, path, e));
    for (size_t i = 0; i < l->count; i++) {
        const st_tensor *t = st_at(f->m->safetensors, i);
        TRY(st_put_tensor(w, l->items[i].name, type_of(l->items[i].to, t->type), t->n_dims, t->shape, e));
    }
    for (size_t i = 0; i < l->count; i++) {
        quant_sum sum;
        TRY(quant_stream_item(s, &l->items[i], to_safetensors, w, &sum, e));
        note(user, &l->items[i], &sum);
    }
    TRY(st_writer_end(w, e));
    TRY(add_name(f, WEIGHTS, e));
out:
    st_writer_free(w);
    mem_free(path);
    return st;
}

/* ---- the folder ----------------------------------------------------------------------------------- */

static status is_anything(void *user, const char *name, bool is_dir, err *e)
{
    (void)name;
    (void)is_dir;
    (void)e;
    *(bool *)user = true;
    return OK;
}

/* Files of an older model beside the new ones would be taken for a part of it, so a folder that is not empty is nobody's place. */
static status check_place(const char *out, err *e)
{
    status st = OK;
    bool full = false;
    if (!file_exists(out)) return OK;
    if (!file_is_dir(out)) FAIL(e, E_ARG, "cannot write the folder \"%s\"\nthere is a file of that name\nGive another name, or one that ends in .gguf.", out);
    TRY(file_list(out, is_anything, &full, e));
    if (full) FAIL(e, E_ARG, "cannot write the folder \"%s\"\nit is there already and not empty\nGive another name, or remove it first.", out);
out:
    return st;
}

status merge_folder_write(const gemma *m, const quant_list *l, const char *out, dtype type, quant_stream *s, quant_note note, void *user, err *e)
{
    status st = OK;
    dir_out d = { 0 };
    folder f = { .m = m, .type_name = type == DTYPE_F32 ? "float32" : type == DTYPE_F16 ? "float16" : type == DTYPE_BF16 ? "bfloat16" : NULL };
    TRY(check_place(out, e));
    TRY(dir_out_begin(&d, out, e));
    f.tmp = d.tmp;
    TRY(file_list(m->path, copy_beside, &f, e));
    TRY(write_weights(&f, l, s, note, user, e));
    TRY(dir_out_commit(&d, (const char *const *)f.names, e));
out:
    dir_out_abort(&d);
    for (size_t i = 0; i < f.count; i++) mem_free(f.names[i]);
    return st;
}
