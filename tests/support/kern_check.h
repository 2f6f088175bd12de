/* What the kernel checks share: families of this machine, random weights of any type, memory with guard pages. */
#ifndef FC_TESTS_SUPPORT_KERN_CHECK_H
#define FC_TESTS_SUPPORT_KERN_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "kern/kern.h"

typedef struct check_family { const char *name; kern k; } check_family;

/* The reference first, then every wider family that this machine has; never fewer than two: a machine without any
 * fails the program (nothing would be compared).  Returns the number. */
int check_families(check_family out[8]);
/* The AMX family with tile instructions acted out in C (support/amx/); needs AVX-512. */
void check_fill_amx_in_c(kern *k);

/* n bytes that end (or start) right at an unreadable page.  Freed by check_free. */
void *check_guarded(size_t n);
void  check_free(void *p, size_t n);

/* Counter-based random numbers. */
uint64_t check_random(uint64_t *state);
float    check_uniform(uint64_t *state);      /* [-1, 1) */
float    check_gauss(uint64_t *state);        /* about normal */

/* n random numbers of about that size, ending at the guard page; freed by check_free. */
float   *check_floats(int64_t n, float scale, uint64_t *state);
/* Number i of n that a family's `what` gave. */
void     check_near(const char *family, const char *what, int64_t n, int64_t i, double got, double want, double bound);

/* Random blocks of a type with scales around `scale`; n elements. */
void check_weights(dtype t, void *out, int64_t n, float scale, uint64_t *state);
/* The same blocks with all codes zero: they decode to what the type adds to every element. */
void check_zero_codes(dtype t, void *blocks, int64_t n);

/* Seconds of this thread's own processor time, so that other work on the machine disturbs less; check_fail prints and
 * counts. */
double check_now(void);
void   check_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern long check_count, check_failures;      /* numbers compared */
int    check_end(const char *what);           /* the program's exit status */

#endif
