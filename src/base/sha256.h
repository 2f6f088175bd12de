/* SHA-256 (FIPS 180-4): what was hashed can be named to somebody else. */
#ifndef FC_BASE_SHA256_H
#define FC_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { SHA256_BYTES = 32, SHA256_TEXT = 65 };

/* Bytes that come in pieces. */
typedef struct sha256 {
    uint32_t h[8];
    uint64_t n;                 /* bytes so far */
    uint8_t block[64];          /* of these, the last n % 64 */
} sha256;

void sha256_begin(sha256 *s);
void sha256_add(sha256 *s, const void *p, size_t n);
void sha256_end(sha256 *s, uint8_t out[SHA256_BYTES]);
/* 64 lower-case hexadecimal digits and a NUL. */
void sha256_text(const uint8_t hash[SHA256_BYTES], char out[SHA256_TEXT]);

#endif
