/* Every type's decoder against upstream's values, bit for bit (tests/data/quant/README.md). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "num/dtype.h"

typedef struct vector { dtype type; int blocks; long blocks_at, values_at; } vector;
typedef struct book { dtype type; int blocks; long at; uint64_t hash; } book;

static const vector vectors[] = {
    {DTYPE_Q4_0, 64, 0, 1152},
    {DTYPE_Q4_1, 64, 9344, 10624},
    {DTYPE_Q5_0, 64, 18816, 20224},
    {DTYPE_Q5_1, 64, 28416, 29952},
    {DTYPE_Q8_0, 64, 38144, 40320},
    {DTYPE_Q2_K, 16, 48512, 49856},
    {DTYPE_Q3_K, 16, 66240, 68000},
    {DTYPE_Q4_K, 16, 84384, 86688},
    {DTYPE_Q5_K, 16, 103072, 105888},
    {DTYPE_Q6_K, 16, 122272, 125632},
    {DTYPE_IQ2_XXS, 16, 142016, 143072},
    {DTYPE_IQ2_XS, 16, 159456, 160640},
    {DTYPE_IQ3_XXS, 16, 177024, 178592},
    {DTYPE_IQ1_S, 16, 194976, 195776},
    {DTYPE_IQ4_NL, 64, 212160, 213312},
    {DTYPE_IQ3_S, 16, 221504, 223264},
    {DTYPE_IQ2_S, 16, 239648, 240960},
    {DTYPE_IQ4_XS, 16, 257344, 259520},
    {DTYPE_IQ1_M, 16, 275904, 276800},
    {DTYPE_TQ1_0, 16, 293184, 294048},
    {DTYPE_TQ2_0, 16, 310432, 311488},
    {DTYPE_MXFP4, 64, 327872, 328960},
    {DTYPE_NVFP4, 64, 337152, 339456},
    {DTYPE_Q1_0, 64, 355840, 356992},
    {DTYPE_Q2_0, 64, 389760, 390912},
};

/* FNV-1a over the 32-bit words of the values. */
static const book books[] = {
    {DTYPE_IQ2_XXS, 8, 0, 0x066c97b1c36a5fadu},
    {DTYPE_IQ2_XS, 16, 528, 0xe69ff55e5375253du},
    {DTYPE_IQ2_S, 32, 1712, 0xcd146d4df5d76641u},
    {DTYPE_IQ3_XXS, 4, 4336, 0x9f4da3a93f89a065u},
    {DTYPE_IQ3_S, 8, 4728, 0xd2df8ef9b2f427f5u},
    {DTYPE_IQ1_S, 64, 5608, 0x86c123c972607305u},
    {DTYPE_IQ1_M, 64, 8808, 0x5ca9385e9b024f05u},
};

static uint8_t *load(const char *path, long *size)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *size = ftell(f);
    rewind(f);
    uint8_t *p = malloc((size_t)*size);
    assert_non_null(p);
    assert_int_equal(fread(p, 1, (size_t)*size, f), *size);
    fclose(f);
    return p;
}

/* Decodes from an odd address into a buffer of exactly the right size, so that sanitizers see any overrun. */
static float *decode_copy(const dtype_info *d, const uint8_t *src, int blocks)
{
    size_t bytes = (size_t)blocks * (size_t)d->bytes;
    uint8_t *odd = malloc(bytes + 1);
    float *got = malloc((size_t)blocks * (size_t)d->block * sizeof *got);
    assert_true(odd && got);
    memcpy(odd + 1, src, bytes);
    d->decode(odd + 1, got, (int64_t)blocks * d->block);
    free(odd);
    return got;
}

static void decodes_upstream_vectors(void **state)
{
    (void)state;
    long size;
    uint8_t *data = load("tests/data/quant/dequant.bin", &size);
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        const vector *v = &vectors[i];
        const dtype_info *d = dtype_of(v->type);
        assert_non_null(d);
        size_t n = (size_t)v->blocks * (size_t)d->block;
        assert_true(v->values_at + (long)(n * 4) <= size);
        assert_int_equal(v->values_at - v->blocks_at, v->blocks * d->bytes);
        float *got = decode_copy(d, data + v->blocks_at, v->blocks);
        for (size_t k = 0; k < n; k++) {
            uint32_t a, b;
            memcpy(&a, got + k, 4);
            memcpy(&b, data + v->values_at + 4 * k, 4);
            if (a != b) fail_msg("%s: element %zu is %08x, should be %08x", d->name, k, a, b);
        }
        free(got);
    }
    free(data);
}

