#include "text/pattern_store.h"

#include <pthread.h>

#include "base/bits.h"
#include "base/hash.h"
#include "base/mem.h"

typedef struct entry { uint64_t hash, used; size_t key_n; uint32_t state; uint64_t *mask; char key[PATTERN_STORE_KEY_MAX]; } entry;

struct pattern_store {
    pthread_mutex_t lock;        /* guards all below */
    size_t words;
    uint64_t clock;
    entry *entries; size_t count;                    /* [PATTERN_STORE_MASKS] */
    uint64_t *masks;
    uint16_t heads[1024], next[PATTERN_STORE_MASKS]; /* by hash: entry + 1 */
};

pattern_store *pattern_store_new(size_t words)
{
    pattern_store *p = mem_alloc(sizeof *p, MEM_TEXT);
    if (!p) return NULL;
    p->entries = mem_array(PATTERN_STORE_MASKS, sizeof *p->entries, MEM_TEXT);
    p->masks = mem_array(PATTERN_STORE_MASKS * words, sizeof *p->masks, MEM_TEXT);
    p->words = words;
    if (p->entries && p->masks && pthread_mutex_init(&p->lock, NULL) == 0) {
        /* the system gives pages when they are first written: now, not between two tokens */
        memset(p->masks, 0, PATTERN_STORE_MASKS * words * sizeof *p->masks);
        memset(p->entries, 0, PATTERN_STORE_MASKS * sizeof *p->entries);
        return p;
    }
    mem_free(p->entries);
    mem_free(p->masks);
    mem_free(p);
    return NULL;
}

void pattern_store_free(pattern_store *p)
{
    if (!p) return;
    mem_free(p->entries);
    mem_free(p->masks);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}

static uint16_t *head(pattern_store *p, uint64_t hash) { return &p->heads[hash % COUNT_OF(p->heads)]; }

static entry *find(pattern_store *p, uint64_t hash, str key, uint32_t state)
{
    for (uint16_t i = *head(p, hash); i; i = p->next[i - 1]) {
        entry *x = &p->entries[i - 1];
        if (x->hash == hash && x->state == state && str_eq((str){ x->key, x->key_n }, key)) return x;
    }
    return NULL;
}

bool pattern_store_find(pattern_store *p, str key, uint32_t state, uint64_t *bits)
{
    uint64_t hash = hash_bytes(key.p, key.n, state);
    pthread_mutex_lock(&p->lock);
    entry *x = find(p, hash, key, state);
    if (x) x->used = ++p->clock;
    for (size_t i = 0; x && i < p->words; i++) bits[i] |= x->mask[i];
    pthread_mutex_unlock(&p->lock);
    return x != NULL;
}

/* A place for one more: a new one, or the one that was not used for the longest time. */
static entry *place(pattern_store *p)
{
    size_t at = 0;
    if (p->count < PATTERN_STORE_MASKS) {
        p->entries[p->count].mask = p->masks + p->count * p->words;
        return &p->entries[p->count++];
    }
    for (size_t i = 1; i < p->count; i++)
        if (p->entries[i].used < p->entries[at].used) at = i;
    for (uint16_t *i = head(p, p->entries[at].hash); *i; i = &p->next[*i - 1])
        if (*i == at + 1) { *i = p->next[at]; break; }
    return &p->entries[at];
}

void pattern_store_keep(pattern_store *p, str key, uint32_t state, const uint64_t *mask)
{
    uint64_t hash = hash_bytes(key.p, key.n, state);
    if (key.n > PATTERN_STORE_KEY_MAX) return;
    pthread_mutex_lock(&p->lock);
    entry *x = find(p, hash, key, state) ? NULL : place(p);      /* another thread may have been faster */
    if (x) {
        size_t i = (size_t)(x - p->entries);
        x->hash = hash;
        x->used = ++p->clock;
        x->key_n = key.n;
        x->state = state;
        memcpy(x->key, key.p, key.n);
        memcpy(x->mask, mask, p->words * sizeof *mask);
        p->next[i] = *head(p, hash);
        *head(p, hash) = (uint16_t)(i + 1);
    }
    pthread_mutex_unlock(&p->lock);
}
