/* A number written digit by digit so that it ends within bounds: every prefix that is let through can be completed.
 *
 * Values are kept as integers of 10^-18; so bounds, steps (multipleOf) and decimals are compared exactly, without doubles.
 * Whole numbers stay within 64 bits, fractions within 18 digits and exponents within 280: what a JSON reader can hold. */
#ifndef FC_TEXT_DIGITS_H
#define FC_TEXT_DIGITS_H

#include "base/json.h"

__extension__ typedef __int128 digits_fixed;      /* value times 10^18 */

typedef struct digits_range {
    digits_fixed lo, hi;      /* both included */
    digits_fixed step;        /* values are multiples of it; at least 1 */
    bool integer;             /* written without fraction */
    bool exponent;            /* may have one: only without bounds and steps */
} digits_range;

/* Part of a number; {0} is its beginning. */
typedef struct digits { int64_t whole, fraction; uint16_t exponent; uint8_t stage, places, minus, unused[3]; } digits;   /* no padding: compared as bytes */

void digits_range_init(digits_range *r, bool integer);
/* Narrow the range.  v: a number of a schema. */
void digits_at_least(digits_range *r, const json_t *v, bool exclusive);
void digits_at_most(digits_range *r, const json_t *v, bool exclusive);
/* False: the step cannot be held exactly (or is not above 0); the range is as before. */
bool digits_multiple_of(digits_range *r, const json_t *v);
bool digits_possible(const digits_range *r);

/* Adds one character; false: none that the range allows (d is then as before). */
bool digits_step(const digits_range *r, digits *d, char c);
bool digits_complete(const digits_range *r, const digits *d);
/* Shortest text that reads as the same double; out [32]. */
void digits_print(double v, char out[32]);

#endif
