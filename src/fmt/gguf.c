#include "fmt/gguf.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/bits.h"
#include "base/hash.h"
#include "base/mem.h"
#include "fmt/gguf_int.h"

struct gguf_file {
    gguf_part *parts;        /* the shards in order; keys are taken from the first */
    int32_t part_count;
    gguf_tensor *tensors;    /* of all parts, in order */
    uint64_t tensor_count;
    hash_table values_by_key, tensors_by_name;
};

enum { SHARDS_MAX = 1000 };

/* ---- sharded sets: <prefix>-00001-of-0000N.gguf --------------------------------------------- */

enum { SUFFIX_BYTES = sizeof "-00001-of-00002.gguf" - 1 };

/* Whether path is named as shard `no` (from 0) of `count`. */
static bool shard_named(str path, int64_t no, int64_t count)
{
    char suffix[64];
    snprintf(suffix, sizeof suffix, "-%05" PRId64 "-of-%05" PRId64 ".gguf", no + 1, count);
    return str_ends(path, suffix);
}

/* The name of shard `no`, made from the name of another one: never from what a file says.  Owned: mem_free. */
static char *shard_path(str path, int64_t no, int64_t count)
{
    char suffix[64];
    snprintf(suffix, sizeof suffix, "-%05" PRId64 "-of-%05" PRId64 ".gguf", no + 1, count);
    char *p = mem_strdup(path.p, path.n, MEM_OTHER);
    if (p) memcpy(p + path.n - SUFFIX_BYTES, suffix, SUFFIX_BYTES);
    return p;
}

