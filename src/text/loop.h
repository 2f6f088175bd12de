/* Tokens that go round in circles: the same ones again and again, with a period of at most LOOP_PERIOD_MAX. */
#ifndef FC_TEXT_LOOP_H
#define FC_TEXT_LOOP_H

#include <stdint.h>

enum { LOOP_PERIOD_MAX = 128,
       LOOP_SHORT = 16 };        /* a period up to here is short */

typedef struct loop {
    int32_t recent[LOOP_PERIOD_MAX];
    uint32_t count;
    uint32_t same[LOOP_PERIOD_MAX + 1];      /* how many tokens in a row equal the one so many before */
} loop;

/* Before the first token: all zeros, or this. */
void     loop_begin(loop *l);
/* One more token.  The shortest period that has gone on for `window` tokens and eight rounds, a period that is not short for long_rounds;
 * 0: none. */
uint32_t loop_add(loop *l, int32_t id, uint32_t window, uint32_t long_rounds);
/* The token that came `ago` (1: the newest, at most LOOP_PERIOD_MAX and as many as there were) before the next one. */
int32_t  loop_before(const loop *l, uint32_t ago);

#endif