static void decodes_every_code_book_entry(void **state)
{
    (void)state;
    long size;
    uint8_t *data = load("tests/data/quant/codebooks.bin", &size);
    for (size_t i = 0; i < sizeof books / sizeof books[0]; i++) {
        const dtype_info *d = dtype_of(books[i].type);
        assert_true(books[i].at + (long)books[i].blocks * d->bytes <= size);
        float *got = decode_copy(d, data + books[i].at, books[i].blocks);
        uint64_t h = 0xcbf29ce484222325u;
        for (long k = 0; k < (long)books[i].blocks * d->block; k++) {
            uint32_t a;
            memcpy(&a, got + k, 4);
            h = (h ^ a) * 0x100000001b3u;
        }
        if (h != books[i].hash) fail_msg("%s: hash of the decoded values differs", d->name);
        free(got);
    }
    free(data);
}

static void every_weight_type_has_a_vector(void **state)
{
    (void)state;
    for (uint32_t t = 0; t < DTYPE_COUNT; t++) {
        const dtype_info *d = dtype_find(t);
        if (!d || d->block == 1) continue;
        int found = 0;
        for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) found += vectors[i].type == (dtype)t;
        if (found != 1) fail_msg("%s has no vector", d->name);
    }
}

static void plain_types_decode(void **state)
{
    (void)state;
    static const double f64[3] = {0.1, -1e300, 3};
    static const int8_t i8[3] = {-128, 0, 127};
    static const int16_t i16[3] = {-32768, 5, 32767};
    static const int32_t i32[3] = {-5, 16777217, 1};
    static const int64_t i64[3] = {-5, (int64_t)1 << 40, 1};
    static const uint16_t bf16[3] = {0x3f80, 0xc2f7, 0x0001};
    float x[3];
    dtype_of(DTYPE_F64)->decode(f64, x, 3);
    assert_true(x[0] == 0.1f && x[1] == -1.0f / 0.0f && x[2] == 3);
    dtype_of(DTYPE_I8)->decode(i8, x, 3);
    assert_true(x[0] == -128 && x[1] == 0 && x[2] == 127);
    dtype_of(DTYPE_I16)->decode(i16, x, 3);
    assert_true(x[0] == -32768 && x[1] == 5 && x[2] == 32767);
    dtype_of(DTYPE_I32)->decode(i32, x, 3);
    assert_true(x[0] == -5 && x[1] == 16777216 && x[2] == 1);
    dtype_of(DTYPE_I64)->decode(i64, x, 3);
    assert_true(x[0] == -5 && x[1] == 1099511627776.0f && x[2] == 1);
    dtype_of(DTYPE_BF16)->decode(bf16, x, 3);
    assert_true(x[0] == 1 && x[1] == -123.5f && x[2] == 9.183549615799121e-41f);
}

static void table_answers(void **state)
{
    (void)state;
    dtype t = DTYPE_F32;
    assert_ptr_equal(dtype_by_name("Q4_k", &t), dtype_of(DTYPE_Q4_K));
    assert_int_equal(t, DTYPE_Q4_K);
    assert_null(dtype_by_name("q4_2", &t));
    assert_null(dtype_find(4));                        /* retired */
    assert_null(dtype_find(15));                       /* internal */
    assert_null(dtype_find(DTYPE_COUNT));
    assert_null(dtype_find(0xffffffffu));
    assert_int_equal(dtype_row_bytes(DTYPE_Q4_0, 1536), 864);
    assert_int_equal(dtype_row_bytes(DTYPE_Q6_K, 2816), 2310);
    assert_int_equal(dtype_row_bytes(DTYPE_BF16, 3), 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_upstream_vectors), cmocka_unit_test(decodes_every_code_book_entry),
        cmocka_unit_test(every_weight_type_has_a_vector), cmocka_unit_test(plain_types_decode),
        cmocka_unit_test(table_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
