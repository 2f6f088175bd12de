#include "kern/unpack_row.h"

#include "base/bits.h"
#include "num/blocks.h"
#include "num/half.h"
#include "num/iq_grid.h"

static float f16(const void *p) { return half_f16_to_f32(load_u16(p)); }

static void fill(float *scale, int n, float d)
{
    for (int i = 0; i < n; i++) scale[i] = d;
}

static void nvfp4(const nvfp4_block *b, int groups, uint8_t *code, float *scale)
{
    for (; groups > 0; groups -= 2, b++)
        for (int s = 0; s < 4; s++, code += 16) {
            *scale++ = fp4_nv_scale(b->s[s]);
            for (int j = 0; j < 8; j++) {
                code[j] = (uint8_t)(fp4_values[b->qs[8 * s + j] & 15] + 12);
                code[j + 8] = (uint8_t)(fp4_values[b->qs[8 * s + j] >> 4] + 12);
            }
        }
}

static void q1_0(const q1_0_block *b, int groups, uint8_t *code, float *scale)
{
    for (; groups > 0; groups -= 4, b++, code += 128, scale += 8) {
        fill(scale, 8, f16(b->d));
        for (int j = 0; j < 128; j++) code[j] = (uint8_t)(2 * (b->bits[j / 8] >> (j % 8) & 1));
    }
}

static void q2_0(const q2_0_block *b, int groups, uint8_t *code, float *scale)
{
    for (; groups > 0; groups -= 2, b++, code += 64, scale += 4) {
        fill(scale, 4, f16(b->d));
        for (int j = 0; j < 64; j++) code[j] = b->qs[j / 4] >> (2 * (j % 4)) & 3;
    }
}

static void tq2_0(const tq2_0_block *b, uint8_t *code, float *scale)
{
    fill(scale, 16, f16(b->d));
    for (int j = 0; j < 256; j++) code[j] = b->qs[32 * (j / 128) + j % 32] >> (2 * (j % 128 / 32)) & 3;
}

/* Decoders with scale 1 give -1, 0, 1: the code less one. */
static void tq1_0(const tq1_0_block *b, uint8_t *code, float *scale)
{
    static const uint8_t pow3[5] = {1, 3, 9, 27, 81};
    fill(scale, 16, f16(b->d));
    for (int j = 0; j < 256; j++) {
        int byte = j < 160 ? j % 32 : j < 240 ? 32 + (j - 160) % 16 : 48 + (j - 240) % 4;
        int k = j < 160 ? j / 32 : j < 240 ? (j - 160) / 16 : (j - 240) / 4;
        uint8_t v = byte < 48 ? b->qs[byte] : b->qh[byte - 48];
        code[j] = (uint8_t)((uint8_t)(v * pow3[k]) * 3 >> 8);
    }
}

/* Eight ternary digits g and a shift of an eighth: code = 8 g +- 1 + 9 with an eighth of the scale. */
static void iq1_put8(uint32_t grid, int down, uint8_t *code)
{
    for (int j = 0; j < 8; j++) code[j] = (uint8_t)(8 * (int)(grid >> (2 * j) & 3) + (down ? 0 : 2));
}

static void iq1_s(const iq1_s_block *b, uint8_t *code, float *scale)
{
    for (int l = 0; l < 32; l++) {
        uint32_t high = load_u16(b->qh + 2 * (l / 4));
        scale[l / 2] = f16(b->d) * (float)(2 * (high >> 12 & 7) + 1) * 0.125f;
        iq1_put8(iq_grid_1[b->qs[l] | (high >> (3 * (l % 4)) & 7) << 8], high >> 15 & 1, code + 8 * l);
    }
}

static void iq1_m(const iq1_m_block *b, uint8_t *code, float *scale)
{
    uint32_t sc[4], dbits = 0;
    for (int k = 0; k < 4; k++) {
        sc[k] = load_u16(b->scales + 2 * k);
        dbits |= sc[k] >> 12 << (4 * k);
    }
    float d = half_f16_to_f32((uint16_t)dbits);
    for (int l = 0; l < 32; l++) {
        uint32_t high = b->qh[l / 2] >> (4 * (l & 1)) & 15;
        scale[l / 2] = d * (float)(2 * (sc[l / 8] >> (3 * (l / 2 % 4)) & 7) + 1) * 0.125f;
        iq1_put8(iq_grid_1[b->qs[l] | (high & 7) << 8], high >> 3 & 1, code + 8 * l);
    }
}

