#include "serve/thoughts.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

enum { ID_MAX = 64, CHAINS = 1024 };

typedef struct entry {
    char id[ID_MAX];
    uint64_t scope, hash;
    json_t *text;                /* shared by the calls of one answer; each counts its bytes */
    double when;
    int32_t next;                /* in its chain, -1: the last */
} entry;

/* A ring of entries, the oldest at first, with chains by hash. */
struct thoughts {
    entry ring[THOUGHTS_MAX];
    size_t first, count, bytes;
    int32_t chains[CHAINS];
};

status thoughts_new(thoughts **out, err *e)
{
    thoughts *t = mem_alloc(sizeof *t, MEM_IO);
    if (!t) return err_set(e, E_NOMEM, "could not set up the server\nout of memory");
    for (int i = 0; i < CHAINS; i++) t->chains[i] = -1;
    *out = t;
    return OK;
}

static void drop_oldest(thoughts *t)
{
    entry *x = &t->ring[t->first];
    int32_t at = (int32_t)t->first, *link = &t->chains[x->hash % CHAINS];
    while (*link != at) link = &t->ring[*link].next;
    *link = x->next;
    t->bytes -= json_string_length(x->text);
    json_decref(x->text);
    t->first = (t->first + 1) % THOUGHTS_MAX;
    t->count--;
}

void thoughts_free(thoughts *t)
{
    while (t && t->count) drop_oldest(t);
    mem_free(t);
}

size_t thoughts_count(const thoughts *t, size_t *bytes)
{
    *bytes = t->bytes;
    return t->count;
}

static void drop_old(thoughts *t, double now)
{
    while (t->count && now - t->ring[t->first].when > THOUGHTS_SECONDS) drop_oldest(t);
}

static void add(thoughts *t, uint64_t scope, const char *id, json_t *text, double now)
{
    size_t n = strlen(id);
    if (n == 0 || n >= ID_MAX) return;
    while (t->count == THOUGHTS_MAX || (t->count && t->bytes + json_string_length(text) > THOUGHTS_BYTES_MAX)) drop_oldest(t);
    size_t at = (t->first + t->count++) % THOUGHTS_MAX;
    entry *x = &t->ring[at];
    *x = (entry){ .scope = scope, .hash = hash_bytes(id, n, scope), .text = json_incref(text), .when = now };
    memcpy(x->id, id, n + 1);
    x->next = t->chains[x->hash % CHAINS];       /* the newest of equal ids is found first */
    t->chains[x->hash % CHAINS] = (int32_t)at;
    t->bytes += json_string_length(text);
}

void thoughts_add(thoughts *t, uint64_t scope, const json_t *calls, str text, double now)
{
    size_t i;
    json_t *call, *shared = text.n && text.n <= THOUGHTS_BYTES_MAX ? json_stringn(text.p, text.n) : NULL;
    drop_old(t, now);
    if (shared) json_array_foreach(calls, i, call) {
        const char *id = json_string_value(json_object_get(call, "id"));
        if (id) add(t, scope, id, shared, now);
    }
    json_decref(shared);
}

static json_t *find(const thoughts *t, uint64_t scope, const char *id)
{
    uint64_t hash = hash_bytes(id, strlen(id), scope);
    for (int32_t at = t->chains[hash % CHAINS]; at >= 0; at = t->ring[at].next) {
        const entry *x = &t->ring[at];
        if (x->hash == hash && x->scope == scope && strcmp(x->id, id) == 0) return x->text;
    }
    return NULL;
}

bool thoughts_fill(thoughts *t, uint64_t scope, json_t *messages, double now)
{
    size_t i, k;
    json_t *message, *call;
    drop_old(t, now);
    if (t->count == 0) return true;
    json_array_foreach(messages, i, message) {
        json_t *text = NULL;
        if (json_object_get(message, "reasoning")) continue;
        json_array_foreach(json_object_get(message, "tool_calls"), k, call) {
            const char *id = json_string_value(json_object_get(call, "id"));
            if (id && (text = find(t, scope, id)) != NULL) break;
        }
        if (text && json_object_set(message, "reasoning", text) != 0) return false;
    }
    return true;
}
