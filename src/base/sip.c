#include "base/sip.h"

#include "base/bits.h"

static uint64_t rotate(uint64_t x, int by) { return x << by | x >> (64 - by); }

static void mix(uint64_t v[4])
{
    v[0] += v[1]; v[1] = rotate(v[1], 13) ^ v[0]; v[0] = rotate(v[0], 32);
    v[2] += v[3]; v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3]; v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1]; v[1] = rotate(v[1], 17) ^ v[2]; v[2] = rotate(v[2], 32);
}

static void take(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    mix(v);
    mix(v);
    v[0] ^= word;
}

void sip_begin(sip *s, const sip_key *key)
{
    *s = (sip){ .v = { key->k[0] ^ 0x736f6d6570736575u, key->k[1] ^ 0x646f72616e646f6du, key->k[0] ^ 0x6c7967656e657261u, key->k[1] ^ 0x7465646279746573u } };
}

void sip_add(sip *s, const void *data, size_t n)
{
    const uint8_t *p = data;
    size_t have = s->n % 8;
    s->n += n;
    if (have) {
        size_t more = MIN(8 - have, n);
        if (more) memcpy(s->tail + have, p, more);
        if (have + more < 8) return;
        take(s->v, load_u64(s->tail));
        p += more;
        n -= more;
    }
    for (; n >= 8; n -= 8, p += 8) take(s->v, load_u64(p));
    if (n) memcpy(s->tail, p, n);
}

uint64_t sip_end(sip s)
{
    uint64_t last = 0;
    memcpy(&last, s.tail, s.n % 8);
    take(s.v, last | s.n << 56);
    s.v[2] ^= 0xff;
    for (int i = 0; i < 4; i++) mix(s.v);
    return s.v[0] ^ s.v[1] ^ s.v[2] ^ s.v[3];
}

uint64_t sip_hash(const sip_key *key, const void *p, size_t n)
{
    sip s;
    sip_begin(&s, key);
    sip_add(&s, p, n);
    return sip_end(s);
}
