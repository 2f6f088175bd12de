/* Layout, little-endian: magic, u64 bytes of the head, the head, the parts in the order in which "parts" of the head lists them, u64
 * checksum of all that. */
#include "tune/checkpoint.h"

#include <string.h>

#include "base/bits.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/sip.h"
#include "os/file.h"

enum { HEAD_MAX = 64 << 20 };
static const char MAGIC[16] = "facet tuning 1\n";
/* Against damage, not against forgery: whoever may write the file may run the program. */
static const sip_key KEY = { { 0x66616365742d7475, 0x6e652d73746174ff } };

struct checkpoint {
    file_map map;
    json_t *head;
    char *path;
};

/* ---- writing ----------------------------------------------------------------------------------------- */

typedef struct sink { file_out f; sip sum; } sink;

static status put(sink *s, const void *p, size_t n, err *e)
{
    sip_add(&s->sum, p, n);
    return file_out_write(&s->f, p, n, e);
}

static status head_text(buf *b, const json_t *head, const checkpoint_part *parts, size_t count, err *e)
{
    status st = OK;
    json_t *o = json_copy((json_t *)(uintptr_t)head), *list = json_array();
    for (size_t i = 0; i < count; i++)
        if (parts[i].bytes && json_array_append_new(list, json_pack("{s:s, s:I}", "name", parts[i].name, "bytes", (json_int_t)parts[i].bytes)) != 0)
            FAIL(e, E_NOMEM, "could not save the run\nout of memory");
    if (!o || !list || json_object_set(o, "parts", list) != 0) FAIL(e, E_NOMEM, "could not save the run\nout of memory");
    TRY(json_print(b, o, JSON_COMPACT, e));
out:
    json_decref(list);
    json_decref(o);
    return st;
}

status checkpoint_write(const char *path, const json_t *head, const checkpoint_part *parts, size_t count, err *e)
{
    status st = OK;
    buf text;
    uint8_t number[8];
    sink s = { .f = { .fd = -1 } };
    buf_init(&text, HEAD_MAX);
    sip_begin(&s.sum, &KEY);
    TRY(head_text(&text, head, parts, count, e));
    TRY(file_out_begin(&s.f, path, e));
    store_u64(number, text.len);
    TRY(put(&s, MAGIC, sizeof MAGIC, e));
    TRY(put(&s, number, sizeof number, e));
    TRY(put(&s, text.data, text.len, e));
    for (size_t i = 0; i < count; i++)
        if (parts[i].bytes) TRY(put(&s, parts[i].data, parts[i].bytes, e));
    store_u64(number, sip_end(s.sum));
    TRY(file_out_write(&s.f, number, sizeof number, e));
    TRY(file_out_commit(&s.f, e));
out:
    file_out_abort(&s.f);
    buf_done(&text);
    return st;
}

/* ---- reading ----------------------------------------------------------------------------------------- */

static status damaged(const checkpoint *c, const char *why, err *e)
{
    return err_set(e, E_FORMAT, "cannot go on from \"%s\"\n%s\nStart the run again without --resume.", c->path, why);
}

/* Size that the head and the listed parts ask for; 0 when that cannot be. */
static uint64_t whole_size(const json_t *head, uint64_t head_bytes)
{
    uint64_t n = sizeof MAGIC + 8 + head_bytes + 8;
    const json_t *list = json_object_get(head, "parts");
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_int_t bytes = json_integer_value(json_object_get(json_array_get(list, i), "bytes"));
        if (bytes <= 0 || (uint64_t)bytes > INT64_MAX - n) return 0;
        n += (uint64_t)bytes;
    }
    return n;
}

static status verify(checkpoint *c, err *e)
{
    status st = OK;
    const uint8_t *p = c->map.data;
    size_t n = c->map.size, prefix = sizeof MAGIC + 8;
    if (n < prefix + 8 || memcmp(p, MAGIC, sizeof MAGIC - 3) != 0) return damaged(c, "it is no saved run", e);
    if (memcmp(p, MAGIC, sizeof MAGIC) != 0) return damaged(c, "another version of facet has written it", e);
    if (sip_hash(&KEY, p, n - 8) != load_u64(p + n - 8)) return damaged(c, "it is damaged or cut short: its checksum is another one", e);
    uint64_t head = load_u64(p + sizeof MAGIC);
    if (head > n - prefix - 8) return damaged(c, "its head is longer than the file", e);
    TRY(json_parse(&c->head, (str){ (const char *)p + prefix, (size_t)head }, c->path, false, e));
    if (whole_size(c->head, head) != n) st = damaged(c, "its parts do not fill it", e);
out:
    return st;
}

status checkpoint_open(checkpoint **out, const char *path, err *e)
{
    status st = OK;
    checkpoint *c = mem_alloc(sizeof *c, MEM_IO);
    if (c) c->path = mem_strdup(path, strlen(path), MEM_IO);
    if (!c || !c->path) FAIL(e, E_NOMEM, "could not read \"%s\"\nout of memory", path);
    TRY(file_map_open(&c->map, path, e));
    TRY(verify(c, e));
    *out = c;
    c = NULL;
out:
    checkpoint_close(c);
    return st;
}

void checkpoint_close(checkpoint *c)
{
    if (!c) return;
    file_map_close(&c->map);
    json_decref(c->head);
    mem_free(c->path);
    mem_free(c);
}

const json_t *checkpoint_head(const checkpoint *c) { return c->head; }

/* Where a part lies; NULL when it is not there with that size. */
static const uint8_t *find(const checkpoint *c, const checkpoint_part *part)
{
    const json_t *list = json_object_get(c->head, "parts");
    size_t at = sizeof MAGIC + 8 + (size_t)load_u64(c->map.data + sizeof MAGIC);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *x = json_array_get(list, i);
        size_t bytes = (size_t)json_integer_value(json_object_get(x, "bytes"));
        const char *name = json_string_value(json_object_get(x, "name"));
        if (name && strcmp(name, part->name) == 0) return bytes == part->bytes ? c->map.data + at : NULL;
        at += bytes;
    }
    return NULL;
}

status checkpoint_read(const checkpoint *c, const checkpoint_part *parts, size_t count, err *e)
{
    for (size_t i = 0; i < count; i++)
        if (parts[i].bytes && !find(c, &parts[i]))
            return err_set(e, E_FORMAT, "cannot go on from \"%s\"\nits part \"%s\" is missing or has another size\nGo on with the settings of the run that was saved.", c->path,
                           parts[i].name);
    for (size_t i = 0; i < count; i++)
        if (parts[i].bytes) memcpy(parts[i].data, find(c, &parts[i]), parts[i].bytes);
    return OK;
}
