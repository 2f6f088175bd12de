/* One GGUF file taken apart: what gguf.c joins into a (maybe sharded) whole. */
#ifndef FC_FMT_GGUF_INT_H
#define FC_FMT_GGUF_INT_H

#include "fmt/gguf.h"
#include "os/file.h"

enum { GGUF_ALIGNMENT = 32, GGUF_KEY_MAX = 65535, GGUF_NAME_MAX = 63, GGUF_COUNT_MAX = 1 << 20 };

typedef struct gguf_part {
    file_map map;            /* empty when the bytes are the caller's */
    const uint8_t *data;
    size_t size;
    gguf_value *values;
    uint64_t value_count;
    gguf_tensor *tensors;
    uint64_t tensor_count;
} gguf_part;

/* Reads header, keys and tensor directory of [data, data + size), which must outlive the part.  Everything that
 * file-formats section 1.4 lists is checked.  On failure nothing is left to free. */
status gguf_parse(gguf_part *out, const uint8_t *data, size_t size, err *e);
void   gguf_parse_done(gguf_part *p);

/* Bytes of one element of a fixed-size type; 0 for strings, arrays and unknown types. */
size_t gguf_type_bytes(gguf_type t);

#endif
