#include "text/loop.h"

#include <string.h>

#include "base/bits.h"

enum { ROUNDS = 8 };

void loop_begin(loop *l)
{
    l->count = 0;
    memset(l->same, 0, sizeof l->same);
}

int32_t loop_before(const loop *l, uint32_t ago) { return l->recent[(l->count - ago) % LOOP_PERIOD_MAX]; }

uint32_t loop_add(loop *l, int32_t id, uint32_t window, uint32_t long_rounds)
{
    uint32_t found = 0;
    for (uint32_t p = 1; p <= LOOP_PERIOD_MAX; p++) {
        uint32_t rounds = p > LOOP_SHORT ? long_rounds : ROUNDS;
        l->same[p] = l->count >= p && loop_before(l, p) == id ? l->same[p] + 1 : 0;
        if (!found && l->same[p] + p >= MAX(window, rounds * p)) found = p;
    }
    l->recent[l->count++ % LOOP_PERIOD_MAX] = id;
    return found;
}
