/* Tokens over time: the newest ten minutes in steps of two seconds.  No timer: a step begins when something is added or read. */
#ifndef FC_SERVE_PACE_H
#define FC_SERVE_PACE_H

#include <stdint.h>

enum { PACE_SECONDS = 2, PACE_STEPS = 300 };

typedef struct pace_step { int32_t prompt, answer; } pace_step;     /* tokens */
typedef struct pace { pace_step steps[PACE_STEPS]; int64_t now; } pace;      /* now: the number of the current step */

/* seconds: of a clock that never goes back; counts from any point before the first call. */
void pace_add(pace *p, double seconds, int32_t prompt, int32_t answer);
/* The step that was `ago` before the current one; 0 <= ago < PACE_STEPS. */
pace_step pace_read(pace *p, double seconds, int ago);

#endif
