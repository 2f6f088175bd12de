/* The loops that families write alike.  Text for one .c file of a family, which defines before it
 *   peak_v, PEAK_LOAD(p), PEAK_XOR(a, b), PEAK_FOLD(v)   a vector word, and a uint64_t of it.
 *
 * Sums live in twelve named variables: gcc 12 keeps arrays of vectors in memory, and twelve hide the latency of
 * every processor served. */
#ifndef FC_KERN_PEAK_SIMD_H
#define FC_KERN_PEAK_SIMD_H

#include "base/bits.h"
#include "kern/peak.h"

#define PEAK_EACH(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11)
enum { PEAK_SUMS = 12 };
/* The value could have become anything here: nothing is computed ahead or left out. */
#define PEAK_HIDE(v, constraint) __asm__ volatile("" : "+" constraint(v))

/* Which lines are asked for before they are read; hardware does the rest. */
enum { PEAK_NEAR = 512, PEAK_FAR = 1280, PEAK_AHEAD = 1024 };

/* Eight words of a stream into eight sums. */
#define PEAK_EIGHT(p)                                                                                                                    \
    do {                                                                                                                                 \
        a = PEAK_XOR(a, PEAK_LOAD(p));                                                                                                   \
        b = PEAK_XOR(b, PEAK_LOAD((p) + sizeof(peak_v)));                                                                                \
        c = PEAK_XOR(c, PEAK_LOAD((p) + 2 * sizeof(peak_v)));                                                                            \
        d = PEAK_XOR(d, PEAK_LOAD((p) + 3 * sizeof(peak_v)));                                                                            \
        a = PEAK_XOR(a, PEAK_LOAD((p) + 4 * sizeof(peak_v)));                                                                            \
        b = PEAK_XOR(b, PEAK_LOAD((p) + 5 * sizeof(peak_v)));                                                                            \
        c = PEAK_XOR(c, PEAK_LOAD((p) + 6 * sizeof(peak_v)));                                                                            \
        d = PEAK_XOR(d, PEAK_LOAD((p) + 7 * sizeof(peak_v)));                                                                            \
    } while (0)
#define PEAK_ASK(p, level)                                                                                                               \
    do {                                                                                                                                 \
        for (size_t line = 0; line < 8 * sizeof(peak_v); line += 64) __builtin_prefetch((p) + line, 0, level);                           \
    } while (0)
#define PEAK_READ_BODY(streams, ask)                                                                                                     \
    {                                                                                                                                    \
        peak_v a = PEAK_LOAD(p), b = a, c = a, d = a;                                                                                    \
        size_t half = n / (streams);                                                                                                     \
        for (size_t i = 0; i < half; i += 8 * sizeof(peak_v)) {                                                                          \
            for (size_t s = 0; s < (streams); s++) {                                                                                     \
                const uint8_t *at = p + s * half + i;                                                                                    \
                ask;                                                                                                                     \
                PEAK_EIGHT(at);                                                                                                          \
            }                                                                                                                            \
        }                                                                                                                                \
        return PEAK_FOLD(PEAK_XOR(PEAK_XOR(a, b), PEAK_XOR(c, d)));                                                                      \
    }

static uint64_t read_plain(const uint8_t *p, size_t n) PEAK_READ_BODY(1, (void)0)
static uint64_t read_ahead(const uint8_t *p, size_t n) PEAK_READ_BODY(1, PEAK_ASK(at + PEAK_AHEAD, 3))
static uint64_t read_two(const uint8_t *p, size_t n) PEAK_READ_BODY(2, PEAK_ASK(at + PEAK_FAR, 2); PEAK_ASK(at + PEAK_NEAR, 3))

#define PEAK_READ_LOOPS                                                                                                                  \
    { .name = "plain loads", .kind = PEAK_READ, .read = read_plain }, { .name = "prefetch 1 KB ahead", .kind = PEAK_READ, .read = read_ahead }, \
    { .name = "two streams, near and far prefetch", .kind = PEAK_READ, .read = read_two }

#endif
