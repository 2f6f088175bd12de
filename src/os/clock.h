#ifndef FC_OS_CLOCK_H
#define FC_OS_CLOCK_H
/* Seconds on a monotonic clock. */
double clock_seconds(void);
#endif
