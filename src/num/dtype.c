#include "num/dtype.h"

#include <strings.h>

#include "num/blocks.h"

static const dtype_info table[DTYPE_COUNT] = {
    [DTYPE_F32]     = {"f32", 1, 4, plain_f32_decode, plain_f32_encode},
    [DTYPE_F16]     = {"f16", 1, 2, plain_f16_decode, plain_f16_encode},
    [DTYPE_BF16]    = {"bf16", 1, 2, plain_bf16_decode, plain_bf16_encode},
    [DTYPE_F64]     = {"f64", 1, 8, plain_f64_decode, plain_f64_encode},
    [DTYPE_I8]      = {"i8", 1, 1, plain_i8_decode, NULL},
    [DTYPE_I16]     = {"i16", 1, 2, plain_i16_decode, NULL},
    [DTYPE_I32]     = {"i32", 1, 4, plain_i32_decode, NULL},
    [DTYPE_I64]     = {"i64", 1, 8, plain_i64_decode, NULL},
    [DTYPE_Q4_0]    = {"q4_0", 32, sizeof(q4_0_block), q4_0_decode, q4_0_encode},
    [DTYPE_Q4_1]    = {"q4_1", 32, sizeof(q4_1_block), q4_1_decode, q4_1_encode},
    [DTYPE_Q5_0]    = {"q5_0", 32, sizeof(q5_0_block), q5_0_decode, q5_0_encode},
    [DTYPE_Q5_1]    = {"q5_1", 32, sizeof(q5_1_block), q5_1_decode, q5_1_encode},
    [DTYPE_Q8_0]    = {"q8_0", 32, sizeof(q8_0_block), q8_0_decode, q8_0_encode},
    [DTYPE_Q2_K]    = {"q2_K", 256, sizeof(q2_k_block), q2_k_decode, NULL},
    [DTYPE_Q3_K]    = {"q3_K", 256, sizeof(q3_k_block), q3_k_decode, NULL},
    [DTYPE_Q4_K]    = {"q4_K", 256, sizeof(q4_k_block), q4_k_decode, q4_k_encode},
    [DTYPE_Q5_K]    = {"q5_K", 256, sizeof(q5_k_block), q5_k_decode, q5_k_encode},
    [DTYPE_Q6_K]    = {"q6_K", 256, sizeof(q6_k_block), q6_k_decode, q6_k_encode},
    [DTYPE_IQ2_XXS] = {"iq2_xxs", 256, sizeof(iq2_xxs_block), iq2_xxs_decode, NULL},
    [DTYPE_IQ2_XS]  = {"iq2_xs", 256, sizeof(iq2_xs_block), iq2_xs_decode, NULL},
    [DTYPE_IQ2_S]   = {"iq2_s", 256, sizeof(iq2_s_block), iq2_s_decode, NULL},
    [DTYPE_IQ3_XXS] = {"iq3_xxs", 256, sizeof(iq3_xxs_block), iq3_xxs_decode, NULL},
    [DTYPE_IQ3_S]   = {"iq3_s", 256, sizeof(iq3_s_block), iq3_s_decode, NULL},
    [DTYPE_IQ1_S]   = {"iq1_s", 256, sizeof(iq1_s_block), iq1_s_decode, NULL},
    [DTYPE_IQ1_M]   = {"iq1_m", 256, sizeof(iq1_m_block), iq1_m_decode, NULL},
    [DTYPE_IQ4_NL]  = {"iq4_nl", 32, sizeof(iq4_nl_block), iq4_nl_decode, NULL},
    [DTYPE_IQ4_XS]  = {"iq4_xs", 256, sizeof(iq4_xs_block), iq4_xs_decode, NULL},
    [DTYPE_TQ1_0]   = {"tq1_0", 256, sizeof(tq1_0_block), tern_tq1_0_decode, NULL},
    [DTYPE_TQ2_0]   = {"tq2_0", 256, sizeof(tq2_0_block), tern_tq2_0_decode, NULL},
    [DTYPE_MXFP4]   = {"mxfp4", 32, sizeof(mxfp4_block), fp4_mx_decode, fp4_mx_encode},
    [DTYPE_NVFP4]   = {"nvfp4", 64, sizeof(nvfp4_block), fp4_nv_decode, NULL},
    [DTYPE_Q1_0]    = {"q1_0", 128, sizeof(q1_0_block), tern_q1_0_decode, NULL},
    [DTYPE_Q2_0]    = {"q2_0", 64, sizeof(q2_0_block), tern_q2_0_decode, NULL},
};

const dtype_info *dtype_find(uint32_t id)
{
    return id < DTYPE_COUNT && table[id].name ? &table[id] : NULL;
}

const dtype_info *dtype_by_name(const char *name, dtype *out)
{
    for (int i = 0; i < DTYPE_COUNT; i++)
        if (table[i].name && strcasecmp(table[i].name, name) == 0) {
            if (out) *out = (dtype)i;
            return &table[i];
        }
    return NULL;
}

size_t dtype_row_bytes(dtype t, int64_t n)
{
    const dtype_info *d = dtype_of(t);
    return (size_t)(n / d->block) * (size_t)d->bytes;
}
