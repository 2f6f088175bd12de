/* Block formats of quantised tensors, as they lie in GGUF files (file-formats section 5), and their decoders and
 * encoders.  Every field is bytes, so a block may start anywhere.  f16 fields are stored as two bytes.
 *
 *   void <type>_decode(const void *src, float *dst, int64_t n);
 *   void <type>_encode(const float *src, void *dst, int64_t n, const float *importance or NULL);
 *
 * n is a multiple of the block's elements; an encoder's n is a whole row, because importance-weighted types look
 * at the mean square of the row. */
#ifndef FC_NUM_BLOCKS_H
#define FC_NUM_BLOCKS_H

#include <stdint.h>

typedef struct q4_0_block { uint8_t d[2], qs[16]; } q4_0_block;
typedef struct q4_1_block { uint8_t d[2], m[2], qs[16]; } q4_1_block;
typedef struct q5_0_block { uint8_t d[2], qh[4], qs[16]; } q5_0_block;
typedef struct q5_1_block { uint8_t d[2], m[2], qh[4], qs[16]; } q5_1_block;
typedef struct q8_0_block { uint8_t d[2]; int8_t qs[32]; } q8_0_block;
typedef struct iq4_nl_block { uint8_t d[2], qs[16]; } iq4_nl_block;
typedef struct mxfp4_block { uint8_t e, qs[16]; } mxfp4_block;
typedef struct nvfp4_block { uint8_t s[4], qs[32]; } nvfp4_block;
typedef struct q1_0_block { uint8_t d[2], bits[16]; } q1_0_block;       /* 128 elements */
typedef struct q2_0_block { uint8_t d[2], qs[16]; } q2_0_block;         /* 64 elements */

/* 256 elements each */
typedef struct q2_k_block { uint8_t scales[16], qs[64], d[2], dmin[2]; } q2_k_block;
typedef struct q3_k_block { uint8_t hmask[32], qs[64], scales[12], d[2]; } q3_k_block;
typedef struct q4_k_block { uint8_t d[2], dmin[2], scales[12], qs[128]; } q4_k_block;
typedef struct q5_k_block { uint8_t d[2], dmin[2], scales[12], qh[32], qs[128]; } q5_k_block;
typedef struct q6_k_block { uint8_t ql[128], qh[64]; int8_t scales[16]; uint8_t d[2]; } q6_k_block;
typedef struct iq4_xs_block { uint8_t d[2], sh[2], sl[4], qs[128]; } iq4_xs_block;
typedef struct tq1_0_block { uint8_t qs[48], qh[4], d[2]; } tq1_0_block;
typedef struct tq2_0_block { uint8_t qs[64], d[2]; } tq2_0_block;
typedef struct iq2_xxs_block { uint8_t d[2], qs[64]; } iq2_xxs_block;
typedef struct iq2_xs_block { uint8_t d[2], qs[64], scales[8]; } iq2_xs_block;
typedef struct iq2_s_block { uint8_t d[2], qs[32], signs[32], qh[8], scales[8]; } iq2_s_block;
typedef struct iq3_xxs_block { uint8_t d[2], qs[64], signs[32]; } iq3_xxs_block;
typedef struct iq3_s_block { uint8_t d[2], qs[64], qh[8], signs[32], scales[4]; } iq3_s_block;
typedef struct iq1_s_block { uint8_t d[2], qs[32], qh[16]; } iq1_s_block;
typedef struct iq1_m_block { uint8_t qs[32], qh[16], scales[8]; } iq1_m_block;

