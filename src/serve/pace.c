#include "serve/pace.h"

/* Steps in which nothing happened are empty. */
static void move(pace *p, double seconds)
{
    int64_t now = (int64_t)(seconds / PACE_SECONDS);
    if (now - p->now > PACE_STEPS) p->now = now - PACE_STEPS;
    while (p->now < now) p->steps[++p->now % PACE_STEPS] = (pace_step){ 0 };
}

void pace_add(pace *p, double seconds, int32_t prompt, int32_t answer)
{
    move(p, seconds);
    pace_step *s = &p->steps[p->now % PACE_STEPS];
    s->prompt += prompt;
    s->answer += answer;
}

pace_step pace_read(pace *p, double seconds, int ago)
{
    move(p, seconds);
    return ago <= p->now ? p->steps[(p->now - ago) % PACE_STEPS] : (pace_step){ 0 };
}
