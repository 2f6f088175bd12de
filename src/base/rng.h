/* Counter-based random numbers (Philox 4x32-10, Salmon et al. 2011): same key and counter, same number,
 * whatever the thread or the order. */
#ifndef FC_BASE_RNG_H
#define FC_BASE_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Four 32-bit numbers for (key, counter). */
void rng_philox(uint64_t key, uint64_t counter, uint32_t out[4]);
/* Uniform in [0, 1), 53 bits. */
double rng_uniform(uint64_t key, uint64_t counter);
/* A seed from the operating system; from the time where that has none yet: for what may be guessed. */
uint64_t rng_fresh_seed(void);
/* n bytes that nobody can guess.  Waits for the system's generator after a start; false when there is none. */
bool rng_secret(void *out, size_t n);

#endif
