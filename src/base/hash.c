#include "base/hash.h"

#include "base/bits.h"
#include "base/mem.h"

/* 64 x 64 -> 128 bit multiplication folded to 64 bits: mixes both operands fully (after wyhash's idea). */
static uint64_t fold(uint64_t a, uint64_t b)
{
    __extension__ unsigned __int128 m = (__extension__ (unsigned __int128)a) * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static const uint64_t K0 = 0x9E3779B97F4A7C15u, K1 = 0xC2B2AE3D27D4EB4Fu, K2 = 0x165667B19E3779F9u;

uint64_t hash_bytes(const void *data, size_t n, uint64_t seed)
{
    const unsigned char *p = data;
    uint64_t h = seed ^ fold(K0 ^ seed, K1 ^ n);
    for (; n >= 16; n -= 16, p += 16) {
        uint64_t second = load_u64(p + 8) ^ K2;
        h = fold(load_u64(p) ^ K1 ^ h, second ? second : K0);    /* a factor of zero would drop the seed and all that came before */
    }
    uint64_t tail[2] = { 0, 0 };
    if (n) memcpy(tail, p, n);
    h = fold(tail[0] ^ K2 ^ h, tail[1] ^ K0);
    return fold(h ^ K0, K1);
}

/* Half full at most, so that a search always meets an empty slot. */
static size_t slots_for(size_t n)
{
    size_t cap = 16;
    while (cap / 2 < n) cap *= 2;
    return cap;
}

status hash_init(hash_table *t, size_t n, err *e)
{
    *t = (hash_table){ 0 };
    if (n > SIZE_MAX / 8 / sizeof(hash_slot)) return err_set(e, E_NOMEM, "could not make a table of %zu keys\ntoo many", n);
    size_t cap = slots_for(n);
    hash_slot *slots = mem_array(cap, sizeof *slots, MEM_TEXT);
    if (!slots) return err_set(e, E_NOMEM, "could not make a table of %zu keys\nout of memory", n);
    *t = (hash_table){ .slots = slots, .cap = cap };
    return OK;
}

void hash_done(hash_table *t)
{
    mem_free(t->slots);
    *t = (hash_table){ 0 };
}

/* The slot that holds the key, or the empty one where it belongs.  key.p == NULL marks an empty slot. */
static hash_slot *slot_of(const hash_table *t, str key, uint64_t h)
{
    for (size_t i = h & (t->cap - 1);; i = (i + 1) & (t->cap - 1)) {
        hash_slot *s = &t->slots[i];
        if (!s->key.p || (s->hash == h && str_eq(s->key, key))) return s;
    }
}

static status grow(hash_table *t, err *e)
{
    hash_table bigger;
    status st = hash_init(&bigger, t->cap ? t->cap : 8, e);
    if (st != OK) return st;
    for (size_t i = 0; i < t->cap; i++)
        if (t->slots[i].key.p) *slot_of(&bigger, t->slots[i].key, t->slots[i].hash) = t->slots[i];
    bigger.count = t->count;
    hash_done(t);
    *t = bigger;
    return OK;
}

status hash_put(hash_table *t, str key, int32_t value, int32_t *out_old, err *e)
{
    if (!key.p) key.p = "";
    if (t->count + 1 > t->cap / 2) {
        status st = grow(t, e);
        if (st != OK) return st;
    }
    uint64_t h = hash_bytes(key.p, key.n, 0);
    hash_slot *s = slot_of(t, key, h);
    if (out_old) *out_old = s->key.p ? s->value : -1;
    if (s->key.p) return OK;
    *s = (hash_slot){ .key = key, .hash = h, .value = value };
    t->count++;
    return OK;
}

int32_t hash_find(const hash_table *t, str key)
{
    if (!t->cap) return -1;
    if (!key.p) key.p = "";
    const hash_slot *s = slot_of(t, key, hash_bytes(key.p, key.n, 0));
    return s->key.p ? s->value : -1;
}
