#include "base/arena.h"

#include <string.h>

#include "base/bits.h"

status arena_take(arena *a, void *out, size_t n, size_t size, err *e)
{
    size_t bytes, end;
    if (!mul_size(n, size, &bytes) || !add_size(bytes, 63, &end) || !add_size(a->used, align_up(bytes, 64), &end))
        return err_set(e, E_NOMEM, "could not lay out memory\nthe size overflows");
    if (a->base && end > a->size)
        return err_set(e, E_NOMEM, "could not lay out memory\nthe block of %zu bytes is full", a->size);
    char *p = a->base ? a->base + a->used : NULL;
    memcpy(out, &p, sizeof p);
    a->used = end;
    a->peak = MAX(a->peak, end);
    return OK;
}

status arena_init(arena *a, size_t size, mem_tag tag, err *e)
{
    void *p = mem_alloc(size, tag);
    if (!p) return err_set(e, E_NOMEM, "could not allocate %zu bytes for %s\nout of memory", size, mem_tag_name(tag));
    *a = (arena){ .base = p, .size = size };
    return OK;
}

void arena_done(arena *a)
{
    mem_free(a->base);
    *a = (arena){ 0 };
}
