/* SipHash-2-4 (Aumasson and Bernstein, 2012): a short keyed hash.  Without the key nobody can make bytes that fit a value, nor tell
 * from a value what was hashed; so it serves as checksum of what others might have written, and as a name that gives nothing away. */
#ifndef FC_BASE_SIP_H
#define FC_BASE_SIP_H

#include <stddef.h>
#include <stdint.h>

typedef struct sip_key { uint64_t k[2]; } sip_key;

/* Bytes that come in pieces; copying the struct keeps what has come so far. */
typedef struct sip {
    uint64_t v[4];
    uint64_t n;                 /* bytes so far */
    uint8_t tail[8];            /* of these, the last n % 8 */
} sip;

void     sip_begin(sip *s, const sip_key *key);
void     sip_add(sip *s, const void *p, size_t n);
uint64_t sip_end(sip s);        /* of what has come so far; s itself may go on */

uint64_t sip_hash(const sip_key *key, const void *p, size_t n);

#endif