_Static_assert(sizeof(q4_0_block) == 18, "q4_0");
_Static_assert(sizeof(q4_1_block) == 20, "q4_1");
_Static_assert(sizeof(q5_0_block) == 22, "q5_0");
_Static_assert(sizeof(q5_1_block) == 24, "q5_1");
_Static_assert(sizeof(q8_0_block) == 34, "q8_0");
_Static_assert(sizeof(iq4_nl_block) == 18, "iq4_nl");
_Static_assert(sizeof(mxfp4_block) == 17, "mxfp4");
_Static_assert(sizeof(nvfp4_block) == 36, "nvfp4");
_Static_assert(sizeof(q1_0_block) == 18, "q1_0");
_Static_assert(sizeof(q2_0_block) == 18, "q2_0");
_Static_assert(sizeof(q2_k_block) == 84, "q2_k");
_Static_assert(sizeof(q3_k_block) == 110, "q3_k");
_Static_assert(sizeof(q4_k_block) == 144, "q4_k");
_Static_assert(sizeof(q5_k_block) == 176, "q5_k");
_Static_assert(sizeof(q6_k_block) == 210, "q6_k");
_Static_assert(sizeof(iq4_xs_block) == 136, "iq4_xs");
_Static_assert(sizeof(tq1_0_block) == 54, "tq1_0");
_Static_assert(sizeof(tq2_0_block) == 66, "tq2_0");
_Static_assert(sizeof(iq2_xxs_block) == 66, "iq2_xxs");
_Static_assert(sizeof(iq2_xs_block) == 74, "iq2_xs");
_Static_assert(sizeof(iq2_s_block) == 82, "iq2_s");
_Static_assert(sizeof(iq3_xxs_block) == 98, "iq3_xxs");
_Static_assert(sizeof(iq3_s_block) == 110, "iq3_s");
_Static_assert(sizeof(iq1_s_block) == 50, "iq1_s");
_Static_assert(sizeof(iq1_m_block) == 56, "iq1_m");

#define DECODER(name) void name##_decode(const void *src, float *dst, int64_t n)
#define ENCODER(name) void name##_encode(const float *src, void *dst, int64_t n, const float *importance)
DECODER(q4_0); DECODER(q4_1); DECODER(q5_0); DECODER(q5_1); DECODER(q8_0);
DECODER(q2_k); DECODER(q3_k); DECODER(q4_k); DECODER(q5_k); DECODER(q6_k);
DECODER(iq4_nl); DECODER(iq4_xs); DECODER(fp4_mx); DECODER(fp4_nv);
DECODER(tern_q1_0); DECODER(tern_q2_0); DECODER(tern_tq1_0); DECODER(tern_tq2_0);
DECODER(iq2_xxs); DECODER(iq2_xs); DECODER(iq2_s); DECODER(iq3_xxs); DECODER(iq3_s); DECODER(iq1_s); DECODER(iq1_m);
DECODER(plain_f32); DECODER(plain_f16); DECODER(plain_bf16); DECODER(plain_f64);
DECODER(plain_i8); DECODER(plain_i16); DECODER(plain_i32); DECODER(plain_i64);
ENCODER(plain_f32); ENCODER(plain_f16); ENCODER(plain_bf16); ENCODER(plain_f64);
ENCODER(q8_0); ENCODER(q4_0); ENCODER(q4_1); ENCODER(q5_0); ENCODER(q5_1);
ENCODER(q4_k); ENCODER(q5_k); ENCODER(q6_k); ENCODER(fp4_mx);
#undef DECODER
#undef ENCODER

/* The six-bit scale and minimum of sub-block j (0..7) of Q4_K and Q5_K. */
static inline void q4_k_scale_min(const uint8_t s[12], int j, int *scale, int *min)
{
    if (j < 4) {
        *scale = s[j] & 63;
        *min = s[j + 4] & 63;
    } else {
        *scale = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
        *min = (s[j + 4] >> 4) | (s[j] >> 6) << 4;
    }
}

/* head: the first 16 bytes (d, dmin, scales) of a Q4_K (N = 15) or Q5_K (N = 31) block, and the codes of its 256 elements. */
void q4_k_fit(const float *x, const float *importance, int N, uint8_t code[256], uint8_t *head);

/* The signed scale of sub-block k (0..15) of Q3_K. */
static inline int q3_k_scale(const uint8_t s[12], int k)
{
    int low = k < 8 ? s[k] & 15 : s[k - 8] >> 4;
    return (low | ((s[8 + k % 4] >> (2 * (k / 4))) & 3) << 4) - 32;
}

/* The signed scale of sub-block b (0..7) of IQ4_XS. */
static inline int iq4_xs_scale(const iq4_xs_block *x, int b)
{
    int high = (x->sh[0] | x->sh[1] << 8) >> (2 * b) & 3;
    return ((x->sl[b / 2] >> (4 * (b & 1)) & 15) | high << 4) - 32;
}

extern const int8_t iq4_values[16];     /* the non-linear 4-bit code book */
extern const int8_t fp4_values[16];     /* twice the E2M1 value */
float fp4_mx_scale(uint8_t e);          /* 2^(e - 128): half the E8M0 value */
float fp4_nv_scale(uint8_t e);          /* half the unsigned E4M3 value */

#endif
