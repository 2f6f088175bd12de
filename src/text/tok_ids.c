/* A growing list of token ids. */
#include "base/bits.h"
#include "text/tok.h"

void tok_ids_done(tok_ids *ids)
{
    mem_free(ids->data);
    *ids = (tok_ids){ 0 };
}

status tok_ids_add(tok_ids *ids, int32_t id, err *e)
{
    if (ids->len == ids->cap) {
        size_t cap = MAX(ids->cap * 2, (size_t)64);
        int32_t *data = mem_resize(ids->data, cap * sizeof *data, MEM_TEXT);
        if (!data) return err_set(e, E_NOMEM, "could not hold %zu token ids\nout of memory", cap);
        ids->data = data;
        ids->cap = cap;
    }
    ids->data[ids->len++] = id;
    return OK;
}