static void iq2_put8(uint32_t grid, uint32_t signs, uint8_t *code)
{
    static const uint8_t magnitude[4] = {8, 25, 43, 0};
    for (int j = 0; j < 8; j++) {
        int m = magnitude[grid >> (2 * j) & 3];
        code[j] = (uint8_t)(43 + (signs >> j & 1 ? -m : m));
    }
}

static void iq2_xxs(const iq2_xxs_block *b, uint8_t *code, float *scale)
{
    for (int s = 0; s < 8; s++) {
        const uint8_t *q = b->qs + 8 * s;
        uint32_t rest = load_u32(q + 4);
        fill(scale + 2 * s, 2, f16(b->d) * (0.5f + (float)(rest >> 28)) * 0.25f);
        for (int l = 0; l < 4; l++) iq2_put8(iq_grid_2xxs[q[l]], iq_grid_signs(rest >> (7 * l)), code + 32 * s + 8 * l);
    }
}

static void iq2_xs(const iq2_xs_block *b, uint8_t *code, float *scale)
{
    for (int l = 0; l < 32; l++) {
        uint32_t q = load_u16(b->qs + 2 * l);
        scale[l / 2] = f16(b->d) * (0.5f + (float)(b->scales[l / 4] >> (4 * (l / 2 & 1)) & 15)) * 0.25f;
        iq2_put8(iq_grid_2xs[q & 511], iq_grid_signs(q >> 9), code + 8 * l);
    }
}

static void iq2_s(const iq2_s_block *b, uint8_t *code, float *scale)
{
    for (int l = 0; l < 32; l++) {
        scale[l / 2] = f16(b->d) * (0.5f + (float)(b->scales[l / 4] >> (4 * (l / 2 & 1)) & 15)) * 0.25f;
        iq2_put8(iq_grid_2s[b->qs[l] | (b->qh[l / 4] >> (2 * (l % 4)) & 3) << 8], b->signs[l], code + 8 * l);
    }
}

static void iq3_xxs(const iq3_xxs_block *b, uint8_t *code, float *scale)
{
    static const uint8_t magnitude[8] = {4, 12, 20, 28, 36, 44, 52, 62};
    for (int i = 0; i < 256; i++) {
        uint32_t rest = load_u32(b->signs + 4 * (i / 32)), signs = iq_grid_signs(rest >> (7 * (i / 8 % 4)));
        int m = magnitude[iq_grid_3xxs[b->qs[i / 4]] >> (3 * (i % 4)) & 7];
        scale[i / 16] = f16(b->d) * (0.5f + (float)(rest >> 28)) * 0.5f;
        code[i] = (uint8_t)(62 + (signs >> (i % 8) & 1 ? -m : m));
    }
}

static void iq3_s(const iq3_s_block *b, uint8_t *code, float *scale)
{
    for (int i = 0; i < 256; i++) {
        int c = i / 4;
        uint32_t grid = iq_grid_3s[b->qs[c] | (b->qh[c / 8] >> (c % 8) & 1) << 8];
        int m = 2 * (grid >> (3 * (i % 4)) & 7) + 1;
        scale[i / 16] = f16(b->d) * (float)(1 + 2 * (b->scales[c / 16] >> (4 * (c / 8 & 1)) & 15));
        code[i] = (uint8_t)(15 + (b->signs[i / 8] >> (i % 8) & 1 ? -m : m));
    }
}

void unpack_row(dtype type, const uint8_t *w, int groups, uint8_t code[256], float scale[16])
{
    const void *p = w;
    switch (type) {
    case DTYPE_NVFP4:   nvfp4(p, groups, code, scale); break;
    case DTYPE_Q1_0:    q1_0(p, groups, code, scale); break;
    case DTYPE_Q2_0:    q2_0(p, groups, code, scale); break;
    case DTYPE_TQ1_0:   tq1_0(p, code, scale); break;
    case DTYPE_TQ2_0:   tq2_0(p, code, scale); break;
    case DTYPE_IQ1_S:   iq1_s(p, code, scale); break;
    case DTYPE_IQ1_M:   iq1_m(p, code, scale); break;
    case DTYPE_IQ2_XXS: iq2_xxs(p, code, scale); break;
    case DTYPE_IQ2_XS:  iq2_xs(p, code, scale); break;
    case DTYPE_IQ2_S:   iq2_s(p, code, scale); break;
    case DTYPE_IQ3_XXS: iq3_xxs(p, code, scale); break;
    case DTYPE_IQ3_S:   iq3_s(p, code, scale); break;
    default: break;
    }
}
