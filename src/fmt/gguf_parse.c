#include <inttypes.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/hash.h"
#include "base/mem.h"
#include "fmt/gguf_int.h"

/* The only way to the bytes: nothing is read that `take` has not allowed. */
typedef struct cursor { const uint8_t *data; size_t size, at; } cursor;

static const char CUT_HINT[] = "The file is incomplete or damaged: copy or download it again.";

/* The next n bytes, or NULL when the file ends before. */
static const uint8_t *take(cursor *c, uint64_t n)
{
    if (n > c->size - c->at) return NULL;
    const uint8_t *p = c->data + c->at;
    c->at += (size_t)n;
    return p;
}

static bool take_u32(cursor *c, uint32_t *v)
{
    const uint8_t *p = take(c, 4);
    if (p) *v = load_u32(p);
    return p != NULL;
}

static bool take_u64(cursor *c, uint64_t *v)
{
    const uint8_t *p = take(c, 8);
    if (p) *v = load_u64(p);
    return p != NULL;
}

static bool take_str(cursor *c, str *s)
{
    uint64_t n;
    if (!take_u64(c, &n)) return false;
    const uint8_t *p = take(c, n);
    if (p) *s = (str){ (const char *)p, (size_t)n };
    return p != NULL;
}

size_t gguf_type_bytes(gguf_type t)
{
    static const uint8_t bytes[] = { [GGUF_U8] = 1, [GGUF_I8] = 1, [GGUF_U16] = 2, [GGUF_I16] = 2, [GGUF_U32] = 4, [GGUF_I32] = 4,
                                     [GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8 };
    return (size_t)t < COUNT_OF(bytes) ? bytes[t] : 0;
}

/* Steps over `count` items; strings have to be walked to find the end. */
static bool skip_items(cursor *c, gguf_type type, uint64_t count)
{
    uint64_t size = gguf_type_bytes(type);
    if (size) return count <= (c->size - c->at) / size && take(c, count * size);
    if (count > (c->size - c->at) / 8) return false;
    str s;
    for (uint64_t i = 0; i < count; i++)
        if (!take_str(c, &s)) return false;
    return true;
}

static status read_value(cursor *c, gguf_value *v, uint64_t index, err *e)
{
    status st = OK;
    uint32_t type, item;
    *v = (gguf_value){ .count = 1 };
    if (!take_str(c, &v->key)) FAIL(e, E_FORMAT, "the file ends inside key %" PRIu64 "\n\n%s", index, CUT_HINT);
    if (v->key.n == 0 || v->key.n > GGUF_KEY_MAX) FAIL(e, E_FORMAT, "the name of key %" PRIu64 " has %zu bytes\nit must have 1 to %d", index, v->key.n, GGUF_KEY_MAX);
    int shown = (int)MIN(v->key.n, 80u);
    if (!take_u32(c, &type)) FAIL(e, E_FORMAT, "the file ends inside key \"%.*s\"\n\n%s", shown, v->key.p, CUT_HINT);
    v->type = v->item = (gguf_type)type;
    if (type == GGUF_ARRAY) {
        if (!take_u32(c, &item) || !take_u64(c, &v->count)) FAIL(e, E_FORMAT, "the file ends inside key \"%.*s\"\n\n%s", shown, v->key.p, CUT_HINT);
        if (item == GGUF_ARRAY) FAIL(e, E_UNSUPPORTED, "key \"%.*s\" is an array of arrays", shown, v->key.p);
        v->item = (gguf_type)item;
    }
    if (v->item != GGUF_STRING && !gguf_type_bytes(v->item))
        FAIL(e, E_FORMAT, "key \"%.*s\" has the unknown value type %d\n\n%s", shown, v->key.p, (int)v->item, CUT_HINT);
    v->data = c->data + c->at;
    if (!skip_items(c, v->item, v->count)) FAIL(e, E_FORMAT, "the file ends inside key \"%.*s\"\n\n%s", shown, v->key.p, CUT_HINT);
out:
    return st;
}

static status read_values(gguf_part *g, cursor *c, err *e)
{
    status st = OK;
    hash_table seen = { 0 };
    int32_t old;
    g->values = mem_array((size_t)g->value_count, sizeof *g->values, MEM_OTHER);
    if (!g->values) FAIL(e, E_NOMEM, "could not read %" PRIu64 " keys\nout of memory", g->value_count);
    TRY(hash_init(&seen, (size_t)g->value_count, e));
    for (uint64_t i = 0; i < g->value_count; i++) {
        gguf_value *v = &g->values[i];
        TRY(read_value(c, v, i, e));
        TRY(hash_put(&seen, v->key, (int32_t)i, &old, e));
        if (old >= 0) FAIL(e, E_FORMAT, "key \"%.*s\" is there twice", (int)MIN(v->key.n, 80u), v->key.p);
    }
out:
    hash_done(&seen);
    return st;
}

/* A type that facet has no decoder for, by the name people know it under. */
static const char *missing_type(uint32_t type)
{
    switch (type) {
    case 4: return "Q4_2, which llama.cpp has given up";
    case 5: return "Q4_3, which llama.cpp has given up";
    case 9: return "Q8_1, which is for use inside llama.cpp only";
    case 15: return "Q8_K, which is for use inside llama.cpp only";
    case 31: return "Q4_0_4_4, which llama.cpp has given up";
    case 32: return "Q4_0_4_8, which llama.cpp has given up";
    case 33: return "Q4_0_8_8, which llama.cpp has given up";
    case 36: return "IQ4_NL_4_4, which llama.cpp has given up";
    case 37: return "IQ4_NL_4_8, which llama.cpp has given up";
    case 38: return "IQ4_NL_8_8, which llama.cpp has given up";
    default: return "unknown to this version of facet";
    }
}

/* bytes from type and shape, every product checked. */
static status measure(gguf_tensor *t, uint32_t type, err *e)
{
    int n = (int)t->name.n;
    const dtype_info *d = dtype_find(type);
    if (!d)
        return err_set(e, E_UNSUPPORTED, "cannot read tensor \"%.*s\"\nits type %u is %s\nConvert the model again with a type that facet knows (\"facet inspect --help\").",
                       n, t->name.p, type, missing_type(type));
    t->type = (dtype)type;
    if (t->ne[0] % d->block)
        return err_set(e, E_FORMAT, "tensor \"%.*s\" has rows of %" PRId64 " elements\n%s comes in blocks of %d", n, t->name.p, t->ne[0], d->name, d->block);
    int64_t bytes = t->ne[0] / d->block;
    bool fits = mul_i64(bytes, d->bytes, &bytes);
    for (int i = 1; i < 4; i++) fits = fits && mul_i64(bytes, t->ne[i], &bytes);
    if (!fits) return err_set(e, E_FORMAT, "tensor \"%.*s\" has an impossible size", n, t->name.p);
    t->bytes = (size_t)bytes;
    return OK;
}

static status read_tensor(cursor *c, gguf_tensor *t, uint64_t index, uint64_t *offset, err *e)
{
    status st = OK;
    uint32_t dims, type;
    uint64_t ne;
    *t = (gguf_tensor){ .ne = { 1, 1, 1, 1 } };
    if (!take_str(c, &t->name)) FAIL(e, E_FORMAT, "the file ends inside the directory, at tensor %" PRIu64 "\n\n%s", index, CUT_HINT);
    if (t->name.n == 0 || t->name.n > GGUF_NAME_MAX)
        FAIL(e, E_FORMAT, "the name of tensor %" PRIu64 " has %zu bytes\nit must have 1 to %d", index, t->name.n, GGUF_NAME_MAX);
    int n = (int)t->name.n;
    if (!take_u32(c, &dims)) goto cut;
    if (dims > 4) FAIL(e, E_FORMAT, "tensor \"%.*s\" has %u dimensions\nthere are at most 4", n, t->name.p, dims);
    t->n_dims = (int)dims;
    for (uint32_t i = 0; i < dims; i++) {
        if (!take_u64(c, &ne)) goto cut;
        if (ne == 0 || ne > INT64_MAX) FAIL(e, E_FORMAT, "dimension %u of tensor \"%.*s\" is %" PRId64 "\nit must be at least 1", i, n, t->name.p, (int64_t)ne);
        t->ne[i] = (int64_t)ne;
    }
    if (!take_u32(c, &type) || !take_u64(c, offset)) goto cut;
    TRY(measure(t, type, e));
out:
    return st;
cut:
    return err_set(e, E_FORMAT, "the file ends inside the directory, at tensor \"%.*s\"\n\n%s", n, t->name.p, CUT_HINT);
}

static status read_alignment(const gguf_part *g, uint64_t *alignment, err *e)
{
    *alignment = GGUF_ALIGNMENT;
    for (uint64_t i = 0; i < g->value_count; i++) {
        const gguf_value *v = &g->values[i];
        if (!str_is(v->key, "general.alignment")) continue;
        *alignment = v->type == GGUF_U32 ? load_u32(v->data) : 0;
        if (!is_pow2((size_t)*alignment)) return err_set(e, E_FORMAT, "key \"general.alignment\" must be a power of two (u32)");
    }
    return OK;
}

static int by_data(const void *a, const void *b)
{
    const gguf_tensor *x = *(const gguf_tensor *const *)a, *y = *(const gguf_tensor *const *)b;
    return (x->data > y->data) - (x->data < y->data);
}

/* Two tensors that share bytes are a sign of damage. */
static status check_overlap(const gguf_part *g, err *e)
{
    status st = OK;
    const gguf_tensor **order = mem_array((size_t)g->tensor_count, sizeof *order, MEM_OTHER);
    if (!order) FAIL(e, E_NOMEM, "could not read %" PRIu64 " tensors\nout of memory", g->tensor_count);
    for (uint64_t i = 0; i < g->tensor_count; i++) order[i] = &g->tensors[i];
    qsort(order, (size_t)g->tensor_count, sizeof *order, by_data);
    for (uint64_t i = 1; i < g->tensor_count; i++) {
        const gguf_tensor *a = order[i - 1], *b = order[i];
        if ((size_t)(b->data - a->data) < a->bytes)
            FAIL(e, E_FORMAT, "tensors \"%.*s\" and \"%.*s\" overlap\n\n%s", (int)a->name.n, a->name.p, (int)b->name.n, b->name.p, CUT_HINT);
    }
out:
    mem_free(order);
    return st;
}

/* Turns the offsets into pointers, once the start of the data is known. */
static status place_tensors(gguf_part *g, const cursor *c, const uint64_t *offsets, err *e)
{
    status st = OK;
    uint64_t alignment;
    TRY(read_alignment(g, &alignment, e));
    if (g->tensor_count == 0) goto out;   /* a vocabulary: the padding before the data may be missing too */
    uint64_t start = ((uint64_t)c->at + alignment - 1) & ~(alignment - 1);
    for (uint64_t i = 0; i < g->tensor_count; i++) {
        gguf_tensor *t = &g->tensors[i];
        if (offsets[i] & (alignment - 1))
            FAIL(e, E_FORMAT, "tensor \"%.*s\" starts at offset %" PRIu64 "\nthat is no multiple of the alignment %" PRIu64, (int)t->name.n, t->name.p, offsets[i], alignment);
        if (start > g->size || offsets[i] > g->size - start || t->bytes > g->size - start - offsets[i])
            FAIL(e, E_FORMAT, "tensor \"%.*s\" lies outside the file\nit takes %zu bytes from offset %" PRIu64 " of the data; the file has %zu bytes in all\n%s",
                 (int)t->name.n, t->name.p, t->bytes, offsets[i], g->size, CUT_HINT);
        t->data = g->data + start + offsets[i];
    }
    TRY(check_overlap(g, e));
out:
    return st;
}

static status read_tensors(gguf_part *g, cursor *c, err *e)
{
    status st = OK;
    uint64_t *offsets = mem_array((size_t)g->tensor_count, sizeof *offsets, MEM_OTHER);
    g->tensors = mem_array((size_t)g->tensor_count, sizeof *g->tensors, MEM_OTHER);
    if (!offsets || !g->tensors) FAIL(e, E_NOMEM, "could not read %" PRIu64 " tensors\nout of memory", g->tensor_count);
    for (uint64_t i = 0; i < g->tensor_count; i++) TRY(read_tensor(c, &g->tensors[i], i, &offsets[i], e));
    TRY(place_tensors(g, c, offsets, e));
out:
    mem_free(offsets);
    return st;
}

/* The fixed part.  Counts are compared with what the rest of the file could hold at all, before anything is allocated. */
static status read_header(gguf_part *g, cursor *c, err *e)
{
    enum { VALUE_BYTES_MIN = 13, TENSOR_BYTES_MIN = 25 };
    status st = OK;
    uint32_t version;
    const uint8_t *magic = take(c, 4);
    if (!magic || memcmp(magic, "GGUF", 4) != 0)
        FAIL(e, E_FORMAT, "this is not a GGUF file\nit does not begin with \"GGUF\"\nGive a .gguf file, or a Hugging Face folder with config.json.");
    if (!take_u32(c, &version) || !take_u64(c, &g->tensor_count) || !take_u64(c, &g->value_count))
        FAIL(e, E_FORMAT, "the file ends inside its header\n\n%s", CUT_HINT);
    if (version != 2 && version != 3)
        FAIL(e, E_UNSUPPORTED, "cannot read GGUF version %u\n%s\nConvert the model again: facet reads versions 2 and 3.", (version & 0xFFFF) ? version : version >> 24,
             (version & 0xFFFF) ? "only versions 2 and 3 are known" : "the file is big-endian");
    uint64_t left = c->size - c->at;
    if (g->value_count > MIN(left / VALUE_BYTES_MIN, (uint64_t)GGUF_COUNT_MAX))
        FAIL(e, E_FORMAT, "the header promises %" PRIu64 " keys\nthe file is too small for them\n%s", g->value_count, CUT_HINT);
    if (g->tensor_count > MIN(left / TENSOR_BYTES_MIN, (uint64_t)GGUF_COUNT_MAX))
        FAIL(e, E_FORMAT, "the header promises %" PRIu64 " tensors\nthe file is too small for them\n%s", g->tensor_count, CUT_HINT);
out:
    return st;
}

status gguf_parse(gguf_part *out, const uint8_t *data, size_t size, err *e)
{
    status st = OK;
    gguf_part g = { .data = data, .size = size };
    cursor c = { data, size, 0 };
    TRY(read_header(&g, &c, e));
    TRY(read_values(&g, &c, e));
    TRY(read_tensors(&g, &c, e));
    *out = g;
    g = (gguf_part){ 0 };
out:
    gguf_parse_done(&g);
    return st;
}

void gguf_parse_done(gguf_part *p)
{
    mem_free(p->values);
    mem_free(p->tensors);
    file_map_close(&p->map);
    *p = (gguf_part){ 0 };
}
