/* Files built byte by byte, right or wrong on purpose. */
#ifndef FC_TESTS_BYTES_H
#define FC_TESTS_BYTES_H

#include <stdint.h>
#include <string.h>

typedef struct bytes { uint8_t data[65536]; size_t n; } bytes;

static inline void bytes_add(bytes *b, const void *p, size_t n) { memcpy(b->data + b->n, p, n); b->n += n; }
static inline void bytes_u8(bytes *b, uint8_t v) { bytes_add(b, &v, 1); }
static inline void bytes_u32(bytes *b, uint32_t v) { bytes_add(b, &v, 4); }
static inline void bytes_u64(bytes *b, uint64_t v) { bytes_add(b, &v, 8); }
static inline void bytes_str(bytes *b, const char *s) { bytes_u64(b, strlen(s)); bytes_add(b, s, strlen(s)); }
static inline void bytes_pad(bytes *b, size_t to) { while (b->n % to) bytes_u8(b, 0); }

/* "GGUF", version 3, counts. */
static inline void bytes_gguf(bytes *b, uint64_t tensors, uint64_t keys)
{
    b->n = 0;
    bytes_add(b, "GGUF", 4);
    bytes_u32(b, 3);
    bytes_u64(b, tensors);
    bytes_u64(b, keys);
}
static inline void bytes_key_u32(bytes *b, const char *key, uint32_t v) { bytes_str(b, key); bytes_u32(b, 4); bytes_u32(b, v); }
static inline void bytes_key_u16(bytes *b, const char *key, uint16_t v) { bytes_str(b, key); bytes_u32(b, 2); bytes_add(b, &v, 2); }
static inline void bytes_key_str(bytes *b, const char *key, const char *v) { bytes_str(b, key); bytes_u32(b, 8); bytes_str(b, v); }
static inline void bytes_tensor(bytes *b, const char *name, uint32_t dims, const uint64_t *ne, uint32_t type, uint64_t offset)
{
    bytes_str(b, name);
    bytes_u32(b, dims);
    for (uint32_t i = 0; i < dims; i++) bytes_u64(b, ne[i]);
    bytes_u32(b, type);
    bytes_u64(b, offset);
}

#endif
