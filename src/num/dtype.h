/* One table of all tensor element types (file-formats: ggml types, plus what safetensors has). */
#ifndef FC_NUM_DTYPE_H
#define FC_NUM_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Values are the ggml type ids. */
typedef enum dtype {
    DTYPE_F32 = 0, DTYPE_F16 = 1, DTYPE_Q4_0 = 2, DTYPE_Q4_1 = 3, DTYPE_Q5_0 = 6, DTYPE_Q5_1 = 7, DTYPE_Q8_0 = 8,
    DTYPE_Q2_K = 10, DTYPE_Q3_K = 11, DTYPE_Q4_K = 12, DTYPE_Q5_K = 13, DTYPE_Q6_K = 14,
    DTYPE_IQ2_XXS = 16, DTYPE_IQ2_XS = 17, DTYPE_IQ3_XXS = 18, DTYPE_IQ1_S = 19, DTYPE_IQ4_NL = 20, DTYPE_IQ3_S = 21,
    DTYPE_IQ2_S = 22, DTYPE_IQ4_XS = 23, DTYPE_I8 = 24, DTYPE_I16 = 25, DTYPE_I32 = 26, DTYPE_I64 = 27, DTYPE_F64 = 28,
    DTYPE_IQ1_M = 29, DTYPE_BF16 = 30, DTYPE_TQ1_0 = 34, DTYPE_TQ2_0 = 35, DTYPE_MXFP4 = 39, DTYPE_NVFP4 = 40,
    DTYPE_Q1_0 = 41, DTYPE_Q2_0 = 42,
    DTYPE_COUNT = 43
} dtype;

typedef struct dtype_info {
    const char *name;        /* "q4_K" as llama.cpp prints it */
    int32_t block;           /* elements in a block */
    int32_t bytes;           /* bytes of a block */
    /* n elements, a multiple of block; src needs no alignment.  Bit-exact with the reference formulas
     * (file-formats section 5).  Never NULL for a type that can be a weight. */
    void (*decode)(const void *src, float *dst, int64_t n);
    /* NULL where there is no encoder.  importance: n weights or NULL. */
    void (*encode)(const float *src, void *dst, int64_t n, const float *importance);
} dtype_info;

/* NULL for unknown, retired or internal ids. */
const dtype_info *dtype_find(uint32_t id);
/* Case does not matter; NULL when unknown. */
const dtype_info *dtype_by_name(const char *name, dtype *out);
static inline const dtype_info *dtype_of(dtype t) { return dtype_find((uint32_t)t); }
/* Bytes of a row of n elements; n must be a multiple of the block. */
size_t dtype_row_bytes(dtype t, int64_t n);

#endif
