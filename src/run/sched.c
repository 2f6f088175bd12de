#include "run/sched.h"

#include <stdbool.h>

#include "base/bits.h"

/* The prompt with the fewest tokens left that has got no share yet, or -1. */
static int32_t shortest(const int32_t *pending, const int32_t *take, int32_t n)
{
    int32_t best = -1;
    for (int32_t i = 0; i < n; i++)
        if (pending[i] > 1 && take[i] == 0 && (best < 0 || pending[i] < pending[best])) best = i;
    return best;
}

void sched_step(const int32_t *pending, int32_t n, int32_t budget, int32_t beside, int32_t *take)
{
    int32_t prompts = 0;
    bool answers = false;
    for (int32_t i = 0; i < n; i++) {
        take[i] = pending[i] == 1 && budget > 0;
        budget -= take[i];
        prompts += pending[i] > 1;
        answers |= take[i] > 0;
    }
    if (answers) budget = MIN(budget, beside);
    for (int32_t i; budget > 0 && (i = shortest(pending, take, n)) >= 0; prompts--) {
        /* an eighth of the budget is kept for each longer one that waits, as far as it goes */
        int32_t reserve = MIN((prompts - 1) * MAX(budget / 8, 1), budget - 1);
        take[i] = MIN(pending[i], budget - reserve);
        budget -= take[i];
    }
}

int32_t sched_beside(double row_seconds, int32_t budget)
{
    enum { SMALLEST = 32 };
    double rows = row_seconds > 0 ? 0.2 / row_seconds : budget / 4;
    return MIN(budget, rows > budget ? budget : MAX((int32_t)rows, SMALLEST));
}
