#include "serve/responses_store.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

typedef struct entry { uint64_t scope; stored_response r; } entry;

/* Oldest first.  by_id: ids of items -> the items, each scope's apart. */
struct responses_store {
    entry all[RESPONSES_STORE_MAX];
    size_t count, bytes;
    json_t *by_id;
};

status responses_store_new(responses_store **out, err *e)
{
    responses_store *s = mem_alloc(sizeof *s, MEM_IO);
    if (!s || !(s->by_id = json_object())) {
        mem_free(s);
        return err_set(e, E_NOMEM, "could not set up the server\nout of memory");
    }
    *out = s;
    return OK;
}

/* ---- items by id ------------------------------------------------------------------------------------------- */

static bool key_of(char key[160], uint64_t scope, const char *id)
{
    return id && strlen(id) < 128 && snprintf(key, 160, "%016llx%s", (unsigned long long)scope, id) > 0;
}

static void note_items(responses_store *s, uint64_t scope, const json_t *items, bool add)
{
    char key[160];
    size_t i;
    json_t *item;
    json_array_foreach(items, i, item) {
        if (!key_of(key, scope, json_string_value(json_object_get(item, "id")))) continue;
        if (add) json_object_set(s->by_id, key, item);
        else if (json_object_get(s->by_id, key) == item) json_object_del(s->by_id, key);      /* a newer one of this id stays */
    }
}

json_t *responses_store_item(const responses_store *s, uint64_t scope, const char *id)
{
    char key[160];
    return key_of(key, scope, id) ? json_object_get(s->by_id, key) : NULL;
}

/* ---- responses --------------------------------------------------------------------------------------------- */

static void drop(responses_store *s, size_t at)
{
    entry x = s->all[at];
    note_items(s, x.scope, x.r.input, false);
    note_items(s, x.scope, json_object_get(x.r.response, "output"), false);
    s->bytes -= x.r.bytes;
    json_decref(x.r.response);
    json_decref(x.r.input);
    json_decref(x.r.items);
    memmove(&s->all[at], &s->all[at + 1], (--s->count - at) * sizeof *s->all);
}

void responses_store_free(responses_store *s)
{
    if (!s) return;
    while (s->count) drop(s, s->count - 1);
    json_decref(s->by_id);
    mem_free(s);
}

void responses_store_put(responses_store *s, uint64_t scope, const stored_response *r)
{
    size_t bytes = json_dumpb(r->response, NULL, 0, JSON_COMPACT) + json_dumpb(r->items, NULL, 0, JSON_COMPACT) + json_dumpb(r->input, NULL, 0, JSON_COMPACT);
    if (bytes > RESPONSES_STORE_BYTES_MAX) return;
    while (s->count == RESPONSES_STORE_MAX || s->bytes + bytes > RESPONSES_STORE_BYTES_MAX) drop(s, 0);
    s->all[s->count++] = (entry){ scope, { json_incref(r->response), json_incref(r->input), json_incref(r->items), bytes } };
    s->bytes += bytes;
    note_items(s, scope, r->input, true);
    note_items(s, scope, json_object_get(r->response, "output"), true);
}

static size_t find(const responses_store *s, uint64_t scope, const char *id)
{
    for (size_t i = s->count; i-- > 0;) {
        const char *own = json_string_value(json_object_get(s->all[i].r.response, "id"));
        if (s->all[i].scope == scope && own && strcmp(own, id) == 0) return i;
    }
    return s->count;
}

const stored_response *responses_store_find(const responses_store *s, uint64_t scope, const char *id)
{
    size_t i = find(s, scope, id);
    return i < s->count ? &s->all[i].r : NULL;
}

bool responses_store_delete(responses_store *s, uint64_t scope, const char *id)
{
    size_t i = find(s, scope, id);
    if (i == s->count) return false;
    drop(s, i);
    return true;
}

size_t responses_store_count(const responses_store *s, size_t *bytes)
{
    *bytes = s->bytes;
    return s->count;
}
