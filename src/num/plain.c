/* Types without blocks. */
#include "base/bits.h"
#include "num/blocks.h"
#include "num/half.h"

void plain_f32_decode(const void *src, float *dst, int64_t n) { memcpy(dst, src, (size_t)n * 4); }

void plain_f16_decode(const void *src, float *dst, int64_t n)
{
    const uint8_t *p = src;
    for (int64_t i = 0; i < n; i++) dst[i] = half_f16_to_f32(load_u16(p + 2 * i));
}

void plain_bf16_decode(const void *src, float *dst, int64_t n)
{
    const uint8_t *p = src;
    for (int64_t i = 0; i < n; i++) dst[i] = half_bf16_to_f32(load_u16(p + 2 * i));
}

void plain_f64_decode(const void *src, float *dst, int64_t n)
{
    const uint8_t *p = src;
    for (int64_t i = 0; i < n; i++) {
        double v;
        memcpy(&v, p + 8 * i, sizeof v);
        dst[i] = (float)v;
    }
}

void plain_i8_decode(const void *src, float *dst, int64_t n)
{
    const int8_t *p = src;
    for (int64_t i = 0; i < n; i++) dst[i] = p[i];
}

void plain_i16_decode(const void *src, float *dst, int64_t n)
{
    const uint8_t *p = src;
    for (int64_t i = 0; i < n; i++) dst[i] = (int16_t)load_u16(p + 2 * i);
}

void plain_i32_decode(const void *src, float *dst, int64_t n)
{
    const uint8_t *p = src;
    for (int64_t i = 0; i < n; i++) dst[i] = (float)(int32_t)load_u32(p + 4 * i);
}

void plain_i64_decode(const void *src, float *dst, int64_t n)
{
    const uint8_t *p = src;
    for (int64_t i = 0; i < n; i++) dst[i] = (float)(int64_t)load_u64(p + 8 * i);
}

void plain_f32_encode(const float *src, void *dst, int64_t n, const float *importance)
{
    (void)importance;
    memcpy(dst, src, (size_t)n * 4);
}

void plain_f16_encode(const float *src, void *dst, int64_t n, const float *importance)
{
    (void)importance;
    uint8_t *p = dst;
    for (int64_t i = 0; i < n; i++) store_u16(p + 2 * i, half_f32_to_f16(src[i]));
}

void plain_bf16_encode(const float *src, void *dst, int64_t n, const float *importance)
{
    (void)importance;
    uint8_t *p = dst;
    for (int64_t i = 0; i < n; i++) store_u16(p + 2 * i, half_f32_to_bf16(src[i]));
}

void plain_f64_encode(const float *src, void *dst, int64_t n, const float *importance)
{
    (void)importance;
    uint8_t *p = dst;
    for (int64_t i = 0; i < n; i++) {
        double v = src[i];
        memcpy(p + 8 * i, &v, sizeof v);
    }
}