static status open_part(gguf_part *out, const char *path, err *e)
{
    status st = OK;
    file_map map = { 0 };
    TRY(file_map_open(&map, path, e));
    st = gguf_parse(out, map.data, map.size, e);
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

static const gguf_value *part_find(const gguf_part *p, const char *key)
{
    for (uint64_t i = 0; i < p->value_count; i++)
        if (str_is(p->values[i].key, key)) return &p->values[i];
    return NULL;
}

/* An integer key of one part; fallback when it is absent or none. */
static int64_t part_i64(const gguf_part *p, const char *key, int64_t fallback)
{
    const gguf_value *v = part_find(p, key);
    int64_t n;
    return v && v->type != GGUF_ARRAY && gguf_item_i64(v, 0, &n, NULL) == OK ? n : fallback;
}

/* Opens shard `no` of `count`, which another shard has promised. */
static status open_shard(gguf_part *out, const char *path, int64_t no, int64_t count, err *e)
{
    err why = { 0 };
    status st = open_part(out, path, &why);
    if (st != E_IO) {
        if (e && st != OK) *e = why;
        return st;
    }
    errno = why.os_errno;
    return err_set(e, E_IO, "could not open \"%s\"\nit is part %" PRId64 " of %" PRId64 " of the model: %s\nPut all parts into one folder, with their original names.",
                   path, no + 1, count, why.why);
}

/* Opens every shard of the set that `first` (opened from path) belongs to, first included. */
static status open_shards(gguf_file *g, str path, int64_t no, int64_t count, err *e)
{
    status st = OK;
    char *name = NULL;
    if (count < 1 || count > SHARDS_MAX || no < 0 || no >= count)
        FAIL(e, E_FORMAT, "%s: the keys \"split.no\" (%" PRId64 ") and \"split.count\" (%" PRId64 ") are impossible", path.p, no, count);
    if (!shard_named(path, no, count))
        FAIL(e, E_ARG, "cannot find the other parts of \"%s\"\nit is part %" PRId64 " of %" PRId64 ", but its name does not end in -%05" PRId64 "-of-%05" PRId64 ".gguf\n"
             "Give all parts their original names.", path.p, no + 1, count, no + 1, count);
    gguf_part *parts = mem_array((size_t)count, sizeof *parts, MEM_OTHER);
    if (!parts) FAIL(e, E_NOMEM, "could not open \"%s\"\nout of memory", path.p);
    parts[no] = g->parts[0];
    mem_free(g->parts);
    g->parts = parts;
    g->part_count = (int32_t)count;
    for (int64_t i = 0; i < count; i++) {
        name = shard_path(path, i, count);
        if (!name) FAIL(e, E_NOMEM, "could not open \"%s\"\nout of memory", path.p);
        if (i != no) TRY(open_shard(&parts[i], name, i, count, e));
        if (part_i64(&parts[i], "split.no", -1) != i || part_i64(&parts[i], "split.count", -1) != count)
            FAIL(e, E_FORMAT, "\"%s\" is not part %" PRId64 " of %" PRId64 "\nits keys \"split.no\" and \"split.count\" say otherwise", name, i + 1, count);
        mem_free(name);
        name = NULL;
    }
out:
    mem_free(name);
    return st;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static status join_tensors(gguf_file *g, err *e)
{
    status st = OK;
    int32_t old;
    for (int32_t i = 0; i < g->part_count; i++) g->tensor_count += g->parts[i].tensor_count;
    if (g->tensor_count > GGUF_COUNT_MAX) FAIL(e, E_FORMAT, "the parts have %" PRIu64 " tensors in all\nat most %d are possible", g->tensor_count, GGUF_COUNT_MAX);
    g->tensors = mem_array((size_t)g->tensor_count, sizeof *g->tensors, MEM_OTHER);
    if (!g->tensors) FAIL(e, E_NOMEM, "could not read %" PRIu64 " tensors\nout of memory", g->tensor_count);
    gguf_tensor *to = g->tensors;
    for (int32_t i = 0; i < g->part_count; i++) {
        if (g->parts[i].tensor_count) memcpy(to, g->parts[i].tensors, (size_t)g->parts[i].tensor_count * sizeof *to);
        to += g->parts[i].tensor_count;
    }
    TRY(hash_init(&g->tensors_by_name, (size_t)g->tensor_count, e));
    for (uint64_t i = 0; i < g->tensor_count; i++) {
        TRY(hash_put(&g->tensors_by_name, g->tensors[i].name, (int32_t)i, &old, e));
        if (old >= 0) FAIL(e, E_FORMAT, "tensor \"%.*s\" is there twice", (int)g->tensors[i].name.n, g->tensors[i].name.p);
    }
out:
    return st;
}

static status index_file(gguf_file *g, err *e)
{
    status st = OK;
    const gguf_part *first = &g->parts[0];
    TRY(hash_init(&g->values_by_key, (size_t)first->value_count, e));
    for (uint64_t i = 0; i < first->value_count; i++) TRY(hash_put(&g->values_by_key, first->values[i].key, (int32_t)i, NULL, e));
    TRY(join_tensors(g, e));
    int64_t promised = part_i64(first, "split.tensors.count", -1);
    if (g->part_count > 1 && promised >= 0 && (uint64_t)promised != g->tensor_count)
        FAIL(e, E_FORMAT, "the parts have %" PRIu64 " tensors in all\nthe key \"split.tensors.count\" says %" PRId64, g->tensor_count, promised);
out:
    return st;
}

static status new_file(gguf_file **out, err *e)
{
    gguf_file *g = mem_alloc(sizeof *g, MEM_OTHER);
    gguf_part *p = g ? mem_alloc(sizeof *p, MEM_OTHER) : NULL;
    if (!p) {
        mem_free(g);
        return err_set(e, E_NOMEM, "could not open the file\nout of memory");
    }
    g->parts = p;
    g->part_count = 1;
    *out = g;
    return OK;
}

status gguf_open(gguf_file **out, const char *path, err *e)
{
    status st = OK;
    gguf_file *g = NULL;
    TRY(new_file(&g, e));
    TRY(open_part(&g->parts[0], path, e));
    int64_t count = part_i64(&g->parts[0], "split.count", 1);
    if (count != 1) TRY(open_shards(g, str_from(path), part_i64(&g->parts[0], "split.no", -1), count, e));
    st = index_file(g, e);
    if (st != OK) {
        err_wrap(e, "%s", path);
        goto out;
    }
    *out = g;
    g = NULL;
out:
    gguf_close(g);
    return st;
}

status gguf_open_memory(gguf_file **out, const void *p, size_t n, err *e)
{
    status st = OK;
    gguf_file *g = NULL;
    TRY(new_file(&g, e));
    TRY(gguf_parse(&g->parts[0], p, n, e));
    TRY(index_file(g, e));
    *out = g;
    g = NULL;
out:
    gguf_close(g);
    return st;
}

void gguf_close(gguf_file *g)
{
    if (!g) return;
    hash_done(&g->values_by_key);
    hash_done(&g->tensors_by_name);
    mem_free(g->tensors);
    for (int32_t i = 0; i < g->part_count; i++) gguf_parse_done(&g->parts[i]);
    mem_free(g->parts);
    mem_free(g);
}

uint64_t gguf_value_count(const gguf_file *g) { return g->parts[0].value_count; }
const gguf_value *gguf_value_at(const gguf_file *g, uint64_t i) { return &g->parts[0].values[i]; }

const gguf_value *gguf_find(const gguf_file *g, const char *key)
{
    int32_t i = hash_find(&g->values_by_key, str_from(key));
    return i < 0 ? NULL : &g->parts[0].values[i];
}

uint64_t gguf_tensor_count(const gguf_file *g) { return g->tensor_count; }
const gguf_tensor *gguf_tensor_at(const gguf_file *g, uint64_t i) { return &g->tensors[i]; }

const gguf_tensor *gguf_tensor_find(const gguf_file *g, const char *name)
{
    int32_t i = hash_find(&g->tensors_by_name, str_from(name));
    return i < 0 ? NULL : &g->tensors[i];
}

uint64_t gguf_file_bytes(const gguf_file *g)
{
    uint64_t n = 0;
    for (int32_t i = 0; i < g->part_count; i++) n += g->parts[i].size;
    return n;
}

bool gguf_has_file(const gguf_file *g, const char *path)
{
    for (int32_t i = 0; i < g->part_count; i++)
        if (file_map_is(&g->parts[i].map, path)) return true;
    return false;
}

uint64_t gguf_file_changed(const gguf_file *g)
{
    uint64_t h = 0;
    for (int32_t i = 0; i < g->part_count; i++) h = hash_bytes(&g->parts[i].map.changed, sizeof g->parts[i].map.changed, h);
    return h;
}
