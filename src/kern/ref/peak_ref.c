/* Plain C, as the compiler translates it for any processor of the kind. */
#include "base/bits.h"
#include "kern/peak.h"

enum { N = 1024 };

static uint64_t int8_plain(int64_t rounds)
{
    int8_t x[N], y[N];
    int32_t sum = 0;
    memset(x, 3, N);
    memset(y, 5, N);
    while (rounds-- > 0) {
        __asm__ volatile("" : : "r"(x), "r"(y) : "memory");
        for (int i = 0; i < N; i++) sum += x[i] * y[i];
    }
    return (uint64_t)sum;
}

static uint64_t f32_plain(int64_t rounds)
{
    float x[N], y[N];
    for (int i = 0; i < N; i++) x[i] = y[i] = 1e-3f;
    while (rounds-- > 0) {
        __asm__ volatile("" : : "r"(x), "r"(y) : "memory");
        for (int i = 0; i < N; i++) y[i] += x[i] * 0.5f;
    }
    return (uint64_t)y[0];
}

static uint64_t read_words(const uint8_t *p, size_t n)
{
    uint64_t a = 0, b = 0, c = 0, d = 0;
    for (size_t i = 0; i < n; i += 32) {
        a ^= load_u64(p + i);
        b ^= load_u64(p + i + 8);
        c ^= load_u64(p + i + 16);
        d ^= load_u64(p + i + 24);
    }
    return a ^ b ^ c ^ d;
}

const peak_loop peak_ref_loops[] = {
    { .name = "plain C", .plain = true, .kind = PEAK_INT8, .ops = 2.0 * N, .run = int8_plain },
    { .name = "plain C", .plain = true, .kind = PEAK_F32, .ops = 2.0 * N, .run = f32_plain },
    { .name = "plain C", .plain = true, .kind = PEAK_READ, .read = read_words },
    { .name = NULL } };
