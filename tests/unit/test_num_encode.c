/* Encoders write the same bytes as upstream's (tests/data/quant/README.md), for each type, input and mode. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "num/dtype.h"

enum { N = 1024, INPUTS = 10 };
typedef struct vector { dtype type; int imatrix; long at, step; } vector;

/* Row k of a type's vectors encodes input k. */
static const vector vectors[] = {
    {DTYPE_Q4_0, 0, 45056, 1152}, {DTYPE_Q4_0, 1, 45632, 1152}, {DTYPE_Q4_1, 0, 56576, 1280}, {DTYPE_Q4_1, 1, 57216, 1280},
    {DTYPE_Q5_0, 0, 69376, 1408}, {DTYPE_Q5_0, 1, 70080, 1408}, {DTYPE_Q5_1, 0, 83456, 1536}, {DTYPE_Q5_1, 1, 84224, 1536},
    {DTYPE_Q8_0, 0, 98816, 1088}, {DTYPE_Q4_K, 0, 125216, 1152}, {DTYPE_Q4_K, 1, 125792, 1152},
    {DTYPE_Q5_K, 0, 136736, 1408}, {DTYPE_Q5_K, 1, 137440, 1408}, {DTYPE_Q6_K, 0, 150816, 1680},
    {DTYPE_Q6_K, 1, 151656, 1680}, {DTYPE_MXFP4, 0, 190016, 544},
};
static const char *inputs[INPUTS] = {"gauss_0.02", "gauss_heavy", "zeros", "const_pos", "const_neg", "ramp", "offset",
                                     "one_outlier", "lattice_q4", "tiny"};

static void same_bytes_as_upstream(void **state)
{
    (void)state;
    FILE *f = fopen("tests/data/quant/quantize.bin", "rb");
    assert_non_null(f);
    static uint8_t data[201216];
    assert_int_equal(fread(data, 1, sizeof data, f), sizeof data);
    fclose(f);
    static float rows[1 + INPUTS][N];               /* the imatrix, then the inputs */
    memcpy(rows, data, sizeof rows);
    for (size_t v = 0; v < sizeof vectors / sizeof vectors[0]; v++)
        for (int k = 0; k < INPUTS; k++) {
            const dtype_info *d = dtype_of(vectors[v].type);
            size_t bytes = dtype_row_bytes(vectors[v].type, N);
            const uint8_t *want = data + vectors[v].at + k * vectors[v].step;
            uint8_t *got = malloc(bytes);
            assert_true(got && d->encode);
            memset(got, 0xa5, bytes);
            d->encode(rows[1 + k], got, N, vectors[v].imatrix ? rows[0] : NULL);
            for (size_t i = 0; i < bytes; i++)
                if (got[i] != want[i])
                    fail_msg("%s %s of %s: byte %zu (of block %zu) is %02x, should be %02x", d->name,
                             vectors[v].imatrix ? "imatrix" : "plain", inputs[k], i % (size_t)d->bytes,
                             i / (size_t)d->bytes, got[i], want[i]);
            free(got);
        }
}

/* What an encoder writes, its decoder reads back within the type's step. */
static void comes_back_within_a_step(void **state)
{
    (void)state;
    static const struct { dtype t; float step; } types[] = {
        {DTYPE_Q8_0, 1.0f / 127}, {DTYPE_Q6_K, 1.0f / 16}, {DTYPE_Q5_K, 1.0f / 15}, {DTYPE_Q4_K, 1.0f / 7}, {DTYPE_Q5_0, 1.0f / 15},
        {DTYPE_Q4_0, 1.0f / 7}, {DTYPE_Q4_1, 1.0f / 7}, {DTYPE_Q5_1, 1.0f / 15}, {DTYPE_MXFP4, 1.0f / 3},
    };
    for (size_t k = 0; k < sizeof types / sizeof types[0]; k++) {
        const dtype_info *d = dtype_of(types[k].t);
        float x[512], y[512];
        uint8_t row[2048];
        for (int i = 0; i < 512; i++) x[i] = sinf((float)(i * i % 1013)) * (i % 64 < 32 ? 1 : 1000);
        d->encode(x, row, 512, NULL);
        d->decode(row, y, 512);
        for (int i = 0; i < 512; i++) {
            float top = 0;
            int group = d->block < 256 ? d->block : 256, first = i / group * group;
            for (int j = first; j < first + group; j++) top = fmaxf(top, fabsf(x[j]));
            if (!(fabsf(x[i] - y[i]) <= top * types[k].step))
                fail_msg("%s: element %d is %g, was %g", d->name, i, (double)y[i], (double)x[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bytes_as_upstream), cmocka_unit_test(comes_back_within_a_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
